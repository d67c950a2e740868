//! The two decompositions of the ELBO, and the terms of the denoising form.

use std::f64::consts::TAU;

use elbo_to_diffusion::oracle::bound::exact_elbo;
use elbo_to_diffusion::oracle::{
    DiffusionBound, Error, Estimate, Gaussian, LinearGaussian, Process, matrix, vector,
};
use rand::RngExt;

use super::{Powers, Reverse, linear_abar, processes};
use crate::support::{Outcome, assert_close, assert_relative, normal, normals, rng};
use crate::tex::{Values, digest, tex};

/// KL(N(m1, v1) || N(m2, v2)) averaged over a difference of means with this second moment.
pub(crate) fn kl(v1: f64, v2: f64, squared_difference: f64) -> f64 {
    0.5 * ((v2 / v1).ln() - 1.0 + v1 / v2 + squared_difference / v2)
}

/// E_q(z_1|x) log p(x|z_1).
pub(crate) fn reconstruction(powers: &Powers, p: &Reverse, x: f64) -> f64 {
    let (m, v) = (powers.abar[1].sqrt() * x, 1.0 - powers.abar[1]);
    let squares = (x - p.a[1] * m - p.b[1]).powi(2) + p.a[1] * p.a[1] * v;
    -0.5 * ((TAU * p.c[1]).ln() + squares / p.c[1])
}

/// KL(q(z_T|x) || N(0, 1)).
pub(crate) fn prior(powers: &Powers, x: f64) -> f64 {
    let abar = powers.abar[powers.abar.len() - 1];
    0.5 * (abar * x * x - abar - (1.0 - abar).ln())
}

/// E_q(z_t|x) KL(q(z_{t-1}|z_t, x) || p(z_{t-1}|z_t)).
pub(crate) fn denoising(powers: &Powers, p: &Reverse, x: f64, t: usize) -> f64 {
    let (alpha, abar, before) = (powers.alpha[t], powers.abar[t], powers.abar[t - 1]);
    let a = alpha.sqrt() * (1.0 - before) / (1.0 - abar);
    let b = before.sqrt() * (1.0 - alpha) / (1.0 - abar);
    let sigma_q2 = (1.0 - alpha) * (1.0 - before) / (1.0 - abar);
    let mean = (a - p.a[t]) * abar.sqrt() * x + b * x - p.b[t];
    kl(sigma_q2, p.c[t], mean * mean + (a - p.a[t]).powi(2) * (1.0 - abar))
}

/// E KL(q(z_T|z_{T-1}) || N(0, 1)) over z_{T-1} given x (x itself for T = 1).
pub(crate) fn expected_prior_kl(powers: &Powers, x: f64) -> f64 {
    let t = powers.abar.len() - 1;
    let before = powers.abar[t - 1];
    let squares = powers.alpha[t] * (before * x * x + 1.0 - before);
    0.5 * (squares - powers.alpha[t] - (1.0 - powers.alpha[t]).ln())
}

/// E log p(z_t|z_{t+1}) / q(z_t|z_{t-1}) over (z_{t-1}, z_t, z_{t+1}) given x.
pub(crate) fn consistency(powers: &Powers, p: &Reverse, x: f64, t: usize) -> f64 {
    let (a, b, c) = (p.a[t + 1], p.b[t + 1], p.c[t + 1]);
    let next = powers.alpha[t + 1];
    // z_t - a z_{t+1} - b = (1 - a sqrt(alpha)) z_t - a sqrt(1 - alpha) eps - b.
    let keep = 1.0 - a * next.sqrt();
    let squares = (keep * powers.abar[t].sqrt() * x - b).powi(2)
        + keep * keep * (1.0 - powers.abar[t])
        + a * a * (1.0 - next);
    let log_p = -0.5 * ((TAU * c).ln() + squares / c);
    let log_q = -0.5 * ((TAU * (1.0 - powers.alpha[t])).ln() + 1.0);
    log_p - log_q
}

/// Runs `compare(process, reverse, x, exact ELBO)` over random reverse chains: T = 1 to 100
/// on three schedules, and DDPM's T = 1000.
fn over_chains(
    seed: u64,
    compare: impl Fn(&Process, &Reverse, f64, f64) -> Outcome,
) -> Outcome {
    let mut rng = rng(seed);
    let mut cases = processes()?;
    cases.push(Process::linear_gamma(-2.0, 1.0, 1)?);
    cases.push(linear_abar(30)?);
    cases.push(Process::ddpm()?);
    for process in cases {
        let by = if process.step_count() > 100 { 0.02 } else { 0.3 };
        let reverse = Reverse::near_exact(&process, by, &mut rng);
        let x = normal(&mut rng);
        let exact = exact_elbo(&process, &reverse.chain()?, &vector(&[x]))?;
        compare(&process, &reverse, x, exact)?;
    }
    Ok(())
}

