//! How much the estimators of the ELBO vary, at one x, with a reverse chain that is
//! slightly wrong.

use elbo_to_diffusion::oracle::bound::exact_elbo;
use elbo_to_diffusion::oracle::{Error, Estimate, Estimator, Estimators, Process, vector};
use rand_chacha::ChaCha8Rng;

use super::bound::{consistency, denoising};
use super::{Powers, Reverse};
use crate::support::{Outcome, assert_close, assert_estimates, log_normal, rng};
use crate::tex::digest;

const X: f64 = 0.8;

/// DDPM's betas stretched to T steps, and the exact reverse of N(0, 1) data with b_t =
/// shift c_t.
struct Setting {
    process: Process,
    powers: Powers,
    p: Reverse,
}

impl Setting {
    fn new(steps: usize, shift: f64) -> Result<Self, Error> {
        let process = Process::ddpm_stretched(steps)?;
        let mut p = Reverse::near_exact(&process, 0.0, &mut rng(0));
        p.b = p.c.iter().map(|c| shift * c).collect();
        Ok(Self { powers: Powers::of(&process), process, p })
    }

    fn estimators(&self) -> Result<Estimators, Error> {
        Estimators::new(&self.process, &self.p.chain()?, X)
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

    /// The mean and variance of r = z_{t-1} - a_t z_t - b_t given x, and its covariance
    /// with the noise of q(z_{t-1}|z_t, x).
    fn residual(&self, t: usize) -> (f64, f64, f64) {
        let (a, bx, sigma_q2) = self.posterior(t);
        let (keep, abar) = (a - self.p.a[t], self.powers.abar[t]);
        (
            keep * abar.sqrt() * X + bx - self.p.b[t],
            keep * keep * (1.0 - abar) + sigma_q2,
            sigma_q2.sqrt(),
        )
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

    /// The variance of n term(t) at a random t, from the mean and the variance of each
    /// term.
    fn random_time(&self, terms: &[(f64, f64)]) -> f64 {
        let n = terms.len() as f64;
        let second_moment: f64 =
            terms.iter().map(|(mean, variance)| mean * mean + variance).sum();
        let mean: f64 = terms.iter().map(|(mean, _)| mean).sum();
        n * second_moment - mean * mean
    }
}

/// Var(-r^2/(2c) + n^2/2) for r ~ N(mean, variance), n ~ N(0, 1) and Cov(r, n) = shared;
/// without the second square where `shared` is none.
fn log_ratio_variance(mean: f64, variance: f64, c: f64, shared: Option<f64>) -> f64 {
    let square = (2.0 * variance * variance + 4.0 * mean * mean * variance) / (4.0 * c * c);
    square + shared.map_or(0.0, |k| 0.5 - k * k / c)
}

/// Draws of an estimator of the ELBO, against the exact mean and the exact variance.
fn check(
    estimators: &Estimators,
    estimator: Estimator,
    draws: usize,
    (mean, variance): (f64, f64),
    standard_errors: f64,
    rng: &mut ChaCha8Rng,
) {
    let mut squares = Estimate::default();
    let values = Estimate::of(draws, || {
        let value = estimators.draw(estimator, rng);
        squares.push((value - mean).powi(2));
        value
    });
    assert_estimates(&values, mean, standard_errors);
    assert_estimates(&squares, variance, standard_errors);
}

/// Six estimators of one ELBO with b_t = c_t/2 and T = 100, 300, 1000: every mean against
/// the exact ELBO from the covariance of the chain, every variance against its closed form
/// (a variance of quadratics in Gaussians). From the exact variances: independent triples
/// of the consistency form grow like T and exceed the denoising form with analytic KLs by
/// more than T/4; one random t with the consistency form grows like T^2. But on a whole
/// path both forms are the same number, and its variance does not grow: it is zero where
/// the reverse chain is exact. Kind: Monte Carlo, closed form, negative.
#[test]
fn estimator_variance() -> Outcome {
    digest("estimator-variance", "5fc03934700e");
    const TOLERANCE: f64 = 1e-9;
    const STANDARD_ERRORS: f64 = 5.0;
    let mut rng = rng(541);
    let mut path_variances = Vec::new();
    for (steps, draws) in [(100, 20_000), (300, 10_000), (1000, 3_000)] {
        let setting = Setting::new(steps, 0.5)?;
        let estimators = setting.estimators()?;
        let elbo = exact_elbo(&setting.process, &setting.p.chain()?, &vector(&[X]))?;
        let (powers, p, last) = (&setting.powers, &setting.p, steps);
        let mut check = |estimator, draws, variance| {
            check(
                &estimators,
                estimator,
                draws,
                (elbo, variance),
                STANDARD_ERRORS,
                &mut rng,
            );
        };

        // The whole path. With a_t and c_t exact, only b_t makes the log ratio vary: it is
        // constant + (1/2) sum_t (z_{t-1} - a_t z_t), linear in the path.
        let joint = setting.process.forward(&vector(&[X]))?.joint()?;
        let weights = nalgebra::DVector::from_fn(last, |i, _| {
            // The coefficient of z_{i+1}: 1 from its own step down, -a from the one below.
            0.5 * (if i + 1 < last { 1.0 } else { 0.0 } - p.a[i + 1])
        });
        let path_variance = weights.dot(&(joint.covariance() * &weights));
        path_variances.push(path_variance);
        check(Estimator::WholePath, draws, path_variance);

        // The consistency form, independent triples; the last pair for the prior term.
        let consistency_terms: Vec<(f64, f64)> = (1..last)
            .map(|t| (consistency(powers, p, X, t), setting.consistency_variance(t)))
            .collect();
        let end = powers.abar[last];
        let last_noise = (1.0 - powers.alpha[last]).sqrt();
        let rest = setting.reconstruction_variance()
            + log_ratio_variance(end.sqrt() * X, 1.0 - end, 1.0, Some(last_noise));
        let consistency_variance =
            rest + consistency_terms.iter().map(|(_, variance)| variance).sum::<f64>();
        check(Estimator::ConsistencyTriples, draws, consistency_variance);

        // The denoising form: a sampled pair per t, then the KL in closed form per t.
        let pair_variance = setting.reconstruction_variance()
            + (2..=last).map(|t| setting.pair_variance(t)).sum::<f64>();
        check(Estimator::DenoisingPairs, draws, pair_variance);
        let denoising_terms: Vec<(f64, f64)> = (2..=last)
            .map(|t| (-denoising(powers, p, X, t), setting.analytic_variance(t)))
            .collect();
        let denoising_variance = setting.reconstruction_variance()
            + denoising_terms.iter().map(|(_, variance)| variance).sum::<f64>();
        check(Estimator::DenoisingKl, draws, denoising_variance);

        // One random t, times the number of terms.
        let one_consistency = rest + setting.random_time(&consistency_terms);
        check(Estimator::ConsistencyOneTime, 100_000, one_consistency);
        let one_denoising =
            setting.reconstruction_variance() + setting.random_time(&denoising_terms);
        check(Estimator::DenoisingOneTime, 100_000, one_denoising);

        let t = steps as f64;
        assert!((0.9..1.2).contains(&(consistency_variance / t)));
        assert!(consistency_variance / denoising_variance > t / 4.0);
        assert!((0.8..1.2).contains(&(one_consistency.sqrt() / t)));
    }
    // Ten times the steps change the variance of a whole path by less than a tenth.
    assert!((path_variances[2] / path_variances[0] - 1.0).abs() < 0.1);

    // Three steps and a reverse chain that is wrong in every coefficient, where a wrong
    // factor or index would show.
    let process = Process::linear_gamma(-2.0, 1.0, 3)?;
    let p = Reverse::near_exact(&process, 0.3, &mut rng).chain()?;
    let (estimators, elbo) =
        (Estimators::new(&process, &p, X)?, exact_elbo(&process, &p, &vector(&[X]))?);
    assert_close(estimators.elbo(), elbo, TOLERANCE);
    for estimator in [
        Estimator::WholePath,
        Estimator::ConsistencyTriples,
        Estimator::DenoisingPairs,
        Estimator::DenoisingKl,
        Estimator::ConsistencyOneTime,
        Estimator::DenoisingOneTime,
    ] {
        let values = Estimate::of(200_000, || estimators.draw(estimator, &mut rng));
        assert_estimates(&values, elbo, STANDARD_ERRORS);
    }

    // On one path the two forms telescope to one number; with the exact reverse it is log
    // p(x).
    let (moved, exact) =
        (Setting::new(100, 0.5)?.estimators()?, Setting::new(100, 0.0)?.estimators()?);
    for _ in 0..100 {
        let path = moved.path(&mut rng);
        assert_close(
            moved.consistency_along(&path),
            moved.denoising_along(&path),
            TOLERANCE,
        );
        assert_close(
            exact.draw(Estimator::WholePath, &mut rng),
            log_normal(X, 0.0, 1.0),
            TOLERANCE,
        );
    }
    Ok(())
}
