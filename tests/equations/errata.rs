//! The appendix "Errata and loose ends": how far tempting forms are from the right ones.

use elbo_to_diffusion::oracle::bound::exact_elbo;
use elbo_to_diffusion::oracle::{
    Chain, DiffusionBound, Error, Gaussian, NoiseLevel, Process, Rule, ScalarMixture,
    matrix, vector,
};

use crate::ch05::bound::{consistency, expected_prior_kl, reconstruction};
use crate::ch05::consistency::printed_kl;
use crate::ch05::{Powers, Reverse, linear_abar, processes};
use crate::support::{
    Outcome, assert_close, assert_relative, derivative, log_normal, normal, rng,
};
use crate::tex::{Values, digest, tex};

/// reconstruction - consistency prior - sum of the printed KL terms, each written out.
fn printed_form(powers: &Powers, reverse: &Reverse, x: f64) -> f64 {
    let sum: f64 =
        (1..powers.abar.len() - 1).map(|t| printed_kl(powers, reverse, x, t)).sum();
    reconstruction(powers, reverse, x) - expected_prior_kl(powers, x) - sum
}

/// -sum_{t=1}^{T-1} a_{t+1} sqrt(alpha_{t+1}) (1 - alpha_t) / c_{t+1}, against the
/// difference between the printed form, from the joint law with z_t drawn afresh, and E_q
/// log p(x, z_1..z_T) + H(q), from the covariance of the whole chain; over random reverse
/// chains, T = 2 to 100. Kind: closed form.
#[test]
fn consistency_error() -> Outcome {
    const TOLERANCE: f64 = 1e-9;
    let page = tex("consistency-error");
    let mut rng = rng(551);
    for process in processes()?.into_iter().chain([linear_abar(20)?]) {
        let (powers, x) = (Powers::of(&process), normal(&mut rng));
        let p = Reverse::near_exact(&process, 0.3, &mut rng);
        let printed =
            DiffusionBound::new(&process, &p.chain()?, &vector(&[x]))?.printed_elbo();
        let values = Values::default()
            .number("B", printed)
            .number(r"\ELBO", exact_elbo(&process, &p.chain()?, &vector(&[x]))?)
            .number("T", process.step_count() as f64)
            .function("a", |t| p.a[t[0] as usize])
            .function("c", |t| p.c[t[0] as usize])
            .function(r"\alpha", |t| powers.alpha[t[0] as usize]);
        let sides = page.sides(&values);
        assert_close(sides[0], sides[1], TOLERANCE);
    }
    Ok(())
}

/// -sum_{k=1}^{T-1} k/(k+2) = 2 H_{T+1} - T - 2, against the printed form less log p(x),
/// for N(0, 1) data, its exact reverse chain and abar_t = 1 - t/(T+1). Kind: negative,
/// closed form.
#[test]
fn consistency_counterexample() -> Outcome {
    const TOLERANCE: f64 = 1e-9;
    let page = tex("consistency-counterexample");
    let x = 0.8;
    for steps in [2, 3, 5, 20, 100, 1000] {
        let process = linear_abar(steps)?;
        for (t, level) in process.noise_levels().iter().enumerate() {
            assert_close(level.abar(), 1.0 - t as f64 / (steps + 1) as f64, TOLERANCE);
        }
        let sum: f64 = (1..steps).map(|k| k as f64 / (k + 2) as f64).sum();
        let reverse = process.exact_reverse(&Gaussian::standard(1)?)?;
        let printed =
            DiffusionBound::new(&process, &reverse, &vector(&[x]))?.printed_elbo();
        let harmonic = |n: &[f64]| (1..=n[0] as usize).map(|k| 1.0 / k as f64).sum();
        let values = Values::default()
            .number("B", printed)
            .number("p(x)", log_normal(x, 0.0, 1.0).exp())
            .number("T", steps as f64)
            .number("n", 7.0)
            .function("H", harmonic);
        for side in page.part(0, &values) {
            assert_close(side, -sum, TOLERANCE);
        }
        let sides = page.part(1, &values);
        assert_close(sides[0], sides[1], TOLERANCE);
        assert!(sum >= 1.0 / 3.0 - TOLERANCE);
    }
    Ok(())
}

