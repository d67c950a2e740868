//! Chapter 10: bits back.

use burn::tensor::Device;
use elbo_to_diffusion::{
    chapter::Preset,
    codec::{Chain, Codec, Digits, Format, Header, Normal, Stack, push_images},
    data::{Dataset, digits::digits},
    error::Result,
};
use rand::RngExt;
use sha2::{Digest, Sha256};

use crate::{
    damage::{damage, with_good_checksum},
    models::{FINENESS, LATENTS, Vdm},
    recorded::line,
    support::{normal, rng},
    text,
};

/// The digits and the diffusion model that files are coded with.
fn shipped(preset: Preset) -> Result<(Dataset, Vdm, Device)> {
    let (data, device) = (digits()?, Device::flex());
    let vdm = Vdm::load(&data, preset, &device)?;
    Ok((data, vdm, device))
}

fn first(data: &Dataset, n: usize) -> Digits {
    let images = data.test.first(n);
    Digits {
        levels: images.iter().flatten().copied().collect(),
        labels: images.labels().map(<[u8]>::to_vec),
    }
}

fn unlabelled(data: &Dataset, n: usize) -> Digits {
    Digits { labels: None, ..first(data, n) }
}

/// A stack of random bits to borrow from.
fn full_stack(pads: bool) -> Result<Stack> {
    use elbo_to_diffusion::codec::Categorical;
    let (rng, mut stack) = (&mut rng(2010), Stack::new(pads));
    let bytes: Vec<usize> = (0..4000).map(|_| rng.random_range(0..256)).collect();
    stack.push(&bytes, &vec![Categorical::uniform(256); 4000])?;
    Ok(stack)
}

/// The length of a path of one test image, whose latents are drawn from the encoder, with
/// one latent of z_5 moved by three, against the same noise without: the difference is more
/// than the longest image of the whole test set costs pixel by pixel.
#[test]
fn one_outlying_latent() -> Result<()> {
    let (data, vdm, device) = shipped(Preset::Quick)?;
    let chain = vdm.chain(&data, LATENTS, FINENESS, &device);
    let image = unlabelled(&data, 1).levels;
    let length = |moved: f64| -> Result<f64> {
        let rng = &mut rng(2011);
        let mut bits = 0.0;
        let mut z: Vec<f64> = Vec::new();
        for t in 1..=LATENTS {
            let q = if t == 1 { chain.first(&image)? } else { chain.up(t, &z)? };
            let draw = |n: &Normal| n.mean + n.deviation * normal(rng);
            let mut above: Vec<f64> = q.iter().map(draw).collect();
            if t == 5 {
                above[20] += moved;
            }
            // Densities, in units of the deviation: what bins make of them is the same but
            // for the units that each has for itself, 47 bits.
            let log = |n: &Normal, z: f64| {
                0.5 * ((z - n.mean) / n.deviation).powi(2) + n.deviation.ln()
            };
            let capped = |nats: f64| (nats / std::f64::consts::LN_2).min(47.0);
            if t > 1 {
                let p = chain.down(t, &above)?;
                let pairs = p.iter().zip(&z);
                bits += pairs.map(|(p, z)| capped(log(p, *z))).sum::<f64>();
            }
            bits -= q.iter().zip(&above).map(|(q, z)| capped(log(q, *z))).sum::<f64>();
            z = above;
        }
        Ok(bits)
    };
    let extra = length(3.0)? - length(0.0)?;
    assert!(extra > 400.0, "{extra}");
    Ok(())
}

/// The bits that all layers of one image take from a stack when they are popped before
/// anything is pushed.
#[test]
fn all_layers_at_once() -> Result<()> {
    const LEAST: f64 = 25_000.0;
    let (data, vdm, device) = shipped(Preset::Quick)?;
    let chain = vdm.chain(&data, LATENTS, FINENESS, &device);
    let (mut stack, image) = (full_stack(true)?, unlabelled(&data, 1).levels);
    let start = stack.bits();
    let mut z: Vec<f64> = Vec::new();
    for t in 1..=LATENTS {
        let q = if t == 1 { chain.first(&image)? } else { chain.up(t, &z)? };
        let models: Vec<_> = q.into_iter().map(|q| chain.bins(t).under(q)).collect();
        z = chain.bins(t).values(&stack.borrow(&models));
    }
    let borrowed = start - stack.bits();
    assert!(borrowed > LEAST && borrowed < 1.4 * LEAST, "{borrowed}");
    Ok(())
}

