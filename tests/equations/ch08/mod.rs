//! Chapter 8: the process in continuous time, its flow, solvers and likelihood.

mod likelihood;
mod process;
mod solvers;

use elbo_to_diffusion::oracle::{Error, NoiseLevel, ScalarMixture};

/// Three bumps on the line.
fn line() -> Result<ScalarMixture, Error> {
    ScalarMixture::new(&[0.3, 0.5, 0.2], &[-1.2, 0.1, 1.3], &[0.05, 0.02, 0.08])
}

/// Levels and places at which densities are looked at.
const GAMMAS: [f64; 5] = [-4.0, -2.0, 0.0, 1.5, 4.0];
const PLACES: [f64; 5] = [-1.4, -0.4, 0.1, 0.8, 1.9];

/// q_gamma(z).
fn density(data: &ScalarMixture, gamma: f64, z: f64) -> f64 {
    data.marginal(NoiseLevel::new(gamma)).log_prob(z).exp()
}

/// The slope of log q_gamma at z.
fn score(data: &ScalarMixture, gamma: f64, z: f64) -> f64 {
    data.marginal(NoiseLevel::new(gamma)).score(z)
}

/// eps_hat of the ideal denoiser.
fn eps_hat(data: &ScalarMixture, gamma: f64, z: f64) -> f64 {
    let level = NoiseLevel::new(gamma);
    (z - level.abar().sqrt() * data.posterior(z, level).mean()) / level.noise().sqrt()
}
