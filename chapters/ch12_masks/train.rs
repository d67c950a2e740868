//! How both networks are trained.

use elbo_to_diffusion::{
    chapter::{Chapter, DataChoice, Preset, Setting},
    data::{Images, bits_per_dim},
    error::Result,
    host::upload,
    masks::{CausalNetwork, Masked, MaskedNetwork, process::random_order},
    network::TrunkConfig,
    random::Stream,
    training::{SHARDS, Shard, Training},
};
use rand::RngExt;

use crate::pixels::Pixels;

/// Trains a copy of the masked network.
pub fn masked(
    chapter: &mut Chapter,
    images: &Images,
    setting: &Setting,
    fresh: &MaskedNetwork,
) -> Result<MaskedNetwork> {
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    let (n, d) = (setting.batch / SHARDS, images.dim());
    // ANCHOR: loss
    let loss = |network: &MaskedNetwork, shard: Shard| {
        let batch = &mut shard.rng(seed, Stream::Batch);
        let drawn = images.sample(n, batch).shifted(setting.shifted, batch);
        // How many pixels of each image are masked, spread evenly over 1..=d; which ones is
        // left to chance. Equation `mask-profile`.
        let counts: Vec<usize> =
            shard.times(n, seed).iter().map(|t| 1 + (t * d as f64) as usize).collect();
        let (mut masked, masks) = (Masked::default(), &mut shard.rng(seed, Stream::Masks));
        for (image, count) in drawn.iter().zip(&counts) {
            masked.push(image, &random_order(d, masks)[..*count]);
        }
        let weights = upload(counts.iter().map(|n| d as f64 / *n as f64), &device);
        let dropout = &mut shard.rng(seed, Stream::Dropout);
        (network.cost(&masked, Some(dropout)) * weights).mean() * bits_per_dim(1.0, d)
    };
    // ANCHOR_END: loss
    Ok(chapter.stage("masked network", setting).train(fresh, loss)?.model)
}

/// The causal network, and how it is trained.
#[derive(Clone, Debug)]
pub struct Causal {
    pub trunk: TrunkConfig,
    training: Training,
    /// Pixels in a batch.
    pixels: usize,
}

impl AsRef<Training> for Causal {
    fn as_ref(&self) -> &Training {
        &self.training
    }
}

impl Causal {
    /// What to train, beside a masked network with this setting: at most `--steps` steps.
    ///
    /// On the digits, learning rate, dropout and batch lie among the best of some ten
    /// settings that were tried on the validation images. More was not better there: a
    /// wider network and a longer run, on moved digits, ended above the quick preset. On
    /// MNIST, after 500 steps, 500 validation images cost 1.100 bits/dim with a learning
    /// rate of 2e-3, 1.092 with 5e-3, and 1.081 with pixels drawn by their entropy.
    pub fn setting(chapter: &mut Chapter, setting: &Setting) -> Self {
        let trunk = setting.trunk;
        let (steps, pixels, trunk) = match (chapter.preset(), chapter.data()) {
            (Preset::Quick, _) => (450, 1024, TrunkConfig { dropout: 0.3, ..trunk }),
            (Preset::Full, DataChoice::Digits) => {
                (900, 1024, TrunkConfig { hidden: 192, blocks: 2, dropout: 0.5, ..trunk })
            }
            (Preset::Full, DataChoice::Mnist) => {
                (6000, 4096, TrunkConfig { hidden: 320, blocks: 2, dropout: 0.0, ..trunk })
            }
        };
        // On the digits the steps that are counted are those of the masked network.
        let steps = match chapter.data() {
            DataChoice::Digits => chapter.args.steps.map_or(steps, |n| n.min(steps)),
            DataChoice::Mnist => chapter.steps(steps),
        };
        let training = Training { ema_decay: 0.99, ..Training::new(steps) };
        let training = match chapter.data() {
            DataChoice::Digits => Training { learning_rate: 5e-3, ..training },
            DataChoice::Mnist => {
                Training { learning_rate: 4e-3, warmup: steps / 12, ..training }
            }
        };
        Self { trunk, training, pixels }
    }
}

/// Trains a copy of the causal network on pixels drawn from all images.
pub fn causal(
    chapter: &mut Chapter,
    images: &Images,
    setting: &Causal,
    fresh: &CausalNetwork,
) -> Result<CausalNetwork> {
    let (seed, d) = (chapter.seed(), images.dim());
    let device = chapter.device.clone().autodiff();
    let pixels = match chapter.data() {
        DataChoice::Digits => Pixels::alike(d),
        // Most pixels of MNIST cost next to nothing.
        DataChoice::Mnist => Pixels::by_entropy(images, 0.25),
    };
    // ANCHOR: causal_loss
    let loss = |network: &CausalNetwork, shard: Shard| {
        let batch = &mut shard.rng(seed, Stream::Batch);
        let mut place = || {
            let image = batch.random_range(0..images.len());
            let (pixel, weight) = pixels.draw(batch);
            ((images.image(image), pixel), weight)
        };
        let (places, weights): (Vec<_>, Vec<f64>) =
            (0..setting.pixels / SHARDS).map(|_| place()).unzip();
        let dropout = &mut shard.rng(seed, Stream::Dropout);
        let cost = network.cost(&places, Some(dropout)) * upload(weights, &device);
        cost.mean() * bits_per_dim(d as f64, d)
    };
    // ANCHOR_END: causal_loss
    Ok(chapter.stage("causal network", setting).train(fresh, loss)?.model)
}
