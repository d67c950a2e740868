//! Gaussian mixtures under the forward process.
//!
//! If x is a mixture, so is z = sqrt(abar) x + sqrt(1 - abar) eps, and so is x given z.
//! Hence the marginal density, its score and Hessian, and the ideal denoiser are all exact.
//! [`ScalarMixture`] is the one-dimensional case in plain floats, fast enough for double
//! integrals.

use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

use super::{
    algebra::{Matrix, Vector, log_sum_exp},
    error::{Error, probabilities, same},
    gaussian::{Gaussian, LinearConditional, symmetric},
    process::NoiseLevel,
    quadrature::Rule,
};

/// A mixture of normals on the line. Variances may be zero: then the component is a point,
/// and only its noised versions have a density.
#[derive(Clone, Debug, PartialEq)]
pub struct ScalarMixture {
    weights: Vec<f64>,
    means: Vec<f64>,
    variances: Vec<f64>,
}

impl ScalarMixture {
    /// The mixture with these weights, means and variances.
    ///
    /// # Errors
    /// [`Error::Dimension`] where the lengths differ; [`Error::NotProbabilities`] for
    /// weights that are no distribution; [`Error::OutOfRange`] for a negative variance or
    /// infinite mean.
    pub fn new(weights: &[f64], means: &[f64], variances: &[f64]) -> Result<Self, Error> {
        same("the number of means", weights.len(), means.len())?;
        same("the number of variances", weights.len(), variances.len())?;
        probabilities("the weights of a mixture", weights)?;
        for &found in means {
            if !found.is_finite() {
                return Err(Error::OutOfRange { what: "finite means", found });
            }
        }
        for &found in variances {
            if !(found.is_finite() && found >= 0.0) {
                return Err(Error::OutOfRange { what: "variances of zero or more", found });
            }
        }
        Ok(Self {
            weights: weights.to_vec(),
            means: means.to_vec(),
            variances: variances.to_vec(),
        })
    }

