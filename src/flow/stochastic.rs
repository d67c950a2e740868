//! The eta family: samplers that share their marginals, from the flow (eta = 0) to the
//! ancestral sampler (eta = 1). Song, Meng and Ermon (2021), eq. 16.

use super::{State, alpha_sigma};

// ANCHOR: eta_step
/// z_s = x x_hat + eps eps_hat + noise xi with xi ~ N(0, I): a step from gamma_t down to
/// gamma_s. Equation `eta-step`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EtaStep {
    /// The factor of x_hat, sqrt(abar_s).
    pub x: f64,
    /// The factor of eps_hat.
    pub eps: f64,
    /// The deviation of the fresh noise, eta times that of q(z_s | z_t, x).
    pub noise: f64,
}

impl EtaStep {
    /// Between two noise levels, gamma_s < gamma_t, for eta from 0 to 1.
    pub fn between(gamma_s: f64, gamma_t: f64, eta: f64) -> Self {
        let (alpha, sigma) = alpha_sigma(gamma_s);
        // The share of the noise power that the ancestral step draws anew.
        let fresh = -(gamma_s - gamma_t).exp_m1();
        Self {
            x: alpha,
            eps: sigma * (1.0 - eta * eta * fresh).sqrt(),
            noise: sigma * eta * fresh.sqrt(),
        }
    }
}
// ANCHOR_END: eta_step

/// z at the last of these falling noise levels, from z at the first, with `denoise(z,
/// gamma)` for x_hat and `noise()` for a draw from N(0, I) of the shape of z.
pub fn eta_sampler<Z: State>(
    eta: f64,
    gammas: &[f64],
    start: Z,
    mut denoise: impl FnMut(Z, f64) -> Z,
    mut noise: impl FnMut() -> Z,
) -> Z {
    gammas.windows(2).fold(start, |z, pair| {
        let step = EtaStep::between(pair[1], pair[0], eta);
        let (alpha, sigma) = alpha_sigma(pair[0]);
        let x_hat = denoise(z.clone(), pair[0]);
        let eps_hat = (z + x_hat.clone() * -alpha) * (1.0 / sigma);
        x_hat * step.x + eps_hat * step.eps + noise() * step.noise
    })
}
