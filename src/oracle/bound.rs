//! The terms of the ELBO of a diffusion model whose reverse chain is linear-Gaussian.
//!
//! Both decompositions, term by term, each in closed form; and the exact ELBO from the
//! covariance of the whole chain, which knows neither. Nats throughout.

use super::{
    algebra::Vector,
    chain::Chain,
    error::{Error, same},
    gaussian::{Gaussian, LinearConditional},
    process::Process,
};

/// The terms of both decompositions of the ELBO at one x.
#[derive(Clone, Debug, PartialEq)]
pub struct DiffusionBound {
    /// E_q(z_1|x) log p(x|z_1).
    pub reconstruction: f64,
    /// KL(q(z_T|x) || p(z_T)).
    pub prior: f64,
    /// E_q(z_t|x) KL(q(z_{t-1}|z_t, x) || p(z_{t-1}|z_t)) for t = 2..=T.
    pub denoising: Vec<f64>,
    /// E_q(z_{T-1}|x) KL(q(z_T|z_{T-1}) || p(z_T)); for T = 1 the same as `prior`.
    pub consistency_prior: f64,
    /// E_q log p(z_t|z_{t+1}) / q(z_t|z_{t-1}) over the three variables, for t = 1..T.
    pub consistency: Vec<f64>,
    /// What is often printed in place of `consistency`: -E KL(q(z_t|z_{t-1}) ||
    /// p(z_t|z_{t+1})), with z_{t-1}, z_{t+1} from q and z_t drawn afresh, as if z_{t+1}
    /// did not depend on it.
    pub consistency_as_printed: Vec<f64>,
}

impl DiffusionBound {
    /// The terms for this forward process, this reverse chain p(z_T), p(z_{T-1}|z_T), ...,
    /// p(x|z_1), and x `[d]`.
    ///
    /// # Errors
    /// [`Error::Dimension`] where the reverse chain has another number of steps than the
    /// process, or other dimensions than x.
    pub fn new(process: &Process, reverse: &Chain, x: &Vector) -> Result<Self, Error> {
        process.fits(reverse)?;
        let d = x.len();
        same("the dimension of p(z_T)", d, reverse.first().dimension())?;
        for step in reverse.steps() {
            same("the output of a step of a reverse chain", d, step.output_dimension())?;
        }
        let forward = process.forward(x)?;
        let laws = forward.marginals()?;
        let (first, last) = match (laws.first(), laws.last()) {
            (Some(first), Some(last)) => (first, last),
            _ => {
                return Err(Error::Dimension {
                    what: "the number of noise levels",
                    expected: 1,
                    found: 0,
                });
            }
        };
        // forward.steps()[i] is q(z_{i+2}|z_{i+1}); models[i] is p(z_{i+1}|z_{i+2}).
        let mut models: Vec<&LinearConditional> = reverse.steps().iter().rev().collect();
        let decoder = models.remove(0);

        let residual = x - decoder.matrix() * first.mean();
        let spread = decoder.matrix() * first.covariance() * decoder.matrix().transpose();
        let reconstruction = decoder.noise().expected_log_prob(&residual, &spread)?;
        let prior = last.kl(reverse.first())?;

        let mut denoising = Vec::new();
        let mut consistency = Vec::new();
        let mut consistency_as_printed = Vec::new();
        // q(z_1|x), q(z_2|z_1), ...: their noise is all that their entropy depends on.
        let mut noising = laws[0].clone();
        for (i, (step, model)) in forward.steps().iter().zip(models).enumerate() {
            let pair = step.joint(&laws[i])?;
            let log_model = model.expected_log_prob(&pair, 0..d, d..2 * d)?;
            let posterior = step.reversed(&laws[i])?;
            denoising.push(-posterior.noise().entropy() - log_model);
            consistency.push(log_model + noising.entropy());
            // (fresh z_t, z_{t+1}): they share z_{t-1} alone.
            let afresh = drawn_afresh(&laws[i], &noising, step)?;
            let log_printed = model.expected_log_prob(&afresh, 0..d, d..2 * d)?;
            consistency_as_printed.push(log_printed + noising.entropy());
            noising = step.noise().clone();
        }

        let before = laws.len().checked_sub(2).and_then(|i| laws.get(i));
        let consistency_prior = match (before, forward.steps().last()) {
            (Some(law), Some(step)) => {
                let marginal = step.marginal(law)?;
                let log_prior = reverse
                    .first()
                    .expected_log_prob(marginal.mean(), marginal.covariance())?;
                -step.noise().entropy() - log_prior
            }
            _ => prior,
        };
        Ok(Self {
            reconstruction,
            prior,
            denoising,
            consistency_prior,
            consistency,
            consistency_as_printed,
        })
    }

