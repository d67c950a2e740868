//! Chapter 9: labels, and guidance.

use elbo_to_diffusion::oracle::{
    Error, Gaussian, Mixture, NoiseLevel, Rule, ScalarMixture, log_sum_exp, matrix, vector,
};

use crate::support::{Outcome, assert_close, derivative, log_normal, random_table, rng};
use crate::tex::{Values, digest, tex};

#[allow(dead_code, reason = "the chapter uses all of it")]
#[path = "../../chapters/ch09_guidance/line.rs"]
mod line;

use line::Classes;

const WEIGHTS: [f64; 3] = [0.3, 0.5, 0.2];
const MEANS: [f64; 3] = [-1.2, 0.1, 1.3];
const VARIANCES: [f64; 3] = [0.15, 0.2, 0.3];

/// Three classes on the line, one normal each.
fn data() -> Result<ScalarMixture, Error> {
    ScalarMixture::new(&WEIGHTS, &MEANS, &VARIANCES)
}

fn class(k: usize) -> Result<ScalarMixture, Error> {
    ScalarMixture::new(&[1.0], &[MEANS[k]], &[VARIANCES[k]])
}

/// q(y|z) of all classes, from the three densities.
fn posterior(z: f64, level: NoiseLevel) -> [f64; 3] {
    let joint = [0, 1, 2].map(|k| {
        let variance = level.abar() * VARIANCES[k] + level.noise();
        WEIGHTS[k] * log_normal(z, level.abar().sqrt() * MEANS[k], variance).exp()
    });
    joint.map(|p| p / joint.iter().sum::<f64>())
}

/// E[x|z] by quadrature over x, for the mixture and for each class, the latter weighted by
/// q(y|z). Kind: quadrature.
#[test]
fn null_label() -> Outcome {
    digest("null-label", "bfbefe1d7a6c");
    const TOLERANCE: f64 = 1e-11;
    let x = Rule::gauss_legendre(400, -7.0, 7.0);
    for gamma in [-3.0, 0.0, 2.0] {
        let level = NoiseLevel::new(gamma);
        let mean = |prior: &ScalarMixture, z: f64| {
            let joint = |x: f64| {
                (prior.log_prob(x) + log_normal(z, level.abar().sqrt() * x, level.noise()))
                    .exp()
            };
            x.integrate(|x| x * joint(x)) / x.integrate(joint)
        };
        for z in [-1.5, -0.3, 0.0, 0.8, 2.0] {
            let weights = posterior(z, level);
            let mut sum = 0.0;
            for (k, weight) in weights.iter().enumerate() {
                sum += weight * mean(&class(k)?, z);
            }
            assert_close(mean(&data()?, z), sum, TOLERANCE);
        }
    }
    Ok(())
}

/// The mutual information as entropy of y less the mean entropy of y given x.
fn information() -> Result<f64, Error> {
    let (data, x) = (data()?, Rule::gauss_legendre(500, -7.0, 7.0));
    let entropy =
        |p: &[f64]| p.iter().map(|p| if *p > 0.0 { -p * p.ln() } else { 0.0 }).sum();
    let of_y: f64 = entropy(&WEIGHTS);
    let left = x.integrate(|x| {
        let entropy: f64 = entropy(&posterior(x, NoiseLevel::DATA));
        data.log_prob(x).exp() * entropy
    });
    Ok(of_y - left)
}

/// The mean of -log p(x) by quadrature less that of -log p(x|y) by the entropy of normals,
/// against H(y) - E H(y|x) by quadrature over the posterior of y; and the two inequalities,
/// for three classes and for such that are far apart. Kind: quadrature, inequality.
#[test]
fn label_worth() -> Outcome {
    digest("label-worth", "47f04a1c92ca");
    const TOLERANCE: f64 = 1e-11;
    let (data, x) = (data()?, Rule::gauss_legendre(500, -7.0, 7.0));
    let without = x.integrate(|x| -data.log_prob(x).exp() * data.log_prob(x));
    let e = std::f64::consts::E;
    let given: f64 = (0..3)
        .map(|k| WEIGHTS[k] * 0.5 * (std::f64::consts::TAU * e * VARIANCES[k]).ln())
        .sum();
    assert_close(without - given, information()?, TOLERANCE);
    let entropy: f64 = WEIGHTS.iter().map(|p| -p * p.ln()).sum();
    assert!(information()? < entropy && entropy < 3.0_f64.ln());
    assert!(information()? > 0.5 * entropy, "the label says something about x");
    Ok(())
}

