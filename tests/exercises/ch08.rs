//! Chapter 8.

use elbo_to_diffusion::{
    flow::{Solver, solvers::descending, velocity},
    oracle::{Matrix, ScalarMixture},
    vdm::{Cosine, Linear, Schedule, signal_power},
};

const LINEAR: Linear = Linear { gamma_min: -8.0, gamma_max: 5.0 };
const COSINE: Cosine = Cosine { gamma_min: -8.0, gamma_max: 5.0 };

// ANCHOR: still
/// The ideal x_hat of data from N(0, 1).
fn x_hat(z: f64, gamma: f64) -> f64 {
    signal_power(gamma).sqrt() * z
}

/// By how much n steps of DDIM shrink every z, with the levels of a schedule.
fn shrinks(schedule: &impl Schedule, n: usize) -> f64 {
    Solver::Ddim.solve(&descending(schedule, n), 1.0, x_hat)
}

#[test]
fn ddim_shrinks_what_the_flow_leaves_alone() {
    assert!(velocity(0.7, x_hat(0.7, -1.0), -1.0).abs() < 1e-16);
    // The angle whose tangent is rho, at both ends.
    let angle = |gamma: f64| (0.5 * gamma).exp().atan();
    let way = angle(5.0) - angle(-8.0);
    for n in [5, 10, 100] {
        let cosine = (way / n as f64).cos().powi(n as i32);
        assert!((shrinks(&COSINE, n) - cosine).abs() < 1e-12);
    }
    // To first order, 1 - way^2 / (2 n).
    let missing = 1.0 - shrinks(&COSINE, 10_000);
    assert!((missing / (way * way / 20_000.0) - 1.0).abs() < 1e-3);
}
// ANCHOR_END: still

// ANCHOR: spacing
#[test]
fn equal_angles_shrink_least() {
    for n in [5, 10, 20, 50] {
        assert!(shrinks(&COSINE, n) > shrinks(&LINEAR, n));
        // Any other levels: the angles of the cosine schedule at other times.
        for power in [0.7, 1.5] {
            let time = |i: usize| (i as f64 / n as f64).powf(power);
            let other: Vec<f64> = (0..=n).rev().map(|i| COSINE.gamma(time(i))).collect();
            assert!(shrinks(&COSINE, n) > Solver::Ddim.solve(&other, 1.0, x_hat));
        }
    }
}
// ANCHOR_END: spacing

// ANCHOR: third_order
/// y' = -y^2 with y(0) = 1: y = 1 / (1 + t).
fn f(y: f64) -> f64 {
    -y * y
}

/// y(1) in n steps by the method of Adams and Bashforth of order 3, from y at the first
/// three times.
fn adams(n: usize, start: [f64; 3]) -> f64 {
    let h = 1.0 / n as f64;
    let ([mut a, mut b], mut y) = ([f(start[0]), f(start[1])], start[2]);
    for _ in 2..n {
        let c = f(y);
        y += h / 12.0 * (23.0 * c - 16.0 * b + 5.0 * a);
        (a, b) = (b, c);
    }
    y
}

/// The first three values, the second by Euler's step, the third by a step of order 2.
fn by_euler(h: f64) -> [f64; 3] {
    let first = 1.0 + h * f(1.0);
    [1.0, first, first + h * (1.5 * f(first) - 0.5 * f(1.0))]
}

#[test]
fn one_step_of_euler_spoils_a_method_of_order_three() {
    let order = |start: fn(f64) -> [f64; 3]| {
        let error = |n: usize| (adams(n, start(1.0 / n as f64)) - 0.5).abs();
        (error(1000) / error(2000)).log2()
    };
    assert!((order(by_euler) - 2.0).abs() < 0.1);
    assert!((order(|h| [1.0, 1.0 / (1.0 + h), 1.0 / (1.0 + 2.0 * h)]) - 3.0).abs() < 0.1);
}
// ANCHOR_END: third_order

// ANCHOR: signs
/// The sum of the squares of the symmetric part, with or without its diagonal, twice.
fn variance(a: &Matrix, diagonal: bool) -> f64 {
    let s = 0.5 * (a + a.transpose());
    let all = s.iter().map(|entry| entry * entry).sum::<f64>();
    let on = s.diagonal().iter().map(|entry| entry * entry).sum::<f64>();
    2.0 * if diagonal { all } else { all - on }
}

#[test]
fn signs_never_lose_and_win_all_on_a_diagonal() {
    let diagonal = Matrix::from_fn(64, 64, |i, j| if i == j { 0.5 } else { 0.0 });
    assert_eq!(variance(&diagonal, false), 0.0);
    assert_eq!(variance(&diagonal, true), 2.0 * 64.0 * 0.25);
    // With nothing on the diagonal there is no difference.
    let hollow = Matrix::from_fn(64, 64, |i, j| if i == j { 0.0 } else { 0.5 });
    assert_eq!(variance(&hollow, false), variance(&hollow, true));
    // Antisymmetric matrices are seen by neither.
    let turn = Matrix::from_fn(64, 64, |i, j| i as f64 - j as f64);
    assert_eq!(variance(&turn, true), 0.0);
}
// ANCHOR_END: signs

// ANCHOR: spikes
/// log2 of a density of bumps of deviation `width` at the 17 grey levels, at one of them.
fn bits_of_the_density(width: f64) -> f64 {
    let values: Vec<f64> =
        (0..17).map(|k| 2.0 * (f64::from(k) + 0.5) / 17.0 - 1.0).collect();
    let (weights, variances) = ([1.0 / 17.0; 17], [width * width; 17]);
    let density = ScalarMixture::new(&weights, &values, &variances).expect("a mixture");
    -density.log_prob(values[3]) / 2.0_f64.ln()
}

#[test]
fn a_density_gives_any_number_of_bits() {
    // Each halving of the bumps gains one bit, without end; the levels cost log2 17 = 4.09
    // all along.
    for width in [1e-2, 1e-4, 1e-8] {
        let gain = bits_of_the_density(width) - bits_of_the_density(0.5 * width);
        assert!((gain - 1.0).abs() < 1e-6, "{gain}");
    }
    assert!(bits_of_the_density(0.01) < 0.0 && bits_of_the_density(1e-8) < -20.0);
}
// ANCHOR_END: spikes
