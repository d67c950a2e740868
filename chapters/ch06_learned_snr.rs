//! Chapter 6: continuous time, and a noise schedule that is learned.

use std::process::ExitCode;

use burn::{module::Module, tensor::Tensor};
use elbo_to_diffusion::{
    bound::{Bound, Draws},
    chapter::{self, Chapter, Flag, Number, Setting, Spec},
    data::{Dataset, Images, bits_per_dim},
    denoiser::{Denoiser, DenoiserConfig},
    diffusion::denoising_kl,
    error::Result,
    figure::{Axis, Plot, Series, Style},
    host::{download, upload},
    random::{Stream, rng},
    schedule::{Cosine, Learned, Linear, Schedule},
    training::{SHARDS, Shard, Training},
};

/// Each part of the data is compared on at most this many of its first images. The digits have fewer.
const REPORTED: usize = 500;

fn main() -> ExitCode {
    let spec = Spec {
        name: "ch06_learned_snr",
        about: "Chapter 6: bound the likelihood in continuous time, and learn the noise schedule",
        flags: &[Flag::Device, Flag::Mnist, Flag::Full, Flag::Steps, Flag::Weights, Flag::Resume],
    };
    chapter::main(spec, run)
}

/// The denoiser and the schedule it is trained with.
#[derive(Module, Debug)]
struct Model {
    denoiser: Denoiser,
    schedule: Learned,
}

impl Model {
    fn linear(&self) -> Linear {
        Linear { gamma_min: self.schedule.gamma_min, gamma_max: self.schedule.gamma_max }
    }

    fn cosine(&self) -> Cosine {
        Cosine { gamma_min: self.schedule.gamma_min, gamma_max: self.schedule.gamma_max }
    }

    /// The bound in continuous time, from one t in each of `parts` of [0, 1] per image and pass.
    fn bound(&self, c: &Chapter, images: &Images, schedule: &(impl Schedule + Sync), parts: usize) -> Result<Bound> {
        let denoise = |z, gamma| self.denoiser.denoise(z, gamma, None);
        Bound::continuous(images, schedule, parts, denoise, Draws { passes: 2, seed: c.seed() }, &c.device)
    }
}

fn run(chapter: &mut Chapter) -> Result<()> {
    let data = chapter.dataset()?;
    let device = chapter.device.clone().autodiff();
    let init = &mut rng(chapter.seed(), Stream::Initialisation, 0);
    let setting = chapter.setting(&data, 900);
    let Setting { trunk, training, .. } = &setting;
    let fresh = Model {
        denoiser: DenoiserConfig::for_images(&data.train, *trunk).init(init, &device),
        schedule: Learned::new(trunk.gamma_min, trunk.gamma_max, &device),
    };
    let model = match chapter.load_weights(&fresh)? {
        Some(model) => model,
        None => train(chapter, &data.train, &setting, &fresh, None, ("training", training))?,
    };
    chapter.save_weights(&model)?;
    one_network(chapter, &data, &model)?;
    discrete_time(chapter, &data, &model)?;
    end_points(chapter, &data, &model)?;
    equal_training(chapter, &data, &setting, &fresh, &model)
}

// ANCHOR: train
/// Trains a copy of the model with a fixed schedule or, without one, with its own, which learns along.
fn train(
    chapter: &mut Chapter,
    images: &Images,
    setting: &Setting,
    model: &Model,
    fixed: Option<&(dyn Schedule + Sync)>,
    (stage, training): (&str, &Training),
) -> Result<Model> {
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    // L_MC, one draw of the diffusion loss for each time, in bits/dim. Equation `continuous-loss`.
    let draw = |denoiser: &Denoiser, (gamma, slope): (Tensor<1>, Tensor<1>), shard: Shard, drop: bool| {
        let (x, z) = shard.noised(images, gamma.clone(), setting.shifted, seed);
        let dropout = &mut shard.rng(seed, Stream::Dropout);
        let x_hat = denoiser.denoise(z, gamma.clone(), drop.then_some(dropout));
        denoising_kl(x, x_hat, slope * (-gamma).exp() * 0.5) * bits_per_dim(1.0, images.dim())
    };
    let loss = |model: &Model, shard: Shard| {
        let t = shard.times(setting.batch / SHARDS, seed);
        let (gamma, slope) = match fixed {
            Some(schedule) => schedule.at(&t, &device),
            None => model.schedule.gamma_and_slope(upload(t, &device)),
        };
        // The denoiser learns from the mean of L_MC. To the interior of the schedule that mean says nothing.
        let mean = draw(&model.denoiser, (gamma.detach(), slope.detach()), shard, true).mean();
        if fixed.is_some() {
            return mean;
        }
        // The schedule learns from the mean square, which with a fixed mean is the variance. Equation
        // `variance-gradient`. The factor keeps it small where gradients are clipped; AdamW's steps do not depend on it.
        let levels = model.schedule.gamma_and_slope(upload(shard.times(setting.batch / 4 / SHARDS, seed), &device));
        // What rounding leaves of the loss of an image that is all but known has a slope too small for f32.
        let losses = draw(&model.denoiser.clone().no_grad(), levels, shard, false).clamp_min(1e-6);
        mean + losses.square().mean() * 0.01
    };
    Ok(chapter.train(stage, training, model, loss)?.model)
}
// ANCHOR_END: train

