//! Chapter 3: variational autoencoders.

use std::f64::consts::TAU;

use elbo_to_diffusion::oracle::linear_gaussian::{ppca, ppca_log_likelihood};
use elbo_to_diffusion::oracle::{
    Error, Estimate, Gaussian, LinearGaussian, Matrix, Rule, Vector, vector,
};
use nalgebra::SymmetricEigen;

use crate::support::{
    Outcome, assert_close, assert_estimates, assert_relative, derivative, log_normal,
    normal, normal_matrix, normals, random_gaussian, rng,
};
use crate::tex::{Values, digest, tex};

/// E_q log p(x|z) - KL(q || p(z)) and E_q log p(x, z) + H(q), each written out for a linear
/// decoder and a Gaussian q with full covariance, against log p(x) - KL(q || p(z|x)) from
/// the oracle. Kind: closed form.
#[test]
fn vae_split() -> Outcome {
    const TOLERANCE: f64 = 1e-11;
    let page = tex("vae-split");
    let mut rng = rng(301);
    let (d, k, s2) = (4, 3, 0.5);
    let (w, b) = (normal_matrix(&mut rng, d, k), normals(&mut rng, d));
    let model = LinearGaussian::standard(w.clone(), b.clone(), s2)?;
    for _ in 0..50 {
        let (x, q) = (normals(&mut rng, d), random_gaussian(&mut rng, k)?);
        let (m, s) = (q.mean(), q.covariance());
        let ln_det = s.determinant().ln();
        let expected_likelihood = -0.5 * d as f64 * (TAU * s2).ln()
            - ((&x - &w * m - &b).norm_squared() + (&w * s * w.transpose()).trace())
                / (2.0 * s2);
        let kl_to_prior = 0.5 * (s.trace() + m.norm_squared() - k as f64 - ln_det);
        let expected_prior = -0.5 * (k as f64 * TAU.ln() + m.norm_squared() + s.trace());
        let entropy = 0.5 * (k as f64 * (TAU.ln() + 1.0) + ln_det);

        let elbo = model.log_prob(&x)? - q.kl(&model.posterior(&x)?)?;
        let values = Values::default()
            .number(r"\ELBO(\theta, \phi; x)", elbo)
            .number(r"\E{q_\phi(z \mid x)}{\log p_\theta(x \mid z)}", expected_likelihood)
            .number(r"\KL{q_\phi(z \mid x)}{p(z)}", kl_to_prior);
        let sides = page.sides(&values);
        assert_close(sides[1], sides[0], TOLERANCE);
        assert_close(expected_likelihood + expected_prior + entropy, elbo, TOLERANCE);
    }
    Ok(())
}

/// (1/2) sum (mu^2 + sigma^2 - 1 - ln sigma^2), dimension by dimension, against the mean of
/// log q - log p by Gauss-Hermite quadrature with 80 nodes.
/// Kind: quadrature.
#[test]
fn gaussian_kl() {
    const TOLERANCE: f64 = 1e-12;
    let page = tex("gaussian-kl");
    let rule = Rule::gauss_hermite(80);
    let (mu, sigma) = ([0.3, 1.3, -2.1, 0.0], [0.9, 0.2, 1.7, 0.05]);
    let mut by_quadrature = 0.0;
    for (m, s) in mu.into_iter().zip(sigma) {
        by_quadrature +=
            rule.normal(m, s, |z| log_normal(z, m, s * s) - log_normal(z, 0.0, 1.0));
    }
    let values = Values::default()
        .number(r"\KL{q_\phi(z \mid x)}{p(z)}", by_quadrature)
        .number("k", 4.0)
        .function(r"\mu", |j| mu[j[0] as usize - 1])
        .function(r"\sigma", |j| sigma[j[0] as usize - 1]);
    let sides = page.sides(&values);
    assert_close(sides[0], sides[1], TOLERANCE);
}

