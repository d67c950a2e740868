//! A density that changes with the noise level, as a map, with paths through it.

use std::fmt::Write;

use elbo_to_diffusion::{
    error::{Error, Result},
    figure::{Axis, Figure, INK, Plot, Series, Table},
};

/// Draws `density(gamma, z)`, from 0 to 1, darker where it is larger, and the paths over
/// it. The data are the paths and every tenth cell of the map. Fails if an axis has no
/// range, or there is no path to draw.
pub fn map(
    x: Axis,
    y: Axis,
    paths: Vec<Series>,
    density: impl Fn(f64, f64) -> f64,
) -> Result<Figure> {
    const COLUMNS: usize = 130;
    const ROWS: usize = 80;
    const SHADES: usize = 20;
    let (Some(across), Some(upward)) = (x.range, y.range) else {
        return Err(Error::failure(
            "cannot draw the figure: a map needs axes with a range",
        ));
    };
    let mut data = Table::new(
        "within 0.03 of the range: linear, linear, linear",
        &["curve", &x.label, &y.label, "density"],
    );
    for path in &paths {
        path.points.iter().for_each(|&(x, y)| data.row(&path.name, [x, y, density(x, y)]));
    }
    let (svg, frame) = Plot { x, y, series: paths }.draw_framed()?;
    let cell =
        [(frame.x.1 - frame.x.0) / COLUMNS as f64, (frame.y.1 - frame.y.0) / ROWS as f64];
    let middle = |(low, high): (f64, f64), i: usize, n: usize| {
        low + (high - low) * (i as f64 + 0.5) / n as f64
    };
    let mut shades = vec![String::new(); SHADES + 1];
    for row in 0..ROWS {
        let z = middle((upward.1, upward.0), row, ROWS);
        for column in 0..COLUMNS {
            let gamma = middle(across, column, COLUMNS);
            let value = density(gamma, z).clamp(0.0, 1.0);
            if row % 10 == 5 && column % 10 == 5 {
                data.row("map", [gamma, z, value]);
            }
            let shade = (value * SHADES as f64).round() as usize;
            let left = frame.x.0 + cell[0] * column as f64;
            let _ = write!(
                shades[shade],
                "M{left:.1} {:.1}h{:.1}",
                frame.y.0 + cell[1] * (row as f64 + 0.5),
                cell[0]
            );
        }
    }
    let ink = format!("#{:02x}{:02x}{:02x}", INK.0, INK.1, INK.2);
    let cells: String = shades.iter().enumerate().skip(1).fold(String::new(), |mut all, (i, d)| {
        let opacity = 0.6 * i as f64 / SHADES as f64;
        let _ = writeln!(
            all,
            "<path d=\"{d}\" fill=\"none\" stroke=\"{ink}\" stroke-width=\"{:.1}\" opacity=\"{opacity:.2}\"/>",
            cell[1]
        );
        all
    });
    let Some((head, rest)) = svg.split_once('\n') else {
        return Err(Error::failure("cannot draw the figure: plotters wrote no SVG"));
    };
    Ok(data.with(format!("{head}\n{cells}{rest}")))
}
