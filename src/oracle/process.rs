//! The forward process in f64: noise levels, the steps between them, and the weights of the
//! loss.
//!
//! The reference for the f32 tensor code, and the second side of the equations of chapters
//! 5 to 7. Formulas are in gamma = -log SNR, with expm1 and sigmoid where a difference of
//! near-equal numbers would lose digits. The data itself is the noise level gamma = minus
//! infinity.

use super::{
    algebra::Vector,
    chain::Chain,
    error::{Error, same},
    gaussian::{Gaussian, LinearConditional},
};

/// 1 / (1 + e^-a), without overflow and to full relative precision at both ends.
pub fn sigmoid(a: f64) -> f64 {
    if a >= 0.0 {
        1.0 / (1.0 + (-a).exp())
    } else {
        let e = a.exp();
        e / (1.0 + e)
    }
}

/// A noise level, named by gamma = -log SNR: q(z|x) = N(sqrt(abar) x, (1 - abar) I).
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct NoiseLevel {
    /// -log SNR. Minus infinity is the data itself, plus infinity pure noise.
    pub gamma: f64,
}

impl NoiseLevel {
    /// The data itself: abar = 1.
    pub const DATA: Self = Self { gamma: f64::NEG_INFINITY };

    /// The noise level with this gamma.
    pub fn new(gamma: f64) -> Self {
        Self { gamma }
    }

    /// The noise level with this signal power abar in [0, 1]; NaN outside.
    pub fn from_abar(abar: f64) -> Self {
        Self { gamma: (-abar).ln_1p() - abar.ln() }
    }

    /// Signal power abar = sigmoid(-gamma).
    pub fn abar(self) -> f64 {
        sigmoid(-self.gamma)
    }

    /// Noise power 1 - abar = sigmoid(gamma).
    pub fn noise(self) -> f64 {
        sigmoid(self.gamma)
    }

    /// abar / (1 - abar) = exp(-gamma).
    pub fn snr(self) -> f64 {
        (-self.gamma).exp()
    }

    /// z = sqrt(abar) x + sqrt(1 - abar) eps, for one coordinate.
    pub fn noised(self, x: f64, eps: f64) -> f64 {
        self.abar().sqrt() * x + self.noise().sqrt() * eps
    }

    /// q(z|x) for x `[d]`.
    ///
    /// # Errors
    /// [`Error::NotPositiveDefinite`] for the data itself, where the law is a point.
    pub fn given(self, x: &Vector) -> Result<Gaussian, Error> {
        Gaussian::isotropic(x * self.abar().sqrt(), self.noise())
    }
}

/// The step between two noise levels s < t (gamma_s < gamma_t), as used by both directions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The lower noise level.
    pub s: NoiseLevel,
    /// The higher noise level.
    pub t: NoiseLevel,
}

impl Step {
    /// The step from gamma_s to gamma_t.
    pub fn new(gamma_s: f64, gamma_t: f64) -> Self {
        Self { s: NoiseLevel::new(gamma_s), t: NoiseLevel::new(gamma_t) }
    }

    /// alpha = abar_t / abar_s.
    pub fn alpha(self) -> f64 {
        self.t.abar() / self.s.abar()
    }

    /// 1 - alpha = (1 - abar_t)(1 - e^(gamma_s - gamma_t)).
    pub fn beta(self) -> f64 {
        self.t.noise() * -(self.s.gamma - self.t.gamma).exp_m1()
    }

    /// The variance of q(z_s|z_t, x): (1 - abar_s)(1 - e^(gamma_s - gamma_t)). Zero where s
    /// is the data.
    pub fn posterior_variance(self) -> f64 {
        self.s.noise() * -(self.s.gamma - self.t.gamma).exp_m1()
    }

    /// The coefficients (A, B) of the mean A z_t + B x of q(z_s|z_t, x).
    pub fn posterior_coefficients(self) -> (f64, f64) {
        // Written with SNR ratios: A = sqrt(alpha) (1 - abar_s)/(1 - abar_t),
        // B = sqrt(abar_s) (1 - e^(gamma_s - gamma_t)).
        let a = self.alpha().sqrt() * self.s.noise() / self.t.noise();
        let b = self.s.abar().sqrt() * -(self.s.gamma - self.t.gamma).exp_m1();
        (a, b)
    }

