//! Tests of the codec on models that need no trained weights.

use burn::tensor::{Device, Tensor};
use constriction::stream::model::{DecoderModel, EncoderModel, UniformModel};
use proptest::prelude::*;
use rand::RngExt;

use super::{
    damage::{damage, with_good_checksum},
    *,
};
use crate::{
    autoencoder::{HvaeConfig, Size},
    data::{Dataset, Marginals, digits::digits},
    error::Result,
    host::{download, upload},
    network::{Layers, TrunkConfig},
    random::{Stream as Purpose, rng},
    vdm::{Denoiser, Linear, Schedule, diffuse, terms::decoder_log_probs},
};

const WHOLE: u64 = 1 << PRECISION;

/// The digits, and the exact denoiser of independent pixels.
fn independent() -> (Dataset, Denoiser, Device) {
    let (data, device) = (digits().unwrap(), Device::flex());
    let trunk = TrunkConfig {
        gamma_min: -8.0,
        gamma_max: 5.0,
        layers: Layers::Dense,
        hidden: 8,
        blocks: 0,
        dropout: 0.0,
    };
    let init = &mut rng(0, Purpose::Batch, 0);
    let denoiser = Denoiser::for_images(&data.train, trunk, init, &device);
    (data, denoiser, device)
}

/// A chain of some latents over these noise levels.
fn chain<'a>(
    denoiser: &'a Denoiser,
    data: &Dataset,
    [gamma_min, gamma_max]: [f64; 2],
    latents: usize,
) -> Diffusion<impl Fn(Tensor<2>, Tensor<1>) -> Tensor<2> + 'a> {
    let gammas = Linear { gamma_min, gamma_max }.grid(latents);
    let denoise = |z, gamma| denoiser.denoise(z, gamma, None);
    Diffusion::new(denoise, gammas, data.train.grey_values(), 64, 4.0, &Device::flex())
}

fn first(data: &Dataset, n: usize, labelled: bool) -> Digits {
    let images = data.test.first(n);
    let labels = images.labels().filter(|_| labelled).map(<[u8]>::to_vec);
    Digits { levels: images.iter().flatten().copied().collect(), labels }
}

/// Every symbol has a share, the shares tile the whole, and each unit finds its symbol.
fn assert_tiles<D: Cumulative>(model: &Quantized<D>, units: impl IntoIterator<Item = u64>) {
    let mut next = 0;
    for symbol in 0..model.0.count() {
        let (left, own) = model.interval(symbol);
        assert_eq!(left, next, "symbol {symbol}");
        next = left + own.get();
    }
    assert_eq!(next, WHOLE);
    assert_eq!(model.left_cumulative_and_probability(model.0.count()), None);
    for unit in units {
        let (symbol, left, own) = model.quantile_function(unit);
        assert!(left <= unit && unit < left + own.get());
        assert_eq!((left, own), model.interval(symbol));
    }
}

proptest! {
    #[test]
    fn bins_tile_the_whole_under_every_gaussian(
        mean in prop_oneof![-4.0..4.0, Just(1e300), Just(-1e9), Just(f64::NAN)],
        deviation in prop_oneof![1e-6..1e-2, 0.1..30.0, Just(0.0), Just(f64::INFINITY)],
        bits in 1_u32..11,
        units in prop::collection::vec(0..WHOLE, 8),
    ) {
        let bins = Bins::new(bits);
        let ends = [0, 1, WHOLE / 2, WHOLE - 1];
        assert_tiles(&bins.under(Normal { mean, deviation }), units.into_iter().chain(ends));
    }

    #[test]
    fn grey_levels_tile_the_whole_under_all_weights(
        weights in prop::collection::vec(
            prop_oneof![0.0..1.0, Just(0.0), Just(-1.0), Just(f64::NAN), Just(1e-300)], 2..40),
        units in prop::collection::vec(0..WHOLE, 8),
    ) {
        assert_tiles(&Categorical::new(weights), units);
    }
}

#[test]
fn equal_shares_are_those_of_the_uniform_model_of_the_crate() {
    let (ours, theirs) =
        (Categorical::uniform(4096), UniformModel::<u64, PRECISION>::new(4096));
    for symbol in [0, 1, 2047, 4095] {
        let theirs = theirs.left_cumulative_and_probability(symbol).unwrap();
        assert_eq!(ours.left_cumulative_and_probability(symbol).unwrap(), theirs);
        assert_eq!(ours.bits(symbol), 12.0);
    }
}

