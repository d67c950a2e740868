//! The first two derivatives of the log density of a mixture on the line.

use elbo_to_diffusion::oracle::ScalarMixture;

/// The components of a mixture: the logarithm of weight / deviation, mean and variance. The
/// flow asks for millions of scores, so they are computed without a list on the heap.
pub struct Bumps(Vec<[f64; 3]>);

impl Bumps {
    pub fn of(mixture: &ScalarMixture) -> Self {
        Self(mixture.components().map(|(w, m, v)| [(w / v.sqrt()).ln(), m, v]).collect())
    }

    /// The first two derivatives of the log density.
    pub fn slopes(&self, y: f64) -> [f64; 2] {
        let log = |[height, mean, variance]: [f64; 3]| {
            height - 0.5 * (y - mean).powi(2) / variance
        };
        let largest =
            self.0.iter().map(|bump| log(*bump)).fold(f64::NEG_INFINITY, f64::max);
        let (mut mass, mut score, mut curvature) = (0.0, 0.0, 0.0);
        for &[height, mean, variance] in &self.0 {
            let below = log([height, mean, variance]) - largest;
            // As far below, a component adds nothing, and its exponential may be subnormal.
            if below > -100.0 {
                let (share, slope) = (below.exp(), (mean - y) / variance);
                mass += share;
                score += share * slope;
                curvature += share * (slope * slope - 1.0 / variance);
            }
        }
        let score = score / mass;
        [score, curvature / mass - score * score]
    }
}
