//! The weight of a step, in alpha, in SNR and in gamma; and what f32 makes of the naive
//! forms.

use elbo_to_diffusion::oracle::{Error, Gaussian, Process, Step, vector};

use crate::support::{Outcome, assert_close, assert_relative, normal, rng};
use crate::tex::{Values, digest, tex};

/// KL(q(z_s|z_t, x) || q(z_s|z_t, x_hat)) with both posteriors from conditioning the
/// covariance of (z_{t-1}, z_t) given the data.
fn step_kl(process: &Process, t: usize, z: f64, x: f64, x_hat: f64) -> Result<f64, Error> {
    let posterior = |x: f64| -> Result<Gaussian, Error> {
        let chain = process.forward(&vector(&[x]))?;
        let pair = chain.steps()[t - 2].joint(&chain.marginals()?[t - 2])?;
        pair.condition(&[1], &vector(&[z]))
    };
    posterior(x)?.kl(&posterior(x_hat)?)
}

/// (SNR(t-1) - SNR(t))/2 with SNR = abar/(1 - abar), against abar_{t-1}(1-alpha_t)^2 / (2
/// sigma_q^2 (1-abar_t)^2), and against the KL of the conditioned posteriors divided by |x
/// - x_hat|^2. Kind: closed form.
#[test]
fn snr_weight() -> Outcome {
    const TOLERANCE: f64 = 1e-12;
    const CONDITIONING_TOLERANCE: f64 = 1e-9;
    let page = tex("snr-weight");
    let (process, x, x_hat) = (Process::linear_gamma(-8.0, 5.0, 20)?, 0.8, -0.3);
    let snr = |t: &[f64]| process.steps()[t[0] as usize - 1].t.snr();
    let mut rng = rng(601);
    for (i, step) in process.steps().iter().enumerate().skip(1) {
        let (before, alpha) = (step.s.abar(), step.alpha());
        let sigma_q2 = (1.0 - alpha) * step.s.noise() / step.t.noise();
        let fraction =
            before * (1.0 - alpha).powi(2) / (2.0 * sigma_q2 * step.t.noise().powi(2));
        assert_relative(step.x_weight(), fraction, TOLERANCE);
        let kl = step_kl(&process, i + 1, normal(&mut rng), x, x_hat)?;
        let values = Values::default()
            .function(r"\snr", snr)
            .number("t", (i + 1) as f64)
            .number("x", x)
            .number(r"\xhat_\theta(z_t, t)", x_hat)
            .number(r"\KL{q(z_{t-1} \mid z_t, x)}{p_\theta(z_{t-1} \mid z_t)}", kl);
        let sides = page.sides(&values);
        assert_relative(sides[1], fraction * (x - x_hat).powi(2), TOLERANCE);
        assert_relative(sides[1], sides[0], CONDITIONING_TOLERANCE);
    }
    Ok(())
}

/// sigmoid(-gamma), sigmoid(gamma) and e^-gamma against abar, 1 - abar and abar/(1 - abar),
/// with abar = prod alpha_i multiplied out over DDPM's 1000 steps and gamma = -ln SNR.
/// Kind: closed form.
#[test]
fn abar_sigmoid() {
    const TOLERANCE: f64 = 1e-14;
    let page = tex("abar-sigmoid");
    let mut abar = 1.0;
    for i in 0..1000 {
        abar *= 1.0 - (1e-4 + (0.02 - 1e-4) * f64::from(i) / 999.0);
        let snr = abar / (1.0 - abar);
        let gamma = -snr.ln();
        let values = Values::default()
            .number(r"\abar_t", abar)
            .number(r"\gamma_\eta(t)", gamma)
            .number("a", gamma);
        for part in 0..3 {
            let sides = page.part(part, &values);
            assert_close(sides[0], sides[1], TOLERANCE);
        }
        assert_relative((-gamma).exp(), snr, TOLERANCE);
    }
}