#[test]
fn a_stack_is_as_long_as_the_symbols_on_it_say() -> Result<()> {
    let (mut stack, rng) = (Stack::new(false), &mut rng(1, Purpose::Exact, 0));
    // The first symbol on an empty stack costs whatever its place costs, up to 48 bits.
    stack.push(&[200; 100], &vec![Categorical::uniform(256); 100])?;
    let (start, mut ideal) = (stack.bits(), 0.0);
    for _ in 0..20_000 {
        let model = Categorical::new((0..17).map(|_| rng.random::<f64>().powi(8)));
        let symbol = rng.random_range(0..17);
        ideal += model.bits(symbol);
        stack.push(&[symbol], &[model])?;
    }
    // Whole bits, and a part in a hundred thousand: 16 bits of the top are above every
    // probability.
    let length = stack.bits() - start;
    assert!((length - ideal).abs() < 1.0 + 1e-5 * ideal, "{length} {ideal}");
    Ok(())
}

#[test]
fn what_is_borrowed_can_be_put_back_even_if_there_was_nothing_to_borrow() -> Result<()> {
    let (rng, bins) = (&mut rng(2, Purpose::Exact, 0), Bins::new(8));
    for pads in [false, true] {
        for start in [0, 1, 3, 500] {
            let mut stack = Stack::new(pads);
            let bytes: Vec<usize> = (0..start).map(|_| rng.random_range(0..256)).collect();
            stack.push(&bytes, &vec![Categorical::uniform(256); start])?;
            let before = stack.clone().into_words();
            let model = |_| bins.under(Normal { mean: rng.random(), deviation: 0.5 });
            let models: Vec<_> = (0..100).map(model).collect();
            let symbols = stack.borrow(&models);
            assert!(!stack.is_empty());
            stack.put_back(&symbols, &models)?;
            assert_eq!(stack.clone().into_words(), before, "{start} bytes");
            assert_eq!(stack.pop(&vec![Categorical::uniform(256); start]), bytes);
            assert!(stack.is_empty());
            assert!(stack.put_back(&symbols, &models).is_err());
        }
    }
    Ok(())
}

#[test]
fn images_come_back_and_leave_the_stack_as_it_was() -> Result<()> {
    let (data, denoiser, _) = independent();
    let chain = chain(&denoiser, &data, [-8.0, 5.0], 7);
    for n in [1, 5, 20] {
        let digits = first(&data, n, false);
        let mut stack = Stack::new(true);
        stack.push(&[77; 300], &vec![Categorical::uniform(256); 300])?;
        let (before, mut steps) = (stack.clone().into_words(), 0);
        push_images(&mut stack, &chain, &digits.levels, |_| steps += 1)?;
        assert_eq!(steps, 2 * 7 + 1);
        assert_eq!(pop_images(&mut stack, &chain, n)?, digits.levels);
        assert_eq!(stack.into_words(), before);
    }
    Ok(())
}

