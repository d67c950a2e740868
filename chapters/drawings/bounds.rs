//! Chapter 2: log evidence = bound + divergence, as bars; and the two directions of the
//! divergence.

use std::f64::consts::LN_2;

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    error::Result,
    figure::{Anchor, Chart, Drawing, Figure, INK, MUTED, SERIES, Stroke},
    oracle::{FiniteLatent, Rule, discrete::kl},
};

use super::models::normal;

// ANCHOR: three_states
/// A latent with three states, seen through one observation that each makes more probable
/// than the last.
const PRIOR: [f64; 3] = [0.5, 0.25, 0.25];
const LIKELIHOOD: [f64; 3] = [0.125, 0.25, 0.5];

pub fn three_states(chapter: &mut Chapter) -> Result<()> {
    let likelihood: Vec<Vec<f64>> = LIKELIHOOD.map(|p| vec![p, 1.0 - p]).to_vec();
    let model = FiniteLatent::new(&PRIOR, &likelihood)?;
    let evidence = model.log_prob(0)? / LN_2;
    let posterior = model.posterior(0)?;
    let row = |q: &[f64]| -> Result<[f64; 2]> {
        Ok([model.elbo(0, q)? / LN_2, kl(q, &posterior)? / LN_2])
    };
    // ANCHOR_END: three_states
    // Ascent of the ELBO on the logits of q, from a q that is mostly wrong.
    let start = [0.9_f64, 0.05, 0.05];
    let mut logits = start.map(f64::ln);
    let mut ascent = vec![start];
    for _ in 0..60 {
        let q = softmax(logits);
        let gain: Vec<f64> = q.iter().zip(&posterior).map(|(q, p)| (p / q).ln()).collect();
        let mean: f64 = q.iter().zip(&gain).map(|(q, g)| q * g).sum();
        for i in 0..3 {
            logits[i] += q[i] * (gain[i] - mean);
        }
        ascent.push(softmax(logits));
    }
    let mut rows = Vec::new();
    for (name, q) in [
        ("mostly the first state", &start[..]),
        ("the prior", &PRIOR[..]),
        ("uniform", &[1.0 / 3.0; 3][..]),
        ("the posterior", &posterior[..]),
    ] {
        let [elbo, divergence] = row(q)?;
        let numbers = q.iter().copied().chain([elbo, divergence, elbo + divergence]);
        rows.push((name.to_owned(), numbers.map(|n| Number::exact(n, 4)).collect()));
    }
    chapter.report.section("Three states");
    chapter.report.table(
        &["q", "q(1)", "q(2)", "q(3)", "ELBO (bits)", "KL (bits)", "sum (bits)"],
        &rows,
    );

    let mut bars = Vec::new();
    for (name, q) in
        [("start", ascent[0]), ("2 steps", ascent[2]), ("60 steps", ascent[60])]
    {
        bars.push((name, row(&q)?));
    }
    chapter.figure("bars", &draw_bars(evidence, &bars))
}

fn softmax(logits: [f64; 3]) -> [f64; 3] {
    let sum: f64 = logits.iter().map(|l| l.exp()).sum();
    logits.map(|l| l.exp() / sum)
}

fn draw_bars(evidence: f64, bars: &[(&str, [f64; 2])]) -> Figure {
    let mut drawing = Drawing::new(300.0);
    let chart = Chart {
        corner: (60.0, 30.0),
        size: (440.0, 220.0),
        x: (0.0, 3.0),
        y: (-4.2, -1.6),
    };
    drawing.axes(&chart, ("", "bits"), &[]);
    for (i, (name, [elbo, divergence])) in (0_u32..).zip(bars) {
        let left = f64::from(i) + 0.12;
        let (corner, floor) = (chart.at(left, *elbo), chart.at(left + 0.76, chart.y.0));
        let width = floor.0 - corner.0;
        drawing.bar(corner, (width, floor.1 - corner.1), SERIES[0], 0.75);
        let top = chart.at(left, evidence);
        drawing.bar(top, (width, corner.1 - top.1), SERIES[1], 0.75);
        let middle = corner.0 + 0.5 * width;
        drawing.label((middle, floor.1 + 22.0), name, Anchor::Middle, INK);
        let shown = |value: f64| format!("{value:.2}").replace('-', "−");
        let text = format!("ELBO {}", shown(*elbo));
        drawing.label((middle, corner.1 + 26.0), &text, Anchor::Middle, INK);
        if corner.1 - top.1 > 24.0 {
            let text = format!("KL {}", shown(*divergence));
            drawing.label((middle, top.1 + 21.0), &text, Anchor::Middle, INK);
        }
    }
    let line = [chart.at(0.0, evidence), chart.at(3.0, evidence)];
    drawing.line(&line, Stroke::new(INK).dashed());
    drawing.label(
        (498.0, line[0].1 - 8.0),
        "$log p(x)$, the same for every $q$",
        Anchor::End,
        INK,
    );
    drawing.finish()
}

