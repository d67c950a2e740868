//! The f32 tensor code against the f64 oracle, on random inputs, the extremes of gamma
//! included.
//!
//! Inputs are rounded to f32 before either side sees them, so that only the arithmetic is
//! compared. Each tolerance says where it comes from; `ULP` is the relative error of one
//! rounding to f32.

use std::ops::Range;

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{Device, Tensor, activation::sigmoid},
};
use elbo_to_diffusion::{
    data::{Images, digits::digits},
    error::Result,
    evaluation::{Bound, Draws},
    gaussian::DiagonalGaussian,
    host::{download, upload},
    network::{Layers, TrunkConfig},
    oracle::{
        Gaussian, Matrix, NoiseLevel, ScalarMixture, Step, decoder::reconstruction_cost,
        vector,
    },
    random::{Stream, rng},
    vdm::{
        Denoiser, ForwardPosterior, Learned, Linear, Monotone, Schedule, diffuse,
        process::denoising_weight,
        signal_power,
        terms::{decoder_log_probs, denoising_kl, prior_kl, reconstruction},
    },
};
use proptest::{
    collection::vec,
    prelude::{
        ProptestConfig, Strategy, TestCaseError, prop_assert, prop_assert_eq, proptest,
    },
    test_runner::RngSeed,
};

const ULP: f64 = 6e-8;
/// The widest noise levels that any schedule of the book comes near.
const GAMMAS: Range<f64> = -15.0..15.0;

/// The same cases in every run.
fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 256,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    }
}

/// A number of this range, rounded to f32.
fn number(range: Range<f64>) -> impl Strategy<Value = f64> {
    range.prop_map(|v| f64::from(v as f32))
}

fn numbers(range: Range<f64>, length: usize) -> impl Strategy<Value = Vec<f64>> {
    vec(number(range), length)
}

fn row(values: &[f64]) -> Tensor<2> {
    upload(values.iter().copied(), &Device::flex()).unsqueeze()
}

fn one(value: f64) -> Tensor<1> {
    upload([value], &Device::flex())
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    download(tensor).expect("the CPU delivers its numbers")
}

#[track_caller]
fn close(found: f64, exact: f64, tolerance: f64) -> std::result::Result<(), TestCaseError> {
    let difference = (found - exact).abs();
    prop_assert!(
        difference <= tolerance,
        "{found:e} is {difference:e} from {exact:e}, more than {tolerance:e}"
    );
    Ok(())
}

fn diagonal(mean: &[f64], log_var: &[f64]) -> Gaussian {
    let covariance = Matrix::from_diagonal(&vector(log_var).map(f64::exp));
    Gaussian::new(vector(mean), covariance).expect("variances are positive")
}

