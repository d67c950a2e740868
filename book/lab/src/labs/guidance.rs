//! Chapter 9: the strength of guidance on the line, beside the tilted distribution.

use elbo_to_diffusion::error::Result;
use serde_json::{Value, json};

use super::{Lab, drawn, number};
use crate::chapters::ch09_line::Classes;

/// Where the flow begins, as in the chapter.
const GAMMA_MAX: f64 = 12.0;
/// Steps of the flow: the chapter's 1500 change no digit that is said here. While the hand
/// moves, fewer.
const STEPS: [usize; 2] = [300, 36];

/// Two normals, of which samples are guided to the second.
pub struct Guidance {
    classes: Classes,
    /// Densities of the data and of the class: they do not move.
    still: [Vec<Vec<f64>>; 2],
}

fn places() -> impl Iterator<Item = f64> {
    (0..=220).map(|i| f64::from(i) / 40.0 - 2.5)
}

fn curve(points: impl IntoIterator<Item = (f64, f64)>) -> Vec<Vec<f64>> {
    let inside = points.into_iter().filter(|(x, _)| (-2.5..=3.0).contains(x));
    inside.map(|(x, y)| drawn([x, y])).collect()
}

impl Guidance {
    pub fn new() -> Result<Self> {
        let classes = Classes::pair(0.25)?;
        let still = [&classes.data, &classes.class]
            .map(|law| curve(places().map(|x| (x, law.log_prob(x).exp()))));
        Ok(Self { classes, still })
    }
}

/// Without the sign of a zero that is not quite one.
fn said(mean: f64) -> f64 {
    (1e3 * mean).round() / 1e3 + 0.0
}

impl Lab for Guidance {
    fn answer(&mut self, request: &Value) -> Result<Value> {
        let w = number(request, "w", 3.0, [0.0, 8.0]);
        let quick = request["quick"].as_bool().unwrap_or(false);
        let steps = STEPS[usize::from(quick)];
        let (mass, tilted) = self.classes.tilted_moments(w);
        let density = self.classes.guided_density(GAMMA_MAX, w, steps);
        // A flow of its own, for which a moving hand does not wait.
        let guided = (!quick).then(|| self.classes.guided(GAMMA_MAX, w, steps));
        let drawn = match guided {
            Some(guided) => {
                format!(
                    "has mean {:.3} and variance {:.3}",
                    said(guided.mean),
                    guided.variance
                )
            }
            None => "is measured when the hand rests".into(),
        };
        Ok(json!({
            "says": format!(
                "w = {w:.1}. The tilted distribution has mean {:.3} and variance {:.3}; \
                 what guidance draws {drawn}.",
                said(tilted.mean), tilted.variance,
            ),
            "curves": [
                self.still[0], self.still[1],
                curve(places().map(|x| (x, self.classes.tilted(x, w) / mass))),
                curve(density),
            ],
            "tilted": [tilted.mean, tilted.variance],
            "guided": guided.map(|guided| [guided.mean, guided.variance]),
        }))
    }
}