/// z_{t-1}, z_t drawn afresh, and z_{t+1} given x, in this order. For t = 1, z_0 = x is
/// fixed and left out.
fn afresh(powers: &Powers, x: f64, t: usize) -> Result<Gaussian, Error> {
    let (now, next, before) = (powers.alpha[t], powers.alpha[t + 1], powers.abar[t - 1]);
    // Three independent sources: z_{t-1}, the noise of the fresh z_t, the noise between
    // z_{t-1} and z_{t+1}.
    let (fresh, ahead) = ((1.0 - now).sqrt(), (1.0 - now * next).sqrt());
    let rows =
        [[1.0, 0.0, 0.0], [now.sqrt(), fresh, 0.0], [(now * next).sqrt(), 0.0, ahead]];
    if t == 1 {
        let mean = vector(&[rows[1][0] * x, rows[2][0] * x]);
        return Gaussian::new(
            mean,
            matrix(&[&[fresh * fresh, 0.0], &[0.0, ahead * ahead]])?,
        );
    }
    let sources = matrix(&[&[1.0 - before, 0.0, 0.0], &[0.0, 1.0, 0.0], &[0.0, 0.0, 1.0]])?;
    let sources = Gaussian::new(vector(&[before.sqrt() * x, 0.0, 0.0]), sources)?;
    sources.affine(&matrix(&[&rows[0], &rows[1], &rows[2]])?, &vector(&[0.0; 3]))
}

/// The printed form against ELBO(r) - I(z_{T-1}; z_T) - sum_t I(z_t; z_{t-1} | z_{t+1}): r
/// is the Markov chain with r(z_T) = q(z_T|x) and r(z_t|z_{t+1}) from the law in which z_t
/// is drawn afresh; its ELBO comes from the covariance of the whole chain, the information
/// terms from conditional entropies. Hence the printed form is at most log p(x), even where
/// it is above the ELBO of q. Kind: closed form.
#[test]
fn printed_bound() -> Outcome {
    digest("printed-bound", "f1f22036d170");
    const TOLERANCE: f64 = 1e-9;
    let (mut rng, mut above) = (rng(552), 0);
    for trial in 0..40 {
        let steps = 2 + trial % 5;
        let process = Process::linear_gamma(-2.0 + normal(&mut rng), 2.0, steps)?;
        let (powers, x) = (Powers::of(&process), normal(&mut rng));
        // Coefficients of either sign: with a < 0 the printed form exceeds the ELBO of q.
        let mut p = Reverse::near_exact(&process, 0.3, &mut rng);
        p.a = p.a.iter().map(|_| 0.7 * normal(&mut rng)).collect();

        let last =
            Gaussian::scalar(powers.abar[steps].sqrt() * x, 1.0 - powers.abar[steps])?;
        let forward = process.forward(&vector(&[x]))?.joint()?;
        let mut information = last.entropy()
            - forward.regression(&[steps - 1], &[steps - 2])?.noise().entropy();
        let mut down = Vec::new();
        for t in (1..steps).rev() {
            let law = afresh(&powers, x, t)?;
            let now = law.dimension() - 2;
            let step = law.regression(&[now], &[now + 1])?;
            if t > 1 {
                information += step.noise().entropy()
                    - law.regression(&[1], &[0, 2])?.noise().entropy();
            }
            down.push(step);
        }
        let order: Vec<usize> = (0..steps).rev().collect();
        let r = Chain::new(last, down)?.joint()?.marginal(&order)?;
        let model = p.chain()?.latent_model()?;
        let printed = printed_form(&powers, &p, x);
        assert_close(printed, model.elbo(&vector(&[x]), &r)? - information, TOLERANCE);
        assert!(printed <= model.log_prob(&vector(&[x]))? + TOLERANCE);
        above += usize::from(printed > exact_elbo(&process, &p.chain()?, &vector(&[x]))?);
    }
    assert!(
        (5..40).contains(&above),
        "the printed form lies above the ELBO of q {above} times of 40"
    );
    Ok(())
}

