//! The discretised decoder p(x|z_1) of chapter 5: what is lost between z_1 and the data.

use std::f64::consts::TAU;

use super::{algebra::log_sum_exp, quadrature::Rule};

/// E -log p(x|z_1) in nats for a pixel that is uniform over V grey levels, x_v = 2 (v +
/// 1/2) / V - 1, with z_1 at the noise level gamma. It is the conditional entropy H(x|z_1).
/// Kingma et al. (2021), section 3.3; equation `reconstruction-cost`.
pub fn reconstruction_cost(grey_levels: usize, gamma: f64) -> f64 {
    // z_1 / sqrt(abar) = x + e^(gamma/2) eps: grey levels are told apart by their distance
    // in units of e^(gamma/2).
    let spacing = 2.0 / grey_levels as f64 * (-0.5 * gamma).exp();
    let eps_rule = Rule::gauss_legendre(300, -9.0, 9.0);
    let cost = |v: usize| {
        eps_rule.integrate(|eps| {
            let logit =
                |other: usize| -0.5 * (eps + spacing * (v as f64 - other as f64)).powi(2);
            let logits: Vec<f64> = (0..grey_levels).map(logit).collect();
            (-0.5 * eps * eps).exp() / TAU.sqrt() * (log_sum_exp(&logits) - logits[v])
        })
    };
    (0..grey_levels).map(cost).sum::<f64>() / grey_levels as f64
}