/// (1/2)[ln |S2|/|S1| - d + tr(S2^-1 S1) + (m2-m1)^T S2^-1 (m2-m1)], with determinants and
/// an inverse, against the oracle's Cholesky form in five dimensions and against
/// two-dimensional Gauss-Hermite quadrature of log N1 - log N2. Kind: closed form,
/// quadrature.
#[test]
fn gaussian_kl_general() -> Outcome {
    digest("gaussian-kl-general", "e7f0e350e1b5");
    const TOLERANCE: f64 = 1e-11;
    let mut rng = rng(302);
    let formula = |p: &Gaussian, q: &Gaussian| -> f64 {
        let (s1, s2) = (p.covariance(), q.covariance());
        let inverse = s2.clone().try_inverse().expect("a positive definite matrix");
        let shift = q.mean() - p.mean();
        0.5 * ((s2.determinant() / s1.determinant()).ln() - p.dimension() as f64
            + (&inverse * s1).trace()
            + shift.dot(&(&inverse * &shift)))
    };
    for _ in 0..20 {
        let (p, q) = (random_gaussian(&mut rng, 5)?, random_gaussian(&mut rng, 5)?);
        assert_close(formula(&p, &q), p.kl(&q)?, TOLERANCE);
    }
    let rule = Rule::gauss_hermite(4);
    for _ in 0..20 {
        let (p, q) = (random_gaussian(&mut rng, 2)?, random_gaussian(&mut rng, 2)?);
        let factor = p.cholesky_factor();
        let by_quadrature = rule.integrate_2d(|e1, e2| {
            let z = p.mean() + &factor * vector(&[e1, e2]);
            p.log_prob(&z).unwrap_or(f64::NAN) - q.log_prob(&z).unwrap_or(f64::NAN)
        });
        assert_close(formula(&p, &q), by_quadrature, TOLERANCE);
    }
    Ok(())
}

/// z = mu + sigma eps with eps ~ N(0, 1), against the law N(mu, sigma^2): six moments, and
/// the characteristic function at eight frequencies, which determines a law; then its
/// distribution function, the mass of eps below (c - mu)/sigma against the mass of N(mu,
/// sigma^2) below c. Kind: quadrature.
#[test]
fn reparameterization() {
    digest("reparameterization", "aaf34b61b842");
    const TOLERANCE: f64 = 1e-12;
    let (mu, sigma): (f64, f64) = (0.7, 0.4);
    let rule = Rule::gauss_hermite(60);
    let z = |eps: f64| mu + sigma * eps;
    // Moments of N(mu, s^2): m_{n+1} = mu m_n + n s^2 m_{n-1}.
    let (mut before, mut moment) = (0.0, 1.0);
    for n in 0..=6 {
        assert_close(rule.integrate(|eps| z(eps).powi(n)), moment, TOLERANCE);
        (before, moment) = (moment, mu * moment + f64::from(n) * sigma * sigma * before);
    }
    for step in 1..=8 {
        let w = 0.5 * f64::from(step);
        let size = (-0.5 * (w * sigma).powi(2)).exp();
        assert_close(
            rule.integrate(|eps| (w * z(eps)).cos()),
            size * (w * mu).cos(),
            TOLERANCE,
        );
        assert_close(
            rule.integrate(|eps| (w * z(eps)).sin()),
            size * (w * mu).sin(),
            TOLERANCE,
        );
    }
    for c in [-0.3, 0.5, 0.7, 1.9] {
        let below_eps = Rule::gauss_legendre(200, -12.0, (c - mu) / sigma)
            .integrate(|eps| log_normal(eps, 0.0, 1.0).exp());
        let below_z = Rule::gauss_legendre(150, -6.0, c)
            .integrate(|z| log_normal(z, mu, sigma * sigma).exp());
        assert_close(below_eps, below_z, TOLERANCE);
    }
}

/// The mean of (1/L) sum log p(x|z_l) - KL over draws z_l = mu + sigma eps_l, for a decoder
/// that bends, against the ELBO by quadrature of its definition E_q log p(x, z)/q(z|x).
/// Kind: Monte Carlo.
#[test]
fn monte_carlo_elbo() {
    digest("monte-carlo-elbo", "3f7a5514d4dd");
    const STANDARD_ERRORS: f64 = 5.0;
    let (x, s2, mu, sigma): (f64, f64, f64, f64) = (0.9, 0.3, 0.4, 0.5);
    let log_likelihood = |z: f64| log_normal(x, z + (2.0 * z).sin(), s2);
    let elbo = Rule::gauss_hermite(120).normal(mu, sigma, |z| {
        log_likelihood(z) + log_normal(z, 0.0, 1.0) - log_normal(z, mu, sigma * sigma)
    });
    let kl = 0.5 * (mu * mu + sigma * sigma - 1.0 - (sigma * sigma).ln());
    let mut rng = rng(303);
    for draws in [1, 5] {
        let estimate = Estimate::of(100_000, || {
            let terms = (0..draws).map(|_| log_likelihood(mu + sigma * normal(&mut rng)));
            terms.sum::<f64>() / f64::from(draws) - kl
        });
        assert_estimates(&estimate, elbo, STANDARD_ERRORS);
    }
}