/// In f32, exp(d) - 1 and 1 - sigmoid(13.3) against f64, and the same with expm1 and
/// sigmoid(-13.3): the former are off by about the rounding of a number near 1, which is
/// 2^-24, divided by what is left of it, neither much less nor more; the latter by the
/// rounding of the result. For exp(d) - 1 at 1000 d in each of five decades. The same for
/// sigma_q^2 of a short step. Kind: negative.
#[test]
fn snr_trap() {
    digest("snr-trap", "aeab383c6ab8");
    const TOLERANCE: f64 = 2e-7;
    /// Half the distance of two f32 just above 1.
    const ROUNDING: f64 = 1.0 / (1 << 24) as f64;
    let error = |found: f32, exact: f64| (f64::from(found) / exact - 1.0).abs();
    let sigmoid = |a: f32| 1.0 / (1.0 + (-a).exp());

    for decade in 2..=6 {
        let (mut worst, mut worst_stable) = (0.0_f64, 0.0_f64);
        for i in 0..1000 {
            let d = 10.0_f64.powf(f64::from(i) / 1000.0 - f64::from(decade)) as f32;
            let exact = f64::from(d).exp_m1();
            worst = worst.max(error(d.exp() - 1.0, exact) * exact);
            worst_stable = worst_stable.max(error(d.exp_m1(), exact));
        }
        assert!((0.9 * ROUNDING..2.0 * ROUNDING).contains(&worst), "{}", worst / ROUNDING);
        assert!(worst_stable < TOLERANCE);
    }

    let noise = |gamma: f32| 1.0 / (1.0 + (-f64::from(gamma)).exp());
    let naive = |gamma: f32| error(1.0 - sigmoid(-gamma), noise(gamma)) * noise(gamma);
    assert!(naive(-13.3) > 1e-3 * noise(-13.3));
    let gammas = (0..1000).map(|i| i as f32 / 1000.0 - 13.8);
    let worst = gammas.clone().map(naive).fold(0.0, f64::max);
    assert!((0.9 * ROUNDING..2.0 * ROUNDING).contains(&worst), "{}", worst / ROUNDING);
    assert!(gammas.into_iter().all(|g| error(sigmoid(g), noise(g)) < 10.0 * TOLERANCE));

    // sigma_q^2 = (1 - abar_s)(1 - e^(gamma_s - gamma_t)), steps of 1e-3 at low noise, in
    // which 1 - abar_t / abar_s is less than the rounding of the ratio, to which two others
    // add.
    let mut worst = 0.0_f64;
    for i in 0..1000 {
        let (gamma_s, gamma_t) = (-10.0 - i as f32 / 1000.0, -9.999 - i as f32 / 1000.0);
        let step = Step::new(f64::from(gamma_s), f64::from(gamma_t));
        let (exact, left) = (step.posterior_variance(), step.beta());
        let (abar_s, abar_t) = (sigmoid(-gamma_s), sigmoid(-gamma_t));
        let naive = (1.0 - abar_t / abar_s) * (1.0 - abar_s) / (1.0 - abar_t);
        let stable = sigmoid(gamma_s) * -(gamma_s - gamma_t).exp_m1();
        assert!(left < ROUNDING, "{left}");
        assert!(error(stable, exact) < 10.0 * TOLERANCE);
        worst = worst.max(error(naive, exact) * left);
    }
    assert!((0.9 * ROUNDING..3.0 * ROUNDING).contains(&worst), "{}", worst / ROUNDING);
}

/// (1 - abar_{t-1})(1 - e^(gamma_{t-1} - gamma_t)) against
/// (1-alpha_t)(1-abar_{t-1})/(1-abar_t) and against the conditioned covariance; at t = 1,
/// where z_0 is the data, it is 0 and the weight of the KL is infinite, so the sum starts
/// at t = 2. Kind: closed form.
#[test]
fn posterior_variance_gamma() -> Outcome {
    const TOLERANCE: f64 = 1e-12;
    const CONDITIONING_TOLERANCE: f64 = 1e-9;
    let page = tex("posterior-variance-gamma");
    let process = Process::linear_gamma(-8.0, 5.0, 20)?;
    let chain = process.forward(&vector(&[0.8]))?;
    let laws = chain.marginals()?;
    for (i, step) in process.steps().iter().enumerate().skip(1) {
        let fraction = (1.0 - step.alpha()) * step.s.noise() / step.t.noise();
        assert_relative(step.posterior_variance(), fraction, TOLERANCE);
        let posterior = chain.steps()[i - 1].reversed(&laws[i - 1])?;
        let exact = posterior.noise().covariance()[(0, 0)];
        let values = Values::default()
            .number(r"\sigma_q^2(t)", exact)
            .number(r"\abar_{t-1}", step.s.abar())
            .number(r"\gamma_{t-1}", step.s.gamma)
            .number(r"\gamma_t", step.t.gamma);
        let [exact, first, second] = page.sides(&values)[..] else { panic!("three sides") };
        assert_relative(first, exact, CONDITIONING_TOLERANCE);
        assert_relative(second, fraction, TOLERANCE);
    }
    let first = process.steps()[0];
    assert_eq!(first.posterior_variance(), 0.0);
    assert_eq!(first.x_weight(), f64::INFINITY);
    Ok(())
}

/// (1/2) expm1(gamma_t - gamma_{t-1}) |eps - eps_hat|^2 against the KL of the conditioned
/// posteriors for x and for the x_hat that eps_hat means at the same z_t.
/// Kind: closed form.
#[test]
fn snr_weight_eps() -> Outcome {
    const TOLERANCE: f64 = 1e-9;
    let page = tex("snr-weight-eps");
    let (process, mut rng) = (Process::linear_gamma(-8.0, 5.0, 20)?, rng(602));
    for (i, step) in process.steps().iter().enumerate().skip(1) {
        let (x, eps, eps_hat) = (normal(&mut rng), normal(&mut rng), normal(&mut rng));
        let z = step.t.noised(x, eps);
        let x_hat = (z - step.t.noise().sqrt() * eps_hat) / step.t.abar().sqrt();
        let kl = step_kl(&process, i + 1, z, x, x_hat)?;
        let values = Values::default()
            .function(r"\snr", |t| process.steps()[t[0] as usize - 1].t.snr())
            .number("t", (i + 1) as f64)
            .number("x", x)
            .number(r"\xhat", x_hat)
            .number(r"\gamma_t", step.t.gamma)
            .number(r"\gamma_{t-1}", step.s.gamma)
            .number(r"\eps", eps)
            .number(r"\epshat", eps_hat);
        for side in page.sides(&values) {
            assert_relative(side, kl, TOLERANCE);
        }
    }
    Ok(())
}
