//! Bits back: a chain of latents as a lossless code.
//!
//! | module | holds |
//! |---|---|
//! | `quantized` | probabilities as whole numbers: of grey levels, and of Gaussians in bins |
//! | `stack` | the stack of bits, with pops whose symbols are put back later |
//! | `chain` | a chain x, z_1, ..., z_T as its coder sees it; how images go onto the stack and come back |
//! | `diffusion` | the diffusion model as such a chain |
//! | `latents` | autoencoders as such chains |
//! | `plan` | which images are coded side by side |
//! | `file` | a whole file: header, checksums, stack |
//!
//! All arithmetic that decides about a bit is in whole numbers or in f64 without the
//! functions of the operating system; the networks compute in f32, in blocks of one shape.
//! Lengths are in bits.

mod chain;
#[cfg(test)]
mod damage;
mod diffusion;
mod file;
mod latents;
mod plan;
mod quantized;
mod stack;
#[cfg(test)]
mod tests;

pub use self::{
    chain::{Chain, Normal, Pace, pop_images, push_images},
    diffusion::Diffusion,
    file::{Codec, Digits, Format, Header, digest},
    latents::{Kind, Latents},
    plan::Plan,
    quantized::{Binned, Bins, Categorical, Cumulative, Quantized, normal_cdf},
    stack::{PRECISION, Stack},
};
