//! What is exactly equal, on the line: velocities, gradients, losses, and what reflow takes
//! away.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    error::Result,
    oracle::{NoiseLevel, Rule, ScalarMixture},
};

use crate::line::time;

/// Three bumps on the line, those of chapter 8.
pub fn bumps() -> Result<ScalarMixture> {
    Ok(ScalarMixture::new(&[0.3, 0.5, 0.2], &[-1.2, 0.1, 1.3], &[0.05, 0.02, 0.08])?)
}

/// gamma at the place t of a straight line.
pub fn gamma(t: f64) -> f64 {
    2.0 * (t / (1.0 - t)).ln()
}

/// E[x | z] where z = (1 - t) x + t eps: the denoiser of this noise level, told z divided
/// by sqrt((1 - t)^2 + t^2).
fn denoise(data: &ScalarMixture, z: f64, t: f64) -> f64 {
    data.denoise(z / (1.0 - t).hypot(t), NoiseLevel::new(gamma(t))).0
}

// ANCHOR: three_velocities
/// u(z, t) = E[eps - x | z], from each bump as a normal law...
pub fn velocity_at(data: &ScalarMixture, z: f64, t: f64) -> f64 {
    let of_bump = |(w, m, v): (f64, f64, f64)| {
        let variance = (1.0 - t).powi(2) * v + t * t;
        let off = z - (1.0 - t) * m;
        let density = w * (-0.5 * off * off / variance).exp() / variance.sqrt();
        (density, (t - (1.0 - t) * v) / variance * off - m)
    };
    let bumps = data.components().map(of_bump);
    let (total, sum) = bumps.fold((0.0, 0.0), |(p, s), (q, u)| (p + q, s + q * u));
    sum / total
}

/// ... and also from the ideal denoiser, and from the score.
fn velocities(data: &ScalarMixture, z: f64, t: f64) -> [f64; 3] {
    let score = data.affine(1.0 - t, t * t).score(z);
    let x_hat = denoise(data, z, t);
    [velocity_at(data, z, t), (z - x_hat) / t, -(z + t * score) / (1.0 - t)]
}
// ANCHOR_END: three_velocities

pub fn velocity(chapter: &mut Chapter) -> Result<()> {
    let data = bumps()?;
    let times = [0.02, 0.2, 0.5, 0.8, 0.9];
    let mut largest = 0.0_f64;
    for t in times {
        for i in -20..=20 {
            let [a, b, c] = velocities(&data, 0.1 * f64::from(i), t);
            largest = largest.max((a - b).abs()).max((a - c).abs());
        }
    }
    let report = &mut chapter.report;
    report.section("One velocity, three ways");
    report.exact_table(
        &["t, at z = 0.4", "normal laws", "denoiser", "score"],
        6,
        times.map(|t| (t.to_string(), velocities(&data, 0.4, t))),
    );
    report.row("apart, at most", &Number::within(1e10 * largest, 1.0, 2), "x 1e-10");
    report.section("Two weights");
    report.exact_table(
        &["t", "gamma", "of the bound", "of flow matching", "ratio"],
        3,
        times.map(|t| {
            // gamma'(t) SNR / 2 and 1 / t^2.
            let bound = (-gamma(t)).exp() / (t * (1.0 - t));
            let ours = t.powi(-2);
            (t.to_string(), [gamma(t), bound, ours, ours / bound])
        }),
    );
    Ok(())
}

/// The velocity a + b z + c t with these coefficients, which is wrong.
const WRONG: [f64; 3] = [0.2, 0.5, -0.3];

/// Value and gradient of E|u_hat - target|^2, from that mean's integrand at one z and t.
fn add(sums: &mut [f64; 4], weight: f64, z: f64, t: f64, target: f64) {
    let inputs = [1.0, z, t];
    let error: f64 = WRONG.iter().zip(inputs).map(|(a, b)| a * b).sum::<f64>() - target;
    sums[0] += weight * error * error;
    for (sum, input) in sums[1..].iter_mut().zip(inputs) {
        *sum += weight * 2.0 * error * input;
    }
}

