//! Distributions whose probabilities are whole multiples of 2^-48, as a stack of bits needs
//! them.

use std::{borrow::Borrow, f64::consts::FRAC_1_SQRT_2, num::NonZeroU64};

use constriction::stream::model::{DecoderModel, EncoderModel, EntropyModel};

use super::{chain::Normal, stack::PRECISION};

/// A distribution of the symbols 0, ..., count - 1.
pub trait Cumulative {
    /// Number of symbols, at least 2.
    fn count(&self) -> usize;
    /// The probability of all symbols below `symbol`, for 0 < symbol < count.
    fn below(&self, symbol: usize) -> f64;
    /// A symbol near which `below` reaches `u`; it only says where a search begins.
    fn guess(&self, u: f64) -> usize;
}

// ANCHOR: quantized
/// The same distribution with probabilities that are whole multiples of 2^-48. Equation
/// `whole-numbers`.
///
/// Each symbol gets two units for itself: one so that none is impossible, one because a
/// computed distribution function may fall by a rounding error where it should not.
#[derive(Clone, Debug)]
pub struct Quantized<D>(pub D);

impl<D: Cumulative> Quantized<D> {
    /// Units that lie below a symbol, out of 2^48.
    fn left(&self, symbol: usize) -> u64 {
        let (whole, count) = (1_u64 << PRECISION, self.0.count());
        match symbol {
            0 => 0,
            _ if symbol >= count => whole,
            _ => {
                let shared = (whole - 2 * count as u64) as f64;
                (self.0.below(symbol) * shared) as u64 + 2 * symbol as u64
            }
        }
    }
}
// ANCHOR_END: quantized

impl<D: Cumulative> Quantized<D> {
    /// Units below the symbol, and its own. The sum over all symbols is 2^48, so with two
    /// symbols or more each has fewer.
    pub(super) fn interval(&self, symbol: usize) -> (u64, NonZeroU64) {
        let left = self.left(symbol);
        let own = self.left(symbol + 1).saturating_sub(left);
        (left, NonZeroU64::new(own).unwrap_or(NonZeroU64::MIN))
    }

    /// log2 of 1 / probability of the symbol, in bits.
    pub fn bits(&self, symbol: usize) -> f64 {
        PRECISION as f64 - (self.interval(symbol).1.get() as f64).log2()
    }
}

impl<D: Cumulative> EntropyModel<PRECISION> for Quantized<D> {
    type Symbol = usize;
    type Probability = u64;
}

impl<D: Cumulative> EncoderModel<PRECISION> for Quantized<D> {
    fn left_cumulative_and_probability(
        &self,
        symbol: impl Borrow<usize>,
    ) -> Option<(u64, NonZeroU64)> {
        let symbol = *symbol.borrow();
        (symbol < self.0.count()).then(|| self.interval(symbol))
    }
}

impl<D: Cumulative> DecoderModel<PRECISION> for Quantized<D> {
    /// The symbol whose units hold this one: steps away from a guess that grow until it is
    /// passed, then halving.
    fn quantile_function(&self, quantile: u64) -> (usize, u64, NonZeroU64) {
        let (unit, last) = (quantile, self.0.count() - 1);
        let u = (unit as f64 + 0.5) / (1_u64 << PRECISION) as f64;
        let mut low = self.0.guess(u).min(last);
        let (mut high, mut step) = (low + 1, 1);
        while self.left(low) > unit {
            (high, low, step) = (low, low.saturating_sub(step), 2 * step);
        }
        while self.left(high) <= unit {
            (low, high, step) = (high, (high + step).min(last + 1), 2 * step);
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            *(if self.left(middle) <= unit { &mut low } else { &mut high }) = middle;
        }
        let (left, own) = self.interval(low);
        (low, left, own)
    }
}

/// A distribution given by its probabilities.
#[derive(Clone, Debug)]
pub struct Categorical {
    /// The probability of all symbols below each.
    below: Vec<f64>,
}

