//! The log density along the flow, the trace of a Jacobian, and the bound on grey levels.

use std::convert::Infallible;

use elbo_to_diffusion::{
    flow::{Point, transport},
    oracle::{
        Error, Estimate, Gaussian, Matrix, Mixture, NoiseLevel, Rule, ScalarMixture,
        Vector, log_sum_exp, matrix, vector,
    },
};

use super::line;
use crate::support::{
    Outcome, assert_close, assert_estimates, derivative, log_normal, normal_matrix,
    normals, rng,
};
use crate::tex::digest;

/// Levels at equal distances, from the least noise up.
fn levels(gamma_max: f64, steps: u32) -> Vec<f64> {
    let rise = (gamma_max + 8.0) / f64::from(steps);
    (0..=steps).map(|i| -8.0 + rise * f64::from(i)).collect()
}

/// Where the flow of a mixture's ideal denoiser carries z.
fn carried(data: &ScalarMixture, gammas: &[f64], z: f64) -> Point<f64, f64> {
    let denoise =
        |&z: &f64, gamma| Ok::<_, Infallible>(data.denoise(z, NoiseLevel::new(gamma)));
    match transport(gammas, z, 0.0, 1, denoise) {
        Ok(point) => point,
        Err(never) => match never {},
    }
}

/// Three bumps with full covariances in two dimensions.
fn plane() -> Result<Mixture, Error> {
    Mixture::new(
        &[0.35, 0.45, 0.2],
        vec![
            Gaussian::new(vector(&[-1.0, 0.3]), matrix(&[&[0.2, 0.05], &[0.05, 0.1]])?)?,
            Gaussian::new(vector(&[0.8, 0.9]), matrix(&[&[0.1, -0.06], &[-0.06, 0.3]])?)?,
            Gaussian::new(vector(&[0.4, -1.2]), matrix(&[&[0.4, 0.0], &[0.0, 0.05]])?)?,
        ],
    )
}

/// The log density by the flow, on the line and in the plane, with the right law at its
/// end, against the closed form of the mixture. With N(0, 1) at its end the error stalls:
/// the same for 400 and 800 steps, and far above. Kind: closed form, negative.
#[test]
fn log_density_along() -> Outcome {
    digest("log-density-along", "ae06b1cb7a8c");
    const TOLERANCE: f64 = 1e-7;
    let (data, gamma_max) = (line()?, 12.0);
    let [start, end] = [-8.0, gamma_max].map(|gamma| data.marginal(NoiseLevel::new(gamma)));
    let mut stalled = [0.0_f64; 2];
    for (stalled, steps) in stalled.iter_mut().zip([400, 800]) {
        for z in [-1.5, -0.9, -0.2, 0.1, 0.4, 1.0, 1.6] {
            let point = carried(&data, &levels(gamma_max, steps), z);
            let exact = start.log_prob(z);
            assert_close(end.log_prob(point.z) + point.log_volume, exact, TOLERANCE);
            let wrong = log_normal(point.z, 0.0, 1.0) + point.log_volume;
            *stalled = stalled.max((wrong - exact).abs());
        }
    }
    assert!(stalled[1] > 1e-4, "{stalled:?}");
    assert_close(stalled[0], stalled[1], TOLERANCE);

    let data = plane()?;
    let [start, end] = [-8.0, gamma_max].map(|gamma| data.marginal(NoiseLevel::new(gamma)));
    let (start, end) = (start?, end?);
    for z in [vector(&[-1.1, 0.2]), vector(&[0.5, 0.4]), vector(&[0.6, -1.1])] {
        let point = transport(&levels(gamma_max, 800), z.clone(), 0.0, 2, |z, gamma| {
            let level = NoiseLevel::new(gamma);
            let posterior = data.posterior(z, level)?;
            let trace =
                posterior.covariance().trace() * level.abar().sqrt() / level.noise();
            Ok::<_, Error>((posterior.mean(), trace))
        })?;
        let by_flow = end.log_prob(&point.z)? + point.log_volume;
        assert_close(by_flow, start.log_prob(&z)?, TOLERANCE);
    }
    Ok(())
}

