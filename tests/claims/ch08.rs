//! Chapter 8.

use elbo_to_diffusion::{
    flow::{EtaStep, Solver, solvers::descending},
    oracle::{Error, NoiseLevel, ScalarMixture},
    vdm::Linear,
};

use crate::recorded::{block, line, numbers_in};
use crate::support::{Outcome, assert_close};

/// What longer runs printed.
const RECORD: &str = include_str!("../../benches/recorded/flow.txt");

/// Three bumps on the line.
fn bumps() -> Result<ScalarMixture, Error> {
    ScalarMixture::new(&[0.3, 0.5, 0.2], &[-1.2, 0.1, 1.3], &[0.05, 0.02, 0.08])
}

/// The place below which a share p of a law lies, by bisection.
fn quantile(law: &ScalarMixture, p: f64) -> f64 {
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if law.cdf(middle) < p { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// z at the least noise after this many steps from the p-quantile at gamma = 5, and where
/// the flow goes: to the p-quantile.
fn end(solver: Solver, p: f64, gamma_min: f64, steps: usize) -> Result<[f64; 2], Error> {
    let data = bumps()?;
    let [start, end] =
        [5.0, gamma_min].map(|gamma| quantile(&data.marginal(NoiseLevel::new(gamma)), p));
    let gammas = descending(&Linear { gamma_min, gamma_max: 5.0 }, steps);
    let denoise = |z, gamma| data.denoise(z, NoiseLevel::new(gamma)).0;
    Ok([solver.solve(&gammas, start, denoise), end])
}

/// For data from N(0, 0.3) the step is linear, and the variance after n steps is a product
/// of numbers. For three eta its error goes to zero with n, and halves when n is doubled;
/// with ten steps it is more than a hundredth of the variance.
#[test]
fn eta_keeps_marginals_as_steps_vanish() -> Outcome {
    const TOLERANCE: f64 = 0.05;
    let variance = |level: NoiseLevel| 0.3 * level.abar() + level.noise();
    let error = |eta: f64, steps: usize| {
        let gammas = descending(&Linear { gamma_min: -8.0, gamma_max: 5.0 }, steps);
        let mut v = variance(NoiseLevel::new(gammas[0]));
        for pair in gammas.windows(2) {
            let (t, step) =
                (NoiseLevel::new(pair[0]), EtaStep::between(pair[1], pair[0], eta));
            // x_hat = k z, eps_hat = (z - sqrt(abar) x_hat) / sqrt(1 - abar).
            let k = 0.3 * t.abar().sqrt() / variance(t);
            let factor =
                step.x * k + step.eps * (1.0 - t.abar().sqrt() * k) / t.noise().sqrt();
            v = factor * factor * v + step.noise * step.noise;
        }
        (v / variance(NoiseLevel::new(-8.0)) - 1.0).abs()
    };
    for eta in [0.0, 0.5, 1.0] {
        assert!(error(eta, 10) > 0.01, "{eta}: {}", error(eta, 10));
        assert_close(error(eta, 800) / error(eta, 1600), 2.0, TOLERANCE);
        assert!(error(eta, 1600) < 0.005, "{eta}: {}", error(eta, 1600));
    }
    Ok(())
}

/// DDIM's error from a point of the watershed between two bumps, where their shares meet,
/// and from a point a little beside it, with 80 and with 160 steps: the first falls by
/// less than the root of two, the second by about two.
#[test]
fn order_on_the_watershed() -> Outcome {
    let ratio = |p: f64| -> Result<f64, Error> {
        let error =
            |steps| end(Solver::Ddim, p, -8.0, steps).map(|[z, exact]| (z - exact).abs());
        Ok(error(80)? / error(160)?)
    };
    let (on, beside) = (ratio(0.3)?, ratio(0.25)?);
    assert!(on < f64::sqrt(2.0), "{on}");
    assert_close(beside, 2.0, 0.15);
    Ok(())
}

/// Down to gamma = -3 by DPM-Solver-2 and then to x_hat, against the quantile of the data
/// itself: the error with 320 and with 1280 steps is the same to a hundredth, and not
/// small, while that of z_0 falls by sixteen.
#[test]
fn a_last_jump_stays() -> Outcome {
    let data = bumps()?;
    let (p, gamma_min) = (0.6, -3.0);
    let exact = quantile(&data, p);
    let errors = |steps| -> Result<[f64; 2], Error> {
        let [z, at_end] = end(Solver::Dpm2, p, gamma_min, steps)?;
        let jumped = data.denoise(z, NoiseLevel::new(gamma_min)).0;
        Ok([(jumped - exact).abs(), (z - at_end).abs()])
    };
    let ([coarse, first], [fine, last]) = (errors(320)?, errors(1280)?);
    assert!(fine > 0.01, "{fine}");
    assert_close(coarse / fine, 1.0, 0.01);
    assert_close(first / last, 16.0, 1.0);
    Ok(())
}

/// A sampler's line of the record: distance, its error, less 200 ancestral steps, the error
/// of that.
fn sampler(name: &str) -> [f64; 4] {
    let numbers = line(RECORD, name);
    numbers.try_into().expect("four numbers")
}

/// The recorded distances: DPM-Solver++(2M) with 20 calls less 200 ancestral steps, within
/// half of its standard error, which is below .05; that of DDIM is above two of them. What real digits have: .19 for training
/// images, .096 as the deviation of random halves with a mean of zero.
#[test]
fn twenty_calls_or_two_hundred() {
    let [distance, _, less, error] = sampler("DPM-Solver++(2M), 20 calls");
    assert!(less.abs() < 0.5 * error && error < 0.05, "{less} {error}");
    let [_, _, less, error] = sampler("DDIM, 20 calls");
    assert!(less > 2.0 * error, "{less} {error}");
    let expected = |words| numbers_in(RECORD, words)[0];
    let training = expected("training against test images");
    assert_close(training, 0.19, 0.005);
    assert!(training < distance && (0.2..0.35).contains(&distance));
    let deviation = expected("their standard deviation");
    assert_close(deviation, 0.096, 0.001);
    let mean = expected("halves of the test images, mean");
    assert!(mean.abs() < 3.0 * deviation / f64::sqrt(200.0));
}

/// The recorded distance of the sampler with a wrong scale of its noise, with as many
/// steps: more than five standard errors of the difference above the right one.
#[test]
fn broken_sampler_is_told_apart() {
    let [_, _, less, error] = sampler("broken, 200 calls");
    assert!(less > 5.0 * error, "{less} {error}");
}

/// The recorded distances by spacing: for each of the five samplers the learned schedule
/// has the largest, and the cosine schedule the smallest.
#[test]
fn spacing_for_samples() {
    let [learned, linear, cosine] =
        ["learned", "linear", "cosine"].map(|name| line(block(RECORD, "spacing"), name));
    assert_eq!(cosine.len(), 5);
    for i in 0..5 {
        assert!(learned[i] > linear[i] && linear[i] > cosine[i], "{i}");
    }
}

/// What the program in Python found, and what the chapter's does: less than three standard
/// errors of their difference apart.
#[test]
fn independent_flow_bound() {
    const STANDARD_ERRORS: f64 = 3.0;
    let [there, here] = ["ch08_flow:", "here:"].map(|name| numbers_in(RECORD, name));
    let error = there[1].hypot(here[1]);
    assert!((there[0] - here[0]).abs() < STANDARD_ERRORS * error, "{there:?} {here:?}");
    assert!(error < 0.003);
}

/// Flow less chain for networks trained with three recorded seeds: below zero by more than
/// five standard errors of noise and test set together, each time.
#[test]
fn flow_below_chain_with_every_seed() {
    let rows = ["0", "1", "2"].map(|seed| line(block(RECORD, "seeds"), seed));
    for row in rows {
        let [flow, chain, less, noise, set] = row[..] else { panic!("{row:?}") };
        assert_close(flow - chain, less, 2e-4);
        assert!(less < -5.0 * noise.hypot(set), "{row:?}");
    }
}
