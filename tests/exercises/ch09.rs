//! Chapter 9.

use elbo_to_diffusion::oracle::{Rule, log_sum_exp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

// ANCHOR: label_entropy
/// H(y) in bits.
fn entropy(shares: &[f64]) -> f64 {
    shares.iter().map(|p| -p * p.log2()).sum()
}

#[test]
fn a_label_is_worth_its_entropy() {
    let even = entropy(&[0.1; 10]);
    assert!((even - 10.0_f64.log2()).abs() < 1e-12);
    assert!((even / 784.0 - 0.00424).abs() < 1e-5);
    let uneven: Vec<f64> = [0.5].into_iter().chain([0.5 / 9.0; 9]).collect();
    assert!((entropy(&uneven) - (0.5 + 0.5 * 18.0_f64.log2())).abs() < 1e-12);
    assert!((entropy(&uneven) - 2.58).abs() < 0.01);
}
// ANCHOR_END: label_entropy

// ANCHOR: conventions
/// From the estimate without a label towards the one with it, and beyond.
fn guide(without: f64, given: f64, w: f64) -> f64 {
    without + w * (given - without)
}

#[test]
fn every_output_may_be_guided_and_one_is_added_to_the_other_w() {
    let rng = &mut ChaCha8Rng::seed_from_u64(9);
    for _ in 0..100 {
        let abar: f64 = rng.random_range(0.01..0.99);
        let (signal, noise) = (abar.sqrt(), (1.0 - abar).sqrt());
        let [z, x, x_y, w]: [f64; 4] = std::array::from_fn(|_| StandardNormal.sample(rng));
        let eps = |x: f64| (z - signal * x) / noise;
        let v = |x: f64| signal * eps(x) - noise * x;
        let score = |x: f64| -eps(x) / noise;
        let guided = guide(x, x_y, w);
        for output in [&eps as &dyn Fn(f64) -> f64, &v, &score] {
            let apart = guide(output(x), output(x_y), w) - output(guided);
            assert!(apart.abs() < 1e-9 * (1.0 + output(guided).abs()));
        }
        // The other convention: (1 + w') with the label, -w' without.
        let other = (1.0 + (w - 1.0)) * eps(x_y) - (w - 1.0) * eps(x);
        assert!((other - eps(guided)).abs() < 1e-9 * (1.0 + other.abs()));
    }
}
// ANCHOR_END: conventions

// ANCHOR: summed_out
/// -log of the mean of e^(-L) over the labels.
fn summed_out(bounds: &[f64]) -> f64 {
    let logits: Vec<f64> = bounds.iter().map(|bound| -bound).collect();
    (bounds.len() as f64).ln() - log_sum_exp(&logits)
}

#[test]
fn not_knowing_the_label_costs_between_nothing_and_the_label() {
    let rng = &mut ChaCha8Rng::seed_from_u64(10);
    for spread in [0.1, 1.0, 10.0] {
        let bounds: Vec<f64> =
            (0..10).map(|_| 80.0 + spread * rng.random::<f64>()).collect();
        let least = bounds.iter().copied().fold(f64::INFINITY, f64::min);
        let cost = summed_out(&bounds) - least;
        assert!((0.0..=10.0_f64.ln()).contains(&cost));
    }
    assert!((summed_out(&[80.0; 10]) - 80.0).abs() < 1e-12);
    let sure: Vec<f64> = [80.0].into_iter().chain([200.0; 9]).collect();
    assert!((summed_out(&sure) - (80.0 + 10.0_f64.ln())).abs() < 1e-12);
}
// ANCHOR_END: summed_out

// ANCHOR: common_noise
/// The variance of the difference of the two squared errors, with one noise for both and
/// with one for each: by quadrature, and by the formulas.
fn variances(x: f64) -> [[f64; 2]; 2] {
    let (means, c2, abar) = ([1.0, -1.0], 0.25, 0.4_f64);
    let k = abar.sqrt() * c2 / (abar * c2 + 1.0 - abar);
    let error = |m: f64, eps: f64| {
        let z = abar.sqrt() * x + (1.0 - abar).sqrt() * eps;
        (x - (m + k * (z - abar.sqrt() * m))).powi(2)
    };
    let normal = Rule::gauss_hermite(40);
    let apart = |a: f64, b: f64| error(means[0], a) - error(means[1], b);
    let variance = |mean: f64, square: f64| square - mean * mean;
    let quadrature = [
        variance(
            normal.integrate(|eps| apart(eps, eps)),
            normal.integrate(|eps| apart(eps, eps).powi(2)),
        ),
        variance(
            normal.integrate_2d(apart),
            normal.integrate_2d(|a, b| apart(a, b).powi(2)),
        ),
    ];
    let [a1, a2] = means.map(|m| (x - m) * (1.0 - k * abar.sqrt()));
    let b2 = k * k * (1.0 - abar);
    [quadrature, [4.0 * b2 * (a1 - a2).powi(2), 4.0 * b2 * (a1 * a1 + a2 * a2 + b2)]]
}

#[test]
fn common_noise_helps_where_the_two_errors_are_alike() {
    for x in [-2.0, -0.3, 0.0, 0.9, 1.4, 3.0] {
        let [found, formula] = variances(x);
        for (found, formula) in found.into_iter().zip(formula) {
            assert!((found - formula).abs() < 1e-10 * formula.max(1.0));
        }
    }
    let helps = |x: f64| variances(x)[1][0] < variances(x)[1][1];
    assert!(helps(1.4) && helps(-2.0) && !helps(0.0));
}
// ANCHOR_END: common_noise

// ANCHOR: gaussian_flow
/// The variance that the guided flow leaves, for data from N(0, 1) and the class N(1, 1/4).
fn flow_variance(w: f64) -> f64 {
    let (start, end, steps) = (14.0_f64, -16.0, 60_000);
    let h = (end - start) / f64::from(steps);
    let mut u = [0.0, (1.0 + start.exp()).sqrt()];
    for step in 0..steps {
        let noise = (start + h * f64::from(step)).exp();
        let slope = |u: f64| {
            let (all, class) = (-u / (1.0 + noise), (1.0 - u) / (0.25 + noise));
            -0.5 * noise * (all + w * (class - all))
        };
        u = u.map(|u| u + h * slope(u));
    }
    (u[1] - u[0]).powi(2)
}

#[test]
fn guidance_takes_a_geometric_mean_and_tilting_a_harmonic_one() {
    let r: f64 = 4.0;
    for w in [0.0, 0.5, 1.0, 2.0, 3.0] {
        let (guided, tilted) = (r.powf(-w), 1.0 / (1.0 + w * (r - 1.0)));
        assert!((flow_variance(w) / guided - 1.0).abs() < 1e-2);
        assert!((guided < tilted) == (w > 1.0) || w == 0.0 || w == 1.0);
    }
}
// ANCHOR_END: gaussian_flow

// ANCHOR: stochastic
/// The variance that the stochastic sampler leaves, for data from N(0, 1) and a class of
/// variance 1/4: the integral of F over S, which runs over e^g.
fn stochastic_variance(w: f64) -> f64 {
    let (s2, c2) = (1.0_f64, 0.25_f64);
    let factor = |noise: f64| {
        let (all, class) = (s2 / (s2 + noise), c2 / (c2 + noise));
        (2.0 * (1.0 - w) * all.ln() + 2.0 * w * class.ln()).exp()
    };
    Rule::gauss_legendre(400, -30.0, 25.0).integrate(|g| factor(g.exp()) * g.exp())
}

#[test]
fn the_stochastic_sampler_draws_from_a_third_law() {
    assert!((stochastic_variance(0.0) - 1.0).abs() < 1e-6);
    assert!((stochastic_variance(1.0) - 0.25).abs() < 1e-6);
    let (flow, tilted) = (4.0_f64.powi(-3), 1.0 / 10.0);
    let found = stochastic_variance(3.0);
    assert!(1.5 * flow < found && found < tilted / 1.5, "{flow} {found} {tilted}");
}
// ANCHOR_END: stochastic
