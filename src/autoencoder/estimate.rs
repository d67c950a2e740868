//! Bounds on -log p(x), averaged over a set of images.

use burn::tensor::{Device, Tensor};

use super::model::{Autoencoder, Batch};
use crate::{
    data::Images,
    error::{Error, Result},
    evaluation::{Draws, in_groups},
    host::download,
    oracle::{Estimate, log_sum_exp},
};

/// -ELBO in nats per image, in its terms.
#[derive(Clone, Debug, PartialEq)]
pub struct NegativeElbo {
    /// -E log p(x | z_1).
    pub reconstruction: f64,
    /// The term of each level of latents, z_1 first.
    pub kl: Vec<f64>,
    /// Standard error of the total that comes from the finite number of draws of z.
    pub noise_error: f64,
}

impl NegativeElbo {
    /// The mean over the images and `draws.passes` draws of the latents of each.
    ///
    /// # Errors
    /// A sentence where there are fewer than 2 passes, or no image.
    pub fn estimate(
        model: &impl Autoencoder,
        images: &Images,
        draws: Draws,
        device: &Device,
    ) -> Result<Self> {
        let draws = draws.check()?;
        let groups = in_groups(some(images)?, draws.seed, |images, noise| {
            let batch = &Batch::new(images, device);
            let rows = (0..draws.passes).flat_map(|_| {
                let terms = model.terms(batch, noise, None);
                [vec![-terms.log_likelihood], terms.kl].concat()
            });
            read_rows(rows.collect())
        })?;
        // The reconstruction, and one for each level of latents.
        let terms = groups.first().map_or(0, |group| group.len() / draws.passes);
        let mut means = vec![0.0; terms];
        let mut variance = 0.0;
        for rows in &groups {
            for image in 0..rows[0].len() {
                let mut total = Estimate::default();
                for pass in rows.chunks(terms) {
                    total.push(pass.iter().map(|row| row[image]).sum());
                    means.iter_mut().zip(pass).for_each(|(mean, row)| *mean += row[image]);
                }
                variance += total.standard_error().powi(2);
            }
        }
        let n = images.len() as f64;
        means.iter_mut().for_each(|mean| *mean /= n * draws.passes as f64);
        Ok(Self {
            reconstruction: means[0],
            kl: means[1..].to_vec(),
            noise_error: variance.sqrt() / n,
        })
    }

    /// Reconstruction + KL: an upper bound on -log p(x).
    pub fn total(&self) -> f64 {
        self.reconstruction + self.kl.iter().sum::<f64>()
    }
}

/// How many draws the importance-weighted bound takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Importance {
    /// K, the draws of the latents of each image, at least 1.
    pub draws: usize,
    /// Seed of the noise.
    pub seed: u64,
}

/// -L_K in nats per image: the importance-weighted bound. Equation
/// `importance-weighted-bound`; Burda et al. (2016).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImportanceWeighted {
    /// The mean of -log (1/K) sum_j w_j.
    pub nats: f64,
    /// Its standard error that comes from the finite number of draws of z, by the delta
    /// method: for large K, the variance of log (1/K) sum w is close to 1/ESS - 1/K. For K
    /// = 1 this is 0, and says nothing.
    pub noise_error: f64,
    /// The effective number of draws among the K. Equation `effective-sample-size`.
    pub effective_draws: f64,
}

impl ImportanceWeighted {
    // ANCHOR: importance
    /// The mean over the images.
    ///
    /// # Errors
    /// A sentence where K is 0, or there is no image.
    pub fn estimate(
        model: &impl Autoencoder,
        images: &Images,
        Importance { draws, seed }: Importance,
        device: &Device,
    ) -> Result<Self> {
        if draws == 0 {
            let sentence = "0 draws give no importance-weighted bound; give 1 or more";
            return Err(Error::usage(sentence));
        }
        let groups = in_groups(some(images)?, seed, |images, noise| {
            let log_weights = model.log_weights(&Batch::new(images, device), draws, noise);
            read_rows(log_weights)
        })?;
        let (n, k) = (images.len() as f64, draws as f64);
        let (mut nats, mut variance, mut effective) = (0.0, 0.0, 0.0);
        for rows in &groups {
            for image in 0..rows[0].len() {
                let log_weights: Vec<f64> = rows.iter().map(|row| row[image]).collect();
                let log_squares: Vec<f64> = log_weights.iter().map(|w| 2.0 * w).collect();
                let log_sum = log_sum_exp(&log_weights);
                let ess = (2.0 * log_sum - log_sum_exp(&log_squares)).exp();
                nats -= (log_sum - k.ln()) / n;
                // Rounding makes equal weights worth a little more than K draws.
                variance += (1.0 / ess - 1.0 / k).max(0.0);
                effective += ess / n;
            }
        }
        Ok(Self { nats, noise_error: variance.sqrt() / n, effective_draws: effective })
    }
    // ANCHOR_END: importance
}

/// The images, of which there is at least one.
fn some(images: &Images) -> Result<&Images> {
    if images.is_empty() {
        return Err(Error::usage(
            "a bound is a mean over images, and there are none; give at least one",
        ));
    }
    Ok(images)
}

/// Reads tensors of one number per image from the device.
fn read_rows(rows: Vec<Tensor<1>>) -> Result<Vec<Vec<f64>>> {
    let n = rows.first().map_or(1, |row| row.dims()[0]);
    Ok(download(Tensor::cat(rows, 0))?.chunks(n).map(<[f64]>::to_vec).collect())
}
