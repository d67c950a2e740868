//! Chapter 6: learning the signal-to-noise ratio.

use elbo_to_diffusion::oracle::{NoiseLevel, Rule, ScalarMixture, log_sum_exp};
use rand::RngExt;

use crate::{
    recorded::rows,
    support::{Outcome, assert_close, log_normal, normal, random_table, rng},
};

/// The sum over steps of (SNR lost) / 2 times the error at the noisier end, for the ideal
/// denoiser of a mixture, on 20 random sets of steps, against the same after each step is
/// cut at a random place: never more. The error falls as the ratio rises.
#[test]
fn halving_lowers_an_ideal_loss() -> Outcome {
    const LEAST: f64 = 1e-6;
    let rule = Rule::gauss_hermite(80);
    let mut rng = rng(1601);
    for _ in 0..20 {
        let means: Vec<f64> = (0..3).map(|_| normal(&mut rng)).collect();
        let data =
            ScalarMixture::new(&random_table(&mut rng, 3), &means, &[0.05, 0.2, 0.4])?;
        let mut gammas: Vec<f64> = (0..8).map(|_| rng.random_range(-5.0..5.0)).collect();
        gammas.sort_by(f64::total_cmp);
        let middles = gammas.windows(2).map(|pair| rng.random_range(pair[0]..pair[1]));
        let mut finer: Vec<f64> = gammas.iter().copied().chain(middles).collect();
        finer.sort_by(f64::total_cmp);
        let loss = |gammas: &[f64]| {
            let levels: Vec<NoiseLevel> =
                gammas.iter().map(|gamma| NoiseLevel::new(*gamma)).collect();
            let steps = levels.windows(2);
            steps
                .map(|s| 0.5 * (s[0].snr() - s[1].snr()) * data.mmse(s[1], &rule))
                .sum::<f64>()
        };
        assert!(loss(&finer) < loss(&gammas) - LEAST);
        let errors: Vec<f64> =
            finer.iter().map(|gamma| data.mmse(NoiseLevel::new(*gamma), &rule)).collect();
        assert!(errors.windows(2).all(|pair| pair[0] <= pair[1]));
    }
    Ok(())
}

/// Half the integral over all signal-to-noise ratios of the ideal denoiser's mean squared
/// error for one x, by quadrature over the ratio and the noise, against -log P(x), for each
/// of four points of a distribution on the line.
#[test]
fn discrete_likelihood() {
    const TOLERANCE: f64 = 1e-6;
    let (points, shares) = ([-1.0, -0.2, 0.5, 1.3], [0.1, 0.4, 0.3, 0.2_f64]);
    let eps = Rule::gauss_legendre(300, -8.0, 8.0);
    // From almost no signal to so much that all points are told apart.
    let gammas = Rule::gauss_legendre(300, -7.0, 20.0);
    for (x, share) in points.into_iter().zip(shares) {
        let error = |snr: f64, eps: f64| {
            // y = sqrt(snr) x + eps, which is z in units of its noise.
            let y = snr.sqrt() * x + eps;
            let log_joint =
                |k: usize| shares[k].ln() - 0.5 * (y - snr.sqrt() * points[k]).powi(2);
            let logits: Vec<f64> = (0..4).map(log_joint).collect();
            let total = log_sum_exp(&logits);
            let x_hat: f64 = (0..4).map(|k| (logits[k] - total).exp() * points[k]).sum();
            (x - x_hat).powi(2)
        };
        let mmse =
            |snr: f64| eps.integrate(|e| log_normal(e, 0.0, 1.0).exp() * error(snr, e));
        let integral = gammas.integrate(|gamma| (-gamma).exp() * mmse((-gamma).exp()));
        assert_close(0.5 * integral, -share.ln(), TOLERANCE);
    }
}

/// KL(q(z) || N(0, 1)) of a mixture whose mean is not zero, by quadrature, against abar
/// times half the square of the mean: the relative error falls in proportion to the signal
/// power.
#[test]
fn prior_gap_of_a_mean() -> Outcome {
    const LARGEST: f64 = 0.01;
    let data = ScalarMixture::new(&[0.4, 0.6], &[-0.9, 0.1], &[0.0, 0.1])?;
    let rule = Rule::gauss_hermite(60);
    let error = |abar: f64| {
        let marginal = data.marginal(NoiseLevel::from_abar(abar));
        let part = |(weight, mean, variance): (f64, f64, f64)| {
            weight
                * rule.normal(mean, variance.sqrt(), |z| {
                    marginal.log_prob(z) - log_normal(z, 0.0, 1.0)
                })
        };
        let kl: f64 = marginal.components().map(part).sum();
        (kl / (0.5 * abar * data.mean().powi(2)) - 1.0).abs()
    };
    assert!(error(1e-3) < LARGEST, "{}", error(1e-3));
    assert_close(error(1e-2) / error(1e-3), 10.0, 1.0);
    Ok(())
}

