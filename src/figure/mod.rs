//! Figures as SVG text, drawn by plotters.
//!
//! The colours are a fixed palette that the book's pages replace by theme colours, so a
//! figure reads well on a light and on a dark page. Sizes suit a phone: 480 units wide,
//! text of 17 units.

mod drawing;
mod images;
mod palette;
mod plot;
mod rectangles;

pub use self::{
    drawing::{Anchor, Chart, Drawing, Point, Stroke, WIDTH},
    images::{ImageRow, image_rows},
    palette::{FONT, GRID, INK, MUTED, PAPER, SERIES, TEXT, cannot_draw},
    plot::{Axis, FINE, Frame, Plot, Series, Style},
};
