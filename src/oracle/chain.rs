//! Markov chains of linear Gaussians: u_0, then u_i given u_{i-1} = N(A_i u_{i-1} + b_i,
//! C_i).
//!
//! The same type serves the forward process, a hierarchical prior, a bottom-up encoder and
//! a reverse chain. All questions go through the covariance of the whole chain, which no
//! formula of the book uses: that is what makes it a second side.

use std::ops::Range;

use rand::Rng;

use super::{
    algebra::{Matrix, Vector},
    error::{Error, same},
    gaussian::{Gaussian, LinearConditional, stack, symmetric},
    linear_gaussian::LinearGaussian,
};

/// p(u_0) p(u_1|u_0) ... p(u_n|u_{n-1}), every factor a linear Gaussian.
#[derive(Clone, Debug)]
pub struct Chain {
    first: Gaussian,
    steps: Vec<LinearConditional>,
}

impl Chain {
    /// The chain that starts from `first` and takes these steps.
    ///
    /// # Errors
    /// [`Error::Dimension`] where a step does not take what the one before gives.
    pub fn new(first: Gaussian, steps: Vec<LinearConditional>) -> Result<Self, Error> {
        let mut dimension = first.dimension();
        for step in &steps {
            same("the input of a step of a chain", dimension, step.input_dimension())?;
            dimension = step.output_dimension();
        }
        Ok(Self { first, steps })
    }

    /// The law of u_0.
    pub fn first(&self) -> &Gaussian {
        &self.first
    }

    /// The conditionals of u_1, u_2, ...
    pub fn steps(&self) -> &[LinearConditional] {
        &self.steps
    }

    /// The coordinates of u_i in the joint law, for i = 0, 1, ...
    pub fn blocks(&self) -> Vec<Range<usize>> {
        let mut end = self.first.dimension();
        let mut blocks = Vec::with_capacity(self.steps.len() + 1);
        blocks.push(0..end);
        for step in &self.steps {
            blocks.push(end..end + step.output_dimension());
            end += step.output_dimension();
        }
        blocks
    }

    /// The law of each u_i alone, for i = 0, 1, ...
    ///
    /// # Errors
    /// None for a valid chain, up to underflow of a variance.
    pub fn marginals(&self) -> Result<Vec<Gaussian>, Error> {
        let mut laws = vec![self.first.clone()];
        let mut law = self.first.clone();
        for step in &self.steps {
            law = step.marginal(&law)?;
            laws.push(law.clone());
        }
        Ok(laws)
    }

    /// The joint law of (u_0, u_1, ..., u_n), with its full covariance.
    ///
    /// # Errors
    /// None for a valid chain, up to underflow of a variance.
    pub fn joint(&self) -> Result<Gaussian, Error> {
        let blocks = self.blocks();
        let length = blocks.last().map_or(0, |block| block.end);
        let mut mean = self.first.mean().clone();
        let mut covariance = Matrix::zeros(length, length);
        let first = self.first.dimension();
        covariance.view_mut((0, 0), (first, first)).copy_from(self.first.covariance());
        for (step, pair) in self.steps.iter().zip(blocks.windows(2)) {
            let (from, to) = (&pair[0], &pair[1]);
            let next =
                step.matrix() * mean.rows(from.start, from.len()) + step.noise().mean();
            mean = stack(&mean, &next);
            // Cov(u_i, u_j) = A_i Cov(u_{i-1}, u_j) for every j < i.
            let cross =
                step.matrix() * covariance.view((from.start, 0), (from.len(), to.start));
            let own = cross.columns(from.start, from.len()) * step.matrix().transpose()
                + step.noise().covariance();
            covariance.view_mut((to.start, 0), cross.shape()).copy_from(&cross);
            covariance
                .view_mut((0, to.start), (cross.ncols(), cross.nrows()))
                .copy_from(&cross.transpose());
            covariance.view_mut((to.start, to.start), own.shape()).copy_from(&own);
        }
        Gaussian::new(mean, symmetric(covariance))
    }

    /// The same joint law, factorised from the other end: p(u_n) p(u_{n-1}|u_n) ...
    /// p(u_0|u_1). For a forward process started from Gaussian data this is the exact
    /// reverse chain.
    ///
    /// # Errors
    /// None for a valid chain, up to underflow of a variance.
    pub fn reversed(&self) -> Result<Self, Error> {
        let laws = self.marginals()?;
        let mut steps = Vec::with_capacity(self.steps.len());
        for (step, law) in self.steps.iter().zip(&laws).rev() {
            steps.push(step.reversed(law)?);
        }
        let last = laws.last().unwrap_or(&self.first).clone();
        Self::new(last, steps)
    }

