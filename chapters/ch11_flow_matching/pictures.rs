//! Paths in the plane, in panels side by side.

use burn::tensor::Tensor;
use elbo_to_diffusion::{
    error::{Error, Result},
    figure::{Figure, MUTED, SERIES, Table, cannot_draw, squares},
    host::download,
};
use plotters::prelude::{Circle, Color, PathElement};

/// One picture: paths from noise to data.
pub struct Panel {
    title: &'static str,
    /// The points of each path, noise first.
    paths: Vec<Vec<(f64, f64)>>,
}

impl Panel {
    /// The paths of n points that pass through these places in turn, each `[n, 2]`.
    pub fn new(title: &'static str, places: &[Tensor<2>]) -> Result<Self> {
        let mut paths = vec![Vec::with_capacity(places.len()); places[0].dims()[0]];
        for place in places {
            for (path, point) in paths.iter_mut().zip(download(place.clone())?.chunks(2)) {
                path.push((point[0], point[1]));
            }
        }
        Ok(Self { title, paths })
    }
}

/// Draws the panels, two in a row, each on the square [-range, range]^2. The data
/// are the two ends of each path.
pub fn panels(panels: &[Panel], range: f64) -> Result<Figure> {
    let mut points = panels.iter().flat_map(|panel| panel.paths.iter().flatten());
    if points.any(|(x, y)| !x.is_finite() || !y.is_finite()) {
        return Err(Error::failure("cannot draw the paths: a point is not finite"));
    }
    let titles: Vec<&str> = panels.iter().map(|panel| panel.title).collect();
    let svg = squares(&titles, range, |i, square| {
        let inside = |path: &&Vec<(f64, f64)>| {
            path.iter().all(|(x, y)| x.abs() < range && y.abs() < range)
        };
        let paths = || panels[i].paths.iter().filter(inside);
        let lines = paths()
            .map(|path| PathElement::new(path.clone(), SERIES[0].mix(0.7).stroke_width(1)));
        square.draw_series(lines).map_err(cannot_draw)?;
        let noise = paths().filter_map(|path| path.first());
        let noise = noise.map(|&p| Circle::new(p, 2, MUTED.filled()));
        square.draw_series(noise).map_err(cannot_draw)?;
        let data = paths().filter_map(|path| path.last());
        let data = data.map(|&p| Circle::new(p, 2, SERIES[1].filled()));
        square.draw_series(data).map_err(cannot_draw)?;
        Ok(())
    })?;
    let mut data = Table::new(
        "within 0.03 of the range: linear, linear, linear, linear",
        &["panel", "from x", "from y", "to x", "to y"],
    );
    for panel in panels {
        for path in &panel.paths {
            if let (Some(from), Some(to)) = (path.first(), path.last()) {
                data.row(panel.title, [from.0, from.1, to.0, to.1]);
            }
        }
    }
    Ok(data.with(svg))
}
