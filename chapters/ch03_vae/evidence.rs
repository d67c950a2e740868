//! What the bound leaves out: the exact evidence in the plane, and the price of one encoder
//! for all images.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData},
};
use elbo_to_diffusion::{
    autoencoder::{Batch, Vae},
    chapter::Chapter,
    data::Images,
    error::Result,
    gaussian::DiagonalGaussian,
    host::download,
    oracle::log_sum_exp,
    random::{Stream, normal, rng},
    training::{SHARDS, Shard, Training},
};

use super::mean::mean;

// ANCHOR: evidence
/// The posterior of an image in the latent plane, as a grid shows it.
#[derive(Clone, Copy)]
pub struct GridPosterior {
    /// log p(x) = log int p(x|z) p(z) dz, the integral as a sum over the grid.
    pub log_evidence: f64,
    /// The most likely point of the grid.
    mode: [f32; 2],
    /// log p(x|z) p(z) at the mode, with the area of a cell as a factor.
    log_at_mode: f64,
}

const POINTS: usize = 128;
const RANGE: f32 = 5.0;

/// The posterior of each image.
pub fn posteriors(
    model: &Vae,
    images: &Images,
    device: &Device, // that of the model
) -> Result<Vec<GridPosterior>> {
    let step = 2.0 * RANGE / POINTS as f32;
    let axis: Vec<f32> = (0..POINTS).map(|i| (i as f32 + 0.5) * step - RANGE).collect();
    // log p(x | z) of all images and one row of the grid is a matrix product,
    // [n, d V] x [d V, points].
    let one_hot =
        images.grey_levels(device).one_hot::<3>(images.grey_level_count()).float();
    let one_hot = one_hot.flatten::<2>(1, 2);
    let none = f64::NEG_INFINITY;
    let empty = GridPosterior { log_evidence: none, mode: [0.0; 2], log_at_mode: none };
    let mut posteriors = vec![empty; images.len()];
    for &z_2 in &axis {
        let z: Vec<f32> = axis.iter().flat_map(|&z_1| [z_1, z_2]).collect();
        let z = Tensor::<2>::from_data(TensorData::new(z, [POINTS, 2]), device);
        let prior = DiagonalGaussian::standard(&z);
        let log_prior = prior.log_prob(z.clone()) + (step * step).ln();
        let log_probs = model.decoder.log_probs(z, None).flatten::<2>(1, 2);
        let log_joint = one_hot.clone().matmul(log_probs.transpose());
        let log_joint = download(log_joint + log_prior.unsqueeze::<2>())?;
        for (posterior, row) in posteriors.iter_mut().zip(log_joint.chunks(POINTS)) {
            let so_far = posterior.log_evidence;
            posterior.log_evidence = log_sum_exp(&[so_far, log_sum_exp(row)]);
            for (&z_1, &log_joint) in axis.iter().zip(row) {
                if log_joint > posterior.log_at_mode {
                    posterior.mode = [z_1, z_2];
                    posterior.log_at_mode = log_joint;
                }
            }
        }
    }
    Ok(posteriors)
}
// ANCHOR_END: evidence

/// -ELBO in nats per image.
pub struct Amortisation {
    /// With the best diagonal Gaussian for each image.
    pub own: f64,
    /// With the encoder's.
    pub encoder: f64,
}

// ANCHOR: separate
/// A mean and a log variance of its own for each image, instead of an encoder.
#[derive(Module, Debug)]
struct Separate {
    mean: Param<Tensor<2>>,
    log_var: Param<Tensor<2>>,
}

/// Finds the best diagonal Gaussian for each image.
///
/// The search starts at the mode of the posterior. From the encoder's mean it would
/// end in whatever place of the plane the encoder has jumped to.
pub fn one_posterior_per_image(
    chapter: &mut Chapter,
    model: &Vae,
    images: &Images,
    posteriors: &[GridPosterior],
) -> Result<Amortisation> {
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    let first = |shard: usize| shard * images.len() / SHARDS;
    let part = |shard: usize| images.range(first(shard), first(shard + 1));
    let batch = |shard: usize| Batch::new(&part(shard), &device);
    let batches: Vec<Batch> = (0..SHARDS).map(batch).collect();
    let decoder = model.decoder.clone().train().no_grad();
    let start = model.encoder.given(images.values(&chapter.device), None);
    let leaf = |data: TensorData| Param::from_tensor(Tensor::from_data(data, &device));
    let modes: Vec<f32> = posteriors.iter().flat_map(|found| found.mode).collect();
    let modes = leaf(TensorData::new(modes, start.mean.shape()));
    let separate = Separate { mean: modes, log_var: leaf(start.log_var.to_data()) };
    let loss = |q: &Separate, shard: Shard| {
        let (from, to) = (first(shard.index), first(shard.index + 1));
        let rows = |tensor: Tensor<2>| tensor.narrow(0, from, to - from);
        let (mean, log_var) = (rows(q.mean.val()), rows(q.log_var.val()));
        let q = DiagonalGaussian { mean, log_var };
        let noise = &mut shard.rng(seed, Stream::Training);
        let eps = normal(q.mean.dims(), noise, &device);
        let grey_levels = batches[shard.index].grey_levels.clone();
        let log_likelihood = decoder.log_likelihood(grey_levels, q.rsample(eps), None);
        (q.kl_standard() - log_likelihood).mean()
    };
    let training = Training {
        steps: 300,
        learning_rate: 0.05,
        warmup: 1,
        weight_decay: 0.0,
        clip_norm: 1e3, // as good as none
        ema_decay: 0.95,
        muon: false,
    };
    let stage = chapter.stage("a q for each image", &training);
    let best = stage.train(&separate, loss)?.model;
    let best = DiagonalGaussian { mean: best.mean.val(), log_var: best.log_var.val() };

    let batch = Batch::new(images, &chapter.device);
    let elbo = |q: &DiagonalGaussian| -> Result<f64> {
        let noise = &mut rng(seed, Stream::Posterior, 0);
        let mut total = 0.0;
        for _ in 0..64 {
            let z = q.rsample(normal(q.mean.dims(), noise, &chapter.device));
            let grey_levels = batch.grey_levels.clone();
            let log_likelihood = model.decoder.log_likelihood(grey_levels, z, None);
            total += mean(&download(q.kl_standard() - log_likelihood)?) / 64.0;
        }
        Ok(total)
    };
    Ok(Amortisation { own: elbo(&best)?, encoder: elbo(&start)? })
}
// ANCHOR_END: separate
