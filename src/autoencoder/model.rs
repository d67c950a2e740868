//! What every autoencoder offers: the terms of its ELBO, and the weights of its draws.

use burn::{
    module::Module,
    tensor::{Device, Int, Tensor},
};
use rand_chacha::ChaCha8Rng;

use crate::data::Images;

/// Images on the device.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Pixel values x, `[B, d]`.
    pub x: Tensor<2>,
    /// Index of each pixel's grey level, `[B, d]`.
    pub grey_levels: Tensor<2, Int>,
}

impl Batch {
    /// These images.
    pub fn new(images: &Images, device: &Device) -> Self {
        Self { x: images.values(device), grey_levels: images.grey_levels(device) }
    }
}

/// The terms of the ELBO for one draw of the latents of each image.
#[derive(Clone, Debug)]
pub struct Terms {
    /// log p(x | z_1), `[B]`.
    pub log_likelihood: Tensor<1>,
    /// What each level of latents subtracts, z_1 first, `[B]` each. Their sum estimates
    /// KL(q(z_1..z_T | x) || p(z_1..z_T)).
    pub kl: Vec<Tensor<1>>,
}

/// A latent-variable model with an encoder, whose ELBO can be estimated and differentiated.
pub trait Autoencoder: Module + Sync {
    /// The terms of the ELBO for latents drawn from the encoder with `noise`. With a second
    /// generator, units are dropped out (training).
    fn terms(
        &self,
        batch: &Batch,
        noise: &mut ChaCha8Rng,
        dropout: Option<&mut ChaCha8Rng>,
    ) -> Terms;

    /// log p(x, z) - log q(z | x) for `count` independent draws of z from the encoder,
    /// `[B]` each. Their mean is the ELBO, and the mean of their exponential is p(x).
    fn log_weights(
        &self,
        batch: &Batch,
        count: usize,
        noise: &mut ChaCha8Rng,
    ) -> Vec<Tensor<1>>;
}
