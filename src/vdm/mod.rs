//! A variational diffusion model, in the order of its paper: Kingma, Salimans, Poole and Ho
//! (2021).
//!
//! | module | holds |
//! |---|---|
//! | [`schedule`] | gamma(t) = -log SNR(t), fixed or learned |
//! | [`process`] | q(z_t given x), q(z_s given z_t and x), and how an error counts at each noise level |
//! | [`terms`] | the three terms of the bound |
//! | [`denoiser`] | the posterior of each pixel on its own, and how a network corrects it |
//! | [`parameterization`] | x, eps, score and v: conversions |
//! | [`sampler`] | ancestral sampling, and reading the data off the first latent |
//!
//! Data x has d dimensions, the latents z_1, ..., z_T have as many. Scalars of one noise
//! level are f64 on the host; tensors are `[B, d]`, with one gamma per row, `[B]`. All
//! terms are in nats, summed over dimensions, one per row. A grey image has V grey levels
//! with the values x_k.

pub mod denoiser;
pub mod parameterization;
pub mod process;
pub mod sampler;
pub mod schedule;
pub mod terms;

pub use self::{
    denoiser::Denoiser,
    parameterization::Parameterization,
    process::{ForwardPosterior, NoiseLevels, diffuse},
    sampler::{ancestral, decode},
    schedule::{Cosine, Learned, Linear, Monotone, Schedule, signal_power},
    terms::denoising_term,
};