    /// The weight, mean and variance of each component.
    pub fn components(&self) -> impl Iterator<Item = (f64, f64, f64)> + '_ {
        self.weights
            .iter()
            .zip(&self.means)
            .zip(&self.variances)
            .map(|((w, m), v)| (*w, *m, *v))
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        self.components().map(|(w, m, _)| w * m).sum()
    }

    /// The variance.
    pub fn variance(&self) -> f64 {
        self.central_moments().0
    }

    /// The second and fourth moments about the mean.
    pub fn central_moments(&self) -> (f64, f64) {
        let mean = self.mean();
        self.components().fold((0.0, 0.0), |(second, fourth), (w, m, v)| {
            let shift = (m - mean).powi(2);
            (
                second + w * (v + shift),
                fourth + w * (3.0 * v * v + 6.0 * v * shift + shift * shift),
            )
        })
    }

    /// The law of scale x + N(0, noise).
    pub fn affine(&self, scale: f64, noise: f64) -> Self {
        Self {
            weights: self.weights.clone(),
            means: self.means.iter().map(|m| scale * m).collect(),
            variances: self.variances.iter().map(|v| scale * scale * v + noise).collect(),
        }
    }

    /// q(z): the law of z at this noise level.
    pub fn marginal(&self, level: NoiseLevel) -> Self {
        self.affine(level.abar().sqrt(), level.noise())
    }

    /// q(x|z) at this noise level: again a mixture. Its mean is the ideal denoiser
    /// (Tweedie's left side), its variance the error that even the ideal denoiser makes.
    pub fn posterior(&self, z: f64, level: NoiseLevel) -> Self {
        let (signal, noise) = (level.abar().sqrt(), level.noise());
        let marginal = self.marginal(level);
        let gain = |v: f64| v / (signal * signal * v + noise);
        Self {
            weights: marginal.responsibilities(z),
            means: self
                .components()
                .map(|(_, m, v)| m + signal * gain(v) * (z - signal * m))
                .collect(),
            variances: self.variances.iter().map(|&v| gain(v) * noise).collect(),
        }
    }

    /// The ideal x_hat at this noise level, and its slope by z: Var(x|z) sqrt(abar) / (1 -
    /// abar).
    pub fn denoise(&self, z: f64, level: NoiseLevel) -> (f64, f64) {
        let posterior = self.posterior(z, level);
        (posterior.mean(), posterior.variance() * level.abar().sqrt() / level.noise())
    }

    /// P(X <= x). No component may be a point.
    pub fn cdf(&self, x: f64) -> f64 {
        self.components().map(|(w, m, v)| w * normal_cdf((x - m) / v.sqrt())).sum()
    }

    /// log p(x), in nats. Not finite where a component is a point.
    pub fn log_prob(&self, x: f64) -> f64 {
        log_sum_exp(&self.log_terms(x))
    }

    /// d/dx log p(x).
    pub fn score(&self, x: f64) -> f64 {
        self.slopes(x).0
    }

    /// d^2/dx^2 log p(x).
    pub fn hessian(&self, x: f64) -> f64 {
        self.slopes(x).1
    }

    /// The smallest mean squared error of x from z at this noise level: E Var(x|z), by
    /// Gauss-Hermite under each component of q(z).
    pub fn mmse(&self, level: NoiseLevel, rule: &Rule) -> f64 {
        self.marginal(level)
            .components()
            .map(|(w, m, v)| {
                w * rule.normal(m, v.sqrt(), |z| self.posterior(z, level).variance())
            })
            .sum()
    }

    /// One draw.
    pub fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> f64 {
        let component = pick(&self.weights, rng);
        let noise: f64 = StandardNormal.sample(rng);
        self.means[component] + self.variances[component].sqrt() * noise
    }

    fn log_terms(&self, x: f64) -> Vec<f64> {
        self.components()
            .map(|(w, m, v)| {
                w.ln() - 0.5 * ((std::f64::consts::TAU * v).ln() + (x - m).powi(2) / v)
            })
            .collect()
    }

    fn responsibilities(&self, x: f64) -> Vec<f64> {
        softmax(&self.log_terms(x))
    }

    fn slopes(&self, x: f64) -> (f64, f64) {
        let responsibilities = self.responsibilities(x);
        let (mut score, mut curvature) = (0.0, 0.0);
        for (r, (_, m, v)) in responsibilities.iter().zip(self.components()) {
            let slope = (m - x) / v;
            score += r * slope;
            curvature += r * (slope * slope - 1.0 / v);
        }
        (score, curvature - score * score)
    }
}

/// A mixture of normals with full covariances in d dimensions.
#[derive(Clone, Debug)]
pub struct Mixture {
    weights: Vec<f64>,
    components: Vec<Gaussian>,
}

impl Mixture {
    /// The mixture with these weights and components.
    ///
    /// # Errors
    /// [`Error::Dimension`] where the numbers or the dimensions differ;
    /// [`Error::NotProbabilities`] for weights that are no distribution.
    pub fn new(weights: &[f64], components: Vec<Gaussian>) -> Result<Self, Error> {
        same("the number of components", weights.len(), components.len())?;
        probabilities("the weights of a mixture", weights)?;
        if let Some(first) = components.first() {
            for component in &components {
                same(
                    "the dimension of a component",
                    first.dimension(),
                    component.dimension(),
                )?;
            }
        }
        Ok(Self { weights: weights.to_vec(), components })
    }

    /// The dimension d.
    pub fn dimension(&self) -> usize {
        self.components.first().map_or(0, Gaussian::dimension)
    }

    /// The weights.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The components.
    pub fn components(&self) -> &[Gaussian] {
        &self.components
    }

    /// The mean, `[d]`.
    pub fn mean(&self) -> Vector {
        self.weighted(&self.weights, Vector::zeros(self.dimension()), |c| c.mean().clone())
    }