/// The divergence of the velocity in the plane by finite differences, against the formula
/// with tr dx_hat/dz = sqrt(abar)/(1 - abar) tr Cov(x|z). Kind: finite differences.
#[test]
fn flow_divergence() -> Outcome {
    digest("flow-divergence", "324f4545bcae");
    const TOLERANCE: f64 = 1e-7;
    let data = plane()?;
    for gamma in [-3.0, 0.0, 2.0] {
        let level = NoiseLevel::new(gamma);
        let (abar, root) = (level.abar(), level.abar().sqrt());
        for z in [vector(&[-0.8, 0.1]), vector(&[0.3, 0.5])] {
            let mean =
                |z: &Vector| data.posterior(z, level).expect("two dimensions").mean();
            let velocity = |i: usize, at: f64| {
                let mut z = z.clone();
                z[i] = at;
                0.5 * (abar * z[i] - root * mean(&z)[i])
            };
            let divergence: f64 =
                (0..2).map(|i| derivative(|at| velocity(i, at), z[i])).sum();
            let covariance = data.posterior(&z, level)?.covariance();
            let trace = root / level.noise() * covariance.trace();
            assert_close(0.5 * abar * 2.0 - 0.5 * root * trace, divergence, TOLERANCE);
        }
    }
    Ok(())
}

/// nu^T A nu.
fn form(a: &Matrix, nu: &Vector) -> f64 {
    nu.dot(&(a * nu))
}

/// All vectors of d signs.
fn signs(d: usize) -> impl Iterator<Item = Vector> {
    (0..1_u32 << d).map(move |bits| {
        Vector::from_fn(d, |i, _| if bits >> i & 1 == 1 { 1.0 } else { -1.0 })
    })
}

/// The mean of nu^T A nu over all 64 vectors of six signs, and over normal vectors in three
/// dimensions by quadrature, against the trace of a matrix that is not symmetric.
/// Kind: enumeration, quadrature.
#[test]
fn hutchinson() -> Outcome {
    digest("hutchinson", "bf1ac9444706");
    const TOLERANCE: f64 = 1e-12;
    let rng = &mut rng(801);
    let a = normal_matrix(rng, 6, 6);
    let mean = signs(6).map(|nu| form(&a, &nu)).sum::<f64>() / 64.0;
    assert_close(mean, a.trace(), TOLERANCE);
    let a = normal_matrix(rng, 3, 3);
    let mean = over_normals(|nu| form(&a, nu));
    assert_close(mean, a.trace(), TOLERANCE);
    Ok(())
}

/// E f(nu) for nu ~ N(0, I) in three dimensions; exact for polynomials of degree 9.
fn over_normals(f: impl Fn(&Vector) -> f64) -> f64 {
    let rule = Rule::gauss_hermite(5);
    rule.integrate(|a| rule.integrate(|b| rule.integrate(|c| f(&vector(&[a, b, c])))))
}

