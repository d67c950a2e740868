//! Line charts.

use plotters::prelude::*;

use super::{
    data::{Figure, Table},
    palette::{FONT, GRID, INK, MUTED, SERIES, TEXT, cannot_draw},
    rectangles::merge_rectangles,
    scale::Scale,
};
use crate::error::{Error, Result};

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A line.
    Line,
    /// A line with a dot at each point.
    LineAndDots,
    /// Dots alone.
    Dots,
    /// A thin dashed line in a muted colour, for a reference.
    Reference,
}

/// One curve and its name in the legend.
#[derive(Clone, Debug)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Points (x, y); those that are not finite are left out.
    pub points: Vec<(f64, f64)>,
    /// How it is drawn.
    pub style: Style,
}

impl Series {
    /// A series of this style.
    pub fn new(
        name: impl Into<String>,
        style: Style,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> Self {
        let points =
            points.into_iter().filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
        Self { name: name.into(), points, style }
    }
}

/// An axis: its label with the unit, and its scale.
#[derive(Clone, Debug)]
pub struct Axis {
    /// Label, with the unit.
    pub label: String,
    /// True for a logarithmic scale.
    pub log: bool,
    /// Smallest and largest value; `None` takes them from the data.
    pub range: Option<(f64, f64)>,
}

impl Axis {
    /// A linear axis that fits the data.
    pub fn linear(label: impl Into<String>) -> Self {
        Self { label: label.into(), log: false, range: None }
    }

    /// A logarithmic axis that fits the data.
    pub fn log(label: impl Into<String>) -> Self {
        Self { label: label.into(), log: true, range: None }
    }

    /// The same axis from `low` to `high`.
    pub fn range(self, low: f64, high: f64) -> Self {
        Self { range: Some((low, high)), ..self }
    }

    /// The range to draw, a little larger than the data.
    fn fit(&self, values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
        if let Some(range) = self.range {
            return range;
        }
        let scale = |v: f64| if self.log { v.ln() } else { v };
        let (low, high) = values
            .fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(scale(v)), h.max(scale(v))));
        let margin = if high > low { 0.04 * (high - low) } else { 0.5 };
        let unscale = |v: f64| if self.log { v.exp() } else { v };
        (unscale(low - margin), unscale(high + margin))
    }

    fn scale(&self, range: (f64, f64)) -> Scale {
        if self.log { Scale::log(range) } else { Scale::linear(range) }
    }
}

/// Units of a chart in a pixel. plotters places everything on whole units, so curves stay
/// smooth.
pub const FINE: u32 = 4;

/// The plotting area within an SVG, in units of which [`FINE`] are a pixel.
pub struct Frame {
    /// Its left and its right end.
    pub x: (f64, f64),
    /// Its upper and its lower end.
    pub y: (f64, f64),
}

/// How far the points of a chart may differ between machines, as a share of the range of
/// their axis: less than an eye sees.
const SHARE: f64 = 0.03;

/// A line chart.
#[derive(Clone, Debug)]
pub struct Plot {
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The curves.
    pub series: Vec<Series>,
}

impl Plot {
    /// One line on linear axes with these labels.
    pub fn curve(x: &str, y: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self {
            x: Axis::linear(x),
            y: Axis::linear(y),
            series: vec![Series::new("", Style::Line, points)],
        }
    }

    /// Draws the chart. Fails if there is nothing to draw or a log axis gets a value <= 0.
    pub fn draw(&self) -> Result<Figure> {
        Ok(self.data().with(self.draw_framed()?.0))
    }

    /// Each point of each curve.
    pub fn data(&self) -> Table {
        let scale = |axis: &Axis| if axis.log { "logarithmic" } else { "linear" };
        let agreement =
            format!("within {SHARE} of the range: {}, {}", scale(&self.x), scale(&self.y));
        let mut data = Table::new(&agreement, &["curve", &self.x.label, &self.y.label]);
        for series in &self.series {
            series.points.iter().for_each(|&(x, y)| data.row(&series.name, [x, y]));
        }
        data
    }

    /// The SVG, and where the plotting area lies in it. Fails as [`Self::draw`] does.
    pub fn draw_framed(&self) -> Result<(String, Frame)> {
        let points = || self.series.iter().flat_map(|s| &s.points).copied();
        if points().next().is_none() {
            return Err(Error::failure("cannot draw the figure: it has no points"));
        }
        if points().any(|(x, y)| (self.x.log && x <= 0.0) || (self.y.log && y <= 0.0)) {
            return Err(Error::failure(
                "cannot draw the figure: a logarithmic axis needs positive values",
            ));
        }
        let (x, y) = (self.x.fit(points().map(|p| p.0)), self.y.fit(points().map(|p| p.1)));
        self.draw_on(self.x.scale(x), self.y.scale(y))
    }