/// H(y) - E H(y|x) by quadrature over x against half the integral over the signal-to-noise
/// ratio of the error of the ideal denoiser of the mixture, by Gauss-Hermite, less the mean
/// of v -> variance / (1 + v variance) over the classes. Kind: quadrature.
#[test]
fn label_information() -> Outcome {
    digest("label-information", "74862ddba9a8");
    const TOLERANCE: f64 = 1e-7;
    let (data, hermite) = (data()?, Rule::gauss_hermite(160));
    let gammas = Rule::gauss_legendre(300, -18.0, 22.0);
    let worse = |gamma: f64| {
        let level = NoiseLevel::new(gamma);
        let told =
            |k: usize| WEIGHTS[k] * VARIANCES[k] / (1.0 + level.snr() * VARIANCES[k]);
        data.mmse(level, &hermite) - (0..3).map(told).sum::<f64>()
    };
    // dv = -v dgamma.
    let integral = gammas.integrate(|gamma| (-gamma).exp() * worse(gamma));
    assert_close(0.5 * integral, information()?, TOLERANCE);
    Ok(())
}

/// -log p(x|y) as chapter 6's integral over the errors of the ideal denoiser of one class,
/// put into the formula, against Bayes' rule for the three densities. Kind: quadrature.
#[test]
fn bound_classifier() -> Outcome {
    digest("bound-classifier", "1b92138264ef");
    const TOLERANCE: f64 = 1e-9;
    let (hermite, gammas) =
        (Rule::gauss_hermite(20), Rule::gauss_legendre(400, -34.0, 34.0));
    let bound = |x: f64, k: usize| -> Result<f64, Error> {
        let class = class(k)?;
        let rest = gammas.integrate(|gamma| {
            let level = NoiseLevel::new(gamma);
            let error = |eps: f64| {
                (x - class.posterior(level.noised(x, eps), level).mean()).powi(2)
            };
            level.snr() * (1.0 / (1.0 + level.snr()) - hermite.integrate(error))
        });
        let e = std::f64::consts::E;
        Ok(0.5 * (std::f64::consts::TAU * e).ln() - 0.5 * rest)
    };
    for x in [-1.5, -0.4, 0.3, 0.9, 2.2] {
        let mut terms = [0.0; 3];
        for (k, term) in terms.iter_mut().enumerate() {
            *term = WEIGHTS[k].ln() - bound(x, k)?;
        }
        let total = log_sum_exp(&terms);
        for (term, exact) in terms.iter().zip(posterior(x, NoiseLevel::DATA)) {
            assert_close((term - total).exp(), exact, TOLERANCE);
        }
    }
    Ok(())
}

/// For random p(y), densities p(x|y) and bounds above -log p(x|y), the right side at random
/// r is never below -log sum p(y) p(x|y); at r ~ p(y) e^-L it is -log sum p(y) e^-L, and
/// that is the least; with exact bounds it is -log p(x). Kind: enumeration.
#[test]
fn label_summed_out() {
    digest("label-summed-out", "1f9cb2195d5a");
    const TOLERANCE: f64 = 1e-12;
    let mut rng = rng(901);
    for _ in 0..200 {
        let (prior, density, gap) = (
            random_table(&mut rng, 4),
            random_table(&mut rng, 4),
            random_table(&mut rng, 4),
        );
        let side = |r: &[f64], bound: &dyn Fn(usize) -> f64| -> f64 {
            (0..4).map(|y| r[y] * (bound(y) + (r[y] / prior[y]).ln())).sum()
        };
        let exact = |y: usize| -density[y].ln();
        let loose = |y: usize| exact(y) + gap[y];
        let log_p = -(0..4).map(|y| prior[y] * density[y]).sum::<f64>().ln();
        let evidence = (0..4).map(|y| prior[y] * (-loose(y)).exp()).sum::<f64>();
        let best: Vec<f64> =
            (0..4).map(|y| prior[y] * (-loose(y)).exp() / evidence).collect();
        assert_close(side(&best, &loose), -evidence.ln(), TOLERANCE);
        let truth: Vec<f64> =
            (0..4).map(|y| prior[y] * density[y] / (-log_p).exp()).collect();
        assert_close(side(&truth, &exact), log_p, TOLERANCE);
        for _ in 0..5 {
            let r = random_table(&mut rng, 4);
            assert!(
                log_p <= side(&best, &loose) && side(&best, &loose) <= side(&r, &loose)
            );
        }
    }
}

