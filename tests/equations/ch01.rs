//! Chapter 1: latent variables.

use elbo_to_diffusion::oracle::{
    Estimate, FiniteLatent, LinearGaussian, Rule, ScalarMixture, matrix, vector,
};
use rand::RngExt;

use crate::support::{
    Outcome, assert_close, assert_estimates, assert_relative, log_normal, normal,
    normal_matrix, normals, random_table, rng,
};
use crate::tex::{Values, digest, tex};

/// The integral of p(x|z) p(z) over z, by quadrature, against the closed-form Gaussian
/// marginal. For a discrete z the sum: against the p(x) that a table was made from, p(z) and
/// p(x|z) being derived from it and p(z|x); and its integral up to a point against the
/// share of draws, first z and then x, that fall below. Kind: quadrature, enumeration,
/// Monte Carlo.
#[test]
fn marginalisation() -> Outcome {
    digest("marginalisation", "cc87e1ca7695");
    const TOLERANCE: f64 = 1e-12;
    const STANDARD_ERRORS: f64 = 5.0;
    // One z, two pixels: p(x|z) = N(x; w z + b, s2 I).
    let (w, b, s2) = ([1.3, -0.7], [0.2, 0.5], 0.6);
    let model = LinearGaussian::standard(matrix(&[&[w[0]], &[w[1]]])?, vector(&b), s2)?;
    let z_rule = Rule::gauss_legendre(300, -12.0, 12.0);
    for x in [[0.0, 0.0], [1.0, -0.4], [-2.5, 3.0]] {
        let p_x = z_rule.integrate(|z| {
            let log_likelihood: f64 =
                (0..2).map(|i| log_normal(x[i], w[i] * z + b[i], s2)).sum();
            (log_likelihood + log_normal(z, 0.0, 1.0)).exp()
        });
        assert_close(p_x, model.log_prob(&vector(&x))?.exp(), TOLERANCE);
    }

    // A discrete z, from the other end: a joint table p(x) p(z|x), of which rows and columns
    // give p(z) and p(x|z).
    let mut rng = rng(104);
    let p_x = random_table(&mut rng, 6);
    let p_z_given_x: Vec<Vec<f64>> = (0..6).map(|_| random_table(&mut rng, 4)).collect();
    let joint = |x: usize, z: usize| p_x[x] * p_z_given_x[x][z];
    let p_z: Vec<f64> = (0..4).map(|z| (0..6).map(|x| joint(x, z)).sum()).collect();
    let p_x_given_z: Vec<Vec<f64>> =
        (0..4).map(|z| (0..6).map(|x| joint(x, z) / p_z[z]).collect()).collect();
    let model = FiniteLatent::new(&p_z, &p_x_given_z)?;
    for (x, p_x) in p_x.iter().enumerate() {
        let sum: f64 = (0..4).map(|z| p_x_given_z[z][x] * p_z[z]).sum();
        assert_close(sum, *p_x, TOLERANCE);
        assert_close(model.log_prob(x)?.exp(), *p_x, TOLERANCE);
    }

    // Three bumps on the line: p(x) = sum_z p(z) p(x|z). Its integral is 1, its mean and
    // variance those of total expectation and total variance.
    let (prior, means, variances) = ([0.2, 0.5, 0.3], [-1.0, 0.4, 2.0], [0.5, 0.2, 0.9]);
    let p = |x: f64| -> f64 {
        (0..3).map(|z| prior[z] * log_normal(x, means[z], variances[z]).exp()).sum()
    };
    let mixture = ScalarMixture::new(&prior, &means, &variances)?;
    let x_rule = Rule::gauss_legendre(400, -14.0, 16.0);
    assert_close(x_rule.integrate(p), 1.0, TOLERANCE);
    let mean = x_rule.integrate(|x| x * p(x));
    assert_close(mean, mixture.mean(), TOLERANCE);
    assert_close(
        x_rule.integrate(|x| (x - mean).powi(2) * p(x)),
        mixture.variance(),
        TOLERANCE,
    );
    let mut draw = || {
        let u: f64 = rng.random();
        let z = if u < prior[0] { 0 } else { 1 + usize::from(u >= prior[0] + prior[1]) };
        means[z] + f64::sqrt(variances[z]) * normal(&mut rng)
    };
    let draws: Vec<f64> = (0..200_000).map(|_| draw()).collect();
    for c in [-1.5, -0.4, 0.3, 1.1, 2.6] {
        let mut below = Estimate::default();
        draws.iter().for_each(|x| below.push(f64::from(u8::from(*x < c))));
        let mass = Rule::gauss_legendre(400, -14.0, c).integrate(p);
        assert_estimates(&below, mass, STANDARD_ERRORS);
    }
    Ok(())
}

