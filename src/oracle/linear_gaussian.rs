//! Latent-variable models that can be solved: p(z) Gaussian, p(x|z) = N(W z + b, C).
//!
//! Everything is closed form: the evidence, the posterior, the ELBO of any Gaussian q, and
//! the maximum of the likelihood (probabilistic PCA). A hierarchy z_1..z_T is the same
//! model with a structured prior on the stacked latent: see `Chain::latent_model`.

use std::f64::consts::TAU;

use nalgebra::SymmetricEigen;

use super::{
    algebra::{Matrix, Vector},
    error::{Error, positive, same},
    gaussian::{Gaussian, LinearConditional, stack},
};

/// p(z) = any Gaussian in k dimensions, p(x|z) = N(W z + b, C) in d dimensions.
#[derive(Clone, Debug)]
pub struct LinearGaussian {
    prior: Gaussian,
    likelihood: LinearConditional,
    joint: Gaussian,
}

impl LinearGaussian {
    /// The model with this prior p(z) and this likelihood p(x|z).
    ///
    /// # Errors
    /// [`Error::Dimension`] where the likelihood does not take a z of the prior's
    /// dimension.
    pub fn new(prior: Gaussian, likelihood: LinearConditional) -> Result<Self, Error> {
        let joint = likelihood.joint(&prior)?;
        Ok(Self { prior, likelihood, joint })
    }

    /// p(z) = N(0, I), p(x|z) = N(W z + b, variance I), with W `[d, k]` and b `[d]`.
    ///
    /// # Errors
    /// [`Error::Dimension`] where the sizes differ; [`Error::NotPositiveDefinite`] where
    /// the variance is not above zero.
    pub fn standard(weights: Matrix, offset: Vector, variance: f64) -> Result<Self, Error> {
        let (d, k) = weights.shape();
        let covariance = Matrix::identity(d, d) * variance;
        Self::new(
            Gaussian::standard(k)?,
            LinearConditional::new(weights, offset, covariance)?,
        )
    }

    /// The length k of z.
    pub fn latent_dimension(&self) -> usize {
        self.prior.dimension()
    }

    /// The length d of x.
    pub fn data_dimension(&self) -> usize {
        self.likelihood.output_dimension()
    }

    /// p(z).
    pub fn prior(&self) -> &Gaussian {
        &self.prior
    }

    /// p(x|z).
    pub fn likelihood(&self) -> &LinearConditional {
        &self.likelihood
    }

    /// p(z, x): the coordinates of z first, `[k + d]`.
    pub fn joint(&self) -> &Gaussian {
        &self.joint
    }

    /// p(x).
    ///
    /// # Errors
    /// None for a valid model.
    pub fn marginal(&self) -> Result<Gaussian, Error> {
        self.likelihood.marginal(&self.prior)
    }

    /// The evidence log p(x), in nats.
    ///
    /// # Errors
    /// [`Error::Dimension`] where x has another length than d.
    pub fn log_prob(&self, x: &Vector) -> Result<f64, Error> {
        self.marginal()?.log_prob(x)
    }

    /// The model's posterior p(z|x), by conditioning the joint covariance.
    ///
    /// # Errors
    /// [`Error::Dimension`] where x has another length than d.
    pub fn posterior(&self, x: &Vector) -> Result<Gaussian, Error> {
        let observed: Vec<usize> =
            (self.latent_dimension()..self.joint.dimension()).collect();
        self.joint.condition(&observed, x)
    }

    /// The ELBO of any Gaussian q(z|x): E_q log p(x, z) + H(q), from the joint covariance,
    /// in nats.
    ///
    /// # Errors
    /// [`Error::Dimension`] where q or x have the wrong size.
    pub fn elbo(&self, x: &Vector, q: &Gaussian) -> Result<f64, Error> {
        let (k, d) = (self.latent_dimension(), self.data_dimension());
        same("the dimension of q", k, q.dimension())?;
        same("the length of x", d, x.len())?;
        let mut covariance = Matrix::zeros(k + d, k + d);
        covariance.view_mut((0, 0), (k, k)).copy_from(q.covariance());
        let mean = stack(q.mean(), x);
        Ok(self.joint.expected_log_prob(&mean, &covariance)? + q.entropy())
    }
}

