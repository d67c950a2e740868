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
/// log p(x) = log int p(x|z) p(z) dz of each image, the integral as a sum over a grid of the latent plane.
pub fn log_evidence(model: &Vae, images: &Images, device: &Device) -> Result<Vec<f64>> {
    const POINTS: usize = 128;
    const RANGE: f32 = 5.0;
    let step = 2.0 * RANGE / POINTS as f32;
    let axis: Vec<f32> = (0..POINTS).map(|i| (i as f32 + 0.5) * step - RANGE).collect();
    // log p(x | z) of all images and one row of the grid is a matrix product, [n, d K] x [d K, points].
    let one_hot = images.levels(device).one_hot::<3>(images.level_count()).float().flatten::<2>(1, 2);
    let mut total = vec![f64::NEG_INFINITY; images.len()];
    for &z_2 in &axis {
        let z: Vec<f32> = axis.iter().flat_map(|&z_1| [z_1, z_2]).collect();
        let z = Tensor::<2>::from_data(TensorData::new(z, [POINTS, 2]), device);
        let log_prior = DiagonalGaussian::standard(&z).log_prob(z.clone()) + (step * step).ln();
        let log_probs = model.decoder.log_probs(z, None).flatten::<2>(1, 2);
        let log_joint = one_hot.clone().matmul(log_probs.transpose()) + log_prior.unsqueeze::<2>();
        for (total, row) in total.iter_mut().zip(download(log_joint)?.chunks(POINTS)) {
            *total = log_sum_exp(&[*total, log_sum_exp(row)]);
        }
    }
    Ok(total)
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
pub fn one_posterior_per_image(chapter: &mut Chapter, model: &Vae, images: &Images) -> Result<(f64, f64)> {
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    let part = images.len() / SHARDS;
    let batches: Vec<Batch> =
        (0..SHARDS).map(|i| Batch::new(&images.range(i * part, (i + 1) * part), &device)).collect();
    let decoder = model.decoder.clone().train().no_grad();
    let start = model.encoder.given(images.values(&chapter.device), None);
    let leaf = |tensor: &Tensor<2>| Param::from_tensor(Tensor::from_data(tensor.to_data(), &device));
    let separate = Separate { mean: leaf(&start.mean), log_var: leaf(&start.log_var) };
    let loss = |q: &Separate, shard: Shard| {
        let rows = |tensor: Tensor<2>| tensor.narrow(0, shard.index * part, part);
        let q = DiagonalGaussian { mean: rows(q.mean.val()), log_var: rows(q.log_var.val()) };
        let z = q.rsample(normal(q.mean.dims(), &mut shard.rng(seed, Stream::Training), &device));
        let log_likelihood = decoder.log_likelihood(batches[shard.index].level.clone(), z, None);
        (q.kl_standard() - log_likelihood).mean()
    };
    let training =
        Training { steps: 300, learning_rate: 0.05, warmup: 1, weight_decay: 0.0, clip_norm: 1e3, ema_decay: 0.95 };
    let best = chapter.train("a q for each image", &training, &separate, loss)?.model;
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
