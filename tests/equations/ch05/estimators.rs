//! How much the estimators of the ELBO vary, at one x, with a reverse chain that is slightly wrong.

use elbo_to_diffusion::oracle::bound::exact_elbo;
use elbo_to_diffusion::oracle::{Error, Estimate, Process, vector};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::bound::{consistency, denoising, expected_prior_kl, kl, prior};
use super::{Powers, Reverse};
use crate::support::{Outcome, assert_close, assert_estimates, log_normal, normal, rng};

const X: f64 = 0.8;

/// DDPM's betas stretched to T steps, and the exact reverse of N(0, 1) data with b_t = shift c_t.
struct Setting {
    process: Process,
    powers: Powers,
    p: Reverse,
}

impl Setting {
    fn new(steps: usize, shift: f64) -> Result<Self, Error> {
        let last = (steps - 1) as f64;
        let betas: Vec<f64> =
            (0..steps).map(|i| 1000.0 / steps as f64 * (1e-4 + (0.02 - 1e-4) * i as f64 / last)).collect();
        let process = Process::from_betas(&betas)?;
        let mut p = Reverse::near_exact(&process, 0.0, &mut rng(0));
        p.b = p.c.iter().map(|c| shift * c).collect();
        Ok(Self { powers: Powers::of(&process), process, p })
    }

    fn steps(&self) -> usize {
        self.process.step_count()
    }

    /// z_t from q(z_t|x); x itself for t = 0.
    fn draw(&self, t: usize, rng: &mut ChaCha8Rng) -> f64 {
        let abar = self.powers.abar[t];
        abar.sqrt() * X + (1.0 - abar).sqrt() * normal(rng)
    }

    /// z_t from q(z_t|z_{t-1}).
    fn next(&self, t: usize, before: f64, rng: &mut ChaCha8Rng) -> f64 {
        let alpha = self.powers.alpha[t];
        alpha.sqrt() * before + (1.0 - alpha).sqrt() * normal(rng)
    }

    fn log_forward(&self, t: usize, before: f64, z: f64) -> f64 {
        log_normal(z, self.powers.alpha[t].sqrt() * before, 1.0 - self.powers.alpha[t])
    }

    /// log p(z_{t-1}|z_t); for t = 1 the decoder.
    fn log_reverse(&self, t: usize, before: f64, z: f64) -> f64 {
        log_normal(before, self.p.a[t] * z + self.p.b[t], self.p.c[t])
    }

    /// (A, B x, sigma_q^2) of q(z_{t-1}|z_t, x) = N(A z_t + B x, sigma_q^2).
    fn posterior(&self, t: usize) -> (f64, f64, f64) {
        let (alpha, abar) = (self.powers.alpha[t], self.powers.abar[t]);
        let before = self.powers.abar[t - 1];
        (
            alpha.sqrt() * (1.0 - before) / (1.0 - abar),
            before.sqrt() * (1.0 - alpha) / (1.0 - abar) * X,
            (1.0 - alpha) * (1.0 - before) / (1.0 - abar),
        )
    }

    /// One draw of the log-ratio term of the consistency form at t.
    fn draw_consistency(&self, t: usize, rng: &mut ChaCha8Rng) -> f64 {
        let before = self.draw(t - 1, rng);
        let now = self.next(t, before, rng);
        let after = self.next(t + 1, now, rng);
        self.log_reverse(t + 1, now, after) - self.log_forward(t, before, now)
    }

    /// One draw of minus the denoising term at t: from a sampled pair, or with the KL in closed
    /// form.
    fn draw_denoising(&self, t: usize, analytic: bool, rng: &mut ChaCha8Rng) -> f64 {
        let (a, bx, sigma_q2) = self.posterior(t);
        let z = self.draw(t, rng);
        let mean = a * z + bx;
        if analytic {
            -kl(sigma_q2, self.p.c[t], (mean - self.p.a[t] * z - self.p.b[t]).powi(2))
        } else {
            let before = mean + sigma_q2.sqrt() * normal(rng);
            self.log_reverse(t, before, z) - log_normal(before, mean, sigma_q2)
        }
    }

    /// One draw of the reconstruction term.
    fn draw_reconstruction(&self, rng: &mut ChaCha8Rng) -> f64 {
        let z = self.draw(1, rng);
        self.log_reverse(1, X, z)
    }

    /// The mean and variance of r = z_{t-1} - a_t z_t - b_t given x, and its covariance with the
    /// noise of q(z_{t-1}|z_t, x).
    fn residual(&self, t: usize) -> (f64, f64, f64) {
        let (a, bx, sigma_q2) = self.posterior(t);
        let (keep, abar) = (a - self.p.a[t], self.powers.abar[t]);
        (keep * abar.sqrt() * X + bx - self.p.b[t], keep * keep * (1.0 - abar) + sigma_q2, sigma_q2.sqrt())
    }

