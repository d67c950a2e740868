//! The three networks of the chapter, and how they are trained. The program ships their
//! weights; `--steps` trains them anew.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use elbo_to_diffusion::{
    chapter::{Chapter, Setting},
    data::Dataset,
    error::Result,
    network::one_hot,
    random::{Stream, normal, rng},
    training::{SHARDS, Shard, Training},
    vdm::{Denoiser, NoiseLevels, denoising_term, diffuse},
};
use rand::RngExt;

use crate::classifier::{Judge, NoisyClassifier};

/// Digits have ten classes.
pub const CLASSES: usize = 10;
/// How often a training step leaves the label out, p. As in Ho and Salimans (2022), who
/// find 0.1 and 0.2 about equally good.
const LEFT_OUT: f64 = 0.15;
/// The judge's weights start from another seed than those of what it judges.
const JUDGE_SEED: u64 = 1000;

/// The networks of the chapter.
#[derive(Module, Debug)]
pub struct Networks {
    /// The denoiser that takes a label, or none.
    pub denoiser: Denoiser,
    /// What guides a denoiser without a label.
    pub noisy: NoisyClassifier,
    /// What says which digit a sample shows.
    pub judge: Judge,
}

impl Networks {
    /// With fresh weights.
    pub fn new(data: &Dataset, setting: &Setting, seed: u64, device: &Device) -> Self {
        let (init, sizes) =
            (&mut rng(seed, Stream::Initialisation, 0), [data.train.dim(), CLASSES]);
        let denoiser = Denoiser::for_images(&data.train, setting.trunk, init, device);
        let other = &mut rng(seed.wrapping_add(JUDGE_SEED), Stream::Initialisation, 0);
        Self {
            denoiser: denoiser.with_labels(CLASSES, device),
            noisy: NoisyClassifier::new(setting.trunk, sizes, init, device),
            judge: Judge::new(sizes, other, device),
        }
    }
}

/// Trains all three, one after the other. Of 1000, 1800, 2500 and 4000 steps, the validation
/// images with their labels cost 1.98, 1.95, 1.95 and 1.99 bits/dim.
pub fn train(
    chapter: &mut Chapter,
    data: &Dataset,
    setting: &Setting,
    fresh: Networks,
) -> Result<Networks> {
    data.train.known_labels()?;
    Ok(Networks {
        denoiser: denoiser(chapter, data, setting, &fresh.denoiser)?,
        noisy: noisy(chapter, data, setting, &fresh.noisy)?,
        judge: judge(chapter, data, setting, &fresh.judge)?,
    })
}

/// Images of a batch's shard, x, `[n, d]`, and their labels, as far as they are known.
fn batch(
    data: &Dataset,
    shard: Shard,
    (n, shifted): (usize, f64),
    seed: u64,
    device: &Device,
) -> (Tensor<2>, Vec<Option<u8>>) {
    let drawn = &mut shard.rng(seed, Stream::Batch);
    let images = data.train.sample(n, drawn).shifted(shifted, drawn);
    let known = |labels: &[u8]| labels.iter().copied().map(Some).collect();
    let labels = images.labels().map_or_else(|| vec![None; n], known);
    (images.values(device), labels)
}

// ANCHOR: denoiser
/// Trains the denoiser as chapter 6 does, in continuous time, with the label of each image
/// but for a share of them.
fn denoiser(
    chapter: &mut Chapter,
    data: &Dataset,
    setting: &Setting,
    fresh: &Denoiser,
) -> Result<Denoiser> {
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    let n = setting.batch / SHARDS;
    let loss = |denoiser: &Denoiser, shard: Shard| {
        let (x, labels) = batch(data, shard, (n, setting.shifted), seed, &device);
        let drop = &mut shard.rng(seed, Stream::Labels);
        let kept = |label: Option<u8>| label.filter(|_| !drop.random_bool(LEFT_OUT));
        let told: Vec<Option<u8>> = labels.into_iter().map(kept).collect();
        let label = one_hot(&told, CLASSES, &device);
        let at = NoiseLevels::at(&setting.linear(), &shard.times(n, seed), &device);
        let eps = normal(x.dims(), &mut shard.rng(seed, Stream::Training), &device);
        let dropout = &mut shard.rng(seed, Stream::Dropout);
        let denoise =
            |z, gamma| denoiser.denoise_given(z, gamma, Some(label), Some(dropout));
        denoising_term(x, at, eps, denoise).mean() * data.bits_per_dim(1.0)
    };
    Ok(chapter.stage("denoiser", setting).train(fresh, loss)?.model)
}
// ANCHOR_END: denoiser

// ANCHOR: noisy
/// Trains the classifier that guides, on digits at all noise levels.
fn noisy(
    chapter: &mut Chapter,
    data: &Dataset,
    setting: &Setting,
    fresh: &NoisyClassifier,
) -> Result<NoisyClassifier> {
    let (seed, device) =
        (chapter.seed().wrapping_add(1), chapter.device.clone().autodiff());
    let n = setting.batch / SHARDS;
    let loss = |classifier: &NoisyClassifier, shard: Shard| {
        let (x, labels) = batch(data, shard, (n, 0.5), seed, &device);
        let at = NoiseLevels::at(&setting.linear(), &shard.times(n, seed), &device);
        let eps = normal(x.dims(), &mut shard.rng(seed, Stream::Training), &device);
        let z = diffuse(x, at.gamma.clone(), eps);
        let dropout = &mut shard.rng(seed, Stream::Dropout);
        cross_entropy(classifier.log_probs(z, at.gamma, Some(dropout)), &labels)
    };
    let training = classifier_training(setting);
    Ok(chapter.stage("noisy classifier", &training).train(fresh, loss)?.model)
}
// ANCHOR_END: noisy

/// Trains the judge, on clean digits.
fn judge(
    chapter: &mut Chapter,
    data: &Dataset,
    setting: &Setting,
    fresh: &Judge,
) -> Result<Judge> {
    let (seed, device) =
        (chapter.seed().wrapping_add(JUDGE_SEED), chapter.device.clone().autodiff());
    let loss = |judge: &Judge, shard: Shard| {
        let (x, labels) = batch(data, shard, (setting.batch / SHARDS, 0.5), seed, &device);
        let dropout = &mut shard.rng(seed, Stream::Dropout);
        cross_entropy(judge.log_probs(x, Some(dropout)), &labels)
    };
    let training = classifier_training(setting);
    Ok(chapter.stage("judge", &training).train(fresh, loss)?.model)
}

/// Half the steps of the denoiser, which has more to learn.
fn classifier_training(setting: &Setting) -> Training {
    let steps = (setting.training.steps / 2).max(1);
    Training { weight_decay: 0.05, ema_decay: 0.995, ..Training::new(steps) }
}

/// The mean of -log p(y) over the images.
fn cross_entropy(log_probs: Tensor<2>, labels: &[Option<u8>]) -> Tensor<1> {
    let chosen = log_probs.clone() * one_hot(labels, CLASSES, &log_probs.device());
    -chosen.sum() / labels.len() as f64
}