    /// The ELBO by the denoising decomposition: reconstruction - prior - sum of denoising.
    pub fn denoising_elbo(&self) -> f64 {
        self.reconstruction - self.prior - self.denoising.iter().sum::<f64>()
    }

    /// The ELBO by the consistency decomposition, log-ratio form:
    /// reconstruction - consistency prior + sum of consistency.
    pub fn consistency_elbo(&self) -> f64 {
        self.reconstruction - self.consistency_prior + self.consistency.iter().sum::<f64>()
    }

    /// What the consistency decomposition gives with the KL terms as often printed. NOT the
    /// ELBO.
    pub fn printed_elbo(&self) -> f64 {
        self.reconstruction - self.consistency_prior
            + self.consistency_as_printed.iter().sum::<f64>()
    }
}

/// The joint law of z_t' and z_{t+1}, where z_t' has the law of z_t given z_{t-1} but is
/// drawn independently of the z_t that led to z_{t+1}. The covariance of z_t with its fresh
/// copy is what z_{t-1} explains: Cov(z_t) less the noise of the step into t.
fn drawn_afresh(
    law: &Gaussian,
    noising: &Gaussian,
    step: &LinearConditional,
) -> Result<Gaussian, Error> {
    let d = law.dimension();
    let joint = step.joint(law)?;
    let shared = (law.covariance() - noising.covariance()) * step.matrix().transpose();
    let mut covariance = joint.covariance().clone();
    covariance.view_mut((0, d), (d, d)).copy_from(&shared);
    covariance.view_mut((d, 0), (d, d)).copy_from(&shared.transpose());
    Gaussian::new(joint.mean().clone(), covariance)
}

/// The exact ELBO of the same model, E_q log p(x, z_1..z_T) + H(q), from the covariance of
/// the whole chain. Costs O((dT)^3).
///
/// # Errors
/// [`Error::Dimension`] where the reverse chain does not fit the process or x.
pub fn exact_elbo(process: &Process, reverse: &Chain, x: &Vector) -> Result<f64, Error> {
    process.fits(reverse)?;
    reverse.latent_model()?.elbo(x, &process.forward(x)?.joint()?)
}

#[cfg(test)]
mod tests {
    use super::{DiffusionBound, exact_elbo};
    use crate::oracle::{Chain, Error, Gaussian, LinearConditional, Process, vector};

    /// In two dimensions with full matrices, where the equation tests have one.
    #[test]
    fn both_decompositions_are_the_exact_elbo_in_two_dimensions() -> Result<(), Error> {
        let process = Process::linear_gamma(-3.0, 2.0, 4)?;
        let x = vector(&[0.4, -1.1]);
        let data = Gaussian::new(
            vector(&[0.3, -0.2]),
            crate::oracle::matrix(&[&[0.8, 0.3], &[0.3, 1.4]])?,
        )?;
        let reverse = process.exact_reverse(&data)?;
        let reverse = Chain::new(Gaussian::standard(2)?, reverse.steps().to_vec())?;
        let exact = exact_elbo(&process, &reverse, &x)?;
        let bound = DiffusionBound::new(&process, &reverse, &x)?;
        assert!((bound.denoising_elbo() - exact).abs() < 1e-12);
        assert!((bound.consistency_elbo() - exact).abs() < 1e-12);
        assert!(bound.printed_elbo() < exact - 0.1);
        Ok(())
    }

    #[test]
    fn a_reverse_chain_that_does_not_fit_is_an_error() -> Result<(), Error> {
        let process = Process::linear_gamma(-3.0, 2.0, 1)?;
        let step = LinearConditional::scalar(0.5, 0.0, 1.0)?;
        let two = Chain::new(Gaussian::standard(1)?, vec![step.clone(), step.clone()])?;
        let one = Chain::new(Gaussian::standard(1)?, vec![step])?;
        assert!(DiffusionBound::new(&process, &two, &vector(&[0.1])).is_err());
        assert!(DiffusionBound::new(&process, &one, &vector(&[0.1, 0.2])).is_err());
        assert!(exact_elbo(&process, &one, &vector(&[0.1, 0.2])).is_err());
        assert!(exact_elbo(&process, &two, &vector(&[0.1])).is_err());
        Ok(())
    }
}
