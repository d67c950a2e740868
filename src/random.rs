//! Randomness from the host: the same seed gives the same draws on every device.
//!
//! Burn's own generator is global to the process and differs between backends, so nothing
//! here uses it. Each purpose has a stream of its own, and each step of a stream starts at
//! its own place. A run that is resumed at step 500 therefore draws what the uninterrupted
//! run drew at step 500, and no generator state has to be saved.

use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// What a stream of random numbers is used for. Streams with one seed are independent of
/// each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The initial weights of a network.
    Initialisation = 1,
    /// Which images enter a batch.
    Batch = 2,
    /// Gaussian noise of a training step.
    Training = 3,
    /// Dropout masks.
    Dropout = 4,
    /// Times and noise of the estimates that are reported.
    Evaluation = 5,
    /// Noise of samples drawn from a model.
    Sampling = 6,
    /// The times of a training step.
    Times = 7,
    /// Which pixels of black and white images are white.
    Binarisation = 8,
    /// Draws from a model that is known exactly.
    Exact = 9,
    /// Images and noise of the descent of a schedule's end points.
    EndPoints = 10,
    /// Draws behind estimates of a gradient.
    Gradient = 11,
    /// Draws from posteriors that are looked at by themselves.
    Posterior = 12,
    /// Which labels a training step leaves out.
    Labels = 13,
    /// Which pixels are masked.
    Masks = 17,
    /// Samples that are measured, beside those that are looked at.
    MeasuredSamples = 20,
    /// Symbols of a small model that are coded.
    Coding = 21,
}

/// The generator of `stream` at `step`, for the run with this `seed`.
pub fn rng(seed: u64, stream: Stream, step: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream as u64);
    // A step may draw 2^36 words (256 GiB) before it would run into the next one.
    rng.set_word_pos(u128::from(step) << 36);
    rng
}

/// Standard normal noise of the given shape.
pub fn normal<const D: usize>(
    shape: [usize; D],
    rng: &mut impl Rng,
    device: &Device,
) -> Tensor<D> {
    let values: Vec<f32> =
        StandardNormal.sample_iter(rng).take(shape.iter().product()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// A dropout mask: each entry is 0 with probability `rate`, otherwise 1/(1 - rate), so its
/// mean is 1.
pub fn dropout_mask<const D: usize>(
    shape: [usize; D],
    rate: f64,
    rng: &mut impl Rng,
    device: &Device,
) -> Tensor<D> {
    // Sixteen bits per entry resolve the rate to 1.5e-5, at half the cost of a float per
    // entry.
    let threshold = (rate * 65536.0).round() as u32;
    let kept = (1.0 / (1.0 - f64::from(threshold) / 65536.0)) as f32;
    let entries: usize = shape.iter().product();
    // Whole words of the generator.
    let mut bits = vec![0; 2 * entries.next_multiple_of(2)];
    rng.fill_bytes(&mut bits);
    // A product: a choice would have to be guessed by the processor, entry by entry.
    let entry = |&bits: &[u8; 2]| {
        kept * f32::from(u8::from(u32::from(u16::from_le_bytes(bits)) >= threshold))
    };
    let values: Vec<f32> = bits.as_chunks().0[..entries].iter().map(entry).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::download;

    #[test]
    fn dropout_keeps_the_mean_and_its_rate() {
        let device = Device::flex();
        // An odd number of entries.
        for (rate, shape) in [(0.1, [301, 101]), (0.75, [301, 101])] {
            let draws = &mut rng(7, Stream::Dropout, 0);
            let mask = download(dropout_mask(shape, rate, draws, &device)).unwrap();
            assert_eq!(mask.len(), 301 * 101);
            let kept = 1.0 / (1.0 - rate);
            assert!(mask.iter().all(|m| *m == 0.0 || (m / kept - 1.0).abs() < 1e-4));
            let dropped = mask.iter().filter(|m| **m == 0.0).count() as f64;
            // Five standard deviations.
            let spread = 5.0 * (rate * (1.0 - rate) / mask.len() as f64).sqrt();
            assert!((dropped / mask.len() as f64 - rate).abs() < spread, "{dropped}");
        }
        let none =
            download(dropout_mask([9], 0.0, &mut rng(7, Stream::Dropout, 0), &device));
        assert_eq!(none.unwrap(), [1.0; 9]);
    }
}
