//! The straight line from data to noise, and the noise levels along it.

use burn::tensor::{Device, Tensor};
use elbo_to_diffusion::vdm::{NoiseLevels, Schedule};

// ANCHOR: straight
/// The noise levels of (1 - t) x + t eps, with t even in time between two end points:
/// gamma = 2 log(t / (1 - t)). Equation `line-schedule`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Straight {
    /// t at the least noise.
    pub start: f64,
    /// t at the most noise.
    pub end: f64,
}

impl Straight {
    /// Between two values of gamma.
    pub fn between(gamma_min: f64, gamma_max: f64) -> Self {
        Self { start: time(gamma_min), end: time(gamma_max) }
    }

    /// The place on the line at the share `s` of the time.
    pub fn time(&self, s: f64) -> f64 {
        self.start + (self.end - self.start) * s
    }
}

impl Schedule for Straight {
    fn gamma(&self, s: f64) -> f64 {
        let t = self.time(s);
        2.0 * (t / (1.0 - t)).ln()
    }

    fn slope(&self, s: f64) -> f64 {
        let t = self.time(s);
        2.0 * (self.end - self.start) / (t * (1.0 - t))
    }
}

/// t = sigmoid(gamma / 2), the place on the line with this gamma.
pub fn time(gamma: f64) -> f64 {
    1.0 / (1.0 + (-0.5 * gamma).exp())
}
// ANCHOR_END: straight

// ANCHOR: x_from_velocity
/// x_hat = (z - sqrt(1 - abar) u_hat) / (sqrt(abar) + sqrt(1 - abar)), from u_hat and z,
/// both `[B, d]`, and gamma, `[B]`. Equation `u-from-x`.
pub fn x_from_velocity(u: Tensor<2>, z: Tensor<2>, gamma: Tensor<1>) -> Tensor<2> {
    // Both divided by sqrt(abar): 1 / sqrt(abar) = sqrt(1 + e^gamma).
    let gamma = gamma.unsqueeze_dim::<2>(1);
    let noise = (gamma.clone() * 0.5).exp();
    (z * (gamma.exp() + 1.0).sqrt() - u * noise.clone()) / (noise + 1.0)
}

/// The noise levels at the shares `s` of the time, each with the weight 1 / t^2 that makes
/// |x - x_hat|^2 the squared error of the velocity. Equation `velocity-error`.
pub fn levels(line: &Straight, s: &[f64], device: &Device) -> NoiseLevels {
    let level = |&s: &f64| (line.gamma(s), line.time(s).powi(-2));
    NoiseLevels::new(s.iter().map(level), device)
}
// ANCHOR_END: x_from_velocity
