//! Three bumps on the line, where everything is known exactly.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    error::Result,
    figure::{Axis, Series, Style},
    flow::{Point, eta_sampler, solvers::descending, transport},
    oracle::{NoiseLevel, ScalarMixture},
    random::{Stream, rng},
    vdm::{Linear, Schedule},
};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::picture::map;

/// Paths of the reverse SDE.
const PATHS: u64 = 10_000;
/// Shares of q(z_1) whose quantiles are carried down.
const SHARES: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];

pub const SCHEDULE: Linear = Linear { gamma_min: -8.0, gamma_max: 5.0 };

/// The data.
pub fn line() -> Result<ScalarMixture> {
    Ok(ScalarMixture::new(&[0.3, 0.5, 0.2], &[-1.2, 0.1, 1.3], &[0.05, 0.02, 0.08])?)
}

/// The z below which a share p of this law lies, by bisection.
pub fn quantile(law: &ScalarMixture, p: f64) -> f64 {
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if law.cdf(middle) < p { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// Where the flow carries z along these noise levels, and the log volume.
fn carry(data: &ScalarMixture, gammas: &[f64], z: f64) -> Point<f64, f64> {
    let denoise = |&z: &f64, gamma| {
        Ok::<_, std::convert::Infallible>(data.denoise(z, NoiseLevel::new(gamma)))
    };
    match transport(gammas, z, 0.0, 1, denoise) {
        Ok(point) => point,
        Err(never) => match never {},
    }
}

/// A path of the reverse SDE along these noise levels, in small ancestral steps with the
/// exact denoiser.
fn wander(data: &ScalarMixture, gammas: &[f64], z: f64, draws: &mut ChaCha8Rng) -> f64 {
    let denoise = |z, gamma| data.denoise(z, NoiseLevel::new(gamma)).0;
    eta_sampler(1.0, gammas, z, denoise, || StandardNormal.sample(draws))
}

/// Quantiles of q(z_1) carried down by the flow, and paths of the reverse SDE from draws of
/// q(z_1): how much of q(z_0) lies below where they arrive.
pub fn marginals(chapter: &mut Chapter, data: &ScalarMixture) -> Result<()> {
    let [start, end] = [5.0, -8.0].map(|gamma| data.marginal(NoiseLevel::new(gamma)));
    let down = descending(&SCHEDULE, 500);
    let seed = chapter.seed();
    let arrived: Vec<f64> = (0..PATHS)
        .into_par_iter()
        .map(|path| {
            let draws = &mut rng(seed, Stream::Exact, path);
            wander(data, &down, start.sample(draws), draws)
        })
        .collect();
    let row = |p: f64| {
        let z = quantile(&start, p);
        let there = carry(data, &down, z).z;
        let below = arrived.iter().filter(|z| **z < there).count() as f64 / PATHS as f64;
        let numbers = vec![
            Number::exact(z, 4),
            Number::exact(there, 4),
            Number::exact(end.cdf(there), 6),
            Number::within(below, 0.001, 4),
        ];
        (format!("{p}"), numbers)
    };
    let rows: Vec<_> = SHARES.into_iter().map(row).collect();
    let report = &mut chapter.report;
    report.section("One flow, one law");
    let header =
        ["share below", "z_1", "z_0 by the flow", "share below z_0", "of SDE paths"];
    report.table(&header, &rows);
    // A share p of n paths has the deviation sqrt(p (1 - p) / n), at most this.
    let error = 0.5 / (PATHS as f64).sqrt();
    report.row("error of the last column, at most", &Number::exact(error, 4), "");
    draw(chapter, data, &start)
}

/// The density at all noise levels, the flow from some quantiles, and paths of the SDE from
/// three of them.
fn draw(chapter: &Chapter, data: &ScalarMixture, start: &ScalarMixture) -> Result<()> {
    let down = descending(&SCHEDULE, 130);
    let series =
        |name: &str, points: Vec<(f64, f64)>, style| Series::new(name, style, points);
    let mut paths = Vec::new();
    for i in 1..10 {
        let mut z = quantile(start, f64::from(i) / 10.0);
        let mut points = vec![(down[0], z)];
        for pair in down.windows(2) {
            z = carry(data, pair, z).z;
            points.push((pair[1], z));
        }
        paths.push(series("", points, Style::Reference));
    }
    for (i, p) in [0.2, 0.8].into_iter().enumerate() {
        let draws = &mut rng(chapter.seed(), Stream::Exact, PATHS + i as u64);
        let mut z = quantile(start, p);
        let mut points = vec![(down[0], z)];
        for pair in down.windows(2) {
            z = wander(data, pair, z, draws);
            points.push((pair[1], z));
        }
        paths.push(series("", points, Style::Line));
    }
    let density = |gamma: f64, z: f64| {
        (data.marginal(NoiseLevel::new(gamma)).log_prob(z).exp() / 1.4).sqrt()
    };
    let x = Axis::linear("gamma: data on the left, noise on the right").range(-8.0, 5.0);
    let y = Axis::linear("z").range(-2.8, 2.8);
    chapter.figure("paths", &map(x, y, paths, density)?)
}

/// The error of log p(z_0) by the flow, with the right law at the end and with N(0, 1).
pub fn likelihood(chapter: &mut Chapter, data: &ScalarMixture) -> Result<()> {
    let (low, high) = (NoiseLevel::new(-8.0), NoiseLevel::new(12.0));
    let [law, right] = [low, high].map(|level| data.marginal(level));
    let standard = ScalarMixture::new(&[1.0], &[0.0], &[1.0])?;
    let schedule = Linear { gamma_min: low.gamma, gamma_max: high.gamma };
    let error = |steps: usize, base: &ScalarMixture| {
        let gammas = schedule.grid(steps + 1);
        let at = |i: i32| {
            let z = 0.25 * f64::from(i);
            let end = carry(data, &gammas, z);
            (base.log_prob(end.z) + end.log_volume - law.log_prob(z)).abs()
        };
        (-8..=8).map(at).fold(0.0, f64::max)
    };
    let row = |steps: usize| {
        let numbers =
            [&right, &standard].map(|base| Number::scientific(error(steps, base), 1));
        (steps.to_string(), numbers.to_vec())
    };
    let rows: Vec<_> = [50, 100, 200, 400, 800].into_iter().map(row).collect();
    chapter.report.section("The likelihood on the line");
    chapter.report.table(&["steps", "error with q(z_1)", "error with N(0, 1)"], &rows);
    Ok(())
}
