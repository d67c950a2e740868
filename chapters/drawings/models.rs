//! Models as graphs.

use elbo_to_diffusion::{
    figure::{Anchor, Chart, Drawing, Figure, INK, MUTED, SERIES, Stroke},
    oracle::Rule,
};

/// The density of N(mean, deviation^2).
pub fn normal(x: f64, mean: f64, deviation: f64) -> f64 {
    let scaled = (x - mean) / deviation;
    (-0.5 * scaled * scaled).exp() / (deviation * std::f64::consts::TAU.sqrt())
}

/// One latent z, one observed x: the graph, and what it makes of a bell.
pub fn latent_variable() -> Figure {
    let mut drawing = Drawing::new(300.0);
    // The graph: z above x, both in the plate of the N data points.
    let arrow = Stroke::new(INK).width(1.8);
    drawing.frame((88.0, 142.0), (130.0, 250.0), Stroke::new(MUTED).width(1.2));
    drawing.label((146.0, 258.0), "$N$ times", Anchor::End, MUTED);
    drawing.node((76.0, 70.0), 25.0, "$z$", false);
    drawing.node((76.0, 190.0), 25.0, "$x$", true);
    drawing.arrow((76.0, 96.0), (76.0, 163.0), 0.0, arrow);
    drawing.label((84.0, 135.0), "$p_θ(x|z)$", Anchor::Start, INK);
    drawing.label((110.0, 60.0), "$p(z)$", Anchor::Start, INK);

    // What it makes of the prior: x = f(z) plus noise.
    let f = |z: f64| 1.6 * (1.7 * z).tanh() + 0.12 * z;
    let noise = 0.25;
    let plane = Chart {
        corner: (250.0, 20.0),
        size: (190.0, 190.0),
        x: (-2.8, 2.8),
        y: (-2.8, 2.8),
    };
    let mut band = plane.curve(|z| f(z) + 2.0 * noise);
    band.extend(plane.curve(|z| f(z) - 2.0 * noise).into_iter().rev());
    drawing.area(&band, SERIES[1], 0.25);
    drawing.line(&plane.curve(f), Stroke::new(SERIES[1]));
    drawing.label(plane.at(-2.7, 0.1), "$p_θ(x|z)$", Anchor::Start, SERIES[1]);
    let prior = Chart {
        corner: (250.0, 215.0),
        size: (190.0, 50.0),
        x: (-2.8, 2.8),
        y: (0.0, 0.42),
    };
    drawing.area(&prior.under(|z| normal(z, 0.0, 1.0)), SERIES[0], 0.3);
    drawing.line(&prior.curve(|z| normal(z, 0.0, 1.0)), Stroke::new(SERIES[0]));
    drawing.label((345.0, 288.0), "prior $p(z)$", Anchor::Middle, SERIES[0]);
    // The evidence lies on its side, beside the plane.
    let rule = Rule::gauss_legendre(400, -6.0, 6.0);
    let evidence =
        |x: f64| rule.integrate(|z| normal(z, 0.0, 1.0) * normal(x, f(z), noise));
    let mut side: Vec<_> = (0..=160)
        .map(|i| -2.8 + 5.6 * f64::from(i) / 160.0)
        .map(|x| (446.0 + 70.0 * evidence(x), plane.at(0.0, x).1))
        .collect();
    drawing.line(&side, Stroke::new(SERIES[2]));
    side.extend([(446.0, plane.at(0.0, 2.8).1), (446.0, plane.at(0.0, -2.8).1)]);
    drawing.area(&side, SERIES[2], 0.3);
    drawing.label((516.0, 14.0), "evidence $p_θ(x)$", Anchor::End, SERIES[2]);
    let thin = Stroke::new(MUTED).width(1.2);
    drawing.line(&[(250.0, 20.0), (250.0, 210.0), (440.0, 210.0)], thin);
    drawing.label((244.0, 30.0), "$x$", Anchor::End, INK);
    drawing.label((438.0, 203.0), "$z$", Anchor::End, INK);
    drawing.finish()
}

/// Three levels: each from all above, and each from the next alone.
pub fn hierarchies() -> Figure {
    let mut drawing = Drawing::new(398.0);
    let (down, up) = (Stroke::new(SERIES[1]), Stroke::new(SERIES[0]).dashed());
    let heights = [335.0, 245.0, 155.0, 65.0];
    for (x, name, markovian) in [(130.0, "general", false), (390.0, "Markovian", true)] {
        drawing.label((x, 22.0), name, Anchor::Middle, INK);
        for (low, &below) in heights.iter().enumerate() {
            for (step, &above) in heights[low + 1..].iter().enumerate() {
                if markovian && step > 0 {
                    continue;
                }
                // The model's arrows lie to the right, the encoder's to the left, and those
                // that pass a level make a wide bend.
                let wide = 46.0 * step as f64;
                let aside = if step == 0 { 9.0 } else { 22.0 };
                let short = if step == 0 { 25.0 } else { 13.0 };
                drawing.arrow(
                    (x + aside, above + short),
                    (x + aside, below - short),
                    wide,
                    down,
                );
                drawing.arrow(
                    (x - aside, below - short),
                    (x - aside, above + short),
                    wide,
                    up,
                );
            }
        }
        for (&y, label) in heights.iter().zip(["$x$", "$z_1$", "$z_2$", "$z_3$"]) {
            drawing.node((x, y), 24.0, label, label == "$x$");
        }
    }
    drawing.arrow((95.0, 380.0), (130.0, 380.0), 0.0, down);
    drawing.label((138.0, 385.0), "model $p_θ$", Anchor::Start, SERIES[1]);
    drawing.arrow((295.0, 380.0), (330.0, 380.0), 0.0, up);
    drawing.label((338.0, 385.0), "encoder $q_φ$", Anchor::Start, SERIES[0]);
    drawing.finish()
}
