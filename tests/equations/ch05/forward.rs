//! The forward process, its posteriors, and the reverse variance.

use elbo_to_diffusion::oracle::{Chain, Gaussian, LinearConditional, Process, vector};

use super::{Powers, processes};
use crate::support::{
    Outcome, assert_close, assert_relative, log_normal, normal, normals, rng,
};
use crate::tex::{Values, digest, tex};

/// alpha_t (1 - alpha_{t-1}) + (1 - alpha_t) against 1 - alpha_t alpha_{t-1}, and both
/// against the variance of z_t given z_{t-2} from the covariance of a two-step chain. Kind:
/// closed form.
#[test]
fn noise_merging() -> Outcome {
    const TOLERANCE: f64 = 1e-14;
    let page = tex("noise-merging");
    for (first, second) in [(0.9, 0.8), (0.999, 0.5), (0.1, 0.3), (0.9999, 0.98)] {
        let (alpha_before, alpha): (f64, f64) = (first, second);
        let chain = Chain::new(
            Gaussian::scalar(0.7 * alpha_before.sqrt(), 1.0 - alpha_before)?,
            vec![LinearConditional::scalar(alpha.sqrt(), 0.0, 1.0 - alpha)?],
        )?;
        let merged = chain.joint()?.marginal(&[1])?.covariance()[(0, 0)];
        let values = Values::default()
            .number(r"\alpha_t", alpha)
            .number(r"\alpha_{t-1}", alpha_before);
        for side in page.sides(&values) {
            assert_close(side, merged, TOLERANCE);
        }
    }
    Ok(())
}

/// N(sqrt(abar_t) x, (1 - abar_t) I) with abar_t = prod alpha_i, against the marginals of
/// the joint law that the chain of one-step conditionals builds. Kind: closed form.
#[test]
fn forward_marginal() -> Outcome {
    const TOLERANCE: f64 = 1e-13;
    let page = tex("forward-marginal");
    page.words(0, r"q(z_t \mid x) = \N{\sqrt{\abar_t}\; x}{(1 - \abar_t)\,\I}");
    let x = vector(&[0.8, -1.7]);
    for process in processes()? {
        let Powers { alpha, abar } = Powers::of(&process);
        let joint = process.forward(&x)?.joint()?;
        for (t, abar_t) in abar.iter().enumerate().skip(1) {
            let law = joint.marginal(&[2 * t - 2, 2 * t - 1])?;
            for i in 0..2 {
                assert_close(law.mean()[i], abar_t.sqrt() * x[i], TOLERANCE);
                assert_close(law.covariance()[(i, i)], 1.0 - abar_t, TOLERANCE);
            }
            assert_close(law.covariance()[(0, 1)], 0.0, TOLERANCE);
            let values = Values::default()
                .number(r"\abar_t", 1.0 - law.covariance()[(0, 0)])
                .number("t", t as f64)
                .function(r"\alpha", |i| alpha[i[0] as usize]);
            let sides = page.part(1, &values);
            assert_close(sides[0], sides[1], TOLERANCE);
        }
    }
    Ok(())
}

/// q(z_t|z_s) = N(sqrt(abar_t/abar_s) z_s, 1 - abar_t/abar_s), against conditioning the
/// joint covariance of the chain on z_s, for every s < t; and s -> u -> t composed
/// (Chapman-Kolmogorov). Kind: closed form.
#[test]
fn forward_between() -> Outcome {
    digest("forward-between", "cfee07855c74");
    const TOLERANCE: f64 = 1e-12;
    let process = Process::linear_gamma(-8.0, 5.0, 20)?;
    let abar = Powers::of(&process).abar;
    let joint = process.forward(&vector(&[0.8]))?.joint()?;
    for t in 2..=20 {
        for s in 1..t {
            let (scale, variance) = ((abar[t] / abar[s]).sqrt(), 1.0 - abar[t] / abar[s]);
            let law = joint.regression(&[t - 1], &[s - 1])?;
            assert_close(scale, law.matrix()[(0, 0)], TOLERANCE);
            assert_close(0.0, law.noise().mean()[0], TOLERANCE);
            assert_close(variance, law.noise().covariance()[(0, 0)], TOLERANCE);
            for u in s + 1..t {
                let second = abar[t] / abar[u];
                let composed = second * (1.0 - abar[u] / abar[s]) + 1.0 - second;
                assert_close(composed, variance, TOLERANCE);
            }
        }
    }
    Ok(())
}

