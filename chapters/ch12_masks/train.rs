//! How both networks are trained.

use elbo_to_diffusion::{
    chapter::{Chapter, Setting},
    data::{Images, bits_per_dim},
    error::Result,
    host::upload,
    masks::{CausalNetwork, Masked, MaskedNetwork, process::random_order},
    network::TrunkConfig,
    random::Stream,
    training::{SHARDS, Shard, Training},
};
use rand::RngExt;

// ANCHOR: masked
/// Trains a copy of the masked network.
pub fn masked(
    chapter: &mut Chapter,
    images: &Images,
    setting: &Setting,
    fresh: &MaskedNetwork,
) -> Result<MaskedNetwork> {
    let (seed, device, d) =
        (chapter.seed(), chapter.device.clone().autodiff(), images.dim());
    let loss = |network: &MaskedNetwork, shard: Shard| {
        let n = setting.batch / SHARDS;
        let batch = shard.rng(seed, Stream::Batch);
        let mut batch_rng = batch;
        let drawn =
            images.sample(n, &mut batch_rng).shifted(setting.shifted, &mut batch_rng);
        let masks = &mut shard.rng(seed, Stream::Masks);
        // How many pixels of each image are masked: spread evenly over 1..=d. Which ones:
        // any. Equation `any-order`.
        let counts: Vec<usize> =
            shard.times(n, seed).iter().map(|t| 1 + (t * d as f64) as usize).collect();
        let mut masked = Masked::default();
        for (image, count) in drawn.iter().zip(&counts) {
            masked.push(image, &random_order(d, masks)[..*count]);
        }
        let weights = upload(counts.iter().map(|n| d as f64 / *n as f64), &device);
        let dropout = &mut shard.rng(seed, Stream::Dropout);
        (network.cost(&masked, Some(dropout)) * weights).mean() * bits_per_dim(1.0, d)
    };
    Ok(chapter.stage("masked network", setting).train(fresh, loss)?.model)
}
// ANCHOR_END: masked

/// The hidden layers of the causal network.
pub fn causal_trunk(trunk: TrunkConfig) -> TrunkConfig {
    let var = |name: &str, default: f64| {
        std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
    };
    TrunkConfig {
        dropout: var("CD", 0.4),
        hidden: var("CH", trunk.hidden as f64) as usize,
        blocks: var("CB", 2.0) as usize,
        ..trunk
    }
}

// ANCHOR: causal
/// Trains a copy of the causal network on pixels drawn from all images.
pub fn causal(
    chapter: &mut Chapter,
    images: &Images,
    setting: &Setting,
    fresh: &CausalNetwork,
) -> Result<CausalNetwork> {
    let (seed, d) = (chapter.seed(), images.dim());
    let var = |name: &str, default: f64| {
        std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
    };
    let rows = var("CR", 1024.0) as usize;
    let training = Training {
        steps: var("CS", 400.0) as usize,
        learning_rate: var("CL", 2e-3),
        ema_decay: var("CE", 0.99),
        weight_decay: var("CW", 0.01),
        ..setting.training.clone()
    };
    let training = Training { warmup: training.steps * 15 / 100, ..training };
    let loss = |network: &CausalNetwork, shard: Shard| {
        let rng = &mut shard.rng(seed, Stream::Batch);
        let places: Vec<_> = (0..rows / SHARDS)
            .map(|_| {
                (images.image(rng.random_range(0..images.len())), rng.random_range(0..d))
            })
            .collect();
        let dropout = &mut shard.rng(seed, Stream::Dropout);
        network.cost(&places, Some(dropout)).mean() * bits_per_dim(d as f64, d)
    };
    Ok(chapter.stage("causal network", &training).train(fresh, loss)?.model)
}
// ANCHOR_END: causal
