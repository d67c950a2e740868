//! Generators for what the chapter draws beside the bounds.

use elbo_to_diffusion::random::{Stream, rng};
use rand_chacha::ChaCha8Rng;

/// What is drawn. The bounds take the steps of the same stream from 0 on, one for each
/// group of images.
pub enum Purpose {
    /// Latents of the posteriors that images have of their own.
    OwnPosteriors = 1000,
    /// Estimates of the gradients of simple functions.
    SimpleGradients = 2000,
    /// Estimates of the decoder's gradients.
    DecoderGradients = 3000,
}

/// The generator for this purpose.
pub fn noise(seed: u64, purpose: Purpose) -> ChaCha8Rng {
    rng(seed, Stream::Evaluation, purpose as u64)
}