/// gamma after the first of nine equal steps of the cosine schedule, abar = cos^2 of an
/// angle that grows evenly between the angles of -8 and 5: -3.4. The distance of two grey
/// levels goes from more than six standard deviations of the noise to less than one on this
/// step.
#[test]
fn first_step_of_the_cosine() {
    const TOLERANCE: f64 = 0.05;
    let angle = |gamma: f64| NoiseLevel::new(gamma).abar().sqrt().acos();
    let first = angle(-8.0) + (angle(5.0) - angle(-8.0)) / 9.0;
    let gamma = NoiseLevel::from_abar(first.cos().powi(2)).gamma;
    assert_close(gamma, -3.4, TOLERANCE);
    let apart = |gamma: f64| 2.0 / 17.0 / (0.5 * gamma).exp();
    assert!(apart(-8.0) > 6.0 && apart(gamma) < 1.0);
}

/// E |eps - eps_hat|^2 of the ideal denoiser of N(0, 1), which is abar, without and with
/// the factor gamma', on schedules gamma = -8 + 13 t^p that share their ends: without, a
/// smaller p makes the mean small; with it, nothing changes.
#[test]
fn loss_without_the_slope() {
    const TOLERANCE: f64 = 1e-6;
    let t = Rule::gauss_legendre(2000, 0.0, 1.0);
    // t = u^4, so that a steep start is resolved.
    let mean = |f: &dyn Fn(f64) -> f64| t.integrate(|u| 4.0 * u.powi(3) * f(u.powi(4)));
    let abar = |t: f64, p: f64| NoiseLevel::new(-8.0 + 13.0 * t.powf(p)).abar();
    let plain = [1.0, 0.5, 0.25].map(|p| mean(&|t| abar(t, p)));
    assert!(plain[1] < 0.7 * plain[0] && plain[2] < 0.7 * plain[1], "{plain:?}");
    let weighted =
        [1.0, 0.5, 0.25].map(|p| mean(&|t| 13.0 * p * t.powf(p - 1.0) * abar(t, p)));
    assert_close(weighted[1], weighted[0], TOLERANCE);
    assert_close(weighted[2], weighted[0], TOLERANCE);
}

/// 1 - abar_t and 1 - abar_t / abar_(t-1) in 32-bit floats, as one would write them, on 200
/// equal steps of gamma from -13.3 to 5, against the same in 64-bit floats without a
/// difference of near numbers: wrong by up to 3 %, by 26 % at the first step, and by up to
/// 44 %.
#[test]
fn naive_differences() {
    const TOLERANCE: f64 = 0.01;
    let gammas: Vec<f64> = (0..200).map(|i| -13.3 + 18.3 * f64::from(i) / 199.0).collect();
    let abar = |gamma: f64| 1.0 / (1.0 + (gamma as f32).exp());
    let noise = gammas
        .iter()
        .map(|&g| (f64::from(1.0 - abar(g)) / NoiseLevel::new(g).noise() - 1.0).abs());
    assert_close(noise.fold(0.0, f64::max), 0.03, TOLERANCE);
    let steps = gammas.windows(2).map(|g| {
        let exact = NoiseLevel::new(g[1]).noise() * -(g[0] - g[1]).exp_m1();
        (f64::from(1.0 - abar(g[1]) / abar(g[0])) / exact - 1.0).abs()
    });
    let steps: Vec<f64> = steps.collect();
    assert_close(steps[0], 0.26, TOLERANCE);
    assert_close(steps.iter().copied().fold(0.0, f64::max), 0.44, TOLERANCE);
}

/// The bounds after equal short training with five recorded seeds: that of the cosine
/// schedule is higher by two to three hundredths in each; those of linear and learned
/// differ by less than two standard errors.
#[test]
fn short_training_with_every_seed() {
    const STANDARD_ERRORS: f64 = 2.0;
    let rows = rows("ch06_training");
    assert_eq!(rows.len(), 5);
    for row in rows {
        let [linear, cosine, learned] = [row[1], row[2], row[3]];
        assert!((0.017..0.035).contains(&(cosine - linear.max(learned))), "{row:?}");
        assert!((linear - learned).abs() < STANDARD_ERRORS * 0.005 * f64::sqrt(2.0));
    }
}

/// The three bounds and the variances of one draw with five recorded seeds: the bounds
/// within three standard errors of the cosine's, which is the largest, and the variance of
/// the learned schedule a quarter of the linear one's and a twentieth of the cosine's.
#[test]
fn schedules_with_every_seed() {
    const STANDARD_ERRORS: f64 = 3.0;
    let rows = rows("ch06");
    assert_eq!(rows.len(), 5);
    for row in rows {
        let bounds = &row[1..4];
        let apart = bounds.iter().fold(f64::MIN, |a, b| a.max(*b))
            - bounds.iter().fold(f64::MAX, |a, b| a.min(*b));
        assert!(apart < STANDARD_ERRORS * 0.0088, "{row:?}");
        assert_close(row[6] / row[4], 0.27, 0.03);
        assert_close(row[6] / row[5], 0.05, 0.006);
    }
}
