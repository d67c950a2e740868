//! Chapter 1.

use elbo_to_diffusion::oracle::{Estimate, Rule};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::{
    meters::Thermometers,
    scalar_latent::{ScalarLatent, ScalarNormal},
};

const MODEL: Thermometers = Thermometers { w: [1.0, 0.5], noise: 0.25, x: [1.2, 0.3] };
/// The model's posterior, N(0.9, 1/6).
fn posterior() -> ScalarNormal {
    ScalarNormal { mean: 0.9, log_std: -0.5 * 6.0_f64.ln() }
}

// ANCHOR: proposal
/// The weights p(x, z) / q(z) of draws from q. Their mean estimates p(x), whatever q.
fn weights(q: ScalarNormal, draws: usize, rng: &mut impl Rng) -> Vec<f64> {
    let eps = StandardNormal.sample_iter(rng).take(draws);
    let z = eps.map(|eps: f64| q.mean + q.log_std.exp() * eps);
    z.map(|z| (MODEL.log_joint(z) - q.log_prob(z)).exp()).collect()
}

#[test]
fn the_posterior_is_the_best_proposal() {
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let p_x = MODEL.log_prob(&Rule::gauss_legendre(200, -10.0, 10.0)).exp();
    // From the prior: right on average, but each weight is far off.
    let mut estimate = Estimate::default();
    for w in weights(ScalarNormal::STANDARD, 10_000, rng) {
        estimate.push(w);
    }
    assert!(estimate.z_score(p_x).abs() < 4.0);
    assert!(estimate.deviation() > p_x);
    // From the posterior: every single weight is p(x). That is the chain rule.
    let ratios = weights(posterior(), 100, rng).into_iter().map(|w| w / p_x);
    assert!(ratios.into_iter().all(|ratio| (ratio - 1.0).abs() < 1e-12));
}
// ANCHOR_END: proposal

// ANCHOR: bias
/// The mean of log p_hat over `runs` estimates, each from `draws` draws of the prior.
fn mean_log_estimate(draws: usize, runs: usize, rng: &mut impl Rng) -> Estimate {
    Estimate::of(runs, || {
        let sum: f64 = weights(ScalarNormal::STANDARD, draws, rng).iter().sum();
        (sum / draws as f64).ln()
    })
}

#[test]
fn the_log_of_the_estimate_is_too_low() {
    let rng = &mut ChaCha8Rng::seed_from_u64(2);
    let z = Rule::gauss_legendre(200, -10.0, 10.0);
    let log_p = MODEL.log_prob(&z);
    // The mean of w^2 with w = p(x|z) / p(x): the integral of p(z) w^2.
    let prior = ScalarNormal::STANDARD;
    let log_w = |z| MODEL.log_joint(z) - prior.log_prob(z) - log_p;
    let second_moment = z.integrate(|z| (prior.log_prob(z) + 2.0 * log_w(z)).exp());
    for draws in [50, 100, 200] {
        let predicted = log_p - (second_moment - 1.0) / (2.0 * draws as f64);
        let estimate = mean_log_estimate(draws, 20_000, rng);
        assert!(estimate.mean() < log_p);
        // Four standard errors, and the next term of the expansion.
        let allowed = 4.0 * estimate.standard_error() + 4.0 / (draws * draws) as f64;
        assert!((estimate.mean() - predicted).abs() < allowed);
    }
}
// ANCHOR_END: bias
