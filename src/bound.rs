//! The variational bound of a diffusion model, estimated on a set of images.

use burn::tensor::{Device, Tensor};
use rand::Rng;

use crate::{
    data::Images,
    diffusion::{decoder_log_probs, denoising_kl, denoising_weight, diffuse, prior_kl, reconstruction},
    error::{Error, Result},
    random::normal,
};

/// The three terms of the bound in nats per image; their sum bounds -log p(x) from above. Equation `elbo-denoising`.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// -E log p(x | z_1).
    pub reconstruction: f64,
    /// KL(q(z_T | x) || p(z_T)).
    pub prior: f64,
    /// The denoising term of each t = 2, ..., T.
    pub denoising: Vec<f64>,
    /// Standard error of the total that comes from the finite number of noise draws.
    pub standard_error: f64,
}

impl Bound {
    // ANCHOR: discrete
    /// The bound of the chain gamma_1, ..., gamma_T: every t, and `passes` (at least 2) noise draws per image and t.
    ///
    /// `denoise(z_t, gamma_t)` returns x_hat for z_t of shape [N, d] and gamma_t of shape [N].
    pub fn discrete(
        images: &Images,
        gammas: &[f64],
        denoise: impl Fn(Tensor<2>, Tensor<1>) -> Tensor<2>,
        passes: usize,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Result<Self> {
        let (n, d) = (images.len(), images.dim());
        let (x, level) = (images.values(device), images.levels(device));
        let grid = Tensor::<1>::from_floats(images.level_values().as_slice(), device);
        let mut per_pass = Vec::with_capacity(passes);
        let mut denoising = vec![0.0; gammas.len().saturating_sub(1)];
        let mut reconstruction_mean = 0.0;

        for _ in 0..passes {
            let noisy = |gamma: f64, rng: &mut _| {
                let gamma = Tensor::<1>::full([n], gamma, device);
                diffuse(x.clone(), gamma, normal([n, d], rng, device))
            };
            let z_1 = noisy(gammas[0], rng);
            let log_probs = decoder_log_probs(z_1, gammas[0], grid.clone());
            let mut total = read(reconstruction(level.clone(), log_probs))?;
            reconstruction_mean += mean(&total) / passes as f64;
            for t in 1..gammas.len() {
                let x_hat = denoise(noisy(gammas[t], rng), Tensor::full([n], gammas[t], device));
                let weight = Tensor::full([n], denoising_weight(gammas[t - 1], gammas[t]), device);
                let kl = read(denoising_kl(x.clone(), x_hat, weight))?;
                denoising[t - 1] += mean(&kl) / passes as f64;
                total.iter_mut().zip(&kl).for_each(|(total, kl)| *total += kl);
            }
            per_pass.push(total);
        }
        let gamma_max = gammas.last().copied().unwrap_or_default();
        let prior = mean(&read(prior_kl(x.clone(), gamma_max))?);
        let standard_error = noise_error(&per_pass);
        Ok(Self { reconstruction: reconstruction_mean, prior, denoising, standard_error })
    }
    // ANCHOR_END: discrete

    /// Reconstruction + prior + denoising.
    pub fn total(&self) -> f64 {
        self.reconstruction + self.prior + self.denoising.iter().sum::<f64>()
    }
}

/// Standard error of the mean over images and passes, from the spread between passes of one image.
fn noise_error(per_pass: &[Vec<f64>]) -> f64 {
    let passes = per_pass.len() as f64;
    let images = per_pass.first().map_or(0, Vec::len);
    let squares = (0..images).map(|i| {
        let mean = per_pass.iter().map(|pass| pass[i]).sum::<f64>() / passes;
        per_pass.iter().map(|pass| (pass[i] - mean).powi(2)).sum::<f64>() / (passes - 1.0)
    });
    (squares.sum::<f64>() / passes).sqrt() / images as f64
}

/// Reads one number per image from the device.
fn read(values: Tensor<1>) -> Result<Vec<f64>> {
    let values = values.try_into_vec_as::<f32>().map_err(|e| Error::failure(format!("cannot read the bound: {e}")))?;
    Ok(values.into_iter().map(f64::from).collect())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
