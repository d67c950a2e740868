//! Drawings: nodes and arrows, labels with indices, curves and areas, placed in units of
//! the picture or of a chart in it.

use std::fmt::Write as _;

use plotters::style::RGBColor;

use super::data::{Figure, Table};
use super::palette::{FONT, GRID, INK, MUTED, PAPER};

/// Width of every drawing: on a phone its smallest text is then still nine pixels high.
pub const WIDTH: f64 = 520.0;
/// Height of letters, and of indices.
const LETTERS: f64 = 16.0;
const INDICES: f64 = 13.0;

/// A point, to the right and down.
pub type Point = (f64, f64);

/// Which end of a label its place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// It lies around it.
    Middle,
    /// It ends there.
    End,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Stroke {
    /// One of the palette.
    pub color: RGBColor,
    /// Its thickness.
    pub width: f64,
    /// True for dashes.
    pub dashed: bool,
}

impl Stroke {
    /// A line of two units.
    pub fn new(color: RGBColor) -> Self {
        Self { color, width: 2.0, dashed: false }
    }

    /// The same, dashed.
    pub fn dashed(self) -> Self {
        Self { dashed: true, ..self }
    }

    /// The same, this thick.
    pub fn width(self, width: f64) -> Self {
        Self { width, ..self }
    }
}

/// A rectangle of a drawing with coordinates of its own.
#[derive(Clone, Copy, Debug)]
pub struct Chart {
    /// Left and upper corner.
    pub corner: Point,
    /// Width and height.
    pub size: Point,
    /// The values at the left and at the right edge.
    pub x: (f64, f64),
    /// The values at the lower and at the upper edge.
    pub y: (f64, f64),
}

impl Chart {
    /// Where these values lie in the drawing.
    pub fn at(&self, x: f64, y: f64) -> Point {
        let part = |v: f64, (low, high): (f64, f64)| (v - low) / (high - low);
        (
            self.corner.0 + self.size.0 * part(x, self.x),
            self.corner.1 + self.size.1 * (1.0 - part(y, self.y)),
        )
    }

    /// The curve of a function, at 160 places of the chart's width.
    pub fn curve(&self, f: impl Fn(f64) -> f64) -> Vec<Point> {
        let (low, high) = self.x;
        let x = |i: i32| low + (high - low) * f64::from(i) / 160.0;
        (0..=160).map(|i| self.at(x(i), f(x(i)))).collect()
    }

    /// The same curve, closed along the lower edge.
    pub fn under(&self, f: impl Fn(f64) -> f64) -> Vec<Point> {
        let mut points = self.curve(f);
        points.push(self.at(self.x.1, self.y.0));
        points.push(self.at(self.x.0, self.y.0));
        points
    }
}

/// A drawing that grows by what is added to it; later things cover earlier ones.
///
/// Labels may hold `$…$` for letters of mathematics, and `_` and `^` with one character or
/// `{…}` for what stands lower or higher: `$q(z_t | z_{t-1})$`.
#[derive(Clone, Debug)]
pub struct Drawing {
    height: f64,
    body: String,
    data: Table,
    /// How many shapes there are.
    shapes: usize,
}

impl Drawing {
    /// An empty drawing of [`WIDTH`] and this height.
    pub fn new(height: f64) -> Self {
        let data = Table::new("within 1", &["shape", "right", "down"]);
        Self { height, body: String::new(), data, shapes: 0 }
    }

    /// The drawing, with the places of its shapes as data.
    pub fn finish(self) -> Figure {
        let svg = format!(
            "<svg width=\"{WIDTH}\" height=\"{0}\" viewBox=\"0 0 {WIDTH} {0}\" xmlns=\"http://www.w3.org/2000/svg\">\n{1}</svg>\n",
            self.height, self.body
        );
        self.data.with(svg)
    }

    fn add(&mut self, name: &str, points: &[Point], shape: &str) {
        self.shapes += 1;
        let name = format!("{} {name}", self.shapes);
        points.iter().for_each(|&(x, y)| self.data.row(&name, [x, y]));
        self.body.push_str(shape);
        self.body.push('\n');
    }

