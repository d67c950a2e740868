//! Masked diffusion of a few pixels, solved by enumeration of masks, paths and orders.
//!
//! An image has d pixels of V levels; what is seen of it is a list of `Option<usize>`, in
//! which a masked pixel is `None`. A chain of T steps is given by the shares of pixels that
//! it keeps, abar_0 = 1, ..., abar_T = 0.

use std::collections::BTreeMap;

use super::{
    error::{Error, probabilities, same},
    quadrature::Rule,
};

/// A joint distribution of d pixels with V levels each, as a table of V^d numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelTable {
    pixels: usize,
    levels: usize,
    table: Vec<f64>,
}

impl PixelTable {
    /// The distribution with this table, in which the first pixel changes fastest.
    ///
    /// # Errors
    /// [`Error::Dimension`] where the table has not V^d entries;
    /// [`Error::NotProbabilities`] where these are no distribution.
    pub fn new(pixels: usize, levels: usize, table: &[f64]) -> Result<Self, Error> {
        let size = u32::try_from(pixels).ok().and_then(|d| levels.checked_pow(d));
        same("the size of a table of pixels", size.unwrap_or(0), table.len())?;
        probabilities("a table of pixels", table)?;
        Ok(Self { pixels, levels, table: table.to_vec() })
    }

    /// The levels of the image at this place of the table.
    pub fn image(&self, index: usize) -> Vec<usize> {
        let level = |i: usize| index / self.levels.pow(i as u32) % self.levels;
        (0..self.pixels).map(level).collect()
    }

    /// Each image with its probability.
    pub fn images(&self) -> impl Iterator<Item = (Vec<usize>, f64)> {
        (0..self.table.len()).map(|index| (self.image(index), self.table[index]))
    }

    /// The probability of all images that show these levels.
    pub fn evidence(&self, seen: &[Option<usize>]) -> f64 {
        let fits = |x: &[usize]| {
            seen.iter().zip(x).all(|(s, x)| s.is_none_or(|level| level == *x))
        };
        self.images().filter(|(x, _)| fits(x)).map(|(_, p)| p).sum()
    }

    /// p(x_i = k | what is seen) for every level k, `[V]`: what an ideal network outputs.
    pub fn conditional(&self, seen: &[Option<usize>], i: usize) -> Vec<f64> {
        let total = self.evidence(seen);
        let with = |level| {
            let mut seen = seen.to_vec();
            seen[i] = Some(level);
            self.evidence(&seen) / total
        };
        (0..self.levels).map(with).collect()
    }

    /// The entropy, in nats.
    pub fn entropy(&self) -> f64 {
        -self.table.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>()
    }

    /// The model whose network is the ideal one for this distribution.
    pub fn ideal(
        &self,
    ) -> MaskedModel<impl Fn(&[Option<usize>], usize) -> Vec<f64> + use<'_>> {
        MaskedModel {
            pixels: self.pixels,
            levels: self.levels,
            predict: |seen: &[Option<usize>], i| self.conditional(seen, i),
        }
    }

    /// The mean over this distribution of `cost(x)`.
    ///
    /// # Errors
    /// Those of `cost`.
    pub fn mean(
        &self,
        cost: impl Fn(&[usize]) -> Result<f64, Error>,
    ) -> Result<f64, Error> {
        self.images().map(|(x, p)| Ok(p * cost(&x)?)).sum()
    }
}

/// A masked diffusion model: `predict(seen, i)` is its distribution of the masked pixel i,
/// `[V]`, whatever that may be; the distributions need not fit together.
pub struct MaskedModel<F> {
    /// d.
    pub pixels: usize,
    /// V.
    pub levels: usize,
    /// p(x_i = k | seen), `[V]`.
    pub predict: F,
}

impl<F: Fn(&[Option<usize>], usize) -> Vec<f64>> MaskedModel<F> {
    /// -log p(x_i | what of x is seen outside `hidden`), in nats; bit i of `hidden` is set
    /// where pixel i is masked.
    pub fn cost(&self, x: &[usize], hidden: usize, i: usize) -> f64 {
        -(self.predict)(&seen(x, hidden), i)[x[i]].ln()
    }

    /// What it costs to tell the pixels of x one after the other in this order, in nats: an
    /// exact likelihood of an autoregressive model.
    pub fn order_cost(&self, x: &[usize], order: &[usize]) -> f64 {
        let mut hidden = (1 << self.pixels) - 1;
        let mut total = 0.0;
        for &i in order {
            total += self.cost(x, hidden, i);
            hidden &= !(1 << i);
        }
        total
    }

