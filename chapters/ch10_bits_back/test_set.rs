//! The test images as files, and how a file grows.

use std::{io::Write, time::Instant};

use burn::tensor::Device;
use elbo_to_diffusion::{
    autoencoder::{Autoencoder, NegativeElbo},
    chapter::{Chapter, Number, Preset},
    codec::{Categorical, Chain, Codec, Digits, Format, Stack},
    data::{Dataset, Images},
    error::{Error, Result},
    evaluation::{Bound, Draws},
    vdm::Schedule,
};
use flate2::{Compression, write::GzEncoder};
use rayon::prelude::*;

use super::{
    bars::{Bar, bars},
    chain::{Effect, levels},
    models::{Autoencoders, LATENTS, Placed, Vdm, alone},
};

/// How often the test images are coded, beside their file, for the net length: the luck of
/// one draw of the latents is as large as what is to be seen.
struct Repeats {
    more: usize,
    /// Three standard errors of the difference between two machines, which draw other
    /// latents, in percent of the length; the bound has its own noise.
    luck: f64,
}

const DIFFUSION: Repeats = Repeats { more: 3, luck: 0.5 };
/// They are slow.
const CONVOLUTIONS: Repeats = Repeats { more: 0, luck: 0.75 };
/// They are quick.
const AUTOENCODERS: Repeats = Repeats { more: 15, luck: 0.3 };

/// A file of the test images.
pub struct Coded {
    name: &'static str,
    bytes: usize,
    /// The bound of the model that coded it, in bits per dimension.
    pub bound: f64,
    /// Images on the stack and its length in bits, after every batch.
    pub growth: Vec<(usize, f64)>,
    /// Bits per dimension with all bits back, the mean over codings with other latents.
    net: f64,
    /// How far that may be from the same on another machine, in percent.
    luck: f64,
    /// Images a second.
    encoded: f64,
    decoded: f64,
}

pub fn without_labels(images: &Images) -> Digits {
    Digits { levels: levels(images), labels: None }
}

/// Codes the images, decodes the file again and compares.
fn code(
    name: &'static str,
    codec: &Codec<impl Chain + Sync>,
    images: &Images,
    bound: f64,
    Repeats { more, luck }: Repeats,
) -> Result<Coded> {
    let (digits, plan) = (without_labels(images), codec.plan(images.len(), false));
    let start = Instant::now();
    let mut lengths = Vec::new();
    let file = codec.encode(&digits, Format::Csv, |stack| lengths.push(stack.bits()))?;
    let encoding = start.elapsed().as_secs_f64();
    let (back, _) =
        codec.decode(&file).map_err(|why| Error::failure(format!("{name} {why}")))?;
    if back != digits {
        return Err(Error::failure(format!("the file of {name} decodes to other images")));
    }
    let decoding = start.elapsed().as_secs_f64() - encoding;
    let speed = |seconds| images.len() as f64 / seconds;
    let sizes = (0..plan.alone).map(|_| 1).chain(plan.batches);
    let coded = sizes.scan(0, |sum, n| {
        *sum += n;
        Some(*sum)
    });
    let growth: Vec<(usize, f64)> = coded.zip(lengths).collect();
    // What came before the first batch was coded pixel by pixel.
    let before = plan.alone.checked_sub(1).map_or(0.0, |i| growth[i].1);
    let last = growth.last().map_or(0.0, |last| last.1);
    let net = (last - before) / ((images.len() - plan.alone) * images.dim()) as f64;
    // Full of zeros, a stack would be empty.
    let nets = (1..=more).into_par_iter();
    let nets = nets.map(|byte| Ok(Effect::of(codec.chain(), images, byte)?.net));
    let net = (net + nets.sum::<Result<f64>>()?) / (more + 1) as f64;
    let (encoded, decoded) = (speed(encoding), speed(decoding));
    Ok(Coded { name, bytes: file.len(), bound, growth, net, luck, encoded, decoded })
}

/// The file of the diffusion model.
pub fn vdm(chapter: &Chapter, data: &Dataset, vdm: &Vdm, device: &Device) -> Result<Coded> {
    let (repeats, passes) = match chapter.preset() {
        Preset::Quick => (DIFFUSION, 4),
        Preset::Full => (CONVOLUTIONS, 2),
    };
    let draws = Draws { passes, seed: chapter.seed() };
    let denoise = |z, gamma| vdm.denoise(z, gamma);
    let gammas = Placed.grid(LATENTS);
    let bound = Bound::discrete(&data.test, &gammas, denoise, draws, device)?;
    let codec = vdm.codec(data, device);
    code("diffusion", &codec, &data.test, data.bits_per_dim(bound.total()), repeats)
}