/// Two classes in the plane, with full covariances.
fn plane() -> Result<(Mixture, Vec<Mixture>), Error> {
    let components = vec![
        Gaussian::new(vector(&[-0.6, 0.3]), matrix(&[&[0.3, 0.1], &[0.1, 0.2]])?)?,
        Gaussian::new(vector(&[0.5, 0.4]), matrix(&[&[0.2, -0.06], &[-0.06, 0.4]])?)?,
    ];
    let classes = components.iter().map(|c| Mixture::new(&[1.0], vec![c.clone()]));
    Ok((Mixture::new(&[0.4, 0.6], components.clone())?, classes.collect::<Result<_, _>>()?))
}

/// d/dz_i of log q(y|z), by finite differences of the densities.
fn classifier_slope(data: &Mixture, class: &Mixture, z: [f64; 2], i: usize) -> f64 {
    derivative(
        |a| {
            let mut z = z;
            z[i] = a;
            let log = |p: &Mixture| p.log_prob(&vector(&z)).unwrap_or(f64::NAN);
            log(class) - log(data)
        },
        z[i],
    )
}

/// The score of each class with noise, against that of the mixture plus the gradient of the
/// logarithm of the share of the class, by finite differences. Kind: finite differences.
#[test]
fn score_bayes() -> Outcome {
    digest("score-bayes", "fac8c24f9e27");
    const TOLERANCE: f64 = 1e-8;
    let (data, classes) = plane()?;
    for gamma in [-2.0, 0.0, 1.5] {
        let level = NoiseLevel::new(gamma);
        let noised = data.marginal(level)?;
        for class in &classes {
            let class = class.marginal(level)?;
            for z in [[0.2, -0.5], [-1.0, 0.7], [1.3, 1.0]] {
                let (given, all) = (class.score(&vector(&z))?, noised.score(&vector(&z))?);
                for i in 0..2 {
                    let slope = classifier_slope(&noised, &class, z, i);
                    assert_close(given[i], all[i] + slope, TOLERANCE);
                }
            }
        }
    }
    Ok(())
}

/// The posterior mean of the mixture plus w (1 - abar) / sqrt(abar) times the gradient of
/// log q(y|z) by finite differences, against Tweedie's formula for (1 - w) times the score
/// of the mixture plus w times that of the class. Kind: finite differences.
#[test]
fn classifier_guidance() -> Outcome {
    digest("classifier-guidance", "5dca25148e16");
    const TOLERANCE: f64 = 1e-8;
    let (data, classes) = plane()?;
    for (gamma, w) in [(-2.0, 3.0), (0.0, 0.4), (1.5, 8.0)] {
        let level = NoiseLevel::new(gamma);
        let (abar, noise) = (level.abar(), level.noise());
        let (noised, class) = (data.marginal(level)?, classes[1].marginal(level)?);
        for z in [[0.2, -0.5], [-1.0, 0.7], [1.3, 1.0]] {
            let x_hat = data.posterior(&vector(&z), level)?.mean();
            let score =
                noised.score(&vector(&z))? * (1.0 - w) + class.score(&vector(&z))? * w;
            for i in 0..2 {
                let slope = classifier_slope(&noised, &class, z, i);
                let guided = x_hat[i] + w * noise / abar.sqrt() * slope;
                let tweedie = (z[i] + noise * score[i]) / abar.sqrt();
                assert_close(guided, tweedie, TOLERANCE * (1.0 + w));
            }
        }
    }
    Ok(())
}

/// The two posterior means, extrapolated, against the posterior mean of the mixture plus
/// what the gradient of log q(y|z) adds, by finite differences; at w = 1 it is the class's
/// posterior mean. Kind: finite differences.
#[test]
fn classifier_free() -> Outcome {
    digest("classifier-free", "14c03c2e6d67");
    const TOLERANCE: f64 = 1e-8;
    let (data, classes) = plane()?;
    for (gamma, w) in [(-2.0, 3.0), (0.0, 0.4), (1.5, 8.0), (0.5, 1.0)] {
        let level = NoiseLevel::new(gamma);
        let (noised, class) = (data.marginal(level)?, classes[0].marginal(level)?);
        for z in [[0.2, -0.5], [-1.0, 0.7], [1.3, 1.0]] {
            let x_hat = data.posterior(&vector(&z), level)?.mean();
            let given = classes[0].posterior(&vector(&z), level)?.mean();
            for i in 0..2 {
                let free = x_hat[i] + w * (given[i] - x_hat[i]);
                let slope = classifier_slope(&noised, &class, z, i);
                let by_classifier =
                    x_hat[i] + w * level.noise() / level.abar().sqrt() * slope;
                assert_close(free, by_classifier, TOLERANCE * (1.0 + w));
                if w == 1.0 {
                    assert_close(free, given[i], TOLERANCE);
                }
            }
        }
    }
    Ok(())
}

