//! Exact answers in f64: the second side of every equation test.
//!
//! The models here are small enough to be solved: Gaussians, linear-Gaussian latent variables and
//! Markov chains, Gaussian mixtures under the forward process, and finite latents by enumeration.
//! Where an integral has no closed form there is quadrature, and where there is no quadrature,
//! Monte Carlo with a standard error.
//!
//! Everything is in nats. Vectors and matrices are nalgebra's, under the names [`Vector`] and
//! [`Matrix`]. Sizes that do not fit give an [`Error`], never a panic. Random numbers come from the
//! caller's generator; nothing here reads a file, a clock or the system's entropy.
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
//! | [`scalar_latent`] | one latent number with a normal q: the ELBO and its gradient |
//! | [`quadrature`] | Gauss-Hermite and Gauss-Legendre rules |
//! | [`monte_carlo`] | means with standard errors |

pub mod bound;
pub mod chain;
pub mod decoder;
pub mod discrete;
pub mod estimators;
pub mod gaussian;
pub mod linear_gaussian;
pub mod mixture;
pub mod monte_carlo;
pub mod process;
pub mod quadrature;
pub mod scalar_latent;

mod error;

pub use bound::DiffusionBound;
pub use chain::Chain;
pub use discrete::FiniteLatent;
pub use error::Error;
pub use estimators::{Estimator, Estimators};
pub use gaussian::{Gaussian, LinearConditional};
pub use linear_gaussian::LinearGaussian;
pub use mixture::{Mixture, ScalarMixture};
pub use monte_carlo::Estimate;
pub use process::{Level, Process, Step};
pub use quadrature::Rule;
pub use scalar_latent::{PowerMeter, ScalarLatent, ScalarNormal, Thermometers};

/// A column of f64.
pub type Vector = nalgebra::DVector<f64>;

/// A dense matrix of f64.
pub type Matrix = nalgebra::DMatrix<f64>;

/// A column with these entries.
pub fn vector(entries: &[f64]) -> Vector {
    Vector::from_column_slice(entries)
}

/// A matrix with these rows.
///
/// # Errors
/// [`Error::Dimension`] where the rows differ in length.
pub fn matrix(rows: &[&[f64]]) -> Result<Matrix, Error> {
    let columns = rows.first().map_or(0, |row| row.len());
    for row in rows {
        error::same("the length of a matrix row", columns, row.len())?;
    }
    Ok(Matrix::from_row_iterator(rows.len(), columns, rows.iter().flat_map(|row| row.iter().copied())))
}

/// log(exp(a_1) + ... + exp(a_n)) without overflow; minus infinity where there is no term.
pub fn log_sum_exp(terms: &[f64]) -> f64 {
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    largest + terms.iter().map(|a| (a - largest).exp()).sum::<f64>().ln()
}
