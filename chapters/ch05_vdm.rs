//! Chapter 5: a variational diffusion model of the digits, in discrete time.

use std::process::ExitCode;

use burn::tensor::{Tensor, TensorData};
use elbo_to_diffusion::{
    bound::Bound,
    chapter::{self, Chapter, Flag, Number, Spec, blocks},
    data::{Dataset, Marginals},
    denoiser::{Denoiser, DenoiserConfig},
    diffusion::{denoising_kl, denoising_weight, diffuse},
    error::Result,
    figure::{Axis, ImageRow, Plot, Series, Style, image_rows},
    random::{Stream, normal, rng},
    sampler::{ancestral, decode},
    schedule::{Linear, Schedule},
    training::Training,
};
use rand::RngExt;

/// Number of latents in the chain.
const LATENTS: usize = 100;
/// log SNR falls from 8, where 17 levels are just told apart, to -5, where nothing is left to see.
const SCHEDULE: Linear = Linear { gamma_min: -8.0, gamma_max: 5.0 };

fn main() -> ExitCode {
    let spec = Spec {
        name: "ch05_vdm",
        about: "Chapter 5: train a variational diffusion model on the digits and bound their likelihood",
        flags: &[Flag::Device, Flag::Steps, Flag::Weights],
    };
    chapter::main(spec, run)
}

fn run(chapter: &mut Chapter) -> Result<()> {
    let data = chapter.dataset()?;
    let init = &mut rng(chapter.seed(), Stream::Initialisation, 0);
    let fresh = network(&data).init(init, &chapter.device.clone().autodiff());
    let loaded = chapter.load_weights(&fresh)?;

    baselines(chapter, &data);
    let model = match loaded {
        Some(model) => model,
        None => train(chapter, &data, fresh)?,
    };
    chapter.save_weights(&model)?;
    let denoise = |z: Tensor<2>, gamma: Tensor<1>| model.denoise(z, gamma, None);
    let gammas = SCHEDULE.grid(LATENTS);

    chapter.report.section("The bound");
    for (name, images) in [("validation", &data.validation), ("test", &data.test)] {
        let bound = Bound::discrete(images, &gammas, denoise, 2, chapter.seed(), &chapter.device)?;
        let bits = |nats: f64| data.bits_per_dim(nats);
        let report = &mut chapter.report;
        let mut row = |what: &str, value, tolerance, decimals| {
            report.row(&format!("{name} {what}"), &Number::within(bits(value), tolerance, decimals), "bits/dim");
        };
        row("reconstruction", bound.reconstruction, 0.0010, 4);
        row("prior", bound.prior, 0.0001, 4);
        row("denoising", bound.denoising.iter().sum(), 0.02, 3);
        row("bound", bound.total(), 0.02, 3);
        row("standard error", bound.standard_error, 0.001, 4);
        chapter.metric(&format!("{name}_bits_per_dim"), bits(bound.total()));
        chapter.metric(&format!("{name}_bits_per_dim_stderr"), bits(bound.standard_error));
        if name == "test" {
            let terms = (2..).zip(&bound.denoising).map(|(t, &nats)| (f64::from(t), bits(nats)));
            let plot = Plot {
                x: Axis::linear("time step t"),
                y: Axis::linear("denoising term (bits/dim)"),
                series: vec![Series::new("", Style::Line, terms)],
            };
            chapter.figure("denoising_term", &plot.draw()?)?;
        }
    }

    sample(chapter, &data, &model)
}

fn baselines(chapter: &mut Chapter, data: &Dataset) {
    let uniform = data.train.level_count() as f64;
    let independent = Marginals::fit(&data.train, 0.1);
    chapter.report.section("Baselines");
    let report = &mut chapter.report;
    report.row("uniform levels", &Number::exact(uniform.log2(), 3), "bits/dim");
    for (name, images) in [("validation", &data.validation), ("test", &data.test)] {
        let bits = data.bits_per_dim(independent.nats(images));
        report.row(&format!("independent pixels, {name}"), &Number::exact(bits, 3), "bits/dim");
    }
}

// ANCHOR: network
fn network(data: &Dataset) -> DenoiserConfig {
    let marginals = Marginals::fit(&data.train, 0.1);
    DenoiserConfig {
        levels: data.train.level_values(),
        log_marginals: marginals.log_probs.iter().map(|&p| p as f32).collect(),
        gamma_min: SCHEDULE.gamma_min,
        gamma_max: SCHEDULE.gamma_max,
        hidden: 192,
        blocks: 2,
        dropout: 0.4,
    }
}
// ANCHOR_END: network

