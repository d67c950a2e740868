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

const LINEAR: Linear = Linear { gamma_min: -8.0, gamma_max: 5.0 };
const COSINE: Cosine = Cosine { gamma_min: -8.0, gamma_max: 5.0 };

fn main() -> ExitCode {
    let spec = Spec {
        name: "ch07_three_parameterizations",
        about: "Chapter 7: predict x, the noise, the score or v, and see what is equal and what is not",
        flags: &[Flag::Device, Flag::Steps, Flag::Resume],
    };
    chapter::main(spec, run)
}

fn run(chapter: &mut Chapter) -> Result<()> {
    four_losses(chapter);
    error_scale(chapter)?;
    tweedie(chapter)?;
    heads(chapter)
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
    const DRAWS: usize = 20_000;
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
    report.row("E |marginal - conditional score|^2", &Number::exact(squared, 2), "");
    report.row("SNR / (1 - abar) x mmse", &Number::exact(level.snr() / level.noise() * mmse, 2), "");
    report.row("E <marginal, marginal - conditional>", &Number::exact(product, 2), "");

    let network = score_network(chapter, &data, level)?;
    let grid = |side: i32| -> Vec<[f64; 2]> {
        let place = move |i| f64::from(i) * 4.8 / f64::from(side - 1) - 2.4;
        (0..side).flat_map(|i| (0..side).map(move |j| [place(i), place(j)])).collect()
    };
    let exact = |grid: &[[f64; 2]]| -> Result<Vec<[f64; 2]>> {
        grid.iter().map(|p| Ok(marginal.score(&vector(p)).map(|s| [s[0], s[1]])?)).collect()
    };
    let learned = |grid: &[[f64; 2]]| -> Result<Vec<[f64; 2]>> {
        let z = upload(grid.iter().flatten().copied(), &chapter.device).reshape([grid.len(), 2]);
        let gamma = Tensor::full([grid.len()], level.gamma, &chapter.device);
        let score = download(-network.forward(z, gamma, None) / level.noise().sqrt())?;
        Ok(score.chunks(2).map(|s| [s[0], s[1]]).collect())
    };
    let noised: Vec<[f64; 2]> = (0..150).map(|_| marginal.sample(noise)).map(|p| [p[0], p[1]]).collect();
    let coarse = grid(13);
    let field = |title: &str, score: Vec<[f64; 2]>| Field {
        title: title.into(),
        arrows: coarse.iter().copied().zip(score).collect(),
        points: noised.clone(),
    };
    let pictures = [field("exact score", exact(&coarse)?), field("learned score", learned(&coarse)?)];
    chapter.figure("score_field", &fields(&pictures, 2.8, 0.75)?)?;

    // Ninety-nine of a hundred z have at least this log density.
    let mut densities =
        (0..10_000).map(|_| Ok(marginal.log_prob(&marginal.sample(noise))?)).collect::<Result<Vec<f64>>>()?;
    densities.sort_by(f64::total_cmp);
    let mut errors = [[0.0; 2]; 2];
    let fine = grid(49);
    for ((at, s), s_hat) in fine.iter().zip(exact(&fine)?).zip(learned(&fine)?) {
        let rare = usize::from(marginal.log_prob(&vector(at))? < densities[100]);
        errors[rare][0] += (s[0] - s_hat[0]).powi(2) + (s[1] - s_hat[1]).powi(2);
        errors[rare][1] += s[0].powi(2) + s[1].powi(2);
    }
    for (place, [error, power]) in ["where 99 % of z lie", "elsewhere"].iter().zip(errors) {
        let percent = 100.0 * (error / power).sqrt();
        chapter.report.row(&format!("error of the learned score {place}"), &Number::within(percent, 3.0, 0), "%");
    }
    Ok(())
}