/// p(x, z) / p(z|x), with the posterior from conditioning the joint covariance, against the
/// closed-form p(x): the same number for every one of 50 random z.
/// Kind: closed form.
#[test]
fn chain_rule() -> Outcome {
    digest("chain-rule", "2221280522df");
    const TOLERANCE: f64 = 1e-10;
    let mut rng = rng(101);
    let (weights, offset, s2) = (normal_matrix(&mut rng, 3, 2), normals(&mut rng, 3), 0.4);
    let model = LinearGaussian::standard(weights.clone(), offset.clone(), s2)?;
    let x = normals(&mut rng, 3);
    let posterior = model.posterior(&x)?;
    for _ in 0..50 {
        let z = normals(&mut rng, 2) * 2.0;
        let decoded = &weights * &z + &offset;
        let log_joint: f64 = (0..2).map(|i| log_normal(z[i], 0.0, 1.0)).sum::<f64>()
            + (0..3).map(|i| log_normal(x[i], decoded[i], s2)).sum::<f64>();
        let log_p_x = log_joint - posterior.log_prob(&z)?;
        assert_close(log_p_x, model.log_prob(&x)?, TOLERANCE);
    }
    Ok(())
}

/// The mean of (1/K) sum p(x|z_k) over z_k from the prior, against p(x): exactly, over all
/// K^k draws of a discrete latent, and by Monte Carlo for a Gaussian one. Kind:
/// enumeration, Monte Carlo.
#[test]
fn naive_monte_carlo() -> Outcome {
    digest("naive-monte-carlo", "6cc52af4f181");
    const TOLERANCE: f64 = 1e-14;
    const STANDARD_ERRORS: f64 = 5.0;
    let mut rng = rng(102);
    let prior = random_table(&mut rng, 4);
    let likelihood: Vec<Vec<f64>> = (0..4).map(|_| random_table(&mut rng, 3)).collect();
    let model = FiniteLatent::new(&prior, &likelihood)?;
    let p_x_given_z = |x: usize, z: usize| likelihood[z][x];
    for x in 0..3 {
        // K = 3 draws: 4^3 sequences.
        let mut expectation = 0.0;
        for (z1, z2, z3) in (0..64).map(|i| (i / 16, i / 4 % 4, i % 4)) {
            let p_hat = [z1, z2, z3].iter().map(|&z| p_x_given_z(x, z)).sum::<f64>() / 3.0;
            expectation += prior[z1] * prior[z2] * prior[z3] * p_hat;
        }
        assert_close(expectation, model.log_prob(x)?.exp(), TOLERANCE);
    }

    let model =
        LinearGaussian::standard(matrix(&[&[0.8], &[-1.1]])?, vector(&[0.0, 0.3]), 0.5)?;
    let x = vector(&[0.7, -0.6]);
    let p_x = model.log_prob(&x)?.exp();
    let estimate = Estimate::of(20_000, || {
        let terms = (0..8).map(|_| {
            let z = normal(&mut rng);
            (log_normal(x[0], 0.8 * z, 0.5) + log_normal(x[1], -1.1 * z + 0.3, 0.5)).exp()
        });
        terms.sum::<f64>() / 8.0
    });
    assert_estimates(&estimate, p_x, STANDARD_ERRORS);
    Ok(())
}