proptest! {
    #![proptest_config(config())]

    /// log N(x; mean, variance) as the oracle's Cholesky factors give it. Each of the terms
    /// is of the size of the sum of their absolute values, which a few roundings disturb.
    #[test]
    fn gaussian_log_prob(x in numbers(-3.0..3.0, 4), mean in numbers(-3.0..3.0, 4), log_var in numbers(-6.0..6.0, 4)) {
        let tensor = DiagonalGaussian { mean: row(&mean), log_var: row(&log_var) };
        let exact = diagonal(&mean, &log_var).log_prob(&vector(&x)).expect("sizes fit");
        let scale: f64 = x.iter().zip(&mean).zip(&log_var).map(|((x, m), v)| (x - m).powi(2) / v.exp() + v.abs() + 2.0).sum();
        close(read(tensor.log_prob(row(&x)))[0], exact, 4.0 * ULP * scale)?;
    }

    /// The KL divergence to N(0, I), and that of N(0, I) to itself.
    #[test]
    fn gaussian_kl(mean in numbers(-3.0..3.0, 4), log_var in numbers(-4.0..4.0, 4)) {
        let q = DiagonalGaussian { mean: row(&mean), log_var: row(&log_var) };
        let exact = diagonal(&mean, &log_var).kl(&diagonal(&[0.0; 4], &[0.0; 4])).expect("sizes fit");
        // The logarithms alone can be negative, and their absolute values add up to at most
        // 16.
        close(read(q.kl_standard())[0], exact, 8.0 * ULP * (exact + 40.0))?;
        prop_assert_eq!(read(DiagonalGaussian::standard(&q.mean).kl_standard())[0], 0.0);
    }

    /// mean + deviation eps.
    #[test]
    fn gaussian_rsample(mean in numbers(-3.0..3.0, 3), log_var in numbers(-15.0..15.0, 3), eps in numbers(-4.0..4.0, 3)) {
        let found = read(DiagonalGaussian { mean: row(&mean), log_var: row(&log_var) }.rsample(row(&eps)));
        for i in 0..3 {
            let noise = (0.5 * log_var[i]).exp() * eps[i];
            // The exponent is rounded before exp, which multiplies its absolute error.
            close(found[i], mean[i] + noise, 4.0 * ULP * (mean[i].abs() + noise.abs() * (1.0 + log_var[i].abs())))?;
        }
    }

    /// sqrt(abar) x + sqrt(1 - abar) eps. Each part alone keeps its digits, however small
    /// its factor is.
    #[test]
    fn diffuse_keeps_both_parts(x in number(-1.0..1.0), eps in number(-4.0..4.0), gamma in number(GAMMAS)) {
        let level = NoiseLevel::new(gamma);
        let z = |x: f64, eps: f64| read(diffuse(row(&[x]), one(gamma), row(&[eps])))[0];
        let relative = ULP * (4.0 + 2.0 * gamma.abs());
        for (x, eps) in [(x, 0.0), (0.0, eps), (x, eps)] {
            let size = level.noised(x, 0.0).abs() + level.noised(0.0, eps).abs();
            close(z(x, eps), level.noised(x, eps), relative * size)?;
        }
    }

    /// The posterior's coefficients against the oracle's, and against the two identities
    /// that any posterior fulfils: A sqrt(abar_t) + B = sqrt(abar_s), A^2 (1 - abar_t) +
    /// variance = 1 - abar_s.
    #[test]
    fn posterior(gamma in GAMMAS, log_step in -18.0..3.0) {
        let (gamma_s, gamma_t) = (gamma, gamma + f64::exp(log_step));
        let found = ForwardPosterior::between(gamma_s, gamma_t);
        let step = Step::new(gamma_s, gamma_t);
        let (a, b) = step.posterior_coefficients();
        // f64; steps of 1e-8 between gammas of 15 leave eight digits.
        let tolerance = 1e-15 * 40.0 / (gamma_t - gamma_s);
        prop_assert!((found.a / a - 1.0).abs() < 1e-12);
        prop_assert!((found.b / b - 1.0).abs() < tolerance + 1e-12);
        prop_assert!((found.variance / step.posterior_variance() - 1.0).abs() < tolerance + 1e-12);
        close(found.a * step.t.abar().sqrt() + found.b, step.s.abar().sqrt(), 2e-15)?;
        close(found.a * found.a * step.t.noise() + found.variance, step.s.noise(), 2e-15)?;
    }

    /// (SNR(s) - SNR(t))/2 for small steps, rounded to f32 as training uses it, against the
    /// series of expm1.
    #[test]
    fn denoising_weight_of_small_steps(gamma in number(GAMMAS), log_step in -16.0..-7.0) {
        let d = f64::exp(log_step);
        let exact = 0.5 * (-gamma).exp() * (d + d * d / 2.0 + d * d * d / 6.0);
        let found = f64::from(denoising_weight(gamma - d, gamma) as f32);
        // gamma - d is rounded to f64, of which d keeps what is left.
        close(found, exact, exact * (2.0 * ULP + 1e-14 / d))?;
    }

    /// |x - x_hat|^2 times the weight, against the KL of the two posteriors as Gaussians.
    #[test]
    fn denoising_kl_is_the_kl_of_the_posteriors(
        (x, x_hat, z) in (numbers(-1.0..1.0, 3), numbers(-1.0..1.0, 3), numbers(-2.0..2.0, 3)),
        (gamma_s, step) in (number(-15.0..10.0), number(0.05..5.0)),
    ) {
        let step = Step::new(gamma_s, gamma_s + step);
        let posterior = |x: &[f64]| {
            let mean: Vec<f64> = x.iter().zip(&z).map(|(x, z)| step.posterior_mean(*z, *x)).collect();
            Gaussian::isotropic(vector(&mean), step.posterior_variance()).expect("a positive variance")
        };
        let exact = posterior(&x).kl(&posterior(&x_hat)).expect("sizes fit");
        let weight = denoising_weight(step.s.gamma, step.t.gamma);
        let found = read(denoising_kl(row(&x), row(&x_hat), one(weight)))[0];
        // x - x_hat loses digits where they are close: one rounding of numbers up to 1.
        close(found, exact, 8.0 * ULP * exact + 8.0 * ULP * weight * (exact / weight).sqrt() + 1e-9 * weight)?;
    }

    /// KL(q(z_T|x) || N(0, I)) against the oracle's Gaussians.
    #[test]
    fn prior(x in numbers(-2.0..2.0, 3), gamma in GAMMAS) {
        let last = NoiseLevel::new(gamma).given(&vector(&x)).expect("a positive variance");
        let exact = last.kl(&Gaussian::standard(3).expect("3 dimensions")).expect("sizes fit");
        // The rest covers gamma near 15, where the part without x is below 1e-13.
        close(read(prior_kl(row(&x), gamma))[0], exact, 6.0 * ULP * exact + 1e-14)?;
    }

    /// The decoder's log probabilities against Bayes' rule for point masses on the levels.
    #[test]
    fn decoder(level in 0_usize..17, eps in number(-4.0..4.0), gamma in number(-15.0..5.0)) {
        let levels = values(17);
        let noise = NoiseLevel::new(gamma);
        let z = f64::from(noise.noised(levels[level], eps) as f32);
        let tensor = decoder_log_probs(row(&[z]), gamma, upload(levels.iter().copied(), &Device::flex()));
        let found = read(tensor.clone());
        // Log-softmax of the logits, the largest of which is the closest level.
        let logit = |x: f64| -0.5 * (z - noise.abar().sqrt() * x).powi(2) / noise.noise();
        let logits: Vec<f64> = levels.iter().map(|&x| logit(x)).collect();
        let normalizer = elbo_to_diffusion::oracle::log_sum_exp(&logits);
        for (found, logit) in found.iter().zip(&logits) {
            // One rounding of z - sqrt(abar) x, of size up to 1, in units of the noise; and
            // of the quotient.
            let deviations = (-2.0 * logit).sqrt();
            let tolerance = 4.0 * ULP * (deviations / noise.noise().sqrt() + logit.abs() + 20.0) + 40.0 * ULP / noise.noise().sqrt();
            close(*found, logit - normalizer, tolerance)?;
        }
        prop_assert!((found.iter().map(|l| l.exp()).sum::<f64>() - 1.0).abs() < 1e-5);
        let chosen = Tensor::from_data([[level as i32]], &Device::flex());
        prop_assert_eq!(read(reconstruction(chosen, tensor))[0], -found[level]);
    }

    /// What an untrained network estimates, against the posterior of point masses with
    /// these weights.
    #[test]
    fn posterior_of_the_level(
        weights in vec(0.01..1.0_f64, 34), level in 0_usize..17, eps in numbers(-4.0..4.0, 2), gamma in number(GAMMAS),
    ) {
        let (levels, device) = (values(17), Device::flex());
        let total: [f64; 2] = [weights[..17].iter().sum(), weights[17..].iter().sum()];
        let weights: Vec<f64> = weights.iter().enumerate().map(|(j, w)| w / total[j / 17]).collect();
        let log_marginals: Vec<f64> = weights.iter().map(|w| f64::from(w.ln() as f32)).collect();
        let noise = NoiseLevel::new(gamma);
        let z: Vec<f64> = eps.iter().map(|e| f64::from(noise.noised(levels[level], *e) as f32)).collect();

        let trunk = TrunkConfig { gamma_min: -15.0, gamma_max: 15.0, layers: Layers::Dense, hidden: 8, blocks: 1, dropout: 0.3 };
        let init = &mut rng(0, Stream::Initialisation, 0);
        let untrained = Denoiser::new(levels.clone(), log_marginals, trunk, init, &device);
        let by_network = read(untrained.denoise(row(&z), one(gamma), None));

        for i in 0..2 {
            let pixel = ScalarMixture::new(&weights[17 * i..17 * (i + 1)], &levels, &[0.0; 17]).expect("a distribution");
            let posterior = pixel.posterior(z[i], noise);
            // An error d of the logits moves the mean by at most d times the posterior's
            // standard deviation times the spread of the errors: the logits of the levels
            // that count are wrong by a rounding in units of the noise.
            let tolerance = 4.0 * ULP + 40.0 * ULP / noise.noise().sqrt() * posterior.variance().sqrt();
            close(by_network[i], posterior.mean(), tolerance)?;
        }
    }

    /// The learned schedule against the same network in f64: values, exact end points, and
    /// the derivative, which is that of central differences as well.
    #[test]
    fn learned_schedule(seed in 0_u64..1000, gamma_max in number(-5.0..15.0), t in numbers(0.0..1.0, 5)) {
        let learned = scrambled(seed, gamma_max);
        let fixed = learned.fixed().expect("finite weights");
        let (gamma, slope) = learned.gamma_and_slope(upload([0.0, 1.0].into_iter().chain(t.iter().copied()), &Device::flex()));
        let (gamma, slope) = (read(gamma), read(slope));
        prop_assert_eq!(gamma[0], f64::from(GAMMA_MIN as f32));
        prop_assert_eq!(gamma[1], f64::from(gamma_max as f32));
        prop_assert_eq!((fixed.gamma(0.0), fixed.gamma(1.0)), (GAMMA_MIN, gamma_max));
        let range = gamma_max - GAMMA_MIN;
        for (i, &t) in t.iter().enumerate() {
            close(gamma[i + 2], fixed.gamma(t), 8.0 * ULP * (range + GAMMA_MIN.abs() + gamma_max.abs()))?;
            close(slope[i + 2], fixed.slope(t), 30.0 * ULP * fixed.slope(t).max(range))?;
            // Small beside the steepest step, whose rate is about 100.
            let h = 2e-5;
            let difference = (8.0 * (fixed.gamma(t + h) - fixed.gamma(t - h)) - fixed.gamma(t + 2.0 * h) + fixed.gamma(t - 2.0 * h)) / (12.0 * h);
            close(fixed.slope(t), difference, 1e-10 * fixed.slope(t).max(range))?;
            prop_assert!(slope[i + 2] > 0.0);
        }
    }

    /// The gradient of a sum of gammas and slopes by every weight of the schedule, by Burn,
    /// against central differences of the network in f64.
    #[test]
    fn learned_schedule_gradients(seed in 0_u64..1000, t in numbers(0.0..1.0, 3), c in numbers(-1.0..1.0, 6)) {
        let device = Device::flex().autodiff();
        let learned = scrambled(seed, 5.0).train();
        let (gamma, slope) = learned.gamma_and_slope(upload(t.iter().copied(), &device));
        let weigh = |c: &[f64]| upload(c.iter().copied(), &device);
        let gradients = ((gamma * weigh(&c[..3])).sum() + (slope * weigh(&c[3..])).sum()).backward();
        let mut found = Gradients { gradients, weights: Vec::new(), values: Vec::new() };
        learned.visit(&mut found);
        // In the order of the fields: slope, heights, rates, offsets.
        let units = (found.weights.len() - 1) / 3;
        let loss = |w: &[f64]| {
            let part = |i: usize| w[1 + i * units..][..units].to_vec();
            let network = Monotone { gamma_min: GAMMA_MIN, gamma_max: 5.0, slope: w[0], heights: part(0), rates: part(1), offsets: part(2) };
            (0..3).map(|i| c[i] * network.gamma(t[i]) + c[i + 3] * network.slope(t[i])).sum::<f64>()
        };
        let largest = found.values.iter().fold(1.0, |largest: f64, v| largest.max(v.abs()));
        for i in 0..found.weights.len() {
            let h = 1e-5;
            let moved = |by: f64| {
                let mut weights = found.weights.clone();
                weights[i] += by;
                loss(&weights)
            };
            close(found.values[i], (moved(h) - moved(-h)) / (2.0 * h), 1e-4 * largest)?;
        }
    }
}