    /// Reads the chain as a latent-variable model z_T -> ... -> z_1 -> x: the last variable
    /// is the data, the others the latent, stacked in the order (z_1, ..., z_T).
    ///
    /// # Errors
    /// [`Error::Dimension`] where the chain has no step.
    pub fn latent_model(&self) -> Result<LinearGaussian, Error> {
        let Some((decoder, inner)) = self.steps.split_last() else {
            return Err(Error::Dimension {
                what: "the number of steps of a chain read as a latent model",
                expected: 1,
                found: 0,
            });
        };
        let latents = Self::new(self.first.clone(), inner.to_vec())?;
        let order: Vec<usize> = latents.blocks().into_iter().rev().flatten().collect();
        let prior = latents.joint()?.marginal(&order)?;
        // x reads z_1 alone, which comes first.
        let mut weights = Matrix::zeros(decoder.output_dimension(), order.len());
        weights.columns_mut(0, decoder.input_dimension()).copy_from(decoder.matrix());
        let noise = decoder.noise();
        let likelihood = LinearConditional::new(
            weights,
            noise.mean().clone(),
            noise.covariance().clone(),
        )?;
        LinearGaussian::new(prior, likelihood)
    }

    /// One path (u_0, ..., u_n).
    pub fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> Vec<Vector> {
        let mut path = vec![self.first.sample(rng)];
        for step in &self.steps {
            let mean = path.last().map(|u| step.matrix() * u).unwrap_or_default();
            path.push(mean + step.noise().sample(rng));
        }
        path
    }

    /// log p(u_0, ..., u_n) of one path, factor by factor, in nats.
    ///
    /// # Errors
    /// [`Error::Dimension`] where the path does not fit the chain.
    pub fn log_prob(&self, path: &[Vector]) -> Result<f64, Error> {
        same("the length of a path", self.steps.len() + 1, path.len())?;
        let mut total = self.first.log_prob(&path[0])?;
        for (step, pair) in self.steps.iter().zip(path.windows(2)) {
            total += step.given(&pair[0])?.log_prob(&pair[1])?;
        }
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::Chain;
    use crate::oracle::{Error, Gaussian, LinearConditional, Vector, matrix, vector};

    fn example() -> Result<Chain, Error> {
        let up = LinearConditional::new(
            matrix(&[&[0.5], &[-1.0]])?,
            vector(&[0.1, 0.2]),
            matrix(&[&[0.3, 0.1], &[0.1, 0.4]])?,
        )?;
        let down = LinearConditional::new(
            matrix(&[&[0.7, 0.2]])?,
            vector(&[-0.3]),
            matrix(&[&[0.25]])?,
        )?;
        Chain::new(Gaussian::scalar(0.4, 1.5)?, vec![up, down])
    }

    #[test]
    fn factors_joint_and_reversal_give_one_density() -> Result<(), Error> {
        let chain = example()?;
        let (joint, reversed) = (chain.joint()?, chain.reversed()?);
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for _ in 0..10 {
            let mut path = chain.sample(&mut rng);
            let stacked: Vec<f64> = path.iter().flat_map(|u| u.iter().copied()).collect();
            let by_factors = chain.log_prob(&path)?;
            assert!((by_factors - joint.log_prob(&vector(&stacked))?).abs() < 1e-12);
            path.reverse();
            assert!((by_factors - reversed.log_prob(&path)?).abs() < 1e-12);
        }
        for (block, law) in chain.blocks().into_iter().zip(chain.marginals()?) {
            let marginal = joint.marginal(&block.collect::<Vec<_>>())?;
            assert!((marginal.covariance() - law.covariance()).amax() < 1e-14);
        }
        Ok(())
    }

    #[test]
    fn chains_that_do_not_fit_are_errors() -> Result<(), Error> {
        let step = LinearConditional::scalar(1.0, 0.0, 1.0)?;
        assert!(Chain::new(Gaussian::standard(2)?, vec![step]).is_err());
        assert!(example()?.log_prob(&[Vector::zeros(1)]).is_err());
        assert!(Chain::new(Gaussian::standard(2)?, Vec::new())?.latent_model().is_err());
        Ok(())
    }
}
