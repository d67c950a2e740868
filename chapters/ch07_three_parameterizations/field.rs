//! Vector fields in the plane.

use elbo_to_diffusion::{
    error::{Error, Result},
    figure::{Figure, SERIES, Table, cannot_draw, squares},
};
use plotters::prelude::{Circle, Color, PathElement};

/// One picture: arrows over a density.
pub struct Field {
    /// Text above the picture.
    pub title: String,
    /// Where each arrow starts, and its direction and length.
    pub arrows: Vec<([f64; 2], [f64; 2])>,
    /// Points drawn as dots; may be empty.
    pub points: Vec<[f64; 2]>,
}

/// Draws the fields side by side on the square [-range, range]^2. The longest arrow of all
/// gets the length `longest`. The data are the arrows.
pub fn fields(fields: &[Field], range: f64, longest: f64) -> Result<Figure> {
    let length = |[x, y]: [f64; 2]| x.hypot(y);
    let arrows = || fields.iter().flat_map(|field| &field.arrows);
    if arrows()
        .any(|(from, by)| [from, by].iter().any(|p| !p[0].is_finite() || !p[1].is_finite()))
    {
        return Err(Error::failure("cannot draw the field: an arrow is not finite"));
    }
    let scale =
        longest / arrows().map(|(_, by)| length(*by)).fold(f64::MIN_POSITIVE, f64::max);
    let titles: Vec<&str> = fields.iter().map(|field| field.title.as_str()).collect();
    let svg = squares(&titles, range, |i, square| {
        let field = &fields[i];
        let dots = field.points.iter().filter(|p| p.iter().all(|v| v.abs() < range));
        let dots = dots.map(|&[x, y]| Circle::new((x, y), 2, SERIES[1].mix(0.35).filled()));
        square.draw_series(dots).map_err(cannot_draw)?;
        let lines = field.arrows.iter().map(|(from, by)| {
            let (dx, dy) = (by[0] * scale, by[1] * scale);
            let (x, y) = (from[0] + dx, from[1] + dy);
            // The barbs of the arrow head, a third of its length, at 25 degrees to the
            // shaft.
            let barb = |turn: f64| {
                let (sin, cos) = turn.sin_cos();
                (x - (dx * cos - dy * sin) / 3.0, y - (dx * sin + dy * cos) / 3.0)
            };
            let turn = 25f64.to_radians();
            PathElement::new(
                vec![(from[0], from[1]), (x, y), barb(turn), (x, y), barb(-turn)],
                SERIES[0].stroke_width(1),
            )
        });
        square.draw_series(lines).map_err(cannot_draw)?;
        Ok(())
    })?;
    let mut data = Table::new(
        "within 0.03 of the range: linear, linear, linear, linear",
        &["field", "x", "y", "arrow in x", "arrow in y"],
    );
    for field in fields {
        for (from, by) in &field.arrows {
            data.row(&field.title, from.iter().chain(by).copied());
        }
    }
    Ok(data.with(svg))
}