/// Probabilistic PCA: the model N(0, I), N(W z + b, s2 I) that maximises the likelihood of
/// data with this mean `[d]` and (biased) sample covariance `[d, d]`, with k latent
/// dimensions. W = U_k (L_k - s2 I)^1/2, s2 = the mean of the dropped eigenvalues (Tipping
/// & Bishop 1999, eqs 7 and 8, with R = I).
///
/// # Errors
/// [`Error::Dimension`] unless 1 <= k < d and the covariance is `[d, d]`;
/// [`Error::OutOfRange`] where the dropped eigenvalues have a mean that is not above zero.
pub fn ppca(mean: &Vector, covariance: &Matrix, k: usize) -> Result<LinearGaussian, Error> {
    let (values, vectors) = eigen(covariance)?;
    let d = values.len();
    same("the length of the data mean", d, mean.len())?;
    if k == 0 || k >= d {
        return Err(Error::Dimension {
            what: "the number of latent dimensions (at least 1, less than the data's)",
            expected: d.saturating_sub(1),
            found: k,
        });
    }
    let variance = values[k..].iter().sum::<f64>() / (d - k) as f64;
    positive("a covariance whose dropped eigenvalues are above zero", variance)?;
    let weights = Matrix::from_fn(d, k, |row, column| {
        vectors[(row, column)] * (values[column] - variance).max(0.0).sqrt()
    });
    LinearGaussian::standard(weights, mean.clone(), variance)
}

/// The mean log-likelihood of the data at the maximum of [`ppca`], in nats per example,
/// from the eigenvalues alone (the book's equation ppca-likelihood).
///
/// # Errors
/// As [`ppca`].
pub fn ppca_log_likelihood(covariance: &Matrix, k: usize) -> Result<f64, Error> {
    let d = covariance.nrows();
    let model = ppca(&Vector::zeros(d), covariance, k)?;
    let (values, _) = eigen(covariance)?;
    let variance = model.likelihood.noise().covariance()[(0, 0)];
    let kept: f64 = values[..k].iter().map(|l| l.ln()).sum();
    Ok(-0.5 * (d as f64 * (TAU.ln() + 1.0) + kept + (d - k) as f64 * variance.ln()))
}

/// Eigenvalues in falling order, and their eigenvectors as columns in the same order.
fn eigen(covariance: &Matrix) -> Result<(Vec<f64>, Matrix), Error> {
    same("the number of columns of a covariance", covariance.nrows(), covariance.ncols())?;
    if !covariance.iter().all(|c| c.is_finite()) {
        return Err(Error::NotPositiveDefinite);
    }
    let eigen = SymmetricEigen::new(covariance.clone());
    let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
    order.sort_by(|&i, &j| eigen.eigenvalues[j].total_cmp(&eigen.eigenvalues[i]));
    let values = order.iter().map(|&i| eigen.eigenvalues[i]).collect();
    Ok((values, eigen.eigenvectors.select_columns(&order)))
}

#[cfg(test)]
mod tests {
    use super::{ppca, ppca_log_likelihood};
    use crate::oracle::{Error, Gaussian, LinearGaussian, Matrix, matrix, vector};

    #[test]
    fn sizes_that_do_not_fit_are_errors() -> Result<(), Error> {
        let weights = matrix(&[&[1.0], &[0.5]])?;
        assert!(LinearGaussian::standard(weights.clone(), vector(&[0.0]), 1.0).is_err());
        assert!(
            LinearGaussian::standard(weights.clone(), vector(&[0.0, 0.0]), 0.0).is_err()
        );
        let model = LinearGaussian::standard(weights, vector(&[0.0, 0.0]), 1.0)?;
        assert!(model.log_prob(&vector(&[0.0])).is_err());
        assert!(model.posterior(&vector(&[0.0])).is_err());
        assert!(model.elbo(&vector(&[0.0, 0.0]), &Gaussian::standard(2)?).is_err());
        assert!(model.elbo(&vector(&[0.0]), &Gaussian::standard(1)?).is_err());
        let covariance = Matrix::identity(3, 3);
        for k in [0, 3, 4] {
            assert!(ppca(&vector(&[0.0; 3]), &covariance, k).is_err());
            assert!(ppca_log_likelihood(&covariance, k).is_err());
        }
        assert!(ppca(&vector(&[0.0; 2]), &covariance, 1).is_err());
        assert!(ppca(&vector(&[0.0; 3]), &Matrix::zeros(3, 3), 1).is_err());
        assert!(ppca(&vector(&[0.0; 3]), &(covariance * f64::NAN), 1).is_err());
        assert!(ppca(&vector(&[0.0; 3]), &Matrix::zeros(3, 2), 1).is_err());
        Ok(())
    }
}
