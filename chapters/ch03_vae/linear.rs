//! A VAE whose best ELBO is known.

use burn::tensor::Tensor;
use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    data::{Dataset, Images},
    error::Result,
    oracle::{Matrix, Vector, linear_gaussian::ppca_log_likelihood},
    random::{Stream, rng},
    training::{SHARDS, Shard, Training},
};

use super::linear_vae::{ExactElbo, LinearVae};

/// A trained linear VAE, and what it could be at best; in nats.
pub struct Linear {
    trained: ExactElbo,
    /// The mean of log p(x) of probabilistic PCA.
    best: f64,
}

// ANCHOR: linear_vae
/// Trains a linear VAE with 2 latents on the pixel values; its best ELBO is the
/// likelihood of probabilistic PCA.
pub fn compare(chapter: &mut Chapter, data: &Dataset) -> Result<Linear> {
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    let half = data.train.len() / SHARDS;
    let images = |shard: usize| data.train.range(shard * half, (shard + 1) * half);
    let values = |shard: usize| images(shard).values(&device);
    let halves: Vec<Tensor<2>> = (0..SHARDS).map(values).collect();
    let loss = |model: &LinearVae, shard: Shard| {
        let noise = &mut shard.rng(seed, Stream::Training);
        -model.elbo(halves[shard.index].clone(), noise).mean()
    };
    let training = Training {
        steps: 1500,
        learning_rate: 0.01,
        warmup: 75,
        weight_decay: 0.0,
        clip_norm: 1e3, // as good as none
        ema_decay: 0.995,
        muon: false,
    };
    let init = &mut rng(seed, Stream::Initialisation, 0);
    let fresh = LinearVae::new(data.train.dim(), 2, init, &device);
    let model = chapter.stage("linear VAE", &training).train(&fresh, loss)?.model;
    let best = ppca_log_likelihood(&covariance(&data.train), 2)?;
    Ok(Linear { trained: model.exact_elbo(&data.train)?, best })
}
// ANCHOR_END: linear_vae

/// The covariance of the pixel values, `[d, d]`.
fn covariance(images: &Images) -> Matrix {
    let (n, values) = (images.len() as f64, images.grey_values());
    let value = |&v: &u8| values[usize::from(v)];
    let images: Vec<Vector> = images
        .iter()
        .map(|image| Vector::from_iterator(image.len(), image.iter().map(value)))
        .collect();
    let mean = images.iter().sum::<Vector>() / n;
    images.iter().map(|x| (x - &mean) * (x - &mean).transpose()).sum::<Matrix>() / n
}

/// Prints both.
pub fn report(chapter: &mut Chapter, Linear { trained, best }: &Linear) {
    let report = &mut chapter.report;
    report.section("Linear VAE");
    report.row("trained, ELBO", &Number::within(trained.elbo, 0.01, 3), "nats");
    report.row("probabilistic PCA, log p(x)", &Number::exact(*best, 3), "nats");
    report.row("gap", &Number::within(best - trained.elbo, 0.001, 4), "nats");
    report.row(
        "KL, both latents",
        &Number::within(trained.kl.iter().sum(), 0.05, 2),
        "nats",
    );
}
