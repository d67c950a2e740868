//! Chapter 6: continuous time, and a noise schedule that is learned.

use std::{
    process::ExitCode,
    sync::{PoisonError, RwLock},
};

use burn::{
    module::Module,
    optim::{AdamConfig, GradientsParams},
    tensor::{Tensor, TensorData},
};
use elbo_to_diffusion::{
    bound::{Bound, Draws},
    chapter::{self, Chapter, Flag, Number, Spec},
    data::Dataset,
    denoiser::{Denoiser, DenoiserConfig, TrunkConfig},
    diffusion::{denoising_kl, diffuse},
    error::Result,
    figure::{Axis, Plot, Series, Style},
    random::{Stream, normal, rng},
    schedule::{Cosine, Learned, Linear, Schedule},
    training::{SHARDS, Shard, Training},
};

const GAMMA_MIN: f64 = -8.0;
const GAMMA_MAX: f64 = 5.0;
const LINEAR: Linear = Linear { gamma_min: GAMMA_MIN, gamma_max: GAMMA_MAX };
const COSINE: Cosine = Cosine { gamma_min: GAMMA_MIN, gamma_max: GAMMA_MAX };
const BATCH: usize = 128;

fn main() -> ExitCode {
    let spec = Spec {
        name: "ch06_learned_snr",
        about: "Chapter 6: bound the likelihood in continuous time, and learn the noise schedule",
        flags: &[Flag::Device, Flag::Steps],
    };
    chapter::main(spec, run)
}

fn run(chapter: &mut Chapter) -> Result<()> {
    let data = chapter.dataset()?;
    let (model, learned) = train(chapter, &data)?;
    let learned = learned.fixed()?;

    chapter.report.section("One network, three schedules");
    let denoise = |z, gamma| model.denoise(z, gamma, None);
    let draws = Draws { passes: 2, seed: chapter.seed() };
    let device = &chapter.device;
    let bounds = [
        ("linear", Bound::continuous(&data.test, &LINEAR, 64, denoise, draws, device)?),
        ("cosine", Bound::continuous(&data.test, &COSINE, 64, denoise, draws, device)?),
        ("learned", Bound::continuous(&data.test, &learned, 64, denoise, draws, device)?),
    ];
    let bits = |nats: f64| data.bits_per_dim(nats);
    let rows: Vec<_> = bounds
        .iter()
        .map(|(name, bound)| {
            let numbers = vec![
                Number::within(bits(bound.total()), 0.02, 3),
                Number::within(bits(bound.standard_error), 0.002, 4),
                Number::within(bits(bits(bound.draw_variance)), 1.0, 2),
            ];
            (name.to_string(), numbers)
        })
        .collect();
    chapter.report.table(&["schedule", "test bound", "standard error", "variance of one draw"], &rows);
    let plot = Plot {
        x: Axis::linear("t"),
        y: Axis::linear("gamma(t) = -log SNR(t)"),
        series: vec![
            Series::new("linear", Style::Line, (0..=100).map(|i| f64::from(i) / 100.0).map(|t| (t, LINEAR.gamma(t)))),
            Series::new("cosine", Style::Line, (0..=100).map(|i| f64::from(i) / 100.0).map(|t| (t, COSINE.gamma(t)))),
            Series::new(
                "learned",
                Style::Line,
                (0..=100).map(|i| f64::from(i) / 100.0).map(|t| (t, Schedule::gamma(&learned, t))),
            ),
        ],
    };
    chapter.figure("gamma", &plot.draw()?)?;
    Ok(())
}

fn train(chapter: &mut Chapter, data: &Dataset) -> Result<(Denoiser, Learned)> {
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    let steps = chapter.steps(900);
    let training = Training {
        steps,
        learning_rate: 2e-3,
        warmup: steps * 15 / 100,
        weight_decay: 0.01,
        clip_norm: 1.0,
        ema_decay: 0.999,
    };
    let trunk = TrunkConfig { gamma_min: GAMMA_MIN, gamma_max: GAMMA_MAX, hidden: 192, blocks: 2, dropout: 0.4 };
    let config = DenoiserConfig::for_images(&data.train, trunk);
    let init = &mut rng(seed, Stream::Initialisation, 0);
    let schedule = Learned::new(GAMMA_MIN, GAMMA_MAX, init, &device).train();
    let mut optimizer = AdamConfig::new().init();

    let schedule = RwLock::new(schedule);
    let batch = |shard: Shard| {
        const N: usize = BATCH / SHARDS;
        let x = data.train.sample(N, &mut shard.rng(seed, Stream::Batch)).values(&device);
        let t: Vec<f32> = shard.times(N, seed).into_iter().map(|t| t as f32).collect();
        let eps = normal([N, data.train.dim()], &mut shard.rng(seed, Stream::Training), &device);
        (x, Tensor::<1>::from_data(TensorData::new(t, [N]), &device), eps)
    };
    // The diffusion loss of each image, in bits/dim, [N].
    let diffusion_loss =
        |model: &Denoiser, x: Tensor<2>, (gamma, slope): (Tensor<1>, Tensor<1>), eps, dropout: Option<&mut _>| {
            let z = diffuse(x.clone(), gamma.clone(), eps);
            let x_hat = model.denoise(z, gamma.clone(), dropout);
            denoising_kl(x, x_hat, slope * (-gamma).exp() * 0.5) * data.bits_per_dim(1.0)
        };
    let loss = |model: &Denoiser, shard: Shard| {
        let (x, t, eps) = batch(shard);
        let (gamma, slope) = schedule.read().unwrap_or_else(PoisonError::into_inner).gamma_and_slope(t);
        diffusion_loss(model, x, (gamma.detach(), slope.detach()), eps, Some(&mut shard.rng(seed, Stream::Dropout)))
            .mean()
    };
    let mut progress = chapter.progress("training", steps);
    let trained = training.run(config.init(init, &device), loss, |model, step, loss| {
        progress.set(step, &format!("{loss:.3} bits/dim"));
        if step % 4 == 0 {
            let mut schedule = schedule.write().unwrap_or_else(PoisonError::into_inner);
            let (x, t, eps) = batch(Shard { step, index: 0 });
            let loss = diffusion_loss(&model.clone().no_grad(), x, schedule.gamma_and_slope(t), eps, None);
            let gradients = GradientsParams::from_grads(loss.square().mean().backward(), &*schedule);
            *schedule = optimizer.step(1e-2, schedule.clone(), gradients);
        }
        Ok(())
    })?;
    drop(progress);
    chapter.timing("train_steps_per_second", trained.steps_per_second);
    Ok((trained.model, schedule.into_inner().unwrap_or_else(PoisonError::into_inner).valid()))
}