/// The variance over all vectors of signs, and over normal vectors, against the sums of
/// squares of the symmetric part; and draws of both in 64 dimensions, within the errors of
/// their variances. Kind: enumeration, quadrature, Monte Carlo.
#[test]
fn hutchinson_variance() -> Outcome {
    digest("hutchinson-variance", "5c9c426fedfa");
    const TOLERANCE: f64 = 1e-10;
    const STANDARD_ERRORS: f64 = 4.0;
    let rng = &mut rng(802);
    let squares = |a: &Matrix, diagonal: bool| {
        let s = 0.5 * (a + a.transpose());
        let entries = (0..s.nrows()).flat_map(|i| (0..s.ncols()).map(move |j| (i, j)));
        let kept = entries.filter(|(i, j)| diagonal || i != j);
        2.0 * kept.map(|(i, j)| s[(i, j)].powi(2)).sum::<f64>()
    };
    let a = normal_matrix(rng, 6, 6);
    let variance =
        signs(6).map(|nu| (form(&a, &nu) - a.trace()).powi(2)).sum::<f64>() / 64.0;
    assert_close(variance, squares(&a, false), TOLERANCE);
    let a = normal_matrix(rng, 3, 3);
    let variance = over_normals(|nu| (form(&a, nu) - a.trace()).powi(2));
    assert_close(variance, squares(&a, true), TOLERANCE);

    // In 64 dimensions, with a diagonal that is larger than the rest, as of our denoiser.
    let a = normal_matrix(rng, 64, 64) * 0.1 + Matrix::identity(64, 64);
    let square = |nu: Vector| (form(&a, &nu) - a.trace()).powi(2);
    let normal = Estimate::of(20_000, || square(normals(rng, 64)));
    assert_estimates(&normal, squares(&a, true), STANDARD_ERRORS);
    let sign = Estimate::of(20_000, || square(normals(rng, 64).map(f64::signum)));
    assert_estimates(&sign, squares(&a, false), STANDARD_ERRORS);
    assert!(squares(&a, false) < squares(&a, true));
    Ok(())
}

/// The bound in a small case that can be enumerated: three grey levels, a flow whose
/// denoiser is right for other shares of them, and much noise. P(x) is an integral over
/// z_0 by quadrature; over the three levels it sums to one. The bound, by quadrature over
/// q(z_0|x), lies above -log P(x) by exactly KL(q(z_0|x) || p(z_0|x)). Kind: quadrature,
/// enumeration.
#[test]
fn ode_bound() -> Outcome {
    digest("ode-bound", "81fadf74cc24");
    const TOLERANCE: f64 = 1e-8;
    let (values, gamma_min) = ([-2.0 / 3.0, 0.0, 2.0 / 3.0], -1.5);
    let level = NoiseLevel::new(gamma_min);
    let wrong = ScalarMixture::new(&[0.5, 0.2, 0.3], &values, &[0.0; 3])?;
    let gammas: Vec<f64> = (0..=200).map(|i| -1.5 + 6.5 * f64::from(i) / 200.0).collect();
    // log p(z_0) of the flow, whose end is N(0, 1) and nothing else.
    let log_p = |z: f64| {
        let end = carried(&wrong, &gammas, z);
        log_normal(end.z, 0.0, 1.0) + end.log_volume
    };
    let mean = |k: usize| level.abar().sqrt() * values[k];
    let log_q = |k: usize, z: f64| log_normal(z, mean(k), level.noise());
    // P(x|z_0): each level weighted by how likely it makes z_0.
    let log_decoder =
        |k: usize, z: f64| log_q(k, z) - log_sum_exp(&[0, 1, 2].map(|j| log_q(j, z)));
    let rule = Rule::gauss_legendre(160, -5.0, 5.0);
    let points: Vec<(f64, f64, f64)> =
        rule.points().map(|(z, weight)| (z, weight, log_p(z))).collect();
    let integral = |f: &dyn Fn(f64, f64) -> f64| {
        points.iter().map(|(z, w, p)| w * f(*z, *p)).sum::<f64>()
    };
    let mut total = 0.0;
    for k in 0..3 {
        let log_x = integral(&|z, log_p| (log_p + log_decoder(k, z)).exp()).ln();
        let bound = integral(&|z, log_p| {
            log_q(k, z).exp() * (-log_p + log_q(k, z) - log_decoder(k, z))
        });
        let gap = integral(&|z, log_p| {
            let log_posterior = log_p + log_decoder(k, z) - log_x;
            log_q(k, z).exp() * (log_q(k, z) - log_posterior)
        });
        assert!(bound > -log_x + 1e-4, "{bound} {log_x}");
        assert_close(bound, gap - log_x, TOLERANCE);
        total += log_x.exp();
    }
    assert_close(total, 1.0, TOLERANCE);
    Ok(())
}
