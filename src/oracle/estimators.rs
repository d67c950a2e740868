//! Six ways to estimate the ELBO of a diffusion model by Monte Carlo, at one number x.
//!
//! Each is unbiased. They differ in what they draw, and so in how much they vary: chapter 5
//! measures it. Data and latents are one-dimensional, the reverse chain is linear-Gaussian,
//! so that the exact value and the exact variances are known. Nats throughout.

use std::f64::consts::TAU;

use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

use super::{
    algebra::vector,
    bound::DiffusionBound,
    chain::Chain,
    error::{Error, same},
    gaussian::{Gaussian, LinearConditional},
    monte_carlo::Estimate,
    process::Process,
};

/// A way to estimate the ELBO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estimator {
    /// One path z_1, ..., z_T, and log p(x, z_1, ..., z_T) - log q(z_1, ..., z_T|x) along
    /// it.
    WholePath,
    /// The consistency form, each term from a triple (z_{t-1}, z_t, z_{t+1}) of its own.
    ConsistencyTriples,
    /// The denoising form, each term from a pair (z_{t-1}, z_t) of its own.
    DenoisingPairs,
    /// The denoising form, each term from a z_t of its own, the KL in closed form.
    DenoisingKl,
    /// The consistency form at one random t, times the number of terms.
    ConsistencyOneTime,
    /// The denoising form with the KL in closed form at one random t, times the number of
    /// terms.
    DenoisingOneTime,
}

/// The law of one variable given another: N(scale u + offset, deviation^2).
#[derive(Clone, Copy, Debug)]
struct Conditional {
    scale: f64,
    offset: f64,
    deviation: f64,
    /// ln sqrt(2 pi deviation^2), kept because drawing needs a logarithm per step
    /// otherwise.
    log_normalizer: f64,
}

impl Conditional {
    fn new(scale: f64, offset: f64, variance: f64) -> Self {
        Self {
            scale,
            offset,
            deviation: variance.sqrt(),
            log_normalizer: 0.5 * (TAU * variance).ln(),
        }
    }

    fn mean(&self, u: f64) -> f64 {
        self.scale * u + self.offset
    }

    fn draw<R: Rng + ?Sized>(&self, u: f64, rng: &mut R) -> f64 {
        let eps: f64 = StandardNormal.sample(rng);
        self.mean(u) + self.deviation * eps
    }

    fn log_prob(&self, y: f64, u: f64) -> f64 {
        let scaled = (y - self.mean(u)) / self.deviation;
        -0.5 * scaled * scaled - self.log_normalizer
    }

    /// KL(self || other), both given the same u.
    fn kl(&self, other: &Self, u: f64) -> f64 {
        let shift = (self.mean(u) - other.mean(u)) / other.deviation;
        let ratio = self.deviation / other.deviation;
        other.log_normalizer - self.log_normalizer
            + 0.5 * (ratio * ratio + shift * shift - 1.0)
    }
}

/// What one step t of both chains needs.
#[derive(Clone, Copy, Debug)]
struct AtStep {
    /// q(z_t|x), as a function of x.
    marginal: Conditional,
    /// q(z_t|z_{t-1}).
    forward: Conditional,
    /// q(z_{t-1}|z_t, x), as a function of z_t. Not used at t = 1, where it is a point.
    posterior: Conditional,
    /// p(z_{t-1}|z_t); the decoder p(x|z_1) at t = 1.
    reverse: Conditional,
}

/// Draws the estimators of one ELBO: that of this forward process, this reverse chain and
/// this x.
#[derive(Clone, Debug)]
pub struct Estimators {
    x: f64,
    /// p(z_T), as a function that ignores its input.
    prior: Conditional,
    /// KL(q(z_T|x) || p(z_T)).
    prior_kl: f64,
    elbo: f64,
    steps: Vec<AtStep>,
}