    /// The covariance, `[d, d]`.
    pub fn covariance(&self) -> Matrix {
        let (d, mean) = (self.dimension(), self.mean());
        symmetric(self.weighted(&self.weights, Matrix::zeros(d, d), |c| {
            let shift = c.mean() - &mean;
            c.covariance() + &shift * shift.transpose()
        }))
    }

    /// q(z): the law of z at this noise level.
    ///
    /// # Errors
    /// None for a noise level above the data.
    pub fn marginal(&self, level: NoiseLevel) -> Result<Self, Error> {
        let noising = self.noising(level)?;
        let components = self.components.iter().map(|c| noising.marginal(c));
        Self::new(&self.weights, components.collect::<Result<_, _>>()?)
    }

    /// q(x|z) at this noise level, for z `[d]`: again a mixture, by Bayes for each
    /// component.
    ///
    /// # Errors
    /// [`Error::Dimension`] where z has another length.
    pub fn posterior(&self, z: &Vector, level: NoiseLevel) -> Result<Self, Error> {
        let noising = self.noising(level)?;
        let weights = self.marginal(level)?.responsibilities(z)?;
        let components = self.components.iter().map(|c| noising.reversed(c)?.given(z));
        Self::new(&weights, components.collect::<Result<_, _>>()?)
    }

    /// log p(x) for x `[d]`, in nats.
    ///
    /// # Errors
    /// [`Error::Dimension`] where x has another length.
    pub fn log_prob(&self, x: &Vector) -> Result<f64, Error> {
        Ok(log_sum_exp(&self.log_terms(x)?))
    }

    /// The gradient of log p(x), `[d]`.
    ///
    /// # Errors
    /// [`Error::Dimension`] where x has another length.
    pub fn score(&self, x: &Vector) -> Result<Vector, Error> {
        let scores = self.scores(x)?;
        let responsibilities = self.responsibilities(x)?;
        Ok(responsibilities
            .iter()
            .zip(&scores)
            .fold(Vector::zeros(self.dimension()), |sum, (r, s)| sum + s * *r))
    }

    /// The Hessian of log p(x), `[d, d]`.
    ///
    /// # Errors
    /// [`Error::Dimension`] where x has another length.
    pub fn hessian(&self, x: &Vector) -> Result<Matrix, Error> {
        let score = self.score(x)?;
        let mut hessian = -&score * score.transpose();
        let responsibilities = self.responsibilities(x)?;
        for ((r, s), c) in
            responsibilities.iter().zip(self.scores(x)?).zip(&self.components)
        {
            hessian += (&s * s.transpose() - c.precision()) * *r;
        }
        Ok(symmetric(hessian))
    }

    /// One draw, `[d]`.
    pub fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> Vector {
        self.components[pick(&self.weights, rng)].sample(rng)
    }

    fn noising(&self, level: NoiseLevel) -> Result<LinearConditional, Error> {
        LinearConditional::isotropic(
            level.abar().sqrt(),
            Vector::zeros(self.dimension()),
            level.noise(),
        )
    }

    fn log_terms(&self, x: &Vector) -> Result<Vec<f64>, Error> {
        let terms = self.weights.iter().zip(&self.components);
        terms.map(|(w, c)| Ok(w.ln() + c.log_prob(x)?)).collect()
    }

    fn responsibilities(&self, x: &Vector) -> Result<Vec<f64>, Error> {
        Ok(softmax(&self.log_terms(x)?))
    }

    fn scores(&self, x: &Vector) -> Result<Vec<Vector>, Error> {
        self.components.iter().map(|c| c.score(x)).collect()
    }

    fn weighted<T>(&self, weights: &[f64], zero: T, value: impl Fn(&Gaussian) -> T) -> T
    where
        T: std::ops::Add<Output = T> + std::ops::Mul<f64, Output = T>,
    {
        let terms = weights.iter().zip(&self.components);
        terms.fold(zero, |sum, (w, c)| sum + value(c) * *w)
    }
}

