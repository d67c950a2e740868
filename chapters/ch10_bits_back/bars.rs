//! Sizes of files as bars.

use elbo_to_diffusion::{
    error::Result,
    figure::{FINE, FONT, Figure, INK, SERIES, TEXT, Table, cannot_draw},
};
use plotters::prelude::*;

/// One file.
pub struct Bar {
    pub name: &'static str,
    pub bytes: f64,
    /// What the model behind it promises, in bytes.
    pub bound: Option<f64>,
}

/// Draws a bar for each file, with a mark where its bound is.
pub fn bars(files: &[Bar]) -> Result<Figure> {
    let unit = FINE as i32;
    let row = 40;
    let (width, height) = (480, row * files.len() as i32 + 34);
    let longest = files.iter().map(|file| file.bytes).fold(1.0, f64::max);
    let place = |bytes: f64| unit * 150 + (f64::from(unit * 260) * bytes / longest) as i32;
    let mut svg = String::new();
    {
        let size = (FINE * width as u32, FINE * height as u32);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let text = || TextStyle::from((FONT, FINE * TEXT).into_font()).color(&INK);
        for (i, file) in (0..).zip(files) {
            let top = unit * (row * i + 8);
            let color = SERIES[usize::from(file.bound.is_some())].mix(0.6);
            let bar = [(unit * 150, top), (place(file.bytes), top + unit * 24)];
            let bytes = format!("{:.0}", file.bytes);
            area.draw(&Rectangle::new(bar, color.filled())).map_err(cannot_draw)?;
            let (label, beside) =
                ((unit * 4, top + unit * 4), place(file.bytes) + unit * 5);
            area.draw(&Text::new(file.name, label, text())).map_err(cannot_draw)?;
            area.draw(&Text::new(bytes, (beside, top + unit * 4), text()))
                .map_err(cannot_draw)?;
            if let Some(bound) = file.bound {
                let ends =
                    [(place(bound), top - unit * 3), (place(bound), top + unit * 27)];
                let mark = PathElement::new(ends, INK.stroke_width(FINE * 2));
                area.draw(&mark).map_err(cannot_draw)?;
            }
        }
        let below = (unit * 150, unit * (height - 24));
        let legend = "bytes; | what the bound promises";
        area.draw(&Text::new(legend, below, text())).map_err(cannot_draw)?;
        area.present().map_err(cannot_draw)?;
    }
    let fine = format!("width=\"{}\" height=\"{}\"", unit * width, unit * height);
    let mut data =
        Table::new("within 0.01 of the range: linear, linear", &["file", "bytes", "bound"]);
    for file in files {
        data.row(file.name, [file.bytes, file.bound.unwrap_or(f64::NAN)]);
    }
    Ok(data.with(svg.replacen(&fine, &format!("width=\"{width}\" height=\"{height}\""), 1)))
}