impl Estimators {
    /// The estimators for a process of at least two steps and a reverse chain p(z_T),
    /// p(z_{T-1}|z_T), ..., p(x|z_1).
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a process of one step, which has no terms to draw;
    /// [`Error::Dimension`] where the reverse chain has another number of steps than the
    /// process, or is not one-dimensional.
    pub fn new(process: &Process, reverse: &Chain, x: f64) -> Result<Self, Error> {
        process.fits(reverse)?;
        if process.step_count() < 2 {
            return Err(Error::OutOfRange {
                what: "a process of at least 2 steps",
                found: process.step_count() as f64,
            });
        }
        let first = reverse.first();
        same("the dimension of p(z_T)", 1, first.dimension())?;
        let mut steps = Vec::with_capacity(process.step_count());
        for (step, model) in process.steps().into_iter().zip(reverse.steps().iter().rev()) {
            same("the output of a step of a reverse chain", 1, model.output_dimension())?;
            let (a, b) = step.posterior_coefficients();
            let noise = model.noise();
            steps.push(AtStep {
                marginal: Conditional::new(step.t.abar().sqrt(), 0.0, step.t.noise()),
                forward: Conditional::new(step.alpha().sqrt(), 0.0, step.beta()),
                posterior: Conditional::new(a, b * x, step.posterior_variance()),
                reverse: Conditional::new(
                    model.matrix()[(0, 0)],
                    noise.mean()[0],
                    noise.covariance()[(0, 0)],
                ),
            });
        }
        let prior = Conditional::new(0.0, first.mean()[0], first.covariance()[(0, 0)]);
        let bound = DiffusionBound::new(process, reverse, &vector(&[x]))?;
        Ok(Self { x, prior, prior_kl: bound.prior, elbo: bound.denoising_elbo(), steps })
    }

