//! The multivariate normal distribution with a full covariance, and linear-Gaussian
//! conditionals.

use std::f64::consts::TAU;
use std::ops::Range;

use nalgebra::{Cholesky, Dyn};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::{
    algebra::{Matrix, Vector},
    error::{Error, same},
};

/// N(mean, covariance) in d dimensions, d at least 1.
#[derive(Clone, Debug)]
pub struct Gaussian {
    mean: Vector,
    covariance: Matrix,
    cholesky: Cholesky<f64, Dyn>,
}

impl Gaussian {
    /// The normal with this mean `[d]` and covariance `[d, d]`.
    ///
    /// # Errors
    /// [`Error::Dimension`] where the sizes differ or d is 0;
    /// [`Error::NotPositiveDefinite`] where the covariance is not symmetric (to 1e-9
    /// relative) and positive definite; [`Error::OutOfRange`] where the mean is not finite.
    pub fn new(mean: Vector, covariance: Matrix) -> Result<Self, Error> {
        let dimension = mean.len();
        same("the number of rows of a covariance", dimension, covariance.nrows())?;
        same("the number of columns of a covariance", dimension, covariance.ncols())?;
        if dimension == 0 {
            return Err(Error::Dimension {
                what: "the dimension of a Gaussian",
                expected: 1,
                found: 0,
            });
        }
        let asymmetry = (&covariance - covariance.transpose()).amax();
        if asymmetry > 1e-9 * covariance.amax() {
            return Err(Error::NotPositiveDefinite);
        }
        if let Some(&found) = mean.iter().find(|m| !m.is_finite()) {
            return Err(Error::OutOfRange { what: "a finite mean", found });
        }
        let cholesky =
            Cholesky::new(covariance.clone()).ok_or(Error::NotPositiveDefinite)?;
        if !cholesky.ln_determinant().is_finite() {
            return Err(Error::NotPositiveDefinite);
        }
        Ok(Self { mean, covariance, cholesky })
    }

    /// N(mean, variance I).
    ///
    /// # Errors
    /// As [`Gaussian::new`]; the variance must be above zero.
    pub fn isotropic(mean: Vector, variance: f64) -> Result<Self, Error> {
        let dimension = mean.len();
        Self::new(mean, Matrix::identity(dimension, dimension) * variance)
    }

    /// N(0, I) in `dimension` dimensions.
    ///
    /// # Errors
    /// [`Error::Dimension`] where `dimension` is 0.
    pub fn standard(dimension: usize) -> Result<Self, Error> {
        Self::isotropic(Vector::zeros(dimension), 1.0)
    }

    /// N(mean, variance) on the line.
    ///
    /// # Errors
    /// [`Error::NotPositiveDefinite`] where the variance is not above zero.
    pub fn scalar(mean: f64, variance: f64) -> Result<Self, Error> {
        Self::isotropic(Vector::from_element(1, mean), variance)
    }

    /// The dimension d.
    pub fn dimension(&self) -> usize {
        self.mean.len()
    }

    /// The mean `[d]`.
    pub fn mean(&self) -> &Vector {
        &self.mean
    }

    /// The covariance `[d, d]`.
    pub fn covariance(&self) -> &Matrix {
        &self.covariance
    }

    /// The inverse of the covariance, `[d, d]`.
    pub fn precision(&self) -> Matrix {
        self.cholesky.inverse()
    }

    /// The lower triangular L with L L^T = covariance, `[d, d]`.
    pub fn cholesky_factor(&self) -> Matrix {
        self.cholesky.l()
    }

    /// log N(x; mean, covariance), in nats, for x `[d]`.
    ///
    /// # Errors
    /// [`Error::Dimension`] where x has another length.
    pub fn log_prob(&self, x: &Vector) -> Result<f64, Error> {
        same("the length of x", self.dimension(), x.len())?;
        let residual = x - &self.mean;
        let mahalanobis = residual.dot(&self.cholesky.solve(&residual));
        Ok(-0.5 * (self.log_normalizer() + mahalanobis))
    }

