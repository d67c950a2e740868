//! Chapter 7: what a network may predict, as a circle, and as a skip and a scale.

use elbo_to_diffusion::figure::{
    Anchor, Drawing, Figure, INK, MUTED, Point, SERIES, Stroke,
};

/// z, x, eps and v in one plane: time is an angle.
pub fn circle() -> Figure {
    let mut drawing = Drawing::new(355.0);
    let center = (175.0, 245.0);
    let radius = 215.0;
    let at = |angle: f64, r: f64| -> Point {
        (center.0 + r * angle.cos(), center.1 - r * angle.sin())
    };
    let arc = |from: f64, to: f64, r: f64| -> Vec<Point> {
        (0..=60).map(|i| at(from + (to - from) * f64::from(i) / 60.0, r)).collect()
    };
    let quarter = std::f64::consts::FRAC_PI_2;
    let angle = 0.62;
    drawing
        .line(&arc(-0.25, quarter + 0.62, radius), Stroke::new(MUTED).dashed().width(1.4));
    let mut ray = |angle: f64, color| {
        drawing.arrow(center, at(angle, radius), 0.0, Stroke::new(color).width(3.0));
    };
    ray(0.0, SERIES[0]);
    ray(quarter, SERIES[1]);
    ray(angle, INK);
    ray(angle + quarter, SERIES[2]);
    // The shadows of z on the two axes.
    let z = at(angle, radius);
    let thin = Stroke::new(MUTED).dashed().width(1.2);
    drawing.line(&[z, (z.0, center.1)], thin);
    drawing.line(&[z, (center.0, z.1)], thin);
    drawing.line(&arc(0.0, angle, 60.0), Stroke::new(INK).width(1.5));
    drawing.label(at(0.5 * angle, 72.0), "$φ_t$", Anchor::Start, INK);
    drawing.label((394.0, 240.0), "$x$", Anchor::Start, SERIES[0]);
    drawing.label((183.0, 24.0), "$ε$", Anchor::Start, SERIES[1]);
    drawing.label(
        (z.0 + 8.0, z.1 - 2.0),
        "$z_t = cos φ_t x + sin φ_t ε$",
        Anchor::Start,
        INK,
    );
    let v = at(angle + quarter, radius);
    drawing.label((v.0 - 6.0, v.1 - 12.0), "$v$", Anchor::End, SERIES[2]);
    drawing.label((z.0, center.1 + 20.0), "$√ᾱ_t$", Anchor::Middle, MUTED);
    drawing.label((center.0 - 8.0, z.1 + 16.0), "$√(1−ᾱ_t)$", Anchor::End, MUTED);
    drawing.label(
        (60.0, 300.0),
        "no noise: $φ$ = 0, $z = x$, $v = ε$",
        Anchor::Start,
        MUTED,
    );
    drawing.label(
        (60.0, 325.0),
        "all noise: $φ$ = 90°, $z = ε$, $v = −x$",
        Anchor::Start,
        MUTED,
    );
    drawing.label(
        (60.0, 350.0),
        "$v$ is where $z$ moves when $φ$ grows",
        Anchor::Start,
        SERIES[2],
    );
    drawing.finish()
}

/// How every output is read: so much of z, plus so much of what the network says.
pub fn skip_and_scale() -> Figure {
    let mut drawing = Drawing::new(300.0);
    let arrow = Stroke::new(INK).width(1.8);
    let (above, below) = (50.0, 125.0);
    drawing.node((40.0, 0.5 * (above + below)), 24.0, "$z_t$", true);
    drawing.frame((240.0, above), (110.0, 40.0), Stroke::new(SERIES[0]));
    drawing.label((240.0, above + 5.0), "× skip", Anchor::Middle, INK);
    drawing.frame((145.0, below), (100.0, 40.0), Stroke::new(MUTED));
    drawing.label((145.0, below + 5.0), "network", Anchor::Middle, INK);
    drawing.frame((335.0, below), (110.0, 40.0), Stroke::new(SERIES[1]));
    drawing.label((335.0, below + 5.0), "× scale", Anchor::Middle, INK);
    drawing.label((237.0, below - 10.0), "output", Anchor::Middle, MUTED);
    let end = (480.0, 0.5 * (above + below));
    drawing.node(end, 24.0, "$x̂$", false);
    for (from, to) in [
        ((58.0, 70.0), (183.0, above)),
        ((58.0, 105.0), (93.0, below)),
        ((196.0, below), (278.0, below)),
        ((296.0, above), (461.0, 72.0)),
        ((391.0, below), (461.0, 103.0)),
    ] {
        drawing.arrow(from, to, 0.0, arrow);
    }
    drawing.label((431.0, 93.0), "+", Anchor::Middle, INK);
    let columns =
        [(20.0, "output"), (100.0, "skip"), (205.0, "scale"), (345.0, "at much noise")];
    for (x, name) in columns {
        drawing.label((x, 190.0), name, Anchor::Start, MUTED);
    }
    for (y, cells) in [
        (218.0, ["$x$", "0", "1", "all of $x̂$"]),
        (246.0, ["$ε$", "1 / $√ᾱ$", "−$√(1−ᾱ)$ / $√ᾱ$", "scale without end"]),
        (274.0, ["$v$", "$√ᾱ$", "−$√(1−ᾱ)$", "scale near 1"]),
    ] {
        for ((x, _), cell) in columns.into_iter().zip(cells) {
            drawing.label((x, y), cell, Anchor::Start, INK);
        }
    }
    drawing.finish()
}