    fn reconstruction_variance(&self) -> f64 {
        let (a, abar) = (self.p.a[1], self.powers.abar[1]);
        let mean = X - a * abar.sqrt() * X - self.p.b[1];
        log_ratio_variance(mean, a * a * (1.0 - abar), self.p.c[1], None)
    }

    fn consistency_variance(&self, t: usize) -> f64 {
        let (mean, _, _) = self.residual(t + 1);
        let (a, next) = (self.p.a[t + 1], self.powers.alpha[t + 1]);
        let keep = 1.0 - a * next.sqrt();
        let variance = keep * keep * (1.0 - self.powers.abar[t]) + a * a * (1.0 - next);
        let shared = keep * (1.0 - self.powers.alpha[t]).sqrt();
        log_ratio_variance(mean, variance, self.p.c[t + 1], Some(shared))
    }

    fn pair_variance(&self, t: usize) -> f64 {
        let (mean, variance, shared) = self.residual(t);
        log_ratio_variance(mean, variance, self.p.c[t], Some(shared))
    }

    fn analytic_variance(&self, t: usize) -> f64 {
        let (mean, variance, _) = self.residual(t);
        let (_, _, sigma_q2) = self.posterior(t);
        log_ratio_variance(mean, variance - sigma_q2, self.p.c[t], None)
    }

    /// The variance of n term(t) at a random t, from the mean and the variance of each term.
    fn random_time(&self, terms: &[(f64, f64)]) -> f64 {
        let n = terms.len() as f64;
        let second_moment: f64 = terms.iter().map(|(mean, variance)| mean * mean + variance).sum();
        let mean: f64 = terms.iter().map(|(mean, _)| mean).sum();
        n * second_moment - mean * mean
    }
}

/// Var(-r^2/(2c) + n^2/2) for r ~ N(mean, variance), n ~ N(0, 1) and Cov(r, n) = shared; without
/// the second square where `shared` is none.
fn log_ratio_variance(mean: f64, variance: f64, c: f64, shared: Option<f64>) -> f64 {
    let square = (2.0 * variance * variance + 4.0 * mean * mean * variance) / (4.0 * c * c);
    square + shared.map_or(0.0, |k| 0.5 - k * k / c)
}

/// M draws of an estimator of the ELBO, against the exact mean and the exact variance.
fn check(draws: usize, mean: f64, variance: f64, standard_errors: f64, mut estimator: impl FnMut() -> f64) {
    let mut squares = Estimate::default();
    let values = Estimate::of(draws, || {
        let value = estimator();
        squares.push((value - mean).powi(2));
        value
    });
    assert_estimates(&values, mean, standard_errors);
    assert_estimates(&squares, variance, standard_errors);
}