    /// d ln 2 pi + ln |covariance|.
    fn log_normalizer(&self) -> f64 {
        self.dimension() as f64 * TAU.ln() + self.cholesky.ln_determinant()
    }

    /// The gradient of the log density with respect to x, `[d]`.
    ///
    /// # Errors
    /// [`Error::Dimension`] where x has another length.
    pub fn score(&self, x: &Vector) -> Result<Vector, Error> {
        same("the length of x", self.dimension(), x.len())?;
        Ok(self.cholesky.solve(&(&self.mean - x)))
    }

    /// E log N(u; mean, covariance) over any law of u with mean `[d]` and covariance `[d,
    /// d]`, in nats. Only these two moments matter, because the log density is quadratic.
    ///
    /// # Errors
    /// [`Error::Dimension`] where the sizes differ.
    pub fn expected_log_prob(
        &self,
        mean: &Vector,
        covariance: &Matrix,
    ) -> Result<f64, Error> {
        same("the number of rows of a covariance", self.dimension(), covariance.nrows())?;
        same(
            "the number of columns of a covariance",
            self.dimension(),
            covariance.ncols(),
        )?;
        Ok(self.log_prob(mean)? - 0.5 * self.cholesky.solve(covariance).trace())
    }

    /// The differential entropy, in nats.
    pub fn entropy(&self) -> f64 {
        0.5 * (self.log_normalizer() + self.dimension() as f64)
    }

    /// KL(self || other), in nats, through the two Cholesky factors.
    ///
    /// # Errors
    /// [`Error::Dimension`] where the dimensions differ.
    pub fn kl(&self, other: &Self) -> Result<f64, Error> {
        same("the dimension of a Gaussian", other.dimension(), self.dimension())?;
        let factor = other.cholesky.l();
        let (Some(ratio), Some(shift)) = (
            factor.solve_lower_triangular(&self.cholesky.l()),
            factor.solve_lower_triangular(&(&self.mean - &other.mean)),
        ) else {
            return Err(Error::NotPositiveDefinite);
        };
        // KL = sum_i (r_ii^2 - 1)/2 - ln r_ii + off-diagonals and the shift, r = L_2^-1
        // L_1.
        let logs: f64 = ratio.diagonal().iter().map(|r| r.ln()).sum();
        let dimension = self.dimension() as f64;
        Ok(0.5 * (ratio.norm_squared() - dimension + shift.norm_squared()) - logs)
    }

    /// The law of the named coordinates, in the order given (so it can also permute).
    ///
    /// # Errors
    /// [`Error::Index`] for an index out of range or repeated; [`Error::Dimension`] for no
    /// index.
    pub fn marginal(&self, indices: &[usize]) -> Result<Self, Error> {
        self.check(indices)?;
        Self::new(
            self.mean.select_rows(indices),
            self.covariance.select_rows(indices).select_columns(indices),
        )
    }

    /// The law of the remaining coordinates, in their order, given that the coordinates
    /// `observed` have these `values`.
    ///
    /// # Errors
    /// [`Error::Index`] for an index out of range or repeated; [`Error::Dimension`] where
    /// `values` has another length than `observed`, or nothing remains.
    pub fn condition(&self, observed: &[usize], values: &Vector) -> Result<Self, Error> {
        same("the number of observed values", observed.len(), values.len())?;
        let rest = self.rest(observed)?;
        let map = self.regression(&rest, observed)?;
        map.given(values)
    }

    /// The conditional law of the coordinates `targets` given the coordinates `inputs`, as
    /// a function of the inputs.
    ///
    /// # Errors
    /// [`Error::Index`] for an index out of range or repeated; [`Error::Dimension`] for no
    /// index.
    pub fn regression(
        &self,
        targets: &[usize],
        inputs: &[usize],
    ) -> Result<LinearConditional, Error> {
        let all: Vec<usize> = targets.iter().chain(inputs).copied().collect();
        self.check(&all)?;
        let given = self.marginal(inputs)?;
        let cross = self.covariance.select_rows(inputs).select_columns(targets);
        let gain = given.cholesky.solve(&cross).transpose();
        let offset = self.mean.select_rows(targets) - &gain * &given.mean;
        let own = self.covariance.select_rows(targets).select_columns(targets);
        LinearConditional::new(gain.clone(), offset, symmetric(own - gain * cross))
    }

