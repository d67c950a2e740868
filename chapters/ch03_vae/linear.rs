//! A VAE whose best ELBO is known.

use burn::tensor::Tensor;
use elbo_to_diffusion::{
    autoencoder::LinearVae,
    chapter::{Chapter, Number},
    data::{Dataset, Images},
    error::Result,
    oracle::{Matrix, Vector, linear_gaussian::ppca_log_likelihood},
    random::{Stream, rng},
    training::{SHARDS, Shard, Training},
};

// ANCHOR: linear_vae
/// Trains a linear VAE with 2 latents on the pixel values; its best ELBO is the likelihood of probabilistic PCA.
pub fn linear_vae(chapter: &mut Chapter, data: &Dataset) -> Result<()> {
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    let half = data.train.len() / SHARDS;
    let halves: Vec<Tensor<2>> =
        (0..SHARDS).map(|i| data.train.range(i * half, (i + 1) * half).values(&device)).collect();
    let loss = |model: &LinearVae, shard: Shard| {
        -model.elbo(halves[shard.index].clone(), &mut shard.rng(seed, Stream::Training)).mean()
    };
    let training =
        Training { steps: 1500, learning_rate: 0.01, warmup: 75, weight_decay: 0.0, clip_norm: 1e3, ema_decay: 0.995 };
    let init = &mut rng(seed, Stream::Initialisation, 0);
    let fresh = LinearVae::new(data.train.dim(), 2, init, &device);
    let model = chapter.stage("linear VAE", &training).train(&fresh, loss)?.model;
    let (elbo, kl) = model.exact_elbo(&data.train)?;

    let covariance = covariance(&data.train);
    let exact = ppca_log_likelihood(&covariance, 2)?;
    let report = &mut chapter.report;
    report.section("Linear VAE");
    report.row("trained, ELBO", &Number::within(elbo, 0.01, 3), "nats");
    report.row("probabilistic PCA, log p(x)", &Number::exact(exact, 3), "nats");
    report.row("gap", &Number::within(exact - elbo, 0.001, 4), "nats");
    report.row("KL, both latents", &Number::within(kl.iter().sum(), 0.05, 2), "nats");
    Ok(())
}
// ANCHOR_END: linear_vae

/// The covariance of the pixel values, [d, d].
fn covariance(images: &Images) -> Matrix {
    let (n, values) = (images.len() as f64, images.level_values());
    let value = |&level: &u8| values[usize::from(level)];
    let images: Vec<Vector> =
        images.iter().map(|image| Vector::from_iterator(image.len(), image.iter().map(value))).collect();
    let mean = images.iter().sum::<Vector>() / n;
    images.iter().map(|x| (x - &mean) * (x - &mean).transpose()).sum::<Matrix>() / n
}