// ANCHOR: score_network
/// Learns eps_hat at one noise level by regression on eps alone: the exact score is never shown to it.
fn score_network(chapter: &mut Chapter, data: &Mixture, level: Level) -> Result<Regressor> {
    const N: usize = 128;
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    let trunk = TrunkConfig { gamma_min: -8.0, gamma_max: 5.0, hidden: 64, blocks: 1, dropout: 0.0 };
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
/// A network whose d outputs are read as one of the four, or one that outputs the odds of each level.
#[derive(Module, Debug)]
enum Network {
    Plain(Regressor),
    Posterior(Denoiser),
}

impl Network {
    fn x_hat(
        &self,
        head: Parameterization,
        z: Tensor<2>,
        gamma: Tensor<1>,
        drop: Option<&mut ChaCha8Rng>,
    ) -> Tensor<2> {
        match self {
            Self::Plain(network) => head.to_x(network.forward(z.clone(), gamma.clone(), drop), z, gamma),
            Self::Posterior(network) => network.denoise(z, gamma, drop),
        }
    }
}
// ANCHOR_END: network

/// How the error at each noise level counts in training.
#[derive(Clone, Copy)]
enum Loss {
    /// As the bound demands.
    Bound,
    /// The plain squared error of the output, at times of this schedule.
    Simple(&'static (dyn Schedule + Sync)),
}

fn heads(chapter: &mut Chapter) -> Result<()> {
    let data = chapter.dataset()?;
    let trunk = TrunkConfig { gamma_min: -8.0, gamma_max: 5.0, hidden: 192, blocks: 2, dropout: 0.3 };
    let device = chapter.device.clone().autodiff();
    let init = || rng(chapter.seed(), Stream::Initialisation, 0);
    let plain = Network::Plain(Regressor::new(trunk, data.train.dim(), &mut init(), &device));
    let posterior = Network::Posterior(DenoiserConfig::for_images(&data.train, trunk).init(&mut init(), &device));
    let mut judged = Judged { rows: Vec::new(), pictures: Vec::new(), best: (f64::MAX, 0.0) };
    for (name, network, head, loss) in [
        ("x, bound", &plain, X, Loss::Bound),
        ("x, simple", &plain, X, Loss::Simple(&LINEAR)),
        ("eps, bound", &plain, Eps, Loss::Bound),
        ("eps, simple, cosine times", &plain, Eps, Loss::Simple(&COSINE)),
        ("score, bound", &plain, Score, Loss::Bound),
        ("score, simple", &plain, Score, Loss::Simple(&LINEAR)),
        ("v, bound", &plain, V, Loss::Bound),
        ("v, simple", &plain, V, Loss::Simple(&LINEAR)),
        ("softmax x, bound", &posterior, X, Loss::Bound),
        ("softmax x, simple", &posterior, X, Loss::Simple(&LINEAR)),
    ] {
        let trained = train(chapter, &data, name, network, head, loss)?;
        let x_hat = |z, gamma| trained.x_hat(head, z, gamma, None);
        judged.add(chapter, &data, name, x_hat)?;
        if name == "eps, bound" {
            judged.add(chapter, &data, "eps, bound, clipped", |z, gamma| x_hat(z, gamma).clamp(-1.0, 1.0))?;
        }
    }
    chapter.metric("test_bits_per_dim", judged.best.0);
    chapter.metric("test_bits_per_dim_stderr", judged.best.1);
    chapter.report.section("The same network with each head");
    chapter.report.table(&["output and loss", "test bound", "standard error"], &judged.rows);
    chapter.figure("samples", &image_rows(&judged.pictures, data.train.side())?)
}

// ANCHOR: train
fn train(
    chapter: &mut Chapter,
    data: &Dataset,
    name: &str,
    network: &Network,
    head: Parameterization,
    loss: Loss,
) -> Result<Network> {
    const N: usize = 128 / SHARDS;
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    let weighted = |network: &Network, shard: Shard| {
        let x = data.train.sample(N, &mut shard.rng(seed, Stream::Batch)).values(&device);
        let t = shard.times(N, seed);
        let (gamma, weight) = match loss {
            Loss::Bound => {
                let weight = upload(t.iter().map(|&t| diffusion_weight(&LINEAR, t)), &device);
                (LINEAR.at(&t, &device).0, weight)
            }
            Loss::Simple(times) => {
                let gamma = times.at(&t, &device).0;
                // |target - output|^2 = |x - x_hat|^2 / scale^2.
                let (_, scale) = head.coefficients(gamma.clone());
                (gamma, scale.square().recip().squeeze_dim(1))
            }
        };
        let eps = normal([N, data.train.dim()], &mut shard.rng(seed, Stream::Training), &device);
        let z = diffuse(x.clone(), gamma.clone(), eps);
        let x_hat = network.x_hat(head, z, gamma, Some(&mut shard.rng(seed, Stream::Dropout)));
        denoising_kl(x, x_hat, weight).mean() / data.train.dim() as f64
    };
    let steps = chapter.steps(300);
    Ok(chapter.train(name, &Training::new(steps), network, weighted)?.model)
}
// ANCHOR_END: train

/// What the trained networks reached.
struct Judged {
    rows: Vec<(String, Vec<Number>)>,
    pictures: Vec<ImageRow>,
    /// The lowest bound and its standard error, bits/dim.
    best: (f64, f64),
}

impl Judged {
    /// Bounds the test set, always with the bound's weights, and draws samples.
    fn add(
        &mut self,
        chapter: &mut Chapter,
        data: &Dataset,
        name: &str,
        x_hat: impl Fn(Tensor<2>, Tensor<1>) -> Tensor<2> + Sync,
    ) -> Result<()> {
        const SAMPLES: usize = 16;
        let (seed, device) = (chapter.seed(), &chapter.device.clone());
        let bound = Bound::continuous(&data.test, &LINEAR, 48, &x_hat, Draws { passes: 2, seed }, device)?;
        let (bits, error) = (data.bits_per_dim(bound.total()), data.bits_per_dim(bound.standard_error));
        self.rows.push((name.into(), vec![Number::within(bits, 0.05, 3), Number::within(error, 0.005, 4)]));
        if bits < self.best.0 {
            self.best = (bits, error);
        }
        chapter.metric(&format!("{}_test_bits_per_dim", name.replace(", ", "_").replace(' ', "_")), bits);

        let noise = &mut rng(seed, Stream::Sampling, 0);
        let denoise = |z, gamma| x_hat(z, Tensor::full([SAMPLES], gamma, device));
        let z = ancestral([SAMPLES, data.train.dim()], &LINEAR.grid(100), denoise, noise, device, |_, _, _| {});
        let digits = decode(z, LINEAR.gamma_min, &data.train.level_values())?;
        self.pictures.push(ImageRow::from_levels(name, digits.chunks(data.train.dim()), data.train.level_count()));
        Ok(())
    }
}
