//! Sampling: walk the reverse chain from pure noise to the first latent, and read the data
//! off it.

use burn::tensor::{Device, Tensor};
use rand::Rng;

use super::{process::ForwardPosterior, terms::decoder_log_probs};
use crate::{
    error::Result,
    host::{download, upload},
    random::normal,
};

// ANCHOR: ancestral
/// Draws z_T ~ N(0, I), then z_{t-1} ~ p(z_{t-1} | z_t) down to z_1, `[n, d]`, and calls
/// `visit(t, z_t, x_hat)` on the way.
///
/// `gammas` holds gamma_1, ..., gamma_T; `denoise(z_t, gamma_t)` returns x_hat, `[n, d]`,
/// for z_t of the same shape and gamma_t, `[n]`. The reverse step is the posterior of the
/// forward process with x_hat in the place of x. Ho et al. (2020), algorithm 2.
pub fn ancestral(
    [n, d]: [usize; 2],
    gammas: &[f64],
    denoise: impl Fn(Tensor<2>, Tensor<1>) -> Tensor<2>,
    rng: &mut impl Rng,
    device: &Device,
    mut visit: impl FnMut(usize, &Tensor<2>, &Tensor<2>),
) -> Tensor<2> {
    let mut z = normal([n, d], rng, device);
    for t in (1..gammas.len()).rev() {
        let posterior = ForwardPosterior::between(gammas[t - 1], gammas[t]);
        let x_hat = denoise(z.clone(), Tensor::full([n], gammas[t], device));
        visit(t + 1, &z, &x_hat);
        let eps = normal([n, d], rng, device);
        z = z * posterior.a + x_hat * posterior.b + eps * posterior.variance.sqrt();
    }
    z
}
// ANCHOR_END: ancestral

/// The most likely grey level of each pixel under p(x | z_1), image after image, from z_1,
/// `[n, d]`, and the values x_k of the grey levels. Fails where the device does.
pub fn decode(z: Tensor<2>, gamma_min: f64, values: &[f64]) -> Result<Vec<u8>> {
    let values = upload(values.iter().copied(), &z.device());
    let grey = decoder_log_probs(z, gamma_min, values).argmax(2).float();
    Ok(download(grey)?.into_iter().map(|k| k as u8).collect())
}
