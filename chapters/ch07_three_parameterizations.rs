//! Chapter 7: three (and one more) ways to read the output of the same network.

use std::process::ExitCode;

use burn::{module::Module, tensor::Tensor};
use elbo_to_diffusion::{
    bound::{Bound, Draws},
    chapter::{self, Chapter, Flag, Number, Spec},
    data::Dataset,
    denoiser::{Denoiser, DenoiserConfig, Regressor, TrunkConfig},
    diffusion::{denoising_kl, diffuse, diffusion_weight},
    error::Result,
    figure::{Field, ImageRow, fields, image_rows},
    host::{download, upload},
    oracle::{Gaussian, Level, Mixture, Step, vector},
    parameterization::Parameterization,
    random::{Stream, normal, rng},
    sampler::{ancestral, decode},
    schedule::{Linear, Schedule},
    training::{SHARDS, Shard, Training},
};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

const SCHEDULE: Linear = Linear { gamma_min: -8.0, gamma_max: 5.0 };

fn main() -> ExitCode {
    let spec = Spec {
        name: "ch07_three_parameterizations",
        about: "Chapter 7: predict x, the noise, the score or v, and see what is equal and what is not",
        flags: &[Flag::Device, Flag::Steps],
    };
    chapter::main(spec, run)
}

fn run(chapter: &mut Chapter) -> Result<()> {
    one_output_four_losses(chapter);
    tweedie(chapter)?;
    heads(chapter)
}

// ANCHOR: four_losses
/// Reads one random output as x, eps, score and v in turn, and weighs each error as the bound demands.
fn one_output_four_losses(chapter: &mut Chapter) {
    let noise = &mut rng(chapter.seed(), Stream::Evaluation, 0);
    let mut draw = || -> f64 { StandardNormal.sample(noise) };
    let mut rows = Vec::new();
    let mut largest = 0.0_f64;
    for (gamma_s, gamma_t) in [(-8.0, -7.87), (-4.0, -3.87), (0.0, 0.13), (4.87, 5.0)] {
        let (step, level) = (Step::new(gamma_s, gamma_t), Level::new(gamma_t));
        let (signal, noise) = (level.abar().sqrt(), level.noise().sqrt());
        let (x, eps, error) = (draw(), draw(), draw());
        let z = signal * x + noise * eps;
        // The network predicts v with this error; the other three follow from z and v_hat.
        let v_hat = signal * eps - noise * x + error;
        let (x_hat, eps_hat) = (signal * z - noise * v_hat, noise * z + signal * v_hat);
        let losses = [
            step.x_weight() * (x - x_hat).powi(2),
            step.eps_weight() * (eps - eps_hat).powi(2),
            step.score_weight() * (eps_hat / noise - eps / noise).powi(2),
            step.v_weight() * error.powi(2),
        ];
        largest = losses.iter().map(|loss| (loss / losses[0] - 1.0).abs()).fold(largest, f64::max);
        rows.push((format!("{gamma_t}"), losses.map(|loss| Number::within(loss, 1e-6, 6)).to_vec()));
    }
    chapter.report.section("One output, four losses");
    chapter.report.table(&["gamma_t", "x", "eps", "score", "v"], &rows);
    chapter.report.row("largest relative difference", &Number::within(largest, 1e-10, 10), "");
}
// ANCHOR_END: four_losses

/// Two blobs in the plane, whose score is known exactly at every noise level.
fn mixture() -> Result<Mixture> {
    let blob = |x: f64, y: f64| Gaussian::isotropic(vector(&[x, y]), 0.05);
    Ok(Mixture::new(&[0.4, 0.35, 0.25], vec![blob(-1.0, -0.6)?, blob(1.0, -0.4)?, blob(0.1, 1.0)?])?)
}

