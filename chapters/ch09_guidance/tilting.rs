//! Guidance on the line beside the tilted distribution.

use elbo_to_diffusion::{
    chapter::Chapter,
    error::Result,
    figure::{Axis, Plot, Series, Style},
};

use rayon::prelude::*;

use crate::line::{Classes, Moments};

/// Steps of the flow; twice as many change no digit that is printed.
const STEPS: usize = 1500;
/// The strength that the figure shows.
const SHOWN: f64 = 3.0;

/// What samples are said to come from, and what they come from.
pub struct Row {
    strength: f64,
    tilted: Moments,
    guided: Moments,
}

pub struct Tilting {
    rows: Vec<Row>,
    /// The same strength as in the figure, for flows that begin with less noise.
    starts: Vec<(f64, Moments)>,
    /// Points (x, density): of the data, of the class, tilted, guided.
    curves: [Vec<(f64, f64)>; 4],
}

// ANCHOR: measure
/// Two normals of variance 1/4 at -1 and 1, guided to the second.
pub fn measure() -> Result<Tilting> {
    let classes = Classes::pair(0.25)?;
    let row = |strength: f64| Row {
        strength,
        tilted: classes.tilted_moments(strength).1,
        guided: classes.guided(12.0, strength, STEPS),
    };
    let start = |gamma_max: f64| (gamma_max, classes.guided(gamma_max, SHOWN, STEPS));
    let x = || (0..=240).map(|i| f64::from(i) / 40.0 - 3.0);
    let strengths = [0.0, 0.5, 1.0, 2.0, 3.0, 8.0];
    let mass = classes.tilted_moments(SHOWN).0;
    Ok(Tilting {
        rows: strengths.into_par_iter().map(row).collect(),
        starts: [5.0, 12.0, 20.0].into_par_iter().map(start).collect(),
        curves: [
            x().map(|x| (x, classes.data.log_prob(x).exp())).collect(),
            x().map(|x| (x, classes.class.log_prob(x).exp())).collect(),
            x().map(|x| (x, classes.tilted(x, SHOWN) / mass)).collect(),
            classes.guided_density(12.0, SHOWN, STEPS),
        ],
    })
}
// ANCHOR_END: measure

pub fn report(chapter: &mut Chapter, found: &Tilting) -> Result<()> {
    let report = &mut chapter.report;
    report.section("Guidance is not tilting");
    report.exact_table(
        &["w", "tilted mean", "tilted variance", "guided mean", "guided variance"],
        4,
        found.rows.iter().map(|row| {
            let (tilted, guided) = (row.tilted, row.guided);
            let numbers = [tilted.mean, tilted.variance, guided.mean, guided.variance];
            (format!("{}", row.strength), numbers)
        }),
    );
    report.section("The same from less or more noise, w = 3");
    report.exact_table(
        &["gamma_max", "guided mean", "guided variance"],
        4,
        found.starts.iter().map(|(gamma_max, guided)| {
            (format!("{gamma_max}"), [guided.mean, guided.variance])
        }),
    );
    let names = ["data p(x)", "class p(x|y)", "tilted, w = 3", "guided, w = 3"];
    let styles = [Style::Reference, Style::Line, Style::Line, Style::Line];
    let curves = names.into_iter().zip(styles).zip(&found.curves);
    let series = curves
        .map(|((name, style), curve)| {
            let inside = curve.iter().copied().filter(|(x, _)| (-2.5..=3.0).contains(x));
            Series::new(name, style, inside)
        })
        .collect();
    let plot =
        Plot { x: Axis::linear("x").range(-2.5, 3.0), y: Axis::linear("density"), series };
    chapter.figure("tilting", &plot.draw()?)
}