// ANCHOR: two_objectives
/// The regression on eps - x over all lines, and that on u over all points, each with its
/// gradient.
fn objectives(data: &ScalarMixture) -> [[f64; 4]; 2] {
    let (mut lines, mut points) = ([0.0; 4], [0.0; 4]);
    let (times, normal) = (Rule::gauss_legendre(40, 0.0, 1.0), Rule::gauss_hermite(8));
    for (t, dt) in times.points() {
        for (w, m, v) in data.components() {
            for (a, p) in normal.points() {
                for (eps, q) in normal.points() {
                    let x = m + v.sqrt() * a;
                    let z = (1.0 - t) * x + t * eps;
                    add(&mut lines, dt * w * p * q, z, t, eps - x);
                }
            }
        }
        let (law, step) = (data.affine(1.0 - t, t * t), 0.01);
        for i in -1000..=1000 {
            let z = step * f64::from(i);
            let weight = dt * step * law.log_prob(z).exp();
            add(&mut points, weight, z, t, velocities(data, z, t)[2]);
        }
    }
    [lines, points]
}
// ANCHOR_END: two_objectives

pub fn gradients(chapter: &mut Chapter) -> Result<()> {
    let [lines, points] = objectives(&bumps()?);
    let report = &mut chapter.report;
    report.section("Two objectives, one gradient");
    let names = ["regression on", "value", "slope in a", "slope in b", "slope in c"];
    report.exact_table(
        &names,
        6,
        [("lines, eps - x".to_string(), lines), ("points, u".to_string(), points)],
    );
    let apart = (1..4).map(|i| (lines[i] - points[i]).abs()).fold(0.0, f64::max);
    report.row("slopes apart, at most", &Number::within(1e10 * apart, 1.0, 2), "x 1e-10");
    Ok(())
}

/// The flow matching loss of the denoiser tanh z between two noise levels, over lines and
/// t; and the loss of the bound of the same denoiser over points and gamma, with the factor
/// e^(gamma / 2) in the integral.
fn losses(data: &ScalarMixture, [low, high]: [f64; 2]) -> [f64; 2] {
    let normal = Rule::gauss_hermite(60);
    let times = Rule::gauss_legendre(80, time(low), time(high));
    let ours = times.integrate(|t| {
        data.components()
            .map(|(w, m, v)| {
                w * normal.integrate_2d(|a, eps| {
                    let x = m + v.sqrt() * a;
                    let z = (1.0 - t) * x + t * eps;
                    (eps - x - (z - z.tanh()) / t).powi(2)
                })
            })
            .sum()
    });
    let bound = Rule::gauss_legendre(120, low, high).integrate(|gamma| {
        let (t, level, step) = (time(gamma), NoiseLevel::new(gamma), 0.005);
        let law = data.marginal(level);
        let square: f64 = (-1500..=1500)
            .map(|i| {
                let z = step * f64::from(i);
                let known = data.posterior(z, level);
                let x_hat = (z * (1.0 - t).hypot(t)).tanh();
                let error = known.variance() + (known.mean() - x_hat).powi(2);
                step * law.log_prob(z).exp() * error
            })
            .sum();
        (0.5 * gamma).exp() * 0.5 * level.snr() * square
    });
    [ours, bound]
}

pub fn losses_of_one_denoiser(chapter: &mut Chapter) -> Result<()> {
    let [ours, bound] = losses(&bumps()?, [-8.0, 5.0]);
    let report = &mut chapter.report;
    report.section("One loss with another weight");
    report.row("flow matching, over t", &Number::exact(ours, 6), "");
    report.row("the bound times e^(gamma/2)", &Number::exact(bound, 6), "");
    let apart = (ours - bound).abs();
    report.row("apart", &Number::within(1e10 * apart, 5.0, 2), "x 1e-10");
    Ok(())
}