/// A posterior with two modes, and the nearest bell in each direction of the divergence.
pub fn two_directions(chapter: &mut Chapter) -> Result<()> {
    const MODE: f64 = 1.6;
    const WIDTH: f64 = 0.45;
    let rule = Rule::gauss_legendre(600, -9.0, 9.0);
    let p = |z: f64| 0.5 * normal(z, -MODE, WIDTH) + 0.5 * normal(z, MODE, WIDTH);
    // KL(q || p): a descent in its two numbers, from the right. KL(p || q): p's own moments.
    let reverse = |mean: f64, deviation: f64| {
        rule.integrate(|z| {
            let q = normal(z, mean, deviation);
            if q < 1e-300 { 0.0 } else { q * (q / p(z)).ln() }
        })
    };
    let forward = |mean: f64, deviation: f64| {
        rule.integrate(|z| p(z) * (p(z) / normal(z, mean, deviation)).ln())
    };
    let (mut mean, mut deviation) = (1.0, 0.8);
    for _ in 0..400 {
        let slope = |dm: f64, ds: f64| {
            (reverse(mean + dm, deviation + ds) - reverse(mean - dm, deviation - ds)) / 2e-4
        };
        let (by_mean, by_deviation) = (slope(1e-4, 0.0), slope(0.0, 1e-4));
        mean -= 0.05 * by_mean;
        deviation -= 0.05 * by_deviation;
    }
    let spread = (MODE * MODE + WIDTH * WIDTH).sqrt();
    let number = |value: f64| Number::within(value, 0.002, 3);
    chapter.report.section("Two directions");
    chapter.report.table(
        &["the nearest bell in", "mean", "deviation", "KL(q, p) (nats)", "KL(p, q) (nats)"],
        &[
            (
                "KL(q, p)".to_owned(),
                vec![
                    number(mean),
                    number(deviation),
                    number(reverse(mean, deviation)),
                    number(forward(mean, deviation)),
                ],
            ),
            (
                "KL(p, q)".to_owned(),
                vec![
                    number(0.0),
                    number(spread),
                    number(reverse(0.0, spread)),
                    number(forward(0.0, spread)),
                ],
            ),
        ],
    );
    let mut drawing = Drawing::new(250.0);
    for (left, name, mean, deviation) in [
        (20.0, "nearest in KL($q$||$p$)", mean, deviation),
        (275.0, "nearest in KL($p$||$q$)", 0.0, spread),
    ] {
        let chart = Chart {
            corner: (left, 40.0),
            size: (225.0, 160.0),
            x: (-4.0, 4.0),
            y: (0.0, 0.95),
        };
        drawing.area(&chart.under(p), MUTED, 0.3);
        drawing.line(&chart.curve(p), Stroke::new(MUTED));
        let q = |z| normal(z, mean, deviation);
        drawing.line(&chart.curve(q), Stroke::new(SERIES[0]).width(2.6));
        let bottom = [chart.at(-4.0, 0.0), chart.at(4.0, 0.0)];
        drawing.line(&bottom, Stroke::new(MUTED).width(1.2));
        drawing.label((left + 112.0, 24.0), name, Anchor::Middle, INK);
    }
    drawing.label((80.0, 228.0), "$p(z|x)$", Anchor::Middle, MUTED);
    drawing.label((200.0, 228.0), "$q(z)$", Anchor::Middle, SERIES[0]);
    drawing.label((335.0, 228.0), "$p(z|x)$", Anchor::Middle, MUTED);
    drawing.label((455.0, 228.0), "$q(z)$", Anchor::Middle, SERIES[0]);
    chapter.figure("two_directions", &drawing.finish())
}