    /// The mean of q(z_s|z_t, x), for one coordinate.
    pub fn posterior_mean(self, z_t: f64, x: f64) -> f64 {
        let (a, b) = self.posterior_coefficients();
        a * z_t + b * x
    }

    /// The weight of |x - x_hat|^2 in KL(q(z_s|z_t, x) || q(z_s|z_t, x_hat)):
    /// (SNR(s) - SNR(t)) / 2, in nats. Infinite where s is the data.
    pub fn x_weight(self) -> f64 {
        self.t.snr() * self.eps_weight()
    }

    /// The weight of |eps - eps_hat|^2 in the same KL: expm1(gamma_t - gamma_s) / 2.
    pub fn eps_weight(self) -> f64 {
        0.5 * (self.t.gamma - self.s.gamma).exp_m1()
    }

    /// The weight of |score - score_hat|^2 in the same KL, the score being that of
    /// q(z_t|x).
    pub fn score_weight(self) -> f64 {
        self.t.noise() * self.eps_weight()
    }

    /// The weight of |v - v_hat|^2 in the same KL.
    pub fn v_weight(self) -> f64 {
        self.t.noise() * self.x_weight()
    }
}

/// A discrete forward process: noise levels gamma_1 < ... < gamma_T.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    noise_levels: Vec<NoiseLevel>,
}

impl Process {
    /// The process with these gamma_1..gamma_T.
    ///
    /// # Errors
    /// [`Error::Dimension`] where there is none; [`Error::OutOfRange`] where they are not
    /// finite and strictly increasing.
    pub fn new(gammas: &[f64]) -> Result<Self, Error> {
        if gammas.is_empty() {
            return Err(Error::Dimension {
                what: "the number of noise levels (at least 1)",
                expected: 1,
                found: 0,
            });
        }
        let mut noise_levels = vec![NoiseLevel::DATA];
        for &gamma in gammas {
            let previous =
                noise_levels.last().map_or(f64::NEG_INFINITY, |level| level.gamma);
            if !(gamma.is_finite() && gamma > previous) {
                return Err(Error::OutOfRange {
                    what: "finite values of gamma that strictly increase",
                    found: gamma,
                });
            }
            noise_levels.push(NoiseLevel::new(gamma));
        }
        Ok(Self { noise_levels })
    }

    /// gamma_1 = gamma_min to gamma_T = gamma_max in equal steps (T = 1: gamma_max alone).
    ///
    /// # Errors
    /// As [`Process::new`].
    pub fn linear_gamma(
        gamma_min: f64,
        gamma_max: f64,
        steps: usize,
    ) -> Result<Self, Error> {
        let last = steps.saturating_sub(1);
        let gammas: Vec<f64> = (0..steps)
            .map(|i| if i == last { 1.0 } else { i as f64 / last as f64 })
            .map(|u| (1.0 - u) * gamma_min + u * gamma_max)
            .collect();
        Self::new(&gammas)
    }

    /// The process with these one-step noise powers beta_1..beta_T, each in (0, 1).
    ///
    /// # Errors
    /// As [`Process::new`].
    pub fn from_betas(betas: &[f64]) -> Result<Self, Error> {
        // log abar_t is summed with log1p, and 1 - abar_t = -expm1 of it, so that neither
        // end loses digits.
        let mut log_abar = 0.0;
        let gammas: Vec<f64> = betas
            .iter()
            .map(|beta| {
                log_abar += (-beta).ln_1p();
                (-log_abar.exp_m1()).ln() - log_abar
            })
            .collect();
        Self::new(&gammas)
    }

    /// The schedule of DDPM (Ho et al. 2020): beta linear from 1e-4 to 0.02 over 1000
    /// steps.
    ///
    /// # Errors
    /// None in practice; the signature is that of [`Process::from_betas`].
    pub fn ddpm() -> Result<Self, Error> {
        Self::ddpm_stretched(1000)
    }

    /// The betas of DDPM spread over another number of steps: linear from 0.1/T to 20/T, so
    /// that the noise at the end stays about the same. Needs T > 20, where the last beta is
    /// below 1.
    ///
    /// # Errors
    /// As [`Process::new`].
    pub fn ddpm_stretched(steps: usize) -> Result<Self, Error> {
        let last = steps.saturating_sub(1) as f64;
        let betas =
            (0..steps).map(|i| (0.1 + (20.0 - 0.1) * i as f64 / last) / steps as f64);
        Self::from_betas(&betas.collect::<Vec<_>>())
    }

