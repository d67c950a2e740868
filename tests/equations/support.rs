//! Comparisons, random inputs and finite differences that the equation tests share.

use elbo_to_diffusion::oracle::{Error, Estimate, Gaussian, Matrix, Vector};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// What a test returns: the oracle refuses ill-fitting sizes with an error.
pub type Outcome = Result<(), Error>;

/// Fails unless |left - right| <= tolerance. NaN fails.
#[track_caller]
pub fn assert_close(left: f64, right: f64, tolerance: f64) {
    let difference = (left - right).abs();
    assert!(
        difference <= tolerance,
        "left {left:e}, right {right:e}: they differ by {difference:e}, more than {tolerance:e}"
    );
}

/// Fails unless |left - right| <= tolerance |right|. NaN fails.
#[track_caller]
pub fn assert_relative(left: f64, right: f64, tolerance: f64) {
    let difference = (left - right).abs() / right.abs();
    assert!(
        difference <= tolerance,
        "left {left:e}, right {right:e}: they differ by {difference:e} of the right side, more \
         than {tolerance:e}"
    );
}

/// Fails unless every entry agrees to `tolerance`.
#[track_caller]
pub fn assert_vectors_close(left: &Vector, right: &Vector, tolerance: f64) {
    assert_eq!(left.len(), right.len());
    for (l, r) in left.iter().zip(right.iter()) {
        assert_close(*l, *r, tolerance);
    }
}

/// Fails unless the Monte Carlo mean lies within this many standard errors of `exact`.
#[track_caller]
pub fn assert_estimates(estimate: &Estimate, exact: f64, standard_errors: f64) {
    let distance = estimate.z_score(exact).abs();
    assert!(
        distance <= standard_errors,
        "Monte Carlo {:e} +- {:e}, exact {exact:e}: {distance:.2} standard errors apart",
        estimate.mean(),
        estimate.standard_error()
    );
}

/// The generator of a test.
pub fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// One draw from N(0, 1).
pub fn normal(rng: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(rng)
}

/// A vector of independent N(0, 1) draws.
pub fn normals(rng: &mut ChaCha8Rng, length: usize) -> Vector {
    Vector::from_fn(length, |_, _| normal(rng))
}

/// A matrix of independent N(0, 1) draws.
pub fn normal_matrix(rng: &mut ChaCha8Rng, rows: usize, columns: usize) -> Matrix {
    Matrix::from_fn(rows, columns, |_, _| normal(rng))
}

/// A random covariance, far enough from singular.
pub fn random_covariance(rng: &mut ChaCha8Rng, dimension: usize) -> Matrix {
    let factor = normal_matrix(rng, dimension, dimension);
    &factor * factor.transpose() / dimension as f64
        + Matrix::identity(dimension, dimension) * 0.3
}

/// A random Gaussian with a full covariance.
pub fn random_gaussian(rng: &mut ChaCha8Rng, dimension: usize) -> Result<Gaussian, Error> {
    Gaussian::new(normals(rng, dimension), random_covariance(rng, dimension))
}

/// A random distribution over `states` values, none of them rare.
pub fn random_table(rng: &mut ChaCha8Rng, states: usize) -> Vec<f64> {
    let weights: Vec<f64> = (0..states).map(|_| (0.8 * normal(rng)).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|w| w / total).collect()
}

/// log N(x; mean, variance) on the line.
pub fn log_normal(x: f64, mean: f64, variance: f64) -> f64 {
    -0.5 * ((std::f64::consts::TAU * variance).ln() + (x - mean).powi(2) / variance)
}

/// df/dx by the central difference of fourth order: error of order h^4 and of rounding / h.
pub fn derivative(f: impl Fn(f64) -> f64, x: f64) -> f64 {
    let h = 1e-3;
    (8.0 * (f(x + h) - f(x - h)) - (f(x + 2.0 * h) - f(x - 2.0 * h))) / (12.0 * h)
}
