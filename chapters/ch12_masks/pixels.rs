//! Which pixels of a batch of images a network is asked for.

use elbo_to_diffusion::data::{Images, Marginals};
use rand::{Rng, RngExt};

/// How each pixel is drawn, and how much it then counts: each counts as much on average.
pub struct Pixels {
    /// The probability of all pixels before each, and of that one; none where all are as
    /// likely.
    upto: Vec<f64>,
    d: usize,
}

// ANCHOR: pixels
impl Pixels {
    /// All pixels alike.
    pub fn alike(d: usize) -> Self {
        Self { upto: Vec::new(), d }
    }

    /// A share of the draws is of all pixels alike; the others are in proportion to what a
    /// pixel costs when it is told by itself, the entropy of its grey levels in these
    /// images.
    pub fn by_entropy(images: &Images, alike: f64) -> Self {
        let marginals = Marginals::fit(images, 0.1);
        let entropy =
            |log_probs: &[f64]| -log_probs.iter().map(|l| l.exp() * l).sum::<f64>();
        let entropies: Vec<f64> = marginals.pixels().map(entropy).collect();
        let (total, d) = (entropies.iter().sum::<f64>(), images.dim());
        let mut sum = 0.0;
        let upto = entropies.iter().map(|h| {
            sum += alike / d as f64 + (1.0 - alike) * h / total;
            sum
        });
        Self { upto: upto.collect(), d }
    }

    /// A pixel, and the weight of its cost: 1 / (d p) if it was drawn with probability p.
    pub fn draw(&self, rng: &mut impl Rng) -> (usize, f64) {
        let Some(&total) = self.upto.last() else {
            return (rng.random_range(0..self.d), 1.0);
        };
        let place = rng.random::<f64>() * total;
        let pixel = self.upto.partition_point(|upto| *upto <= place).min(self.d - 1);
        let before = if pixel == 0 { 0.0 } else { self.upto[pixel - 1] };
        (pixel, total / (self.d as f64 * (self.upto[pixel] - before)))
    }
}
// ANCHOR_END: pixels

#[cfg(test)]
mod tests {
    use elbo_to_diffusion::{
        data::digits::digits,
        random::{Stream, rng},
    };

    use super::*;

    /// Of many draws, each pixel has a weight of n / d together, and those with more entropy
    /// are drawn more often; all alike, the weights are one.
    #[test]
    fn each_pixel_counts_alike() {
        const DRAWS: usize = 400_000;
        let images = digits().expect("the embedded digits").train;
        let d = images.dim();
        let rng = &mut rng(0, Stream::Batch, 0);
        for (pixels, most) in
            [(Pixels::alike(d), 1.0), (Pixels::by_entropy(&images, 0.25), 4.0)]
        {
            let (mut weights, mut counts) = (vec![0.0; d], vec![0.0; d]);
            for _ in 0..DRAWS {
                let (pixel, weight) = pixels.draw(rng);
                assert!(weight <= most + 1e-9);
                weights[pixel] += weight * d as f64 / DRAWS as f64;
                counts[pixel] += d as f64 / DRAWS as f64;
            }
            // Each count has the deviation of a thousand draws or more, a thirtieth.
            assert!(weights.iter().all(|w| (w - 1.0).abs() < 0.12), "{weights:?}");
            // The first column of all digits is blank but for a few; the middle is not.
            assert!(most == 1.0 || (counts[0] < 0.3 && counts[27] > 1.2));
        }
    }
}