    /// A line through points.
    pub fn line(&mut self, points: &[Point], stroke: Stroke) {
        let shape =
            format!("<polyline points=\"{}\" {}/>", listed(points), attributes(stroke));
        self.add("line", points, &shape);
    }

    /// A filled polygon of this opacity.
    pub fn area(&mut self, points: &[Point], color: RGBColor, opacity: f64) {
        let shape = format!(
            "<polygon points=\"{}\" fill=\"{}\" opacity=\"{opacity}\"/>",
            listed(points),
            hex(color)
        );
        self.add("area", points, &shape);
    }

    /// A filled dot.
    pub fn dot(&mut self, (x, y): Point, radius: f64, color: RGBColor) {
        let shape = format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{}\"/>",
            hex(color)
        );
        self.add("dot", &[(x, y)], &shape);
    }

    /// An arrow; `bend` is how far its middle lies to its left, as it points.
    pub fn arrow(&mut self, from: Point, to: Point, bend: f64, stroke: Stroke) {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        let length = dx.hypot(dy).max(1e-9);
        let middle = (
            0.5 * (from.0 + to.0) + 2.0 * bend * dy / length,
            0.5 * (from.1 + to.1) - 2.0 * bend * dx / length,
        );
        // The head points as the curve ends.
        let (ex, ey) = (to.0 - middle.0, to.1 - middle.1);
        let end = ex.hypot(ey).max(1e-9);
        let (ux, uy) = (ex / end, ey / end);
        let (size, half) = (4.0 + 2.5 * stroke.width, 2.0 + 1.25 * stroke.width);
        let neck = (to.0 - 0.8 * size * ux, to.1 - 0.8 * size * uy);
        let shape = format!(
            "<path d=\"M{:.1} {:.1}Q{:.1} {:.1} {:.1} {:.1}\" {}/>",
            from.0,
            from.1,
            middle.0,
            middle.1,
            neck.0,
            neck.1,
            attributes(stroke)
        );
        self.add("arrow", &[from, middle, neck], &shape);
        let side = |sign: f64| {
            (to.0 - size * ux + sign * half * uy, to.1 - size * uy - sign * half * ux)
        };
        self.area(&[to, side(1.0), side(-1.0)], stroke.color, 1.0);
    }

    /// A variable: a circle, shaded where it is observed.
    pub fn node(&mut self, center: Point, radius: f64, label: &str, observed: bool) {
        let (fill, (x, y)) = (if observed { GRID } else { PAPER }, center);
        let shape = format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{}\" stroke=\"{}\" stroke-width=\"1.5\"/>",
            hex(fill),
            hex(INK)
        );
        self.add("node", &[center], &shape);
        self.label((x, y + 5.0), label, Anchor::Middle, INK);
    }

    /// A rectangle with round corners around a centre: a function, or a plate.
    pub fn frame(&mut self, (x, y): Point, (width, height): Point, stroke: Stroke) {
        let shape = format!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"6\" {}/>",
            x - 0.5 * width,
            y - 0.5 * height,
            attributes(stroke)
        );
        self.add("frame", &[(x, y), (width, height)], &shape);
    }

    /// A filled rectangle from its left upper corner.
    pub fn bar(
        &mut self,
        (x, y): Point,
        (width, height): Point,
        color: RGBColor,
        opacity: f64,
    ) {
        let corners = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)];
        self.area(&corners, color, opacity);
    }

    /// A line of text on this base line.
    pub fn label(&mut self, (x, y): Point, text: &str, anchor: Anchor, color: RGBColor) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let mut shape = format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-family=\"{FONT}\" font-size=\"{LETTERS}\" fill=\"{}\">",
            hex(color)
        );
        let mut shift = 0;
        for run in runs(text) {
            let wanted = -5 * run.level;
            let size = if run.level == 0 { LETTERS } else { INDICES };
            let style = if run.maths { " font-style=\"italic\"" } else { "" };
            let words =
                run.text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let _ = write!(
                shape,
                "<tspan dy=\"{}\" font-size=\"{size}\"{style}>{words}</tspan>",
                wanted - shift
            );
            shift = wanted;
        }
        shape.push_str("</text>");
        self.add(text, &[(x, y)], &shape);
    }

    /// The axes of a chart, with a name at the right end of the lower one and above the
    /// upper end of the left one, and ticks on the lower one.
    pub fn axes(&mut self, chart: &Chart, names: (&str, &str), ticks: &[(f64, &str)]) {
        let (left, bottom) = (chart.corner.0, chart.corner.1 + chart.size.1);
        let right = left + chart.size.0;
        let thin = Stroke::new(MUTED).width(1.2);
        self.line(&[(left, chart.corner.1), (left, bottom), (right, bottom)], thin);
        for (value, name) in ticks {
            let (x, _) = chart.at(*value, chart.y.0);
            self.line(&[(x, bottom), (x, bottom + 5.0)], thin);
            self.label((x, bottom + 20.0), name, Anchor::Middle, MUTED);
        }
        let below = if ticks.is_empty() { 20.0 } else { 38.0 };
        self.label((right, bottom + below), names.0, Anchor::End, INK);
        self.label((left, chart.corner.1 - 8.0), names.1, Anchor::Start, INK);
    }
}