/// The length of an empty stack after one image, against what the image adds to a full one
/// and what it borrows there at most: the sum of both.
#[test]
fn the_first_image_pays() -> Result<()> {
    const TOLERANCE: f64 = 120.0;
    let (data, vdm, device) = shipped(Preset::Quick)?;
    let (chain, image) =
        (vdm.chain(&data, LATENTS, FINENESS, &device), unlabelled(&data, 1).levels);
    let mut empty = Stack::new(true);
    push_images(&mut empty, &chain, &image, |_| {})?;
    let (mut full, mut lowest) = (full_stack(true)?, f64::MAX);
    let start = full.bits();
    push_images(&mut full, &chain, &image, |stack| lowest = lowest.min(stack.bits()))?;
    let expected = full.bits() - start + start - lowest;
    let found = empty.bits();
    assert!((found - expected).abs() < TOLERANCE, "{found} {expected}");
    assert!(found > 4.0 * (full.bits() - start));
    Ok(())
}

/// The recorded sizes of others' files against the sizes in the chapter's report: the least
/// is 1.2 to 1.3 times that of the diffusion model, and all are more than independent pixels
/// take.
#[test]
fn others_on_the_test_images() {
    const RECORD: &str = include_str!("../../benches/recorded/compressors.txt");
    const REPORT: &str = include_str!("../snapshots/ch10_bits_back.snap");
    let table = RECORD.split("# ANCHOR: table\n").nth(1).expect("the table");
    let rows = table.lines().skip(1).take_while(|row| !row.starts_with('#'));
    let bytes: Vec<f64> =
        rows.map(|row| line(RECORD, row.split("  ").next().expect("a name"))[0]).collect();
    assert_eq!(bytes.len(), 9);
    let least = bytes.iter().copied().fold(f64::MAX, f64::min);
    assert_eq!(least, line(RECORD, "JPEG-XL, one mosaic")[0]);
    let files = REPORT.split("## Files with latents").nth(1).expect("the section");
    let ours = line(files, "diffusion")[0];
    assert!((1.2..1.3).contains(&(least / ours)), "{least} {ours}");
    assert!(line(REPORT, "independent pixels")[0] < least);
}

/// The bytes of a file of seven labelled images, place by place: digests computed here from
/// the images, the shipped weights and the file itself.
#[test]
fn layout_of_the_header() -> Result<()> {
    let (data, vdm, device) = shipped(Preset::Quick)?;
    let (codec, images) = (vdm.codec(&data, &device), first(&data, 7));
    let file = codec.encode(&images, Format::Csv, |_| {})?;
    let hash = |parts: &[&[u8]]| Sha256::digest(parts.concat()).to_vec();
    assert_eq!(&file[..12], b"ELBO\x01\0\x01\0\x07\0\0\0");
    let weights: &[u8] = include_bytes!("../../chapters/weights/ch05_vdm.safetensors");
    assert_eq!(file[12..16], hash(&[weights])[..4]);
    let labels = images.labels.as_deref().expect("labels");
    assert_eq!(file[20..28], hash(&[&images.levels, labels])[..8]);
    assert_eq!(file[28..34], hash(&[&file[..28], &file[34..]])[..6]);
    assert_eq!(Header::LENGTH, 34);
    // As IDX, without labels, and nothing on the stack.
    let none = Digits { levels: Vec::new(), labels: None };
    let empty = codec.encode(&none, Format::Idx, |_| {})?;
    assert_eq!((empty[6], empty.len()), (2, 34));
    assert_eq!(empty[16..20], file[16..20]);
    Ok(())
}

