//! Chapter 6: continuous time, and a noise schedule that is learned.

use std::{
    process::ExitCode,
    sync::{PoisonError, RwLock},
};

use burn::{
    module::Module,
    optim::{AdamConfig, GradientsParams},
    tensor::Tensor,
};
use elbo_to_diffusion::{
    bound::{Bound, Draws},
    chapter::{self, Chapter, Flag, Number, Spec},
    data::Dataset,
    denoiser::{Denoiser, DenoiserConfig, TrunkConfig},
    diffusion::{decoder_log_probs, denoising_kl, diffuse, prior_kl, reconstruction},
    error::Result,
    figure::{Axis, Plot, Series, Style},
    host::{download, upload},
    random::{Stream, normal, rng},
    schedule::{Cosine, Learned, Linear, Schedule},
    training::{SHARDS, Shard, Training},
};

const GAMMA_MIN: f64 = -8.0;
const GAMMA_MAX: f64 = 5.0;
const LINEAR: Linear = Linear { gamma_min: GAMMA_MIN, gamma_max: GAMMA_MAX };
const COSINE: Cosine = Cosine { gamma_min: GAMMA_MIN, gamma_max: GAMMA_MAX };
/// Images of one shard of a batch.
const N: usize = 128 / SHARDS;

fn main() -> ExitCode {
    let spec = Spec {
        name: "ch06_learned_snr",
        about: "Chapter 6: bound the likelihood in continuous time, and learn the noise schedule",
        flags: &[Flag::Device, Flag::Steps, Flag::Weights],
    };
    chapter::main(spec, run)
}

fn run(chapter: &mut Chapter) -> Result<()> {
    let data = chapter.dataset()?;
    let device = chapter.device.clone().autodiff();
    let init = &mut rng(chapter.seed(), Stream::Initialisation, 0);
    let trunk = TrunkConfig { gamma_min: GAMMA_MIN, gamma_max: GAMMA_MAX, hidden: 192, blocks: 2, dropout: 0.4 };
    let fresh = Model {
        denoiser: DenoiserConfig::for_images(&data.train, trunk).init(init, &device),
        schedule: Learned::new(GAMMA_MIN, GAMMA_MAX, init, &device),
    };
    let model = match chapter.load_weights(&fresh)? {
        Some(model) => model,
        None => {
            let steps = chapter.steps(900);
            train(chapter, &data, &fresh, Noise::Learned, steps)?
        }
    };
    chapter.save_weights(&model)?;
    one_network(chapter, &data, &model)?;
    end_points(chapter, &data, &model)?;
    equal_training(chapter, &data, &fresh)
}

/// The denoiser and the schedule it was trained with.
#[derive(Module, Debug)]
struct Model {
    denoiser: Denoiser,
    schedule: Learned,
}

/// The schedule of a training run.
#[derive(Clone, Copy)]
enum Noise {
    Linear,
    Cosine,
    Learned,
}

// ANCHOR: train
fn train(chapter: &mut Chapter, data: &Dataset, model: &Model, noise: Noise, steps: usize) -> Result<Model> {
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    let schedule = RwLock::new(model.schedule.clone().train());
    let fixed = |schedule: &dyn Schedule, t: &[f64]| {
        let gamma = upload(t.iter().map(|&t| schedule.gamma(t)), &device);
        (gamma, upload(t.iter().map(|&t| schedule.slope(t)), &device))
    };
    // The diffusion loss of each image in bits/dim, [N]. Equation `continuous-loss`.
    let diffusion_loss = |denoiser: &Denoiser, shard: Shard, (gamma, slope): (Tensor<1>, Tensor<1>), drop: bool| {
        let x = data.train.sample(N, &mut shard.rng(seed, Stream::Batch)).values(&device);
        let eps = normal([N, data.train.dim()], &mut shard.rng(seed, Stream::Training), &device);
        let z = diffuse(x.clone(), gamma.clone(), eps);
        let dropout = &mut shard.rng(seed, Stream::Dropout);
        let x_hat = denoiser.denoise(z, gamma.clone(), drop.then_some(dropout));
        denoising_kl(x, x_hat, slope * (-gamma).exp() * 0.5) * data.bits_per_dim(1.0)
    };
    let loss = |denoiser: &Denoiser, shard: Shard| {
        let t = shard.times(N, seed);
        let (gamma, slope) = match noise {
            Noise::Linear => fixed(&LINEAR, &t),
            Noise::Cosine => fixed(&COSINE, &t),
            Noise::Learned => {
                schedule.read().unwrap_or_else(PoisonError::into_inner).gamma_and_slope(upload(t, &device))
            }
        };
        // The bound does not depend on the interior of the schedule: its gradient would be noise.
        diffusion_loss(denoiser, shard, (gamma.detach(), slope.detach()), true).mean()
    };

    let training = Training {
        steps,
        learning_rate: 2e-3,
        warmup: steps * 15 / 100,
        weight_decay: 0.01,
        clip_norm: 1.0,
        ema_decay: 0.999,
    };
    let mut optimizer = AdamConfig::new().init();
    let mut progress = chapter.progress("training", steps);
    let trained = training.run(model.denoiser.clone(), loss, |denoiser, step, loss| {
        progress.set(step, &format!("{loss:.3} bits/dim"));
        if matches!(noise, Noise::Learned) && step % 4 == 0 {
            // The mean of the loss is fixed, so lowering its mean square lowers its variance. Equation `variance-gradient`.
            let shard = Shard { step, index: 0 };
            let mut schedule = schedule.write().unwrap_or_else(PoisonError::into_inner);
            let levels = schedule.gamma_and_slope(upload(shard.times(N, seed), &device));
            let loss = diffusion_loss(&denoiser.clone().no_grad(), shard, levels, false);
            let gradients = GradientsParams::from_grads(loss.square().mean().backward(), &*schedule);
            *schedule = optimizer.step(1e-2, schedule.clone(), gradients);
        }
        Ok(())
    })?;
    drop(progress);
    chapter.timing("train_steps_per_second", trained.steps_per_second);
    Ok(Model {
        denoiser: trained.model,
        schedule: schedule.into_inner().unwrap_or_else(PoisonError::into_inner).valid(),
    })
}
// ANCHOR_END: train

