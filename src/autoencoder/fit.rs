//! The training objective: -ELBO, with a weight on the KL term.

use burn::tensor::{Device, Tensor};

use super::model::{Autoencoder, Batch};
use crate::{
    data::Images,
    random::Stream,
    training::{SHARDS, Shard, Training},
};

/// How an autoencoder is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The optimizer.
    pub training: Training,
    /// Images in a batch, a multiple of [`SHARDS`].
    pub batch: usize,
    /// Steps over which the weight of the KL term rises from zero. Bowman et al. (2016),
    /// section 3.1.
    pub kl_warmup: usize,
    /// The weight after that. 1 makes the loss a bound; other values are for experiments.
    pub kl_weight: f64,
}

impl AsRef<Training> for Fit {
    fn as_ref(&self) -> &Training {
        &self.training
    }
}

impl Fit {
    // ANCHOR: settings
    /// The settings of chapters 3 and 4, chosen on the validation images.
    pub fn new(steps: usize, weight_decay: f64) -> Self {
        let training = Training {
            steps,
            learning_rate: 6e-3,
            // Until Adam has seen enough gradients to know their size.
            warmup: steps / 20,
            // Strong where images are few.
            weight_decay,
            // Shortens the rare step that would be too long.
            clip_norm: 1.0,
            // A memory of two hundred steps, of a few thousand.
            ema_decay: 0.995,
            ..Training::new(steps)
        };
        // At first the latents cost little, so that the decoder comes to use them.
        Self { training, batch: 64, kl_warmup: steps * 3 / 5, kl_weight: 1.0 }
    }
    // ANCHOR_END: settings

    // ANCHOR: loss
    /// The loss of one shard of a random batch: E[-log p(x|z)] + weight KL, in bits per
    /// dimension.
    pub fn loss<'a, M: Autoencoder>(
        &'a self,
        images: &'a Images,
        seed: u64,
        device: &Device,
    ) -> impl Fn(&M, Shard) -> Tensor<1> + Sync + use<'a, M> {
        let device = device.clone().autodiff();
        let bits_per_dim = 1.0 / (images.dim() as f64 * std::f64::consts::LN_2);
        move |model, shard| {
            let chosen = &mut shard.rng(seed, Stream::Batch);
            let images = images.sample(self.batch / SHARDS, chosen);
            let noise = &mut shard.rng(seed, Stream::Training);
            let dropout = &mut shard.rng(seed, Stream::Dropout);
            let terms = model.terms(&Batch::new(&images, &device), noise, Some(dropout));
            let risen = shard.step as f64 / (self.kl_warmup + 1) as f64;
            let weight = self.kl_weight * risen.min(1.0);
            let reconstruction = -terms.log_likelihood;
            let add = |loss, kl: Tensor<1>| loss + kl * weight;
            terms.kl.into_iter().fold(reconstruction, add).mean() * bits_per_dim
        }
    }
    // ANCHOR_END: loss
}
