//! The three terms of the bound, in nats per image. Equation `elbo-denoising`; Kingma et
//! al. (2021), eq. 11.

use burn::tensor::{Int, Tensor};

use super::{
    process::{NoiseLevels, diffuse},
    schedule::signal_power,
};
use crate::kernels::log_softmax;

// ANCHOR: reconstruction
/// log p(x_i = x_k | z_1) for every grey level k of every pixel i, `[B, d, V]`: the values
/// x_k, `[V]`, weighted by how likely they make z_1, `[B, d]`. Equation
/// `decoder-normalised`; Kingma et al. (2021), section 3.3.
pub fn decoder_log_probs(z: Tensor<2>, gamma_min: f64, values: Tensor<1>) -> Tensor<3> {
    let distance =
        z.unsqueeze_dim::<3>(2) - values.unsqueeze::<3>() * signal_power(gamma_min).sqrt();
    log_softmax(distance.square() * (-0.5 / signal_power(-gamma_min)))
}

/// -log p(x | z_1), `[B]`, where `grey` holds the grey level k of each pixel, `[B, d]`.
pub fn reconstruction(grey: Tensor<2, Int>, log_probs: Tensor<3>) -> Tensor<1> {
    let chosen = log_probs.gather(2, grey.unsqueeze_dim::<3>(2)).squeeze_dim::<2>(2);
    -chosen.sum_dim(1).squeeze_dim::<1>(1)
}
// ANCHOR_END: reconstruction

// ANCHOR: prior
/// KL(q(z_T | x) || N(0, I)), `[B]`. Equation `prior-kl`.
pub fn prior_kl(x: Tensor<2>, gamma_max: f64) -> Tensor<1> {
    let (signal, noise) = (signal_power(gamma_max), signal_power(-gamma_max));
    let terms = x.square() * signal + (noise - noise.ln() - 1.0);
    (terms * 0.5).sum_dim(1).squeeze_dim(1)
}
// ANCHOR_END: prior

// ANCHOR: denoising_kl
/// KL(q(z_s | z_t, x) || p(z_s | z_t)) for a reverse step that uses x_hat in the place of
/// x. x and x_hat are `[B, d]`, the weight is `[B]`; so is the result. Equation
/// `denoising-kl-x`.
pub fn denoising_kl(x: Tensor<2>, x_hat: Tensor<2>, weight: Tensor<1>) -> Tensor<1> {
    (x - x_hat).square().sum_dim(1).squeeze_dim::<1>(1) * weight
}
// ANCHOR_END: denoising_kl

// ANCHOR: denoising_term
/// One draw of the denoising term at one noise level for each image, `[B]`: noise x, `[B,
/// d]`, with eps ~ N(0, I), let `denoise(z_t, gamma_t)` estimate it, and weigh the error.
/// Training minimises its mean, and the bound adds it up.
pub fn denoising_term(
    x: Tensor<2>,
    at: NoiseLevels,
    eps: Tensor<2>,
    denoise: impl FnOnce(Tensor<2>, Tensor<1>) -> Tensor<2>,
) -> Tensor<1> {
    let z = diffuse(x.clone(), at.gamma.clone(), eps);
    denoising_kl(x, denoise(z, at.gamma), at.weight)
}
// ANCHOR_END: denoising_term
