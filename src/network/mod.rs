//! What the networks of all chapters are made of.
//!
//! | module | holds |
//! |---|---|
//! | [`layers`] | linear layers, convolutions, norms, dropout, the features of a noise level, the residual block |
//! | [`unet`] | a convolutional network |
//! | [`trunk`] | the hidden layers of a denoiser, dense or convolutional, and a network of plain outputs |
//! | [`denoiser`] | the weights of the denoiser, labels, and how much of each curve its layers mix |

pub mod denoiser;
pub mod layers;
pub mod trunk;
pub mod unet;

pub use self::{
    denoiser::{Denoiser, mean_and_spread, one_hot},
    trunk::{Layers, Regressor, Trunk, TrunkConfig},
};
