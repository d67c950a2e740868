//! A function of two variables as bands between contour lines, with paths over them.

use std::fmt::Write;

use elbo_to_diffusion::{
    error::{Error, Result},
    figure::{Axis, FINE, FONT, Figure, Frame, INK, MUTED, Plot, Series, TEXT},
};

use super::contour::contours;

/// A map of f(x, y): darker where f is lower, contour lines, and paths on top.
pub struct Surface<F> {
    /// The horizontal axis; linear, with a range.
    pub x: Axis,
    /// The vertical axis; linear, with a range.
    pub y: Axis,
    /// The function. Values that are not finite count as above every contour line.
    pub value: F,
    /// The values at which contour lines run; each line carries its own as a label.
    pub heights: Vec<f64>,
    /// Curves over the map, named in the legend if there is more than one.
    pub paths: Vec<Series>,
}

impl<F: Fn(f64, f64) -> f64> Surface<F> {
    /// Draws the map. Its data are the paths and the contour lines. Fails if an
    /// axis has no range, or there is no path to draw.
    pub fn draw(self) -> Result<Figure> {
        const COLUMNS: usize = 160;
        const ROWS: usize = 100;
        let (Some(x), Some(y), false) =
            (self.x.range, self.y.range, self.x.log || self.y.log)
        else {
            return Err(Error::failure(
                "cannot draw the figure: a surface needs two linear axes with a range",
            ));
        };
        let along = |range: (f64, f64), i: f64, n: usize| {
            range.0 + (range.1 - range.0) * i / n as f64
        };
        let row = |j| {
            (0..=COLUMNS)
                .map(|i| {
                    (self.value)(along(x, i as f64, COLUMNS), along(y, j as f64, ROWS))
                })
                .collect()
        };
        let values: Vec<Vec<f64>> = (0..=ROWS).map(row).collect();

        let plot = Plot { x: self.x, y: self.y, series: self.paths };
        let (svg, frame) = plot.draw_framed()?;
        let mut data = plot.data();
        let (mut bands, mut labels, mut taken) = (String::new(), String::new(), Vec::new());
        let rgb =
            |c: plotters::style::RGBColor| format!("#{:02x}{:02x}{:02x}", c.0, c.1, c.2);
        let (grey, ink) = (rgb(MUTED), rgb(INK));
        for &height in &self.heights {
            let lines = contours(&values, height);
            for &(i, j) in lines.iter().flatten() {
                let at = [along(x, i, COLUMNS), along(y, j, ROWS)];
                data.row(&format!("contour line {height}"), at);
            }
            let curves: Vec<Vec<(f64, f64)>> = lines
                .into_iter()
                .map(|curve| {
                    let pixel = |(i, j): (f64, f64)| {
                        let across =
                            frame.x.0 + (frame.x.1 - frame.x.0) * i / COLUMNS as f64;
                        (across, frame.y.1 - (frame.y.1 - frame.y.0) * j / ROWS as f64)
                    };
                    curve.into_iter().map(pixel).collect()
                })
                .collect();
            let outline =
                curves.iter().fold(String::new(), |path, curve| path + &closed(curve));
            // Bands lie on top of each other, so the colour deepens towards the lowest.
            let style = format!(
                "fill=\"{grey}\" fill-opacity=\"0.15\" stroke=\"{grey}\" stroke-width=\"{FINE}\" stroke-opacity=\"0.8\""
            );
            let _ =
                writeln!(bands, "<path d=\"{outline}\" fill-rule=\"evenodd\" {style}/>");
            for curve in &curves {
                let Some((across, down)) = label_place(curve, &frame, &taken) else {
                    continue;
                };
                taken.push((across, down));
                let place = format!(
                    "x=\"{across:.0}\" y=\"{:.0}\" text-anchor=\"middle\"",
                    down - 4.0 * f64::from(FINE)
                );
                let font = format!(
                    "font-family=\"{FONT}\" font-size=\"{}\" fill=\"{ink}\"",
                    FINE * (TEXT - 3)
                );
                let _ = writeln!(labels, "<text {place} {font}>{height}</text>");
            }
        }
        let Some((head, rest)) = svg.split_once('\n') else {
            return Err(Error::failure("cannot draw the figure: plotters wrote no SVG"));
        };
        let rest = rest.trim_end();
        let body = rest.strip_suffix("</svg>").unwrap_or(rest);
        Ok(data.with(format!("{head}\n{bands}{body}{labels}</svg>\n")))
    }
}

/// The SVG path of a closed curve.
fn closed(curve: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (i, (x, y)) in curve.iter().enumerate() {
        let _ = write!(path, "{}{x:.0} {y:.0}", if i == 0 { 'M' } else { 'L' });
    }
    path + "z"
}

/// Where the label of a curve stands: at its lowest, leftmost, rightmost or highest point,
/// whichever is the first that lies off the frame and clear of the labels that are `taken`.
fn label_place(
    curve: &[(f64, f64)],
    frame: &Frame,
    taken: &[(f64, f64)],
) -> Option<(f64, f64)> {
    let extreme = |key: fn(&(f64, f64)) -> f64| {
        curve.iter().copied().max_by(|a, b| key(a).total_cmp(&key(b)))
    };
    let candidates =
        [extreme(|p| p.1), extreme(|p| -p.0), extreme(|p| p.0), extreme(|p| -p.1)];
    let unit = f64::from(FINE);
    let inside = |(x, y): &(f64, f64)| {
        let across = *x > frame.x.0 + 16.0 * unit && *x < frame.x.1 - 16.0 * unit;
        across && *y > frame.y.0 + 20.0 * unit && *y < frame.y.1 - 3.0 * unit
    };
    let apart = |(x, y): (f64, f64), (a, b): (f64, f64)| {
        (x - a).abs() > 30.0 * unit || (y - b).abs() > 16.0 * unit
    };
    let clear = |place: &(f64, f64)| taken.iter().all(|&other| apart(*place, other));
    candidates.into_iter().flatten().find(|place| inside(place) && clear(place))
}

#[cfg(test)]
mod tests {
    use elbo_to_diffusion::figure::Style;

    use super::*;

    fn bowl(x: Axis) -> Surface<impl Fn(f64, f64) -> f64> {
        Surface {
            x,
            y: Axis::linear("y").range(-2.0, 2.0),
            value: |x: f64, y: f64| x * x + y * y,
            heights: vec![0.5, 1.0],
            paths: vec![Series::new("", Style::Line, [(0.0, 0.0), (1.0, 1.0)])],
        }
    }

    #[test]
    fn each_height_has_its_line_and_its_label() {
        let Figure { svg, data } = bowl(Axis::linear("x").range(-2.0, 2.0)).draw().unwrap();
        assert!(data.contains("\ncontour line 0.5,") && data.contains("\ncontour line 1,"));
        assert_eq!(svg.matches("fill-rule=\"evenodd\"").count(), 2);
        assert!(svg.contains(">0.5</text>") && svg.contains(">1</text>"));
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("</svg>").count(), 1);
    }

    #[test]
    fn an_axis_without_a_range_is_refused() {
        let error = bowl(Axis::linear("x")).draw().unwrap_err();
        assert!(error.to_string().contains("range"), "{error}");
    }
}
