//! Generators for what the chapter draws beside the bounds.

use elbo_to_diffusion::random::{Stream, rng};
use rand_chacha::ChaCha8Rng;

/// What is drawn. The bounds take the steps of the same stream from 0 on, one for each
/// group of images.
pub enum Purpose {
    /// Hierarchies that can be solved, and their data.
    Hierarchies = 1000,
    /// Paths up the trained hierarchy.
    Paths = 2000,
}

/// The generator for this purpose.
pub fn noise(seed: u64, purpose: Purpose) -> ChaCha8Rng {
    rng(seed, Stream::Evaluation, purpose as u64)
}
