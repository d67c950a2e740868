//! What a model with one latent number z and one observation x answers about a normal q.

use std::f64::consts::TAU;

use elbo_to_diffusion::oracle::Rule;

// ANCHOR: q
/// q(z) = N(z; mean, exp(log_std)^2). Its two numbers are phi.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScalarNormal {
    /// The mean m.
    pub mean: f64,
    /// The logarithm of the standard deviation s, so that every number is allowed.
    pub log_std: f64,
}

impl ScalarNormal {
    /// N(0, 1).
    pub const STANDARD: Self = Self { mean: 0.0, log_std: 0.0 };

    /// s^2.
    pub fn variance(self) -> f64 {
        (2.0 * self.log_std).exp()
    }

    /// log q(z), in nats.
    pub fn log_prob(self, z: f64) -> f64 {
        -0.5 * (TAU.ln() + (z - self.mean).powi(2) / self.variance()) - self.log_std
    }

    /// H(q) = -E log q(z), in nats.
    pub fn entropy(self) -> f64 {
        self.log_std + 0.5 * (1.0 + TAU.ln())
    }
}

/// A model p(x, z) with its one observation x.
pub trait ScalarLatent {
    /// log p(x, z), in nats.
    fn log_joint(&self, z: f64) -> f64;

    /// The ELBO, E_q log p(x, z) + H(q), in nats.
    fn elbo(&self, q: ScalarNormal) -> f64;

    /// The derivatives of the ELBO by the mean and by the log deviation of q.
    fn elbo_gradient(&self, q: ScalarNormal) -> [f64; 2];

    /// Gradient ascent on phi at fixed theta: all q on the way, the first included.
    fn ascend(&self, q: ScalarNormal, rate: f64, steps: usize) -> Vec<ScalarNormal> {
        let (mut q, mut path) = (q, vec![q]);
        for _ in 0..steps {
            let [by_mean, by_log_std] = self.elbo_gradient(q);
            q.mean += rate * by_mean;
            q.log_std += rate * by_log_std;
            path.push(q);
        }
        path
    }

    /// log p(x), in nats, by adding p(x, z) over the nodes of a rule that reaches as
    /// far as there is any mass.
    fn log_prob(&self, z: &Rule) -> f64 {
        z.integrate(|z| self.log_joint(z).exp()).ln()
    }

    /// KL(q || p(z|x)), in nats, with the posterior p(z|x) = p(x, z) / p(x).
    fn kl_to_posterior(&self, q: ScalarNormal, z: &Rule) -> f64 {
        let log_prob = self.log_prob(z);
        let log_posterior = |z| self.log_joint(z) - log_prob;
        z.integrate(|z| q.log_prob(z).exp() * (q.log_prob(z) - log_posterior(z)))
    }
}
// ANCHOR_END: q