    /// The mean of [`MaskedModel::order_cost`] over all d! orders.
    pub fn mean_order_cost(&self, x: &[usize]) -> f64 {
        let orders = orders(self.pixels);
        orders.iter().map(|order| self.order_cost(x, order)).sum::<f64>()
            / orders.len() as f64
    }

    /// -E log p(x, z_1, ..., z_T) / q(z_1, ..., z_T | x), in nats, by adding up all paths of
    /// masks, with the one-step transitions of both chains multiplied out: the definition
    /// of the bound, and nothing derived from it.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] where `abar` does not fall from 1 to 0.
    pub fn path_bound(&self, x: &[usize], abar: &[f64]) -> Result<f64, Error> {
        check(abar)?;
        Ok(self.paths(x, abar, 0, 0))
    }

    /// The part of the path bound that comes after z_t, whose masked pixels are `hidden`,
    /// where t counts the steps already taken.
    fn paths(&self, x: &[usize], abar: &[f64], t: usize, hidden: usize) -> f64 {
        let [before, now] = match abar[t..] {
            [before, now, ..] => [before, now],
            // z_T: the prior puts all its mass on the image without a visible pixel.
            _ => return if hidden + 1 == 1 << self.pixels { 0.0 } else { f64::INFINITY },
        };
        let mut total = 0.0;
        for after in (0..1_usize << self.pixels).filter(|after| after & hidden == hidden) {
            let (mut q, mut p) = (1.0, 1.0);
            for i in 0..self.pixels {
                let (was, is) = (hidden >> i & 1 == 1, after >> i & 1 == 1);
                q *= match (was, is) {
                    (true, _) => 1.0,
                    (false, true) => 1.0 - now / before,
                    (false, false) => now / before,
                };
                p *= match (was, is) {
                    (_, false) => 1.0,
                    (true, true) => (1.0 - before) / (1.0 - now),
                    (false, true) => {
                        (before - now) / (1.0 - now)
                            * (self.predict)(&seen(x, after), i)[x[i]]
                    }
                };
            }
            if q > 0.0 {
                total += q * ((q / p).ln() + self.paths(x, abar, t + 1, after));
            }
        }
        total
    }

    /// E over masks, each pixel masked with probability `masked`, of the cost of all masked
    /// pixels, in nats.
    pub fn masked_cost(&self, x: &[usize], masked: f64) -> f64 {
        let subset = |hidden: usize| {
            let n = hidden.count_ones() as i32;
            let probability = masked.powi(n) * (1.0 - masked).powi(self.pixels as i32 - n);
            let cost = (0..self.pixels)
                .filter(|i| hidden >> i & 1 == 1)
                .map(|i| self.cost(x, hidden, i));
            probability * cost.sum::<f64>()
        };
        (1..1_usize << self.pixels).map(subset).sum()
    }

    /// The bound of a chain as a weighted cross-entropy, in nats. Equation `mask-bound`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] where `abar` does not fall from 1 to 0.
    pub fn discrete_bound(&self, x: &[usize], abar: &[f64]) -> Result<f64, Error> {
        check(abar)?;
        let term = |step: &[f64]| {
            (step[0] - step[1]) / (1.0 - step[1]) * self.masked_cost(x, 1.0 - step[1])
        };
        Ok(abar.windows(2).map(term).sum())
    }

    /// The bound in continuous time, in nats, where `abar(t)` is abar at t and its slope.
    /// Equation `mask-limit`.
    pub fn continuous_bound(
        &self,
        x: &[usize],
        abar: impl Fn(f64) -> [f64; 2],
        rule: &Rule,
    ) -> f64 {
        rule.integrate(|t| {
            let [abar, slope] = abar(t);
            -slope / (1.0 - abar) * self.masked_cost(x, 1.0 - abar)
        })
    }

