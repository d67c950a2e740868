//! Masked diffusion: noise that hides pixels instead of blurring them. Austin et al. (2021);
//! Sahoo et al. (2024); Shi et al. (2024).
//!
//! | module | holds |
//! |---|---|
//! | [`process`] | the share of pixels that is kept, random masks, and how a masked pixel counts |
//! | [`network`] | the network that guesses masked pixels from those that are seen, in any order |
//! | [`sampler`] | unmasking, in as many steps as one likes |
//! | [`causal`] | a network that guesses pixels in one fixed order: an exact likelihood |
//!
//! An image has d pixels, each of V grey levels. What is seen of it is a list of
//! `Option<u8>`, in which a masked pixel is `None`. A chain of T steps is given by abar_0 =
//! 1, ..., abar_T = 0. All terms are in nats.

pub mod causal;
pub mod network;
pub mod process;
pub mod sampler;

pub use self::{
    causal::CausalNetwork,
    network::MaskedNetwork,
    process::{MaskSchedule, Masked, reveal_probability},
    sampler::{draw_level, unmask},
};
