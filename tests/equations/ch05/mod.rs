//! Chapter 5: variational diffusion models.

pub(crate) mod bound;
pub(crate) mod consistency;
mod decoder;
mod estimators;
mod forward;

use elbo_to_diffusion::oracle::{Chain, Error, Gaussian, LinearConditional, Process};
use rand_chacha::ChaCha8Rng;

use crate::support::normal;

/// alpha_t and abar_t = prod_{i<=t} alpha_i, as the page defines them; entry 0 is the data
/// (abar_0 = 1, and alpha_0 has no meaning).
pub(crate) struct Powers {
    pub(crate) alpha: Vec<f64>,
    pub(crate) abar: Vec<f64>,
}

impl Powers {
    pub(crate) fn of(process: &Process) -> Self {
        let mut alpha = vec![f64::NAN];
        let mut abar = vec![1.0];
        for step in process.steps() {
            alpha.push(step.alpha());
            abar.push(abar[abar.len() - 1] * step.alpha());
        }
        Self { alpha, abar }
    }
}

/// The one-dimensional reverse chain p(z_T) = N(0, 1), p(z_{t-1}|z_t) = N(a_t z_t + b_t,
/// c_t) for t = T..1, of which t = 1 is the decoder p(x|z_1). Entry 0 is not used.
pub(crate) struct Reverse {
    pub(crate) a: Vec<f64>,
    pub(crate) b: Vec<f64>,
    pub(crate) c: Vec<f64>,
}

impl Reverse {
    /// The exact reverse of N(0, 1) data, a_t = sqrt(alpha_t), b_t = 0, c_t = 1 - alpha_t,
    /// with every coefficient moved at random by about this much.
    pub(crate) fn near_exact(process: &Process, by: f64, rng: &mut ChaCha8Rng) -> Self {
        let (mut a, mut b, mut c) = (vec![f64::NAN], vec![f64::NAN], vec![f64::NAN]);
        for step in process.steps() {
            a.push(step.alpha().sqrt() * (1.0 + by * step.beta() * normal(rng)));
            b.push(by * step.beta() * normal(rng));
            c.push(step.beta() * (by * normal(rng)).exp());
        }
        Self { a, b, c }
    }

    pub(crate) fn chain(&self) -> Result<Chain, Error> {
        let steps = (1..self.a.len()).rev();
        let steps =
            steps.map(|t| LinearConditional::scalar(self.a[t], self.b[t], self.c[t]));
        Chain::new(Gaussian::standard(1)?, steps.collect::<Result<_, _>>()?)
    }
}

/// The forward processes on which the tests run: gamma linear from -8 to 5, T = 2, 5, 20,
/// 100.
pub(crate) fn processes() -> Result<Vec<Process>, Error> {
    [2, 5, 20, 100]
        .into_iter()
        .map(|steps| Process::linear_gamma(-8.0, 5.0, steps))
        .collect()
}

/// The schedule abar_t = 1 - t/(T + 1), for which alpha_t = (T + 1 - t)/(T + 2 - t).
pub(crate) fn linear_abar(steps: usize) -> Result<Process, Error> {
    let betas: Vec<f64> = (1..=steps).map(|t| 1.0 / (steps + 2 - t) as f64).collect();
    Process::from_betas(&betas)
}