// ANCHOR: tweedie
fn tweedie(chapter: &mut Chapter) -> Result<()> {
    let (data, level) = (mixture()?, Level::new(-1.5));
    let marginal = data.marginal(level)?;
    let noise = &mut rng(chapter.seed(), Stream::Evaluation, 1);
    let (mut gap, mut conditional, mut weighted) = (0.0_f64, 0.0, 0.0);
    const DRAWS: usize = 20_000;
    for _ in 0..DRAWS {
        let x = data.sample(noise);
        let eps = vector(&[StandardNormal.sample(noise), StandardNormal.sample(noise)]);
        let z = &x * level.abar().sqrt() + &eps * level.noise().sqrt();
        let score = marginal.score(&z)?;
        // Tweedie: the posterior mean from the score, against the posterior mean from Bayes' rule.
        let from_score = (&z + &score * level.noise()) / level.abar().sqrt();
        gap = gap.max((from_score - data.posterior(&z, level)?.mean()).amax());
        let difference = &score + &eps / level.noise().sqrt();
        conditional += difference.norm_squared() / DRAWS as f64;
        weighted += score.dot(&difference) / DRAWS as f64;
    }
    // ANCHOR_END: tweedie
    let report = &mut chapter.report;
    report.section("Tweedie");
    report.row("largest gap to the posterior mean", &Number::within(gap, 1e-10, 10), "");
    report.row("E |marginal - conditional score|^2", &Number::within(conditional, 0.001, 3), "");
    report.row("E <marginal, marginal - conditional>", &Number::within(weighted, 0.001, 3), "");

    let network = score_network(chapter, &data, level)?;
    let grid: Vec<[f64; 2]> =
        (0..13).flat_map(|i| (0..13).map(move |j| [f64::from(i) * 0.4 - 2.4, f64::from(j) * 0.4 - 2.4])).collect();
    let exact: Vec<[f64; 2]> =
        grid.iter().map(|p| marginal.score(&vector(p)).map(|s| [s[0], s[1]])).collect::<std::result::Result<_, _>>()?;
    let z = upload(grid.iter().flatten().copied(), &chapter.device).reshape([grid.len(), 2]);
    let gamma = Tensor::full([grid.len()], level.gamma, &chapter.device);
    let learned = download(-network.forward(z, gamma, None) / level.noise().sqrt())?;
    let learned: Vec<[f64; 2]> = learned.chunks(2).map(|s| [s[0], s[1]]).collect();
    let noised: Vec<[f64; 2]> = (0..150).map(|_| marginal.sample(noise)).map(|p| [p[0], p[1]]).collect();
    let field = |title: &str, score: &[[f64; 2]]| Field {
        title: title.into(),
        arrows: grid.iter().copied().zip(score.iter().copied()).collect(),
        points: noised.clone(),
    };
    let pictures = [field("exact score", &exact), field("learned score", &learned)];
    chapter.figure("score_field", &fields(&pictures, 2.8, 0.75)?)?;

    let (mut error, mut power) = (0.0, 0.0);
    for ((at, s), s_hat) in grid.iter().zip(&exact).zip(&learned) {
        let density = marginal.log_prob(&vector(at))?.exp();
        error += density * ((s[0] - s_hat[0]).powi(2) + (s[1] - s_hat[1]).powi(2));
        power += density * (s[0].powi(2) + s[1].powi(2));
    }
    chapter.report.row("relative error of the learned score", &Number::within(100.0 * error / power, 1.0, 1), "%");
    Ok(())
}

/// Learns eps_hat at one noise level by regression on eps alone: the exact score is never shown to it.
fn score_network(chapter: &Chapter, data: &Mixture, level: Level) -> Result<Regressor> {
    const N: usize = 128;
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    let trunk = TrunkConfig { gamma_min: -8.0, gamma_max: 5.0, hidden: 64, blocks: 1, dropout: 0.0 };
    let network = Regressor::new(trunk, 2, &mut rng(seed, Stream::Initialisation, 1), &device);
    let loss = |network: &Regressor, shard: Shard| {
        let noise = &mut shard.rng(seed, Stream::Training);
        let x: Vec<f64> = (0..N).map(|_| data.sample(noise)).flat_map(|x| [x[0], x[1]]).collect();
        let x = upload(x, &device).reshape([N, 2]);
        let eps = normal([N, 2], noise, &device);
        let gamma = Tensor::<1>::full([N], level.gamma, &device);
        let z = diffuse(x, gamma.clone(), eps.clone());
        (network.forward(z, gamma, None) - eps).square().mean()
    };
    Ok(training(600).run(network, loss, |_, _, _| Ok(()))?.model)
}

fn training(steps: usize) -> Training {
    Training { steps, learning_rate: 2e-3, warmup: steps / 8, weight_decay: 0.01, clip_norm: 1.0, ema_decay: 0.99 }
}

/// How the error at each noise level counts.
#[derive(Clone, Copy, PartialEq)]
enum Weighting {
    /// As the bound demands.
    Bound,
    /// All errors of the output alike.
    Simple,
}

/// What is read off a network: x_hat from z_t and gamma_t.
type XHat<M> = fn(&M, Parameterization, Tensor<2>, Tensor<1>, Option<&mut ChaCha8Rng>) -> Tensor<2>;

