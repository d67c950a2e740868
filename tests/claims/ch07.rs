//! Chapter 7: three parameterizations.

use elbo_to_diffusion::oracle::{NoiseLevel, Rule, ScalarMixture, Step};

use crate::{
    recorded,
    support::{Outcome, assert_close, derivative},
};

/// Half of SNR(t-1) - SNR(t) times the ideal denoiser's error at z_t, for four points on
/// the line, summed over equal steps of gamma from -16 to 12, against the entropy of the
/// points: above it, and falling to it as the steps become small.
#[test]
fn what_the_perfect_score_leaves() -> Outcome {
    const TOLERANCE: f64 = 0.02;
    let shares = [0.1, 0.4, 0.3, 0.2_f64];
    let entropy: f64 = -shares.iter().map(|p| p * p.ln()).sum::<f64>();
    let data = ScalarMixture::new(&shares, &[-1.0, -0.2, 0.5, 1.3], &[0.0; 4])?;
    // Between the points the error falls to nothing on a tenth of a deviation: many nodes.
    let rule = Rule::gauss_hermite(200);
    let left = |steps: usize| {
        let gamma = |i: usize| -16.0 + 28.0 * i as f64 / steps as f64;
        let step = |i: usize| Step::new(gamma(i), gamma(i + 1));
        (0..steps).map(|i| step(i).x_weight() * data.mmse(step(i).t, &rule)).sum::<f64>()
    };
    let sums = [20, 100, 500].map(left);
    assert!(
        sums[0] > sums[1] && sums[1] > sums[2] && sums[2] > entropy,
        "{sums:?} {entropy}"
    );
    assert!(sums[0] > entropy + 0.2);
    assert_close(sums[2], entropy, 2.0 * TOLERANCE);
    // The excess is of the order of 1/T.
    assert_close((sums[1] - entropy) / (sums[2] - entropy), 5.0, 0.5);
    Ok(())
}

/// The bounds of the eleven rows with five recorded seeds: in the same order with each, but
/// for v with either loss.
#[test]
fn order_of_the_outputs() {
    const ROWS: usize = 11;
    let rows = recorded::named("ch07");
    assert_eq!(rows.len(), ROWS);
    let of = |name: &str, seed: usize| {
        rows.iter()
            .find(|(row, _)| row == name)
            .map_or(f64::NAN, |(_, bounds)| bounds[seed])
    };
    let order = [
        &["softmax x, bound"][..],
        &["softmax x, simple"],
        &["eps, bound, clipped"],
        &["v, bound", "v, simple"],
        &["eps, bound"],
        &["eps, simple, cosine times"],
        &["score, bound"],
        &["score, simple"],
        &["x, bound"],
        &["x, simple"],
    ];
    for seed in 0..5 {
        for pair in order.windows(2) {
            let worst = pair[0].iter().map(|name| of(name, seed)).fold(f64::MIN, f64::max);
            let best = pair[1].iter().map(|name| of(name, seed)).fold(f64::MAX, f64::min);
            assert!(worst < best, "seed {}: {pair:?}", seed + 1);
        }
    }
}

/// The weight of the plain error of the score relative to that of the noise, 1 / (1 -
/// abar), at the cleanest over the noisiest level: three thousand to one.
#[test]
fn plain_error_of_the_score() {
    const TOLERANCE: f64 = 50.0;
    // |s - s_hat|^2 / |eps - eps_hat|^2 for an error of eps by 1, from s = -eps / sqrt(1 - abar).
    let weight = |gamma: f64| (1.0 / NoiseLevel::new(gamma).noise().sqrt()).powi(2);
    assert_close(weight(-8.0) / weight(5.0), 3000.0, TOLERANCE);
}

/// What an error of 3 % of the distance between two levels at every noise level adds to the
/// bound, from the weights of 1000 steps, in bits for each pixel: some three hundredths.
#[test]
fn accuracy_for_x() {
    const TOLERANCE: f64 = 0.005;
    let error = 0.03 * 2.0 / 17.0;
    let gamma = |i: usize| -8.0 + 13.0 * i as f64 / 1000.0;
    let nats: f64 = (0..1000)
        .map(|i| Step::new(gamma(i), gamma(i + 1)).x_weight() * error * error)
        .sum();
    assert_close(nats / std::f64::consts::LN_2, 0.027, TOLERANCE);
}

