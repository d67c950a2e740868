//! Pictures of the plane, side by side.

use plotters::{
    prelude::{Cartesian2d, ChartBuilder, ChartContext, IntoDrawingArea, SVGBackend, Text},
    style::{Color, IntoFont, TextStyle},
};

use super::{
    palette::{FONT, GRID, INK, MUTED, TEXT, cannot_draw},
    scale::Scale,
};
use crate::error::Result;

/// Height of one row of pictures.
const HEIGHT: u32 = 264;

/// The square [-range, range]^2, to be drawn on.
pub type Square<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Scale, Scale>>;

/// A square for each title, two in a row, with its axes and what `draw` puts into it, as
/// SVG.
pub fn squares(
    titles: &[&str],
    range: f64,
    mut draw: impl FnMut(usize, &mut Square) -> Result<()>,
) -> Result<String> {
    let rows = titles.len().div_ceil(2).max(1);
    let mut svg = String::new();
    {
        let size = (480, HEIGHT * rows as u32);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let text = || TextStyle::from((FONT, TEXT).into_font()).color(&INK);
        let side = || Scale::linear((-range, range));
        for (i, place) in area.split_evenly((rows, 2)).iter().enumerate().take(titles.len())
        {
            let title = Text::new(titles[i].to_string(), (38, 6), text());
            place.draw(&title).map_err(cannot_draw)?;
            let mut square = ChartBuilder::on(place)
                .margin(6)
                .margin_top(28)
                .x_label_area_size(24)
                .y_label_area_size(32)
                .build_cartesian_2d(side(), side())
                .map_err(cannot_draw)?;
            square
                .configure_mesh()
                .label_style(text())
                .x_labels(3)
                .y_labels(3)
                .axis_style(MUTED)
                .bold_line_style(GRID)
                .light_line_style(GRID.mix(0.0))
                .draw()
                .map_err(cannot_draw)?;
            draw(i, &mut square)?;
        }
        area.present().map_err(cannot_draw)?;
    }
    Ok(svg)
}
