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
    /// The standard error of each that comes from the finite number of images and masks.
    pub errors: Vec<f64>,
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
        // The cost of a masked pixel of each image in each pass, for each n.
        let images = groups.iter().flat_map(|rows| {
            (0..rows[0].len()).map(|i| rows.iter().map(|row| row[i]).collect::<Vec<f64>>())
        });
        let images: Vec<Vec<f64>> = images.collect();
        let of_n = |n: usize| {
            let image = |row: &Vec<f64>| row[n..].iter().step_by(d).sum::<f64>();
            Moments::of(images.iter().map(|row| image(row) / passes as f64))
        };
        let costs: Vec<Moments> = (0..d).map(of_n).collect();
        let bounds = images
            .iter()
            .map(|row| Moments::of(row.chunks(d).map(|costs| costs.iter().sum::<f64>())));
        let bounds: Vec<Moments> = bounds.collect();
        let noise = Moments::of(bounds.iter().map(|bound| bound.error.powi(2))).mean;
        let spread = Moments::of(bounds.iter().map(|bound| bound.mean)).error.powi(2);
        let noise = noise / images.len() as f64;
        Self {
            costs: costs.iter().map(|cost| cost.mean).collect(),
            errors: costs.iter().map(|cost| cost.error).collect(),
            noise_error: noise.sqrt(),
            set_error: (spread - noise).max(0.0).sqrt(),
        }
    }

    // ANCHOR: bounds
    /// The bound in continuous time, in nats: that of a random order. Equation `any-order`.
    pub fn limit(&self) -> f64 {
        self.costs.iter().sum()
    }

    /// The terms of the bound of a chain abar_0, ..., abar_T, in nats, one for each step.
    /// Equation `mask-profile`.
    pub fn terms(&self, abar: &[f64]) -> Vec<f64> {
        let term = |step: &[f64]| {
            reveal_probability(step[0], step[1]) * self.masked_cost(1.0 - step[1])
        };
        abar.windows(2).map(term).collect()
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

/// A mean with its standard error.
pub struct Moments {
    pub mean: f64,
    pub error: f64,
}

impl Moments {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        Self { mean, error: (squares / (n - 1.0).max(1.0) / n).sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use elbo_to_diffusion::{
        masks::MaskSchedule,
        oracle::{PixelTable, Rule},
    };

    use super::Profile;

    /// The sums over the costs of one pixel against the enumeration of all masks.
    #[test]
    fn all_bounds_are_sums_over_the_costs() {
        let d = 4;
        let weights: Vec<f64> = (0..16).map(|i| 1.0 + f64::from(i * 7 % 11)).collect();
        let total: f64 = weights.iter().sum();
        let table: Vec<f64> = weights.iter().map(|w| w / total).collect();
        let data = PixelTable::new(d, 2, &table).unwrap();
        let (model, x) = (data.ideal(), [1, 0, 0, 1]);
        let cost = |n: usize| {
            let sets = (1..1_usize << d).filter(|set| set.count_ones() as usize == n);
            let of_set = |set: usize| {
                let pixels = (0..d).filter(|i| set >> i & 1 == 1);
                pixels.map(|i| model.cost(&x, set, i)).sum::<f64>()
            };
            sets.clone().map(of_set).sum::<f64>() / (n * sets.count()) as f64
        };
        let costs = (1..=d).map(cost).collect();
        let profile =
            Profile { costs, errors: vec![0.0; d], noise_error: 0.0, set_error: 0.0 };
        let exact = model.continuous_bound(
            &x,
            |t| [1.0 - t, -1.0],
            &Rule::gauss_legendre(20, 0.0, 1.0),
        );
        assert!((profile.limit() - exact).abs() < 1e-12);
        for steps in [1, 2, 5] {
            let abar = MaskSchedule::Cosine.grid(steps);
            let exact = model.discrete_bound(&x, &abar).unwrap();
            let sum: f64 = profile.terms(&abar).iter().sum();
            assert!((sum - exact).abs() < 1e-12, "{sum} is not {exact}");
        }
    }
}