/// f(z) = sin 2z + z^2, and its slope.
fn f(z: f64) -> f64 {
    (2.0 * z).sin() + z * z
}
fn f_slope(z: f64) -> f64 {
    2.0 * (2.0 * z).cos() + 2.0 * z
}

/// d/dmu and d/dsigma of E f(z) = e^(-2 sigma^2) sin 2 mu + mu^2 + sigma^2 under N(mu,
/// sigma^2).
fn slopes_of_mean(mu: f64, sigma: f64) -> (f64, f64) {
    let damped = (-2.0 * sigma * sigma).exp();
    (
        2.0 * damped * (2.0 * mu).cos() + 2.0 * mu,
        -4.0 * sigma * damped * (2.0 * mu).sin() + 2.0 * sigma,
    )
}

/// E f'(mu + sigma eps) and E f'(mu + sigma eps) eps by quadrature, against the slopes of
/// the closed-form mean of f = sin 2z + z^2. Kind: quadrature.
#[test]
fn reparameterization_gradient() {
    digest("reparameterization-gradient", "65d34ec38b8c");
    const TOLERANCE: f64 = 1e-12;
    let rule = Rule::gauss_hermite(120);
    for (mu, sigma) in [(0.7, 1.6), (-1.2, 0.3), (0.0, 1.0)] {
        let (by_mu, by_sigma) = slopes_of_mean(mu, sigma);
        assert_close(rule.integrate(|eps| f_slope(mu + sigma * eps)), by_mu, TOLERANCE);
        assert_close(
            rule.integrate(|eps| f_slope(mu + sigma * eps) * eps),
            by_sigma,
            TOLERANCE,
        );
    }
}

/// E f(z) grad log q(z) for mu and sigma by quadrature, against the slopes of the
/// closed-form mean of f = sin 2z + z^2: the same slopes as those of the
/// reparameterization. Kind: quadrature.
#[test]
fn score_function_gradient() {
    digest("score-function-gradient", "9adadd381596");
    const TOLERANCE: f64 = 1e-12;
    let rule = Rule::gauss_hermite(120);
    for (mu, sigma) in [(0.7, 1.6), (-1.2, 0.3), (0.0, 1.0)] {
        let (by_mu, by_sigma) = slopes_of_mean(mu, sigma);
        let score_mu = |z: f64| (z - mu) / (sigma * sigma);
        let score_sigma = |z: f64| ((z - mu).powi(2) - sigma * sigma) / sigma.powi(3);
        assert_close(rule.normal(mu, sigma, |z| f(z) * score_mu(z)), by_mu, TOLERANCE);
        assert_close(
            rule.normal(mu, sigma, |z| f(z) * score_sigma(z)),
            by_sigma,
            TOLERANCE,
        );
    }
}

