//! Chapter 1: latent variables.

use elbo_to_diffusion::oracle::{
    Estimate, FiniteLatent, LinearGaussian, Rule, ScalarMixture, matrix, vector,
};

use crate::support::{
    Outcome, assert_close, assert_estimates, assert_relative, log_normal, normal,
    normal_matrix, normals, random_table, rng,
};
use crate::tex::{Values, digest, tex};

/// The integral of p(x|z) p(z) over z, by quadrature, against the closed-form Gaussian
/// marginal; and the sum over a discrete z against the moments that the mixture must have.
/// Kind: quadrature.
#[test]
fn marginalisation() -> Outcome {
    digest("marginalisation", "cc87e1ca7695");
    const TOLERANCE: f64 = 1e-12;
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

    // A discrete z: p(x) = sum_z p(z) p(x|z). Its integral is 1, its mean and variance
    // those of total expectation and total variance.
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

/// E log p_hat - log p, exact by summing over the binomial counts of a two-state latent,
/// against 0 (it is below) and against -Var(w) / (2 K p^2), from which it differs by O(1/K)
/// of itself. Kind: enumeration, inequality.
#[test]
fn log_monte_carlo_bias() {
    digest("log-monte-carlo-bias", "1be39deea001");
    // At K = 4096 the next term of the expansion is below one part in a thousand.
    const TOLERANCE: f64 = 1e-3;
    let (prior, likelihood) = ([0.3, 0.7], [0.9, 0.2]);
    let p = prior[0] * likelihood[0] + prior[1] * likelihood[1];
    let variance = prior[0] * f64::powi(likelihood[0] - p, 2)
        + prior[1] * f64::powi(likelihood[1] - p, 2);
    let bias = |k: usize| -> f64 {
        // n of the K draws fall in state 0 with probability C(K, n) 0.3^n 0.7^(K-n).
        let mut log_probability = k as f64 * f64::ln(prior[1]);
        let mut expectation = 0.0;
        for n in 0..=k {
            let p_hat =
                (n as f64 * likelihood[0] + (k - n) as f64 * likelihood[1]) / k as f64;
            expectation += log_probability.exp() * (p_hat / p).ln();
            log_probability += ((k - n) as f64 / (n + 1) as f64 * prior[0] / prior[1]).ln();
        }
        expectation
    };
    let mut previous_error = f64::INFINITY;
    for k in [1, 4, 16, 64, 256, 1024, 4096] {
        assert!(bias(k) < 0.0, "Jensen: the mean of log p_hat is below log p");
        let error = (bias(k) / (-variance / (2.0 * k as f64 * p * p)) - 1.0).abs();
        assert!(error < previous_error, "K = {k}: {error} is not below {previous_error}");
        previous_error = error;
    }
    assert_close(previous_error, 0.0, TOLERANCE);
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

/// ESS / K for K = 10,000 weights, 60 times, against its limit 1 / E[w^2] with the second
/// moment of a weight from quadrature. Kind: Monte Carlo.
#[test]
fn ess_limit() {
    digest("ess-limit", "bbccd1e7b994");
    const STANDARD_ERRORS: f64 = 5.0;
    let (x, s2) = (0.8, 0.5);
    let weight = |z: f64| (log_normal(x, z, s2) - log_normal(x, 0.0, 1.0 + s2)).exp();
    let second_moment = Rule::gauss_legendre(400, -10.0, 10.0)
        .integrate(|z| log_normal(z, 0.0, 1.0).exp() * weight(z).powi(2));
    let mut rng = rng(103);
    let ratio = Estimate::of(60, || {
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..10_000 {
            let w = weight(normal(&mut rng));
            sum += w;
            squares += w * w;
        }
        (sum * sum / squares) / 10_000.0
    });
    assert_estimates(&ratio, 1.0 / second_moment, STANDARD_ERRORS);
}