/// For N(0, 1) data, a = alpha_t sqrt(alpha_{t+1}), c = 1 - alpha_t^2 alpha_{t+1} minimise
/// the printed KL averaged over x, and a = sqrt(alpha_{t+1}), c = 1 - alpha_{t+1} maximise
/// the right term: the derivatives by a and ln c vanish there, by finite differences, and
/// do not vanish at the other's place. Kind: negative, finite differences.
#[test]
fn printed_minimiser() -> Outcome {
    digest("printed-minimiser", "afb573378986");
    const TOLERANCE: f64 = 1e-7;
    let process = Process::linear_gamma(-3.0, 3.0, 6)?;
    let powers = Powers::of(&process);
    let base = Reverse::near_exact(&process, 0.0, &mut rng(0));
    // A quadratic in x has the same mean under N(0, 1) as at the two points -1 and 1.
    let mean = |f: &dyn Fn(f64) -> f64| 0.5 * (f(-1.0) + f(1.0));
    for t in 1..6 {
        let (now, next) = (powers.alpha[t], powers.alpha[t + 1]);
        let with = |a: f64, log_c: f64| {
            let mut p = Reverse { a: base.a.clone(), b: base.b.clone(), c: base.c.clone() };
            (p.a[t + 1], p.c[t + 1]) = (a, log_c.exp());
            p
        };
        let printed =
            |a: f64, log_c: f64| mean(&|x| printed_kl(&powers, &with(a, log_c), x, t));
        let right =
            |a: f64, log_c: f64| mean(&|x| -consistency(&powers, &with(a, log_c), x, t));
        let slopes = |f: &dyn Fn(f64, f64) -> f64, a: f64, log_c: f64| {
            derivative(|a| f(a, log_c), a)
                .abs()
                .max(derivative(|log_c| f(a, log_c), log_c).abs())
        };
        let printed_at = (now * next.sqrt(), (1.0 - now * now * next).ln());
        let right_at = (next.sqrt(), (1.0 - next).ln());
        assert_close(slopes(&printed, printed_at.0, printed_at.1), 0.0, TOLERANCE);
        assert_close(slopes(&right, right_at.0, right_at.1), 0.0, TOLERANCE);
        assert!(slopes(&printed, right_at.0, right_at.1) > 0.05);
        assert!(slopes(&right, printed_at.0, printed_at.1) > 0.05);
        assert!(printed(right_at.0, right_at.1) > printed(printed_at.0, printed_at.1));
    }
    Ok(())
}

