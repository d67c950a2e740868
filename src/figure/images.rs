//! Rows of small pictures.

use plotters::prelude::*;

use super::{
    data::{Figure, Table},
    palette::{FONT, INK, MUTED, PAPER, SERIES, TEXT, cannot_draw},
    rectangles::merge_rectangles,
};
use crate::error::Result;

/// A labelled row of square images; each pixel is a darkness in [0, 1], or NaN where it is
/// hidden.
pub struct ImageRow {
    /// Text above the row; may be empty.
    pub label: String,
    /// The images, each with side * side pixels, row after row.
    pub images: Vec<Vec<f64>>,
}

impl ImageRow {
    /// Images of V `grey_levels`, each pixel given by the index of its own, 0 to V - 1.
    pub fn from_grey_levels<'a>(
        label: impl Into<String>,
        images: impl IntoIterator<Item = &'a [u8]>,
        grey_levels: usize,
    ) -> Self {
        let darkness = |&v: &u8| f64::from(v) / grey_levels.saturating_sub(1).max(1) as f64;
        Self {
            label: label.into(),
            images: images.into_iter().map(|i| i.iter().map(darkness).collect()).collect(),
        }
    }

    /// Images of which some pixels are masked, each of the others given by the index of its
    /// grey level, 0 to V - 1.
    pub fn from_seen<'a>(
        label: impl Into<String>,
        images: impl IntoIterator<Item = &'a [Option<u8>]>,
        grey_levels: usize,
    ) -> Self {
        let highest = grey_levels.saturating_sub(1).max(1) as f64;
        let darkness =
            |pixel: &Option<u8>| pixel.map_or(f64::NAN, |level| f64::from(level) / highest);
        Self {
            label: label.into(),
            images: images.into_iter().map(|i| i.iter().map(darkness).collect()).collect(),
        }
    }

    /// The same images in rows of `columns`, with the label above the first.
    pub fn wrap(self, columns: usize) -> Vec<Self> {
        let mut label = self.label;
        let chunk = |images: &[Vec<f64>]| Self {
            label: std::mem::take(&mut label),
            images: images.to_vec(),
        };
        self.images.chunks(columns).map(chunk).collect()
    }

    /// Images given by their values; -1 is blank and 1 is full ink. Values beyond are
    /// clipped.
    pub fn from_values(label: impl Into<String>, values: &[f64], dim: usize) -> Self {
        let darkness = |&v: &f64| ((v + 1.0) / 2.0).clamp(0.0, 1.0);
        Self {
            label: label.into(),
            images: values.chunks(dim).map(|i| i.iter().map(darkness).collect()).collect(),
        }
    }
}

/// Draws the rows below each other, as wide as the widest.
pub fn image_rows(rows: &[ImageRow], side: usize) -> Result<Figure> {
    const WIDTH: usize = 480;
    const MARGIN: usize = 5;
    let columns = rows.iter().map(|row| row.images.len()).max().unwrap_or(0).max(1);
    let pixel = ((WIDTH - MARGIN) / columns).saturating_sub(MARGIN).max(side) / side;
    let cell = pixel * side + MARGIN;
    // A label stands nearer to its own row than to the one above.
    let space = |above: usize, row: &ImageRow| match row.label.is_empty() {
        true => [0, 0],
        false => [if above == 0 { 0 } else { 2 * MARGIN }, TEXT as usize + 8],
    };
    let height = rows
        .iter()
        .enumerate()
        .map(|(i, row)| cell + space(i, row).iter().sum::<usize>())
        .sum::<usize>()
        + MARGIN;
    let width = (columns * cell + MARGIN)
        .max(if rows.iter().any(|r| !r.label.is_empty()) { WIDTH } else { 0 });

    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (width as u32, height as u32))
            .into_drawing_area();
        let font = TextStyle::from((FONT, TEXT).into_font()).color(&INK);
        let (mut top, mut placed) = (MARGIN, Vec::new());
        for (i, row) in rows.iter().enumerate() {
            let [above, label] = space(i, row);
            top += above;
            if !row.label.is_empty() {
                area.draw(&Text::new(
                    row.label.clone(),
                    (MARGIN as i32, top as i32),
                    font.clone(),
                ))
                .map_err(cannot_draw)?;
            }
            top += label;
            placed.extend(
                row.images
                    .iter()
                    .enumerate()
                    .map(|(i, image)| (image, MARGIN + i * cell, top)),
            );
            top += cell;
        }
        // Layer by layer, so that pixels of one shade can be joined over all images.
        for layer in [Layer::Paper, Layer::Hidden, Layer::Ink, Layer::Frame] {
            for &(image, left, top) in &placed {
                draw_layer(&area, layer, image, side, pixel, (left, top))?;
            }
        }
        area.present().map_err(cannot_draw)?;
    }
    Ok(data(rows, side).with(merge_rectangles(&svg)))
}

/// How many images each row has, how dark they are on average, and how much neighbouring
/// pixels differ on average.
fn data(rows: &[ImageRow], side: usize) -> Table {
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let (n, sum) = values.fold((0.0, 0.0), |(n, sum), value| (n + 1.0, sum + value));
        sum / f64::max(n, 1.0)
    };
    let mut table = Table::new("within 0.02", &["row", "images", "darkness", "edges"]);
    for row in rows {
        let darkness = mean(&mut row.images.iter().flatten().copied());
        let lines = row.images.iter().flat_map(|image| image.chunks(side));
        let mut edges =
            lines.flat_map(|line| line.windows(2).map(|pair| (pair[0] - pair[1]).abs()));
        table.row(&row.label, [row.images.len() as f64, darkness, mean(&mut edges)]);
    }
    table
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

#[derive(Clone, Copy)]
enum Layer {
    Paper,
    Hidden,
    Ink,
    Frame,
}

fn draw_layer(
    area: &Area,
    layer: Layer,
    image: &[f64],
    side: usize,
    pixel: usize,
    corner: (usize, usize),
) -> Result<()> {
    let rectangle = |x: usize, y: usize, width: usize, height: usize, style: ShapeStyle| {
        let (left, top) = ((corner.0 + x) as i32, (corner.1 + y) as i32);
        Rectangle::new([(left, top), (left + width as i32, top + height as i32)], style)
    };
    let size = side * pixel;
    match layer {
        Layer::Paper => {
            area.draw(&rectangle(0, 0, size, size, PAPER.filled())).map_err(cannot_draw)
        }
        Layer::Frame => area
            .draw(&rectangle(0, 0, size, size, MUTED.mix(0.4).stroke_width(1)))
            .map_err(cannot_draw),
        Layer::Hidden => {
            (0..image.len()).filter(|i| image[*i].is_nan()).try_for_each(|i| {
                let style = SERIES[5].mix(0.5).filled();
                area.draw(&rectangle(
                    i % side * pixel,
                    i / side * pixel,
                    pixel,
                    pixel,
                    style,
                ))
                .map_err(cannot_draw)
            })
        }
        Layer::Ink => image.iter().enumerate().try_for_each(|(i, &darkness)| {
            // Thirty-two steps of grey are more than the data has, and few enough to join
            // pixels of one shade.
            let darkness = (darkness * 32.0).round() / 32.0;
            if darkness > 0.0 {
                let style = INK.mix(darkness).filled();
                area.draw(&rectangle(
                    i % side * pixel,
                    i / side * pixel,
                    pixel,
                    pixel,
                    style,
                ))
                .map_err(cannot_draw)?;
            }
            Ok(())
        }),
    }
}
