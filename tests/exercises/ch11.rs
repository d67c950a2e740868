//! Chapter 11.

use elbo_to_diffusion::oracle::{Error, NoiseLevel, Rule};

// ANCHOR: two_velocities
/// v from z and u at this noise level.
fn v_from_u(z: f64, u: f64, level: NoiseLevel) -> f64 {
    let (signal, noise) = (level.abar().sqrt(), level.noise().sqrt());
    let x = (z - noise * u) / (signal + noise);
    let eps = x + u;
    signal * eps - noise * x
}

#[test]
fn one_velocity_is_read_as_the_other() {
    for gamma in [-6.0, -1.0, 0.0, 4.0] {
        let level = NoiseLevel::new(gamma);
        let (x, eps) = (0.4, -1.1);
        let v = level.abar().sqrt() * eps - level.noise().sqrt() * x;
        let found = v_from_u(level.noised(x, eps), eps - x, level);
        assert!((found - v).abs() < 1e-12);
    }
}
// ANCHOR_END: two_velocities

// ANCHOR: logit_normal
/// The weight over that of the bound if t is drawn as sigmoid(n), n ~ N(0, 1).
fn logit_normal(gamma: f64) -> f64 {
    let n = 0.5 * gamma;
    let density_of_n = (-0.5 * n * n).exp() / std::f64::consts::TAU.sqrt();
    let t = 1.0 / (1.0 + (-n).exp());
    // The density of t is that of n divided by dt/dn = t (1 - t).
    (0.5 * gamma).exp() * density_of_n / (t * (1.0 - t))
}

#[test]
fn drawing_t_unevenly_is_one_more_weight() {
    // Some error of x that depends on the noise level.
    let error = |gamma: f64| 1.0 / (1.0 + (-gamma).exp());
    let drawn = Rule::gauss_hermite(80).integrate(|n| {
        let t = 1.0 / (1.0 + (-n).exp());
        error(2.0 * n) / (t * t)
    });
    let weighed = Rule::gauss_legendre(200, -24.0, 24.0)
        .integrate(|gamma| logit_normal(gamma) * 0.5 * (-gamma).exp() * error(gamma));
    assert!((drawn / weighed - 1.0).abs() < 1e-9, "{drawn} {weighed}");
    // It leaves out both ends: the least noise, and the most.
    let [low, middle, high] = [-16.0, 1.0, 16.0].map(logit_normal);
    assert!(low < 1e-3 * middle && high < middle, "{low} {middle} {high}");
}
// ANCHOR_END: logit_normal

// ANCHOR: normal_data
/// The three entries of the account for x ~ N(0, s^2), by quadrature over t: the cost of
/// the flow's ends, the bend, and the least loss.
fn account(s: f64) -> [f64; 3] {
    let scale = |t: f64| ((1.0 - t).powi(2) * s * s + t * t).sqrt();
    // phi_t(eps) = scale(t) eps keeps the law; its slope by t is the velocity.
    let slope = |t: f64| (t - (1.0 - t) * s * s) / scale(t);
    let times = Rule::gauss_legendre(80, 0.0, 1.0);
    let bend = times.integrate(|t| (1.0 - s - slope(t)).powi(2));
    // Var(eps - x | z) = Var(x | z) / t^2.
    let least = times.integrate(|t| (s / scale(t)).powi(2));
    [(1.0 - s).powi(2), bend, least]
}

#[test]
fn of_normal_data_the_bend_has_a_closed_form() {
    use std::f64::consts::PI;
    for s in [0.3, 1.0, 2.0] {
        let [ends, bend, least] = account(s);
        assert!((bend - (2.0 - PI / 2.0) * s).abs() < 1e-9);
        assert!((least - PI / 2.0 * s).abs() < 1e-9);
        assert!((ends + bend + least - (1.0 + s * s)).abs() < 1e-9);
    }
}
// ANCHOR_END: normal_data

// ANCHOR: sorted
/// The least sum of squares of pairs on a line: the smallest with the smallest, and so on.
fn nearest_on_a_line(mut x: Vec<f64>, mut eps: Vec<f64>) -> f64 {
    x.sort_by(f64::total_cmp);
    eps.sort_by(f64::total_cmp);
    x.iter().zip(&eps).map(|(x, eps)| (x - eps).powi(2)).sum()
}

#[test]
fn on_a_line_the_nearest_pairs_are_in_order() -> Result<(), Error> {
    // Numbers in no order.
    let scattered =
        |from: f64| (0..40).map(|i| (from + f64::from(i) * 1.7).sin() * 2.0).collect();
    let (x, eps): (Vec<f64>, Vec<f64>) = (scattered(0.3), scattered(11.0));
    let costs: Vec<f64> =
        x.iter().flat_map(|x| eps.iter().map(move |eps| (x - eps).powi(2))).collect();
    let (rows, partners) = lsap::solve(40, 40, &costs, false).expect("finite costs");
    let least: f64 = rows.iter().zip(partners).map(|(i, j)| costs[i * 40 + j]).sum();
    assert!((nearest_on_a_line(x, eps) - least).abs() < 1e-12);
    Ok(())
}
// ANCHOR_END: sorted
