//! The data sets.

pub mod digits;
pub mod idx;
pub mod mnist;

use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::{Rng, RngExt};

use crate::host::upload;

/// Grey-level images: each pixel is one of `level_count` levels.
///
/// Level k stands for the value x_k = 2 (k + 1/2) / K - 1, so the values fill [-1, 1] evenly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// Levels of all images, row after row, image after image.
    pixels: Vec<u8>,
    /// Pixels on one side of the square image.
    side: usize,
    /// Number of levels, K.
    level_count: usize,
}

/// One data set in its three parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// For fitting.
    pub train: Images,
    /// For choosing between models.
    pub validation: Images,
    /// For reporting, once.
    pub test: Images,
}

impl Images {
    /// Images from their levels; the caller guarantees whole images and levels below `level_count`.
    fn new(pixels: Vec<u8>, side: usize, level_count: usize) -> Self {
        Self { pixels, side, level_count }
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.pixels.len() / self.dim()
    }

    /// True if there is no image.
    pub fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }

    /// Pixels on one side.
    pub fn side(&self) -> usize {
        self.side
    }

    /// Pixels of one image, d.
    pub fn dim(&self) -> usize {
        self.side * self.side
    }

    /// Number of levels, K.
    pub fn level_count(&self) -> usize {
        self.level_count
    }

    /// The values x_k, ascending.
    pub fn level_values(&self) -> Vec<f64> {
        (0..self.level_count).map(|k| 2.0 * (k as f64 + 0.5) / self.level_count as f64 - 1.0).collect()
    }

    /// The levels of image `i`.
    pub fn image(&self, i: usize) -> &[u8] {
        &self.pixels[i * self.dim()..(i + 1) * self.dim()]
    }

    /// The images, one slice of levels each.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.pixels.chunks_exact(self.dim())
    }

    /// The images from `start` to `end`.
    pub fn range(&self, start: usize, end: usize) -> Self {
        Self { pixels: self.pixels[start * self.dim()..end * self.dim()].to_vec(), ..*self }
    }

    /// A batch of `n` images drawn with replacement.
    pub fn sample(&self, n: usize, rng: &mut impl Rng) -> Self {
        let pixels = (0..n).flat_map(|_| self.image(rng.random_range(0..self.len()))).copied().collect();
        Self { pixels, ..*self }
    }

    /// The pixel values x, [n, d].
    pub fn values(&self, device: &Device) -> Tensor<2> {
        let levels = self.level_values();
        let values = self.pixels.iter().map(|&k| levels[usize::from(k)]);
        upload(values, device).reshape([self.len(), self.dim()])
    }

    /// The levels k, [n, d].
    pub fn levels(&self, device: &Device) -> Tensor<2, Int> {
        let levels: Vec<i32> = self.pixels.iter().map(|&k| i32::from(k)).collect();
        Tensor::from_data(TensorData::new(levels, [self.len(), self.dim()]), device)
    }
}

impl Dataset {
    /// Bits per dimension that a number of nats per image stands for. Equation `bits-per-dim`.
    pub fn bits_per_dim(&self, nats: f64) -> f64 {
        nats / (self.train.dim() as f64 * std::f64::consts::LN_2)
    }
}

/// How often each level occurs at each pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct Marginals {
    /// log m_ik, d * K, pixel after pixel.
    pub log_probs: Vec<f64>,
    level_count: usize,
}

impl Marginals {
    // ANCHOR: marginals
    /// Counts the levels of each pixel, each count raised by `pseudo_count` so that no level is impossible.
    pub fn fit(images: &Images, pseudo_count: f64) -> Self {
        let (d, k) = (images.dim(), images.level_count());
        let mut counts = vec![pseudo_count; d * k];
        for image in images.iter() {
            for (i, &level) in image.iter().enumerate() {
                counts[i * k + usize::from(level)] += 1.0;
            }
        }
        let total = images.len() as f64 + pseudo_count * k as f64;
        Self { log_probs: counts.iter().map(|c| (c / total).ln()).collect(), level_count: k }
    }

    /// Mean of -log p(x) over the images, in nats, if all pixels were independent.
    pub fn nats(&self, images: &Images) -> f64 {
        let log_prob = |(i, &level): (usize, &u8)| self.log_probs[i * self.level_count + usize::from(level)];
        let total: f64 = images.iter().flat_map(|image| image.iter().enumerate().map(log_prob)).sum();
        -total / images.len() as f64
    }
    // ANCHOR_END: marginals
}