/// What the formulas above avoid: in f32, exp(d) - 1 and 1 - sigmoid(gamma) lose three and
/// more digits of seven, where the forms that the library uses keep all.
#[test]
fn f32_traps() {
    let d = 1.3e-4_f64;
    let exact = 0.5 * (-2.0_f64).exp() * d.exp_m1();
    let naive = f64::from(0.5 * (-2.0_f32).exp() * ((d as f32).exp() - 1.0));
    assert!((naive / exact - 1.0).abs() > 1e-4);
    assert!(
        (f64::from(denoising_weight(2.0 - d, 2.0) as f32) / exact - 1.0).abs() < 2.0 * ULP
    );

    let gamma = f64::from(13.3_f32);
    let signal = NoiseLevel::new(gamma).abar();
    let naive = read(-sigmoid(one(gamma)) + 1.0)[0];
    assert!((naive / signal - 1.0).abs() > 1e-3);
    let found = read(diffuse(row(&[1.0]), one(gamma), row(&[0.0])))[0];
    assert!((found / signal.sqrt() - 1.0).abs() < 1e-6);
    assert!((signal_power(gamma) / signal - 1.0).abs() < 1e-14);
}

const GAMMA_MIN: f64 = -8.0;

/// x_k = 2 (k + 1/2)/K - 1, rounded to f32.
fn values(count: usize) -> Vec<f64> {
    (0..count)
        .map(|k| f64::from((2.0 * (k as f64 + 0.5) / count as f64 - 1.0) as f32))
        .collect()
}

