//! Two models with one latent number, and the ELBO of a normal q in closed form.
//!
//! [`Thermometers`] has a normal posterior, so some q closes the gap. [`PowerMeter`] has a
//! posterior with two modes, so none does.

use std::f64::consts::TAU;

use super::scalar_latent::{ScalarLatent, ScalarNormal};

// ANCHOR: thermometers
/// Two readings of one temperature: z ~ N(0, 1), x_i|z ~ N(w_i z, noise).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thermometers {
    /// How much each reading moves with the temperature.
    pub w: [f64; 2],
    /// The variance of a reading.
    pub noise: f64,
    /// The readings.
    pub x: [f64; 2],
}

impl Thermometers {
    /// Minus the second derivative of log p(x, z) by z, the same everywhere.
    fn curvature(&self) -> f64 {
        1.0 + (self.w[0].powi(2) + self.w[1].powi(2)) / self.noise
    }
}

impl ScalarLatent for Thermometers {
    fn log_joint(&self, z: f64) -> f64 {
        let log_reading = |i: usize| {
            let misfit = (self.x[i] - self.w[i] * z).powi(2) / self.noise;
            -0.5 * ((TAU * self.noise).ln() + misfit)
        };
        log_reading(0) + log_reading(1) + ScalarNormal::STANDARD.log_prob(z)
    }

    fn elbo(&self, q: ScalarNormal) -> f64 {
        // log p(x, z) is quadratic in z, so its mean under q is its value at the mean
        // of q, less half its curvature times the variance of q.
        self.log_joint(q.mean) - 0.5 * self.curvature() * q.variance() + q.entropy()
    }

    fn elbo_gradient(&self, q: ScalarNormal) -> [f64; 2] {
        let pull = |i: usize| self.w[i] * (self.x[i] - self.w[i] * q.mean) / self.noise;
        [pull(0) + pull(1) - q.mean, 1.0 - self.curvature() * q.variance()]
    }
}
// ANCHOR_END: thermometers

// ANCHOR: meter
/// A meter that reads the square of an amplitude, so that the sign is lost:
/// z ~ N(0, 1), x|z ~ N(z^2, sigma^2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PowerMeter {
    /// The reading.
    pub x: f64,
    /// The standard deviation of a reading: theta.
    pub sigma: f64,
}

impl PowerMeter {
    /// E_q (x - z^2)^2, from E z^2 = m^2 + s^2 and E z^4 = m^4 + 6 m^2 s^2 + 3 s^4.
    pub fn expected_misfit(&self, q: ScalarNormal) -> f64 {
        let (m2, s2) = (q.mean * q.mean, q.variance());
        let fourth = m2 * m2 + 6.0 * m2 * s2 + 3.0 * s2 * s2;
        self.x * self.x - 2.0 * self.x * (m2 + s2) + fourth
    }
}

impl ScalarLatent for PowerMeter {
    fn log_joint(&self, z: f64) -> f64 {
        let misfit = (self.x - z * z) / self.sigma;
        let log_reading = -0.5 * (TAU.ln() + misfit * misfit) - self.sigma.ln();
        log_reading + ScalarNormal::STANDARD.log_prob(z)
    }

    fn elbo(&self, q: ScalarNormal) -> f64 {
        let misfit = self.expected_misfit(q) / (self.sigma * self.sigma);
        let log_reading = -0.5 * (TAU.ln() + misfit) - self.sigma.ln();
        let log_prior = -0.5 * (TAU.ln() + q.mean * q.mean + q.variance());
        log_reading + log_prior + q.entropy()
    }

    fn elbo_gradient(&self, q: ScalarNormal) -> [f64; 2] {
        let (m, s2, noise) = (q.mean, q.variance(), self.sigma * self.sigma);
        let by_mean = 2.0 * m * (self.x - m * m - 3.0 * s2) / noise - m;
        let by_variance = (self.x - 3.0 * m * m - 3.0 * s2) / noise - 0.5;
        [by_mean, 2.0 * s2 * by_variance + 1.0]
    }
}
// ANCHOR_END: meter

