//! The variational autoencoder: one level of latents.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{
    model::{Autoencoder, Batch, Terms},
    network::{CategoricalDecoder, GaussianNetwork},
    size::Size,
};
use crate::{data::Images, gaussian::DiagonalGaussian, random::normal};

// ANCHOR: vae
/// p(z) = N(0, I), p(x|z) by a decoder, q(z|x) by an encoder. Kingma and Welling
/// (2014).
#[derive(Module, Debug)]
pub struct Vae {
    /// q(z | x).
    pub encoder: GaussianNetwork,
    /// p(x | z).
    pub decoder: CategoricalDecoder,
}
// ANCHOR_END: vae

impl Vae {
    // ANCHOR: sizes
    /// Encoder and decoder of the book's VAE with 16 latents.
    pub const SIZES: [Size; 2] = [
        Size { hidden: 128, blocks: 1, dropout: 0.0 }, // q(z | x)
        Size { hidden: 128, blocks: 0, dropout: 0.1 }, // p(x | z)
    ];
    // ANCHOR_END: sizes

    /// A model of images like those of `train`, with k latent dimensions and fresh weights.
    pub fn new(
        train: &Images,
        k: usize,
        sizes: [Size; 2],
        rng: &mut impl Rng,
        device: &Device,
    ) -> Self {
        Self {
            encoder: GaussianNetwork::new(train.dim(), k, sizes[0], rng, device),
            decoder: CategoricalDecoder::new(k, train, sizes[1], rng, device),
        }
    }
}

impl Autoencoder for Vae {
    // ANCHOR: terms
    fn terms(
        &self,
        batch: &Batch,
        noise: &mut ChaCha8Rng,
        mut dropout: Option<&mut ChaCha8Rng>, // for training
    ) -> Terms {
        let q = self.encoder.given(batch.x.clone(), dropout.as_deref_mut());
        let z = q.rsample(normal(q.mean.dims(), noise, &batch.x.device()));
        let grey_levels = batch.grey_levels.clone();
        let log_likelihood = self.decoder.log_likelihood(grey_levels, z, dropout);
        Terms { log_likelihood, kl: vec![q.kl_standard()] }
    }
    // ANCHOR_END: terms

    // ANCHOR: log_weights
    fn log_weights(
        &self,
        batch: &Batch,
        count: usize, // K
        noise: &mut ChaCha8Rng,
    ) -> Vec<Tensor<1>> {
        let q = self.encoder.given(batch.x.clone(), None);
        let draw = |_| {
            let z = q.rsample(normal(q.mean.dims(), noise, &batch.x.device()));
            let prior = DiagonalGaussian::standard(&z);
            let log_ratio = q.log_prob(z.clone()) - prior.log_prob(z.clone());
            self.decoder.log_likelihood(batch.grey_levels.clone(), z, None) - log_ratio
        };
        (0..count).map(draw).collect()
    }
    // ANCHOR_END: log_weights
}