/// Var(score function) / Var(reparameterization). For f = sin 2z + z^2 at mu = 0.7, sigma =
/// 1.6 quadrature gives 3.8 (mu) and 8.3 (sigma); for f = |z|^2 at mu = 0 the ratio is
/// (d+2)(d+4)/4, that is 3.75, 42 and 2652 for d = 1, 10, 100. All against sample
/// variances. Kind: Monte Carlo.
#[test]
fn gradient_variance() {
    let page = tex("gradient-variance");
    const EXACT: f64 = 1e-10;
    // Relative: a sample variance of a heavy-tailed product is good to a few percent.
    const TOLERANCE: f64 = 0.1;
    let (mu, sigma, rule, mut rng) = (0.7, 1.6, Rule::gauss_hermite(120), rng(304));
    type Gradient<'a> = &'a dyn Fn(f64) -> f64;
    let pairs: [(Gradient, Gradient, f64); 2] = [
        (&|eps| f(mu + sigma * eps) * eps / sigma, &|eps| f_slope(mu + sigma * eps), 3.8),
        (
            &|eps| f(mu + sigma * eps) * (eps * eps - 1.0) / sigma,
            &|eps| f_slope(mu + sigma * eps) * eps,
            8.3,
        ),
    ];
    for (score, reparameterized, printed) in pairs {
        let variance = |gradient: Gradient| {
            let mean = rule.integrate(gradient);
            rule.integrate(|eps| (gradient(eps) - mean).powi(2))
        };
        let ratio = variance(score) / variance(reparameterized);
        assert_close(ratio, printed, 0.05);
        let (mut left, mut right) = (Estimate::default(), Estimate::default());
        for _ in 0..200_000 {
            let eps = normal(&mut rng);
            left.push(score(eps));
            right.push(reparameterized(eps));
        }
        assert_relative(left.variance() / right.variance(), ratio, TOLERANCE);
    }

    for d in [1_u32, 10, 100] {
        // Of the squares of the other coordinates, whose sum has d - 1 degrees of freedom,
        // two moments are needed.
        let rest = f64::from(d) - 1.0;
        let moment = |n: i32| rule.integrate(|eps| eps.powi(n));
        let score = moment(6) + 2.0 * rest * moment(4) + rest * (rest + 2.0) * moment(2);
        let values = Values::default()
            .number(r"\Var[\text{score function}]", score)
            .number(r"\Var[\text{reparameterized}]", 4.0 * moment(2))
            .number("d", f64::from(d));
        let sides = page.sides(&values);
        let formula = sides[1];
        assert_relative(sides[0], formula, EXACT);
        let (mut left, mut right) = (Estimate::default(), Estimate::default());
        for _ in 0..200_000 {
            // The gradient in the first coordinate of mu, for z = eps (mu = 0, sigma = 1).
            let first = normal(&mut rng);
            let rest: f64 = (1..d).map(|_| normal(&mut rng).powi(2)).sum();
            left.push((first * first + rest) * first);
            right.push(2.0 * first);
        }
        assert_relative(left.variance() / right.variance(), formula, TOLERANCE);
    }
}

/// For f = cos(w z), z ~ N(mu, 1): the closed-form variances of both estimators of d/dmu,
/// against quadrature. From w = 2 on the score function has the LOWER variance; below w =
/// 1/2 the higher. Kind: negative, quadrature.
#[test]
fn score_function_wins() {
    digest("score-function-wins", "7a763e2952a8");
    const TOLERANCE: f64 = 1e-11;
    let (mu, rule): (f64, _) = (0.3, Rule::gauss_hermite(200));
    for w in [0.25_f64, 0.5, 2.0, 3.0, 4.0] {
        let mean = -w * (-0.5 * w * w).exp() * (w * mu).sin();
        let (damped, wave) = ((-2.0 * w * w).exp(), (2.0 * w * mu).cos());
        let reparameterized = 0.5 * w * w * (1.0 - damped * wave) - mean * mean;
        let score = 0.5 * (1.0 + (1.0 - 4.0 * w * w) * damped * wave) - mean * mean;

        let slope = |eps: f64| -w * (w * (mu + eps)).sin();
        let weighted = |eps: f64| (w * (mu + eps)).cos() * eps;
        let variance = |gradient: &dyn Fn(f64) -> f64| {
            assert_close(rule.integrate(gradient), mean, TOLERANCE);
            rule.integrate(|eps| (gradient(eps) - mean).powi(2))
        };
        assert_close(reparameterized, variance(&slope), TOLERANCE);
        assert_close(score, variance(&weighted), TOLERANCE);
        assert_eq!(
            score < reparameterized,
            w >= 2.0,
            "w = {w}: {score} and {reparameterized}"
        );
    }
}

/// Data for PCA: 60 points in five dimensions, their mean and biased covariance.
fn pca_data() -> (Vec<Vector>, Vector, Matrix) {
    let mut rng = rng(305);
    let spread = normal_matrix(&mut rng, 5, 3);
    let points: Vec<Vector> = (0..60)
        .map(|_| &spread * normals(&mut rng, 3) + normals(&mut rng, 5) * 0.7)
        .collect();
    let mean = points.iter().sum::<Vector>() / 60.0;
    let centred = points.iter().map(|x| x - &mean);
    let covariance = centred.map(|c| &c * c.transpose()).sum::<Matrix>() / 60.0;
    (points, mean, covariance)
}

