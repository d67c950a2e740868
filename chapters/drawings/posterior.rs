//! Chapter 5: the posterior of a step as a product of two bells, and the two ends of the
//! chain.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    error::Result,
    figure::{Anchor, Chart, Drawing, Figure, INK, MUTED, SERIES, Stroke},
    oracle::{NoiseLevel, Step},
};

use super::models::normal;

/// The clean value and the noisy one.
const X: f64 = 0.8;
const Z: f64 = -0.5;

/// Three steps of a chain of ten, from x = 0.8 and the same z_t.
pub fn two_bells(chapter: &mut Chapter) -> Result<()> {
    let gamma = |t: u32| -4.0 + 8.0 * f64::from(t - 1) / 9.0;
    let mut drawing = Drawing::new(330.0);
    let mut rows = Vec::new();
    for (i, t) in [3, 6, 8].into_iter().enumerate() {
        let step = Step::new(gamma(t - 1), gamma(t));
        let (mean, deviation) =
            (step.posterior_mean(Z, X), step.posterior_variance().sqrt());
        let s = NoiseLevel::new(gamma(t - 1));
        let chart = Chart {
            corner: (40.0, 30.0 + 92.0 * i as f64),
            size: (465.0, 72.0),
            x: (-2.4, 2.4),
            y: (0.0, 1.05),
        };
        // All three at the same height, so that narrow ones stay in the picture.
        let bell = |z: f64, mean: f64, deviation: f64| {
            normal(z, mean, deviation) / normal(0.0, 0.0, deviation)
        };
        let prior = |z| bell(z, s.abar().sqrt() * X, s.noise().sqrt());
        let root = step.alpha().sqrt();
        let seen = |z| bell(z, Z / root, step.beta().sqrt() / root);
        let both = |z| bell(z, mean, deviation);
        drawing.area(&chart.under(both), SERIES[2], 0.35);
        drawing.line(&chart.curve(prior), Stroke::new(SERIES[0]).dashed());
        drawing.line(&chart.curve(seen), Stroke::new(SERIES[1]).dashed());
        drawing.line(&chart.curve(both), Stroke::new(SERIES[2]).width(2.6));
        drawing.line(
            &[chart.at(-2.4, 0.0), chart.at(2.4, 0.0)],
            Stroke::new(MUTED).width(1.2),
        );
        let mark = chart.at(mean, 0.0);
        drawing.line(&[(mark.0, mark.1 - 72.0), mark], Stroke::new(SERIES[2]).width(1.2));
        drawing.label(
            (8.0, chart.corner.1 + 40.0),
            &format!("$t$ = {t}"),
            Anchor::Start,
            INK,
        );
        let (on_z, on_x) = step.posterior_coefficients();
        let numbers = [on_z, on_x, mean, deviation].map(|n| Number::exact(n, 3));
        rows.push((t.to_string(), numbers.to_vec()));
    }
    drawing.label((40.0, 320.0), "$q(z_{t-1}|x)$", Anchor::Start, SERIES[0]);
    drawing.label((165.0, 320.0), "$q(z_t|z_{t-1})$", Anchor::Start, SERIES[1]);
    drawing.label((295.0, 320.0), "product: $q(z_{t-1}|z_t, x)$", Anchor::Start, SERIES[2]);
    chapter.report.section("The product of two bells");
    chapter.report.table(&["t", "weight of z_t", "weight of x", "mu_q", "sigma_q"], &rows);
    chapter.figure("two_bells", &drawing.finish())
}

/// Where the chain ends: close to the prior for every x, and with levels far apart.
pub fn two_ends() -> Figure {
    let mut drawing = Drawing::new(320.0);
    let last = NoiseLevel::new(5.0);
    let chart =
        Chart { corner: (40.0, 30.0), size: (440.0, 85.0), x: (-3.5, 3.5), y: (0.0, 0.45) };
    drawing.area(&chart.under(|z| normal(z, 0.0, 1.0)), MUTED, 0.3);
    for (x, color) in [(-1.0, SERIES[0]), (1.0, SERIES[1])] {
        let bell = |z| normal(z, last.abar().sqrt() * x, last.noise().sqrt());
        drawing.line(&chart.curve(bell), Stroke::new(color));
    }
    drawing.axes(&chart, ("", ""), &[]);
    drawing.label((44.0, 22.0), "$z_T$ at $γ$ = 5: grey is the prior", Anchor::Start, INK);
    drawing.label((356.0, 60.0), "from $x$ = 1", Anchor::Start, SERIES[1]);
    drawing.label((166.0, 60.0), "from $x$ = −1", Anchor::End, SERIES[0]);
    // Five of the seventeen levels, at the chosen first noise level and at a larger one.
    for (left, gamma) in [(40.0, -8.0), (285.0, -6.0)] {
        let first = NoiseLevel::new(gamma);
        let scale = first.abar().sqrt();
        let chart = Chart {
            corner: (left, 185.0),
            size: (205.0, 85.0),
            x: (-0.3 * scale, 0.3 * scale),
            y: (0.0, 1.05),
        };
        for (level, color) in (6_u32..11).zip([0, 1, 2, 1, 0]) {
            let x = (2.0 * f64::from(level) + 1.0) / 17.0 - 1.0;
            let deviation = first.noise().sqrt();
            let bell =
                |z: f64| normal(z, scale * x, deviation) / normal(0.0, 0.0, deviation);
            drawing.area(&chart.under(bell), SERIES[color], 0.3);
            drawing.line(&chart.curve(bell), Stroke::new(SERIES[color]));
        }
        drawing.axes(&chart, ("", ""), &[]);
        let name = format!("$z_1$ at $γ$ = −{}", -gamma);
        drawing.label((left + 4.0, 175.0), &name, Anchor::Start, INK);
    }
    drawing.label(
        (44.0, 300.0),
        "one bell for each of five grey levels",
        Anchor::Start,
        MUTED,
    );
    drawing.finish()
}