/// Var z_t = abar_t Var x + 1 - abar_t, against the covariance of the chain started from
/// Gaussian data: it stays at Var x exactly when Var x = 1, and moves when it is not. Kind:
/// closed form.
#[test]
fn variance_preserved() -> Outcome {
    const TOLERANCE: f64 = 1e-12;
    let page = tex("variance-preserved");
    let process = Process::linear_gamma(-8.0, 5.0, 50)?;
    let abar = Powers::of(&process).abar;
    for data_variance in [0.25, 1.0, 4.0] {
        let data = Gaussian::scalar(0.3, data_variance)?;
        let joint = Chain::new(data, process.conditionals(1)?)?.joint()?;
        for (t, abar_t) in abar.iter().enumerate().skip(1) {
            let variance = joint.covariance()[(t, t)];
            let values = Values::default()
                .number(r"\abar_t", *abar_t)
                .number(r"\Var x", data_variance);
            let sides = page.sides(&values.number(r"\Var z_t", variance));
            assert_close(sides[0], sides[1], TOLERANCE);
            let preserved = (variance - data_variance).abs() < TOLERANCE;
            assert_eq!(preserved, data_variance == 1.0);
        }
    }
    Ok(())
}

/// log q(z_t|z_{t-1}) against log q(z_{t-1}|z_t, x) + log q(z_t|x) - log q(z_{t-1}|x) at
/// random points, with the posterior from conditioning the joint covariance. Kind: closed
/// form.
#[test]
fn bayes_step() -> Outcome {
    const TOLERANCE: f64 = 1e-10;
    let page = tex("bayes-step");
    let (process, x, mut rng) = (Process::linear_gamma(-8.0, 5.0, 20)?, 0.8, rng(501));
    let Powers { alpha, abar } = Powers::of(&process);
    let joint = process.forward(&vector(&[x]))?.joint()?;
    let marginal = |z: f64, t: usize| log_normal(z, abar[t].sqrt() * x, 1.0 - abar[t]);
    for t in 2..=20 {
        let posterior = joint.regression(&[t - 2], &[t - 1])?;
        for _ in 0..10 {
            let before =
                abar[t - 1].sqrt() * x + (1.0 - abar[t - 1]).sqrt() * normal(&mut rng);
            let after =
                alpha[t].sqrt() * before + (1.0 - alpha[t]).sqrt() * normal(&mut rng);
            let step = log_normal(after, alpha[t].sqrt() * before, 1.0 - alpha[t]);
            let back = posterior.given(&vector(&[after]))?.log_prob(&vector(&[before]))?;
            let values = Values::default()
                .number(r"q(z_t \mid z_{t-1})", step.exp())
                .number(r"q(z_{t-1} \mid z_t, x)", back.exp())
                .number(r"q(z_t \mid x)", marginal(after, t).exp())
                .number(r"q(z_{t-1} \mid x)", marginal(before, t - 1).exp())
                .number("t", t as f64);
            let sides = page.part(0, &values);
            assert_relative(sides[0], sides[1], TOLERANCE);
            page.part(1, &values);
        }
    }
    Ok(())
}

