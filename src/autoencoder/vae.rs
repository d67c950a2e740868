//! The variational autoencoder: one level of latents.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{Autoencoder, Batch, CategoricalDecoder, GaussianNetwork, Size, Terms};
use crate::{data::Images, gaussian::DiagonalGaussian, random::normal};

// ANCHOR: vae
/// p(z) = N(0, I), p(x|z) by a decoder, q(z|x) by an encoder. Kingma and Welling (2014).
#[derive(Module, Debug)]
pub struct Vae {
    /// q(z | x).
    pub encoder: GaussianNetwork,
    /// p(x | z).
    pub decoder: CategoricalDecoder,
}
// ANCHOR_END: vae

impl Vae {
    /// A model of images like those of `train`, with k latent dimensions and fresh weights.
    pub fn new(train: &Images, k: usize, sizes: [Size; 2], rng: &mut impl Rng, device: &Device) -> Self {
        Self {
            encoder: GaussianNetwork::new(train.dim(), k, sizes[0], rng, device),
            decoder: CategoricalDecoder::new(k, train, sizes[1], rng, device),
        }
    }
}

impl Autoencoder for Vae {
    // ANCHOR: terms
    fn terms(&self, batch: &Batch, noise: &mut ChaCha8Rng, mut dropout: Option<&mut ChaCha8Rng>) -> Terms {
        let q = self.encoder.given(batch.x.clone(), dropout.as_deref_mut());
        let z = q.rsample(normal(q.mean.dims(), noise, &batch.x.device()));
        let log_likelihood = self.decoder.log_likelihood(batch.level.clone(), z, dropout);
        Terms { log_likelihood, kl: vec![q.kl_standard()] }
    }
    // ANCHOR_END: terms

    fn log_weight(&self, batch: &Batch, noise: &mut ChaCha8Rng) -> Tensor<1> {
        let q = self.encoder.given(batch.x.clone(), None);
        let z = q.rsample(normal(q.mean.dims(), noise, &batch.x.device()));
        let log_ratio = q.log_prob(z.clone()) - DiagonalGaussian::standard(&z).log_prob(z.clone());
        self.decoder.log_likelihood(batch.level.clone(), z, None) - log_ratio
    }
}
