//! What the bound leaves out: the exact evidence in the plane, and the price of one encoder for all images.

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

use super::mean;

// ANCHOR: evidence
/// The posterior of an image in the latent plane, as a grid shows it.
#[derive(Clone, Copy)]
pub struct Posterior {
    /// log p(x) = log int p(x|z) p(z) dz, the integral as a sum over the grid.
    pub log_evidence: f64,
    /// The most likely point of the grid and the log of p(x|z) p(z) there, times the area of a cell.
    mode: ([f32; 2], f64),
}

/// The posterior of each image.
pub fn posteriors(model: &Vae, images: &Images, device: &Device) -> Result<Vec<Posterior>> {
    const POINTS: usize = 128;
    const RANGE: f32 = 5.0;
    let step = 2.0 * RANGE / POINTS as f32;
    let axis: Vec<f32> = (0..POINTS).map(|i| (i as f32 + 0.5) * step - RANGE).collect();
    // log p(x | z) of all images and one row of the grid is a matrix product, [n, d K] x [d K, points].
    let one_hot = images.levels(device).one_hot::<3>(images.level_count()).float().flatten::<2>(1, 2);
    let nothing = Posterior { log_evidence: f64::NEG_INFINITY, mode: ([0.0; 2], f64::NEG_INFINITY) };
    let mut posteriors = vec![nothing; images.len()];
    for &z_2 in &axis {
        let z: Vec<f32> = axis.iter().flat_map(|&z_1| [z_1, z_2]).collect();
        let z = Tensor::<2>::from_data(TensorData::new(z, [POINTS, 2]), device);
        let log_prior = DiagonalGaussian::standard(&z).log_prob(z.clone()) + (step * step).ln();
        let log_probs = model.decoder.log_probs(z, None).flatten::<2>(1, 2);
        let log_joint = one_hot.clone().matmul(log_probs.transpose()) + log_prior.unsqueeze::<2>();
        for (posterior, row) in posteriors.iter_mut().zip(download(log_joint)?.chunks(POINTS)) {
            posterior.log_evidence = log_sum_exp(&[posterior.log_evidence, log_sum_exp(row)]);
            for (&z_1, &log_joint) in axis.iter().zip(row) {
                if log_joint > posterior.mode.1 {
                    posterior.mode = ([z_1, z_2], log_joint);
                }
            }
        }
    }
    Ok(posteriors)
}
// ANCHOR_END: evidence

// ANCHOR: separate
/// A mean and a log variance of its own for each image, instead of an encoder.
#[derive(Module, Debug)]
struct Separate {
    mean: Param<Tensor<2>>,
    log_var: Param<Tensor<2>>,
}

/// -ELBO in nats with the best diagonal Gaussian for each image, and with the encoder's.
///
/// The search starts at the mode of the posterior. From the encoder's mean it would end in whatever place of the plane the
/// encoder has jumped to.
pub fn one_posterior_per_image(
    chapter: &mut Chapter,
    model: &Vae,
    images: &Images,
    posteriors: &[Posterior],
) -> Result<(f64, f64)> {
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    let ends = |i: usize| (i * images.len() / SHARDS, (i + 1) * images.len() / SHARDS);
    let batches: Vec<Batch> =
        (0..SHARDS).map(ends).map(|(from, to)| Batch::new(&images.range(from, to), &device)).collect();
    let decoder = model.decoder.clone().train().no_grad();
    let start = model.encoder.given(images.values(&chapter.device), None);
    let leaf = |tensor: &Tensor<2>| Param::from_tensor(Tensor::from_data(tensor.to_data(), &device));
    let modes: Vec<f32> = posteriors.iter().flat_map(|posterior| posterior.mode.0).collect();
    let modes = Tensor::from_data(TensorData::new(modes, start.mean.shape()), &chapter.device);
    let separate = Separate { mean: leaf(&modes), log_var: leaf(&start.log_var) };
    let loss = |q: &Separate, shard: Shard| {
        let (from, to) = ends(shard.index);
        let rows = |tensor: Tensor<2>| tensor.narrow(0, from, to - from);
        let q = DiagonalGaussian { mean: rows(q.mean.val()), log_var: rows(q.log_var.val()) };
        let z = q.rsample(normal(q.mean.dims(), &mut shard.rng(seed, Stream::Training), &device));
        let log_likelihood = decoder.log_likelihood(batches[shard.index].level.clone(), z, None);
        (q.kl_standard() - log_likelihood).mean()
    };
    let training =
        Training { steps: 300, learning_rate: 0.05, warmup: 1, weight_decay: 0.0, clip_norm: 1e3, ema_decay: 0.95 };
    let best = chapter.stage("a q for each image", &training).train(&separate, loss)?.model;
    let best = DiagonalGaussian { mean: best.mean.val(), log_var: best.log_var.val() };
    let batch = Batch::new(images, &chapter.device);
    let elbo = |q: &DiagonalGaussian| -> Result<f64> {
        let noise = &mut rng(seed, Stream::Evaluation, 1000);
        let mut total = 0.0;
        for _ in 0..64 {
            let z = q.rsample(normal(q.mean.dims(), noise, &chapter.device));
            let log_likelihood = model.decoder.log_likelihood(batch.level.clone(), z, None);
            total += mean(&download(q.kl_standard() - log_likelihood)?) / 64.0;
        }
        Ok(total)
    };
    Ok((elbo(&best)?, elbo(&start)?))
}
// ANCHOR_END: separate