// ANCHOR: one_network
fn one_network(chapter: &mut Chapter, data: &Dataset, model: &Model) -> Result<()> {
    let learned = model.schedule.fixed()?;
    let denoise = |z, gamma| model.denoiser.denoise(z, gamma, None);
    let draws = Draws { passes: 2, seed: chapter.seed() };
    let device = chapter.device.clone();
    let bits = |nats: f64| data.bits_per_dim(nats);
    let validation = bits(Bound::continuous(&data.validation, &learned, 64, denoise, draws, &device)?.total());
    let bounds = [
        ("linear", Bound::continuous(&data.test, &LINEAR, 64, denoise, draws, &device)?),
        ("cosine", Bound::continuous(&data.test, &COSINE, 64, denoise, draws, &device)?),
        ("learned", Bound::continuous(&data.test, &learned, 64, denoise, draws, &device)?),
    ];
    // ANCHOR_END: one_network
    let numbers = |bound: &Bound| {
        let variance = bits(bits(bound.draw_variance));
        vec![
            Number::within(bits(bound.total()), 0.02, 3),
            Number::within(bits(bound.standard_error), 0.002, 4),
            Number::within(variance, 0.25 * variance, 2),
        ]
    };
    let rows: Vec<_> = bounds.iter().map(|(name, bound)| (name.to_string(), numbers(bound))).collect();
    let [linear, cosine, learned_bound] = bounds.each_ref().map(|(_, bound)| bound);
    let apart = |a: &Bound, b: &Bound| (a.total() - b.total()).abs() / a.standard_error.hypot(b.standard_error);
    let farthest = apart(linear, learned_bound).max(apart(cosine, learned_bound)).max(apart(linear, cosine));
    let ratio = learned_bound.draw_variance / cosine.draw_variance;

    let report = &mut chapter.report;
    report.section("One network, three schedules");
    report.table(&["schedule", "test bound (bits/dim)", "standard error", "variance of one draw"], &rows);
    report.row("variance, learned over worst", &Number::within(ratio, 0.03, 3), "");
    report.row("bounds apart, at most", &Number::within(farthest, 3.0, 1), "standard errors");
    report.row("validation bound, learned", &Number::within(validation, 0.02, 3), "bits/dim");
    chapter.metric("validation_bits_per_dim", validation);
    chapter.metric("test_bits_per_dim", bits(learned_bound.total()));
    chapter.metric("test_bits_per_dim_stderr", bits(learned_bound.standard_error));
    chapter.metric("estimator_variance_ratio", ratio);
    chapter.metric("bounds_apart_standard_errors", farthest);

    let schedules: [(&str, &dyn Schedule); 3] = [("linear", &LINEAR), ("cosine", &COSINE), ("learned", &learned)];
    let curve = |name: &str, f: &dyn Fn(f64) -> f64| {
        Series::new(name, Style::Line, (0..=100).map(|i| f64::from(i) / 100.0).map(|t| (t, f(t))))
    };
    let plot = |y: Axis, series: Vec<Series>| Plot { x: Axis::linear("time t"), y, series }.draw();
    let gamma = schedules.iter().map(|(name, s)| curve(name, &|t| s.gamma(t))).collect();
    chapter.figure("gamma", &plot(Axis::linear("gamma(t)"), gamma)?)?;
    let snr = schedules.iter().map(|(name, s)| curve(name, &|t| (-s.gamma(t)).exp())).collect();
    chapter.figure("snr", &plot(Axis::log("SNR(t)"), snr)?)?;
    let per_t = bounds.iter().map(|(name, bound)| {
        let parts = bound.denoising.len() as f64;
        let points =
            bound.denoising.iter().zip(0..).map(|(&nats, i)| ((f64::from(i) + 0.5) / parts, bits(nats) * parts));
        Series::new(*name, Style::Line, points)
    });
    chapter.figure("loss_per_t", &plot(Axis::linear("loss at t (bits/dim)"), per_t.collect())?)
}

