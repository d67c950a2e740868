//! Figures: SVG text, drawn by plotters, and the data that it shows.
//!
//! The colours are a fixed palette that the book's pages replace by theme colours, so a
//! figure reads well on a light and on a dark page. Sizes suit a phone: 480 units wide,
//! text of 17 units.

mod data;
mod drawing;
mod images;
mod palette;
mod plane;
mod plot;
mod rectangles;
mod scale;
#[cfg(test)]
mod tests;

pub use self::{
    data::{Figure, Table},
    drawing::{Anchor, Chart, Drawing, Point, Stroke, WIDTH},
    images::{ImageRow, image_rows},
    palette::{FONT, GRID, INK, MUTED, PAPER, SERIES, TEXT, cannot_draw},
    plane::{Square, squares},
    plot::{Axis, FINE, Frame, Plot, Series, Style},
};
