//! Variational autoencoders: an encoder q(z|x), a decoder p(x|z), and the ELBO that trains
//! both.
//!
//! | module | holds |
//! |---|---|
//! | `size` | the size of a network |
//! | `convolution` | convolutional networks between an image and a few numbers |
//! | `network` | the networks that output a Gaussian, and a categorical distribution per pixel |
//! | `model` | what every autoencoder offers: the terms of its ELBO |
//! | `vae` | the autoencoder with one level of latents |
//! | `hierarchy` | the Markovian hierarchy z_1, ..., z_T |
//! | `fit` | the training objective |
//! | `estimate` | -ELBO and the importance-weighted bound of a set of images |
//!
//! Shapes: B images of d pixels with V grey levels; k latent dimensions. Everything is in
//! nats, one number per image.

mod convolution;
mod estimate;
mod fit;
mod hierarchy;
mod model;
mod network;
mod size;
#[cfg(test)]
mod tests;
mod vae;

pub use self::{
    estimate::{Importance, ImportanceWeighted, NegativeElbo},
    fit::Fit,
    hierarchy::{Hvae, HvaeConfig},
    model::{Autoencoder, Batch, Terms},
    network::{CategoricalDecoder, GaussianNetwork},
    size::Size,
    vae::Vae,
};
