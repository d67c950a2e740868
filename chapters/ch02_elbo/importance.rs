//! The importance-weighted bound L_K of three proposals.

use std::f64::consts::LN_2;

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    error::Result,
    figure::{Axis, Plot, Series, Style},
    oracle::{Estimate, Rule, log_sum_exp},
    random::{Stream, rng},
};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::{
    meters::PowerMeter,
    scalar_latent::{ScalarLatent, ScalarNormal},
};

/// A law from which z is drawn.
pub struct Proposal {
    pub name: &'static str,
    pub q: ScalarNormal,
}

/// What the draws came to, in nats.
pub struct MoreDraws {
    log_prob: f64,
    /// Of the proposals prior, between and one mode.
    measured: [Measured; 3],
}

/// L_K of one proposal.
struct Measured {
    name: &'static str,
    bounds: Vec<Bound>,
    /// E_q w^2 with w = p(x, z) / (q(z) p(x)).
    second_moment: f64,
}

/// L_K for one K.
struct Bound {
    k: usize,
    estimate: Estimate,
}

// ANCHOR: importance
const DRAWS: usize = 1 << 20;

/// L_K: the mean, over groups of K draws, of the log of the group's mean weight,
/// for K = 1, 2, 4, .., 4096.
fn bounds(meter: &PowerMeter, q: ScalarNormal, noise: &mut ChaCha8Rng) -> Vec<Bound> {
    let log_weight = |eps: f64| {
        let z = q.mean + q.log_std.exp() * eps;
        meter.log_joint(z) - q.log_prob(z)
    };
    let eps = StandardNormal.sample_iter(noise).take(DRAWS);
    let log_weights: Vec<f64> = eps.map(log_weight).collect();
    let of_groups = |k: usize| {
        let mut estimate = Estimate::default();
        for group in log_weights.chunks_exact(k) {
            estimate.push(log_sum_exp(group) - (k as f64).ln());
        }
        Bound { k, estimate }
    };
    (0..=12).map(|i| of_groups(1 << i)).collect()
}
// ANCHOR_END: importance

/// Draws from each proposal.
pub fn measure(meter: &PowerMeter, proposals: [Proposal; 3], seed: u64) -> MoreDraws {
    let z = Rule::gauss_legendre(1200, -14.0, 14.0);
    let log_prob = meter.log_prob(&z);
    let mut steps = 0..;
    let measured = proposals.map(|Proposal { name, q }| {
        let noise = &mut rng(seed, Stream::Evaluation, steps.next().unwrap_or_default());
        let squared_weight =
            |z| (2.0 * (meter.log_joint(z) - log_prob) - q.log_prob(z)).exp();
        Measured {
            name,
            bounds: bounds(meter, q, noise),
            second_moment: z.integrate(squared_weight),
        }
    });
    MoreDraws { log_prob, measured }
}

/// Prints the bounds, and draws them.
pub fn report(chapter: &mut Chapter, draws: &MoreDraws) -> Result<()> {
    let MoreDraws { log_prob, measured } = draws;
    let [prior, between, one_mode] = measured;
    let theory = |k: usize| log_prob - (prior.second_moment - 1.0) / (2.0 * k as f64);
    let rows = prior.bounds.iter().zip(&between.bounds).zip(&one_mode.bounds).step_by(2);
    let rows = rows.map(|((prior, between), one_mode)| {
        let [p, b, o] = [prior, between, one_mode].map(|bound| bound.estimate.mean());
        (prior.k.to_string(), [p, theory(prior.k), b, o])
    });
    let report = &mut chapter.report;
    report.section("More draws");
    report.exact_table(&["K", "prior", "prior, theory", "between", "one mode"], 3, rows);
    report.line("");
    report.row("log p(x)", &Number::exact(*log_prob, 3), "nats");
    report.row("log p(x) - log 2", &Number::exact(log_prob - LN_2, 3), "nats");
    for Measured { name, bounds, second_moment } in measured {
        let error =
            bounds.iter().map(|bound| bound.estimate.standard_error()).fold(0.0, f64::max);
        report.row(
            &format!("largest standard error, {name}"),
            &Number::exact(error, 4),
            "nats",
        );
        let moment = *second_moment;
        let number = if moment < 1e4 {
            Number::exact(moment, 2)
        } else {
            Number::scientific(moment, 1)
        };
        report.row(&format!("mean of w^2, {name}"), &number, "");
    }

    let curves = measured.iter().map(|Measured { name, bounds, .. }| {
        Series::new(
            *name,
            Style::LineAndDots,
            bounds.iter().map(|bound| (bound.k as f64, bound.estimate.mean())),
        )
    });
    let evidence =
        Series::new("log p(x)", Style::Reference, [(1.0, *log_prob), (4096.0, *log_prob)]);
    let series = curves.chain([evidence]).collect();
    let plot =
        Plot { x: Axis::log("number of draws K"), y: Axis::linear("L_K (nats)"), series };
    chapter.figure("importance_weighted", &plot.draw()?)
}
