//! The diffusion process and the terms of its bound.
//!
//! Data x has d dimensions, the latents z_1, ..., z_T have as many. Scalars of one noise level are f64 on the host;
//! tensors are [B, d], with one gamma per row, [B]. All terms are in nats, summed over dimensions, one per row.

use burn::tensor::{Int, Tensor, activation::sigmoid};

use crate::{
    kernels::log_softmax,
    schedule::{Schedule, signal_power},
};

// ANCHOR: diffuse
/// z_t ~ q(z_t | x) = N(sqrt(abar_t) x, (1 - abar_t) I), as a function of eps ~ N(0, I).
/// x and eps are [B, d], gamma is [B]. Equation `forward-marginal`.
pub fn diffuse(x: Tensor<2>, gamma: Tensor<1>, eps: Tensor<2>) -> Tensor<2> {
    let gamma = gamma.unsqueeze_dim::<2>(1);
    x * sigmoid(-gamma.clone()).sqrt() + eps * sigmoid(gamma).sqrt()
}
// ANCHOR_END: diffuse

// ANCHOR: posterior
/// The coefficients of q(z_s | z_t, x) = N(a z_t + b x, variance I), s < t. Equation `forward-posterior`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Posterior {
    /// Coefficient of z_t in the mean.
    pub a: f64,
    /// Coefficient of x in the mean.
    pub b: f64,
    /// Variance of each dimension.
    pub variance: f64,
}

impl Posterior {
    /// The posterior between two noise levels, gamma_s < gamma_t.
    pub fn between(gamma_s: f64, gamma_t: f64) -> Self {
        let (signal_s, noise_s) = (signal_power(gamma_s), signal_power(-gamma_s));
        let (signal_t, noise_t) = (signal_power(gamma_t), signal_power(-gamma_t));
        let alpha = signal_t / signal_s;
        // 1 - alpha = (1 - abar_t) (1 - exp(gamma_s - gamma_t)), without a difference of near-equal numbers.
        let one_minus_alpha = -noise_t * (gamma_s - gamma_t).exp_m1();
        Self {
            a: alpha.sqrt() * noise_s / noise_t,
            b: signal_s.sqrt() * one_minus_alpha / noise_t,
            variance: one_minus_alpha * noise_s / noise_t,
        }
    }
}
// ANCHOR_END: posterior

// ANCHOR: weight
// ANCHOR: denoising_weight
/// (SNR(s) - SNR(t)) / 2, the weight of |x - x_hat|^2 in the denoising term. Equation `snr-weight`.
pub fn denoising_weight(gamma_s: f64, gamma_t: f64) -> f64 {
    0.5 * (-gamma_t).exp() * (gamma_t - gamma_s).exp_m1()
}
// ANCHOR_END: denoising_weight

/// gamma'(t) SNR(t) / 2, the weight of |x - x_hat|^2 at a uniform t in continuous time. Equation `continuous-loss`.
pub fn diffusion_weight(schedule: &impl Schedule, t: f64) -> f64 {
    0.5 * schedule.slope(t) * (-schedule.gamma(t)).exp()
}

// ANCHOR: denoising_kl
/// KL(q(z_s | z_t, x) || p(z_s | z_t)) for a reverse step that uses x_hat in the place of x.
/// x and x_hat are [B, d], the weight is [B]; the result is [B]. Equation `denoising-kl-x`.
pub fn denoising_kl(x: Tensor<2>, x_hat: Tensor<2>, weight: Tensor<1>) -> Tensor<1> {
    (x - x_hat).square().sum_dim(1).squeeze_dim::<1>(1) * weight
}
// ANCHOR_END: denoising_kl
// ANCHOR_END: weight

// ANCHOR: prior
/// KL(q(z_T | x) || N(0, I)), [B]. Equation `prior-kl`.
pub fn prior_kl(x: Tensor<2>, gamma_max: f64) -> Tensor<1> {
    let (signal, noise) = (signal_power(gamma_max), signal_power(-gamma_max));
    let terms = x.square() * signal + (noise - noise.ln() - 1.0);
    (terms * 0.5).sum_dim(1).squeeze_dim(1)
}
// ANCHOR_END: prior

// ANCHOR: reconstruction
/// log p(x_i = x_k | z_1) for every level k of every dimension i, [B, d, K]: the levels x_k weighted by how
/// likely they make z_1. Equation `decoder-normalised`; Kingma et al. (2021), section 3.3.
pub fn decoder_log_probs(z: Tensor<2>, gamma_min: f64, levels: Tensor<1>) -> Tensor<3> {
    let distance = z.unsqueeze_dim::<3>(2) - levels.unsqueeze::<3>() * signal_power(gamma_min).sqrt();
    log_softmax(distance.square() * (-0.5 / signal_power(-gamma_min)))
}

/// -log p(x | z_1), [B], where `level` holds the index of each pixel's level, [B, d].
pub fn reconstruction(level: Tensor<2, Int>, log_probs: Tensor<3>) -> Tensor<1> {
    let chosen = log_probs.gather(2, level.unsqueeze_dim::<3>(2)).squeeze_dim::<2>(2);
    -chosen.sum_dim(1).squeeze_dim::<1>(1)
}
// ANCHOR_END: reconstruction