fn heads(chapter: &mut Chapter) -> Result<()> {
    use Parameterization::{Eps, V, X};
    let data = chapter.dataset()?;
    let trunk = TrunkConfig {
        gamma_min: SCHEDULE.gamma_min,
        gamma_max: SCHEDULE.gamma_max,
        hidden: 192,
        blocks: 2,
        dropout: 0.3,
    };
    let device = chapter.device.clone().autodiff();
    let init = || rng(chapter.seed(), Stream::Initialisation, 0);
    let plain = Regressor::new(trunk, data.train.dim(), &mut init(), &device);
    let posterior = DenoiserConfig::for_images(&data.train, trunk).init(&mut init(), &device);
    let regressor: XHat<Regressor> =
        |network, head, z, gamma, dropout| head.to_x(network.forward(z.clone(), gamma.clone(), dropout), z, gamma);
    let softmax: XHat<Denoiser> = |network, _, z, gamma, dropout| network.denoise(z, gamma, dropout);

    let mut table = Vec::new();
    let mut pictures = Vec::new();
    for (name, head, weighting) in [
        ("x", X, Weighting::Bound),
        ("x", X, Weighting::Simple),
        ("eps", Eps, Weighting::Bound),
        ("v", V, Weighting::Bound),
        ("v", V, Weighting::Simple),
    ] {
        compare(chapter, &data, (name, head, weighting), &plain, regressor, &mut table, &mut pictures)?;
    }
    compare(
        chapter,
        &data,
        ("softmax posterior", X, Weighting::Bound),
        &posterior,
        softmax,
        &mut table,
        &mut pictures,
    )?;
    compare(
        chapter,
        &data,
        ("softmax posterior", X, Weighting::Simple),
        &posterior,
        softmax,
        &mut table,
        &mut pictures,
    )?;
    chapter.report.section("The same network with each head");
    chapter.report.table(&["output and weights", "test bound (bits/dim)", "standard error"], &table);
    chapter.figure("samples", &image_rows(&pictures, data.train.side())?)
}

// ANCHOR: compare
/// Trains a copy of the network, bounds the test set and draws samples.
fn compare<M: Module + Sync>(
    chapter: &mut Chapter,
    data: &Dataset,
    (name, head, weighting): (&str, Parameterization, Weighting),
    network: &M,
    x_hat: XHat<M>,
    table: &mut Vec<(String, Vec<Number>)>,
    pictures: &mut Vec<ImageRow>,
) -> Result<()> {
    const N: usize = 128 / SHARDS;
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    let weight = |t: f64| match weighting {
        Weighting::Bound => diffusion_weight(&SCHEDULE, t),
        Weighting::Simple => 1.0 / head.error_factor(SCHEDULE.gamma(t)),
    };
    let loss = |network: &M, shard: Shard| {
        let x = data.train.sample(N, &mut shard.rng(seed, Stream::Batch)).values(&device);
        let t = shard.times(N, seed);
        let gamma = upload(t.iter().map(|&t| SCHEDULE.gamma(t)), &device);
        let weight = upload(t.iter().map(|&t| weight(t)), &device);
        let z = diffuse(
            x.clone(),
            gamma.clone(),
            normal([N, data.train.dim()], &mut shard.rng(seed, Stream::Training), &device),
        );
        let x_hat = x_hat(network, head, z, gamma, Some(&mut shard.rng(seed, Stream::Dropout)));
        denoising_kl(x, x_hat, weight).mean() / data.train.dim() as f64
    };
    let label = format!("{name}, {} weights", if weighting == Weighting::Bound { "bound's" } else { "equal" });
    let steps = chapter.steps(250);
    let mut progress = chapter.progress(&label, steps);
    let trained = training(steps).run(network.clone(), loss, |_, step, loss| {
        progress.set(step, &format!("{loss:.3}"));
        Ok(())
    })?;
    drop(progress);

    let device = &chapter.device.clone();
    let denoise = |z, gamma| x_hat(&trained.model, head, z, gamma, None);
    let bound = Bound::continuous(&data.test, &SCHEDULE, 32, denoise, Draws { passes: 2, seed }, device)?;
    let bits = |nats| data.bits_per_dim(nats);
    table.push((
        label.clone(),
        vec![Number::within(bits(bound.total()), 0.05, 3), Number::within(bits(bound.standard_error), 0.005, 4)],
    ));
    let metric = label.replace([' ', ',', '\''], "_").replace("__", "_");
    chapter.metric(&format!("test_bits_per_dim_{metric}"), bits(bound.total()));

    const SAMPLES: usize = 16;
    let noise = &mut rng(seed, Stream::Sampling, 0);
    let at = |z, gamma| denoise(z, Tensor::full([SAMPLES], gamma, device));
    let z = ancestral([SAMPLES, data.train.dim()], &SCHEDULE.grid(100), at, noise, device, |_, _, _| {});
    let digits = decode(z, SCHEDULE.gamma_min, &data.train.level_values())?;
    pictures.push(ImageRow::from_levels(label, digits.chunks(data.train.dim()), data.train.level_count()));
    Ok(())
}
// ANCHOR_END: compare