/// The files of the autoencoders.
pub fn autoencoders(
    chapter: &Chapter,
    data: &Dataset,
    models: &Autoencoders,
    device: &Device,
) -> Result<Vec<Coded>> {
    let draws = Draws { passes: 16, seed: chapter.seed() };
    fn bound(
        model: &impl Autoencoder,
        images: &Images,
        draws: Draws,
        device: &Device,
    ) -> Result<f64> {
        let elbo = NegativeElbo::estimate(model, images, draws, device)?;
        Ok(elbo.reconstruction + elbo.kl.iter().sum::<f64>())
    }
    let bounds = [
        bound(&models.vae, &data.test, draws, device)?,
        bound(&models.hvae, &data.test, draws, device)?,
    ];
    let named =
        ["VAE", "hierarchy"].into_iter().zip(models.codecs(data, device)).zip(bounds);
    named
        .map(|((name, codec), nats)| {
            code(name, &codec, &data.test, data.bits_per_dim(nats), AUTOENCODERS)
        })
        .collect()
}

/// Bytes of what needs no model of images: as they are, by gzip, and pixel by pixel.
fn plain(data: &Dataset) -> Result<[usize; 3]> {
    let raw = levels(&data.test);
    let cannot = |e: std::io::Error| Error::failure(format!("cannot compress: {e}"));
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&raw).map_err(cannot)?;
    let mut stack = Stack::new(false);
    let pixels: Vec<_> = alone(data).pixels().map(Categorical::from_logs).collect();
    for image in data.test.iter() {
        let symbols: Vec<usize> = image.iter().map(|&k| k.into()).collect();
        stack.push(&symbols, &pixels)?;
    }
    let independent = (stack.bits() / 8.0).ceil() as usize;
    Ok([raw.len(), gzip.finish().map_err(cannot)?.len(), independent])
}

pub fn report(chapter: &mut Chapter, data: &Dataset, coded: &[Coded]) -> Result<()> {
    let dims = (data.test.len() * data.test.dim()) as f64;
    let bits = |bytes: usize| 8.0 * bytes as f64 / dims;
    let number = |value| Number::within(value, 0.02, 3);
    let bytes = |bytes: usize| Number::within(bytes as f64, 75.0, 0);
    chapter.report.section("Files without latents");
    let names = ["a byte a pixel", "gzip", "independent pixels"];
    let mut drawn = Vec::new();
    let mut rows = Vec::new();
    for (name, bytes) in names.into_iter().zip(plain(data)?) {
        let numbers = vec![Number::count(bytes), Number::exact(bits(bytes), 3)];
        rows.push((name.to_string(), numbers));
        drawn.push(Bar { name, bytes: bytes as f64, bound: None });
    }
    chapter.report.table(&["447 test images", "bytes", "bits/dim"], &rows);

    chapter.report.section("Files with latents");
    let mut rows = Vec::new();
    for file in coded {
        let bound = file.bound * dims / 8.0;
        let [size, promise] = [file.bytes, bound.round() as usize].map(bytes);
        let numbers = vec![size, promise, number(bits(file.bytes)), number(file.bound)];
        rows.push((file.name.to_string(), numbers));
        drawn.push(Bar { name: file.name, bytes: file.bytes as f64, bound: Some(bound) });
    }
    let header = ["447 test images", "bytes", "bound", "bits/dim", "bound (bits/dim)"];
    chapter.report.table(&header, &rows);
    for file in coded {
        let excess = 100.0 * (file.net / file.bound - 1.0);
        let number = Number::within(excess, file.luck, 2);
        chapter.report.row(&format!("{}, net above the bound", file.name), &number, "%");
    }
    chapter.report.line("decoded again, every file is the images it was made of: yes");
    for file in coded {
        let name = file.name;
        chapter.metric(&format!("{name}_file_bits_per_dim"), bits(file.bytes));
        chapter.timing(&format!("{name}_encoded_images_per_second"), file.encoded);
        chapter.timing(&format!("{name}_decoded_images_per_second"), file.decoded);
    }
    drawn.remove(0);
    chapter.figure("files", &bars(&drawn)?)
}
