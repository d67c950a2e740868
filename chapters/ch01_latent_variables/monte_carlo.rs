//! The naive Monte Carlo estimate of p(x) in more and more dimensions, beside its closed
//! form.

use std::f64::consts::TAU;

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    error::Result,
    figure::{Axis, Plot, Series, Style},
    oracle::{Estimate, log_sum_exp},
    random::{Stream, rng},
};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

const DIMENSIONS: [usize; 8] = [1, 2, 4, 8, 12, 16, 32, 64];
const DRAWS: usize = 10_000;
const RUNS: usize = 100;

/// What the estimates came to.
pub struct Naive {
    /// The mean of w^2 with w = p(x|z) / p(x), for one dimension.
    second_moment: f64,
    /// One for each of [`DIMENSIONS`].
    measured: Vec<Measured>,
}

/// The estimates in d dimensions, over all runs.
#[derive(Clone, Default)]
struct Measured {
    d: usize,
    /// log p(x), in nats.
    log_p: f64,
    /// log p_hat - log p.
    log_error: Estimate,
    /// (p_hat / p - 1)^2.
    squared_error: Estimate,
    effective_size: Estimate,
}

// ANCHOR: monte_carlo
/// The variance s2 of the model z ~ N(0, I), x|z ~ N(z, s2 I), hence x ~ N(0, (1 + s2) I).
const S2: f64 = 0.5;
/// The variance of a coordinate of x. Each lies one standard deviation from its mean.
const X2: f64 = 1.0 + S2;

/// log p(x) of one coordinate, in nats.
pub fn log_p() -> f64 {
    log_normal(X2.sqrt(), 0.0, X2)
}

/// Adds log p(x_i|z_i) - log p(x_i) of one coordinate more, for a z_i of each draw.
pub fn add_dimension(log_weights: &mut [f64], noise: &mut impl Rng) {
    for log_weight in log_weights {
        let z: f64 = StandardNormal.sample(noise);
        *log_weight += log_normal(X2.sqrt(), z, S2) - log_p();
    }
}

fn log_normal(x: f64, mean: f64, variance: f64) -> f64 {
    let misfit = (x - mean).powi(2) / variance;
    -0.5 * ((TAU * variance).ln() + misfit)
}

/// The logarithm of the mean weight.
pub fn log_mean(log_weights: &[f64]) -> f64 {
    log_sum_exp(log_weights) - (log_weights.len() as f64).ln()
}

/// The square of the weights' sum over the sum of their squares.
pub fn effective_size(log_weights: &[f64]) -> f64 {
    let twice: Vec<f64> = log_weights.iter().map(|w| 2.0 * w).collect();
    (2.0 * log_sum_exp(log_weights) - log_sum_exp(&twice)).exp()
}

/// Estimates p(x) in every number of dimensions, each time with the same draws and more.
pub fn measure(seed: u64) -> Naive {
    let mut measured = DIMENSIONS.map(|d| Measured {
        d,
        log_p: d as f64 * log_p(),
        ..Measured::default()
    });
    for run in 0..RUNS {
        let noise = &mut rng(seed, Stream::Evaluation, run as u64);
        let mut log_weights = vec![0.0; DRAWS];
        let mut done = 0;
        for at in &mut measured {
            for _ in done..at.d {
                add_dimension(&mut log_weights, noise);
            }
            done = at.d;
            let log_error = log_mean(&log_weights);
            at.log_error.push(log_error);
            at.squared_error.push((log_error.exp() - 1.0).powi(2));
            at.effective_size.push(effective_size(&log_weights));
        }
    }
    let second_moment = X2 / (S2 * (1.0 + X2)).sqrt() * (1.0 / (1.0 + X2)).exp();
    Naive { second_moment, measured: measured.into() }
}

impl Naive {
    /// The mean of w^2 in d dimensions: each multiplies it by the same factor.
    fn power(&self, d: usize) -> f64 {
        self.second_moment.powi(d as i32)
    }

    /// What the root mean square of p_hat / p - 1 should be.
    fn exact_error(&self, d: usize) -> f64 {
        ((self.power(d) - 1.0) / DRAWS as f64).sqrt()
    }

    /// What the effective sample size should be: the draws times its limiting share.
    fn exact_size(&self, d: usize) -> f64 {
        DRAWS as f64 / self.power(d)
    }
}
// ANCHOR_END: monte_carlo

/// Prints the estimates beside the theory, and draws both.
pub fn report(chapter: &mut Chapter, naive: &Naive) -> Result<()> {
    let report = &mut chapter.report;
    report.section("Naive Monte Carlo");
    report.row("mean of w^2, d = 1", &Number::exact(naive.second_moment, 4), "");
    report.line("");
    let rows = naive.measured.iter().map(|at| {
        let cells = vec![
            Number::exact(at.log_p, 3),
            Number::exact(at.log_p + at.log_error.mean(), 3),
            Number::exact(at.log_error.standard_error(), 3),
            Number::exact(at.squared_error.mean().sqrt(), 3),
            Number::scientific(naive.exact_error(at.d), 1),
        ];
        (at.d.to_string(), cells)
    });
    report.table(
        &["d", "log p(x)", "mean log p_hat", "s.e.", "rms error / p", "theory"],
        &rows.collect::<Vec<_>>(),
    );
    report.section("Effective sample size");
    let rows = naive.measured.iter().map(|at| {
        let cells = vec![
            Number::exact(at.effective_size.mean(), 1),
            Number::scientific(naive.exact_size(at.d), 1),
            Number::scientific(100.0 * (naive.power(at.d) - 1.0), 1),
        ];
        (at.d.to_string(), cells)
    });
    report.table(
        &["d", "measured", "theory", "draws for 10 % error"],
        &rows.collect::<Vec<_>>(),
    );
    report.line("");
    if let Some(last) = naive.measured.last() {
        let too_low = -last.log_error.mean();
        report.row(
            &format!("log p_hat too low at d = {} by", last.d),
            &Number::exact(too_low, 2),
            "nats",
        );
        chapter.metric("log_prob_error_64_dims_nats", too_low);
        chapter.metric("effective_sample_size_64_dims", last.effective_size.mean());
    }
    let (name, label) = ("relative_error", "rms error / p(x)");
    let error = |at: &Measured| at.squared_error.mean().sqrt();
    draw(chapter, naive, name, label, error, Naive::exact_error)?;
    let (name, label) = ("effective_sample_size", "effective sample size");
    draw(chapter, naive, name, label, |at| at.effective_size.mean(), Naive::exact_size)
}

fn draw(
    chapter: &Chapter,
    naive: &Naive,
    name: &str,
    label: &str,
    measured: fn(&Measured) -> f64,
    exact: fn(&Naive, usize) -> f64,
) -> Result<()> {
    let dimension = |at: &Measured| at.d as f64;
    let series = vec![
        Series::new(
            "measured",
            Style::LineAndDots,
            naive.measured.iter().map(|at| (dimension(at), measured(at))),
        ),
        Series::new(
            "theory",
            Style::Reference,
            naive.measured.iter().map(|at| (dimension(at), exact(naive, at.d))),
        ),
    ];
    let plot =
        Plot { x: Axis::linear("dimensions of z and of x"), y: Axis::log(label), series };
    chapter.figure(name, &plot.draw()?)
}
