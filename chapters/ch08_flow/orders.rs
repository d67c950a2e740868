//! How fast each solver's error falls with its steps.

use std::ops::Range;

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    error::Result,
    figure::{Axis, Plot, Series, Style},
    flow::{Solver, solvers::descending},
    oracle::{NoiseLevel, ScalarMixture},
};

use crate::line::{SCHEDULE, quantile};

/// Steps, each twice the one before.
const STEPS: [usize; 8] = [10, 20, 40, 80, 160, 320, 640, 1280];

pub fn orders(chapter: &mut Chapter, data: &ScalarMixture) -> Result<()> {
    // ANCHOR: orders
    let [start, end] = [5.0, -8.0].map(|gamma| data.marginal(NoiseLevel::new(gamma)));
    // The flow carries the quantiles of one law to those of the other, exactly.
    let shares = (0..20).map(|i| (f64::from(i) + 0.5) / 20.0);
    let pairs: Vec<[f64; 2]> =
        shares.map(|p| [&start, &end].map(|law| quantile(law, p))).collect();
    let error = |solver: Solver, steps: usize| {
        let gammas = descending(&SCHEDULE, steps);
        let denoise = |z, gamma| data.denoise(z, NoiseLevel::new(gamma)).0;
        let square =
            |[z, exact]: &[f64; 2]| (solver.solve(&gammas, *z, denoise) - exact).powi(2);
        (pairs.iter().map(square).sum::<f64>() / pairs.len() as f64).sqrt()
    };
    // ANCHOR_END: orders
    let errors = Solver::ALL.map(|solver| STEPS.map(|steps| error(solver, steps)));
    let rows = STEPS.iter().enumerate().map(|(i, steps)| {
        let row = errors.iter().map(|of| Number::scientific(of[i], 1)).collect();
        (steps.to_string(), row)
    });
    let rows: Vec<_> = rows.collect();
    let report = &mut chapter.report;
    report.section("Orders of convergence");
    let names = Solver::ALL.map(Solver::name);
    report.table(&[&["steps"], &names[..]].concat(), &rows);
    let slopes = Solver::ALL.iter().zip(&errors).map(|(solver, errors)| {
        let fit = |range: Range<usize>| {
            let (slope, error) = slope(&STEPS[range.clone()], &errors[range]);
            [Number::exact(slope, 3), Number::exact(error, 3)]
        };
        (solver.name().to_string(), [fit(0..3), fit(4..8)].concat())
    });
    let slopes: Vec<_> = slopes.collect();
    report.section("Measured orders");
    let header = ["slope", "10 to 40 steps", "error", "160 to 1280 steps", "error of this"];
    report.table(&header, &slopes);
    let curves = Solver::ALL.iter().zip(&errors).map(|(solver, errors)| {
        let points = STEPS.iter().zip(errors).map(|(n, error)| (*n as f64, *error));
        Series::new(solver.name(), Style::LineAndDots, points)
    });
    let plot = Plot {
        x: Axis::log("steps"),
        y: Axis::log("error of z_0"),
        series: curves.collect(),
    };
    chapter.figure("orders", &plot.draw()?)
}

/// The slope of -log error against log steps by least squares, and its standard error.
fn slope(steps: &[usize], errors: &[f64]) -> (f64, f64) {
    let points: Vec<(f64, f64)> =
        steps.iter().zip(errors).map(|(n, e)| ((*n as f64).ln(), -e.ln())).collect();
    let n = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n));
    let square: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    let slope = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>() / square;
    let rest: f64 = points.iter().map(|p| (p.1 - y - slope * (p.0 - x)).powi(2)).sum();
    (slope, (rest / (n - 2.0) / square).sqrt())
}