    /// The estimators for N(0, 1) data whose reverse chain is slightly wrong:
    /// p(z_{t-1}|z_t) = N(sqrt(alpha_t) z_t + shift beta_t, beta_t), which is exact where
    /// `shift` is 0.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn shifted(process: &Process, shift: f64, x: f64) -> Result<Self, Error> {
        let steps = process.steps().into_iter().rev();
        let steps = steps.map(|s| {
            LinearConditional::scalar(s.alpha().sqrt(), shift * s.beta(), s.beta())
        });
        Self::new(
            process,
            &Chain::new(Gaussian::standard(1)?, steps.collect::<Result<_, _>>()?)?,
            x,
        )
    }

    /// The exact ELBO, the mean of every estimator.
    pub fn elbo(&self) -> f64 {
        self.elbo
    }

    /// The standard deviation of an estimator, measured with this many draws, and the
    /// standard error of that.
    pub fn deviation<R: Rng + ?Sized>(
        &self,
        estimator: Estimator,
        draws: usize,
        rng: &mut R,
    ) -> (f64, f64) {
        let squares =
            Estimate::of(draws, || (self.draw(estimator, rng) - self.elbo).powi(2));
        let deviation = squares.mean().sqrt();
        // d sqrt(v) = dv / (2 sqrt(v)).
        (deviation, 0.5 * squares.standard_error() / deviation.max(f64::MIN_POSITIVE))
    }

    /// One draw of an estimator of the ELBO, in nats.
    pub fn draw<R: Rng + ?Sized>(&self, estimator: Estimator, rng: &mut R) -> f64 {
        let last = self.steps.len();
        // t = 1..T-1 of the consistency form, t = 2..T of the denoising form.
        let (earlier, later) = (1..last, 2..=last);
        let terms = (last - 1) as f64;
        match estimator {
            Estimator::WholePath => self.consistency_along(&self.path(rng)),
            Estimator::ConsistencyTriples => {
                let ends = self.reconstruction(rng) + self.last_pair(rng);
                ends + earlier.map(|t| self.triple(t, rng)).sum::<f64>()
            }
            Estimator::ConsistencyOneTime => {
                let t = rng.random_range(earlier);
                self.reconstruction(rng) + self.last_pair(rng) + terms * self.triple(t, rng)
            }
            Estimator::DenoisingPairs => {
                let ends = self.reconstruction(rng) - self.prior_kl;
                ends + later.map(|t| self.pair(t, rng)).sum::<f64>()
            }
            Estimator::DenoisingKl => {
                let ends = self.reconstruction(rng) - self.prior_kl;
                ends - later.map(|t| self.kl(t, rng)).sum::<f64>()
            }
            Estimator::DenoisingOneTime => {
                let t = rng.random_range(later);
                self.reconstruction(rng) - self.prior_kl - terms * self.kl(t, rng)
            }
        }
    }

    /// One path of the forward chain: x, z_1, ..., z_T.
    pub fn path<R: Rng + ?Sized>(&self, rng: &mut R) -> Vec<f64> {
        let mut path = Vec::with_capacity(self.steps.len() + 1);
        let mut z = self.x;
        path.push(z);
        for step in &self.steps {
            z = step.forward.draw(z, rng);
            path.push(z);
        }
        path
    }

    /// The terms of the consistency form summed along a path from [`Self::path`].
    pub fn consistency_along(&self, path: &[f64]) -> f64 {
        let end = self.prior.log_prob(path[self.steps.len()], 0.0);
        let pairs = path.windows(2).zip(&self.steps);
        end + pairs
            .map(|(z, step)| {
                step.reverse.log_prob(z[0], z[1]) - step.forward.log_prob(z[1], z[0])
            })
            .sum::<f64>()
    }

    /// The terms of the denoising form, all of them as log ratios, summed along a path from
    /// [`Self::path`].
    pub fn denoising_along(&self, path: &[f64]) -> f64 {
        let (z_1, z_last) = (path[1], path[self.steps.len()]);
        let reconstruction = self.steps[0].reverse.log_prob(self.x, z_1);
        let prior = self.prior.log_prob(z_last, 0.0)
            - self.last().marginal.log_prob(z_last, self.x);
        let pairs = path.windows(2).zip(&self.steps).skip(1);
        let ratio = |(z, step): (&[f64], &AtStep)| {
            step.reverse.log_prob(z[0], z[1]) - step.posterior.log_prob(z[0], z[1])
        };
        reconstruction + prior + pairs.map(ratio).sum::<f64>()
    }

    fn at(&self, t: usize) -> &AtStep {
        &self.steps[t - 1]
    }

    fn last(&self) -> &AtStep {
        self.at(self.steps.len())
    }

    /// z_t from q(z_t|x); x itself for t = 0.
    fn latent<R: Rng + ?Sized>(&self, t: usize, rng: &mut R) -> f64 {
        if t == 0 { self.x } else { self.at(t).marginal.draw(self.x, rng) }
    }

    /// log p(x|z_1).
    fn reconstruction<R: Rng + ?Sized>(&self, rng: &mut R) -> f64 {
        let z = self.latent(1, rng);
        self.at(1).reverse.log_prob(self.x, z)
    }

    /// log p(z_T) / q(z_T|z_{T-1}).
    fn last_pair<R: Rng + ?Sized>(&self, rng: &mut R) -> f64 {
        let before = self.latent(self.steps.len() - 1, rng);
        let z = self.last().forward.draw(before, rng);
        self.prior.log_prob(z, 0.0) - self.last().forward.log_prob(z, before)
    }

    /// log p(z_t|z_{t+1}) / q(z_t|z_{t-1}), for t = 1..T-1.
    fn triple<R: Rng + ?Sized>(&self, t: usize, rng: &mut R) -> f64 {
        let before = self.latent(t - 1, rng);
        let now = self.at(t).forward.draw(before, rng);
        let after = self.at(t + 1).forward.draw(now, rng);
        self.at(t + 1).reverse.log_prob(now, after)
            - self.at(t).forward.log_prob(now, before)
    }

    /// log p(z_{t-1}|z_t) / q(z_{t-1}|z_t, x), for t = 2..T.
    fn pair<R: Rng + ?Sized>(&self, t: usize, rng: &mut R) -> f64 {
        let z = self.latent(t, rng);
        let before = self.at(t).posterior.draw(z, rng);
        self.at(t).reverse.log_prob(before, z) - self.at(t).posterior.log_prob(before, z)
    }

    /// KL(q(z_{t-1}|z_t, x) || p(z_{t-1}|z_t)), for t = 2..T.
    fn kl<R: Rng + ?Sized>(&self, t: usize, rng: &mut R) -> f64 {
        let z = self.latent(t, rng);
        self.at(t).posterior.kl(&self.at(t).reverse, z)
    }
}

#[cfg(test)]
mod tests {
    use super::Estimators;
    use crate::oracle::{Chain, Error, Gaussian, LinearConditional, Process};

    #[test]
    fn chains_that_do_not_fit_are_errors() -> Result<(), Error> {
        let step = || LinearConditional::scalar(1.0, 0.0, 1.0);
        let two = Process::linear_gamma(-1.0, 1.0, 2)?;
        let chain = |d: usize, steps| Chain::new(Gaussian::standard(d)?, steps);
        assert!(Estimators::new(&two, &chain(1, vec![step()?, step()?])?, 0.3).is_ok());
        assert!(Estimators::new(&two, &chain(1, vec![step()?])?, 0.3).is_err());
        let one = Process::linear_gamma(-1.0, 1.0, 1)?;
        assert!(Estimators::new(&one, &chain(1, vec![step()?])?, 0.3).is_err());
        let wide = two.exact_reverse(&Gaussian::standard(2)?)?;
        assert!(Estimators::new(&two, &wide, 0.3).is_err());
        Ok(())
    }
}