/// x_hat from z and an output that is wrong, by the conversions of the table: at gamma = -8
/// an eps or a v that is wrong by 1 moves x_hat by a fiftieth, at gamma = 5 an eps that is
/// wrong by a tenth moves it by more than 1.
#[test]
fn scales_at_the_ends() {
    const TOLERANCE: f64 = 0.002;
    let (x, eps) = (0.4, -0.7);
    let from_eps = |level: NoiseLevel, error: f64| {
        let z = level.noised(x, eps);
        (z - level.noise().sqrt() * (eps + error)) / level.abar().sqrt()
    };
    let from_v = |level: NoiseLevel, error: f64| {
        let z = level.noised(x, eps);
        let v = level.abar().sqrt() * eps - level.noise().sqrt() * x;
        level.abar().sqrt() * z - level.noise().sqrt() * (v + error)
    };
    let (clean, noisy) = (NoiseLevel::new(-8.0), NoiseLevel::new(5.0));
    assert_close(from_eps(clean, 0.0), x, 1e-12);
    assert_close(from_v(noisy, 0.0), x, 1e-12);
    assert_close((from_eps(clean, 1.0) - x).abs(), 0.02, TOLERANCE);
    assert_close((from_v(clean, 1.0) - x).abs(), 0.02, TOLERANCE);
    assert!((from_eps(noisy, 0.1) - x).abs() > 1.0);
    assert!((from_v(noisy, 0.1) - x).abs() <= 0.1);
}

/// E(eta | z) for waiting times, p(z | rate) = rate exp(-rate z) with eta = -rate and a
/// prior on two rates: by Bayes' rule, against the slope of log p(z), for h = 1.
#[test]
fn tweedie_for_waiting_times() {
    const TOLERANCE: f64 = 1e-9;
    let (rates, prior) = ([0.5, 3.0], [0.3, 0.7]);
    let density =
        |z: f64| (0..2).map(|i| prior[i] * rates[i] * f64::exp(-rates[i] * z)).sum::<f64>();
    for z in [0.1, 0.7, 2.0, 5.0] {
        let posterior_mean = (0..2)
            .map(|i| -rates[i] * prior[i] * rates[i] * f64::exp(-rates[i] * z))
            .sum::<f64>()
            / density(z);
        assert_close(posterior_mean, derivative(|z| density(z).ln(), z), TOLERANCE);
    }
}

/// A pixel at abar = 16/25: z, v and s by their definitions, and x again from each; and what
/// becomes of an error of a tenth at a signal-to-noise ratio of a hundredth.
#[test]
fn one_pixel_four_readings() {
    const TOLERANCE: f64 = 1e-12;
    let (a, s) = (0.8_f64, 0.6_f64);
    let (x, eps) = (1.0, -1.0 / 3.0);
    let (z, v, score) = (a * x + s * eps, a * eps - s * x, -eps / s);
    assert_close(z, 3.0 / 5.0, TOLERANCE);
    assert_close(v, -13.0 / 15.0, TOLERANCE);
    assert_close(score, 5.0 / 9.0, TOLERANCE);
    for back in [(z - s * eps) / a, a * z - s * v, (z + s * s * score) / a] {
        assert_close(back, x, TOLERANCE);
    }
    let (a, s) = ((1.0_f64 / 101.0).sqrt(), (100.0_f64 / 101.0).sqrt());
    let read_eps = |eps: f64| (z - s * eps) / a;
    let read_v = |v: f64| a * z - s * v;
    assert_close((read_eps(0.4) - read_eps(0.5)).abs(), 1.0, TOLERANCE);
    let of_v = (read_v(0.4) - read_v(0.5)).abs();
    assert!(0.0995 < of_v && of_v < 0.1, "{of_v}");
}

/// The bounds of `ch07_separate` with three recorded seeds beside those of chapter 7 with the
/// same seeds. With the inputs of the odds, v is worse by more than half a bit, and x better
/// but worse than v. Odds with z as input are within .015 of softmax x, those without
/// frequencies within .04 above it. With nothing built in they are worse than any other.
#[test]
fn what_the_odds_have_more() {
    let (separate, together) = (recorded::named("ch07_separate"), recorded::named("ch07"));
    assert_eq!(separate.len(), 5);
    for seed in 0..3 {
        let of = |rows: &[(String, Vec<f64>)], name: &str| {
            rows.iter().find(|(row, _)| row == name).map_or(f64::NAN, |row| row.1[seed])
        };
        let (x, v, odds) = (
            of(&together, "x, bound"),
            of(&together, "v, bound"),
            of(&together, "softmax x, bound"),
        );
        let (x_told, v_told) = (
            of(&separate, "x, inputs of the odds"),
            of(&separate, "v, inputs of the odds"),
        );
        assert!(
            v_told > v + 0.5 && v_told < x_told && x_told < x - 1.0,
            "{v_told} {x_told}"
        );
        assert!((of(&separate, "odds, z as input") - odds).abs() < 0.015);
        let frequencies = of(&separate, "odds, no frequencies") - odds;
        assert!((0.0..0.04).contains(&frequencies), "{frequencies}");
        assert!(of(&separate, "odds, nothing built in") > 2.0 * x_told);
    }
}