/// mu_q and sigma_q^2 of q(z_{t-1}|z_t, x) against conditioning the joint covariance, for
/// two-dimensional data; and A sqrt(abar_t) + B = sqrt(abar_{t-1}),
/// A^2 (1 - abar_t) + sigma_q^2 = 1 - abar_{t-1}.
/// Kind: closed form.
#[test]
fn forward_posterior() -> Outcome {
    const TOLERANCE: f64 = 1e-12;
    let page = tex("forward-posterior");
    page.words(0, r"q(z_{t-1} \mid z_t, x) = \N{\mu_q}{\sigma_q^2(t)\,\I}");
    let (x, mut rng) = (vector(&[0.8, -1.7]), rng(502));
    for process in processes()? {
        let Powers { alpha, abar } = Powers::of(&process);
        let joint = process.forward(&x)?.joint()?;
        for t in 2..=process.step_count() {
            let a = alpha[t].sqrt() * (1.0 - abar[t - 1]) / (1.0 - abar[t]);
            let b = abar[t - 1].sqrt() * (1.0 - alpha[t]) / (1.0 - abar[t]);
            let variance = (1.0 - alpha[t]) * (1.0 - abar[t - 1]) / (1.0 - abar[t]);

            let z_t = normals(&mut rng, 2);
            let pair = joint.marginal(&[2 * t - 4, 2 * t - 3, 2 * t - 2, 2 * t - 1])?;
            let posterior = pair.condition(&[2, 3], &z_t)?;
            for i in 0..2 {
                let values = Values::default()
                    .number(r"\alpha_t", alpha[t])
                    .number(r"\abar_t", abar[t])
                    .number(r"\abar_{t-1}", abar[t - 1])
                    .number("z_t", z_t[i])
                    .number("x", x[i])
                    .number(r"\mu_q", posterior.mean()[i])
                    .number(r"\sigma_q^2(t)", posterior.covariance()[(i, i)]);
                for part in [1, 2] {
                    let sides = page.part(part, &values);
                    assert_close(sides[0], sides[1], TOLERANCE);
                }
            }
            assert_close(0.0, posterior.covariance()[(0, 1)], TOLERANCE);
            assert_close(a * abar[t].sqrt() + b, abar[t - 1].sqrt(), TOLERANCE);
            assert_close(a * a * (1.0 - abar[t]) + variance, 1.0 - abar[t - 1], TOLERANCE);

            let step = process.steps()[t - 1];
            assert_close(
                step.posterior_mean(z_t[0], x[0]),
                a * z_t[0] + b * x[0],
                TOLERANCE,
            );
            assert_close(step.posterior_variance(), variance, TOLERANCE);
        }
    }
    Ok(())
}

/// Completing the square: the precision alpha_t/(1-alpha_t) + 1/(1-abar_{t-1}), also as
/// (1-abar_t)/((1-alpha_t)(1-abar_{t-1})), and the linear term sqrt(alpha_t)
/// z_t/(1-alpha_t) + sqrt(abar_{t-1}) x/(1-abar_{t-1}), against 1/variance and
/// mean/variance from conditioning the joint covariance. Kind: closed form.
#[test]
fn posterior_precision() -> Outcome {
    // Relative to the precision, which reaches 1e4 at the least noise.
    const TOLERANCE: f64 = 1e-11;
    let page = tex("posterior-precision");
    let (x, mut rng) = (0.8, rng(503));
    let process = Process::linear_gamma(-8.0, 5.0, 20)?;
    let Powers { alpha, abar } = Powers::of(&process);
    let joint = process.forward(&vector(&[x]))?.joint()?;
    for t in 2..=20 {
        let z_t = normal(&mut rng);
        let posterior = joint.regression(&[t - 2], &[t - 1])?.given(&vector(&[z_t]))?;
        let variance = posterior.covariance()[(0, 0)];
        let values = Values::default()
            .number(r"\alpha_t", alpha[t])
            .number(r"\abar_t", abar[t])
            .number(r"\abar_{t-1}", abar[t - 1])
            .number("z_t", z_t)
            .number("x", x)
            .number(r"\mu_q", posterior.mean()[0])
            .number(r"\sigma_q^2(t)", variance);
        for side in page.part(0, &values) {
            assert_close(side * variance, 1.0, TOLERANCE);
        }
        for side in page.part(1, &values) {
            assert_close(side * variance, posterior.mean()[0], TOLERANCE);
        }
    }
    Ok(())
}

