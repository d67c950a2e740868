//! Chapter 7: three (and one more) ways to read the output of the same network.

use std::process::ExitCode;

use burn::{module::Module, tensor::Tensor};
use elbo_to_diffusion::{
    bound::{Bound, Draws},
    chapter::{self, Chapter, Flag, Number, Preset, Setting, Spec},
    data::Dataset,
    denoiser::{Denoiser, DenoiserConfig, Layers, Regressor, TrunkConfig},
    diffusion::{denoising_kl, diffuse, diffusion_weight},
    error::Result,
    figure::{Axis, Field, ImageRow, Plot, Series, Style, fields, image_rows},
    host::{download, upload},
    oracle::{Gaussian, Level, Mixture, Step, vector},
    parameterization::Parameterization::{self, Eps, Score, V, X},
    random::{Stream, normal, rng},
    sampler::{ancestral, decode},
    schedule::{Cosine, Linear, Schedule},
    training::{SHARDS, Shard, Training},
};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Noise levels at which the scales of the errors are drawn.
const LINEAR: Linear = Linear { gamma_min: -8.0, gamma_max: 5.0 };
/// The networks are compared on at most this many of the first test images. The digits have fewer.
const REPORTED: usize = 500;

fn main() -> ExitCode {
    let spec = Spec {
        name: "ch07_three_parameterizations",
        about: "Chapter 7: predict x, the noise, the score or v, and see what is equal and what is not",
        flags: &[Flag::Device, Flag::Mnist, Flag::Full, Flag::Steps, Flag::Resume],
    };
    chapter::main(spec, run)
}

fn run(chapter: &mut Chapter) -> Result<()> {
    let data = chapter.dataset()?;
    four_losses(chapter);
    error_scale(chapter)?;
    tweedie(chapter)?;
    heads(chapter, &data)
}

// ANCHOR: four_losses
/// Reads one random output as x, eps, score and v in turn, and weighs each error as the bound demands.
fn four_losses(chapter: &mut Chapter) {
    let noise = &mut rng(chapter.seed(), Stream::Evaluation, 0);
    let mut draw = || -> f64 { StandardNormal.sample(noise) };
    let (mut losses, mut weights, mut largest) = (Vec::new(), Vec::new(), 0.0_f64);
    for gamma_t in [-7.87, -3.87, 0.13, 5.0] {
        let step = Step::new(gamma_t - 0.13, gamma_t);
        let (signal, noise) = (step.t.abar().sqrt(), step.t.noise().sqrt());
        let (x, eps, error) = (draw(), draw(), draw());
        let z = signal * x + noise * eps;
        // The network predicts v with this error. The other three readings follow from z and v_hat.
        let v_hat = signal * eps - noise * x + error;
        let (x_hat, eps_hat) = (signal * z - noise * v_hat, noise * z + signal * v_hat);
        let weight = [step.x_weight(), step.eps_weight(), step.score_weight(), step.v_weight()];
        let errors = [x - x_hat, eps - eps_hat, (eps_hat - eps) / noise, error];
        // The KL divergence itself: two Gaussians of equal variance whose means differ.
        let means = step.posterior_mean(z, x) - step.posterior_mean(z, x_hat);
        let kl = means.powi(2) / (2.0 * step.posterior_variance());
        let loss = [0, 1, 2, 3].map(|i| weight[i] * errors[i].powi(2));
        largest = loss.iter().map(|loss| (loss / kl - 1.0).abs()).fold(largest, f64::max);
        let exact = |values: &[f64]| values.iter().map(|&value| Number::exact(value, 6)).collect();
        losses.push((format!("{gamma_t}"), exact(&[&loss[..], &[kl]].concat())));
        weights.push((format!("{gamma_t}"), exact(&weight)));
    }
    // ANCHOR_END: four_losses
    let report = &mut chapter.report;
    report.section("One output, four losses");
    report.table(&["gamma_t", "x", "eps", "score", "v", "KL"], &losses);
    report.row("largest relative difference", &Number::within(1e10 * largest, 1.0, 2), "x 1e-10");
    report.section("The weights of these losses");
    report.table(&["gamma_t", "x", "eps", "score", "v"], &weights);
}

/// Draws by how much each reading multiplies the error of the output.
fn error_scale(chapter: &mut Chapter) -> Result<()> {
    let gammas: Vec<f64> = LINEAR.grid(105);
    let series = [("x", X), ("eps", Eps), ("score", Score), ("v", V)].map(|(name, head)| {
        let (_, scale) = head.coefficients(upload(gammas.iter().copied(), &chapter.device));
        Ok(Series::new(name, Style::Line, gammas.iter().copied().zip(download(scale.abs())?)))
    });
    let (x, y) = (Axis::linear("gamma = -log SNR"), Axis::log("error of x per error of the output"));
    let series = series.into_iter().collect::<Result<Vec<_>>>()?;
    chapter.figure("error_scale", &Plot { x, y, series }.draw()?)
}