/// -(1/2)(d ln 2 pi + sum_{j<=k} ln l_j + (d-k) ln s2 + d), s2 the mean of the dropped
/// eigenvalues.
fn ppca_likelihood_formula(covariance: &Matrix, k: usize) -> f64 {
    let mut values: Vec<f64> =
        SymmetricEigen::new(covariance.clone()).eigenvalues.iter().copied().collect();
    values.sort_by(|a, b| b.total_cmp(a));
    let d = values.len();
    let s2 = values[k..].iter().sum::<f64>() / (d - k) as f64;
    let kept: f64 = values[..k].iter().map(|l| l.ln()).sum();
    -0.5 * (d as f64 * TAU.ln() + kept + (d - k) as f64 * s2.ln() + d as f64)
}

/// The closed-form maximum of the mean log-likelihood against the mean of log p(x_n) over
/// the data at W = U (L - s2 I)^(1/2); there every partial derivative is zero, and nearby
/// models are worse. Kind: closed form, finite differences.
#[test]
fn ppca_likelihood() -> Outcome {
    digest("ppca-likelihood", "41c6ca931b37");
    const TOLERANCE: f64 = 1e-12;
    const GRADIENT_TOLERANCE: f64 = 1e-8;
    let (points, mean, covariance) = pca_data();
    let mut rng = rng(306);
    for k in 1..=4 {
        let formula = ppca_likelihood_formula(&covariance, k);
        let best = ppca(&mean, &covariance, k)?;
        let mut average = 0.0;
        for x in &points {
            average += best.log_prob(x)? / points.len() as f64;
        }
        assert_close(formula, average, TOLERANCE);
        assert_close(formula, ppca_log_likelihood(&covariance, k)?, TOLERANCE);

        // The parameters as one list: W, then b, then ln s2.
        let mut parameters: Vec<f64> = best.likelihood().matrix().iter().copied().collect();
        parameters.extend(best.likelihood().noise().mean().iter());
        parameters.push(best.likelihood().noise().covariance()[(0, 0)].ln());
        let likelihood = |parameters: &[f64]| -> Result<f64, Error> {
            let (w, rest) = parameters.split_at(5 * k);
            let model = LinearGaussian::standard(
                Matrix::from_column_slice(5, k, w),
                vector(&rest[..5]),
                rest[5].exp(),
            )?;
            model.marginal()?.expected_log_prob(&mean, &covariance)
        };
        for i in 0..parameters.len() {
            let along = |value: f64| {
                let mut moved = parameters.clone();
                moved[i] = value;
                likelihood(&moved).unwrap_or(f64::NAN)
            };
            assert_close(derivative(along, parameters[i]), 0.0, GRADIENT_TOLERANCE);
        }
        for _ in 0..20 {
            let moved: Vec<f64> =
                parameters.iter().map(|p| p + 0.05 * normal(&mut rng)).collect();
            assert!(likelihood(&moved)? < formula);
        }
    }
    Ok(())
}

