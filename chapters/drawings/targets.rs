//! Chapter 7: what a network may predict, as a circle, and as a skip and a scale.

use elbo_to_diffusion::{
    error::Result,
    figure::{
        Anchor, Axis, Drawing, INK, MUTED, Plot, Point, SERIES, Series, Stroke, Style,
    },
    oracle::NoiseLevel,
};

/// z, x, eps and v in one plane: time is an angle.
pub fn circle() -> String {
    let mut drawing = Drawing::new(400.0);
    let center = (175.0, 290.0);
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
    drawing.label((394.0, 285.0), "$x$", Anchor::Start, SERIES[0]);
    drawing.label((183.0, 68.0), "$ε$", Anchor::Start, SERIES[1]);
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
        (60.0, 345.0),
        "no noise: $φ$ = 0, $z = x$, $v = ε$",
        Anchor::Start,
        MUTED,
    );
    drawing.label(
        (60.0, 370.0),
        "all noise: $φ$ = 90°, $z = ε$, $v = −x$",
        Anchor::Start,
        MUTED,
    );
    drawing.label(
        (60.0, 395.0),
        "$v$ is where $z$ moves when $φ$ grows",
        Anchor::Start,
        SERIES[2],
    );
    drawing.svg()
}

/// The estimate of x as a multiple of z plus a multiple of what the network returns: how
/// large the second is, for the three targets.
pub fn skip_and_scale() -> Result<String> {
    let curve = |name: &str, f: &dyn Fn(NoiseLevel) -> f64| {
        let gammas = (0..=100).map(|i| -8.0 + 13.0 * f64::from(i) / 100.0);
        Series::new(name, Style::Line, gammas.map(|g| (g, f(NoiseLevel::new(g)))))
    };
    let plot = Plot {
        x: Axis::linear("gamma = -log SNR"),
        y: Axis::log("scale of the output"),
        series: vec![
            curve("x", &|_| 1.0),
            curve("noise", &|level| (0.5 * level.gamma).exp()),
            curve("v", &|level| level.noise().sqrt()),
        ],
    };
    plot.draw()
}