/// For w = 0 and 1: the speed of a quantile of u, whose law is the data, or the class, with
/// noise of variance e^gamma, by finite differences of its distribution function, against
/// the right side with scores by finite differences; and the program's paths keep their
/// quantiles from gamma = 3 to the end. Kind: quadrature, finite differences.
#[test]
fn guided_flow() -> Outcome {
    digest("guided-flow", "ba66c60cb9ac");
    const TOLERANCE: f64 = 1e-7;
    const QUANTILES: f64 = 1e-9;
    let classes = Classes::pair(0.25)?;
    for (w, law) in [(0.0, &classes.data), (1.0, &classes.class)] {
        let below = |gamma: f64, u: f64| {
            let law = law.affine(1.0, gamma.exp());
            let low = -1.0 - 12.0 * (0.25 + gamma.exp()).sqrt();
            Rule::gauss_legendre(300, low, u).integrate(|u| law.log_prob(u).exp())
        };
        for gamma in [-2.0, 0.5, 3.0] {
            for u in [-1.1, 0.3, 1.6] {
                let density = law.affine(1.0, f64::exp(gamma)).log_prob(u).exp();
                let speed = -derivative(|g| below(g, u), gamma) / density;
                let log =
                    |p: &ScalarMixture, u: f64| p.affine(1.0, gamma.exp()).log_prob(u);
                let all = derivative(|u| log(&classes.data, u), u);
                let share =
                    derivative(|u| log(&classes.class, u) - log(&classes.data, u), u);
                assert_close(speed, -0.5 * gamma.exp() * (all + w * share), TOLERANCE);
            }
        }
        let starts = [-1.5, -0.2, 0.4, 1.7];
        let stretch = (1.0 + 3.0_f64.exp()).sqrt();
        for (z, path) in starts.iter().zip(classes.flow(&starts, 3.0, w, 2000)) {
            assert_close(below(3.0, z * stretch), below(-24.0, path.u), QUANTILES);
        }
    }
    Ok(())
}

/// Data N(0, s^2) and a class N(m, c^2).
fn gaussians(s2: f64, m: f64, c2: f64) -> Result<Classes, Error> {
    Ok(Classes {
        data: ScalarMixture::new(&[1.0], &[0.0], &[s2])?,
        class: ScalarMixture::new(&[1.0], &[m], &[c2])?,
        share: 0.5,
    })
}

/// The variance that the program's flow makes of that of N(0, 1), and the variance of the
/// tilted density by quadrature.
fn guided_and_tilted(classes: &Classes, w: f64) -> [f64; 2] {
    let gamma_max = 24.0_f64;
    let spread = classes.flow(&[0.3], gamma_max, w, 4000)[0].spread;
    [(1.0 + gamma_max.exp()) * (2.0 * spread).exp(), classes.tilted_moments(w).1.variance]
}

/// Both formulas as printed against the solved flow from e^24 of noise, and against the
/// tilted density by quadrature. Kind: Runge-Kutta, quadrature.
#[test]
fn gaussian_guidance() -> Outcome {
    const TOLERANCE: f64 = 1e-8;
    let page = tex("gaussian-guidance");
    for (s2, m, c2) in [(1.0, 1.0, 0.25), (0.8, -0.4, 0.5)] {
        let classes = gaussians(s2, m, c2)?;
        for w in [0.0, 0.5, 1.0, 2.0, 3.0] {
            let [guided, tilted] = guided_and_tilted(&classes, w);
            let values = Values::default()
                .number("s", f64::sqrt(s2))
                .number("r", s2 / c2)
                .number("w", w)
                .number(r"\Var_{\mathrm{guided}} x", guided)
                .number(r"\Var_{\mathrm{tilted}} x", tilted);
            for part in 0..2 {
                let sides = page.part(part, &values);
                assert_close(sides[0], sides[1], TOLERANCE);
            }
        }
    }
    Ok(())
}