    /// What T steps of sampling draw: the probability of each image, in the order of
    /// [`PixelTable`]. Each step shows each masked pixel by chance, and draws those that it
    /// shows independently of each other.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] where `abar` does not fall from 1 to 0.
    pub fn sampled(&self, abar: &[f64]) -> Result<Vec<f64>, Error> {
        check(abar)?;
        let mut laws = BTreeMap::from([(vec![None; self.pixels], 1.0)]);
        for step in abar.windows(2).rev() {
            let shown = (step[0] - step[1]) / (1.0 - step[1]);
            let mut next = BTreeMap::new();
            for (z, p) in laws {
                let mut partial = vec![(Vec::with_capacity(self.pixels), p)];
                for i in 0..self.pixels {
                    let choices: Vec<(Option<usize>, f64)> = match z[i] {
                        Some(level) => vec![(Some(level), 1.0)],
                        None => (self.predict)(&z, i)
                            .into_iter()
                            .enumerate()
                            .map(|(level, p)| (Some(level), shown * p))
                            .chain([(None, 1.0 - shown)])
                            .filter(|(_, p)| *p > 0.0)
                            .collect(),
                    };
                    let longer = |(start, p): &(Vec<_>, f64)| {
                        let with = |&(pixel, q): &(Option<usize>, f64)| {
                            ([start.clone(), vec![pixel]].concat(), p * q)
                        };
                        choices.iter().map(with).collect::<Vec<_>>()
                    };
                    partial = partial.iter().flat_map(longer).collect();
                }
                for (z, p) in partial {
                    *next.entry(z).or_insert(0.0) += p;
                }
            }
            laws = next;
        }
        let mut table = vec![0.0; self.levels.pow(self.pixels as u32)];
        for (z, p) in laws {
            let index = z.iter().rev().fold(0, |n, k| n * self.levels + k.unwrap_or(0));
            table[index] += p;
        }
        Ok(table)
    }
}

/// What is seen of x where the pixels of `hidden` are masked.
pub fn seen(x: &[usize], hidden: usize) -> Vec<Option<usize>> {
    x.iter().enumerate().map(|(i, k)| (hidden >> i & 1 == 0).then_some(*k)).collect()
}

/// All orders of d pixels.
pub fn orders(d: usize) -> Vec<Vec<usize>> {
    if d == 0 {
        return vec![Vec::new()];
    }
    let longer = |order: Vec<usize>| {
        (0..d).map(move |place| {
            let mut order = order.clone();
            order.insert(place, d - 1);
            order
        })
    };
    orders(d - 1).into_iter().flat_map(longer).collect()
}

/// `Ok` where abar falls from 1 to 0.
fn check(abar: &[f64]) -> Result<(), Error> {
    let falls = abar.windows(2).all(|step| step[1] < step[0]);
    match abar {
        [first, .., last] if *first == 1.0 && *last == 0.0 && falls => Ok(()),
        _ => Err(Error::OutOfRange {
            what: "shares of pixels that fall from 1 to 0",
            found: abar.last().copied().unwrap_or(f64::NAN),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers that other programs found for two dependent pixels and two steps.
    #[test]
    fn two_pixels_in_two_steps() -> Result<(), Error> {
        let pair = PixelTable::new(2, 2, &[0.5, 0.1, 0.1, 0.3])?;
        let model = pair.ideal();
        let cosine = 1.0 - (std::f64::consts::FRAC_PI_4).sin();
        for (middle, expected) in [(0.5, 1.257), (cosine, 1.272)] {
            let bound = pair.mean(|x| model.path_bound(x, &[1.0, middle, 0.0]))?;
            assert!((bound - expected).abs() < 5e-4, "{bound} is not {expected}");
        }
        assert!((pair.entropy() - 1.168).abs() < 5e-4, "{}", pair.entropy());
        Ok(())
    }

    #[test]
    fn tables_and_chains_that_do_not_fit_are_errors() -> Result<(), Error> {
        assert!(PixelTable::new(2, 2, &[0.5, 0.5]).is_err());
        assert!(PixelTable::new(2, 2, &[0.5, 0.5, 0.5, 0.5]).is_err());
        assert!(PixelTable::new(usize::MAX, 2, &[1.0]).is_err());
        let pair = PixelTable::new(2, 2, &[0.5, 0.1, 0.1, 0.3])?;
        for abar in [&[][..], &[1.0], &[1.0, 0.1], &[0.9, 0.0], &[1.0, 0.4, 0.5, 0.0]] {
            assert!(pair.ideal().path_bound(&[0, 1], abar).is_err(), "{abar:?}");
            assert!(pair.ideal().sampled(abar).is_err(), "{abar:?}");
        }
        Ok(())
    }

    #[test]
    fn there_are_as_many_orders_as_there_should_be() {
        let mut found = orders(4);
        found.sort();
        found.dedup();
        assert_eq!((found.len(), orders(0).len()), (24, 1));
    }
}
