//! Continuous time: the limit of many steps, its invariance, and the exact likelihood
//! behind it.

use std::f64::consts::{E, PI};

use elbo_to_diffusion::oracle::{NoiseLevel, Rule, ScalarMixture};

use super::{GAMMA_MAX, GAMMA_MIN, SCHEDULES, data, mmse};
use crate::support::{Outcome, assert_close, assert_relative, log_normal};
use crate::tex::{Values, digest, tex};

/// L_T = sum (SNR(s) - SNR(t))/2 E|x - x_hat(z_t)|^2 over T equal steps of gamma with the
/// ideal denoiser, against L_inf by Gauss-Legendre: the excess falls with every doubling of
/// T, and from T = 256 on it halves (ratio 1.9 to 2.1). Kind: quadrature.
#[test]
fn continuous_limit() -> Outcome {
    digest("continuous-limit", "ff9b9a370192");
    const TOLERANCE: f64 = 0.1;
    let (data, hermite) = (data()?, Rule::gauss_hermite(120));
    // -(1/2) int SNR'(t) mmse dt with gamma linear: SNR' = -(gamma_1 - gamma_0) SNR.
    let limit = 0.5
        * Rule::gauss_legendre(300, GAMMA_MIN, GAMMA_MAX)
            .integrate(|gamma| (-gamma).exp() * mmse(&data, gamma, &hermite));
    let excess = |steps: u32| -> f64 {
        let gamma =
            |i: u32| GAMMA_MIN + (GAMMA_MAX - GAMMA_MIN) * f64::from(i) / f64::from(steps);
        let loss: f64 = (1..=steps)
            .map(|i| {
                let weight = 0.5 * ((-gamma(i - 1)).exp() - (-gamma(i)).exp());
                weight * mmse(&data, gamma(i), &hermite)
            })
            .sum();
        loss - limit
    };
    let excesses: Vec<f64> = (4..=10).map(|power| excess(1 << power)).collect();
    for (power, pair) in (4..).zip(excesses.windows(2)) {
        assert!(0.0 < pair[1] && pair[1] < pair[0], "T = 2^{power}: {pair:?}");
        if power >= 8 {
            assert_close(pair[0] / pair[1], 2.0, TOLERANCE);
        }
    }
    Ok(())
}

/// Three forms of L_inf at one x, for a denoiser that is NOT the ideal one: -(1/2) int
/// SNR'(t) E|x - x_hat|^2 dt with a cubic gamma(t); (1/2) int E|x - x_hat|^2 dv over v =
/// SNR, panel by panel; and (1/2) int gamma'(t) E|eps - eps_hat|^2 dt with a tanh gamma(t).
/// Kind: quadrature.
#[test]
fn continuous_loss() -> Outcome {
    digest("continuous-loss", "c72faab3059e");
    const TOLERANCE: f64 = 1e-9;
    let (x, hermite) = (0.35, Rule::gauss_hermite(150));
    // Right for other data than x came from: two bumps instead of three.
    let denoiser = ScalarMixture::new(&[0.4, 0.6], &[-0.8, 0.7], &[0.1, 0.15])?;
    let x_hat = |z: f64, gamma: f64| denoiser.posterior(z, NoiseLevel::new(gamma)).mean();
    let x_error = |gamma: f64| -> f64 {
        let level = NoiseLevel::new(gamma);
        hermite.integrate(|eps| (x - x_hat(level.noised(x, eps), gamma)).powi(2))
    };
    let eps_error = |gamma: f64| -> f64 {
        let level = NoiseLevel::new(gamma);
        hermite.integrate(|eps| {
            let z = level.noised(x, eps);
            let eps_hat =
                (z - level.abar().sqrt() * x_hat(z, gamma)) / level.noise().sqrt();
            (eps - eps_hat).powi(2)
        })
    };

    let (cubic, cubic_slope) = SCHEDULES[1];
    let (tanh, tanh_slope) = SCHEDULES[2];
    let unit = Rule::gauss_legendre(200, 0.0, 1.0);
    // SNR'(t) = -gamma'(t) e^-gamma(t).
    let by_time =
        0.5 * unit.integrate(|t| cubic_slope(t) * (-cubic(t)).exp() * x_error(cubic(t)));
    let by_noise = 0.5 * unit.integrate(|t| tanh_slope(t) * eps_error(tanh(t)));
    let by_snr: f64 = (0..13)
        .map(|i| {
            let (low, high) = ((f64::from(i) - 5.0).exp(), (f64::from(i) - 4.0).exp());
            0.5 * Rule::gauss_legendre(16, low, high).integrate(|v| x_error(-v.ln()))
        })
        .sum();
    assert_close(by_time, by_snr, TOLERANCE);
    assert_close(by_noise, by_snr, TOLERANCE);
    Ok(())
}