    fn draw_on(&self, x: Scale, y: Scale) -> Result<(String, Frame)> {
        let legend_rows = self.series.iter().filter(|s| !s.name.is_empty()).count() as u32;
        let legend_height =
            if legend_rows > 1 { legend_rows.div_ceil(2) * (TEXT + 6) + 6 } else { 0 };
        let (width, height) = (480, 300 + legend_height);
        let mut svg = String::new();
        let frame = {
            let area = SVGBackend::with_string(&mut svg, (FINE * width, FINE * height))
                .into_drawing_area();
            let (legend, chart_area) = area.split_vertically(FINE * legend_height);
            if legend_height > 0 {
                self.legend(&legend)?;
            }
            let text = || TextStyle::from((FONT, FINE * TEXT).into_font()).color(&INK);
            let mut chart = ChartBuilder::on(&chart_area)
                .margin(FINE * 8)
                .margin_right(FINE * 16)
                .x_label_area_size(FINE * 44)
                .y_label_area_size(FINE * 68)
                .build_cartesian_2d(x, y)
                .map_err(cannot_draw)?;
            chart
                .configure_mesh()
                .x_desc(&self.x.label)
                .y_desc(&self.y.label)
                .label_style(text())
                .axis_desc_style(text())
                .x_labels(6)
                .y_labels(6)
                .x_label_formatter(&|v| tick(*v, 1e5))
                .y_label_formatter(&|v| tick(*v, 1e4))
                .set_all_tick_mark_size(FINE * 5)
                .axis_style(MUTED.stroke_width(FINE))
                .bold_line_style(GRID.stroke_width(FINE))
                .light_line_style(GRID.mix(0.0))
                .draw()
                .map_err(cannot_draw)?;
            for (i, series) in self.series.iter().enumerate() {
                let (points, color) = (series.points.iter().copied(), self.color(i));
                match series.style {
                    Style::Reference => {
                        let dashes = DashedLineSeries::new(
                            points,
                            FINE * 6,
                            FINE * 4,
                            color.stroke_width(FINE * 2),
                        );
                        chart.draw_series(dashes).map_err(cannot_draw)?;
                    }
                    Style::Line | Style::LineAndDots => {
                        chart
                            .draw_series(LineSeries::new(
                                points,
                                color.stroke_width(FINE * 2),
                            ))
                            .map_err(cannot_draw)?;
                    }
                    Style::Dots => {}
                }
                if matches!(series.style, Style::Dots | Style::LineAndDots) {
                    let dots = series
                        .points
                        .iter()
                        .map(|&p| Circle::new(p, FINE * 3, color.filled()));
                    chart.draw_series(dots).map_err(cannot_draw)?;
                }
            }
            area.present().map_err(cannot_draw)?;
            let (x, y) = chart.plotting_area().get_pixel_range();
            Frame {
                x: (f64::from(x.start), f64::from(x.end)),
                y: (f64::from(y.start), f64::from(y.end)),
            }
        };
        // The size in which it is shown; the viewBox keeps the fine units.
        let fine = format!("width=\"{}\" height=\"{}\"", FINE * width, FINE * height);
        let svg = svg.replacen(&fine, &format!("width=\"{width}\" height=\"{height}\""), 1);
        Ok((merge_rectangles(&svg), frame))
    }

    /// The colour of series `i`: muted for references, otherwise the next of the palette.
    fn color(&self, i: usize) -> RGBColor {
        if self.series[i].style == Style::Reference {
            return MUTED;
        }
        let before =
            self.series[..i].iter().filter(|s| s.style != Style::Reference).count();
        SERIES[before % SERIES.len()]
    }

    /// The legend above the chart, two entries in a row, where it cannot hide a curve.
    fn legend(&self, area: &DrawingArea<SVGBackend, plotters::coord::Shift>) -> Result<()> {
        let named = self.series.iter().enumerate().filter(|(_, s)| !s.name.is_empty());
        for (place, (i, series)) in named.enumerate() {
            let unit = FINE as i32;
            let left = unit * (72 + (place % 2) as i32 * 206);
            let top = unit * (8 + (place / 2) as i32 * (TEXT as i32 + 6));
            let middle = top + unit * TEXT as i32 / 2;
            let color = self.color(i);
            match series.style {
                Style::Dots => area
                    .draw(&Circle::new(
                        (left + unit * 10, middle),
                        unit * 3,
                        color.filled(),
                    ))
                    .map_err(cannot_draw)?,
                Style::Reference => {
                    for dash in 0..2 {
                        let x = left + unit * dash * 12;
                        let line = PathElement::new(
                            [(x, middle), (x + unit * 8, middle)],
                            color.stroke_width(FINE * 2),
                        );
                        area.draw(&line).map_err(cannot_draw)?;
                    }
                }
                Style::Line | Style::LineAndDots => {
                    let line = PathElement::new(
                        [(left, middle), (left + unit * 20, middle)],
                        color.stroke_width(FINE * 2),
                    );
                    area.draw(&line).map_err(cannot_draw)?;
                }
            }
            let text = TextStyle::from((FONT, FINE * TEXT).into_font()).color(&INK);
            area.draw(&Text::new(series.name.clone(), (left + unit * 26, top), text))
                .map_err(cannot_draw)?;
        }
        Ok(())
    }
}

/// A number on an axis, short; from `large` on as a power of ten.
fn tick(v: f64, large: f64) -> String {
    let magnitude = v.abs();
    if v == 0.0 {
        "0".into()
    } else if !(1e-3..large).contains(&magnitude) {
        format!("{v:.0e}")
    } else {
        let decimals = (2.0 - magnitude.log10().floor()).clamp(0.0, 5.0) as usize;
        let text = format!("{v:.decimals$}");
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        } else {
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_on_an_axis_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.05, "0.05"),
            (-0.125, "-0.125"),
            (12.5, "12.5"),
            (300.0, "300"),
            (2e-4, "2e-4"),
            (1e5, "1e5"),
        ] {
            assert_eq!(tick(value, 1e4), text);
        }
    }
}
