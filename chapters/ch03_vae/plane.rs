//! The model with 2 latents.

use elbo_to_diffusion::autoencoder::{Fit, Size};

/// Its encoder and its decoder.
pub const SIZES: [Size; 2] = [
    Size { hidden: 128, blocks: 1, dropout: 0.0 },
    Size { hidden: 128, blocks: 1, dropout: 0.2 },
];

/// How it is trained, where the model with 16 latents gets so many steps.
pub fn fit(steps: usize) -> Fit {
    let mut fit = Fit::new((steps * 5 / 8).max(1), 0.5);
    // With larger steps, rounding decides where in the plane a digit comes to lie.
    fit.training.learning_rate = 2e-3;
    fit
}
