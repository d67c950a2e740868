//! What a network may be asked to predict, and how one prediction turns into another.
//!
//! Given z_t and its noise level, x, eps, the score and v determine each other: one linear equation,
//! z_t = sqrt(abar) x + sqrt(1 - abar) eps, ties them together. So a network that predicts one of them predicts all.

use burn::tensor::{Tensor, activation::sigmoid};

use crate::schedule::signal_power;

/// The quantity that a network outputs. All are [B, d].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameterization {
    /// The clean image x.
    X,
    /// The noise eps in z_t. Ho et al. (2020).
    Eps,
    /// The score, grad_z log q(z_t | x) = -eps / sqrt(1 - abar). Song and Ermon (2019).
    Score,
    /// v = sqrt(abar) eps - sqrt(1 - abar) x. Salimans and Ho (2022).
    V,
}

/// sqrt(abar) and sqrt(1 - abar) as columns, [B, 1].
fn signal_and_noise(gamma: Tensor<1>) -> (Tensor<2>, Tensor<2>) {
    let gamma = gamma.unsqueeze_dim::<2>(1);
    (sigmoid(-gamma.clone()).sqrt(), sigmoid(gamma).sqrt())
}

impl Parameterization {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::X, Self::Eps, Self::Score, Self::V];

    // ANCHOR: to_x
    /// x from the output and z_t, both [B, d], and gamma, [B]. Equation `eps-from-x`, solved for x.
    pub fn to_x(self, output: Tensor<2>, z: Tensor<2>, gamma: Tensor<1>) -> Tensor<2> {
        let (signal, noise) = signal_and_noise(gamma);
        match self {
            Self::X => output,
            Self::Eps => (z - output * noise) / signal,
            Self::Score => (z + output * noise.square()) / signal,
            Self::V => z * signal - output * noise,
        }
    }
    // ANCHOR_END: to_x

    // ANCHOR: from_x
    /// The output that stands for this x, [B, d]; with the true x, the target of a regression. Equation `eps-from-x`.
    pub fn from_x(self, x: Tensor<2>, z: Tensor<2>, gamma: Tensor<1>) -> Tensor<2> {
        let (signal, noise) = signal_and_noise(gamma);
        match self {
            Self::X => x,
            Self::Eps => (z - x * signal) / noise,
            Self::Score => (x * signal - z) / noise.square(),
            Self::V => (z * signal - x) / noise,
        }
    }
    // ANCHOR_END: from_x

    // ANCHOR: factor
    /// |x - x_hat|^2 divided by |target - output|^2. A weight on the x error, times this factor, weighs the error of
    /// this output. Equations `eps-weight`, `score-weight`, `v-weight`.
    pub fn error_factor(self, gamma: f64) -> f64 {
        let (signal, noise) = (signal_power(gamma), signal_power(-gamma));
        match self {
            Self::X => 1.0,
            Self::Eps => noise / signal,
            Self::Score => noise * noise / signal,
            Self::V => noise,
        }
    }
    // ANCHOR_END: factor
}
