//! The variational bound of a diffusion model, estimated on a set of images.

use burn::tensor::{Device, Tensor};
use rayon::prelude::*;

use crate::{
    data::Images,
    diffusion::{decoder_log_probs, denoising_kl, denoising_weight, diffuse, prior_kl, reconstruction},
    error::{Error, Result},
    random::{Stream, normal, rng},
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

/// Images that are evaluated together. Small enough for the processor's cache, and the unit that threads share out; the
/// noise is drawn per group, so the result does not depend on the number of threads.
const GROUP: usize = 64;

impl Bound {
    // ANCHOR: discrete
    /// The bound of the chain gamma_1, ..., gamma_T: every t, and `passes` (at least 2) noise draws per image and t.
    ///
    /// `denoise(z_t, gamma_t)` returns x_hat for z_t of shape [B, d] and gamma_t of shape [B].
    pub fn discrete(
        images: &Images,
        gammas: &[f64],
        denoise: impl Fn(Tensor<2>, Tensor<1>) -> Tensor<2> + Sync,
        passes: usize,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        let terms = |group: usize| -> Result<Terms> {
            let images = images.range(group * GROUP, ((group + 1) * GROUP).min(images.len()));
            let noise = &mut rng(seed, Stream::Evaluation, group as u64);
            let (x, shape) = (images.values(device), [images.len(), images.dim()]);
            let level = images.levels(device);
            let grid = Tensor::<1>::from_floats(images.level_values().as_slice(), device);
            let prior = prior_kl(x.clone(), gammas[gammas.len() - 1]);
            let mut rows = Vec::with_capacity(passes * gammas.len());
            for _ in 0..passes {
                for t in 0..gammas.len() {
                    let gamma = Tensor::<1>::full([shape[0]], gammas[t], device);
                    let z = diffuse(x.clone(), gamma.clone(), normal(shape, noise, device));
                    rows.push(match t {
                        0 => reconstruction(level.clone(), decoder_log_probs(z, gammas[0], grid.clone())),
                        _ => {
                            let weight = gamma.full_like(denoising_weight(gammas[t - 1], gammas[t]));
                            denoising_kl(x.clone(), denoise(z, gamma), weight)
                        }
                    });
                }
            }
            Ok(Terms { prior: read(prior)?, rows: read(Tensor::cat(rows, 0))? })
        };
        let groups = (0..images.len().div_ceil(GROUP)).into_par_iter().map(terms).collect::<Result<Vec<_>>>()?;
        Ok(Self::average(&groups, gammas.len(), passes))
    }
    // ANCHOR_END: discrete

    /// Averages the terms of all groups.
    fn average(groups: &[Terms], latents: usize, passes: usize) -> Self {
        let images: usize = groups.iter().map(|group| group.prior.len()).sum();
        let mut per_time = vec![0.0; latents];
        let mut per_pass = vec![Vec::with_capacity(images); passes];
        for group in groups {
            let n = group.prior.len();
            let mut totals = vec![0.0; passes * n];
            for (row, values) in group.rows.chunks(n).enumerate() {
                per_time[row % latents] += values.iter().sum::<f64>() / (images * passes) as f64;
                totals[row / latents * n..][..n].iter_mut().zip(values).for_each(|(total, value)| *total += value);
            }
            per_pass.iter_mut().zip(totals.chunks(n)).for_each(|(pass, totals)| pass.extend(totals));
        }
        Self {
            reconstruction: per_time[0],
            prior: groups.iter().flat_map(|group| &group.prior).sum::<f64>() / images as f64,
            denoising: per_time[1..].to_vec(),
            standard_error: noise_error(&per_pass),
        }
    }

    /// Reconstruction + prior + denoising.
    pub fn total(&self) -> f64 {
        self.reconstruction + self.prior + self.denoising.iter().sum::<f64>()
    }
}

/// What one group of images yields, in nats.
struct Terms {
    /// The prior term of each image.
    prior: Vec<f64>,
    /// For each pass and t, the term of each image; t = 1 is the reconstruction.
    rows: Vec<f64>,
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

/// Reads numbers from the device.
fn read(values: Tensor<1>) -> Result<Vec<f64>> {
    let values = values.try_into_vec_as::<f32>().map_err(|e| Error::failure(format!("cannot read the bound: {e}")))?;
    Ok(values.into_iter().map(f64::from).collect())
}