/// A schedule whose weights have been moved far from where they start, some to the other
/// sign.
fn scrambled(seed: u64, gamma_max: f64) -> Learned {
    struct Scramble(rand_chacha::ChaCha8Rng);
    impl ModuleMapper for Scramble {
        fn map_float<const D: usize>(
            &mut self,
            param: Param<Tensor<D>>,
        ) -> Param<Tensor<D>> {
            param.map(|weights| {
                let (shape, device) = (weights.dims(), weights.device());
                let factor = elbo_to_diffusion::random::normal(shape, &mut self.0, &device);
                // Away from zero, where |w| has no derivative.
                weights * (factor.clone().sign() * 0.1 + factor)
            })
        }
    }
    let learned = Learned::new(GAMMA_MIN, gamma_max, &Device::flex());
    learned.map(&mut Scramble(rng(seed, Stream::Initialisation, 0)))
}

/// Collects the weights and their gradients.
struct Gradients {
    gradients: burn::tensor::Gradients,
    weights: Vec<f64>,
    values: Vec<f64>,
}

impl ModuleVisitor for Gradients {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let weights = param.val();
        self.values.extend(weights.grad(&self.gradients).map(read).unwrap_or_default());
        self.weights.extend(read(weights.inner()));
    }
}

/// Three images, and the mean of |x|^2 over them.
fn three_images() -> Result<(Images, f64)> {
    let images = digits()?.test.range(5, 8);
    let squares: f64 = read(images.values(&Device::flex())).iter().map(|x| x * x).sum();
    Ok((images, squares / 3.0))
}