/// The same symbols, drawn from a copy of the stack, cost what their distributions say.
#[test]
fn the_net_length_is_the_sum_over_the_path() -> Result<()> {
    let (data, denoiser, _) = independent();
    let chain = chain(&denoiser, &data, [-8.0, 5.0], 3);
    let digits = first(&data, 4, false);
    let mut stack = Stack::new(true);
    stack.push(&[200; 4000], &vec![Categorical::uniform(256); 4000])?;
    let (start, mut copy, mut ideal) = (stack.bits(), stack.clone(), 0.0);
    push_images(&mut stack, &chain, &digits.levels, |_| {})?;

    fn over(bins: &Bins, normals: Vec<Normal>) -> Vec<Quantized<Binned<'_>>> {
        normals.into_iter().map(|normal| bins.under(normal)).collect()
    }
    fn sum<D: Cumulative>(models: &[Quantized<D>], symbols: &[usize]) -> f64 {
        models.iter().zip(symbols).map(|(model, symbol)| model.bits(*symbol)).sum()
    }
    let mut z: Vec<Vec<usize>> = Vec::new();
    for t in 1..=3 {
        let q = match t {
            1 => chain.first(&digits.levels)?,
            _ => chain.up(t, &chain.bins(t - 1).values(&z[t - 2]))?,
        };
        let q = over(chain.bins(t), q);
        z.push(copy.borrow(&q));
        ideal -= sum(&q, &z[t - 1]);
        // So that the copy has the same bits on top for the next layer.
        if t == 1 {
            let levels: Vec<usize> = digits.levels.iter().map(|&k| k.into()).collect();
            let p = chain.pixels(&chain.bins(1).values(&z[0]))?;
            copy.push(&levels, &p)?;
            ideal += sum(&p, &levels);
        } else {
            let p =
                over(chain.bins(t - 1), chain.down(t, &chain.bins(t).values(&z[t - 1]))?);
            copy.push(&z[t - 2], &p)?;
            ideal += sum(&p, &z[t - 2]);
        }
    }
    let prior = chain.bins(3).prior();
    ideal += z[2].iter().map(|bin| prior.bits(*bin)).sum::<f64>();
    // Whole bits of a stack of 32,000, and a little for its 16 bits of room.
    assert!((stack.bits() - start - ideal).abs() < 3.0, "{} {ideal}", stack.bits() - start);
    Ok(())
}

/// The Gaussians of the chain are those of chapter 5: the encoder's composed are the forward
/// marginal, the decoder's are its tensors.
#[test]
fn the_chain_is_that_of_the_diffusion_model() -> Result<()> {
    let (data, denoiser, device) = independent();
    let chain = chain(&denoiser, &data, [-8.0, 5.0], 9);
    let gammas = Linear { gamma_min: -8.0, gamma_max: 5.0 }.grid(9);
    let digits = first(&data, 1, false);
    let mut normals = chain.first(&digits.levels)?;
    let x = data.test.first(1).values(&device);
    for t in 1..=9 {
        if t > 1 {
            let means: Vec<f64> = normals.iter().map(|normal| normal.mean).collect();
            let step = chain.up(t, &means)?;
            let shrink = chain.up(t, &[1.0])?[0].mean;
            for (normal, step) in normals.iter_mut().zip(step) {
                normal.mean = step.mean;
                normal.deviation = (shrink * normal.deviation).hypot(step.deviation);
            }
        }
        let gamma = Tensor::full([1], gammas[t - 1], &device);
        let at = |eps: f64| {
            download(diffuse(x.clone(), gamma.clone(), Tensor::full([1, 64], eps, &device)))
        };
        for ((normal, mean), above) in normals.iter().zip(at(0.0)?).zip(at(1.0)?) {
            assert!((normal.mean - mean).abs() < 1e-6, "t = {t}");
            assert!((normal.mean + normal.deviation - above).abs() < 1e-6, "t = {t}");
        }
    }
    let z: Vec<f64> = (0..64).map(|i| f64::from(i) / 32.0 - 1.0).collect();
    let (tensor, values) =
        (upload(z.iter().copied(), &device).reshape([1, 64]), data.train.grey_values());
    let log_probs = decoder_log_probs(tensor, -8.0, upload(values, &device));
    let log_probs = download(log_probs)?;
    for (pixel, logs) in chain.pixels(&z)?.iter().zip(log_probs.chunks(17)) {
        for (k, log) in logs.iter().enumerate().filter(|(_, log)| **log > -20.0) {
            let bits = -log / std::f64::consts::LN_2;
            assert!((pixel.bits(k) - bits).abs() < 1e-3 * (1.0 + bits), "{k} {bits}");
        }
    }
    Ok(())
}

/// What a network says of an image is the same to the last bit, whoever stands beside it.
#[test]
fn an_image_is_coded_alike_in_every_company() -> Result<()> {
    let (data, denoiser, _) = independent();
    let chain = chain(&denoiser, &data, [-8.0, 5.0], 3);
    let draw = &mut rng(3, Purpose::Exact, 0);
    let z: Vec<f64> = (0..40 * 64).map(|_| draw.random_range(-2.0..2.0)).collect();
    let together = chain.down(2, &z)?;
    for image in [0, 15, 16, 39] {
        let alone = chain.down(2, &z[image * 64..(image + 1) * 64])?;
        assert_eq!(alone, together[image * 64..(image + 1) * 64], "image {image}");
    }
    Ok(())
}

