//! *From ELBO to Diffusion*: the library behind the book.
//!
//! The modules, from the bottom up; each knows only those above it in this list:
//!
//! | module | holds |
//! |---|---|
//! | [`oracle`] | exact answers in f64, for programs and tests |
//! | [`error`] | the one error type |
//! | [`host`] | numbers between host and device |
//! | [`progress`] | how far long work is, for whoever listens |
//! | [`kernels`] | linear layers, convolutions, SiLU, RMS norm, softmax, the levels of a pixel and AdamW on the CPU |
//! | [`random`] | host randomness, one stream per purpose |
//! | [`data`] | the data sets |
//! | [`gaussian`] | diagonal Gaussians: log density, sample, KL |
//! | [`network`] | what networks are made of |
//! | [`vdm`] | **the variational diffusion model: schedule, process, terms of the bound, denoiser, sampler** |
//! | [`flow`] | diffusion in continuous time: the flow, its solvers, its likelihood |
//! | [`masks`] | masked diffusion: masks, the network of any order, unmasking; a causal network |
//! | [`evaluation`] | estimates on a set of images, on all threads, compared in pairs |
//! | [`optimizer`] | AdamW, Muon for convolutions, and the average of the weights |
//! | [`training`] | the training loop |
//! | [`autoencoder`] | variational autoencoders: one level of latents, and a hierarchy |
//! | [`codec`] | a chain of latents as a lossless code: bits back |
//! | [`weights`] | trained weights as safetensors files |
//! | [`checkpoint`] | the state of a run in files |
//! | [`figure`] | figures as SVG |
//! | [`chapter`] | what all programs share: arguments, device, report |
//!
//! # Notation
//!
//! | here | on the page | meaning |
//! |---|---|---|
//! | `x` | x | data, `[B, d]` |
//! | `z` | z_t | latent at time t, `[B, d]` |
//! | `eps`, `eps_hat` | ε, ε̂ | Gaussian noise, and its estimate |
//! | `x_hat` | x̂ | estimate of x from z_t |
//! | `alpha` | α_t | signal power kept in one step |
//! | `abar` | ᾱ_t | signal power kept since the data |
//! | `gamma` | γ_t | -log SNR(t), where SNR = ᾱ / (1 - ᾱ) |
//! | `s < t` | s < t | two times of the chain |
//!
//! Discrete chains count t = 1..T, with the data before t = 1; continuous time runs over
//! [0, 1]. Everything is in nats inside, and in bits per dimension in reports. Shapes: B
//! batch, d pixels, V grey levels.

// What the tests of this crate share with those in tests/ calls it by its name.
#[cfg(test)]
extern crate self as elbo_to_diffusion;
// A page has one thread.
#[cfg(target_family = "wasm")]
extern crate book_lab_rayon as rayon;

pub mod autoencoder;
pub mod chapter;
pub mod checkpoint;
pub mod codec;
pub mod data;
pub mod error;
pub mod evaluation;
pub mod figure;
mod files;
pub mod flow;
pub mod gaussian;
pub mod host;
#[cfg(not(target_family = "wasm"))]
pub mod kernels;
pub mod masks;
pub mod network;
pub mod optimizer;
pub mod oracle;
pub mod progress;
pub mod random;
pub mod training;
pub mod vdm;
pub mod weights;

// The same files, which for a page are compiled by themselves, for speed.
#[cfg(target_family = "wasm")]
pub use book_lab_kernels as kernels;
