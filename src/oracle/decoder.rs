//! The discretised decoder p(x|z_1) of chapter 5: what is lost between z_1 and the data.

use std::f64::consts::TAU;

use super::{algebra::log_sum_exp, quadrature::Rule};

/// E -log p(x|z_1) in nats for a pixel that is uniform over the levels x_k = 2 (k + 1/2) / K - 1, with z_1 at noise level
/// gamma. It is the conditional entropy H(x|z_1). Kingma et al. (2021), section 3.3; equation `reconstruction-cost`.
pub fn reconstruction_cost(level_count: usize, gamma: f64) -> f64 {
    // z_1 / sqrt(abar) = x + e^(gamma/2) eps, so levels are told apart by their distance in units of e^(gamma/2).
    let spacing = 2.0 / level_count as f64 * (-0.5 * gamma).exp();
    let eps_rule = Rule::gauss_legendre(300, -9.0, 9.0);
    let cost = |k: usize| {
        eps_rule.integrate(|eps| {
            let logit = |j: usize| -0.5 * (eps + spacing * (k as f64 - j as f64)).powi(2);
            let logits: Vec<f64> = (0..level_count).map(logit).collect();
            (-0.5 * eps * eps).exp() / TAU.sqrt() * (log_sum_exp(&logits) - logits[k])
        })
    };
    (0..level_count).map(cost).sum::<f64>() / level_count as f64
}
