//! Figures as SVG text, drawn by plotters.
//!
//! The colours are a fixed palette that the book's pages replace by theme colours, so a figure reads well on a light and on a
//! dark page. Sizes suit a phone: 480 units wide, text of 14 units.

mod contour;
mod field;
mod images;
mod plot;
mod surface;

pub use self::{
    field::{Field, fields},
    images::{ImageRow, image_rows},
    plot::{Axis, Plot, Series, Style},
    surface::Surface,
};

use plotters::style::RGBColor;

use crate::error::Error;

/// Text and axes.
pub const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
/// Secondary text and reference lines.
pub const MUTED: RGBColor = RGBColor(0x76, 0x76, 0x76);
/// Grid lines.
pub const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
/// The background behind pictures.
pub const PAPER: RGBColor = RGBColor(0xff, 0xff, 0xff);
/// Series, in order; chosen to stay apart for readers who do not see all colours (Okabe and Ito, 2008, darkened).
pub const SERIES: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xaa, 0x44, 0x99),
    RGBColor(0xb8, 0x86, 0x0b),
    RGBColor(0x56, 0xb4, 0xe9),
];

/// Text height of axis numbers and legends.
const TEXT: u32 = 17;
const FONT: &str = "sans-serif";

/// A drawing error of plotters as this crate's error.
fn drawing(error: impl std::fmt::Display) -> Error {
    Error::failure(format!("cannot draw the figure: {error}"))
}

/// Joins the rectangles of one colour and opacity into one path, which makes pictures of many pixels several times smaller.
fn merge_rectangles(svg: &str) -> String {
    let mut out = String::with_capacity(svg.len());
    let mut paths: Vec<(String, String)> = Vec::new();
    for line in svg.lines() {
        match rectangle(line) {
            Some((style, path)) => match paths.iter_mut().find(|(s, _)| *s == style) {
                Some((_, joined)) => joined.push_str(&path),
                None => paths.push((style, path)),
            },
            None => {
                for (style, path) in paths.drain(..) {
                    out.push_str(&format!("<path d=\"{path}\"{style}/>\n"));
                }
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

/// The style attributes and the outline of a filled `<rect>`, or `None` for any other line.
fn rectangle(line: &str) -> Option<(String, String)> {
    let rest = line.strip_prefix("<rect ")?.strip_suffix("/>")?;
    let attribute = |name: &str| {
        let start = rest.find(&format!("{name}=\""))? + name.len() + 2;
        Some(&rest[start..start + rest[start..].find('"')?])
    };
    if attribute("stroke")? != "none" {
        return None;
    }
    let (x, y) = (attribute("x")?, attribute("y")?);
    let (width, height) = (attribute("width")?, attribute("height")?);
    let style = format!(" opacity=\"{}\" fill=\"{}\"", attribute("opacity")?, attribute("fill")?);
    Some((style, format!("M{x} {y}h{width}v{height}h-{width}z")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rectangles_of_one_style_become_one_path() {
        let rect = |x: i32, opacity: &str| {
            format!(
                "<rect x=\"{x}\" y=\"2\" width=\"3\" height=\"4\" opacity=\"{opacity}\" fill=\"#222222\" stroke=\"none\"/>\n"
            )
        };
        let svg = format!("<svg>\n{}{}{}</svg>\n", rect(1, "1"), rect(9, "0.5"), rect(5, "1"));
        let expected = "<svg>\n<path d=\"M1 2h3v4h-3zM5 2h3v4h-3z\" opacity=\"1\" fill=\"#222222\"/>\n\
                        <path d=\"M9 2h3v4h-3z\" opacity=\"0.5\" fill=\"#222222\"/>\n</svg>\n";
        assert_eq!(merge_rectangles(&svg), expected);
    }

    #[test]
    fn outlines_stay() {
        let svg = "<rect x=\"1\" y=\"2\" width=\"3\" height=\"4\" opacity=\"1\" fill=\"none\" stroke=\"#222222\"/>\n";
        assert_eq!(merge_rectangles(svg), svg);
    }
}
