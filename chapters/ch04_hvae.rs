//! Chapter 4: a Markovian hierarchy of latents above the digits.

use std::process::ExitCode;

use burn::{module::Module, tensor::Tensor};
use elbo_to_diffusion::{
    autoencoder::{
        Autoencoder, CategoricalDecoder, Fit, GaussianNetwork, Hvae, HvaeConfig, ImportanceWeighted, NegativeElbo,
        Size, Vae,
    },
    chapter::{self, Chapter, Flag, Number, Spec},
    data::{Dataset, Images},
    error::Result,
    evaluation::Draws,
    figure::{ImageRow, image_rows},
    host::download,
    oracle::Estimate,
    random::{Stream, normal, rng},
};

use self::black_and_white::{INKS, Networks, SAMPLES};

#[path = "black_and_white.rs"]
mod black_and_white;
#[path = "ch04_hvae/exact.rs"]
mod exact;
#[path = "ch04_hvae/levels.rs"]
mod levels;

fn main() -> ExitCode {
    let spec = Spec {
        name: "ch04_hvae",
        about: "Chapter 4: train a hierarchy of three levels on the digits and compare it with chapter 3's autoencoder",
        flags: &[Flag::Device, Flag::Mnist, Flag::Full, Flag::Steps, Flag::Weights, Flag::Resume],
    };
    chapter::main(spec, run)
}

// ANCHOR: config
/// Three levels of 16, 8 and 4 latents. The widths are chosen so that it has no more weights than chapter 3's model.
fn config() -> HvaeConfig {
    HvaeConfig {
        latents: vec![16, 8, 4],
        encoder: Size { hidden: 128, blocks: 0, dropout: 0.0 },
        between: Size { hidden: 54, blocks: 1, dropout: 0.0 },
        decoder: Size { hidden: 128, blocks: 0, dropout: 0.1 },
    }
}
// ANCHOR_END: config

fn run(chapter: &mut Chapter) -> Result<()> {
    if black_and_white::asked_for(chapter)? { mnist(chapter) } else { digits(chapter) }
}

fn digits(chapter: &mut Chapter) -> Result<()> {
    let data = chapter.dataset()?;
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    let steps = chapter.steps(2400);
    let init = |k: u64| rng(seed, Stream::Initialisation, k);
    let hvae = config().init(&data.train, &mut init(0), &device);
    let loaded = chapter.load_weights(&hvae)?;
    exact::chains(chapter)?;
    // The same network, weights and draws as in chapter 3.
    let vae = Vae::new(&data.train, 16, Vae::SIZES, &mut init(16), &device);
    let vae = train(chapter, &data, "VAE", &vae, steps)?;
    let hvae = match loaded {
        Some(model) => model,
        None => train(chapter, &data, "HVAE", &hvae, steps)?,
    };
    chapter.save_weights(&hvae)?;
    compare(chapter, &data, &vae, &hvae)?;
    levels::level_by_level(chapter, &data, &hvae)?;
    what_each_level_decides(chapter, &data, &hvae)?;
    draw(chapter, &data, &vae, &hvae)
}

/// One hierarchy above black and white MNIST: three levels of 32, 16 and 8 latents.
fn mnist(chapter: &mut Chapter) -> Result<()> {
    const LATENTS: [usize; 3] = [32, 16, 8];
    let fresh = |networks: Networks, train: &Images, rng: &mut _, device: &_| {
        let between = Size { hidden: 128, blocks: 1, dropout: 0.0 };
        let size = networks.size();
        let config = HvaeConfig { latents: LATENTS.to_vec(), encoder: size, between, decoder: size };
        let mut model = config.init(train, rng, device);
        if networks == Networks::Convolutional {
            model.encoders[0] = GaussianNetwork::convolutional(train.side(), LATENTS[0], size, rng, device);
            model.decoder = CategoricalDecoder::convolutional(LATENTS[0], train, size, rng, device);
        }
        model
    };
    let device = chapter.device.clone();
    let means = |model: &Hvae, noise: &mut _| {
        let top = normal([SAMPLES, LATENTS[2]], noise, &device);
        model.decoder.mean(model.descend(LATENTS.len(), 1, top, noise), &INKS)
    };
    black_and_white::run(chapter, fresh, means)
}

fn train<M: Autoencoder>(chapter: &mut Chapter, data: &Dataset, what: &str, model: &M, steps: usize) -> Result<M> {
    let fit = Fit::new(steps, 0.3);
    let loss = fit.loss(&data.train, chapter.seed(), &chapter.device);
    Ok(chapter.stage(what, &fit).train(model, loss)?.model)
}

// ANCHOR: compare
fn compare(chapter: &mut Chapter, data: &Dataset, vae: &Vae, hvae: &Hvae) -> Result<()> {
    let mut rows = Vec::new();
    let one_level = bounds_of(chapter, data, "VAE", vae, &mut rows)?;
    let hierarchy = bounds_of(chapter, data, "HVAE", hvae, &mut rows)?;
    chapter.report.section("Two models of one size (bits/dim)");
    chapter.report.table(&["", "reconstruction", "KL", "-ELBO", "-L_200"], &rows);
    let gain = Number::within(data.bits_per_dim(one_level - hierarchy), 0.004, 3);
    chapter.report.row("gain of the HVAE, test", &gain, "bits/dim");
    chapter.report.row("weights of the VAE", &Number::count(vae.num_params()), "");
    chapter.report.row("weights of the HVAE", &Number::count(hvae.num_params()), "");
    Ok(())
}

