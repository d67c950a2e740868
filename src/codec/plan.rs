//! Which images are coded side by side.

use super::chain::Pace;

/// Images that are coded side by side at most.
const MOST: usize = 32;

// ANCHOR: plan
/// How the images of a file are shared out. It follows from numbers that encoder and
/// decoder both know, so that it need not be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The first images, each pixel coded by itself: they are what the next ones borrow.
    pub alone: usize,
    /// How many of the others are coded side by side, batch after batch.
    pub batches: Vec<usize>,
}

impl Plan {
    /// For so many images above a stack of `bits`. As many images side by side as the stack
    /// should be able to lend to.
    pub fn new(images: usize, mut bits: f64, alone_bits: f64, pace: Pace) -> Self {
        let mut alone = 0;
        while bits < pace.borrowed && alone < images {
            (alone, bits) = (alone + 1, bits + alone_bits);
        }
        let (mut left, mut batches) = (images - alone, Vec::new());
        while left > 0 {
            let n = ((bits / pace.borrowed) as usize).clamp(1, MOST).min(left);
            (left, bits) = (left - n, bits + n as f64 * pace.net);
            batches.push(n);
        }
        Self { alone, batches }
    }
}
// ANCHOR_END: plan
