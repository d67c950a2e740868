//! Chapter 3: what flows through a variational autoencoder, and what the reparameterization
//! moves.

use elbo_to_diffusion::figure::{
    Anchor, Chart, Drawing, Figure, INK, MUTED, SERIES, Stroke,
};

use super::models::normal;

/// From an image to the two terms of the bound, with the shapes of this book's model.
pub fn flow() -> Figure {
    let mut drawing = Drawing::new(330.0);
    let arrow = Stroke::new(INK).width(1.8);
    let thing = Stroke::new(MUTED).width(1.5);
    let mut place = |x: f64, y: f64, width: f64, name: &str, shape: &str, color| {
        let stroke = if color == INK { thing } else { Stroke::new(color) };
        drawing.frame((x, y), (width, 52.0), stroke);
        drawing.label((x, y - 3.0), name, Anchor::Middle, INK);
        drawing.label((x, y + 18.0), shape, Anchor::Middle, MUTED);
    };
    place(58.0, 60.0, 96.0, "image $x$", "64 pixels", INK);
    place(205.0, 60.0, 110.0, "encoder", "network $φ$", SERIES[0]);
    place(365.0, 60.0, 120.0, "$μ$, $log σ$", "16 + 16", INK);
    place(365.0, 175.0, 120.0, "$z = μ + σ ε$", "16 latents", INK);
    place(205.0, 175.0, 110.0, "decoder", "network $θ$", SERIES[1]);
    place(58.0, 175.0, 96.0, "$p_θ(x|z)$", "64 × 17", INK);
    for (from, to) in [
        ((107.0, 60.0), (148.0, 60.0)),
        ((261.0, 60.0), (303.0, 60.0)),
        ((365.0, 88.0), (365.0, 147.0)),
        ((304.0, 175.0), (262.0, 175.0)),
        ((149.0, 175.0), (108.0, 175.0)),
        ((58.0, 203.0), (58.0, 250.0)),
        ((58.0, 88.0), (58.0, 147.0)),
    ] {
        let stroke = if from == (58.0, 88.0) { thing.dashed() } else { arrow };
        drawing.arrow(from, to, 0.0, stroke);
    }
    drawing.node((478.0, 175.0), 24.0, "$ε$", false);
    drawing.arrow((452.0, 175.0), (428.0, 175.0), 0.0, arrow);
    drawing.label((470.0, 143.0), "N(0, 1)", Anchor::Middle, MUTED);
    drawing.label((66.0, 122.0), "compared", Anchor::Start, MUTED);
    // The two terms.
    drawing.frame((105.0, 280.0), (194.0, 56.0), Stroke::new(SERIES[1]));
    drawing.label((105.0, 276.0), "reconstruction", Anchor::Middle, INK);
    drawing.label((105.0, 298.0), "$log p_θ(x|z)$", Anchor::Middle, INK);
    drawing.label((228.0, 286.0), "−", Anchor::Middle, INK);
    drawing.frame((360.0, 280.0), (230.0, 56.0), Stroke::new(SERIES[0]));
    drawing.label((360.0, 276.0), "KL to the prior", Anchor::Middle, INK);
    drawing.label((360.0, 298.0), "a formula in $μ$ and $σ$", Anchor::Middle, INK);
    drawing.arrow((428.0, 60.0), (472.0, 252.0), 62.0, Stroke::new(SERIES[0]).dashed());
    drawing.finish()
}

/// The same five draws of the noise, under two bells.
pub fn reparameterization() -> Figure {
    let mut drawing = Drawing::new(330.0);
    let noise = [-1.5, -0.6, 0.1, 0.7, 1.6];
    let line = |top: f64, height: f64, most: f64| Chart {
        corner: (30.0, top),
        size: (460.0, height),
        x: (-3.6, 3.6),
        y: (0.0, most),
    };
    let source = line(25.0, 75.0, 0.45);
    drawing.area(&source.under(|e| normal(e, 0.0, 1.0)), MUTED, 0.3);
    drawing.line(&source.curve(|e| normal(e, 0.0, 1.0)), Stroke::new(MUTED));
    drawing.label((34.0, 50.0), "$ε$ from N(0, 1):", Anchor::Start, INK);
    drawing.label((34.0, 72.0), "drawn once", Anchor::Start, INK);
    let bells = [(-1.4, 0.45, SERIES[0]), (1.0, 0.8, SERIES[1])];
    let target = line(200.0, 85.0, 0.95);
    for (mean, deviation, color) in bells {
        for e in noise {
            let (from, to) = (source.at(e, 0.0), target.at(mean + deviation * e, 0.0));
            drawing.line(&[from, to], Stroke::new(color).width(1.2));
        }
        let q = |z| normal(z, mean, deviation);
        drawing.area(&target.under(q), color, 0.3);
        drawing.line(&target.curve(q), Stroke::new(color));
        for e in noise {
            drawing.dot(target.at(mean + deviation * e, 0.0), 4.5, color);
        }
    }
    for e in noise {
        drawing.dot(source.at(e, 0.0), 4.5, INK);
    }
    let base = |chart: &Chart| [chart.at(-3.6, 0.0), chart.at(3.6, 0.0)];
    drawing.line(&base(&source), Stroke::new(MUTED).width(1.2));
    drawing.line(&base(&target), Stroke::new(MUTED).width(1.2));
    drawing.label((34.0, 240.0), "$z = μ + σ ε$", Anchor::Start, INK);
    drawing.label((170.0, 312.0), "$μ$ = −1.4, $σ$ = 0.45", Anchor::Middle, SERIES[0]);
    drawing.label((360.0, 312.0), "$μ$ = 1, $σ$ = 0.8", Anchor::Middle, SERIES[1]);
    drawing.finish()
}