/// The mean ELBO of a linear VAE, E_q log p(x|z) - KL, at the PPCA optimum with the encoder
/// N(M^-1 W^T (x - b), s2 M^-1), M = W^T W + s2 I, against the PPCA likelihood from
/// eigenvalues. Then a linear VAE with a diagonal encoder, trained by gradient ascent from
/// random weights, comes within 1e-6 nats of the same number, and never above it. Kind:
/// closed form, gradient ascent.
#[test]
fn linear_vae() -> Outcome {
    digest("linear-vae", "016c997dc6e3");
    const TOLERANCE: f64 = 1e-12;
    const TRAINED_TOLERANCE: f64 = 1e-6;
    let (points, mean, covariance) = pca_data();
    let k = 2;
    let target = ppca_likelihood_formula(&covariance, k);

    let best = ppca(&mean, &covariance, k)?;
    let w = best.likelihood().matrix();
    let s2 = best.likelihood().noise().covariance()[(0, 0)];
    let m = w.transpose() * w + Matrix::identity(k, k) * s2;
    let inverse = m.try_inverse().expect("W^T W + s2 I is positive definite");
    let spread = &inverse * s2;
    let mut elbo = 0.0;
    for x in &points {
        let z = &inverse * w.transpose() * (x - &mean);
        let error =
            (x - w * &z - &mean).norm_squared() + (w * &spread * w.transpose()).trace();
        let log_likelihood = -2.5 * (TAU * s2).ln() - error / (2.0 * s2);
        let kl = 0.5
            * (spread.trace() + z.norm_squared() - k as f64 - spread.determinant().ln());
        elbo += (log_likelihood - kl) / points.len() as f64;
    }
    assert_close(elbo, target, TOLERANCE);

    // Training: decoder (W, ln s2), encoder z = N(V (x - mean), diag D). With the mean of
    // the data as b, the mean ELBO depends on the data through its covariance S alone.
    let mut rng = rng(307);
    let mut w = normal_matrix(&mut rng, 5, k) * 0.3;
    let mut v = normal_matrix(&mut rng, k, 5) * 0.3;
    let (mut ln_s2, mut ln_d) = (0.0_f64, vec![0.0_f64; k]);
    let s = &covariance;
    let mut trained = f64::NEG_INFINITY;
    for _ in 0..20_000 {
        let s2 = ln_s2.exp();
        let d =
            Matrix::from_diagonal(&Vector::from_iterator(k, ln_d.iter().map(|l| l.exp())));
        let (sv, vsv) = (s * v.transpose(), &v * s * v.transpose());
        let second_moment = &vsv + &d;
        let wtw = w.transpose() * &w;
        let error = s.trace() - 2.0 * (&w * sv.transpose()).trace()
            + (&wtw * &second_moment).trace();
        trained = -2.5 * (TAU * s2).ln()
            - error / (2.0 * s2)
            - 0.5 * (second_moment.trace() - k as f64 - ln_d.iter().sum::<f64>());
        assert!(trained <= target + TOLERANCE, "an ELBO above the best likelihood");
        let w_slope = (&sv - &w * &second_moment) / s2;
        let v_slope = (w.transpose() * s - &wtw * &v * s) / s2 - &v * s;
        let s2_slope = -2.5 + error / (2.0 * s2);
        let rate = 0.02;
        w += w_slope * rate;
        v += v_slope * rate;
        ln_s2 += s2_slope * rate;
        for (i, l) in ln_d.iter_mut().enumerate() {
            *l += 0.5 * rate * (1.0 - l.exp() * (1.0 + wtw[(i, i)] / s2));
        }
    }
    assert_close(trained, target, TRAINED_TOLERANCE);
    Ok(())
}

/// A linear VAE with a diagonal encoder: p(x|z) = N(W z + b, s2 I), q(z|x) = N(V (x - mean)
/// + c, diag d).
struct LinearVae {
    w: Matrix,
    b: Vector,
    v: Matrix,
    c: Vector,
    ln_d: Vector,
}

impl LinearVae {
    /// All parameters, one behind the other.
    fn flat(&self) -> Vec<f64> {
        let parts = [self.w.as_slice(), self.b.as_slice(), self.v.as_slice()];
        [&parts[..], &[self.c.as_slice(), self.ln_d.as_slice()]].concat().concat()
    }

    fn from_flat(flat: &[f64], d: usize, k: usize) -> Self {
        let (w, rest) = flat.split_at(d * k);
        let (b, rest) = rest.split_at(d);
        let (v, rest) = rest.split_at(k * d);
        Self {
            w: Matrix::from_column_slice(d, k, w),
            b: vector(b),
            v: Matrix::from_column_slice(k, d, v),
            c: vector(&rest[..k]),
            ln_d: vector(&rest[k..]),
        }
    }

    /// The mean ELBO over the points, and the mean KL of each latent.
    fn elbo(&self, points: &[Vector], mean: &Vector, s2: f64) -> (f64, Vec<f64>) {
        let (n, k) = (points.len() as f64, self.c.len());
        let (mut elbo, mut kl) = (0.0, vec![0.0; k]);
        for x in points {
            let m = &self.v * (x - mean) + &self.c;
            let mut error = (x - &self.w * &m - &self.b).norm_squared();
            for j in 0..k {
                error += self.ln_d[j].exp() * self.w.column(j).norm_squared();
                kl[j] += 0.5 * (self.ln_d[j].exp() + m[j] * m[j] - 1.0 - self.ln_d[j]) / n;
            }
            elbo += (-0.5 * x.len() as f64 * (TAU * s2).ln() - error / (2.0 * s2)) / n;
        }
        (elbo - kl.iter().sum::<f64>(), kl)
    }
}