/// With x_hat = 0, every denoising term is its weight times |x|^2, with no noise at all;
/// prior and reconstruction have closed forms and quadrature.
#[test]
fn discrete_bound_of_a_constant_denoiser() -> Result<()> {
    let (images, squares) = three_images()?;
    let gammas = Linear { gamma_min: -6.0, gamma_max: 3.0 }.grid(5);
    let draws = Draws { passes: 200, seed: 3 };
    let bound = Bound::discrete(&images, &gammas, |z, _| z * 0.0, draws, &Device::flex())?;

    let weights: Vec<f64> =
        gammas.windows(2).map(|g| 0.5 * ((-g[0]).exp() - (-g[1]).exp())).collect();
    assert_eq!(bound.denoising.len(), 4);
    for (found, weight) in bound.denoising.iter().zip(&weights) {
        assert!((found / (weight * squares) - 1.0).abs() < 1e-6);
    }
    let last = NoiseLevel::new(3.0);
    let prior = 0.5 * (last.abar() * squares - 64.0 * (last.abar() + last.noise().ln()));
    assert!((bound.prior / prior - 1.0).abs() < 1e-6);
    // What a pixel of level k costs: the mean over k is the oracle's cost of a uniform
    // pixel.
    let costs: Vec<f64> = (0..17).map(|k| level_cost(k, -6.0)).collect();
    assert!(
        (costs.iter().sum::<f64>() / 17.0 - reconstruction_cost(17, -6.0)).abs() < 1e-10
    );
    let cost = images.iter().flatten().map(|&k| costs[usize::from(k)]).sum::<f64>() / 3.0;
    // A uniform t and a uniform image estimate the sum of the terms by 4 weight |x|^2.
    let x: Vec<f64> = read(images.values(&Device::flex()));
    let squares_of = |image: &[f64]| image.iter().map(|x| x * x).sum::<f64>();
    let fourth = x.chunks(64).map(|image| squares_of(image).powi(2)).sum::<f64>() / 3.0;
    let second_moment =
        weights.iter().map(|w| (4.0 * w).powi(2)).sum::<f64>() / 4.0 * fourth;
    let variance = second_moment - (weights.iter().sum::<f64>() * squares).powi(2);
    assert!((bound.draw_variance / variance - 1.0).abs() < 1e-5);
    // Only the reconstruction is drawn, so the standard error is its own.
    assert!(bound.noise_error > 0.0);
    assert!((bound.reconstruction - cost).abs() < 4.5 * bound.noise_error);
    assert!(
        (bound.total()
            - bound.reconstruction
            - bound.prior
            - squares * weights.iter().sum::<f64>())
        .abs()
            < 1e-3
    );
    Ok(())
}