/// sqrt(abar_s/abar_t) (z_t - sigma_t c eps), c = 1 - e^(gamma_s - gamma_t), against the
/// mean of q(z_s|z_t, x) from conditioning the joint covariance; without the factor sigma_t
/// it is another number. With the exact denoiser of N(0, 1) data, eps_hat = sigma_t z_t,
/// the right step is the regression of z_s on z_t, and the other one shrinks: the variance
/// of z_s misses 1 by more than three times as much. Kind: negative, closed form.
#[test]
fn ancestral_eps() -> Outcome {
    const TOLERANCE: f64 = 1e-12;
    let page = tex("ancestral-eps");
    let (x, mut rng) = (0.8, rng(553));
    let process = Process::linear_gamma(-8.0, 5.0, 20)?;
    let abar = Powers::of(&process).abar;
    let joint = process.forward(&vector(&[x]))?.joint()?;
    let unit = Chain::new(Gaussian::standard(1)?, process.conditionals(1)?)?.joint()?;
    for t in 2..=20 {
        let (signal, sigma_t) = (abar[t].sqrt(), (1.0 - abar[t]).sqrt());
        let c = 1.0 - abar[t] * (1.0 - abar[t - 1]) / (abar[t - 1] * (1.0 - abar[t]));
        let eps = normal(&mut rng);
        let z = signal * x + sigma_t * eps;
        let step = |factor: f64| (abar[t - 1] / abar[t]).sqrt() * (z - factor * c * eps);
        let exact = joint.regression(&[t - 2], &[t - 1])?.given(&vector(&[z]))?;
        let values = Values::default()
            .number(r"\mu_q", exact.mean()[0])
            .number(r"\abar_s", abar[t - 1])
            .number(r"\abar_t", abar[t])
            .number("z_t", z)
            .number(r"\sigma_t", sigma_t)
            .number("c", c)
            .number(r"\eps", eps);
        for side in page.sides(&values) {
            assert_close(side, step(sigma_t), TOLERANCE);
        }
        assert!((step(1.0) - exact.mean()[0]).abs() > 1e-3 * eps.abs());

        let keep =
            |factor: f64| (abar[t - 1] / abar[t]).sqrt() * (1.0 - factor * c * sigma_t);
        let regression = unit.regression(&[t - 1], &[t])?;
        assert_relative(keep(sigma_t), regression.matrix()[(0, 0)], 10.0 * TOLERANCE);
        let missing = |factor: f64| 1.0 - keep(factor).powi(2) - exact.covariance()[(0, 0)];
        if abar[t] > 0.5 {
            assert!(missing(1.0) > 3.0 * missing(sigma_t) && missing(sigma_t) > 0.0);
        }
    }
    Ok(())
}

/// The guided field, score of q(z_t) plus w times the score of q(y|z_t), against the score
/// of the diffused density p(x) p(y|x)^w, by quadrature over x and finite differences in z:
/// equal for w = 0 and 1, and more than one unit apart for w = 3. Two normals with variance
/// 1/4 at -1 and 1; y says that x is of the second. Kind: negative, quadrature.
#[test]
fn guided_score() -> Outcome {
    digest("guided-score", "eda325532d41");
    const TOLERANCE: f64 = 1e-7;
    let data = ScalarMixture::new(&[0.5, 0.5], &[-1.0, 1.0], &[0.25, 0.25])?;
    let class = ScalarMixture::new(&[1.0], &[1.0], &[0.25])?;
    // log q(y|z_t) up to a constant is log q(z_t|y) - log q(z_t).
    let log_class = |z: f64, level: NoiseLevel| {
        class.marginal(level).log_prob(z) - data.marginal(level).log_prob(z)
    };
    let grid = Rule::gauss_legendre(300, -6.0, 6.0);
    let mut largest: f64 = 0.0;
    for abar in [0.9, 0.5, 0.2] {
        let level = NoiseLevel::from_abar(abar);
        for w in [0.0, 1.0, 3.0] {
            let tilted =
                |x: f64| (data.log_prob(x) + w * log_class(x, NoiseLevel::DATA)).exp();
            let diffused = |z: f64| {
                grid.integrate(|x| {
                    tilted(x) * log_normal(z, abar.sqrt() * x, 1.0 - abar).exp()
                })
                .ln()
            };
            for z in [-2.0, -1.0, 0.0, 1.0] {
                let guided = data.marginal(level).score(z)
                    + w * derivative(|z| log_class(z, level), z);
                let difference = guided - derivative(diffused, z);
                if w <= 1.0 {
                    assert_close(difference, 0.0, TOLERANCE);
                } else {
                    assert!(difference.abs() > 1e-3);
                    largest = largest.max(difference.abs());
                }
            }
        }
    }
    assert!(largest > 1.0, "the largest difference is {largest}");
    Ok(())
}
