//! The diffusion model of chapter 5 as a chain.

use std::f64::consts::PI;

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

/// log2 of the number of bins, at most: a bin more is two units of 2^48 less for the others.
const MOST_BITS: u32 = 16;

/// A diffusion model with the noise levels gamma_1, ..., gamma_T, whose `denoise(z_t,
/// gamma_t)` estimates x.
pub struct Diffusion<D> {
    denoise: D,
    gammas: Vec<f64>,
    values: Vec<f64>,
    dim: usize,
    /// Of each layer.
    bins: Vec<Bins>,
    device: Device,
}

// ANCHOR: resolution
/// log2 of the number of bins of each layer: so many that `fineness` bins in the middle
/// are as wide as a standard deviation of the narrowest Gaussian there, p(z_t | z_{t+1}).
/// No more, because what is borrowed grows with it.
fn bin_bits(gammas: &[f64], fineness: f64) -> Vec<u32> {
    let bits = |pair: &[f64]| {
        let deviation = ForwardPosterior::between(pair[0], pair[1]).variance.sqrt();
        // A bin's share is the density in the middle times its width.
        let share = deviation / fineness / ((2.0 * PI).sqrt() * Bins::SCALE);
        (-share.log2()).ceil().clamp(1.0, f64::from(MOST_BITS)) as u32
    };
    let bits: Vec<u32> = gammas.windows(2).map(bits).collect();
    let top = bits.last().copied().unwrap_or(MOST_BITS);
    bits.into_iter().chain([top]).collect()
}
// ANCHOR_END: resolution

impl<D: Fn(Tensor<2>, Tensor<1>) -> Tensor<2>> Diffusion<D> {
    /// For images of `dim` pixels whose grey levels have these values x_k, with `fineness`
    /// bins to a standard deviation of p(z_t | z_{t+1}).
    pub fn new(
        denoise: D,
        gammas: Vec<f64>,
        values: Vec<f64>,
        dim: usize,
        fineness: f64,
        device: &Device,
    ) -> Self {
        let device = device.clone();
        let bins = bin_bits(&gammas, fineness).into_iter().map(Bins::new).collect();
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

    fn bins(&self, t: usize) -> &Bins {
        &self.bins[t - 1]
    }

    fn pace(&self) -> Pace {
        Pace { borrowed: 740.0, net: 110.0 }
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
