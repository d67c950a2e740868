//! Chapter 6: the loss as an area under the error, and the rectangles that stick out of it.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    error::Result,
    figure::{Anchor, Chart, Drawing, INK, MUTED, SERIES, Stroke},
};

/// The ends of the walk, as signal-to-noise ratios.
const MOST: f64 = 8.0;
const LEAST: f64 = 0.05;

/// The error of the best denoiser of data from N(0, 1) at the ratio v.
fn error(v: f64) -> f64 {
    1.0 / (1.0 + v)
}

/// The ratios at which a chain of so many steps stops: equal steps of its logarithm, or of
/// its square root, which lingers elsewhere.
fn stops(steps: u32, even_logarithm: bool) -> Vec<f64> {
    let between =
        |low: f64, high: f64, i: u32| low + (high - low) * f64::from(i) / f64::from(steps);
    (0..=steps)
        .map(|i| match even_logarithm {
            true => between(MOST.ln(), LEAST.ln(), i).exp(),
            false => between(MOST.sqrt(), LEAST.sqrt(), i).powi(2),
        })
        .collect()
}

/// Half the area of the rectangles: each as wide as its drop of the ratio and as high as the
/// error at its noisier end.
fn sum(stops: &[f64]) -> f64 {
    stops.windows(2).map(|s| 0.5 * (s[0] - s[1]) * error(s[1])).sum()
}

pub fn areas(chapter: &mut Chapter) -> Result<()> {
    let area = 0.5 * ((1.0 + MOST) / (1.0 + LEAST)).ln();
    let number = |value: f64| Number::exact(value, 4);
    let rows: Vec<_> = [4, 8, 16, 32, 64, 128]
        .into_iter()
        .map(|steps| {
            let [even, other] = [true, false].map(|kind| sum(&stops(steps, kind)));
            let cells = [even, even - area, other, other - area].map(number);
            (steps.to_string(), cells.to_vec())
        })
        .collect();
    chapter.report.section("The rectangles");
    chapter.report.row("the area", &number(area), "nats");
    chapter.report.section("The rectangles, by steps");
    chapter.report.table(
        &[
            "steps T",
            "even in log SNR",
            "sticks out",
            "even in its root",
            "sticks out more",
        ],
        &rows,
    );

    let mut drawing = Drawing::new(590.0);
    for (i, (steps, kind, name)) in [
        (4, true, "4 steps"),
        (8, true, "8 steps: half as much sticks out"),
        (8, false, "8 other steps: the same area below"),
    ]
    .into_iter()
    .enumerate()
    {
        let chart = Chart {
            corner: (45.0, 35.0 + 188.0 * i as f64),
            size: (455.0, 125.0),
            x: (0.0, 8.2),
            y: (0.0, 1.02),
        };
        let stops = stops(steps, kind);
        for step in stops.windows(2) {
            let (corner, foot) =
                (chart.at(step[1], error(step[1])), chart.at(step[0], 0.0));
            drawing.bar(corner, (foot.0 - corner.0, foot.1 - corner.1), SERIES[1], 0.45);
        }
        let walk = Chart { x: (LEAST, MOST), ..chart };
        let mut under: Vec<_> = walk
            .curve(error)
            .iter()
            .enumerate()
            .map(|(i, _)| LEAST + (MOST - LEAST) * i as f64 / 160.0)
            .map(|v| chart.at(v, error(v)))
            .collect();
        under.extend([chart.at(MOST, 0.0), chart.at(LEAST, 0.0)]);
        // The area covers the lower part of the rectangles.
        drawing.area(&under, elbo_to_diffusion::figure::PAPER, 1.0);
        drawing.area(&under, SERIES[0], 0.45);
        for step in stops.windows(2) {
            let top = error(step[1]);
            let outline = [(step[1], 0.0), (step[1], top), (step[0], top), (step[0], 0.0)];
            let outline = outline.map(|(v, e)| chart.at(v, e));
            drawing.line(&outline, Stroke::new(INK).width(1.2));
        }
        drawing.line(&chart.curve(error), Stroke::new(SERIES[0]).width(2.6));
        let ticks = [(0.0, "0"), (2.0, "2"), (4.0, "4"), (6.0, "6"), (8.0, "8")];
        let label = if i == 2 { "signal-to-noise ratio" } else { "" };
        drawing.axes(&chart, (label, ""), &ticks);
        drawing.label((500.0, chart.corner.1 + 4.0), name, Anchor::End, INK);
        drawing.label((40.0, chart.at(0.0, 0.97).1), "1", Anchor::End, MUTED);
    }
    drawing.label((8.0, 20.0), "error of the denoiser", Anchor::Start, INK);
    chapter.figure("rectangles", &drawing.finish())
}