/// With x_hat = a z, E|x - x_hat|^2 = (1 - a sqrt(abar))^2 |x|^2 + a^2 (1 - abar) d.
#[test]
fn discrete_bound_of_a_linear_denoiser() -> Result<()> {
    const A: f64 = 0.7;
    let (images, squares) = three_images()?;
    let gammas = Linear { gamma_min: -4.0, gamma_max: 3.0 }.grid(6);
    let draws = Draws { passes: 400, seed: 4 };
    let bound = Bound::discrete(&images, &gammas, |z, _| z * A, draws, &Device::flex())?;
    let mut total = bound.reconstruction + bound.prior;
    for (i, g) in gammas.windows(2).enumerate() {
        let level = NoiseLevel::new(g[1]);
        let exact = (1.0 - A * level.abar().sqrt()).powi(2) * squares
            + A * A * level.noise() * 64.0;
        let weight = Step::new(g[0], g[1]).x_weight();
        // |x - a z|^2 has the variance 4 (1 - a sqrt(abar))^2 a^2 (1 - abar) |x|^2 + 2 a^4 (1 - abar)^2 d.
        let keep = 1.0 - A * level.abar().sqrt();
        let variance = 4.0 * (keep * A).powi(2) * level.noise() * squares
            + 2.0 * (A * A * level.noise()).powi(2) * 64.0;
        let error = weight * (variance / 1200.0).sqrt();
        assert!((bound.denoising[i] - weight * exact).abs() < 4.5 * error, "term {i}");
        total += weight * exact;
    }
    assert!((bound.total() - total).abs() < 4.5 * bound.noise_error);
    Ok(())
}

/// E -log p(x_k|z_1) in nats, by the trapezoidal rule over the noise.
fn level_cost(k: usize, gamma: f64) -> f64 {
    let spacing = 2.0 / 17.0 * f64::exp(-0.5 * gamma);
    let steps = 2000;
    let cost = |i: i32| {
        let eps = -9.0 + 18.0 * f64::from(i) / f64::from(steps);
        let logit = |j: usize| -0.5 * (eps + spacing * (k as f64 - j as f64)).powi(2);
        let sum: f64 = (0..17).map(|j| (logit(j) - logit(k)).exp()).sum();
        (-0.5 * eps * eps).exp() * sum.ln()
    };
    (0..=steps).map(cost).sum::<f64>() * 18.0
        / f64::from(steps)
        / std::f64::consts::TAU.sqrt()
}
