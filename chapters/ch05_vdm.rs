//! Chapter 5: a variational diffusion model of the digits, in discrete time.

#[path = "ch05_vdm/estimators.rs"]
mod estimators;
#[path = "ch05_vdm/report.rs"]
mod report;
#[path = "ch05_vdm/walk.rs"]
mod walk;

use std::process::ExitCode;

use burn::tensor::{Device, Tensor};
use elbo_to_diffusion::{
    chapter::{self, Chapter, Flag, MEASURED, Setting, Spec, report_samples},
    data::Dataset,
    error::Result,
    evaluation::{Bound, Draws, on_all_threads},
    random::{Stream, rng},
    training::{SHARDS, Shard, Trained},
    vdm::{Denoiser, Linear, NoiseLevels, Schedule, ancestral, decode, denoising_term},
};

/// Number of latents in the chain.
pub(crate) const LATENTS: usize = 200;
/// Steps of training.
pub(crate) const STEPS: usize = 1200;
/// Each part of the data is reported on at most this many of its first images. The digits
/// have fewer.
const REPORTED: usize = 500;
/// Images drawn from the model.
const SAMPLES: usize = 64;

#[cfg(not(lab))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) const SPEC: Spec = Spec {
    name: "ch05_vdm",
    about: "Chapter 5: train a variational diffusion model on the digits and bound their likelihood",
    flags: &[
        Flag::Device,
        Flag::Mnist,
        Flag::Full,
        Flag::Steps,
        Flag::Weights,
        Flag::Resume,
    ],
};

fn main() -> ExitCode {
    chapter::main(SPEC, run)
}

pub(crate) fn run(chapter: &mut Chapter) -> Result<()> {
    let data = chapter.dataset()?;
    let setting = chapter.setting(STEPS);
    let fresh = fresh(chapter, &data, &setting);
    let loaded = chapter.load_weights(&fresh)?;

    report::baselines(chapter, &data);
    let denoiser = match loaded {
        Some(denoiser) => denoiser,
        None => {
            let trained = train(chapter, &data, &setting, fresh)?;
            report::training(chapter, &trained.losses)?;
            trained.model
        }
    };
    chapter.save_weights(&denoiser)?;
    let model = Model { denoiser, schedule: setting.linear() };
    let bounds = bounds(chapter, &data, &model)?;
    report::bounds(chapter, &data, &bounds)?;
    let fewer = fewer_latents(chapter, &data, &model, bounds.test)?;
    report::fewer_latents(chapter, &data, &fewer)?;
    let start = web_time::Instant::now();
    let samples = sample(chapter, &data, &model, SAMPLES, Stream::Sampling)?;
    let speed = SAMPLES as f64 / start.elapsed().as_secs_f64();
    chapter.timing("sample_images_per_second", speed);
    report::samples(chapter, &data, &samples)?;
    let many = sample(chapter, &data, &model, MEASURED, Stream::MeasuredSamples)?;
    report_samples(chapter, &data, &[("samples", data.test.with_pixels(many))])?;
    walk::step_by_step(chapter, &data, &model)?;
    estimators::first_latent(chapter);
    estimators::estimators(chapter)
}

/// The network before its training.
pub(crate) fn fresh(chapter: &Chapter, data: &Dataset, setting: &Setting) -> Denoiser {
    // ANCHOR: network
    let init = &mut rng(chapter.seed(), Stream::Initialisation, 0);
    let device = chapter.device.clone().autodiff();
    Denoiser::for_images(&data.train, setting.trunk, init, &device)
    // ANCHOR_END: network
}

/// A trained network and the noise levels that it knows.
struct Model {
    denoiser: Denoiser,
    schedule: Linear,
}

// ANCHOR: train
fn train(
    chapter: &mut Chapter,
    data: &Dataset,
    setting: &Setting,
    fresh: Denoiser,
) -> Result<Trained<Denoiser>> {
    let loss = loss(data, setting, chapter.seed(), chapter.device.clone().autodiff());
    chapter.stage("training", setting).train(&fresh, loss)
}

/// The loss of a shard of a batch, in bits/dim.
pub(crate) fn loss(
    data: &Dataset,
    setting: &Setting,
    seed: u64,
    device: Device,
) -> impl Fn(&Denoiser, Shard) -> Tensor<1> + Sync {
    let gammas = setting.linear().grid(LATENTS);
    let terms = LATENTS - 1;
    // ANCHOR: loss
    move |model: &Denoiser, shard: Shard| {
        let n = setting.batch / SHARDS;
        let (x, eps) =
            shard.images_and_noise(&data.train, n, setting.shifted, seed, &device);
        // Times spread evenly over 2..=T from one random start, so that every batch sees
        // all noise levels.
        let at = NoiseLevels::of_steps(&gammas, &shard.times(n, seed), &device);
        let dropout = &mut shard.rng(seed, Stream::Dropout);
        let denoise = |z, gamma| model.denoise(z, gamma, Some(dropout));
        denoising_term(x, at, eps, denoise).mean() * data.bits_per_dim(terms as f64)
    }
    // ANCHOR_END: loss
}
// ANCHOR_END: train

/// The bound on each part of the data.
struct Bounds {
    training: Bound,
    validation: Bound,
    test: Bound,
}

fn bounds(chapter: &Chapter, data: &Dataset, model: &Model) -> Result<Bounds> {
    // ANCHOR: bound
    let gammas = model.schedule.grid(LATENTS);
    let denoise = |z, gamma| model.denoiser.denoise(z, gamma, None);
    let draws = Draws { passes: 2, seed: chapter.seed() };
    let bound = |images| Bound::discrete(images, &gammas, denoise, draws, &chapter.device);
    // ANCHOR_END: bound
    let (validation, test) = (data.validation.first(REPORTED), data.test.first(REPORTED));
    Ok(Bounds {
        training: bound(&data.train.first(validation.len()))?,
        validation: bound(&validation)?,
        test: bound(&test)?,
    })
}

/// The bound on the test images with T latents, for some T; that with all latents is known
/// already.
fn fewer_latents(
    chapter: &Chapter,
    data: &Dataset,
    model: &Model,
    full: Bound,
) -> Result<Vec<(usize, Bound)>> {
    // ANCHOR: fewer
    let denoise = |z, gamma| model.denoiser.denoise(z, gamma, None);
    let draws = Draws { passes: 2, seed: chapter.seed() };
    let test = data.test.first(REPORTED);
    let bound = |latents: usize| {
        let gammas = model.schedule.grid(latents);
        let bound = Bound::discrete(&test, &gammas, denoise, draws, &chapter.device)?;
        Ok((latents, bound))
    };
    let fewer = [10, 25, 50, 100].into_iter().map(bound);
    fewer.chain([Ok((LATENTS, full))]).collect()
    // ANCHOR_END: fewer
}

/// n images drawn from the model, as grey levels, one after the other.
fn sample(
    chapter: &Chapter,
    data: &Dataset,
    model: &Model,
    n: usize,
    stream: Stream,
) -> Result<Vec<u8>> {
    // ANCHOR: sample
    let gammas = model.schedule.grid(LATENTS);
    let denoise = on_all_threads(|z, gamma| model.denoiser.denoise(z, gamma, None));
    let noise = &mut rng(chapter.seed(), stream, 0);
    let shape = [n, data.train.dim()];
    let z = ancestral(shape, &gammas, denoise, noise, &chapter.device, |_, _, _| {});
    let digits = decode(z, model.schedule.gamma_min, &data.train.grey_values())?;
    // ANCHOR_END: sample
    Ok(digits)
}