/// Three blobs in the plane, whose score is known exactly at every noise level.
fn blobs() -> Result<Mixture> {
    let blob = |x: f64, y: f64| Gaussian::isotropic(vector(&[x, y]), 0.05);
    Ok(Mixture::new(&[0.4, 0.35, 0.25], vec![blob(-1.0, -0.6)?, blob(1.0, -0.4)?, blob(0.1, 1.0)?])?)
}

// ANCHOR: tweedie
fn tweedie(chapter: &mut Chapter) -> Result<()> {
    const DRAWS: usize = 50_000;
    let (data, level) = (blobs()?, Level::new(-1.5));
    let marginal = data.marginal(level)?;
    let noise = &mut rng(chapter.seed(), Stream::Evaluation, 1);
    let (mut gap, mut squared, mut mmse, mut product) = (0.0_f64, 0.0, 0.0, 0.0);
    for _ in 0..DRAWS {
        let x = data.sample(noise);
        let eps = vector(&[StandardNormal.sample(noise), StandardNormal.sample(noise)]);
        let z = &x * level.abar().sqrt() + &eps * level.noise().sqrt();
        let (score, posterior) = (marginal.score(&z)?, data.posterior(&z, level)?);
        // Tweedie: the posterior mean from the score, against the posterior mean from Bayes' rule.
        let from_score = (&z + &score * level.noise()) / level.abar().sqrt();
        gap = gap.max((from_score - posterior.mean()).amax());
        let difference = &score + &eps / level.noise().sqrt();
        squared += difference.norm_squared() / DRAWS as f64;
        product += score.dot(&difference) / DRAWS as f64;
        mmse += posterior.covariance().trace() / DRAWS as f64;
    }
    // ANCHOR_END: tweedie
    let report = &mut chapter.report;
    report.section("Tweedie");
    report.row("posterior means apart, at most", &Number::within(1e10 * gap, 1.0, 2), "x 1e-10");
    report.row("mean squared difference of the scores", &Number::exact(squared, 2), "");
    report.row("the same from the mmse", &Number::exact(level.snr() / level.noise() * mmse, 2), "");
    report.row("mean product with the marginal score", &Number::exact(product, 2), "");

    score_field(chapter, &data, level, noise)
}

/// Draws the exact score beside one that a network learned, and compares them where z lies and on an even grid.
fn score_field(chapter: &mut Chapter, data: &Mixture, level: Level, noise: &mut ChaCha8Rng) -> Result<()> {
    let (marginal, network) = (data.marginal(level)?, score_network(chapter, data, level)?);
    let exact = |z: &[[f64; 2]]| -> Result<Vec<[f64; 2]>> {
        z.iter().map(|z| Ok(marginal.score(&vector(z)).map(|s| [s[0], s[1]])?)).collect()
    };
    let device = chapter.device.clone();
    let learned = |z: &[[f64; 2]]| -> Result<Vec<[f64; 2]>> {
        let (rows, gamma) =
            (upload(z.iter().flatten().copied(), &device), Tensor::full([z.len()], level.gamma, &device));
        let score = download(-network.forward(rows.reshape([z.len(), 2]), gamma, None) / level.noise().sqrt())?;
        Ok(score.chunks(2).map(|s| [s[0], s[1]]).collect())
    };
    let place = |i: usize| 0.4 * i as f64 - 2.4;
    let grid: Vec<[f64; 2]> = (0..13 * 13).map(|i| [place(i / 13), place(i % 13)]).collect();
    let drawn: Vec<[f64; 2]> = (0..2000).map(|_| marginal.sample(noise)).map(|z| [z[0], z[1]]).collect();
    for (place, z) in [("where z lies", &drawn), ("on an even grid", &grid)] {
        let (mut error, mut power) = (0.0, 0.0);
        for (s, s_hat) in exact(z)?.into_iter().zip(learned(z)?) {
            error += (s[0] - s_hat[0]).powi(2) + (s[1] - s_hat[1]).powi(2);
            power += s[0].powi(2) + s[1].powi(2);
        }
        let percent = Number::within(100.0 * f64::sqrt(error / power), 1.0, 0);
        chapter.report.row(&format!("error of the learned score {place}"), &percent, "%");
    }
    let picture = |title: &str, score: Vec<[f64; 2]>| Field {
        title: title.into(),
        arrows: grid.iter().copied().zip(score).collect(),
        points: drawn[..150].to_vec(),
    };
    let pictures = [picture("exact score", exact(&grid)?), picture("learned score", learned(&grid)?)];
    chapter.figure("score_field", &fields(&pictures, 2.8, 0.75)?)
}