/// Both sides of the page, with the densities q(z_t|x) of the closed form, along random
/// paths of the chain, against the sum of log q(z_{t-1}|z_t, x) - log q(z_t|z_{t-1}): the
/// transition from its alpha_t, the posterior by conditioning the covariance of the whole
/// chain. By Bayes' rule that is the summand; no other function of z_t would do.
/// Kind: closed form.
#[test]
fn telescoping() -> Outcome {
    const TOLERANCE: f64 = 1e-9;
    let page = tex("telescoping");
    let (x, mut rng) = (vector(&[0.8]), rng(504));
    for process in processes()? {
        let last = process.step_count();
        let Powers { alpha, abar } = Powers::of(&process);
        let chain = process.forward(&x)?;
        let joint = chain.joint()?;
        let posteriors = (2..=last)
            .map(|t| joint.regression(&[t - 2], &[t - 1]))
            .collect::<Result<Vec<_>, _>>()?;
        for _ in 0..20 {
            // path[t - 1] is z_t.
            let path = chain.sample(&mut rng);
            let z = |t: usize| path[t - 1][0];
            let mut by_bayes = 0.0;
            for t in 2..=last {
                let posterior = posteriors[t - 2].given(&path[t - 1])?;
                by_bayes += posterior.log_prob(&path[t - 2])?
                    - log_normal(z(t), alpha[t].sqrt() * z(t - 1), 1.0 - alpha[t]);
            }
            let density = |given: &[f64]| {
                let t = given[0] as usize;
                log_normal(z(t), abar[t].sqrt() * given[1], 1.0 - abar[t]).exp()
            };
            // z_t stands for its index.
            let values = Values::default()
                .function("z", |index| index[0])
                .function("q", density)
                .number("x", x[0])
                .number("T", last as f64);
            for side in page.sides(&values) {
                assert_close(side, by_bayes, TOLERANCE);
            }
        }
    }
    Ok(())
}

/// Var(z_{t-1}|z_t) = sigma_q^2 + B^2 Var(x|z_t) for Gaussian data of variance v, against
/// conditioning the covariance of the chain. It is sigma_q^2 for v = 0, beta_t for v = 1,
/// and more than beta_t for v > 1: with alpha = 0.9, abar_{t-1} = 0.6 they are 0.0870,
/// 0.1000 and 0.1069. Kind: closed form.
#[test]
fn reverse_variance() -> Outcome {
    const TOLERANCE: f64 = 1e-14;
    const PRINTED: f64 = 5e-5;
    let page = tex("reverse-variance");
    let process = Process::from_betas(&[0.4, 0.1])?;
    let (alpha, abar_before, abar): (f64, f64, f64) = (0.9, 0.6, 0.54);
    let sigma_q2 = (1.0 - alpha) * (1.0 - abar_before) / (1.0 - abar);
    for (v, printed) in [(0.0, 0.0870), (1.0, 0.1000), (4.0, 0.1069)] {
        let data_given_z = v * (1.0 - abar) / (abar * v + 1.0 - abar);
        // Point data: the chain from a fixed x. Otherwise the coordinates are x, z_1, z_2.
        let exact = if v == 0.0 {
            process.forward(&vector(&[0.3]))?.joint()?.regression(&[0], &[1])?
        } else {
            let data = Gaussian::scalar(0.3, v)?;
            Chain::new(data, process.conditionals(1)?)?.joint()?.regression(&[1], &[2])?
        };
        let values = Values::default()
            .number(r"\alpha_t", alpha)
            .number(r"\abar_t", abar)
            .number(r"\abar_{t-1}", abar_before)
            .number(r"\sigma_q^2(t)", sigma_q2)
            .number(r"\Var(x \mid z_t)", data_given_z)
            .number(r"\Var(z_{t-1} \mid z_t)", exact.noise().covariance()[(0, 0)]);
        let [variance, formula] = page.sides(&values)[..] else { panic!("two sides") };
        assert_close(formula, variance, TOLERANCE);
        assert_close(formula, printed, PRINTED);
        assert_eq!(formula > 1.0 - alpha + TOLERANCE, v > 1.0);
    }
    Ok(())
}