    /// The law of A u + b for u of this law, with A `[m, d]` of full row rank and b `[m]`.
    ///
    /// # Errors
    /// [`Error::Dimension`] where the sizes differ; [`Error::NotPositiveDefinite`] where A
    /// loses rank.
    pub fn affine(&self, matrix: &Matrix, offset: &Vector) -> Result<Self, Error> {
        same("the number of columns of a matrix", self.dimension(), matrix.ncols())?;
        same("the length of an offset", matrix.nrows(), offset.len())?;
        Self::new(
            matrix * &self.mean + offset,
            symmetric(matrix * &self.covariance * matrix.transpose()),
        )
    }

    /// One draw, `[d]`.
    pub fn sample<R: Rng + ?Sized>(&self, rng: &mut R) -> Vector {
        let noise = Vector::from_fn(self.dimension(), |_, _| StandardNormal.sample(rng));
        &self.mean + self.cholesky.l() * noise
    }

    /// The coordinates that are not in `indices`.
    fn rest(&self, indices: &[usize]) -> Result<Vec<usize>, Error> {
        self.check(indices)?;
        Ok((0..self.dimension()).filter(|i| !indices.contains(i)).collect())
    }

    fn check(&self, indices: &[usize]) -> Result<(), Error> {
        let length = self.dimension();
        let mut seen = vec![false; length];
        for &index in indices {
            match seen.get_mut(index) {
                Some(slot) if !*slot => *slot = true,
                _ => return Err(Error::Index { index, length }),
            }
        }
        Ok(())
    }
}

/// p(y | x) = N(y; A x + b, C), with A `[m, d]`, b `[m]`, C `[m, m]`.
#[derive(Clone, Debug)]
pub struct LinearConditional {
    matrix: Matrix,
    noise: Gaussian,
}

impl LinearConditional {
    /// N(y; A x + b, C).
    ///
    /// # Errors
    /// [`Error::Dimension`] where the sizes differ; [`Error::NotPositiveDefinite`] for a
    /// bad C.
    pub fn new(matrix: Matrix, offset: Vector, covariance: Matrix) -> Result<Self, Error> {
        same("the length of an offset", matrix.nrows(), offset.len())?;
        let noise = Gaussian::new(offset, covariance)?;
        Ok(Self { matrix, noise })
    }

    /// N(y; scale x + b, variance I), with x and y of the length of b.
    ///
    /// # Errors
    /// As [`LinearConditional::new`].
    pub fn isotropic(scale: f64, offset: Vector, variance: f64) -> Result<Self, Error> {
        let dimension = offset.len();
        let identity = Matrix::identity(dimension, dimension);
        Self::new(&identity * scale, offset, identity * variance)
    }

    /// N(y; a x + b, c) on the line.
    ///
    /// # Errors
    /// As [`LinearConditional::new`].
    pub fn scalar(a: f64, b: f64, c: f64) -> Result<Self, Error> {
        Self::isotropic(a, Vector::from_element(1, b), c)
    }

    /// The length of x.
    pub fn input_dimension(&self) -> usize {
        self.matrix.ncols()
    }

    /// The length of y.
    pub fn output_dimension(&self) -> usize {
        self.matrix.nrows()
    }

    /// The matrix A.
    pub fn matrix(&self) -> &Matrix {
        &self.matrix
    }

    /// N(b, C): the law of y at x = 0.
    pub fn noise(&self) -> &Gaussian {
        &self.noise
    }

    /// The law of y at this x.
    ///
    /// # Errors
    /// [`Error::Dimension`] where x has another length.
    pub fn given(&self, x: &Vector) -> Result<Gaussian, Error> {
        same("the length of x", self.input_dimension(), x.len())?;
        let mut law = self.noise.clone();
        law.mean += &self.matrix * x;
        Ok(law)
    }