// ANCHOR: score_network
/// Learns eps_hat at one noise level by regression on eps alone: the exact score is never shown to it.
fn score_network(chapter: &mut Chapter, data: &Mixture, level: Level) -> Result<Regressor> {
    const N: usize = 128;
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    let trunk =
        TrunkConfig { gamma_min: -8.0, gamma_max: 5.0, layers: Layers::Dense, hidden: 64, blocks: 1, dropout: 0.0 };
    let network = Regressor::new(trunk, 2, &mut rng(seed, Stream::Initialisation, 1), &device);
    let loss = |network: &Regressor, shard: Shard| {
        let noise = &mut shard.rng(seed, Stream::Training);
        let x: Vec<f64> = (0..N).map(|_| data.sample(noise)).flat_map(|x| [x[0], x[1]]).collect();
        let (x, eps) = (upload(x, &device).reshape([N, 2]), normal([N, 2], noise, &device));
        let gamma = Tensor::<1>::full([N], level.gamma, &device);
        let z = diffuse(x, gamma.clone(), eps.clone());
        (network.forward(z, gamma, None) - eps).square().mean()
    };
    Ok(chapter.train("score", &Training::new(600), &network, loss)?.model)
}
// ANCHOR_END: score_network

// ANCHOR: network
trait Head: Module + Sync {
    /// x_hat, [B, d], from z_t, [B, d], and gamma_t, [B].
    fn x_hat(&self, to: Parameterization, z: Tensor<2>, gamma: Tensor<1>, drop: Option<&mut ChaCha8Rng>) -> Tensor<2>;
}

/// A network whose d outputs are read as one of the four.
impl Head for Regressor {
    fn x_hat(&self, to: Parameterization, z: Tensor<2>, gamma: Tensor<1>, drop: Option<&mut ChaCha8Rng>) -> Tensor<2> {
        to.to_x(self.forward(z.clone(), gamma.clone(), drop), z, gamma)
    }
}

/// A network that outputs the odds of each level, and with them x_hat.
impl Head for Denoiser {
    fn x_hat(&self, _: Parameterization, z: Tensor<2>, gamma: Tensor<1>, drop: Option<&mut ChaCha8Rng>) -> Tensor<2> {
        self.denoise(z, gamma, drop)
    }
}
// ANCHOR_END: network

/// How the error at each noise level counts in training.
#[derive(Clone, Copy)]
enum Loss<'a> {
    /// As the bound demands.
    Bound,
    /// The plain squared error of the output, at times of this schedule.
    Simple(&'a (dyn Schedule + Sync)),
}

/// The network of `--preset` and `--data`. Ten of them are trained here, so each gets a tenth of the steps of a long run; in a
/// short one, with less dropout than in chapters 5 and 6.
fn setting(chapter: &mut Chapter, data: &Dataset) -> Setting {
    let setting = chapter.setting(data, 400);
    let Setting { trunk, training, .. } = &setting;
    match chapter.preset() {
        Preset::Quick => Setting { trunk: TrunkConfig { dropout: 0.3, ..*trunk }, ..setting },
        Preset::Full => {
            let steps = chapter.steps(training.steps.div_ceil(10));
            Setting {
                training: Training { steps, warmup: training.warmup * steps / training.steps, ..training.clone() },
                ..setting
            }
        }
    }
}