/// Adds the rows of a model, and returns its -ELBO of the test images in nats.
fn bounds_of(
    chapter: &mut Chapter,
    data: &Dataset,
    name: &str,
    model: &impl Autoencoder,
    rows: &mut Vec<(String, Vec<Number>)>,
) -> Result<f64> {
    let (seed, prefix) = (chapter.seed(), if name == "VAE" { "vae_" } else { "" });
    let mut test = 0.0;
    for (part, images) in [("validation", &data.validation), ("test", &data.test)] {
        let elbo = NegativeElbo::estimate(model, images, Draws { passes: 64, seed }, &chapter.device)?;
        let tight = ImportanceWeighted::estimate(model, images, Draws { passes: 200, seed }, &chapter.device)?;
        let terms = [elbo.reconstruction, elbo.kl.iter().sum(), elbo.total(), tight.nats];
        test = elbo.total();
        rows.push((
            format!("{name}, {part}"),
            terms.map(|nats| Number::within(data.bits_per_dim(nats), 0.003, 3)).to_vec(),
        ));
        for (metric, nats) in [
            ("bits_per_dim", elbo.total()),
            ("bits_per_dim_stderr", elbo.standard_error),
            ("iw_bits_per_dim", tight.nats),
            ("iw_bits_per_dim_stderr", tight.standard_error),
        ] {
            chapter.metric(&format!("{prefix}{part}_{metric}"), data.bits_per_dim(nats));
        }
    }
    Ok(test)
}
// ANCHOR_END: compare

// ANCHOR: decides
/// Fixes z_t and draws what lies below, the pixels included: which share of the pixels' variance is gone?
fn what_each_level_decides(chapter: &mut Chapter, data: &Dataset, model: &Hvae) -> Result<()> {
    const FIXED: usize = 64;
    const DRAWS: usize = 32;
    let (noise, device) = (&mut rng(chapter.seed(), Stream::Sampling, 0), chapter.device.clone());
    let (dim, levels) = (data.train.dim(), model.encoders.len());
    let mut rows = Vec::new();
    for t in (1..=levels).rev() {
        let top = normal([FIXED, config().latents[levels - 1]], noise, &device);
        let z_t = model.descend(levels, t, top, noise);
        // Each z_t in DRAWS copies, one after the other.
        let copies = z_t.unsqueeze_dim::<3>(1).repeat_dim(1, DRAWS).flatten::<2>(0, 1);
        let pixels = model.decoder.sample(model.descend(t, 1, copies, noise), noise)?;
        let (mut within, mut total) = (0.0, 0.0);
        for pixel in 0..dim {
            let values: Vec<f64> = pixels.iter().skip(pixel).step_by(dim).map(|&level| f64::from(level)).collect();
            total += variance(&values);
            within += values.chunks(DRAWS).map(variance).sum::<f64>() / FIXED as f64;
        }
        rows.push((format!("z_{t}"), vec![Number::within(1.0 - within / total, 0.05, 2)]));
    }
    chapter.report.section("What each level decides");
    chapter.report.table(&["fixed", "share of the variance"], &rows);
    Ok(())
}
// ANCHOR_END: decides

fn variance(values: &[f64]) -> f64 {
    let mut estimate = Estimate::default();
    values.iter().for_each(|&value| estimate.push(value));
    estimate.variance()
}

fn draw(chapter: &Chapter, data: &Dataset, vae: &Vae, model: &Hvae) -> Result<()> {
    let (device, side, dim) = (&chapter.device, data.test.side(), data.test.dim());
    let level_count = data.test.level_count();
    let noise = &mut rng(chapter.seed(), Stream::Sampling, 1);
    let (levels, top) = (model.encoders.len(), config().latents[model.encoders.len() - 1]);
    let sheet = |label: &str, pixels: &[u8]| ImageRow::from_levels(label, pixels.chunks(dim), level_count);

    let z = model.descend(levels, 1, normal([32, top], noise, device), noise);
    let from_hvae = model.decoder.sample(z, noise)?;
    let from_vae = vae.decoder.sample(normal([32, 16], noise, device), noise)?;
    chapter.show(&from_hvae, side, level_count);
    let mut rows = sheet("Samples from the HVAE", &from_hvae).wrap(16);
    rows.extend(sheet("Samples from the VAE", &from_vae).wrap(16));
    chapter.figure("samples", &image_rows(&rows, side)?)?;

    // Fix z_t, draw z_{t-1} twelve times and go down from each; the first z_{t-1} is the one that the next row fixes.
    let mut rows = Vec::new();
    for path in ["first", "second"] {
        let mut z: Tensor<2> = normal([1, top], noise, device);
        for t in (1..=levels).rev() {
            let below = model.descend(t, t - 1, z.repeat_dim(0, 12), noise);
            z = below.clone().narrow(0, 0, 1);
            let x_hat = model.decoder.mean(model.descend(t - 1, 1, below, noise), &data.test.level_values());
            rows.push(ImageRow::from_values(format!("{path} path, z_{t} fixed"), &download(x_hat)?, dim));
        }
    }
    chapter.figure("levels", &image_rows(&rows, side)?)
}