/// The solved flow's variance against that of the tilted density by quadrature: below for w
/// above 1, above for w between 0 and 1, for some classes. Kind: inequality, Runge-Kutta,
/// quadrature.
#[test]
fn guidance_narrows() -> Outcome {
    digest("guidance-narrows", "3cac44ebc90f");
    const LEAST: f64 = 1e-4;
    for (s2, m, c2) in [(1.0, 1.0, 0.25), (0.8, -0.4, 0.5), (1.0, 0.0, 0.1)] {
        let classes = gaussians(s2, m, c2)?;
        for w in [1.5, 2.0, 4.0] {
            let [guided, tilted] = guided_and_tilted(&classes, w);
            assert!(guided < tilted - LEAST, "w = {w}: {guided} {tilted}");
        }
        for w in [0.2, 0.5, 0.8] {
            let [guided, tilted] = guided_and_tilted(&classes, w);
            assert!(guided > tilted + LEAST, "w = {w}: {guided} {tilted}");
        }
    }
    Ok(())
}

/// Mean and variance of the tilted and the guided law of two normals of variance 1/4, at w =
/// 3: by the program, and by another route, the flow of z itself, dz/dgamma = -(1/2) noise
/// (z + guided score), on its own grid of quantiles; and against the values on record. The
/// means are apart for w = 1/2, 2 and 3. Kind: negative, quadrature, Runge-Kutta.
#[test]
fn guidance_not_tilting() -> Outcome {
    digest("guidance-not-tilting", "7231b650b535");
    const TOLERANCE: f64 = 1e-7;
    const RECORD: f64 = 6e-5;
    let classes = Classes::pair(0.25)?;
    let score = |z: f64, level: NoiseLevel, w: f64| {
        let (signal, variance) = (level.abar().sqrt(), 0.25 * level.abar() + level.noise());
        // The share of the second class is sigmoid(2 signal z / variance).
        let all = (-z + signal * (signal * z / variance).tanh()) / variance;
        all + w * ((signal - z) / variance - all)
    };
    let guided = |gamma_max: f64| {
        let (steps, points) = (3000, 340);
        let (mut mean, mut square) = (0.0, 0.0);
        for i in 0..=points {
            let start = -8.5 + 17.0 * f64::from(i) / f64::from(points);
            let h = (-20.0 - gamma_max) / f64::from(steps);
            let slope = |z: f64, gamma: f64| {
                let level = NoiseLevel::new(gamma);
                -0.5 * level.noise() * (z + score(z, level, 3.0))
            };
            let mut z = start;
            for step in 0..steps {
                let gamma = gamma_max + h * f64::from(step);
                let k1 = slope(z, gamma);
                let k2 = slope(z + 0.5 * h * k1, gamma + 0.5 * h);
                let k3 = slope(z + 0.5 * h * k2, gamma + 0.5 * h);
                let k4 = slope(z + h * k3, gamma + h);
                z += h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4);
            }
            let mass = 17.0 / f64::from(points) * log_normal(start, 0.0, 1.0).exp();
            mean += mass * z;
            square += mass * z * z;
        }
        [mean, square - mean * mean]
    };
    for (gamma_max, record) in [(12.0, [1.5226, 0.0992]), (5.0, [1.4508, 0.0909])] {
        let (found, other) = (classes.guided(gamma_max, 3.0, 1500), guided(gamma_max));
        for (found, (other, record)) in
            [found.mean, found.variance].into_iter().zip(other.into_iter().zip(record))
        {
            assert_close(found, other, TOLERANCE);
            assert_close(found, record, RECORD);
        }
    }
    let tilted = classes.tilted_moments(3.0).1;
    assert_close(tilted.mean, 1.0511, RECORD);
    assert_close(tilted.variance, 0.2086, RECORD);
    for w in [0.5, 2.0, 3.0] {
        let apart = classes.guided(12.0, w, 600).mean - classes.tilted_moments(w).1.mean;
        assert!(apart.abs() > 0.2, "w = {w}: {apart}");
    }
    for w in [0.0, 1.0] {
        let apart = classes.guided(20.0, w, 1000).mean - classes.tilted_moments(w).1.mean;
        assert!(apart.abs() < 1e-4, "w = {w}: {apart}");
    }
    Ok(())
}
