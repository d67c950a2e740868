//! Sampling: start with all pixels masked, and show a few in each step.

use rand::{Rng, RngExt};

use super::process::reveal_probability;
use crate::error::Result;

// ANCHOR: unmask
/// Draws n images of d pixels, n d grey levels, in the steps of the chain `abar` = abar_0,
/// ..., abar_T, and calls `visit(t, seen, log_probs)` on the way, t from T to 1.
///
/// `log_probs(seen)` are those of every pixel and level, n d V of them, given what is seen,
/// n d entries. A step shows each masked pixel by chance, and draws those that it shows
/// independently of each other: that is where few steps lose.
pub fn unmask(
    [n, d]: [usize; 2],
    abar: &[f64],
    log_probs: impl Fn(&[Option<u8>]) -> Result<Vec<f64>>,
    rng: &mut impl Rng,
    mut visit: impl FnMut(usize, &[Option<u8>], &[f64]),
) -> Result<Vec<u8>> {
    let mut seen = vec![None; n * d];
    for t in (1..abar.len()).rev() {
        let show = reveal_probability(abar[t - 1], abar[t]);
        let log_probs = log_probs(&seen)?;
        visit(t, &seen, &log_probs);
        let levels = log_probs.len() / (n * d);
        for (pixel, log_probs) in seen.iter_mut().zip(log_probs.chunks_exact(levels)) {
            if pixel.is_none() && rng.random::<f64>() < show {
                *pixel = Some(draw_level(log_probs, rng));
            }
        }
    }
    // The last step shows whatever is left.
    Ok(seen.into_iter().map(|pixel| pixel.unwrap_or_default()).collect())
}

/// A grey level with these log probabilities, by the inverse of their cumulative sum, in
/// f64. Equation `gumbel-bias` says why not by Gumbel noise in f32.
pub fn draw_level(log_probs: &[f64], rng: &mut impl Rng) -> u8 {
    let p = |log_prob: &f64| log_prob.max(-100.0).exp();
    let mut left = rng.random::<f64>() * log_probs.iter().map(p).sum::<f64>();
    let found = log_probs.iter().position(|log_prob| {
        left -= p(log_prob);
        left < 0.0
    });
    found.unwrap_or(log_probs.len() - 1) as u8
}
// ANCHOR_END: unmask

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        masks::MaskSchedule,
        oracle::PixelTable,
        random::{Stream, rng},
    };

    /// Ten thousand pairs of pixels, drawn in one, two and five steps with the ideal
    /// network of a table, against the law by enumeration.
    #[test]
    fn few_steps_draw_what_the_enumeration_says() {
        const N: usize = 10_000;
        let pair = PixelTable::new(2, 2, &[0.5, 0.1, 0.1, 0.3]).unwrap();
        let log_probs = |seen: &[Option<u8>]| {
            let each = seen.chunks(2).flat_map(|seen| {
                let seen: Vec<_> = seen.iter().map(|k| k.map(usize::from)).collect();
                (0..2).flat_map(|i| pair.conditional(&seen, i)).collect::<Vec<_>>()
            });
            Ok(each.map(|p| p.max(1e-30).ln()).collect())
        };
        for (steps, schedule) in [
            (1, MaskSchedule::Linear),
            (2, MaskSchedule::Linear),
            (5, MaskSchedule::Cosine),
        ] {
            let abar = schedule.grid(steps);
            let rng = &mut rng(3, Stream::Sampling, steps as u64);
            let drawn = unmask([N, 2], &abar, log_probs, rng, |_, _, _| {}).unwrap();
            let mut counts = [0.0; 4];
            for x in drawn.chunks(2) {
                counts[usize::from(x[0] + 2 * x[1])] += 1.0 / N as f64;
            }
            let exact = pair.ideal().sampled(&abar).unwrap();
            for (found, exact) in counts.iter().zip(exact) {
                // Four standard deviations of a share near a half.
                assert!((found - exact).abs() < 0.02, "{counts:?} in {steps} steps");
            }
        }
    }
}