// ANCHOR: end_points
/// Moves the end points down the gradient of the bound on the training images.
///
/// By `schedule-invariance` the diffusion term is the integral of h(gamma) = exp(-gamma) E|x - x_hat|^2 / 2 between the end
/// points, so its derivatives are h at the upper and -h at the lower one.
fn end_points(chapter: &mut Chapter, data: &Dataset, model: &Model) -> Result<()> {
    let device = &chapter.device;
    let (x, level) = (data.train.values(device), data.train.levels(device));
    let (n, grid) = (data.train.len(), upload(data.train.level_values(), device));
    let read = |value: Tensor<1>| -> Result<f64> { Ok(download(value.mean())?[0]) };
    let noisy = |gamma: f64, step: u64| {
        let eps = normal([n, data.train.dim()], &mut rng(chapter.seed(), Stream::Evaluation, step), device);
        diffuse(x.clone(), Tensor::full([n], gamma, device), eps)
    };
    let h = |gamma: f64, step: u64| {
        let x_hat = model.denoiser.denoise(noisy(gamma, step), Tensor::full([n], gamma, device), None);
        read(denoising_kl(x.clone(), x_hat, Tensor::full([n], 0.5 * (-gamma).exp(), device)))
    };
    let decode = |gamma: f64, step| {
        read(reconstruction(level.clone(), decoder_log_probs(noisy(gamma, step), gamma, grid.clone())))
    };
    let prior = |gamma: f64| read(prior_kl(x.clone(), gamma));
    let (mut gamma_min, mut gamma_max, width) = (GAMMA_MIN, GAMMA_MAX, 0.05);
    for step in 0..40 {
        let noise = 1000 + step;
        let slope = (decode(gamma_min + width, noise)? - decode(gamma_min - width, noise)?) / (2.0 * width);
        gamma_min -= slope - h(gamma_min, noise)?;
        let slope = (prior(gamma_max + width)? - prior(gamma_max - width)?) / (2.0 * width);
        gamma_max -= 2.0 * (slope + h(gamma_max, noise)?);
    }
    // ANCHOR_END: end_points
    let learned = Linear { gamma_min, gamma_max };
    let denoise = |z, gamma| model.denoiser.denoise(z, gamma, None);
    let draws = Draws { passes: 2, seed: chapter.seed() };
    let bound = |schedule: &Linear| Bound::continuous(&data.validation, schedule, 64, denoise, draws, device);
    let (before, after) = (bound(&LINEAR)?, bound(&learned)?);
    let report = &mut chapter.report;
    report.section("Learned end points");
    report.row("gamma_min", &Number::within(gamma_min, 0.3, 1), "");
    report.row("gamma_max", &Number::within(gamma_max, 0.5, 1), "");
    for (name, bound) in [("before", before), ("after", after)] {
        for (term, nats, tolerance, decimals) in [
            ("reconstruction", bound.reconstruction, 0.002, 4),
            ("prior", bound.prior, 0.001, 4),
            ("validation bound", bound.total(), 0.02, 3),
        ] {
            let number = Number::within(data.bits_per_dim(nats), tolerance, decimals);
            report.row(&format!("{term}, {name}"), &number, "bits/dim");
        }
    }
    Ok(())
}

/// Short training runs that differ in the schedule alone.
fn equal_training(chapter: &mut Chapter, data: &Dataset, fresh: &Model) -> Result<()> {
    const STEPS: usize = 250;
    let mut rows = Vec::new();
    for (name, noise) in [("linear", Noise::Linear), ("cosine", Noise::Cosine), ("learned", Noise::Learned)] {
        let model = train(chapter, data, fresh, noise, STEPS)?;
        let denoise = |z, gamma| model.denoiser.denoise(z, gamma, None);
        let draws = Draws { passes: 2, seed: chapter.seed() };
        let bound = Bound::continuous(&data.validation, &LINEAR, 64, denoise, draws, &chapter.device)?;
        let bits = |nats| data.bits_per_dim(nats);
        let numbers =
            vec![Number::within(bits(bound.total()), 0.02, 3), Number::within(bits(bound.standard_error), 0.002, 4)];
        rows.push((name.to_string(), numbers));
    }
    chapter.report.section("Equal short training");
    chapter.report.table(&["trained with", "validation bound (bits/dim)", "standard error"], &rows);
    Ok(())
}
