//! Chapter 5: what the printed consistency form draws, beside what the bound draws.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    error::Result,
    figure::{Anchor, Chart, Drawing, INK, MUTED, SERIES, Stroke},
    oracle::{NoiseLevel, Step},
    random::{Stream, rng},
};
use rand_distr::{Distribution, StandardNormal};

/// Draws in each picture.
const DRAWS: usize = 250;

/// Pairs of neighbours, as the encoder draws them, and as a KL divergence would: with a z_t
/// that z_{t+1} did not come from.
pub fn drawn_apart(chapter: &mut Chapter) -> Result<()> {
    // The middle of DDPM's thousand steps, seen from x = 0.8.
    let levels = [NoiseLevel::new(0.0), NoiseLevel::new(0.02), NoiseLevel::new(0.04)];
    let [before, now, after] = levels;
    let (walk, on) =
        (Step::new(before.gamma, now.gamma), Step::new(now.gamma, after.gamma));
    let noise = &mut rng(chapter.seed(), Stream::Sampling, 0);
    let mut draw = || -> f64 { StandardNormal.sample(noise) };
    let mut pairs = [Vec::new(), Vec::new()];
    for _ in 0..DRAWS {
        let z_before = before.noised(0.8, draw());
        let step = |from: f64, step: Step, eps: f64| {
            step.alpha().sqrt() * from + step.beta().sqrt() * eps
        };
        let z = step(z_before, walk, draw());
        let z_after = step(z, on, draw());
        let other = step(z_before, walk, draw());
        pairs[0].push((z_after, z));
        pairs[1].push((z_after, other));
    }
    // The exact reverse step of data from N(0, 1): mean sqrt(alpha) z, variance beta.
    let mean_square = |pairs: &[(f64, f64)]| {
        let error = |&(after, z): &(f64, f64)| (z - on.alpha().sqrt() * after).powi(2);
        pairs.iter().map(error).sum::<f64>() / pairs.len() as f64 / on.beta()
    };
    chapter.report.section("Pairs of neighbours");
    chapter.report.table(
        &["pairs", "mean square, in variances of the step"],
        &[
            (
                "as the encoder draws them".to_owned(),
                vec![Number::within(mean_square(&pairs[0]), 0.01, 2)],
            ),
            (
                "as the printed KL draws them".to_owned(),
                vec![Number::within(mean_square(&pairs[1]), 0.01, 2)],
            ),
        ],
    );

    let mut drawing = Drawing::new(330.0);
    for (left, name, pairs, color) in [
        (35.0, "as the encoder draws", &pairs[0], SERIES[2]),
        (290.0, "as the KL would draw", &pairs[1], SERIES[1]),
    ] {
        // Both are drawn around what the model says, in deviations of its step.
        let scale = on.beta().sqrt();
        let chart = Chart {
            corner: (left, 40.0),
            size: (215.0, 215.0),
            x: (-2.0, 3.2),
            y: (-6.0, 6.0),
        };
        let two = [
            chart.at(-2.0, 2.0),
            chart.at(3.2, 2.0),
            chart.at(3.2, -2.0),
            chart.at(-2.0, -2.0),
        ];
        drawing.area(&two, SERIES[0], 0.2);
        drawing.line(&[chart.at(-2.0, 0.0), chart.at(3.2, 0.0)], Stroke::new(SERIES[0]));
        for &(after, z) in pairs {
            let apart = (z - on.alpha().sqrt() * after) / scale;
            drawing.dot(chart.at(after, apart.clamp(-6.0, 6.0)), 2.2, color);
        }
        drawing.axes(&chart, ("$z_{t+1}$", ""), &[]);
        drawing.label((left + 107.0, 26.0), name, Anchor::Middle, INK);
    }
    drawing.label(
        (35.0, 302.0),
        "up: how far $z_t$ lies from the mean that",
        Anchor::Start,
        MUTED,
    );
    drawing.label(
        (35.0, 322.0),
        "$p_θ(z_t|z_{t+1})$ gives it; band: two deviations of $p_θ$",
        Anchor::Start,
        MUTED,
    );
    chapter.figure("pairs", &drawing.finish())
}