// ANCHOR: train
fn train(chapter: &mut Chapter, data: &Dataset, model: Denoiser) -> Result<Denoiser> {
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    let steps = chapter.steps(1000);
    let training = Training {
        steps,
        learning_rate: 2e-3,
        warmup: steps * 15 / 100,
        weight_decay: 0.01,
        clip_norm: 1.0,
        ema_decay: 0.999,
    };
    let gammas = SCHEDULE.grid(LATENTS);
    const BATCH: usize = 128;

    let mut progress = chapter.progress("training", steps);
    let trained = training.run(
        model,
        |model: &Denoiser, step| {
            let x = data.train.sample(BATCH, &mut rng(seed, Stream::Batch, step as u64)).values(&device);
            let noise = &mut rng(seed, Stream::Training, step as u64);
            let terms = gammas.len() - 1;
            let offset = noise.random::<f64>();
            // One t from each of B equal parts of 2..=T, so that the batch sees all noise levels.
            let t = (0..BATCH).map(|i| 1 + ((i as f64 + offset) / BATCH as f64 * terms as f64) as usize);
            let (gamma, weight): (Vec<f32>, Vec<f32>) =
                t.map(|t| (gammas[t] as f32, denoising_weight(gammas[t - 1], gammas[t]) as f32)).unzip();
            let gamma = Tensor::<1>::from_data(TensorData::new(gamma, [BATCH]), &device);
            let weight = Tensor::<1>::from_data(TensorData::new(weight, [BATCH]), &device);
            let eps = normal([BATCH, data.train.dim()], noise, &device);
            let z = diffuse(x.clone(), gamma.clone(), eps);
            let x_hat = model.denoise(z, gamma, Some(&mut rng(seed, Stream::Dropout, step as u64)));
            denoising_kl(x, x_hat, weight).mean() * data.bits_per_dim(terms as f64)
        },
        |step, loss| progress.set(step, &format!("{loss:.3} bits/dim")),
    )?;
    drop(progress);
    chapter.timing("train_steps_per_second", trained.steps_per_second);

    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let curve = trained.losses.chunks(20).zip(1..).map(|(chunk, i)| (f64::from(i * 20), mean(chunk)));
    let plot = Plot {
        x: Axis::linear("training step"),
        y: Axis::linear("training loss (bits/dim)"),
        series: vec![Series::new("", Style::Line, curve)],
    };
    chapter.figure("loss", &plot.draw()?)?;
    Ok(trained.model)
}
// ANCHOR_END: train

fn sample(chapter: &mut Chapter, data: &Dataset, model: &Denoiser) -> Result<()> {
    const SAMPLES: usize = 64;
    let (device, d, side) = (&chapter.device, data.train.dim(), data.train.side());
    let gammas = SCHEDULE.grid(LATENTS);
    let start = std::time::Instant::now();
    let noise = &mut rng(chapter.seed(), Stream::Sampling, 0);
    let denoise = |z, gamma| model.denoise(z, Tensor::full([SAMPLES], gamma, device), None);
    let z = ancestral([SAMPLES, d], &gammas, denoise, noise, device, |_, _, _| {});
    let levels = Tensor::<1>::from_floats(data.train.level_values().as_slice(), device);
    let pixels: Vec<u8> = decode(z, SCHEDULE.gamma_min, levels).into_data().iter::<i64>().map(|k| k as u8).collect();
    let seconds = start.elapsed().as_secs_f64();
    chapter.timing("sample_images_per_second", SAMPLES as f64 / seconds);
    let images: Vec<&[u8]> = pixels.chunks(d).collect();
    eprint!("{}", blocks(&images[..6], side, data.train.level_count()));
    let real: Vec<&[u8]> = data.train.iter().take(SAMPLES).collect();
    let row =
        |label: &str, images: &[&[u8]]| ImageRow::from_levels(label, images.iter().copied(), data.train.level_count());
    let mut rows = Vec::new();
    for (what, set) in [("Samples from the model", &images), ("Digits from the training set", &real)] {
        for (i, chunk) in set.chunks(16).enumerate() {
            rows.push(row(if i == 0 { what } else { "" }, chunk));
        }
    }
    chapter.figure("samples", &image_rows(&rows, side)?)
}
