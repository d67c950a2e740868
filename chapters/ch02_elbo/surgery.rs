//! The rate, E KL(q(z|x) || p(z)), of two encoders with the same ELBO, in its two parts.

use elbo_to_diffusion::{
    chapter::Chapter,
    error::Result,
    figure::{Axis, Plot, Series, Style},
    oracle::{Rule, ScalarMixture},
};

use super::{meters::PowerMeter, scalar_latent::ScalarNormal};

/// The two encoders.
pub struct Surgery {
    /// All means positive.
    positive: Rate,
    /// The sign of every other mean turned.
    alternating: Rate,
}

/// The rate of an encoder and its parts, each an integral of its own; in nats.
struct Rate {
    rate: f64,
    /// Between the reading and z.
    information: f64,
    /// KL(q(z) || p(z)).
    mismatch: f64,
    /// q(z), the mean of q(z|x) over the readings.
    aggregate: ScalarMixture,
}

// ANCHOR: surgery
/// The best q of each reading, and the same with every other sign turned.
pub fn divide(readings: &[f64]) -> Result<Surgery> {
    let best = readings.iter().map(|&x| PowerMeter { x, sigma: 0.2 }.best());
    let positive: Vec<ScalarNormal> = best.collect();
    let mut alternating = positive.clone();
    for q in alternating.iter_mut().step_by(2) {
        q.mean = -q.mean;
    }
    Ok(Surgery { positive: rate(&positive)?, alternating: rate(&alternating)? })
}

fn rate(encoder: &[ScalarNormal]) -> Result<Rate> {
    let (share, prior) = (1.0 / encoder.len() as f64, ScalarNormal::STANDARD);
    let means: Vec<f64> = encoder.iter().map(|q| q.mean).collect();
    let variances: Vec<f64> = encoder.iter().map(|q| q.variance()).collect();
    let shares = vec![share; encoder.len()];
    let aggregate = ScalarMixture::new(&shares, &means, &variances)?;
    let (mut rate, mut information, mut mismatch) = (0.0, 0.0, 0.0);
    for (z, dz) in Rule::gauss_legendre(2000, -8.0, 8.0).points() {
        let (log_aggregate, log_prior) = (aggregate.log_prob(z), prior.log_prob(z));
        mismatch += dz * log_aggregate.exp() * (log_aggregate - log_prior);
        for log_q in encoder.iter().map(|q| q.log_prob(z)) {
            rate += share * dz * log_q.exp() * (log_q - log_prior);
            information += share * dz * log_q.exp() * (log_q - log_aggregate);
        }
    }
    Ok(Rate { rate, information, mismatch, aggregate })
}
// ANCHOR_END: surgery

/// Prints the parts, and draws both aggregates beside the prior.
pub fn report(chapter: &mut Chapter, surgery: &Surgery) -> Result<()> {
    let encoders = [("positive", &surgery.positive), ("alternating", &surgery.alternating)];
    chapter.report.section("Surgery");
    let row = |(name, found): (&str, &Rate)| {
        (name.to_string(), [found.rate, found.information, found.mismatch])
    };
    chapter.report.exact_table(
        &["encoder", "rate", "information", "mismatch"],
        4,
        encoders.map(row),
    );

    let grid = || (-150..=150).map(|i| f64::from(i) / 50.0);
    let density = |log_prob: &dyn Fn(f64) -> f64| {
        grid().map(|z| (z, log_prob(z).exp())).collect::<Vec<_>>()
    };
    let prior = Series::new(
        "prior p(z)",
        Style::Reference,
        density(&|z| ScalarNormal::STANDARD.log_prob(z)),
    );
    let curve = |(name, found): (&str, &Rate)| {
        Series::new(
            format!("q(z), {name}"),
            Style::Line,
            density(&|z| found.aggregate.log_prob(z)),
        )
    };
    let series = [prior].into_iter().chain(encoders.map(curve)).collect();
    let plot = Plot { x: Axis::linear("amplitude z"), y: Axis::linear("density"), series };
    chapter.figure("aggregate", &plot.draw()?)
}