/// (1/2) int gamma'(t) SNR E|x - x_hat|^2 dt for a linear, a cubic and a tanh schedule, each
/// against (1/2) int E|x - x_hat|^2 dv over the SNR: only the end points matter, for the
/// ideal denoiser and for a wrong one. Of the wrong one the error is found in time from
/// pairs of x and noise, and over the SNR from z, as the variance of x given z and the squared
/// distance to its mean. The same wrong denoiser, told the time instead of the noise level, has three
/// different losses. Kind: quadrature, negative.
#[test]
fn schedule_invariance() -> Outcome {
    digest("schedule-invariance", "efb7d0fdfde5");
    const TOLERANCE: f64 = 1e-10;
    /// Of the loss of a wrong denoiser, which is some hundred nats.
    const RELATIVE: f64 = 1e-9;
    const LEAST_DIFFERENCE: f64 = 0.5;
    let (data, hermite) = (data()?, Rule::gauss_hermite(150));
    let over_snr = |error: &dyn Fn(f64) -> f64| -> f64 {
        (0..26)
            .map(|i| {
                let low = (0.5 * f64::from(i) - 5.0).exp();
                let high = (0.5 * f64::from(i) - 4.5).exp();
                0.5 * Rule::gauss_legendre(12, low, high).integrate(|v| error(-v.ln()))
            })
            .sum()
    };
    let unit = Rule::gauss_legendre(250, 0.0, 1.0);
    // The error as a function of gamma and t.
    let over_time = |error: &dyn Fn(f64, f64) -> f64| {
        SCHEDULES.map(|(gamma, slope)| {
            assert_close(gamma(0.0), GAMMA_MIN, TOLERANCE);
            assert_close(gamma(1.0), GAMMA_MAX, TOLERANCE);
            0.5 * unit.integrate(|t| slope(t) * (-gamma(t)).exp() * error(gamma(t), t))
        })
    };
    let by_snr = over_snr(&|gamma| mmse(&data, gamma, &hermite));
    for loss in over_time(&|gamma, _| mmse(&data, gamma, &hermite)) {
        assert_close(loss, by_snr, TOLERANCE);
    }

    // Wrong everywhere, and in another way at every noise level.
    let wrong = |z: f64, told: f64| 0.9 * (1.1 * z + 0.2 * told).sin() + 0.05 * told;
    let line = Rule::gauss_legendre(600, -6.0, 6.0);
    let by_snr = over_snr(&|gamma| {
        let level = NoiseLevel::new(gamma);
        let marginal = data.marginal(level);
        line.integrate(|z| {
            let ideal = data.posterior(z, level);
            let squares = ideal.variance() + (ideal.mean() - wrong(z, gamma)).powi(2);
            marginal.log_prob(z).exp() * squares
        })
    });
    let few = Rule::gauss_hermite(40);
    let of_pairs = |gamma: f64, told: f64| -> f64 {
        let level = NoiseLevel::new(gamma);
        let error =
            |x: f64| few.integrate(|eps| (x - wrong(level.noised(x, eps), told)).powi(2));
        data.components().map(|(w, m, v)| w * few.normal(m, v.sqrt(), error)).sum()
    };
    for loss in over_time(&|gamma, _| of_pairs(gamma, gamma)) {
        assert_relative(loss, by_snr, RELATIVE);
    }
    let [linear, cubic, tanh] = over_time(&|gamma, t| of_pairs(gamma, t));
    for (one, other) in [(linear, cubic), (cubic, tanh), (tanh, linear)] {
        assert!((one - other).abs() > LEAST_DIFFERENCE, "{one} and {other}");
    }
    Ok(())
}

/// L_inf of N(0, 1) data with the ideal denoiser, (1/2) ln((1 + SNR_max)/(1 + SNR_min)) per
/// dimension, against quadrature of the mmse that the oracle finds from the posterior.
/// Kind: quadrature.
#[test]
fn gaussian_limit() -> Outcome {
    const TOLERANCE: f64 = 1e-12;
    let page = tex("gaussian-limit");
    let (data, hermite) =
        (ScalarMixture::new(&[1.0], &[0.0], &[1.0])?, Rule::gauss_hermite(10));
    for (gamma_min, gamma_max) in [(-8.0_f64, 5.0_f64), (-13.3, 5.0), (-2.0, 1.0)] {
        let loss = 0.5
            * Rule::gauss_legendre(200, gamma_min, gamma_max)
                .integrate(|gamma| (-gamma).exp() * mmse(&data, gamma, &hermite));
        // The most signal is where gamma is least.
        let values = Values::default()
            .number(r"L_\infty", loss)
            .number(r"\snr_{\max}", (-gamma_min).exp())
            .number(r"\snr_{\min}", (-gamma_max).exp());
        let sides = page.sides(&values);
        assert_close(sides[0], sides[1], TOLERANCE);
    }
    Ok(())
}

/// A function of t.
type Function<'a> = &'a dyn Fn(f64) -> f64;

