//! The forward process: each pixel is either kept or masked.

use std::f64::consts::FRAC_PI_2;

use rand::{Rng, seq::SliceRandom};

// ANCHOR: schedule
/// How abar(t), the probability that a pixel is still seen at time t, falls from 1 to 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskSchedule {
    /// abar = 1 - t.
    Linear,
    /// abar = 1 - sin(pi t / 2): sampling begins with few pixels. Chang et al. (2022); Shi
    /// et al. (2024).
    Cosine,
}

impl MaskSchedule {
    /// abar(t).
    pub fn abar(self, t: f64) -> f64 {
        match self {
            Self::Linear => 1.0 - t,
            Self::Cosine => 1.0 - (FRAC_PI_2 * t).sin(),
        }
    }

    /// abar_0 = 1, abar_1, ..., abar_T = 0 at equal distances in t, for T >= 1.
    pub fn grid(self, steps: usize) -> Vec<f64> {
        let at = |i: usize| self.abar(i as f64 / steps as f64);
        (0..steps).map(at).chain([0.0]).collect()
    }
}
// ANCHOR_END: schedule

// ANCHOR: reveal
/// The probability that a pixel which is masked after a step was still seen before it,
/// (abar_s - abar_t) / (1 - abar_t). Equation `mask-posterior`.
///
/// Backwards in time it is the probability that the step shows a masked pixel, and in the
/// bound the weight of the pixel's cost.
pub fn reveal_probability(abar_s: f64, abar_t: f64) -> f64 {
    (abar_s - abar_t) / (1.0 - abar_t)
}
// ANCHOR_END: reveal

/// Images of which some pixels are masked, side by side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masked {
    /// The grey level of each pixel, of masked ones as well, n d of them.
    pub levels: Vec<u8>,
    /// True where the pixel is masked.
    pub hidden: Vec<bool>,
}

impl Masked {
    // ANCHOR: push
    /// Adds an image in which the pixels `hidden` are masked.
    pub fn push(&mut self, image: &[u8], hidden: &[usize]) {
        let start = self.hidden.len();
        self.levels.extend_from_slice(image);
        self.hidden.resize(start + image.len(), false);
        hidden.iter().for_each(|i| self.hidden[start + i] = true);
    }
    // ANCHOR_END: push

    /// What is seen: `None` where a pixel is masked.
    pub fn seen(&self) -> Vec<Option<u8>> {
        let seen = |(level, hidden): (&u8, &bool)| (!hidden).then_some(*level);
        self.levels.iter().zip(&self.hidden).map(seen).collect()
    }
}

/// The pixels 0 to d - 1 in a random order.
pub fn random_order(d: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..d).collect();
    order.shuffle(rng);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_masked_is_not_seen() {
        let mut masked = Masked::default();
        masked.push(&[3, 0, 9], &[1]);
        masked.push(&[1, 2, 4], &[0, 2]);
        assert_eq!(masked.seen(), [Some(3), None, Some(9), None, Some(2), None]);
    }
}
