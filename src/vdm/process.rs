//! The process: how noise is added, what a step of it leaves, and how an error of the
//! estimate counts.

use burn::tensor::{Device, Tensor, activation::sigmoid};

use super::schedule::{Learned, Schedule, signal_power};
use crate::host::upload;

// ANCHOR: diffuse
/// z_t ~ q(z_t | x) = N(sqrt(abar_t) x, (1 - abar_t) I), as a function of eps ~ N(0, I).
/// x and eps are `[B, d]`, gamma is `[B]`. Equation `forward-marginal`.
pub fn diffuse(x: Tensor<2>, gamma: Tensor<1>, eps: Tensor<2>) -> Tensor<2> {
    let gamma = gamma.unsqueeze_dim::<2>(1);
    x * sigmoid(-gamma.clone()).sqrt() + eps * sigmoid(gamma).sqrt()
}
// ANCHOR_END: diffuse

// ANCHOR: posterior
/// q(z_s | z_t, x) = N(a z_t + b x, variance I), s < t. Equation `forward-posterior`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForwardPosterior {
    /// Coefficient of z_t in the mean.
    pub a: f64,
    /// Coefficient of x in the mean.
    pub b: f64,
    /// Variance of each dimension.
    pub variance: f64,
}

impl ForwardPosterior {
    /// Between two noise levels, gamma_s < gamma_t.
    pub fn between(gamma_s: f64, gamma_t: f64) -> Self {
        let (signal_s, noise_s) = (signal_power(gamma_s), signal_power(-gamma_s));
        let (signal_t, noise_t) = (signal_power(gamma_t), signal_power(-gamma_t));
        let alpha = signal_t / signal_s;
        // 1 - alpha = (1 - abar_t) (1 - exp(gamma_s - gamma_t)), without a difference of
        // near-equal numbers.
        let one_minus_alpha = -noise_t * (gamma_s - gamma_t).exp_m1();
        Self {
            a: alpha.sqrt() * noise_s / noise_t,
            b: signal_s.sqrt() * one_minus_alpha / noise_t,
            variance: one_minus_alpha * noise_s / noise_t,
        }
    }
}
// ANCHOR_END: posterior

// ANCHOR: denoising_weight
/// (SNR(s) - SNR(t)) / 2, the weight of |x - x_hat|^2 in the denoising term. Equation
/// `snr-weight`.
pub fn denoising_weight(gamma_s: f64, gamma_t: f64) -> f64 {
    0.5 * (-gamma_t).exp() * (gamma_t - gamma_s).exp_m1()
}
// ANCHOR_END: denoising_weight

/// gamma'(t) SNR(t) / 2, the weight of |x - x_hat|^2 at a uniform t in continuous time.
/// Equation `continuous-loss`.
pub fn diffusion_weight(schedule: &(impl Schedule + ?Sized), t: f64) -> f64 {
    0.5 * schedule.slope(t) * (-schedule.gamma(t)).exp()
}

// ANCHOR: noise_levels
/// The noise level of each image of a batch, and how much an error of x_hat counts there.
#[derive(Clone, Debug)]
pub struct NoiseLevels {
    /// gamma_t, `[B]`.
    pub gamma: Tensor<1>,
    /// The weight of |x - x_hat|^2, `[B]`.
    pub weight: Tensor<1>,
}

impl NoiseLevels {
    /// At the times t, each from 0 to 1, of the chain gamma_1, ..., gamma_T: in that of its
    /// T - 1 steps, all equally long, into which t falls.
    pub fn of_steps(gammas: &[f64], t: &[f64], device: &Device) -> Self {
        let level = |&t: &f64| {
            let s = (t * (gammas.len() - 1) as f64) as usize;
            (gammas[s + 1], denoising_weight(gammas[s], gammas[s + 1]))
        };
        Self::new(t.iter().map(level), device)
    }

    /// At the times t, each from 0 to 1, of continuous time.
    pub fn at(schedule: &(impl Schedule + ?Sized), t: &[f64], device: &Device) -> Self {
        let level = |&t: &f64| (schedule.gamma(t), diffusion_weight(schedule, t));
        Self::new(t.iter().map(level), device)
    }

    /// At the times t, `[B]`, of a schedule that learns: gradients reach it through both.
    pub fn of_learned(schedule: &Learned, t: Tensor<1>) -> Self {
        let (gamma, slope) = schedule.gamma_and_slope(t);
        Self { weight: slope * (-gamma.clone()).exp() * 0.5, gamma }
    }

    /// The same without gradients.
    pub fn detach(self) -> Self {
        Self { gamma: self.gamma.detach(), weight: self.weight.detach() }
    }

    /// From gamma and the weight of each image.
    pub fn new(levels: impl Iterator<Item = (f64, f64)>, device: &Device) -> Self {
        let (gamma, weight): (Vec<f64>, Vec<f64>) = levels.unzip();
        Self { gamma: upload(gamma, device), weight: upload(weight, device) }
    }
}
// ANCHOR_END: noise_levels