/// Six estimators of one ELBO with b_t = c_t/2 and T = 100, 300, 1000: every mean against the exact
/// ELBO from the covariance of the chain, every variance against its closed form (a variance of
/// quadratics in Gaussians). From the exact variances: independent triples of the consistency form
/// grow like T and exceed the denoising form with analytic KLs by more than T/4; one random t with
/// the consistency form grows like T^2. But on a whole path both forms are the same number, and its
/// variance does not grow: it is zero where the reverse chain is exact.
/// Identity: 28.
/// Kind: Monte Carlo, closed form, negative.
#[test]
fn estimator_variance() -> Outcome {
    const TOLERANCE: f64 = 1e-9;
    const STANDARD_ERRORS: f64 = 5.0;
    let mut rng = rng(541);
    let rng = &mut rng;
    let mut path_variances = Vec::new();
    for (steps, draws) in [(100, 20_000), (300, 10_000), (1000, 3_000)] {
        let setting = Setting::new(steps, 0.5)?;
        let elbo = exact_elbo(&setting.process, &setting.p.chain()?, &vector(&[X]))?;
        let (powers, p) = (&setting.powers, &setting.p);
        let prior_kl = prior(powers, X);
        let last = setting.steps();

        // The whole path. With a_t and c_t exact, only b_t makes the log ratio vary: it is
        // constant + (1/2) sum_t (z_{t-1} - a_t z_t), linear in the path.
        let joint = setting.process.forward(&vector(&[X]))?.joint()?;
        let weights = nalgebra::DVector::from_fn(last, |i, _| {
            // The coefficient of z_{i+1}: 1 from its own step down, -a from the one below.
            0.5 * (if i + 1 < last { 1.0 } else { 0.0 } - p.a[i + 1])
        });
        let path_variance = weights.dot(&(joint.covariance() * &weights));
        path_variances.push(path_variance);
        check(draws, elbo, path_variance, STANDARD_ERRORS, || path_log_ratios(&setting, rng).0);

        // The consistency form, independent triples; the last pair for the prior term.
        let consistency_terms: Vec<(f64, f64)> =
            (1..last).map(|t| (consistency(powers, p, X, t), setting.consistency_variance(t))).collect();
        let end = powers.abar[last];
        let last_noise = (1.0 - powers.alpha[last]).sqrt();
        let rest =
            setting.reconstruction_variance() + log_ratio_variance(end.sqrt() * X, 1.0 - end, 1.0, Some(last_noise));
        let consistency_variance = rest + consistency_terms.iter().map(|(_, variance)| variance).sum::<f64>();
        let last_term = |rng: &mut ChaCha8Rng| {
            let before = setting.draw(last - 1, rng);
            let z = setting.next(last, before, rng);
            log_normal(z, 0.0, 1.0) - setting.log_forward(last, before, z)
        };
        check(draws, elbo, consistency_variance, STANDARD_ERRORS, || {
            let sum: f64 = (1..last).map(|t| setting.draw_consistency(t, rng)).sum();
            setting.draw_reconstruction(rng) + last_term(rng) + sum
        });

        // The denoising form: a sampled pair per t, then the KL in closed form per t.
        let pair_variance =
            setting.reconstruction_variance() + (2..=last).map(|t| setting.pair_variance(t)).sum::<f64>();
        check(draws, elbo, pair_variance, STANDARD_ERRORS, || {
            let sum: f64 = (2..=last).map(|t| setting.draw_denoising(t, false, rng)).sum();
            setting.draw_reconstruction(rng) - prior_kl + sum
        });
        let denoising_terms: Vec<(f64, f64)> =
            (2..=last).map(|t| (-denoising(powers, p, X, t), setting.analytic_variance(t))).collect();
        let denoising_variance =
            setting.reconstruction_variance() + denoising_terms.iter().map(|(_, variance)| variance).sum::<f64>();
        check(draws, elbo, denoising_variance, STANDARD_ERRORS, || {
            let sum: f64 = (2..=last).map(|t| setting.draw_denoising(t, true, rng)).sum();
            setting.draw_reconstruction(rng) - prior_kl + sum
        });

        // One random t, times the number of terms.
        let n = (last - 1) as f64;
        let one_consistency = rest + setting.random_time(&consistency_terms);
        check(100_000, elbo, one_consistency, STANDARD_ERRORS, || {
            let t = rng.random_range(1..last);
            let term = setting.draw_consistency(t, rng);
            setting.draw_reconstruction(rng) + last_term(rng) + n * term
        });
        let one_denoising = setting.reconstruction_variance() + setting.random_time(&denoising_terms);
        check(100_000, elbo, one_denoising, STANDARD_ERRORS, || {
            let t = rng.random_range(2..=last);
            let term = setting.draw_denoising(t, true, rng);
            setting.draw_reconstruction(rng) - prior_kl + n * term
        });

        let t = steps as f64;
        assert!((0.9..1.2).contains(&(consistency_variance / t)));
        assert!(consistency_variance / denoising_variance > t / 4.0);
        assert!((0.8..1.2).contains(&(one_consistency.sqrt() / t)));
    }
    // Ten times the steps change the variance of a whole path by less than a tenth.
    assert!((path_variances[2] / path_variances[0] - 1.0).abs() < 0.1);

    // On one path the two forms telescope to one number; with the exact reverse it is log p(x).
    let (moved, exact) = (Setting::new(100, 0.5)?, Setting::new(100, 0.0)?);
    for _ in 0..100 {
        let (by_consistency, by_denoising) = path_log_ratios(&moved, rng);
        assert_close(by_consistency, by_denoising, TOLERANCE);
        assert_close(path_log_ratios(&exact, rng).0, log_normal(X, 0.0, 1.0), TOLERANCE);
    }
    assert!(expected_prior_kl(&exact.powers, X) > prior(&exact.powers, X));
    Ok(())
}

/// The terms of the consistency form, and those of the denoising form, summed along one path.
fn path_log_ratios(setting: &Setting, rng: &mut ChaCha8Rng) -> (f64, f64) {
    let last = setting.steps();
    let mut path = vec![X];
    for t in 1..=last {
        path.push(setting.next(t, path[t - 1], rng));
    }
    let reconstruction = setting.log_reverse(1, X, path[1]);
    let log_prior = log_normal(path[last], 0.0, 1.0);
    let mut consistency = log_prior - setting.log_forward(last, path[last - 1], path[last]);
    for t in 1..last {
        consistency += setting.log_reverse(t + 1, path[t], path[t + 1]) - setting.log_forward(t, path[t - 1], path[t]);
    }
    let abar = setting.powers.abar[last];
    let mut denoising = log_prior - log_normal(path[last], abar.sqrt() * X, 1.0 - abar);
    for t in 2..=last {
        let (a, bx, sigma_q2) = setting.posterior(t);
        denoising += setting.log_reverse(t, path[t - 1], path[t]) - log_normal(path[t - 1], a * path[t] + bx, sigma_q2);
    }
    (reconstruction + consistency, reconstruction + denoising)
}
