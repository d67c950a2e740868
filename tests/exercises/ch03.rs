//! Chapter 3.

use elbo_to_diffusion::{
    data::digits::digits,
    oracle::{Estimate, Gaussian, Matrix, Vector, vector},
};
use nalgebra::SymmetricEigen;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

// ANCHOR: sigma
/// The part of E log p(x|z) - weight KL that depends on sigma^2, for
/// p(x|z) = N(w z, s2) and q = N(mu, sigma^2).
fn objective(variance: f64, slope: f64, weight: f64) -> f64 {
    // slope is w^2 / s2: E (x - w z)^2 / (2 s2) grows by slope sigma^2 / 2.
    -0.5 * slope * variance - 0.5 * weight * (variance - variance.ln() - 1.0)
}

#[test]
fn the_weight_moves_sigma_from_a_point_to_the_prior() {
    let best = |slope: f64, weight: f64| weight / (weight + slope);
    for slope in [0.5, 4.0, 50.0] {
        for weight in [0.01, 1.0, 4.0, 100.0] {
            let at = best(slope, weight);
            for other in [0.9 * at, 1.1 * at] {
                assert!(objective(other, slope, weight) < objective(at, slope, weight));
            }
        }
        assert!(best(slope, 1e-6) < 1e-5 && best(slope, 1e6) > 0.999);
    }
}
// ANCHOR_END: sigma

// ANCHOR: isotropic
/// The sigma^2 of the isotropic q nearest to N(0, diag(v)) in KL(q || p), and that
/// divergence.
fn isotropic(v: &[f64]) -> (f64, f64) {
    let k = v.len() as f64;
    let mean_precision = v.iter().map(|v| 1.0 / v).sum::<f64>() / k;
    let mean_log_precision = v.iter().map(|v| -v.ln()).sum::<f64>() / k;
    (1.0 / mean_precision, 0.5 * k * (mean_precision.ln() - mean_log_precision))
}

#[test]
fn one_sigma_for_all_dimensions_costs_nats() {
    let v = [1.0, 0.25, 0.01];
    let (zero, diagonal) = (Vector::zeros(3), Matrix::from_diagonal(&vector(&v)));
    let target = Gaussian::new(zero.clone(), diagonal).expect("a Gaussian");
    let kl = |s2: f64| {
        let q = Gaussian::isotropic(zero.clone(), s2).expect("a Gaussian");
        q.kl(&target).expect("a divergence")
    };
    let (s2, cost) = isotropic(&v);
    assert!((kl(s2) - cost).abs() < 1e-12);
    assert!(kl(0.9 * s2) > cost && kl(1.1 * s2) > cost);
    // Equal variances cost nothing.
    assert!(isotropic(&[0.3; 5]).1.abs() < 1e-12);
}
// ANCHOR_END: isotropic

// ANCHOR: baseline
/// Variance of (f(z) - b) eps_1 for f = |z|^2 and z = eps in d dimensions: the score
/// function with a baseline b.
fn score_variance(d: usize, baseline: f64, rng: &mut ChaCha8Rng) -> f64 {
    let mut estimate = Estimate::default();
    for _ in 0..100_000 {
        let eps: Vec<f64> = StandardNormal.sample_iter(&mut *rng).take(d).collect();
        let f: f64 = eps.iter().map(|e| e * e).sum();
        estimate.push((f - baseline) * eps[0]);
    }
    estimate.variance()
}

#[test]
fn the_best_baseline_saves_one_power_of_d() {
    let rng = &mut ChaCha8Rng::seed_from_u64(3);
    for d in [1, 10, 50] {
        let k = d as f64;
        let without = score_variance(d, 0.0, rng) / ((k + 2.0) * (k + 4.0));
        // The best baseline is E[f eps_1^2] / E[eps_1^2] = d + 2, not the mean of f.
        let with = score_variance(d, k + 2.0, rng) / (2.0 * (k + 2.0));
        for ratio in [without, with] {
            assert!((ratio - 1.0).abs() < 0.1, "{without} {with}");
        }
    }
}
// ANCHOR_END: baseline

// ANCHOR: exponential
/// A draw from the exponential distribution with this rate, as a function of
/// u ~ U(0, 1), and its slope in the rate.
fn exponential(rate: f64, u: f64) -> (f64, f64) {
    let z = -(-u).ln_1p() / rate;
    (z, -z / rate)
}

#[test]
fn an_exponential_draw_can_be_differentiated() {
    let (rate, rng) = (1.7, &mut ChaCha8Rng::seed_from_u64(4));
    let (mut pathwise, mut score) = (Estimate::default(), Estimate::default());
    for _ in 0..200_000 {
        let (z, slope) = exponential(rate, rng.random());
        pathwise.push(2.0 * z * slope);
        // d log q(z) / d rate = 1/rate - z.
        score.push(z * z * (1.0 / rate - z));
    }
    // E z^2 = 2 / rate^2.
    let exact = -4.0 / rate.powi(3);
    assert!(pathwise.z_score(exact).abs() < 4.0 && score.z_score(exact).abs() < 4.0);
    assert!(score.variance() > 2.0 * pathwise.variance());
}
// ANCHOR_END: exponential

// ANCHOR: collapsed
/// How many latents of the best linear VAE are alive if its noise variance is held
/// at s2.
fn alive(eigenvalues: &[f64], latents: usize, s2: f64) -> usize {
    eigenvalues.iter().take(latents).filter(|&&l| l > s2).count()
}

#[test]
fn a_noisier_decoder_uses_fewer_latents() {
    let train = digits().expect("the embedded digits").train;
    let values = train.grey_values();
    let (n, d) = (train.len() as f64, train.dim());
    let value = |i: usize, j: usize| values[usize::from(train.image(i)[j])];
    let mut images = Matrix::from_fn(train.len(), d, value);
    for mut pixel in images.column_iter_mut() {
        let mean = pixel.sum() / n;
        pixel.add_scalar_mut(-mean);
    }
    let eigen = SymmetricEigen::new(images.transpose() * &images / n);
    let mut eigenvalues: Vec<f64> = eigen.eigenvalues.iter().copied().collect();
    eigenvalues.sort_by(|a, b| b.total_cmp(a));

    // Learned, s2 is the mean of the eigenvalues left over: all 16 latents live.
    let learned = eigenvalues[16..].iter().sum::<f64>() / (d - 16) as f64;
    assert_eq!(alive(&eigenvalues, 16, learned), 16);
    let counts = [0.1, 0.3, 1.0, 3.0].map(|s2| alive(&eigenvalues, 16, s2));
    assert_eq!(counts, [16, 13, 4, 0]);
}
// ANCHOR_END: collapsed