impl PowerMeter {
    // ANCHOR: best
    /// The q with the highest ELBO, in closed form; of two that are mirror images, the
    /// one with the positive mean.
    ///
    /// Both derivatives vanish where s^2 solves a quadratic equation: one for m = 0,
    /// and one for a q on a single mode, if the modes are far enough apart.
    pub fn best(&self) -> ScalarNormal {
        let (x, noise) = (self.x, self.sigma * self.sigma);
        let b = 2.0 * x - noise;
        let normal = |mean: f64, s2: f64| ScalarNormal { mean, log_std: 0.5 * s2.ln() };
        let between = normal(0.0, (b + (b * b + 24.0 * noise).sqrt()) / 12.0);
        let s2 = (b - (b * b - 12.0 * noise).sqrt()) / 12.0;
        let on_one_mode = normal((x - 0.5 * noise - 3.0 * s2).sqrt(), s2);
        // A q that does not exist is NaN here, and its ELBO not greater than any.
        if self.elbo(on_one_mode) > self.elbo(between) { on_one_mode } else { between }
    }
    // ANCHOR_END: best
}

#[cfg(test)]
mod tests {
    use elbo_to_diffusion::oracle::Rule;

    use super::*;

    const Q: [ScalarNormal; 3] = [
        ScalarNormal { mean: 0.3, log_std: -0.4 },
        ScalarNormal { mean: -1.2, log_std: -1.5 },
        ScalarNormal { mean: 0.0, log_std: 0.2 },
    ];
    const THERMOMETERS: Thermometers =
        Thermometers { w: [1.0, 0.5], noise: 0.25, x: [1.2, 0.3] };
    const METER: PowerMeter = PowerMeter { x: 2.0, sigma: 0.5 };

    fn check(model: &impl ScalarLatent) {
        let (hermite, z) =
            (Rule::gauss_hermite(40), Rule::gauss_legendre(1200, -14.0, 14.0));
        for q in Q {
            let definition = hermite
                .normal(q.mean, q.log_std.exp(), |z| model.log_joint(z) - q.log_prob(z));
            assert!(
                (model.elbo(q) - definition).abs() < 1e-11,
                "{q:?}: {} {definition}",
                model.elbo(q)
            );
            let sum = model.elbo(q) + model.kl_to_posterior(q, &z);
            assert!((sum - model.log_prob(&z)).abs() < 1e-11, "{q:?}: {sum}");
            let h = 1e-5;
            let by_mean = |d: f64| model.elbo(ScalarNormal { mean: q.mean + d, ..q });
            let by_log_std =
                |d: f64| model.elbo(ScalarNormal { log_std: q.log_std + d, ..q });
            let [mean, log_std] = model.elbo_gradient(q);
            assert!((mean - (by_mean(h) - by_mean(-h)) / (2.0 * h)).abs() < 1e-6);
            assert!((log_std - (by_log_std(h) - by_log_std(-h)) / (2.0 * h)).abs() < 1e-6);
        }
    }

    #[test]
    fn elbo_and_gradient_are_those_of_the_definition() {
        check(&THERMOMETERS);
        check(&METER);
    }

    #[test]
    fn an_ascent_never_descends() {
        let path = METER.ascend(ScalarNormal { mean: 0.5, log_std: 0.0 }, 0.01, 500);
        assert_eq!(path.len(), 501);
        assert!(path.windows(2).all(|pair| METER.elbo(pair[1]) >= METER.elbo(pair[0])));
    }

    #[test]
    fn the_best_q_is_best_on_a_grid() {
        for (x, sigma) in [
            (2.0, 0.5),
            (0.3, 0.5),
            (-0.7, 0.3),
            (4.0, 2.0),
            (1.0, 0.2),
            (1.1, 0.55),
            (1.7, 0.9),
        ] {
            let meter = PowerMeter { x, sigma };
            let best = meter.best();
            assert!(
                meter.elbo_gradient(best).iter().all(|slope| slope.abs() < 1e-9),
                "{x} {sigma} {best:?}"
            );
            for (mean, log_std) in (0..60).flat_map(|i| {
                (0..60).map(move |j| (f64::from(i) * 0.05, f64::from(j) * 0.05))
            }) {
                assert!(
                    meter.elbo(ScalarNormal { mean, log_std: log_std - 2.5 })
                        <= meter.elbo(best) + 1e-12
                );
            }
        }
    }
}
