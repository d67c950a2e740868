//! The SDE, what its density does, and the flow with the same densities.

use elbo_to_diffusion::{
    flow::velocity,
    oracle::{NoiseLevel, ScalarMixture, Step},
};

use super::{GAMMAS, PLACES, density, eps_hat, line, score};
use crate::support::{Outcome, assert_close, derivative};
use crate::tex::digest;

/// d^2 f / dx^2 by the central difference of fourth order.
fn second_derivative(f: impl Fn(f64) -> f64, x: f64) -> f64 {
    let h = 2e-3;
    (16.0 * (f(x + h) + f(x - h)) - (f(x + 2.0 * h) + f(x - 2.0 * h)) - 30.0 * f(x))
        / (12.0 * h * h)
}

/// Drift and variance of a step of the chain, sqrt(alpha) - 1 and 1 - alpha over its length
/// h, extrapolated to h = 0, against -(1 - abar)/2 and 1 - abar. And the moments that this
/// SDE gives, dm = -(1 - abar) m/2 and dV = (1 - abar)(1 - V), against those of q(z|x) by
/// finite differences. Kind: limit, finite differences.
#[test]
fn forward_sde() -> Outcome {
    digest("forward-sde", "453d3300736a");
    const TOLERANCE: f64 = 1e-8;
    for gamma in GAMMAS {
        let noise = NoiseLevel::new(gamma).noise();
        let limit = |f: &dyn Fn(Step) -> f64| {
            let at = |h: f64| f(Step::new(gamma, gamma + h)) / h;
            let (h, a) = (1e-3, [1.0, 2.0, 4.0].map(|k| at(1e-3 / k)));
            assert!(h > 0.0);
            // Richardson, twice: removes the terms in h and in h^2.
            let b = [2.0 * a[1] - a[0], 2.0 * a[2] - a[1]];
            (4.0 * b[1] - b[0]) / 3.0
        };
        assert_close(limit(&|step| step.alpha().sqrt() - 1.0), -0.5 * noise, TOLERANCE);
        assert_close(limit(&|step| step.beta()), noise, TOLERANCE);
        let signal = |gamma: f64| NoiseLevel::new(gamma).abar().sqrt();
        let variance = |gamma: f64| NoiseLevel::new(gamma).noise();
        assert_close(derivative(signal, gamma), -0.5 * noise * signal(gamma), TOLERANCE);
        assert_close(
            derivative(variance, gamma),
            noise * (1.0 - variance(gamma)),
            TOLERANCE,
        );
    }
    Ok(())
}

/// dq/dgamma of a mixture's marginal density against the right side, both by finite
/// differences. Kind: finite differences.
#[test]
fn fokker_planck() -> Outcome {
    digest("fokker-planck", "a95f2145c962");
    const TOLERANCE: f64 = 1e-6;
    let data = line()?;
    for gamma in GAMMAS {
        let noise = NoiseLevel::new(gamma).noise();
        for z in PLACES {
            let change = derivative(|gamma| density(&data, gamma, z), gamma);
            let drift = derivative(|z| z * density(&data, gamma, z), z);
            let diffusion = second_derivative(|z| density(&data, gamma, z), z);
            assert_close(change, 0.5 * noise * (drift + diffusion), TOLERANCE);
        }
    }
    Ok(())
}

/// The continuity equation, dq/dgamma = -d(v q)/dz, for v from the exact score, by finite
/// differences. And quantiles: 800 steps of order four along v from q(z_1) must end below
/// the same share of q(z_0). Kind: finite differences, closed form.
#[test]
fn probability_flow() -> Outcome {
    digest("probability-flow", "cd0a3cbf9708");
    const TOLERANCE: f64 = 1e-6;
    const QUANTILE_TOLERANCE: f64 = 1e-9;
    let data = line()?;
    let v = |z: f64, gamma: f64| {
        -0.5 * NoiseLevel::new(gamma).noise() * (z + score(&data, gamma, z))
    };
    for gamma in GAMMAS {
        for z in PLACES {
            let change = derivative(|gamma| density(&data, gamma, z), gamma);
            let flux = derivative(|z| v(z, gamma) * density(&data, gamma, z), z);
            assert_close(change, -flux, TOLERANCE);
        }
    }
    let share = |gamma: f64, z: f64| data.marginal(NoiseLevel::new(gamma)).cdf(z);
    for start in [-1.7, -0.9, 0.0, 0.4, 1.6] {
        let (h, mut z) = (-13.0 / 800.0, start);
        for i in 0..800 {
            let gamma = 5.0 + h * f64::from(i);
            let a = v(z, gamma);
            let b = v(z + 0.5 * h * a, gamma + 0.5 * h);
            let c = v(z + 0.5 * h * b, gamma + 0.5 * h);
            let d = v(z + h * c, gamma + h);
            z += h / 6.0 * (a + 2.0 * b + 2.0 * c + d);
        }
        assert_close(share(-8.0, z), share(5.0, start), QUANTILE_TOLERANCE);
    }
    Ok(())
}

