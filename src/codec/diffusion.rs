//! The diffusion model of chapter 5 as a chain.

use burn::tensor::{Device, Tensor};

use super::{
    chain::{Chain, Normal, Pace},
    latents::in_blocks,
    quantized::{Bins, Categorical, Quantized},
};
use crate::{
    error::Result,
    host::download,
    vdm::{ForwardPosterior, signal_power},
};

/// log2 of the number of bins.
const BIN_BITS: u32 = 12;

/// A diffusion model with the noise levels gamma_1, ..., gamma_T, whose `denoise(z_t,
/// gamma_t)` estimates x.
pub struct Diffusion<D> {
    denoise: D,
    gammas: Vec<f64>,
    values: Vec<f64>,
    dim: usize,
    bins: Bins,
    device: Device,
}

impl<D: Fn(Tensor<2>, Tensor<1>) -> Tensor<2>> Diffusion<D> {
    /// For images of `dim` pixels whose grey levels have these values x_k.
    pub fn new(
        denoise: D,
        gammas: Vec<f64>,
        values: Vec<f64>,
        dim: usize,
        device: &Device,
    ) -> Self {
        let (bins, device) = (Bins::new(BIN_BITS, 1.0), device.clone());
        Self { denoise, gammas, values, dim, bins, device }
    }

    fn gamma(&self, t: usize) -> f64 {
        self.gammas[t - 1]
    }
}

impl<D: Fn(Tensor<2>, Tensor<1>) -> Tensor<2>> Chain for Diffusion<D> {
    fn layers(&self) -> usize {
        self.gammas.len()
    }

    fn width(&self, _t: usize) -> usize {
        self.dim
    }

    fn bins(&self, _t: usize) -> &Bins {
        &self.bins
    }

    fn pace(&self) -> Pace {
        Pace { borrowed: 720.0, net: 105.0 }
    }

    // ANCHOR: encoder
    fn first(&self, levels: &[u8]) -> Result<Vec<Normal>> {
        let (signal, noise) = powers(self.gamma(1));
        let value = |&k: &u8| self.values[usize::from(k).min(self.values.len() - 1)];
        let means = levels.iter().map(|k| signal.sqrt() * value(k));
        Ok(means.map(|mean| Normal { mean, deviation: noise.sqrt() }).collect())
    }

    fn up(&self, t: usize, below: &[f64]) -> Result<Vec<Normal>> {
        let (gamma_s, gamma_t) = (self.gamma(t - 1), self.gamma(t));
        let alpha = powers(gamma_t).0 / powers(gamma_s).0;
        let deviation = (-powers(gamma_t).1 * (gamma_s - gamma_t).exp_m1()).sqrt();
        Ok(below.iter().map(|z| Normal { mean: alpha.sqrt() * z, deviation }).collect())
    }
    // ANCHOR_END: encoder

    // ANCHOR: decoder
    fn down(&self, t: usize, above: &[f64]) -> Result<Vec<Normal>> {
        let gamma = self.gamma(t);
        let x_hat = in_blocks(above, self.dim, &self.device, |z| {
            let rows = z.dims()[0];
            download((self.denoise)(z, Tensor::full([rows], gamma, &self.device)))
        })?;
        let posterior = ForwardPosterior::between(self.gamma(t - 1), gamma);
        let deviation = posterior.variance.sqrt();
        let mean = |(z, x): (&f64, f64)| posterior.a * z + posterior.b * x;
        let means = above.iter().zip(x_hat).map(mean);
        Ok(means.map(|mean| Normal { mean, deviation }).collect())
    }

    fn pixels(&self, bottom: &[f64]) -> Result<Vec<Quantized<Categorical>>> {
        let (signal, noise) = powers(self.gamma(1));
        let odds = |z: &f64| {
            let log = |x: &f64| -0.5 * (z - signal.sqrt() * x).powi(2) / noise;
            Categorical::from_logs(&self.values.iter().map(log).collect::<Vec<_>>())
        };
        Ok(bottom.iter().map(odds).collect())
    }
    // ANCHOR_END: decoder
}

/// abar and 1 - abar.
fn powers(gamma: f64) -> (f64, f64) {
    (signal_power(gamma), signal_power(-gamma))
}
