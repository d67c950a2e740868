//! Figures as SVG text, drawn by plotters.
//!
//! The colours are a fixed palette that the book's pages replace by theme colours, so a figure reads well on a light and on a
//! dark page. Sizes suit a phone: 480 units wide, text of 17 units.

mod contour;
mod field;
mod images;
mod palette;
mod plot;
mod rectangles;
mod surface;

pub use self::{
    field::{Field, fields},
    images::{ImageRow, image_rows},
    palette::{GRID, INK, MUTED, PAPER, SERIES},
    plot::{Axis, Plot, Series, Style},
    surface::Surface,
};
