//! How much estimates of one bound vary, by how the masks are drawn.

use elbo_to_diffusion::{
    data::Images,
    error::Result,
    evaluation::in_groups,
    host::download,
    masks::{Masked, MaskedNetwork, process::random_order},
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Images for which the estimates are repeated, and how often.
const IMAGES: usize = 32;
const REPEATS: usize = 8;
/// Calls of the network for one estimate.
pub const CALLS: [usize; 5] = [2, 4, 8, 16, 32];
/// The times that are left out, because the weight 1/t grows without end.
const FIRST_TIME: f64 = 1e-3;

/// Ways to draw the masks of one estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estimator {
    /// A time and a coin for each pixel; weight 1/t.
    Coins,
    /// A number of masked pixels n, each as likely as any other, and then which; d/n.
    Counts,
    /// The same, with one n from each of as many equal parts as there are calls.
    Stratified,
    /// The same, where every second mask is what the one before it leaves, and a pixel.
    Mirrored,
    /// Stratified, with one order of pixels for all calls.
    OneOrder,
}

impl Estimator {
    /// All, with their names in the report.
    pub const ALL: [(&'static str, Self); 5] = [
        ("coins, weight 1/t", Self::Coins),
        ("counts, weight d/n", Self::Counts),
        ("counts, stratified", Self::Stratified),
        ("stratified and mirrored", Self::Mirrored),
        ("stratified, one order", Self::OneOrder),
    ];

    /// The masked pixels of each of an even number of calls, and the weight of their cost:
    /// the mean of weight times cost estimates the bound.
    pub fn masks(
        self,
        d: usize,
        calls: usize,
        rng: &mut ChaCha8Rng,
    ) -> Vec<(Vec<usize>, f64)> {
        let pixels = d as f64;
        // The first n pixels of an order.
        let first = |order: &[usize], n: usize| (order[..n].to_vec(), pixels / n as f64);
        // A number of pixels from the j-th of as many equal parts as there are calls.
        let part = |j: usize, rng: &mut ChaCha8Rng| {
            1 + ((j as f64 + rng.random::<f64>()) / calls as f64 * pixels) as usize
        };
        match self {
            Self::Coins => (0..calls)
                .map(|_| {
                    let t = FIRST_TIME + (1.0 - FIRST_TIME) * rng.random::<f64>();
                    let hidden = (0..d).filter(|_| rng.random::<f64>() < t).collect();
                    (hidden, 1.0 / t)
                })
                .collect(),
            Self::OneOrder => {
                let order = random_order(d, rng);
                (0..calls).map(|j| first(&order, part(j, rng))).collect()
            }
            // ANCHOR: masks
            Self::Counts => (0..calls)
                .map(|_| first(&random_order(d, rng), rng.random_range(1..=d)))
                .collect(),
            Self::Stratified => {
                (0..calls).map(|j| first(&random_order(d, rng), part(j, rng))).collect()
            }
            Self::Mirrored => (0..calls / 2)
                .flat_map(|j| {
                    let (n, mut order) = (part(j, rng), random_order(d, rng));
                    let mask = first(&order, n);
                    order.reverse();
                    [mask, first(&order, d + 1 - n)]
                })
                .collect(),
            // ANCHOR_END: masks
        }
    }
}

/// The standard deviation of one estimate for one image, in nats, for each number of calls
/// and each estimator: the root of the mean variance over some images.
pub fn deviations(
    images: &Images,
    network: &MaskedNetwork,
    seed: u64,
) -> Result<Vec<[f64; CALLS.len()]>> {
    let images = images.first(IMAGES);
    let d = images.dim();
    let of = |estimator: Estimator| {
        let mut deviations = [0.0; CALLS.len()];
        for (deviation, calls) in deviations.iter_mut().zip(CALLS) {
            let variances = in_groups(&images, seed, |images, rng| {
                // One estimate of each image, in each repeat.
                let mut estimates = vec![Vec::with_capacity(REPEATS); images.len()];
                for _ in 0..REPEATS {
                    let masks: Vec<_> =
                        images.iter().map(|_| estimator.masks(d, calls, rng)).collect();
                    let mut sums = vec![0.0; images.len()];
                    for call in 0..calls {
                        let mut masked = Masked::default();
                        for (image, masks) in images.iter().zip(&masks) {
                            masked.push(image, &masks[call].0);
                        }
                        let costs = download(network.cost(&masked, None))?;
                        for ((sum, cost), masks) in sums.iter_mut().zip(costs).zip(&masks) {
                            *sum += masks[call].1 * cost / calls as f64;
                        }
                    }
                    estimates.iter_mut().zip(sums).for_each(|(all, sum)| all.push(sum));
                }
                Ok(estimates.iter().map(|all| variance(all)).collect::<Vec<f64>>())
            })?;
            let variances = variances.concat();
            *deviation = (variances.iter().sum::<f64>() / variances.len() as f64).sqrt();
        }
        Ok(deviations)
    };
    Estimator::ALL.iter().map(|(_, estimator)| of(*estimator)).collect()
}

fn variance(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)
}