/// The recorded seconds and rates: each rate is the images over the seconds, all are above
/// 60 a second, and more images go faster.
#[test]
fn recorded_speed() {
    const RECORD: &str = include_str!("../../benches/recorded/codec.txt");
    let rows = [100.0, 447.0, 1797.0]
        .map(|images| (images, line(RECORD, &format!("{images} digits"))));
    for (images, row) in &rows {
        for (seconds, rate) in row[..2].iter().zip(&row[2..]) {
            assert!((images / seconds / rate - 1.0).abs() < 0.01, "{images} {seconds}");
            assert!(*rate > 60.0);
        }
    }
    assert!(rows.windows(2).all(|pair| pair[0].1[2] < pair[1].1[2]));
    assert!(rows.windows(2).all(|pair| pair[0].1[3] < pair[1].1[3]));
}

/// Damage of a file of the shipped codec: 1000 with other bytes are refused; of
/// 100 whose first digest was made right again, none is called good unless its images are.
#[test]
fn damaged_files() -> Result<()> {
    let (data, vdm, device) = shipped(Preset::Quick)?;
    let (codec, images) = (vdm.codec(&data, &device), unlabelled(&data, 6));
    let whole = codec.encode(&images, Format::Csv, |_| {})?;
    assert_eq!(codec.decode(&whole), Ok((images.clone(), Format::Csv)));
    let rng = &mut rng(2012);
    let mut refused = 0;
    while refused < 1000 {
        let file = damage(&whole, rng);
        if file != whole {
            assert!(codec.decode(&file).is_err());
            refused += 1;
        }
    }
    let mut decoded = 0;
    while decoded < 100 {
        let mut file = damage(&whole, rng);
        // Behind the header, or the number of images would be damaged as well.
        if file.len() <= Header::LENGTH || file[Header::LENGTH..] == whole[Header::LENGTH..]
        {
            continue;
        }
        file[..Header::LENGTH].copy_from_slice(&whole[..Header::LENGTH]);
        if let Ok((back, _)) = codec.decode(&with_good_checksum(file)) {
            assert_eq!(back, images, "wrong images were called good");
        }
        decoded += 1;
    }
    Ok(())
}

/// The files of both presets, coded on the calling thread and in pools of one and of three
/// threads: the same bytes, which decode to the digits with their labels, as text too.
#[test]
fn coded_alike_on_every_thread() -> Result<()> {
    fn check(codec: &Codec<impl Chain + Sync>, images: &Digits) -> Result<()> {
        let encode = || codec.encode(images, Format::Csv, |_| {});
        let file = encode()?;
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let pool = pool.expect("a pool of threads");
            assert!(pool.install(encode)? == file, "{threads} threads");
            let (back, format) = pool.install(|| codec.decode(&file)).expect("the images");
            assert_eq!(&back, images);
            let written = text::write(&back, format);
            assert_eq!(text::parse(written), Ok((back, format)));
        }
        Ok(())
    }
    let (data, vdm, device) = shipped(Preset::Quick)?;
    check(&vdm.codec(&data, &device), &first(&data, 40))?;
    let (data, vdm, device) = shipped(Preset::Full)?;
    check(&vdm.codec(&data, &device), &unlabelled(&data, 6))
}

/// The net length of 128 test images with pads and without: they differ by no more than
/// four standard errors of the noise in the latents, two hundredths of a bit.
#[test]
fn pads_on_the_diffusion_model() -> Result<()> {
    const TOLERANCE: f64 = 0.045;
    let (data, vdm, device) = shipped(Preset::Quick)?;
    let chain = vdm.chain(&data, LATENTS, FINENESS, &device);
    let images = unlabelled(&data, 128).levels;
    let net = |pads: bool| -> Result<f64> {
        let mut stack = full_stack(pads)?;
        let start = stack.bits();
        for batch in images.chunks(16 * 64) {
            push_images(&mut stack, &chain, batch, |_| {})?;
        }
        Ok((stack.bits() - start) / images.len() as f64)
    };
    let [with, without] = [net(true)?, net(false)?];
    assert!((with - without).abs() < TOLERANCE, "{with} {without}");
    println!("{with} {without}");
    Ok(())
}