fn heads(chapter: &mut Chapter, data: &Dataset) -> Result<()> {
    let setting = &setting(chapter, data);
    let (trunk, linear) = (setting.trunk, setting.linear());
    let cosine = Cosine { gamma_min: trunk.gamma_min, gamma_max: trunk.gamma_max };
    let device = chapter.device.clone().autodiff();
    let init = || rng(chapter.seed(), Stream::Initialisation, 0);
    let plain = Regressor::new(trunk, data.train.dim(), &mut init(), &device);
    let posterior = DenoiserConfig::for_images(&data.train, trunk).init(&mut init(), &device);
    let mut judged = Vec::new();
    for reading in [
        ("x, bound", X, Loss::Bound),
        ("x, simple", X, Loss::Simple(&linear)),
        ("eps, bound", Eps, Loss::Bound),
        ("eps, simple, cosine times", Eps, Loss::Simple(&cosine)),
        ("score, bound", Score, Loss::Bound),
        ("score, simple", Score, Loss::Simple(&linear)),
        ("v, bound", V, Loss::Bound),
        ("v, simple", V, Loss::Simple(&linear)),
    ] {
        let trained = train(chapter, data, setting, &plain, reading)?;
        let x_hat = |z, gamma| trained.x_hat(reading.1, z, gamma, None);
        judged.push(judge(chapter, data, &linear, reading.0, x_hat)?);
        if reading.0 == "eps, bound" {
            let clipped = |z, gamma| x_hat(z, gamma).clamp(-1.0, 1.0);
            judged.push(judge(chapter, data, &linear, "eps, bound, clipped", clipped)?);
        }
    }
    for reading in [("softmax x, bound", X, Loss::Bound), ("softmax x, simple", X, Loss::Simple(&linear))] {
        let trained = train(chapter, data, setting, &posterior, reading)?;
        judged.push(judge(chapter, data, &linear, reading.0, |z, gamma| trained.denoise(z, gamma, None))?);
    }
    // The output of the chapters before, trained for the bound.
    if let Some(usual) = judged.iter().find(|j| j.name == "softmax x, bound") {
        chapter.metric("test_bits_per_dim", usual.bits);
        chapter.metric("test_bits_per_dim_stderr", usual.error);
    }
    let row = |j: &Judged| {
        let tolerance = (0.002 * j.bits).max(0.005);
        (j.name.to_string(), vec![Number::within(j.bits, tolerance, 3), Number::within(j.error, 0.0005, 4)])
    };
    let rows: Vec<_> = judged.iter().map(row).collect();
    chapter.report.section("The same network with each head");
    chapter.report.table(&["output and loss", "test bound (bits/dim)", "standard error"], &rows);
    let pictures: Vec<_> = judged.into_iter().map(|j| j.samples).collect();
    chapter.figure("samples", &image_rows(&pictures, data.train.side())?)
}

// ANCHOR: train
/// A name, what the outputs are read as, and the loss.
type Reading<'a> = (&'static str, Parameterization, Loss<'a>);

fn train<N: Head>(
    chapter: &mut Chapter,
    data: &Dataset,
    setting: &Setting,
    network: &N,
    (name, head, loss): Reading,
) -> Result<N> {
    let (seed, device, linear) = (chapter.seed(), chapter.device.clone().autodiff(), setting.linear());
    let weighted = |network: &N, shard: Shard| {
        let t = shard.times(setting.batch / SHARDS, seed);
        let (gamma, weight) = match loss {
            Loss::Bound => {
                let weight = upload(t.iter().map(|&t| diffusion_weight(&linear, t)), &device);
                (linear.at(&t, &device).0, weight)
            }
            Loss::Simple(times) => {
                let gamma = times.at(&t, &device).0;
                // |target - output|^2 = |x - x_hat|^2 / scale^2.
                let (_, scale) = head.coefficients(gamma.clone());
                (gamma, scale.square().recip().squeeze_dim(1))
            }
        };
        let (x, z) = shard.noised(&data.train, gamma.clone(), setting.shifted, seed);
        let x_hat = network.x_hat(head, z, gamma, Some(&mut shard.rng(seed, Stream::Dropout)));
        denoising_kl(x, x_hat, weight).mean() / data.train.dim() as f64
    };
    Ok(chapter.train(name, &setting.training, network, weighted)?.model)
}
// ANCHOR_END: train

/// What a trained network reached: a bound in bits/dim with its standard error, and samples.
struct Judged {
    name: &'static str,
    bits: f64,
    error: f64,
    samples: ImageRow,
}

/// Bounds the test set, always with the bound's weights, and draws samples.
fn judge(
    chapter: &mut Chapter,
    data: &Dataset,
    linear: &Linear,
    name: &'static str,
    x_hat: impl Fn(Tensor<2>, Tensor<1>) -> Tensor<2> + Sync,
) -> Result<Judged> {
    const SAMPLES: usize = 16;
    let (seed, device) = (chapter.seed(), &chapter.device.clone());
    let bound = Bound::continuous(&data.test.first(REPORTED), linear, 48, &x_hat, Draws { passes: 2, seed }, device)?;
    let (bits, error) = (data.bits_per_dim(bound.total()), data.bits_per_dim(bound.standard_error));
    chapter.metric(&format!("{}_test_bits_per_dim", name.replace(", ", "_").replace(' ', "_")), bits);

    let noise = &mut rng(seed, Stream::Sampling, 0);
    let z = ancestral([SAMPLES, data.train.dim()], &linear.grid(100), &x_hat, noise, device, |_, _, _| {});
    let digits = decode(z, linear.gamma_min, &data.train.level_values())?;
    let samples = ImageRow::from_levels(name, digits.chunks(data.train.dim()), data.train.level_count());
    Ok(Judged { name, bits, error, samples })
}