#[test]
fn a_plan_leaves_nobody_out_and_lends_no_more_than_there_is() {
    let pace = Pace { borrowed: 740.0, net: 110.0 };
    for (images, bits) in [(0, 0.0), (1, 0.0), (3, 9.9), (447, 0.0), (447, 1485.0)] {
        let plan = Plan::new(images, bits, 150.0, pace);
        assert_eq!(plan.alone + plan.batches.iter().sum::<usize>(), images);
        let mut stack = bits + 150.0 * plan.alone as f64;
        for n in plan.batches {
            assert!((1..=32).contains(&n));
            assert!(n == 1 || n as f64 * pace.borrowed <= stack);
            stack += n as f64 * pace.net;
        }
    }
    assert_eq!(Plan::new(9, 0.0, 150.0, pace).alone, 5);
    assert_eq!(Plan::new(447, 1485.0, 150.0, pace).alone, 0);
}

/// A codec of a short chain between these noise levels.
fn codec<'a>(
    denoiser: &'a Denoiser,
    data: &Dataset,
    ends: [f64; 2],
) -> Codec<Diffusion<impl Fn(Tensor<2>, Tensor<1>) -> Tensor<2> + 'a>> {
    let alone = Marginals::fit(&data.train, 0.1);
    Codec::new(chain(denoiser, data, ends, 4), 7, [1, 2, 3, 4], &alone, 150.0)
}

#[test]
fn files_decode_to_what_they_were_made_of() -> Result<()> {
    let (data, denoiser, _) = independent();
    let codec = codec(&denoiser, &data, [-8.0, 5.0]);
    for (n, labelled, format) in [
        (0, false, Format::Csv),
        (0, true, Format::Csv),
        (1, false, Format::Idx),
        (1, true, Format::Csv),
        (40, false, Format::Csv),
        (40, true, Format::Csv),
    ] {
        let digits = first(&data, n, labelled);
        let file = codec.encode(&digits, format, |_| {})?;
        assert_eq!(codec.decode(&file), Ok((digits, format)), "{n} images");
    }
    Ok(())
}

#[test]
fn a_thousand_damaged_files_are_refused() -> Result<()> {
    let (data, denoiser, _) = independent();
    let codec = codec(&denoiser, &data, [-8.0, 5.0]);
    let whole = codec.encode(&first(&data, 12, true), Format::Csv, |_| {})?;
    let rng = &mut rng(4, Purpose::Exact, 0);
    let mut refused = 0;
    while refused < 1000 {
        let file = damage(&whole, rng);
        if file != whole {
            assert!(codec.decode(&file).is_err(), "{file:?}");
            refused += 1;
        }
    }
    Ok(())
}

/// The same with the digest of the file made right again, so that the damage reaches the
/// stack: what comes out is never called good, unless it is.
#[test]
fn damage_behind_a_good_checksum_is_refused_too() -> Result<()> {
    let (data, denoiser, _) = independent();
    let codec = codec(&denoiser, &data, [-8.0, 5.0]);
    let digits = first(&data, 6, true);
    let whole = codec.encode(&digits, Format::Csv, |_| {})?;
    let rng = &mut rng(5, Purpose::Exact, 0);
    for _ in 0..100 {
        let mut file = damage(&whole, rng);
        if file.len() < Header::LENGTH {
            continue;
        }
        // A header that promises a million images would take an hour to be refused.
        file[8..12].copy_from_slice(&whole[8..12]);
        if let Ok((back, _)) = codec.decode(&with_good_checksum(file)) {
            assert_eq!(back, digits, "wrong images were called good");
        }
    }
    Ok(())
}

