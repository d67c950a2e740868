//! Colours, text and errors of all figures.

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
/// Series, in order; chosen to stay apart for readers who do not see all colours (Okabe and
/// Ito, 2008, darkened).
pub const SERIES: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xaa, 0x44, 0x99),
    RGBColor(0xb8, 0x86, 0x0b),
    RGBColor(0x56, 0xb4, 0xe9),
];

/// Text height of axis numbers and legends.
pub const TEXT: u32 = 17;
/// The font family of all text.
pub const FONT: &str = "sans-serif";

/// An error of plotters as this crate's error.
pub fn cannot_draw(error: impl std::fmt::Display) -> Error {
    Error::failure(format!("cannot draw the figure: {error}"))
}
