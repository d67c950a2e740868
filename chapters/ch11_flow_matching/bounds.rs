//! Bounds of the digits, and where one loss differs from the other.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    data::Dataset,
    error::Result,
    evaluation::{Bound, Draws, OdeBound, Trace},
    figure::{Axis, Plot, Series, Style},
    flow::Probe,
    vdm::{Linear, Schedule},
};

use crate::digits::Reading;

/// Steps of Runge-Kutta, of four calls each.
const STEPS: usize = 24;
/// Parts of the noise levels, for the bound of the chain.
const PARTS: usize = 52;
/// Those below gamma = -2.
const LOW: usize = 24;

/// What one network's bounds are, in nats per image.
pub struct Bounds {
    name: &'static str,
    /// Of the chain in continuous time.
    chain: Bound,
    /// Of the flow.
    flow: OdeBound,
}

/// The bounds of a network on the test images.
pub fn bounds<R: Reading>(
    chapter: &Chapter,
    data: &Dataset,
    linear: &Linear,
    name: &'static str,
    network: &R,
) -> Result<Bounds> {
    let draws = Draws { passes: 2, seed: chapter.seed() };
    let (plain, taped) = (network.valid(), network.clone().train().no_grad());
    let denoise = |z, gamma| plain.x_hat(z, gamma, None);
    let on = &chapter.device;
    let chain = Bound::continuous(&data.test, linear, PARTS, denoise, draws, on)?;
    let flow = OdeBound::estimate(
        &data.test,
        &linear.grid(STEPS + 1),
        |z, gamma| taped.x_hat(z, gamma, None),
        Trace::Fresh(Probe::Rademacher),
        draws,
        on,
    )?;
    Ok(Bounds { name, chain, flow })
}

pub fn report(
    chapter: &mut Chapter,
    data: &Dataset,
    linear: &Linear,
    bounds: &[Bounds; 3],
) -> Result<()> {
    let bits = |nats, tolerance| Number::within(data.bits_per_dim(nats), tolerance, 4);
    let row = |of: &Bounds| {
        let numbers = [
            bits(of.chain.total(), 0.005),
            bits(of.chain.noise_error, 0.0005),
            bits(of.flow.total(), 0.005),
            bits(of.flow.noise_error, 0.0005),
        ];
        (of.name.to_string(), numbers.to_vec())
    };
    let rows: Vec<_> = bounds.iter().map(row).collect();
    let report = &mut chapter.report;
    report.section("Bounds of the digits");
    let header = ["output and loss", "chain (bits/dim)", "s.e.", "flow (bits/dim)", "s.e."];
    report.table(&header, &rows);
    let [_, odds, of_chapter_5] = bounds;
    let parts = odds.chain.denoising.iter().zip(&of_chapter_5.chain.denoising);
    let less: Vec<f64> = parts.map(|(ours, theirs)| ours - theirs).collect();
    let whole = odds.chain.less(&of_chapter_5.chain)?;
    report.section("Flow matching less bound");
    for (name, nats) in [
        ("chain", whole.mean),
        ("its error of the noise", whole.noise_error),
        ("its error of the test set", whole.set_error),
        ("of it, gamma below -2", less[..LOW].iter().sum()),
        ("of it, gamma above -2", less[LOW..].iter().sum()),
    ] {
        report.row(name, &bits(nats, 0.001), "bits/dim");
    }
    for (name, of) in ["velocity", "odds", "odds_bound"].into_iter().zip(bounds) {
        let [chain, flow] =
            [of.chain.total(), of.flow.total()].map(|n| data.bits_per_dim(n));
        chapter.metric(&format!("{name}_test_bits_per_dim"), chain);
        chapter.metric(&format!("{name}_flow_test_bits_per_dim"), flow);
    }
    let width = (linear.gamma_max - linear.gamma_min) / PARTS as f64;
    let points = less.iter().enumerate().map(|(i, nats)| {
        let gamma = linear.gamma_min + width * (i as f64 + 0.5);
        (gamma, 1000.0 * data.bits_per_dim(*nats) / width)
    });
    let zero = [linear.gamma_min, linear.gamma_max].map(|gamma| (gamma, 0.0));
    let plot = Plot {
        x: Axis::linear("gamma = -log SNR"),
        y: Axis::linear("millibits/dim per unit of gamma"),
        series: vec![
            Series::new("", Style::Reference, zero),
            Series::new("", Style::Line, points),
        ],
    };
    chapter.figure("loss_by_noise", &plot.draw()?)
}