/// P(N(0, 1) <= x) to 1e-15, by the series of Marsaglia (2004), "Evaluating the normal
/// distribution", section 3.
fn normal_cdf(x: f64) -> f64 {
    if x.abs() > 9.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        odd += 2.0;
        term *= x * x / odd;
        sum += term;
    }
    0.5 + sum * (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt()
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let normalizer = log_sum_exp(logits);
    logits.iter().map(|a| (a - normalizer).exp()).collect()
}

/// An index with these probabilities; the last one takes what rounding leaves.
fn pick<R: Rng + ?Sized>(weights: &[f64], rng: &mut R) -> usize {
    let mut left: f64 = rng.random();
    for (index, weight) in weights.iter().enumerate() {
        left -= weight;
        if left < 0.0 {
            return index;
        }
    }
    weights.len().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::{Mixture, ScalarMixture};
    use crate::oracle::{Error, Estimate, Gaussian, NoiseLevel, vector};

    #[test]
    fn one_dimension_agrees_with_d_dimensions() -> Result<(), Error> {
        let (weights, means, variances) = ([0.3, 0.7], [-0.5, 0.9], [0.2, 0.05]);
        let scalar = ScalarMixture::new(&weights, &means, &variances)?;
        let general = Mixture::new(
            &weights,
            vec![Gaussian::scalar(-0.5, 0.2)?, Gaussian::scalar(0.9, 0.05)?],
        )?;
        let level = NoiseLevel::new(0.4);
        for z in [-2.0, 0.1, 1.0] {
            let (noised, wide, point) =
                (scalar.marginal(level), general.marginal(level)?, vector(&[z]));
            assert!((noised.log_prob(z) - wide.log_prob(&point)?).abs() < 1e-13);
            assert!((noised.score(z) - wide.score(&point)?[0]).abs() < 1e-13);
            assert!((noised.hessian(z) - wide.hessian(&point)?[(0, 0)]).abs() < 1e-12);
            let (one, many) =
                (scalar.posterior(z, level), general.posterior(&point, level)?);
            assert!((one.mean() - many.mean()[0]).abs() < 1e-13);
            assert!((one.variance() - many.covariance()[(0, 0)]).abs() < 1e-13);
        }
        Ok(())
    }

    #[test]
    fn samples_have_the_moments() -> Result<(), Error> {
        let mixture = ScalarMixture::new(&[0.3, 0.7], &[-0.5, 0.9], &[0.2, 0.0])?;
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mean = Estimate::of(100_000, || mixture.sample(&mut rng));
        assert!(mean.z_score(mixture.mean()).abs() < 5.0);
        let (second, fourth) = mixture.central_moments();
        let squares =
            Estimate::of(100_000, || (mixture.sample(&mut rng) - mixture.mean()).powi(2));
        assert!(squares.z_score(second).abs() < 5.0);
        let fourths =
            Estimate::of(100_000, || (mixture.sample(&mut rng) - mixture.mean()).powi(4));
        assert!(fourths.z_score(fourth).abs() < 5.0);
        Ok(())
    }

    #[test]
    fn bad_mixtures_are_errors() -> Result<(), Error> {
        assert!(ScalarMixture::new(&[0.5, 0.4], &[0.0, 1.0], &[1.0, 1.0]).is_err());
        assert!(ScalarMixture::new(&[1.0], &[0.0, 1.0], &[1.0]).is_err());
        assert!(ScalarMixture::new(&[1.0], &[0.0], &[-1.0]).is_err());
        assert!(ScalarMixture::new(&[], &[], &[]).is_err());
        let (line, plane) = (Gaussian::standard(1)?, Gaussian::standard(2)?);
        assert!(Mixture::new(&[0.5, 0.5], vec![line.clone(), plane]).is_err());
        let mixture = Mixture::new(&[1.0], vec![line])?;
        assert!(mixture.log_prob(&vector(&[0.0, 1.0])).is_err());
        assert!(mixture.posterior(&vector(&[]), NoiseLevel::new(0.0)).is_err());
        Ok(())
    }
}