impl Categorical {
    /// From weights that need not sum to one. Weights that are no finite positive numbers
    /// count as zero; where all are, the distribution is uniform.
    pub fn new(weights: impl IntoIterator<Item = f64>) -> Quantized<Self> {
        let mut sum = 0.0;
        let below = |weight: f64| {
            let before = sum;
            sum += if weight.is_finite() { weight.max(0.0) } else { 0.0 };
            before
        };
        let mut below: Vec<f64> = weights.into_iter().map(below).collect();
        let count = below.len() as f64;
        match sum > 0.0 {
            true => below.iter_mut().for_each(|b| *b /= sum),
            false => (0..).zip(&mut below).for_each(|(i, b)| *b = f64::from(i) / count),
        }
        Quantized(Self { below })
    }

    /// From log probabilities, in nats.
    pub fn from_logs(logs: &[f64]) -> Quantized<Self> {
        let largest = logs.iter().copied().fold(f64::MIN, f64::max);
        Self::new(logs.iter().map(|log| libm::exp(log - largest)))
    }

    /// All symbols equally likely.
    pub fn uniform(count: usize) -> Quantized<Self> {
        Self::new((0..count).map(|_| 1.0))
    }
}

impl Cumulative for Categorical {
    fn count(&self) -> usize {
        self.below.len()
    }

    fn below(&self, symbol: usize) -> f64 {
        self.below[symbol]
    }

    fn guess(&self, u: f64) -> usize {
        self.below.partition_point(|&below| below <= u).saturating_sub(1)
    }
}

/// Phi(z), the probability that a standard normal number is below z.
pub fn normal_cdf(z: f64) -> f64 {
    // In software, so that it is the same on every machine.
    0.5 * libm::erfc(-z * FRAC_1_SQRT_2)
}

/// The z below which a standard normal number lies with probability u, 0 < u < 1.
fn normal_quantile(u: f64) -> f64 {
    let (mut low, mut high) = (-9.0, 9.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        *(if normal_cdf(middle) < u { &mut low } else { &mut high }) = middle;
    }
    0.5 * (low + high)
}

// ANCHOR: bins
/// Bins on the line that are equally likely under N(0, 2^2). Equation `equal-mass`.
///
/// Under the prior, N(0, 1), they would be too wide where latents are rare.
#[derive(Clone, Debug)]
pub struct Bins {
    /// The lower end of each bin.
    edges: Vec<f64>,
    /// What a latent in the bin counts as: the bin's median.
    medians: Vec<f64>,
}

impl Bins {
    /// The standard deviation of the Gaussian under which they are equally likely.
    pub const SCALE: f64 = 2.0;

    /// 2^bits bins.
    pub fn new(bits: u32) -> Self {
        let count = 1 << bits;
        let at = |place: f64| Self::SCALE * normal_quantile(place / f64::from(count));
        Self {
            edges: (0..count).map(|i| at(f64::from(i))).collect(),
            medians: (0..count).map(|i| at(f64::from(i) + 0.5)).collect(),
        }
    }

    /// The latents that these bins stand for.
    pub fn values(&self, bins: &[usize]) -> Vec<f64> {
        bins.iter().map(|&bin| self.medians[bin]).collect()
    }

    /// How likely each bin is under N(mean, deviation^2).
    pub fn under(&self, normal: Normal) -> Quantized<Binned<'_>> {
        Quantized(Binned { bins: self, normal })
    }
    // ANCHOR_END: bins

    /// Number of bins.
    pub fn count(&self) -> usize {
        self.edges.len()
    }

    /// How likely each bin is under the prior, N(0, 1).
    pub fn prior(&self) -> Quantized<Binned<'_>> {
        self.under(Normal { mean: 0.0, deviation: 1.0 })
    }
}

/// A Gaussian over [`Bins`].
#[derive(Clone, Copy, Debug)]
pub struct Binned<'a> {
    bins: &'a Bins,
    normal: Normal,
}

impl Cumulative for Binned<'_> {
    fn count(&self) -> usize {
        self.bins.count()
    }

    fn below(&self, bin: usize) -> f64 {
        normal_cdf((self.bins.edges[bin] - self.normal.mean) / self.normal.deviation)
    }

    fn guess(&self, u: f64) -> usize {
        // The edges themselves are a table of normal quantiles.
        let place = ((u * self.count() as f64) as usize).clamp(1, self.count() - 1);
        let away = self.bins.edges[place] / Bins::SCALE;
        let z = self.normal.mean + self.normal.deviation * away;
        self.bins.edges.partition_point(|&edge| edge <= z).saturating_sub(1)
    }
}