    /// The number of steps T.
    pub fn step_count(&self) -> usize {
        self.noise_levels.len() - 1
    }

    /// The noise levels 0..=T; number 0 is the data, so `noise_levels()[t]` is that of z_t.
    pub fn noise_levels(&self) -> &[NoiseLevel] {
        &self.noise_levels
    }

    /// The steps t = 1..=T, from noise level t-1 to t; `steps()[t - 1]` is that into z_t.
    pub fn steps(&self) -> Vec<Step> {
        self.noise_levels.windows(2).map(|pair| Step { s: pair[0], t: pair[1] }).collect()
    }

    /// The forward conditionals q(z_t|z_{t-1}), t = 1..=T (the first is q(z_1|x)), in d
    /// dimensions.
    ///
    /// # Errors
    /// [`Error::Dimension`] where d is 0.
    pub fn conditionals(&self, d: usize) -> Result<Vec<LinearConditional>, Error> {
        self.steps()
            .into_iter()
            .map(|step| {
                LinearConditional::isotropic(
                    step.alpha().sqrt(),
                    Vector::zeros(d),
                    step.beta(),
                )
            })
            .collect()
    }

    /// The forward chain q(z_1, ..., z_T | x) for x `[d]`.
    ///
    /// # Errors
    /// [`Error::Dimension`] where x is empty.
    pub fn forward(&self, x: &Vector) -> Result<Chain, Error> {
        let mut conditionals = self.conditionals(x.len())?;
        let first = conditionals.remove(0).given(x)?;
        Chain::new(first, conditionals)
    }

    /// The exact reverse chain of Gaussian data: q(z_T), q(z_{T-1}|z_T), ..., q(x|z_1).
    ///
    /// # Errors
    /// None for a valid Gaussian, up to underflow of a variance.
    pub fn exact_reverse(&self, data: &Gaussian) -> Result<Chain, Error> {
        Chain::new(data.clone(), self.conditionals(data.dimension())?)?.reversed()
    }

    /// `Ok` where a reverse chain has as many steps as this process.
    pub(super) fn fits(&self, reverse: &Chain) -> Result<(), Error> {
        same(
            "the number of steps of a reverse chain",
            self.step_count(),
            reverse.steps().len(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{NoiseLevel, Process, Step};
    use crate::oracle::vector;

    #[test]
    fn noise_levels_and_steps_agree_with_products_of_alpha() {
        let process = Process::from_betas(&[0.1, 0.2, 0.5]).expect("betas in (0, 1)");
        let (mut abar, mut betas) = (1.0, [0.1, 0.2, 0.5].into_iter());
        for (step, level) in process.steps().iter().zip(&process.noise_levels()[1..]) {
            abar *= 1.0 - betas.next().unwrap_or(f64::NAN);
            assert!((level.abar() - abar).abs() < 1e-15);
            assert!((step.t.noise() - (1.0 - abar)).abs() < 1e-15);
            assert!((step.alpha() + step.beta() - 1.0).abs() < 1e-15);
            assert!((NoiseLevel::from_abar(abar).gamma - level.gamma).abs() < 1e-14);
        }
    }

    #[test]
    fn the_step_from_the_data_is_a_point() {
        let step = Step { s: NoiseLevel::DATA, t: NoiseLevel::new(0.3) };
        assert_eq!(step.posterior_variance(), 0.0);
        assert_eq!(step.posterior_coefficients(), (0.0, 1.0));
        assert_eq!(step.beta(), step.t.noise());
    }

    #[test]
    fn bad_schedules_are_refused() {
        for gammas in
            [&[][..], &[1.0, 1.0], &[2.0, 1.0], &[f64::NAN], &[0.0, f64::INFINITY]]
        {
            assert!(Process::new(gammas).is_err(), "{gammas:?}");
        }
        for betas in [&[][..], &[0.0], &[1.0], &[-0.1], &[0.5, 1.5]] {
            assert!(Process::from_betas(betas).is_err(), "{betas:?}");
        }
        assert!(Process::linear_gamma(-8.0, 5.0, 0).is_err());
        let process = Process::linear_gamma(-8.0, 5.0, 3).expect("increasing");
        assert_eq!(
            (process.noise_levels()[1].gamma, process.noise_levels()[3].gamma),
            (-8.0, 5.0)
        );
        assert!(process.forward(&vector(&[])).is_err());
    }
}
