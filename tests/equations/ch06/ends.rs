//! The end points of the schedule: how the bound changes with them, and why neither has a
//! best place.

use elbo_to_diffusion::oracle::{Error, NoiseLevel, Rule, ScalarMixture, log_sum_exp};

use super::mmse;
use crate::support::{Outcome, assert_close, derivative, log_normal};
use crate::tex::digest;

/// Three grey levels on the line, as points.
const LEVELS: [f64; 3] = [-0.8, -0.1, 0.7];
const WEIGHTS: [f64; 3] = [0.5, 0.3, 0.2];

fn levels() -> Result<ScalarMixture, Error> {
    ScalarMixture::new(&WEIGHTS, &LEVELS, &[0.0; 3])
}

/// log of q(z|x) for each level x.
fn log_likelihoods(z: f64, level: NoiseLevel) -> [f64; 3] {
    LEVELS.map(|x| log_normal(z, level.abar().sqrt() * x, level.noise()))
}

/// -E log p(x|z) at this gamma, where p(x|z) is q(z|x) normalised over the levels.
fn reconstruction(gamma: f64, hermite: &Rule) -> f64 {
    let level = NoiseLevel::new(gamma);
    let cost = |k: usize| {
        hermite.integrate(|eps| {
            let terms = log_likelihoods(level.noised(LEVELS[k], eps), level);
            log_sum_exp(&terms) - terms[k]
        })
    };
    (0..3).map(|k| WEIGHTS[k] * cost(k)).sum()
}

/// E KL(q(z|x) || N(0, 1)) at this gamma.
fn prior(gamma: f64) -> f64 {
    let (abar, noise) = (NoiseLevel::new(gamma).abar(), NoiseLevel::new(gamma).noise());
    (0..3).map(|k| WEIGHTS[k] * 0.5 * (abar * LEVELS[k].powi(2) - abar - noise.ln())).sum()
}

/// SNR E|x - x_hat|^2 / 2 of the ideal denoiser.
fn h(data: &ScalarMixture, gamma: f64, hermite: &Rule) -> f64 {
    0.5 * (-gamma).exp() * mmse(data, gamma, hermite)
}

/// The slopes of the whole bound, reconstruction + (1/2) int gamma' SNR |x - x_hat|^2 dt +
/// prior with a cubic gamma(t), in its end points by finite differences, against the slope
/// of the reconstruction less h(gamma_min), and the slope of the prior plus h(gamma_max).
/// Kind: quadrature, finite differences.
#[test]
fn end_point_slopes() -> Outcome {
    digest("end-point-slopes", "d4bcfef694ba");
    const TOLERANCE: f64 = 1e-8;
    let (data, hermite, unit) =
        (levels()?, Rule::gauss_hermite(150), Rule::gauss_legendre(120, 0.0, 1.0));
    let bound = |gamma_min: f64, gamma_max: f64| {
        let width = gamma_max - gamma_min;
        let diffusion = unit.integrate(|t| {
            let gamma = gamma_min + width * t * t * (3.0 - 2.0 * t);
            width * 6.0 * t * (1.0 - t) * h(&data, gamma, &hermite)
        });
        reconstruction(gamma_min, &hermite) + diffusion + prior(gamma_max)
    };
    for (gamma_min, gamma_max) in [(-3.0, 2.0), (-1.5, 4.0)] {
        let at_min = derivative(|gamma| reconstruction(gamma, &hermite), gamma_min)
            - h(&data, gamma_min, &hermite);
        let at_max = derivative(prior, gamma_max) + h(&data, gamma_max, &hermite);
        assert_close(
            at_min,
            derivative(|gamma| bound(gamma, gamma_max), gamma_min),
            TOLERANCE,
        );
        assert_close(
            at_max,
            derivative(|gamma| bound(gamma_min, gamma), gamma_max),
            TOLERANCE,
        );
    }
    Ok(())
}

/// With the ideal denoiser: the slope in gamma_min against that of E KL(q(x|z) || p(x|z)),
/// and the slope in gamma_max against that of KL(q(z) || N(0, 1)), both by quadrature over
/// z from the density of the mixture; the first is above zero and the second below, at
/// every gamma. Kind: quadrature, finite differences, inequality.
#[test]
fn end_point_kl() -> Outcome {
    digest("end-point-kl", "f1a04bda4c02");
    const TOLERANCE: f64 = 1e-7;
    let (data, hermite, line) =
        (levels()?, Rule::gauss_hermite(150), Rule::gauss_legendre(400, -9.0, 9.0));
    let decoder_gap = |gamma: f64| {
        let level = NoiseLevel::new(gamma);
        line.integrate(|z| {
            let model = log_likelihoods(z, level);
            let joint: Vec<f64> = (0..3).map(|k| WEIGHTS[k].ln() + model[k]).collect();
            let (log_q, log_p) = (log_sum_exp(&joint), log_sum_exp(&model));
            (0..3)
                .map(|k| joint[k].exp() * ((joint[k] - log_q) - (model[k] - log_p)))
                .sum::<f64>()
        })
    };
    let prior_gap = |gamma: f64| {
        let marginal = data.marginal(NoiseLevel::new(gamma));
        line.integrate(|z| {
            let log_q = marginal.log_prob(z);
            log_q.exp() * (log_q - log_normal(z, 0.0, 1.0))
        })
    };
    for gamma in [-3.0, -1.0, 0.5, 2.0, 5.0] {
        let at_min = derivative(|gamma| reconstruction(gamma, &hermite), gamma)
            - h(&data, gamma, &hermite);
        let at_max = derivative(prior, gamma) + h(&data, gamma, &hermite);
        assert_close(at_min, derivative(decoder_gap, gamma), TOLERANCE);
        assert_close(at_max, derivative(prior_gap, gamma), TOLERANCE);
        assert!(at_min > 0.0 && at_max < 0.0, "gamma = {gamma}: {at_min:e}, {at_max:e}");
    }
    Ok(())
}
