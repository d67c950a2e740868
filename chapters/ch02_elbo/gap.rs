//! The gap log p(x) - ELBO over the plane of all q, with the paths of ascents.

use elbo_to_diffusion::{
    error::Result,
    figure::{Axis, Figure, Series, Style},
};

use super::{
    scalar_latent::{ScalarLatent, ScalarNormal},
    surface::Surface,
};

/// A map of the gap.
pub struct GapMap<'a> {
    /// From the least to the largest mean of q.
    pub means: [f64; 2],
    /// From the least to the largest log of the standard deviation of q.
    pub log_stds: [f64; 2],
    /// Gaps in nats at which contour lines run.
    pub gaps: Vec<f64>,
    pub ascents: Vec<Ascent<'a>>,
}

/// The path of an ascent, and its name in the legend.
pub struct Ascent<'a> {
    pub name: String,
    pub path: &'a [ScalarNormal],
}

impl GapMap<'_> {
    /// Draws the map.
    pub fn draw(self, model: &impl ScalarLatent, log_prob: f64) -> Result<Figure> {
        let ([left, right], [low, high]) = (self.means, self.log_stds);
        let surface = Surface {
            x: Axis::linear("mean of q").range(left, right),
            y: Axis::linear("log of the std of q").range(low, high),
            value: |mean, log_std| log_prob - model.elbo(ScalarNormal { mean, log_std }),
            heights: self.gaps,
            paths: self.ascents.into_iter().map(Ascent::series).collect(),
        };
        surface.draw()
    }
}

impl Ascent<'_> {
    /// The path without the points that would lie on top of each other.
    fn series(self) -> Series {
        let mut points: Vec<(f64, f64)> = Vec::new();
        for q in self.path {
            if points.last().is_none_or(|(mean, log_std)| {
                (mean - q.mean).hypot(log_std - q.log_std) > 0.07
            }) {
                points.push((q.mean, q.log_std));
            }
        }
        Series::new(self.name, Style::LineAndDots, points)
    }
}