#[test]
fn every_refusal_says_why() -> Result<()> {
    let (data, denoiser, _) = independent();
    let ours = codec(&denoiser, &data, [-8.0, 5.0]);
    let file = ours.encode(&first(&data, 3, false), Format::Csv, |_| {})?;
    let why = |file: &[u8]| ours.decode(file).unwrap_err();
    for length in 0..file.len() {
        let why = why(&file[..length]);
        assert!(why.contains("cut off") || why.contains("no file that"), "{length}: {why}");
    }
    assert!(why(b"1,2,3").contains("is no file that `compress` wrote"));
    let changed = |place: usize| {
        let mut file = file.clone();
        file[place] ^= 1;
        file
    };
    assert!(why(&changed(4)).contains("of version 0"));
    assert!(why(&changed(20)).contains("damaged or cut off"));
    assert!(why(&changed(file.len() - 1)).contains("damaged or cut off"));
    let alone = Marginals::fit(&data.train, 0.1);
    let other = |weights| {
        Codec::new(chain(&denoiser, &data, [-8.0, 5.0], 4), 7, weights, &alone, 150.0)
    };
    let refusal = other([9; 4]).decode(&file).unwrap_err();
    assert!(refusal.contains("other weights"), "{refusal}");
    // A chain whose numbers differ in the last digits, as another machine's may.
    let elsewhere = codec(&denoiser, &data, [-8.0, 5.0 + 1e-12]);
    let refusal = elsewhere.decode(&file).unwrap_err();
    assert!(refusal.contains("floating-point results differ"), "{refusal}");
    Ok(())
}

/// The middle bin of each layer is as wide as the deviation of p(z_t | z_{t+1}) over the
/// fineness, or up to twice as fine, because the bins are a power of two.
#[test]
fn bins_are_as_fine_as_they_are_asked_to_be() {
    let gammas = Linear { gamma_min: -4.0, gamma_max: 5.0 }.grid(7);
    let signal = |gamma: f64| 1.0 / (1.0 + gamma.exp());
    for fineness in [1.0, 4.0] {
        let denoise = |z: Tensor<2>, _: Tensor<1>| z;
        let values = vec![-1.0, 1.0];
        let device = Device::flex();
        let chain = Diffusion::new(denoise, gammas.clone(), values, 4, fineness, &device);
        for (t, pair) in (1..).zip(gammas.windows(2)) {
            let [near, far] = [signal(pair[0]), signal(pair[1])];
            let deviation = ((1.0 - near) / (1.0 - far) * (1.0 - far / near)).sqrt();
            let middle = chain.bins(t).count() / 2;
            let medians = chain.bins(t).values(&[middle - 1, middle]);
            let bins = deviation / (medians[1] - medians[0]);
            assert!((0.99..2.01).contains(&(bins / fineness)), "{t}: {bins} {fineness}");
        }
    }
}

/// The Gaussians of a hierarchy, as a code uses them, are those that its encoders give.
#[test]
fn a_hierarchy_is_coded_with_its_own_gaussians() -> Result<()> {
    let (data, device) = (digits().unwrap(), Device::flex());
    let size = Size { hidden: 8, blocks: 1, dropout: 0.0 };
    let latents = [3, 2];
    let config = HvaeConfig {
        latents: latents.to_vec(),
        encoder: size,
        between: size,
        decoder: size,
    };
    let hvae = config.init(&data.train, &mut rng(4, Purpose::Batch, 0), &device);
    let values = data.train.grey_values();
    let kind = Kind { values: values.clone(), dim: 64 };
    let chain = Latents::hierarchy(&hvae, &latents, kind, &device);
    let images = first(&data, 2, false).levels;
    let x: Vec<f64> = images.iter().map(|&k| values[usize::from(k)]).collect();
    let below = [0.3, -1.1, 0.6, 0.2, 0.0, -0.4];
    for (found, encoder, inputs) in [
        (chain.first(&images)?, &hvae.encoders[0], &x[..]),
        (chain.up(2, &below)?, &hvae.encoders[1], &below[..]),
    ] {
        let rows = upload(inputs.iter().copied(), &device).reshape([2, inputs.len() / 2]);
        let q = encoder.given(rows, None);
        let (means, log_vars) = (download(q.mean)?, download(q.log_var)?);
        assert_eq!(found.len(), means.len());
        for (normal, (mean, log_var)) in found.iter().zip(means.iter().zip(&log_vars)) {
            assert!((normal.mean - mean).abs() < 1e-5, "{normal:?} {mean}");
            let deviation = (0.5 * log_var).exp();
            assert!((normal.deviation / deviation - 1.0).abs() < 1e-5, "{normal:?}");
        }
    }
    Ok(())
}
