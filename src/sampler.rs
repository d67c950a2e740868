//! Ancestral sampling: walk the reverse chain from pure noise to data.

use burn::tensor::{Device, Tensor};
use rand::Rng;
use rayon::prelude::*;

use crate::{
    diffusion::{Posterior, decoder_log_probs},
    error::Result,
    host::{download, upload},
    random::normal,
};

// ANCHOR: ancestral
/// Draws z_T ~ N(0, I), then z_{t-1} ~ p(z_{t-1} | z_t) down to z_1, and calls `visit(t, z_t, x_hat)` on the way.
///
/// `gammas` holds gamma_1, ..., gamma_T; `denoise(z_t, gamma_t)` returns x_hat for z_t of shape [B, d] and gamma_t of shape
/// [B]; z is [n, d].
/// The reverse step is the posterior of the forward process with x_hat in the place of x.
/// Ho et al. (2020), algorithm 2.
pub fn ancestral(
    shape: [usize; 2],
    gammas: &[f64],
    denoise: impl Fn(Tensor<2>, Tensor<1>) -> Tensor<2> + Sync,
    rng: &mut impl Rng,
    device: &Device,
    mut visit: impl FnMut(usize, &Tensor<2>, &Tensor<2>),
) -> Tensor<2> {
    let mut z = normal(shape, rng, device);
    for t in (1..gammas.len()).rev() {
        let posterior = Posterior::between(gammas[t - 1], gammas[t]);
        let x_hat = in_groups(&z, |z| {
            let n = z.dims()[0];
            denoise(z, Tensor::full([n], gammas[t], device))
        });
        visit(t + 1, &z, &x_hat);
        let eps = normal(shape, rng, device);
        z = z * posterior.a + x_hat * posterior.b + eps * posterior.variance.sqrt();
    }
    z
}
// ANCHOR_END: ancestral

/// Images that the CPU denoises together: few enough for the processor's cache, and the unit that threads share out.
const GROUP: usize = 32;

/// `f` of all rows of z, [n, d]. On the CPU it is computed for one group of rows at a time, on all threads.
fn in_groups(z: &Tensor<2>, f: impl Fn(Tensor<2>) -> Tensor<2> + Sync) -> Tensor<2> {
    let n = z.dims()[0];
    if n <= GROUP || z.device() != Device::flex() {
        return f(z.clone());
    }
    let rows = |group: usize| z.clone().narrow(0, group * GROUP, GROUP.min(n - group * GROUP));
    Tensor::cat((0..n.div_ceil(GROUP)).into_par_iter().map(|group| f(rows(group))).collect(), 0)
}

/// The most likely level of each pixel under p(x | z_1), n * d of them, image after image.
pub fn decode(z: Tensor<2>, gamma_min: f64, level_values: &[f64]) -> Result<Vec<u8>> {
    let values = upload(level_values.iter().copied(), &z.device());
    let levels = decoder_log_probs(z, gamma_min, values).argmax(2).float();
    Ok(download(levels)?.into_iter().map(|k| k as u8).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, rng};

    #[test]
    fn groups_come_back_whole_and_in_order() -> Result<()> {
        for n in [0, 1, GROUP, GROUP + 1, 3 * GROUP - 5] {
            let z = normal([n, 3], &mut rng(0, Stream::Sampling, 0), &Device::flex());
            let together = download(z.clone() * 2.0)?;
            assert_eq!(download(in_groups(&z, |z| z * 2.0))?, together, "{n} rows");
        }
        Ok(())
    }
}