/// Reconstruction - consistency prior + the sum of the log-ratio terms, each written out,
/// against E_q log p(x, z_{1:T}) + H(q) from the covariance of the whole chain; T = 1, 2,
/// 5, 20, 100, 1000. Kind: closed form.
#[test]
fn elbo_consistency() -> Outcome {
    digest("elbo-consistency", "ab9b3c8b8ec0");
    const TOLERANCE: f64 = 1e-9;
    over_chains(511, |process, reverse, x, exact| {
        let (powers, last) = (Powers::of(process), process.step_count());
        let sum: f64 = (1..last).map(|t| consistency(&powers, reverse, x, t)).sum();
        let elbo =
            reconstruction(&powers, reverse, x) - expected_prior_kl(&powers, x) + sum;
        assert_close(elbo, exact, TOLERANCE);
        let bound = DiffusionBound::new(process, &reverse.chain()?, &vector(&[x]))?;
        assert_close(bound.consistency_elbo(), exact, TOLERANCE);
        Ok(())
    })
}

/// Reconstruction - prior - the sum of the denoising KLs, each written out, against E_q log
/// p(x, z_{1:T}) + H(q) from the covariance of the whole chain; T = 1, 2, 5, 20, 100, 1000.
/// Kind: closed form.
#[test]
fn elbo_denoising() -> Outcome {
    digest("elbo-denoising", "aa1c0c84836d");
    const TOLERANCE: f64 = 1e-9;
    over_chains(512, |process, reverse, x, exact| {
        let (powers, last) = (Powers::of(process), process.step_count());
        let sum: f64 = (2..=last).map(|t| denoising(&powers, reverse, x, t)).sum();
        let elbo = reconstruction(&powers, reverse, x) - prior(&powers, x) - sum;
        assert_close(elbo, exact, TOLERANCE);
        let bound = DiffusionBound::new(process, &reverse.chain()?, &vector(&[x]))?;
        assert_close(bound.denoising_elbo(), exact, TOLERANCE);
        Ok(())
    })
}

/// With T = 1 both decompositions, against the ELBO of the linear-Gaussian VAE with the
/// same decoder and the encoder q(z_1|x). Kind: closed form.
#[test]
fn vdm_one_level() -> Outcome {
    digest("vdm-one-level", "e2589dd090ab");
    const TOLERANCE: f64 = 1e-13;
    let mut rng = rng(513);
    for gamma in [-3.0, 0.0, 4.0] {
        let process = Process::linear_gamma(gamma, gamma, 1)?;
        let (powers, x) = (Powers::of(&process), normal(&mut rng));
        let p = Reverse::near_exact(&process, 0.3, &mut rng);
        let vae =
            LinearGaussian::standard(matrix(&[&[p.a[1]]])?, vector(&[p.b[1]]), p.c[1])?;
        let q = Gaussian::scalar(powers.abar[1].sqrt() * x, 1.0 - powers.abar[1])?;
        let elbo = vae.elbo(&vector(&[x]), &q)?;
        let first = reconstruction(&powers, &p, x);
        assert_close(first - prior(&powers, x), elbo, TOLERANCE);
        assert_close(first - expected_prior_kl(&powers, x), elbo, TOLERANCE);
    }
    Ok(())
}

/// (1/2)[abar_T |x|^2 - d abar_T - d ln(1 - abar_T)] against the KL of the oracle's
/// Gaussians; and abar_T |x|^2/2 + d abar_T^2/4, which it approaches as abar_T -> 0. Kind:
/// closed form.
#[test]
fn prior_kl() -> Outcome {
    const TOLERANCE: f64 = 1e-13;
    let page = tex("prior-kl");
    let mut rng = rng(514);
    for gamma in [0.0, 3.0, 5.0, 9.0] {
        let process = Process::linear_gamma(-8.0, gamma, 10)?;
        let abar = Powers::of(&process).abar[10];
        let x = normals(&mut rng, 3);
        let last = process.forward(&x)?.marginals()?.remove(9);
        let values = Values::default()
            .number(r"\abar_T", abar)
            .vector("x", x.as_slice())
            .number("d", 3.0)
            .number(r"\KL{q(z_T \mid x)}{\N{0}{\I}}", last.kl(&Gaussian::standard(3)?)?);
        let [exact, formula] = page.sides(&values)[..] else { panic!("two sides") };
        assert_close(formula, exact, TOLERANCE);
        // The next term of the series is d abar^3 / 6, and the rest is below twice that.
        let leading = 0.5 * abar * x.norm_squared() + 0.75 * abar * abar;
        let remainder = formula - leading;
        assert!(remainder > 0.0 || abar < 1e-3, "{remainder}");
        assert!(remainder < abar.powi(3) + TOLERANCE, "{remainder} at abar {abar}");
    }
    Ok(())
}

