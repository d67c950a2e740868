//! What a masked pixel costs, by how many are masked: all bounds of the chapter are weighted
//! sums of these.

use elbo_to_diffusion::{
    data::Images,
    error::Result,
    evaluation::{Draws, in_groups},
    host::download,
    masks::{Masked, MaskedNetwork, process::random_order, reveal_probability},
};

// ANCHOR: profile
/// The mean cost of a masked pixel where n are masked.
pub struct Profile {
    /// For n = 1, ..., d, in nats.
    pub costs: Vec<f64>,
    /// Standard error of the bound in continuous time that comes from the finite number of
    /// masks.
    pub noise_error: f64,
    /// Its standard error that comes from the finite number of images.
    pub set_error: f64,
}

impl Profile {
    /// From one random order for each image and pass, whose first n pixels are masked, for
    /// each n.
    pub fn estimate(
        images: &Images,
        network: &MaskedNetwork,
        draws: Draws,
    ) -> Result<Self> {
        let Draws { passes, seed } = draws.check()?;
        let d = images.dim();
        // For each pass and n, the cost of a masked pixel of each image.
        let groups = in_groups(images, seed, |images, rng| {
            let mut rows = Vec::with_capacity(passes * d);
            for _ in 0..passes {
                let orders: Vec<_> = images.iter().map(|_| random_order(d, rng)).collect();
                for n in 1..=d {
                    let mut masked = Masked::default();
                    for (image, order) in images.iter().zip(&orders) {
                        masked.push(image, &order[..n]);
                    }
                    rows.push(download(network.cost(&masked, None) / n as f64)?);
                }
            }
            Ok(rows)
        })?;
        Ok(Self::average(&groups, passes, d))
    }
    // ANCHOR_END: profile

    fn average(groups: &[Vec<Vec<f64>>], passes: usize, d: usize) -> Self {
        let images: usize = groups.iter().map(|rows| rows[0].len()).sum();
        let mut costs = vec![0.0; d];
        // The bound of each image by each pass.
        let mut totals: Vec<Vec<f64>> = Vec::with_capacity(images);
        for rows in groups {
            for i in 0..rows[0].len() {
                let pass = |rows: &[Vec<f64>]| rows.iter().map(|row| row[i]).sum::<f64>();
                totals.push(rows.chunks(d).map(pass).collect());
            }
            for (row, values) in rows.iter().enumerate() {
                costs[row % d] += values.iter().sum::<f64>() / (images * passes) as f64;
            }
        }
        let (n, passes) = (images as f64, passes as f64);
        let means: Vec<f64> =
            totals.iter().map(|of| of.iter().sum::<f64>() / passes).collect();
        let noise = totals.iter().zip(&means).map(|(of, mean)| {
            of.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (passes - 1.0) / passes
        });
        let noise = noise.sum::<f64>() / n;
        let mean = means.iter().sum::<f64>() / n;
        let spread = means.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
        Self {
            costs,
            noise_error: (noise / n).sqrt(),
            set_error: ((spread - noise).max(0.0) / n).sqrt(),
        }
    }

    // ANCHOR: bounds
    /// The bound in continuous time, in nats: that of a random order. Equation `any-order`.
    pub fn limit(&self) -> f64 {
        self.costs.iter().sum()
    }

    /// The terms of the bound of a chain alpha_0, ..., alpha_T, in nats, one for each step.
    /// Equation `mask-profile`.
    pub fn terms(&self, kept: &[f64]) -> Vec<f64> {
        let term = |step: &[f64]| {
            reveal_probability(step[0], step[1]) * self.masked_cost(1.0 - step[1])
        };
        kept.windows(2).map(term).collect()
    }

    /// The mean cost of all masked pixels where each is masked with this probability.
    pub fn masked_cost(&self, masked: f64) -> f64 {
        let n = (1..).map(f64::from).zip(&self.costs);
        n.zip(binomial(self.costs.len(), masked)).map(|((n, cost), p)| p * n * cost).sum()
    }
    // ANCHOR_END: bounds
}

/// The probability that n of d pixels are masked, for n = 1, ..., d, if each is with
/// probability `masked`.
fn binomial(d: usize, masked: f64) -> Vec<f64> {
    if masked >= 1.0 {
        return (1..=d).map(|n| f64::from(n == d)).collect();
    }
    let mut log_choose = 0.0;
    let mut probability = |n: usize| {
        log_choose += ((d - n + 1) as f64 / n as f64).ln();
        let log = log_choose + n as f64 * masked.ln() + (d - n) as f64 * (-masked).ln_1p();
        if log < -100.0 { 0.0 } else { log.exp() }
    };
    (1..=d).map(&mut probability).collect()
}