/// At a noise variance s2 that is held fixed, the likelihood is highest at W = U (L - s2
/// I)_+^(1/2): columns of eigenvalues below s2 are zero. There the mean KL of latent j,
/// from the posterior of each data point by conditioning, against (1/2) ln(l_j / s2), or 0
/// where l_j <= s2. That this is the optimum: the ELBO of a linear VAE is the likelihood
/// there, its slope is zero in every parameter of decoder and encoder, moved in all of them
/// at once it falls, and EM from five random decoders ends at the same likelihood.
/// Kind: closed form, finite differences, EM.
#[test]
fn linear_collapse() -> Outcome {
    digest("linear-collapse", "468e6e3e7086");
    const TOLERANCE: f64 = 1e-11;
    const GRADIENT_TOLERANCE: f64 = 1e-8;
    let (points, mean, covariance) = pca_data();
    let eigen = SymmetricEigen::new(covariance.clone());
    let mut order: Vec<usize> = (0..5).collect();
    order.sort_by(|&i, &j| eigen.eigenvalues[j].total_cmp(&eigen.eigenvalues[i]));
    let values: Vec<f64> = order.iter().map(|&i| eigen.eigenvalues[i]).collect();
    let s2 = 0.5 * (values[2] + values[3]);
    assert!(values[2] > s2 && values[3] < s2, "three latents alive, one collapsed");
    let k = 4;
    let w = Matrix::from_fn(5, k, |row, j| {
        eigen.eigenvectors[(row, order[j])] * (values[j] - s2).max(0.0).sqrt()
    });
    let predicted = values.iter().map(|l| 0.5 * (l / s2).ln().max(0.0));
    let model = LinearGaussian::standard(w.clone(), mean.clone(), s2)?;
    let mut kl = vec![0.0; k];
    for x in &points {
        let posterior = model.posterior(x)?;
        for (j, kl) in kl.iter_mut().enumerate() {
            *kl += posterior.marginal(&[j])?.kl(&Gaussian::standard(1)?)?
                / points.len() as f64;
        }
    }
    for (kl, predicted) in kl.iter().zip(predicted.clone()) {
        assert_close(*kl, predicted, TOLERANCE);
    }

    let likelihood = |w: Matrix| -> Result<f64, Error> {
        LinearGaussian::standard(w, mean.clone(), s2)?
            .marginal()?
            .expected_log_prob(&mean, &covariance)
    };
    let (best, mut rng) = (likelihood(w.clone())?, rng(308));

    // The VAE at this point. W^T W is diagonal here, and with it the exact posterior.
    let precision = w.transpose() * &w + Matrix::identity(k, k) * s2;
    let inverse = precision.try_inverse().expect("W^T W + s2 I is positive definite");
    let vae = LinearVae {
        v: &inverse * w.transpose(),
        c: Vector::zeros(k),
        ln_d: Vector::from_fn(k, |j, _| (s2 * inverse[(j, j)]).ln()),
        b: mean.clone(),
        w,
    };
    let (elbo, kl) = vae.elbo(&points, &mean, s2);
    assert_close(elbo, best, TOLERANCE);
    for (kl, predicted) in kl.iter().zip(predicted) {
        assert_close(*kl, predicted, TOLERANCE);
    }
    let parameters = vae.flat();
    let at = |parameters: &[f64]| {
        LinearVae::from_flat(parameters, 5, k).elbo(&points, &mean, s2).0
    };
    for i in 0..parameters.len() {
        let along = |value: f64| {
            let mut moved = parameters.clone();
            moved[i] = value;
            at(&moved)
        };
        assert_close(derivative(along, parameters[i]), 0.0, GRADIENT_TOLERANCE);
    }
    for size in [0.3, 0.05, 0.005] {
        for _ in 0..100 {
            let moved: Vec<f64> =
                parameters.iter().map(|p| p + size * normal(&mut rng)).collect();
            assert!(at(&moved) < best);
        }
    }

    // EM: the mean and covariance of every posterior, then the regression of x on z.
    for _ in 0..5 {
        let mut w = normal_matrix(&mut rng, 5, k);
        for _ in 0..4000 {
            let precision = w.transpose() * &w + Matrix::identity(k, k) * s2;
            let inverse = precision.try_inverse().expect("a positive definite matrix");
            let v = &inverse * w.transpose();
            let second_moment = &inverse * s2 + &v * &covariance * v.transpose();
            let inverse = second_moment.try_inverse().expect("a positive definite matrix");
            w = &covariance * v.transpose() * inverse;
        }
        assert_close(likelihood(w)?, best, TOLERANCE);
    }
    Ok(())
}