/// With u = -gamma as the time, the family has the drift (1 - abar)(z + (1 + eta^2)
/// score)/2 and the noise power eta^2 (1 - abar). Its Fokker-Planck equation must hold for
/// q, dq/du = -dq/dgamma, for three eta. Kind: finite differences.
#[test]
fn reverse_family() -> Outcome {
    digest("reverse-family", "eda51296de81");
    const TOLERANCE: f64 = 1e-6;
    let data = line()?;
    for eta in [0.0_f64, 0.5, 1.0] {
        for gamma in GAMMAS {
            let noise = NoiseLevel::new(gamma).noise();
            for z in PLACES {
                let change = -derivative(|gamma| density(&data, gamma, z), gamma);
                let flux = derivative(
                    |z| {
                        let slope = (1.0 + eta * eta) * score(&data, gamma, z);
                        0.5 * noise * (z + slope) * density(&data, gamma, z)
                    },
                    z,
                );
                let diffusion = second_derivative(|z| density(&data, gamma, z), z);
                let right = -flux + 0.5 * eta * eta * noise * diffusion;
                assert_close(change, right, TOLERANCE);
            }
        }
    }
    Ok(())
}

/// The velocity that programs use, from the ideal x_hat by Bayes, against
/// -(1 - abar)(z + score)/2 from the derivative of the log density. Kind: closed form.
#[test]
fn flow_velocity() -> Outcome {
    digest("flow-velocity", "fa44a74b9fd3");
    const TOLERANCE: f64 = 1e-12;
    let data = line()?;
    for gamma in GAMMAS {
        let level = NoiseLevel::new(gamma);
        for z in PLACES {
            let x_hat = data.posterior(z, level).mean();
            let printed = 0.5 * (level.abar() * z - level.abar().sqrt() * x_hat);
            let by_score = -0.5 * level.noise() * (z + score(&data, gamma, z));
            assert_close(printed, by_score, TOLERANCE);
            assert_close(velocity(z, x_hat, gamma), by_score, TOLERANCE);
        }
    }
    Ok(())
}

/// A path of the flow in z, in tiny steps around a point, seen in y and rho: dy/drho by
/// finite differences against eps_hat and (y - x_hat)/rho. Kind: finite differences.
#[test]
fn flow_in_y() -> Outcome {
    digest("flow-in-y", "44b21d8ada31");
    const TOLERANCE: f64 = 1e-7;
    let data = line()?;
    let x_hat = |z: f64, gamma: f64| data.posterior(z, NoiseLevel::new(gamma)).mean();
    for gamma in GAMMAS {
        for z in PLACES {
            // To second order, along the velocity and its own change.
            let v = |z: f64, gamma: f64| velocity(z, x_hat(z, gamma), gamma);
            let along = |h: f64| z + h * v(z + 0.5 * h * v(z, gamma), gamma + 0.5 * h);
            let y = |h: f64| along(h) / NoiseLevel::new(gamma + h).abar().sqrt();
            let rho = |h: f64| {
                let level = NoiseLevel::new(gamma + h);
                (level.noise() / level.abar()).sqrt()
            };
            assert_close(rho(0.0), (0.5 * gamma).exp(), TOLERANCE * rho(0.0));
            let h = 1e-4;
            let slope = (y(h) - y(-h)) / (rho(h) - rho(-h));
            let eps = eps_hat(&data, gamma, z);
            assert_close(slope, eps, TOLERANCE * 10.0);
            assert_close((y(0.0) - x_hat(z, gamma)) / rho(0.0), eps, 1e-11);
        }
    }
    Ok(())
}

/// The velocity of a law that is N(0, 1) at every level is zero: a check that the tests
/// above would notice a wrong sign of the score. Kind: closed form.
#[test]
fn the_flow_of_a_standard_normal_stands_still() -> Outcome {
    let data = ScalarMixture::new(&[1.0], &[0.0], &[1.0])?;
    for gamma in GAMMAS {
        let x_hat = data.posterior(0.7, NoiseLevel::new(gamma)).mean();
        assert_close(velocity(0.7, x_hat, gamma), 0.0, 1e-15);
    }
    Ok(())
}