/// A part of a label.
struct Run {
    text: String,
    maths: bool,
    /// 1 higher, -1 lower.
    level: i32,
}

/// The parts of a label, none empty.
fn runs(label: &str) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let (mut maths, mut rest) = (false, label.chars().peekable());
    let mut push = |text: &str, maths: bool, level: i32| match runs.last_mut() {
        Some(last) if last.maths == maths && last.level == level => {
            last.text.push_str(text)
        }
        _ => runs.push(Run { text: text.to_owned(), maths, level }),
    };
    while let Some(c) = rest.next() {
        match c {
            '$' => maths = !maths,
            '_' | '^' if maths => {
                let level = if c == '^' { 1 } else { -1 };
                match rest.next() {
                    Some('{') => {
                        let text: String =
                            rest.by_ref().take_while(|&c| c != '}').collect();
                        push(&text, maths, level);
                    }
                    Some(one) => push(&one.to_string(), maths, level),
                    None => {}
                }
            }
            // Brackets and figures stand upright in mathematics.
            _ => push(&c.to_string(), maths && c.is_alphabetic(), 0),
        }
    }
    runs
}

fn listed(points: &[Point]) -> String {
    let points: Vec<String> =
        points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    points.join(" ")
}

fn attributes(stroke: Stroke) -> String {
    let dashes = if stroke.dashed { " stroke-dasharray=\"6 4\"" } else { "" };
    format!(
        "fill=\"none\" stroke=\"{}\" stroke-width=\"{}\"{dashes}",
        hex(stroke.color),
        stroke.width
    )
}

fn hex(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_stand_lower_and_the_next_letter_does_not() {
        let mut drawing = Drawing::new(10.0);
        drawing.label((0.0, 0.0), "of $z_{t-1}|x^2$ & more", Anchor::Start, INK);
        let Figure { svg, data } = drawing.finish();
        assert!(data.contains("1 of $z_{t-1}|x^2$ & more,0"), "{data}");
        for part in [
            "<tspan dy=\"0\" font-size=\"16\">of </tspan>",
            "<tspan dy=\"0\" font-size=\"16\" font-style=\"italic\">z</tspan>",
            "<tspan dy=\"5\" font-size=\"13\" font-style=\"italic\">t-1</tspan>",
            "<tspan dy=\"-5\" font-size=\"16\">|</tspan>",
            "<tspan dy=\"-5\" font-size=\"13\" font-style=\"italic\">2</tspan>",
            "<tspan dy=\"5\" font-size=\"16\"> &amp; more</tspan>",
        ] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
    }

    #[test]
    fn a_chart_puts_its_largest_value_at_its_upper_edge() {
        let chart = Chart {
            corner: (10.0, 20.0),
            size: (100.0, 50.0),
            x: (0.0, 2.0),
            y: (-1.0, 1.0),
        };
        assert_eq!(chart.at(0.0, 1.0), (10.0, 20.0));
        assert_eq!(chart.at(2.0, -1.0), (110.0, 70.0));
        assert_eq!(chart.at(1.0, 0.0), (60.0, 45.0));
    }
}
