//! Noise schedules: gamma(t) = -log SNR(t), increasing in t.
//!
//! gamma is the primitive of the whole book, because everything else follows from it without loss of digits:
//! abar = sigmoid(-gamma) is the signal power, 1 - abar = sigmoid(gamma) the noise power, exp(-gamma) their ratio.

/// A schedule that is fixed before training.
///
/// t runs over [0, 1], from the least noise (gamma_min) to the most (gamma_max).
pub trait Schedule {
    /// gamma(t).
    fn gamma(&self, t: f64) -> f64;
    /// d gamma / d t.
    fn slope(&self, t: f64) -> f64;

    // ANCHOR: grid
    /// gamma_1, ..., gamma_T of the discrete chain with `steps` latents: t = 1 has the least noise.
    fn grid(&self, steps: usize) -> Vec<f64> {
        (0..steps).map(|i| self.gamma(i as f64 / (steps.max(2) - 1) as f64)).collect()
    }
    // ANCHOR_END: grid
}

// ANCHOR: linear
/// gamma(t) linear in t: log SNR falls at a constant rate. Kingma et al. (2021), section 4.1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// gamma(0), the least noise.
    pub gamma_min: f64,
    /// gamma(1), the most noise.
    pub gamma_max: f64,
}

impl Schedule for Linear {
    fn gamma(&self, t: f64) -> f64 {
        self.gamma_min + (self.gamma_max - self.gamma_min) * t
    }

    fn slope(&self, _t: f64) -> f64 {
        self.gamma_max - self.gamma_min
    }
}
// ANCHOR_END: linear

/// abar = sigmoid(-gamma), the signal power; 1 - abar is `signal_power(-gamma)`. Equation `abar-sigmoid`.
pub fn signal_power(gamma: f64) -> f64 {
    1.0 / (1.0 + gamma.exp())
}
