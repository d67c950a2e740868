//! Chapter 5: the chain, and the two ways to pair its factors.

use elbo_to_diffusion::figure::{
    Anchor, Drawing, Figure, INK, MUTED, Point, SERIES, Stroke,
};

/// The forward process above, the reverse process below.
pub fn forward_and_reverse() -> Figure {
    let mut drawing = Drawing::new(200.0);
    let y = 100.0;
    let nodes = [
        (35.0, "$x$"),
        (125.0, "$z_1$"),
        (250.0, "$z_{t-1}$"),
        (350.0, "$z_t$"),
        (480.0, "$z_T$"),
    ];
    let (q, p) = (Stroke::new(SERIES[0]).dashed(), Stroke::new(SERIES[1]));
    for pair in nodes.windows(2) {
        let (from, to) = (pair[0].0, pair[1].0);
        drawing.arrow((from + 17.0, y - 20.0), (to - 17.0, y - 20.0), 16.0, q);
        drawing.arrow((to - 17.0, y + 20.0), (from + 17.0, y + 20.0), 16.0, p);
    }
    for (x, name) in nodes {
        drawing.node((x, y), 25.0, name, name == "$x$");
    }
    for x in [187.0, 415.0] {
        drawing.label((x, y + 4.0), "…", Anchor::Middle, MUTED);
    }
    drawing.label((300.0, 44.0), "$q(z_t|z_{t-1})$", Anchor::Middle, SERIES[0]);
    drawing.label((300.0, 168.0), "$p_θ(z_{t-1}|z_t)$", Anchor::Middle, SERIES[1]);
    drawing.label((80.0, 168.0), "$p_θ(x|z_1)$", Anchor::Middle, SERIES[1]);
    drawing.label((455.0, 168.0), "$p(z_T)$ = N(0, I)", Anchor::Middle, SERIES[1]);
    drawing.label((10.0, 22.0), "encoder: fixed, adds noise", Anchor::Start, SERIES[0]);
    drawing.label((10.0, 196.0), "model: learned, removes noise", Anchor::Start, SERIES[1]);
    drawing.finish()
}

/// The factors of a chain of three latents, paired by latent and by step.
pub fn pairings() -> Figure {
    let mut drawing = Drawing::new(440.0);
    let xs = [45.0, 185.0, 325.0, 465.0];
    let names = ["$x$", "$z_1$", "$z_2$", "$z_3$"];
    for (y, by_latent) in [(110.0, true), (325.0, false)] {
        // The factors that are compared have one colour; what is left over is muted.
        let pair = |i: usize| if i == 0 { MUTED } else { SERIES[i + 1] };
        for i in 0..3 {
            let (left, right) = (xs[i] + 18.0, xs[i + 1] - 18.0);
            // q goes into its right end, p into its left one.
            let (q, p) = if by_latent { ((i + 1) % 3, i) } else { (i, i) };
            let (q, p) = (Stroke::new(pair(q)).width(2.6), Stroke::new(pair(p)).width(2.6));
            let reversed = !by_latent && i > 0;
            let (from, to) = if reversed { (right, left) } else { (left, right) };
            let bend = if reversed { -16.0 } else { 16.0 };
            drawing.arrow((from, y - 20.0), (to, y - 20.0), bend, q.dashed());
            drawing.arrow((right, y + 20.0), (left, y + 20.0), 16.0, p);
        }
        for (&x, name) in xs.iter().zip(names) {
            drawing.node((x, y), 25.0, name, name == "$x$");
        }
        let q = if by_latent {
            ["$q(z_1|x)$", "$q(z_2|z_1)$", "$q(z_3|z_2)$"]
        } else {
            ["$q(z_1|x)$", "$q(z_1|z_2,x)$", "$q(z_2|z_3,x)$"]
        };
        let p = ["$p_θ(x|z_1)$", "$p_θ(z_1|z_2)$", "$p_θ(z_2|z_3)$"];
        for i in 0..3 {
            let middle = 0.5 * (xs[i] + xs[i + 1]);
            drawing.label((middle, y - 46.0), q[i], Anchor::Middle, INK);
            drawing.label((middle, y + 58.0), p[i], Anchor::Middle, INK);
        }
    }
    let heading = |drawing: &mut Drawing, at: Point, text: &str, rest: &str| {
        drawing.label(at, text, Anchor::Start, INK);
        drawing.label((at.0, at.1 + 20.0), rest, Anchor::Start, MUTED);
    };
    heading(
        &mut drawing,
        (10.0, 20.0),
        "By latent: who says what about $z_1$, about $z_2$?",
        "",
    );
    heading(&mut drawing, (10.0, 235.0), "By step: both say how to go down one step", "");
    drawing.label(
        (10.0, 205.0),
        "each pair needs three neighbours at once",
        Anchor::Start,
        MUTED,
    );
    drawing.label(
        (10.0, 420.0),
        "each pair is a KL divergence, given one latent",
        Anchor::Start,
        MUTED,
    );
    drawing.finish()
}
