//! Exact answers in f64: the second side of every equation test.
//!
//! The models here are small enough to be solved: Gaussians, linear-Gaussian latent
//! variables and Markov chains, Gaussian mixtures under the forward process, and finite
//! latents by enumeration. Where an integral has no closed form there is quadrature, and
//! where there is no quadrature, Monte Carlo with a standard error.
//!
//! Everything is in nats. Vectors and matrices are nalgebra's, under the names [`Vector`]
//! and [`Matrix`]. Sizes that do not fit give an [`Error`], never a panic. Random numbers
//! come from the caller's generator; nothing here reads a file, a clock or the system's
//! entropy.
//!
//! | module | answers |
//! |---|---|
//! | [`gaussian`] | density, KL, entropy, marginals, conditioning, affine maps, linear conditionals |
//! | [`linear_gaussian`] | p(z) Gaussian, p(x\|z) = N(Wz + b, C): evidence, posterior, ELBO, PPCA |
//! | [`chain`] | Markov chains of linear Gaussians: joint covariance, reversal |
//! | [`process`] | the forward process: noise levels, steps between them, loss weights |
//! | [`bound`] | the terms of the ELBO of a diffusion model with a linear-Gaussian reverse chain |
//! | [`decoder`] | the cost of reading the data off the first latent |
//! | [`estimators`] | Monte Carlo estimators of that ELBO, whose variances are known |
//! | [`mixture`] | Gaussian mixtures under the forward process, in one and in d dimensions |
//! | [`discrete`] | finite latents: evidence, posterior, ELBO, L_K, ELBO surgery |
//! | [`masking`] | masked diffusion of a few pixels: bounds, orders, what few steps draw |
//! | [`quadrature`] | Gauss-Hermite and Gauss-Legendre rules |
//! | [`monte_carlo`] | means with standard errors |

pub mod bound;
pub mod chain;
pub mod decoder;
pub mod discrete;
pub mod estimators;
pub mod gaussian;
pub mod linear_gaussian;
pub mod masking;
pub mod mixture;
pub mod monte_carlo;
pub mod process;
pub mod quadrature;

mod algebra;
mod error;

pub use algebra::{Matrix, Vector, log_sum_exp, matrix, vector};
pub use bound::DiffusionBound;
pub use chain::Chain;
pub use discrete::FiniteLatent;
pub use error::Error;
pub use estimators::{Estimator, Estimators};
pub use gaussian::{Gaussian, LinearConditional};
pub use linear_gaussian::LinearGaussian;
pub use masking::{MaskedModel, PixelTable};
pub use mixture::{Mixture, ScalarMixture};
pub use monte_carlo::Estimate;
pub use process::{NoiseLevel, Process, Step};
pub use quadrature::Rule;