/// The probabilities of 0, ..., k successes in k trials, from the most likely number
/// outwards, where nothing is lost to rounding.
fn binomial(k: usize, p: f64) -> Vec<f64> {
    /// Rarer numbers add nothing to a sum.
    const RARE: f64 = 1e-40;
    let mode = (k as f64 * p) as usize;
    let mut weights = vec![0.0; k + 1];
    weights[mode] = 1.0;
    let odds = |n: usize| (k - n) as f64 / (n + 1) as f64 * p / (1.0 - p);
    for n in mode..k {
        weights[n + 1] = weights[n] * odds(n);
        if weights[n + 1] < RARE {
            break;
        }
    }
    for n in (0..mode).rev() {
        weights[n] = weights[n + 1] / odds(n);
        if weights[n] < RARE {
            break;
        }
    }
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

/// E log p_hat, exact by summing over the binomial counts of a two-state latent, against
/// log p - Var/(2 K p^2) + (m3/3 - 3 v^2/4)/K^2, where v and m3 are the second and third
/// central moment of p(x|z)/p: what is left over falls by 64 when K grows by 4, so the rate
/// 1/K, its factor and the order of the rest are right. It lies below log p for every K
/// from 1 to 4096. Kind: enumeration, inequality.
#[test]
fn log_monte_carlo_bias() {
    /// How far a ratio of two remainders may be from 64, as a part of it; the next term of
    /// the expansion moves it by a few parts in K.
    const TOLERANCE: f64 = 0.05;
    let page = tex("log-monte-carlo-bias");
    for (prior, likelihood) in [([0.3, 0.7], [0.9, 0.2]), ([0.6, 0.4], [0.15, 0.7])] {
        let p = prior[0] * likelihood[0] + prior[1] * likelihood[1];
        let moment = |power: i32| -> f64 {
            (0..2).map(|z| prior[z] * f64::powi(likelihood[z] / p - 1.0, power)).sum()
        };
        let (v, m3) = (moment(2), moment(3));
        let mean_log = |k: usize| -> f64 {
            let probabilities = binomial(k, prior[0]);
            let terms = probabilities.iter().enumerate().map(|(n, probability)| {
                let sum = n as f64 * likelihood[0] + (k - n) as f64 * likelihood[1];
                probability * (sum / k as f64 / p).ln()
            });
            p.ln() + terms.sum::<f64>()
        };
        for k in 1..=64 {
            assert!(mean_log(k) < p.ln(), "Jensen: the mean of log p_hat is below log p");
        }
        let mut previous = f64::NAN;
        for k in [256, 1024, 4096] {
            let values = Values::default()
                .number(r"\E{}{\log \hat p_K(x)}", mean_log(k))
                .number("p(x)", p)
                .number(r"\Var[p(x \mid z)]", v * p * p)
                .number("K", k as f64)
                .function("O", |order| (m3 / 3.0 - 0.75 * v * v) * order[0]);
            let [exact, expansion, log_p] = page.sides(&values)[..] else {
                panic!("three sides")
            };
            assert_close(log_p, p.ln(), 1e-15);
            let remainder = exact - expansion;
            if k > 256 {
                assert_relative(previous / remainder, 64.0, TOLERANCE);
            }
            previous = remainder;
        }
    }
}

/// The relative variance of one weight w = p(x|z)/p(x), z from the prior, for z ~ N(0, I)
/// and x|z ~ N(z, s2 I): prod_i (1+s2)/sqrt(s2(2+s2)) exp(x_i^2/((1+s2)(2+s2))) - 1,
/// against quadrature in one and in two dimensions; and its mean over x ~ p(x), (1 +
/// 1/s2)^d - 1. Kind: quadrature.
#[test]
fn monte_carlo_variance() {
    const TOLERANCE: f64 = 1e-10;
    let page = tex("monte-carlo-variance");
    let second_moment = |x: &[f64], s2: f64| -> f64 {
        x.iter()
            .map(|x_i| {
                (1.0 + s2) / (s2 * (2.0 + s2)).sqrt()
                    * (x_i * x_i / ((1.0 + s2) * (2.0 + s2))).exp()
            })
            .product()
    };
    let rule = Rule::gauss_legendre(400, -10.0, 10.0);
    for s2 in [0.1, 0.5, 2.0] {
        let weight =
            |x: f64, z: f64| (log_normal(x, z, s2) - log_normal(x, 0.0, 1.0 + s2)).exp();
        let prior = |z: f64| log_normal(z, 0.0, 1.0).exp();
        for x in [0.0, 0.8, -1.7] {
            let mean = rule.integrate(|z| prior(z) * weight(x, z));
            assert_close(mean, 1.0, TOLERANCE);
            let variance = rule.integrate(|z| prior(z) * (weight(x, z) - 1.0).powi(2));
            // `variance` is that of p(x|z)/p(x).
            let evidence = log_normal(x, 0.0, 1.0 + s2).exp();
            let values = Values::default()
                .number(r"\Var[p(x \mid z)]", variance * evidence.powi(2))
                .number("p(x)", evidence)
                .number("d", 1.0)
                .number("s", s2.sqrt())
                .function("x", |_| x);
            let sides = page.sides(&values);
            assert_relative(sides[0], sides[1], TOLERANCE);
        }
        let x = [0.4, -1.2];
        let variance = rule.integrate_2d(|z1, z2| {
            prior(z1) * prior(z2) * (weight(x[0], z1) * weight(x[1], z2) - 1.0).powi(2)
        });
        let values = Values::default()
            .number(r"\Var[p(x \mid z)]", variance)
            .number("p(x)", 1.0)
            .number("d", 2.0)
            .number("s", s2.sqrt())
            .function("x", |i| x[i[0] as usize - 1]);
        let sides = page.sides(&values);
        assert_relative(sides[0], sides[1], TOLERANCE);
        // Averaged over x, every dimension multiplies the second moment by 1 + 1/s2.
        let wide = Rule::gauss_legendre(400, -38.0, 38.0);
        let average = wide
            .integrate(|x| log_normal(x, 0.0, 1.0 + s2).exp() * second_moment(&[x], s2));
        assert_relative(average, 1.0 + 1.0 / s2, TOLERANCE);
    }
}

/// ESS / K against its limit 1 / E[w^2]. Exactly, over the counts of a two-state latent: it
/// is 1 for K = 1, its mean comes nearer with every K up to 4096, by c/K in the end, with c
/// from the moments of w up to the fourth; and the chance to miss the limit by more than
/// .02 falls to less than a thousandth. By draws of a Gaussian latent for K = 100, 1000 and
/// 10,000, with c and the limit from quadrature. Kind: enumeration, Monte Carlo.
#[test]
fn ess_limit() {
    digest("ess-limit", "bbccd1e7b994");
    /// Of c, at the largest K.
    const TOLERANCE: f64 = 0.01;
    const STANDARD_ERRORS: f64 = 5.0;
    // Of A^2/B with A the mean of w and B that of w^2: what the curvature adds, from
    // E w = 1, E w^2, E w^3 and E w^4.
    let first_order = |[second, third, fourth]: [f64; 3]| {
        (second - 1.0) / second - 2.0 * (third - second) / second.powi(2)
            + (fourth - second * second) / second.powi(3)
    };

    let (prior, likelihood) = ([0.3, 0.7], [0.9, 0.2]);
    let p = prior[0] * likelihood[0] + prior[1] * likelihood[1];
    let w = likelihood.map(|likelihood| likelihood / p);
    let moment =
        |power: i32| -> f64 { (0..2).map(|z| prior[z] * f64::powi(w[z], power)).sum() };
    let (limit, c) = (1.0 / moment(2), first_order([2, 3, 4].map(moment)));
    let (mut previous, mut missed) = (f64::INFINITY, f64::NAN);
    for k in [1, 4, 16, 64, 256, 1024, 4096] {
        let ratio = |n: usize| {
            let (n, rest) = (n as f64, (k - n) as f64);
            (n * w[0] + rest * w[1]).powi(2)
                / (n * w[0] * w[0] + rest * w[1] * w[1])
                / k as f64
        };
        let probabilities = binomial(k, prior[0]);
        let mean: f64 =
            probabilities.iter().enumerate().map(|(n, chance)| chance * ratio(n)).sum();
        missed = probabilities
            .iter()
            .enumerate()
            .filter(|(n, _)| (ratio(*n) - limit).abs() > 0.02)
            .map(|(_, chance)| chance)
            .sum();
        if k == 1 {
            assert_close(mean, 1.0, 1e-14);
        }
        let distance = (mean - limit).abs();
        assert!(distance < previous, "K = {k}: {distance} is not below {previous}");
        previous = distance;
        if k == 4096 {
            assert_relative(k as f64 * (mean - limit), c, TOLERANCE);
        }
    }
    assert!(missed < 1e-3, "{missed}");

    let (x, s2) = (0.8, 0.5);
    let weight = |z: f64| (log_normal(x, z, s2) - log_normal(x, 0.0, 1.0 + s2)).exp();
    let moment = |power: i32| {
        Rule::gauss_legendre(400, -10.0, 10.0)
            .integrate(|z| log_normal(z, 0.0, 1.0).exp() * weight(z).powi(power))
    };
    let (limit, c) = (1.0 / moment(2), first_order([2, 3, 4].map(moment)));
    let mut rng = rng(103);
    for (k, repetitions) in [(100, 6000), (1000, 600), (10_000, 60)] {
        let ratio = Estimate::of(repetitions, || {
            let (mut sum, mut squares) = (0.0, 0.0);
            for _ in 0..k {
                let w = weight(normal(&mut rng));
                sum += w;
                squares += w * w;
            }
            (sum * sum / squares) / f64::from(k)
        });
        assert_estimates(&ratio, limit + c / f64::from(k), STANDARD_ERRORS);
    }
}
