//! Vector fields in the plane.

use elbo_to_diffusion::{
    error::{Error, Result},
    figure::{FONT, Figure, GRID, INK, MUTED, SERIES, TEXT, Table, cannot_draw},
};
use plotters::prelude::*;

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
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (480, 280)).into_drawing_area();
        let text = || TextStyle::from((FONT, TEXT).into_font()).color(&INK);
        for (panel, field) in area.split_evenly((1, fields.len().max(1))).iter().zip(fields)
        {
            panel
                .draw(&Text::new(field.title.clone(), (36, 6), text()))
                .map_err(cannot_draw)?;
            let mut chart = ChartBuilder::on(panel)
                .margin(6)
                .margin_top(30)
                .x_label_area_size(26)
                .y_label_area_size(30)
                .build_cartesian_2d(-range..range, -range..range)
                .map_err(cannot_draw)?;
            chart
                .configure_mesh()
                .label_style(text())
                .x_labels(3)
                .y_labels(3)
                .axis_style(MUTED)
                .bold_line_style(GRID)
                .light_line_style(GRID.mix(0.0))
                .draw()
                .map_err(cannot_draw)?;
            let dots = field.points.iter().filter(|p| p.iter().all(|v| v.abs() < range));
            let dots =
                dots.map(|&[x, y]| Circle::new((x, y), 2, SERIES[1].mix(0.35).filled()));
            chart.draw_series(dots).map_err(cannot_draw)?;
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
            chart.draw_series(lines).map_err(cannot_draw)?;
        }
        area.present().map_err(cannot_draw)?;
    }
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
