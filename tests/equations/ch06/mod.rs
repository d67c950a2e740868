//! Chapter 6: the signal-to-noise ratio, discrete and continuous, fixed and learned.

mod continuous;
mod ends;
mod learned;
mod weights;

use elbo_to_diffusion::oracle::{Error, NoiseLevel, Rule, ScalarMixture};

/// The range of gamma on which the tests run.
const GAMMA_MIN: f64 = -8.0;
const GAMMA_MAX: f64 = 5.0;

/// The data of the continuous-time tests: three bumps on the line.
fn data() -> Result<ScalarMixture, Error> {
    ScalarMixture::new(&[0.3, 0.5, 0.2], &[-1.2, 0.1, 1.3], &[0.05, 0.02, 0.08])
}

/// gamma(t) and gamma'(t) on [0, 1], from GAMMA_MIN to GAMMA_MAX.
type Schedule = (fn(f64) -> f64, fn(f64) -> f64);

fn stretch(u: f64) -> f64 {
    GAMMA_MIN + (GAMMA_MAX - GAMMA_MIN) * u
}

/// Three schedules with the same end points: linear, cubic and tanh.
const SCHEDULES: [Schedule; 3] = [
    (stretch, |_| GAMMA_MAX - GAMMA_MIN),
    (
        |t| stretch(t * t * (3.0 - 2.0 * t)),
        |t| (GAMMA_MAX - GAMMA_MIN) * 6.0 * t * (1.0 - t),
    ),
    (
        |t| stretch(0.5 + 0.5 * (4.0 * t - 2.0).tanh() / f64::tanh(2.0)),
        |t| {
            let slope = 2.0 / (4.0 * t - 2.0).cosh().powi(2) / f64::tanh(2.0);
            (GAMMA_MAX - GAMMA_MIN) * slope
        },
    ),
];

/// E |x - x_hat|^2 of the ideal denoiser at this gamma.
fn mmse(data: &ScalarMixture, gamma: f64, rule: &Rule) -> f64 {
    data.mmse(NoiseLevel::new(gamma), rule)
}