    /// The joint law of (x, y) for x of the law `input`.
    ///
    /// # Errors
    /// [`Error::Dimension`] where `input` has another dimension.
    pub fn joint(&self, input: &Gaussian) -> Result<Gaussian, Error> {
        same("the dimension of a Gaussian", self.input_dimension(), input.dimension())?;
        let (n, m) = (self.input_dimension(), self.output_dimension());
        let cross = &self.matrix * &input.covariance;
        let own = &cross * self.matrix.transpose() + &self.noise.covariance;
        let mut covariance = Matrix::zeros(n + m, n + m);
        covariance.view_mut((0, 0), (n, n)).copy_from(&input.covariance);
        covariance.view_mut((n, 0), (m, n)).copy_from(&cross);
        covariance.view_mut((0, n), (n, m)).copy_from(&cross.transpose());
        covariance.view_mut((n, n), (m, m)).copy_from(&symmetric(own));
        Gaussian::new(
            stack(&input.mean, &(&self.matrix * &input.mean + &self.noise.mean)),
            covariance,
        )
    }

    /// The law of y for x of the law `input`.
    ///
    /// # Errors
    /// [`Error::Dimension`] where `input` has another dimension.
    pub fn marginal(&self, input: &Gaussian) -> Result<Gaussian, Error> {
        same("the dimension of a Gaussian", self.input_dimension(), input.dimension())?;
        let spread = &self.matrix * &input.covariance * self.matrix.transpose();
        Gaussian::new(
            &self.matrix * &input.mean + &self.noise.mean,
            symmetric(spread + &self.noise.covariance),
        )
    }

    /// Bayes: p(x | y) as a function of y, for x of the law `input`.
    ///
    /// # Errors
    /// [`Error::Dimension`] where `input` has another dimension.
    pub fn reversed(&self, input: &Gaussian) -> Result<Self, Error> {
        let (n, m) = (self.input_dimension(), self.output_dimension());
        let (x, y): (Vec<usize>, Vec<usize>) = ((0..n).collect(), (n..n + m).collect());
        self.joint(input)?.regression(&x, &y)
    }

    /// E log N(y; A x + b, C) over a joint Gaussian law of which `x` and `y` are blocks of
    /// coordinates, in nats.
    ///
    /// # Errors
    /// [`Error::Dimension`] where a block has another length than A says; [`Error::Index`]
    /// where a block reaches outside the joint law.
    pub fn expected_log_prob(
        &self,
        joint: &Gaussian,
        y: Range<usize>,
        x: Range<usize>,
    ) -> Result<f64, Error> {
        same("the length of y", self.output_dimension(), y.len())?;
        same("the length of x", self.input_dimension(), x.len())?;
        let length = joint.dimension();
        for block in [&x, &y] {
            let end = block.start.max(block.end);
            if end > length {
                return Err(Error::Index { index: end - 1, length });
            }
        }
        // The residual y - A x is a linear map of the joint vector.
        let mut map = Matrix::zeros(self.output_dimension(), length);
        let mut columns = map.columns_mut(x.start, x.len());
        columns -= &self.matrix;
        let mut columns = map.columns_mut(y.start, y.len());
        columns += Matrix::identity(y.len(), y.len());
        let mean = &map * &joint.mean;
        let covariance = &map * &joint.covariance * map.transpose();
        self.noise.expected_log_prob(&mean, &covariance)
    }
}

/// (a, b) as one vector.
pub(super) fn stack(a: &Vector, b: &Vector) -> Vector {
    Vector::from_iterator(a.len() + b.len(), a.iter().chain(b.iter()).copied())
}