/// |mu_q - mu|^2 / (2 sigma^2) against the oracle's KL of two Gaussians with one covariance.
/// Kind: closed form.
#[test]
fn equal_covariance_kl() -> Outcome {
    const TOLERANCE: f64 = 1e-13;
    let page = tex("equal-covariance-kl");
    let mut rng = rng(515);
    for variance in [0.01, 0.5, 3.0] {
        let (mu_q, mu) = (normals(&mut rng, 3), normals(&mut rng, 3));
        let values = Values::default()
            .number(r"\sigma^2", variance)
            .vector(r"\mu_q", mu_q.as_slice())
            .vector(r"\mu_\theta", mu.as_slice());
        let exact =
            Gaussian::isotropic(mu_q, variance)?.kl(&Gaussian::isotropic(mu, variance)?)?;
        let values = values
            .number(r"\KL{\N{\mu_q}{\sigma^2 \I}}{\N{\mu_\theta}{\sigma^2 \I}}", exact);
        let sides = page.sides(&values);
        assert_relative(sides[1], sides[0], TOLERANCE);
    }
    Ok(())
}

/// abar_{t-1}(1-alpha_t)^2 / (2 sigma_q^2 (1-abar_t)^2) |x - x_hat|^2, against the KL
/// between the posteriors that conditioning the joint covariance gives for x and for x_hat.
/// Kind: closed form.
#[test]
fn denoising_kl_x() -> Outcome {
    const TOLERANCE: f64 = 1e-10;
    let page = tex("denoising-kl-x");
    let mut rng = rng(516);
    let process = Process::linear_gamma(-8.0, 5.0, 20)?;
    let Powers { alpha, abar } = Powers::of(&process);
    let (x, x_hat) = (normals(&mut rng, 2), normals(&mut rng, 2));
    let (joint, joint_hat) =
        (process.forward(&x)?.joint()?, process.forward(&x_hat)?.joint()?);
    for t in 2..=20 {
        let sigma_q2 = (1.0 - alpha[t]) * (1.0 - abar[t - 1]) / (1.0 - abar[t]);
        let z_t = normals(&mut rng, 2);
        let (before, now) = ([2 * t - 4, 2 * t - 3], [2 * t - 2, 2 * t - 1]);
        let q = joint.regression(&before, &now)?.given(&z_t)?;
        let p = joint_hat.regression(&before, &now)?.given(&z_t)?;
        let values = Values::default()
            .number(r"\alpha_t", alpha[t])
            .number(r"\abar_t", abar[t])
            .number(r"\abar_{t-1}", abar[t - 1])
            .number(r"\sigma_q^2(t)", sigma_q2)
            .vector("x", x.as_slice())
            .vector(r"\xhat_\theta(z_t, t)", x_hat.as_slice())
            .number(r"\KL{q(z_{t-1} \mid z_t, x)}{p_\theta(z_{t-1} \mid z_t)}", q.kl(&p)?);
        let sides = page.sides(&values);
        assert_relative(sides[1], sides[0], TOLERANCE);
    }
    Ok(())
}

/// (T - 1) times the KL at one random t in 2..T and one random z_t, averaged, against the
/// sum of the denoising terms that the exact ELBO leaves: reconstruction - prior - ELBO.
/// Kind: Monte Carlo.
#[test]
fn sampled_time() -> Result<(), Error> {
    const TOLERANCE: f64 = 1e-10;
    const STANDARD_ERRORS: f64 = 5.0;
    let page = tex("sampled-time");
    let mut rng = rng(517);
    let process = Process::linear_gamma(-8.0, 5.0, 30)?;
    let (powers, x) = (Powers::of(&process), 0.8);
    let p = Reverse::near_exact(&process, 0.3, &mut rng);
    let exact = exact_elbo(&process, &p.chain()?, &vector(&[x]))?;
    let sum = reconstruction(&powers, &p, x) - prior(&powers, x) - exact;
    let steps = process.steps();
    let estimate = Estimate::of(200_000, || {
        let t = rng.random_range(2..=30);
        let z =
            powers.abar[t].sqrt() * x + (1.0 - powers.abar[t]).sqrt() * normal(&mut rng);
        let step = steps[t - 1];
        let difference = step.posterior_mean(z, x) - p.a[t] * z - p.b[t];
        kl(step.posterior_variance(), p.c[t], difference * difference)
    });
    let terms = |t: &[f64]| {
        let t = t[0] as usize;
        let step = steps[t - 1];
        // The difference of the means is linear in z_t.
        let slope = step.posterior_mean(1.0, x) - step.posterior_mean(0.0, x) - p.a[t];
        let mean = step.posterior_mean(0.0, x) - p.b[t] + slope * powers.abar[t].sqrt() * x;
        let squares = mean * mean + slope * slope * (1.0 - powers.abar[t]);
        kl(step.posterior_variance(), p.c[t], squares)
    };
    let values = Values::default()
        .number("T", 30.0)
        .function("L", terms)
        .number(r"\E{t \sim U\{2, \dots, T\}}{L_t}", estimate.mean());
    let sides = page.sides(&values);
    assert_relative(sides[0], sum, TOLERANCE);
    let error = STANDARD_ERRORS * 29.0 * estimate.standard_error();
    assert_close(sides[1], sum, error);
    Ok(())
}