// ANCHOR: one_network
fn one_network(chapter: &mut Chapter, data: &Dataset, model: &Model) -> Result<()> {
    let (test, learned) = (data.test.first(REPORTED), model.schedule.fixed()?);
    let bounds = [
        ("linear", model.bound(chapter, &test, &model.linear(), 64)?),
        ("cosine", model.bound(chapter, &test, &model.cosine(), 64)?),
        ("learned", model.bound(chapter, &test, &learned, 64)?),
    ];
    // ANCHOR_END: one_network
    let bits = |nats: f64| data.bits_per_dim(nats);
    let validation = bits(model.bound(chapter, &data.validation.first(REPORTED), &learned, 64)?.total());
    let row = |(name, bound): &(&str, Bound)| {
        let variance = bits(bits(bound.draw_variance));
        let numbers = [
            Number::within(bits(bound.total()), 0.005, 3),
            Number::within(bits(bound.standard_error), 0.0003, 4),
            Number::within(variance, 0.03 * variance, 2),
        ];
        (name.to_string(), numbers.to_vec())
    };
    let rows: Vec<_> = bounds.iter().map(row).collect();
    let [linear, cosine, own] = bounds.each_ref().map(|(_, bound)| bound);
    let apart = linear.apart(own).max(cosine.apart(own)).max(linear.apart(cosine));
    let ratio = own.draw_variance / cosine.draw_variance;
    let report = &mut chapter.report;
    report.section("One network, three schedules");
    report.table(&["schedule", "test bound (bits/dim)", "standard error", "variance of one draw"], &rows);
    report.row("least possible variance", &Number::within(bits(bits(linear.least_variance)), 0.02, 2), "");
    report.row("variance, learned over worst", &Number::within(ratio, 0.003, 3), "");
    report.row("bounds apart, at most", &Number::within(apart, 0.3, 1), "standard errors");
    let verdict = if apart <= 3.0 { "yes" } else { "no" };
    report.line(&format!("All three agree within three standard errors: {verdict}"));
    report.row("validation bound, learned", &Number::within(validation, 0.005, 3), "bits/dim");
    if data.test.len() > REPORTED {
        let all = model.bound(chapter, &data.test, &learned, 8)?;
        let report = &mut chapter.report;
        report.row("all test images, learned", &Number::within(bits(all.total()), 0.005, 3), "bits/dim");
        report.row("its standard error", &Number::within(bits(all.standard_error), 0.0003, 4), "bits/dim");
        chapter.metric("all_test_bits_per_dim", bits(all.total()));
    }
    chapter.metric("validation_bits_per_dim", validation);
    chapter.metric("test_bits_per_dim", bits(own.total()));
    chapter.metric("test_bits_per_dim_stderr", bits(own.standard_error));
    chapter.metric("estimator_variance_ratio", ratio);
    chapter.metric("bounds_apart_standard_errors", apart);

    let (linear, cosine) = (model.linear(), model.cosine());
    let schedules: [(&str, &dyn Schedule); 3] = [("linear", &linear), ("cosine", &cosine), ("learned", &learned)];
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

/// The bound of chains with few latents, whose noise levels are those of each schedule at equal distances in t.
fn discrete_time(chapter: &mut Chapter, data: &Dataset, model: &Model) -> Result<()> {
    let (linear, cosine, learned) = (model.linear(), model.cosine(), model.schedule.fixed()?);
    let (test, schedules): (_, [&dyn Schedule; 3]) = (data.test.first(REPORTED), [&linear, &cosine, &learned]);
    let denoise = |z, gamma| model.denoiser.denoise(z, gamma, None);
    let draws = Draws { passes: 2, seed: chapter.seed() };
    let mut rows = Vec::new();
    for latents in [10, 25, 50] {
        let row = schedules.iter().map(|schedule| {
            let bound = Bound::discrete(&test, &schedule.grid(latents), denoise, draws, &chapter.device)?;
            Ok(Number::within(data.bits_per_dim(bound.total()), 0.02, 2))
        });
        rows.push((latents.to_string(), row.collect::<Result<_>>()?));
    }
    chapter.report.section("Discrete time");
    chapter.report.table(&["latents T", "linear", "cosine", "learned"], &rows);
    Ok(())
}

/// Moves both end points down the slopes of the bound on the training images, from where they are clearly wrong.
fn end_points(chapter: &mut Chapter, data: &Dataset, model: &Model) -> Result<()> {
    let (seed, device) = (chapter.seed(), chapter.device.clone());
    // ANCHOR: end_points
    let denoise = |z, gamma| model.denoiser.denoise(z, gamma, None);
    let slopes = |ends: [f64; 2], images: usize, step: usize| -> Result<[f64; 2]> {
        let noise = &mut rng(seed, Stream::Training, step as u64);
        let batch = data.train.sample(images, noise);
        Ok(Bound::end_point_slopes(&batch, ends, denoise, noise, &device)?.map(|nats| data.bits_per_dim(nats)))
    };
    let mut path = vec![[-5.0, 2.0]];
    for step in 0..60 {
        let (ends, slopes) = (path[step], slopes(path[step], 256, step)?);
        path.push([0, 1].map(|i| ends[i] - (20.0 * slopes[i]).clamp(-0.25, 0.25)));
    }
    // ANCHOR_END: end_points
    let (start, learned, linear) = (path[0], path[60], model.linear());
    let (validation, mut rows) = (data.validation.first(REPORTED), Vec::new());
    for (name, ends) in [("start", start), ("chapter 5", [linear.gamma_min, linear.gamma_max]), ("learned", learned)] {
        let bound = model.bound(chapter, &validation, &Linear { gamma_min: ends[0], gamma_max: ends[1] }, 64)?;
        let bits = |nats, tolerance| Number::within(data.bits_per_dim(nats), tolerance, 4);
        rows.push((
            name.to_string(),
            vec![
                Number::within(ends[0], 0.05, 2),
                Number::within(ends[1], 0.05, 2),
                bits(bound.reconstruction, 0.0005),
                bits(bound.prior, 0.0001),
                bits(bound.denoising.iter().sum(), 0.005),
                bits(bound.total(), 0.005),
            ],
        ));
    }
    let [slope_min, slope_max] = slopes(learned, 2000, 60)?;
    // What an ideal denoiser would leave: the slope of KL(q(z) || N(0, I)), to first order in abar.
    let mean = data.train.values(&device).mean_dim(0);
    let mean_square = download(mean.square().sum())?[0];
    let predicted = -0.5 * (-learned[1]).exp() * data.bits_per_dim(mean_square);
    let report = &mut chapter.report;
    report.section("Learned end points");
    report.table(&["end points", "gamma_min", "gamma_max", "reconstruction", "prior", "diffusion", "bound"], &rows);
    report.row("slope left in gamma_min", &Number::within(slope_min, 0.0002, 5), "bits/dim");
    report.row("slope left in gamma_max", &Number::within(slope_max, 0.0002, 5), "bits/dim");
    report.row("predicted for gamma_max", &Number::within(predicted, 0.0002, 5), "bits/dim");
    let curve = |name: &str, i: usize| {
        Series::new(name, Style::Line, path.iter().zip(0..).map(|(ends, step)| (f64::from(step), ends[i])))
    };
    let (x, y) = (Axis::linear("step"), Axis::linear("gamma"));
    chapter.figure("end_points", &Plot { x, y, series: vec![curve("gamma_min", 0), curve("gamma_max", 1)] }.draw()?)
}

/// Short training runs that differ in the schedule alone, all bounded with the learned schedule.
fn equal_training(
    chapter: &mut Chapter,
    data: &Dataset,
    setting: &Setting,
    fresh: &Model,
    judge: &Model,
) -> Result<()> {
    let (linear, cosine, judge) = (judge.linear(), judge.cosine(), judge.schedule.fixed()?);
    let schedules: [(&str, Option<&(dyn Schedule + Sync)>); 3] =
        [("linear", Some(&linear)), ("cosine", Some(&cosine)), ("learned", None)];
    let (validation, training, mut rows) = (data.validation.first(REPORTED), Training::new(200), Vec::new());
    let setting = &Setting { shifted: 0.0, ..setting.clone() };
    for (name, fixed) in schedules {
        let model = train(chapter, &data.train, setting, fresh, fixed, (&format!("{name} schedule"), &training))?;
        let bound = model.bound(chapter, &validation, &judge, 32)?;
        let bits = |nats| data.bits_per_dim(nats);
        let numbers =
            vec![Number::within(bits(bound.total()), 0.005, 3), Number::within(bits(bound.standard_error), 0.0003, 4)];
        rows.push((name.to_string(), numbers));
    }
    chapter.report.section("Equal short training");
    chapter.report.table(&["trained with", "validation bound (bits/dim)", "standard error"], &rows);
    Ok(())
}