/// The symmetric part: rounding makes a product of three matrices slightly asymmetric.
pub(super) fn symmetric(matrix: Matrix) -> Matrix {
    (&matrix + matrix.transpose()) * 0.5
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::{Gaussian, LinearConditional};
    use crate::oracle::{Error, Matrix, matrix, vector};

    fn example() -> Result<Gaussian, Error> {
        let covariance = matrix(&[&[2.0, 0.3, -0.5], &[0.3, 1.0, 0.2], &[-0.5, 0.2, 0.7]])?;
        Gaussian::new(vector(&[1.0, -2.0, 0.5]), covariance)
    }

    #[test]
    fn a_joint_density_is_a_marginal_times_a_conditional() -> Result<(), Error> {
        let (law, x) = (example()?, vector(&[0.4, -1.0, 1.2]));
        let marginal = law.marginal(&[2, 0])?;
        let conditional = law.condition(&[2, 0], &vector(&[x[2], x[0]]))?;
        let product = marginal.log_prob(&vector(&[x[2], x[0]]))?
            + conditional.log_prob(&vector(&[x[1]]))?;
        assert!((law.log_prob(&x)? - product).abs() < 1e-13);
        Ok(())
    }

    #[test]
    fn samples_have_the_mean_and_covariance() -> Result<(), Error> {
        let (law, mut rng) = (example()?, ChaCha8Rng::seed_from_u64(1));
        let (mut mean, mut second) = (vector(&[0.0; 3]), Matrix::zeros(3, 3));
        let draws = 100_000.0;
        for _ in 0..100_000 {
            let x = law.sample(&mut rng);
            second += &x * x.transpose() / draws;
            mean += x / draws;
        }
        assert!((&mean - law.mean()).amax() < 0.03);
        assert!((second - &mean * mean.transpose() - law.covariance()).amax() < 0.05);
        Ok(())
    }

    #[test]
    fn an_affine_map_moves_mean_and_covariance() -> Result<(), Error> {
        let law = example()?.affine(&matrix(&[&[1.0, 0.0, 2.0]])?, &vector(&[0.5]))?;
        assert!((law.mean()[0] - 2.5).abs() < 1e-15);
        assert!((law.covariance()[(0, 0)] - (2.0 + 4.0 * 0.7 - 4.0 * 0.5)).abs() < 1e-14);
        Ok(())
    }

    #[test]
    fn entropy_is_minus_the_expected_log_density() -> Result<(), Error> {
        let law = example()?;
        let expected = law.expected_log_prob(law.mean(), law.covariance())?;
        assert!((law.entropy() + expected).abs() < 1e-13);
        Ok(())
    }

    #[test]
    fn sizes_that_do_not_fit_are_errors() -> Result<(), Error> {
        let (law, short) = (example()?, vector(&[1.0]));
        assert!(law.log_prob(&short).is_err());
        assert!(law.score(&short).is_err());
        assert!(law.kl(&Gaussian::standard(2)?).is_err());
        assert!(law.expected_log_prob(law.mean(), &Matrix::zeros(2, 3)).is_err());
        assert_eq!(law.marginal(&[3]).err(), Some(Error::Index { index: 3, length: 3 }));
        assert_eq!(law.marginal(&[1, 1]).err(), Some(Error::Index { index: 1, length: 3 }));
        assert!(law.marginal(&[]).is_err());
        assert!(law.condition(&[0, 1, 2], &vector(&[0.0; 3])).is_err());
        assert!(law.condition(&[0], &vector(&[0.0; 2])).is_err());
        assert!(law.affine(&Matrix::zeros(1, 2), &short).is_err());
        assert!(
            law.affine(&Matrix::zeros(1, 3), &short).is_err(),
            "a map without full rank"
        );
        assert!(Gaussian::standard(0).is_err());
        assert!(Gaussian::scalar(f64::NAN, 1.0).is_err());
        for variance in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Gaussian::scalar(0.0, variance).is_err(), "{variance}");
        }
        let skewed = matrix(&[&[1.0, 0.5], &[0.0, 1.0]])?;
        assert_eq!(
            Gaussian::new(vector(&[0.0, 0.0]), skewed).err(),
            Some(Error::NotPositiveDefinite)
        );
        let step = LinearConditional::scalar(0.5, 0.0, 1.0)?;
        assert!(step.given(&vector(&[0.0, 0.0])).is_err());
        assert!(step.joint(&law).is_err() && step.marginal(&law).is_err());
        assert!(step.expected_log_prob(&law, 2..3, 3..4).is_err());
        assert!(matrix(&[&[1.0], &[1.0, 2.0]]).is_err());
        Ok(())
    }
}