/// Times t_i = mod(u + i/k, 1) with one uniform u. The mean over u of (1/k) sum f(t_i)
/// against the integral of f: unbiased. Its variance against (f(1) - f(0))^2/(12 k^2),
/// which it approaches, and against Var f(t)/k of independent times: lower by more than
/// k/2. Kind: quadrature, inequality.
#[test]
fn low_discrepancy() -> Outcome {
    const TOLERANCE: f64 = 1e-12;
    const LEADING_TOLERANCE: f64 = 0.02;
    let page = tex("low-discrepancy");
    let (data, hermite) = (data()?, Rule::gauss_hermite(80));
    let (gamma, slope) = SCHEDULES[0];
    let loss =
        |t: f64| 0.5 * slope(t) * (-gamma(t)).exp() * mmse(&data, gamma(t), &hermite);
    let functions: [(Function, [u32; 2]); 2] = [(&f64::exp, [8, 128]), (&loss, [16, 64])];
    for (f, batches) in functions {
        let unit = Rule::gauss_legendre(200, 0.0, 1.0);
        let mean = unit.integrate(f);
        let independent = unit.integrate(|t| (f(t) - mean).powi(2));
        for k in batches {
            let average = |u: f64| -> f64 {
                let times = (0..k).map(|i| (u + f64::from(i) / f64::from(k)) % 1.0);
                times.map(f).sum::<f64>() / f64::from(k)
            };
            // The average has a jump at every multiple of 1/k and repeats between them.
            let panel = Rule::gauss_legendre(12, 0.0, 1.0 / f64::from(k));
            let expectation = f64::from(k) * panel.integrate(average);
            let variance = f64::from(k) * panel.integrate(|u| (average(u) - mean).powi(2));
            assert_close(expectation, mean, TOLERANCE);
            assert_close(
                average(0.3 / f64::from(k)),
                average(1.3 / f64::from(k)),
                TOLERANCE,
            );
            let values = Values::default()
                .function("f", |t| f(t[0]))
                .number("k", f64::from(k))
                .number("u", 0.3)
                .number("i", 2.0)
                .number("t_i", 0.3 / f64::from(k) + 2.0 / f64::from(k))
                .number(r"\Var \frac1k \sum_{i=0}^{k-1} f(t_i)", variance);
            let times = page.part(0, &values);
            assert_close(times[0], times[1], TOLERANCE);
            let sides = page.part(1, &values);
            assert_relative(sides[0], sides[1], LEADING_TOLERANCE);
            assert!(variance < independent / f64::from(k) / (0.5 * f64::from(k)));
        }
    }
    Ok(())
}

/// The ideal x_hat(z, SNR) of a variance-preserving process, z = sqrt(abar) x +
/// sqrt(1-abar) eps, against that of the variance-exploding one at the same SNR, z' = x +
/// eps/sqrt(SNR), with z' = z/sqrt(abar): the latter by quadrature of the posterior. Kind:
/// quadrature.
#[test]
fn variance_exploding() -> Outcome {
    digest("variance-exploding", "cf795d72674a");
    const TOLERANCE: f64 = 1e-12;
    let data = data()?;
    let rule = Rule::gauss_legendre(900, -4.0, 4.0);
    for gamma in [-3.0, -1.0, 0.0, 2.0, 5.0] {
        let level = NoiseLevel::new(gamma);
        for z in [-1.5, -0.2, 0.6, 2.0] {
            let preserving = data.posterior(z, level).mean();
            let exploding = z / level.abar().sqrt();
            let weight = |x: f64| {
                (data.log_prob(x) + log_normal(exploding, x, 1.0 / level.snr())).exp()
            };
            let mean = rule.integrate(|x| x * weight(x)) / rule.integrate(weight);
            assert_close(preserving, mean, TOLERANCE);
        }
    }
    Ok(())
}

/// -log p(x) against (1/2) ln(2 pi e) - (1/2) int [1/(1+snr) - mmse(x, snr)] dsnr with
/// mmse(x, snr) = E|x - x_hat(z)|^2 at that x, over log snr from -26 to 26.
/// Kind: quadrature.
#[test]
fn pointwise_immse() -> Outcome {
    digest("pointwise-immse", "b726129d8cf2");
    const TOLERANCE: f64 = 1e-8;
    let data = data()?;
    // Where two bumps compete, x_hat switches within a small range of eps: many nodes.
    let eps_rule = Rule::gauss_legendre(300, -9.0, 9.0);
    let log_snr = Rule::gauss_legendre(400, -26.0, 26.0);
    for x in [-1.3, -0.4, 0.1, 0.9, 2.0] {
        let integral = log_snr.integrate(|log_snr| {
            let (level, snr) = (NoiseLevel::new(-log_snr), log_snr.exp());
            let error = eps_rule.integrate(|eps| {
                let x_hat = data.posterior(level.noised(x, eps), level).mean();
                log_normal(eps, 0.0, 1.0).exp() * (x - x_hat).powi(2)
            });
            snr * (1.0 / (1.0 + snr) - error)
        });
        let formula = 0.5 * (2.0 * PI * E).ln() - 0.5 * integral;
        assert_close(formula, -data.log_prob(x), TOLERANCE);
    }
    Ok(())
}
