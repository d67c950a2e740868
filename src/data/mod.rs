//! The data sets.

pub mod digits;
pub mod idx;
// A page has no files and asks no other server.
#[cfg(not(target_family = "wasm"))]
pub mod mnist;

use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::{Rng, RngExt};

use crate::{
    error::{Error, Result},
    host::upload,
};

/// Grey-level images: each pixel is one of `grey_level_count` grey levels. Each image may have a
/// label, the class it belongs to.
///
/// Level k stands for the value x_k = 2 (k + 1/2) / K - 1, so the values fill [-1, 1]
/// evenly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// Levels of all images, row after row, image after image.
    pixels: Vec<u8>,
    /// The class of each image, where classes are known.
    labels: Option<Vec<u8>>,
    /// Pixels on one side of the square image.
    side: usize,
    /// Number of grey levels, V.
    grey_level_count: usize,
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
    /// Images from their grey levels, without labels; the caller guarantees whole images
    /// and grey levels below `grey_level_count`.
    fn new(pixels: Vec<u8>, side: usize, grey_level_count: usize) -> Self {
        Self { pixels, labels: None, side, grey_level_count }
    }

    /// The images with a label each, of which the caller guarantees as many.
    fn labelled(self, labels: Vec<u8>) -> Self {
        Self { labels: Some(labels), ..self }
    }

    /// Other images of the same kind, from their levels, without labels. Pixels behind the
    /// last whole image are left out, and a level above the highest counts as the highest.
    pub fn with_pixels(&self, mut pixels: Vec<u8>) -> Self {
        pixels.truncate(pixels.len() / self.dim() * self.dim());
        pixels.iter_mut().for_each(|k| *k = (*k).min((self.grey_level_count - 1) as u8));
        Self { pixels, labels: None, ..*self }
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

    /// Number of grey levels, V.
    pub fn grey_level_count(&self) -> usize {
        self.grey_level_count
    }

    /// The values x_k, ascending.
    pub fn grey_values(&self) -> Vec<f64> {
        (0..self.grey_level_count)
            .map(|k| 2.0 * (k as f64 + 0.5) / self.grey_level_count as f64 - 1.0)
            .collect()
    }

    /// The grey levels of image `i`.
    pub fn image(&self, i: usize) -> &[u8] {
        &self.pixels[i * self.dim()..(i + 1) * self.dim()]
    }

    /// The class of each image, 0 to 9 for digits; `None` if the images were read without
    /// their labels.
    pub fn labels(&self) -> Option<&[u8]> {
        self.labels.as_deref()
    }

    /// The same, for what cannot do without them.
    pub fn known_labels(&self) -> Result<&[u8]> {
        self.labels().ok_or_else(|| {
            Error::failure(
                "these images have no labels; read them together with their labels",
            )
        })
    }

    /// The images, one slice of grey levels each.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.pixels.chunks_exact(self.dim())
    }

    /// The images from `start` to `end`.
    pub fn range(&self, start: usize, end: usize) -> Self {
        let pixels = self.pixels[start * self.dim()..end * self.dim()].to_vec();
        Self {
            pixels,
            labels: self.labels.as_ref().map(|labels| labels[start..end].to_vec()),
            ..*self
        }
    }

    /// A batch of `n` images drawn with replacement.
    pub fn sample(&self, n: usize, rng: &mut impl Rng) -> Self {
        let drawn: Vec<usize> = (0..n).map(|_| rng.random_range(0..self.len())).collect();
        let pixels = drawn.iter().flat_map(|&i| self.image(i)).copied().collect();
        Self {
            pixels,
            labels: self
                .labels
                .as_ref()
                .map(|labels| drawn.iter().map(|&i| labels[i]).collect()),
            ..*self
        }
    }

    /// The images, of which about `share` are moved by up to one pixel each way, unless ink
    /// would leave the picture.
    ///
    /// A moved digit is as good a digit, so a network that sees them has more to learn
    /// from.
    pub fn shifted(mut self, share: f64, rng: &mut impl Rng) -> Self {
        if share == 0.0 {
            return self;
        }
        let side = self.side as i32;
        for image in self.pixels.chunks_exact_mut(self.side * self.side) {
            let (moves, dx, dy) = (
                rng.random_bool(share),
                rng.random_range(-1..=1),
                rng.random_range(-1..=1),
            );
            let mut shifted = vec![0; image.len()];
            let mut ink = 0;
            for (i, &level) in (0..).zip(image.iter()).filter(|_| moves) {
                let (x, y) = (i % side + dx, i / side + dy);
                if (0..side).contains(&x) && (0..side).contains(&y) {
                    shifted[(y * side + x) as usize] = level;
                    ink += usize::from(level);
                }
            }
            if moves && ink == image.iter().map(|&level| usize::from(level)).sum::<usize>()
            {
                image.copy_from_slice(&shifted);
            }
        }
        self
    }

    /// Black and white images: each pixel is drawn once, white with the probability that
    /// its grey level k stands for, k / (V - 1). Salakhutdinov and Murray (2008).
    pub fn binarized(&self, rng: &mut impl Rng) -> Self {
        let white = (self.grey_level_count - 1).max(1) as f64;
        let pixels = self
            .pixels
            .iter()
            .map(|&level| u8::from(rng.random::<f64>() * white < f64::from(level)))
            .collect();
        Self { pixels, labels: self.labels.clone(), side: self.side, grey_level_count: 2 }
    }

    /// At most the first `n` images.
    pub fn first(&self, n: usize) -> Self {
        self.range(0, n.min(self.len()))
    }

    /// The pixel values x, [n, d].
    pub fn values(&self, device: &Device) -> Tensor<2> {
        let levels = self.grey_values();
        let values = self.pixels.iter().map(|&k| levels[usize::from(k)]);
        upload(values, device).reshape([self.len(), self.dim()])
    }

    /// The grey levels k, [n, d].
    pub fn grey_levels(&self, device: &Device) -> Tensor<2, Int> {
        let levels: Vec<i32> = self.pixels.iter().map(|&k| i32::from(k)).collect();
        Tensor::from_data(TensorData::new(levels, [self.len(), self.dim()]), device)
    }
}

impl Dataset {
    /// Bits per dimension that a number of nats per image stands for. Equation
    /// `bits-per-dim`.
    pub fn bits_per_dim(&self, nats: f64) -> f64 {
        bits_per_dim(nats, self.train.dim())
    }
}

/// Bits per dimension that a number of nats stands for, for images of `dim` pixels.
/// Equation `bits-per-dim`.
pub fn bits_per_dim(nats: f64, dim: usize) -> f64 {
    nats / (dim as f64 * std::f64::consts::LN_2)
}

/// How often each grey level occurs at each pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct Marginals {
    /// log m_ik, d * K, pixel after pixel.
    pub log_probs: Vec<f64>,
    grey_level_count: usize,
}

impl Marginals {
    // ANCHOR: marginals
    /// Counts the levels of each pixel, each count raised by `pseudo_count` so that no
    /// level is impossible.
    pub fn fit(images: &Images, pseudo_count: f64) -> Self {
        let (d, v) = (images.dim(), images.grey_level_count());
        let mut counts = vec![pseudo_count; d * v];
        for image in images.iter() {
            for (i, &k) in image.iter().enumerate() {
                counts[i * v + usize::from(k)] += 1.0;
            }
        }
        let total = images.len() as f64 + pseudo_count * v as f64;
        Self {
            log_probs: counts.iter().map(|c| (c / total).ln()).collect(),
            grey_level_count: v,
        }
    }

    /// log m_ik of each pixel.
    pub fn pixels(&self) -> impl Iterator<Item = &[f64]> {
        self.log_probs.chunks(self.grey_level_count)
    }

    /// Mean of -log p(x) over the images, in nats, if all pixels were independent.
    pub fn nats(&self, images: &Images) -> f64 {
        let log_prob = |(i, &level): (usize, &u8)| {
            self.log_probs[i * self.grey_level_count + usize::from(level)]
        };
        let total: f64 =
            images.iter().flat_map(|image| image.iter().enumerate().map(log_prob)).sum();
        -total / images.len() as f64
    }
    // ANCHOR_END: marginals
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, rng};

    #[test]
    fn black_and_white_images_are_drawn_with_the_probability_of_their_levels() {
        let grey = Images::new([0, 4, 12, 16].repeat(1000), 2, 17);
        let drawn = grey.binarized(&mut rng(0, Stream::Binarisation, 0));
        assert_eq!((drawn.len(), drawn.side(), drawn.grey_level_count()), (1000, 2, 2));
        let white = |pixel: usize| drawn.iter().filter(|image| image[pixel] == 1).count();
        assert_eq!((white(0), white(3)), (0, 1000));
        // A quarter and three quarters of 1000, each with a standard deviation of 14.
        assert!(
            (200..=300).contains(&white(1)) && (700..=800).contains(&white(2)),
            "{} {}",
            white(1),
            white(2)
        );
        assert_eq!(drawn, grey.binarized(&mut rng(0, Stream::Binarisation, 0)));
    }

    #[test]
    fn shifts_move_the_ink_as_a_whole_and_keep_all_of_it() {
        // One pixel of ink in the middle, and one in a corner, of many pictures.
        let middle = Images::new([0, 0, 0, 0, 5, 0, 0, 0, 0].repeat(200), 3, 17);
        let shifted = middle.clone().shifted(0.5, &mut rng(0, Stream::Batch, 0));
        let places: Vec<usize> =
            shifted.iter().filter_map(|image| image.iter().position(|&k| k == 5)).collect();
        assert_eq!(places.len(), 200);
        let still = places.iter().filter(|&&place| place == 4).count();
        // Half stay, and one in nine of the others: 111 of 200, with a standard deviation
        // of 7.
        assert!((83..=139).contains(&still), "{still}");
        assert!((0..9).all(|place| places.contains(&place)));

        let corner = Images::new([7, 0, 0, 0, 0, 0, 0, 0, 0].repeat(200), 3, 17);
        let shifted = corner.shifted(1.0, &mut rng(1, Stream::Batch, 0));
        let places: Vec<usize> =
            shifted.iter().filter_map(|image| image.iter().position(|&k| k == 7)).collect();
        assert_eq!(places.len(), 200);
        assert!(places.iter().all(|place| [0, 1, 3, 4].contains(place)));
        assert_eq!(middle.clone().shifted(0.0, &mut rng(2, Stream::Batch, 0)), middle);
    }

    #[test]
    fn every_operation_keeps_each_image_with_its_label() {
        // The label of an image is the level of its middle pixel, which is alone in it and
        // moves nowhere out of the picture.
        let image = |label: u8| [0, 0, 0, 0, label, 0, 0, 0, 0];
        let images = Images::new((1..10).flat_map(image).collect(), 3, 17)
            .labelled((1..10).collect());
        let level = |image: &[u8]| image.iter().copied().max().unwrap_or_default();
        let fits = |images: &Images| {
            images.labels().unwrap() == images.iter().map(level).collect::<Vec<u8>>()
        };
        assert!(fits(&images));
        let rng = &mut rng(0, Stream::Batch, 0);
        let range = images.range(2, 5);
        assert!(fits(&range) && range.labels() == Some(&[3, 4, 5]));
        assert!(fits(&images.first(2)) && images.first(100).labels() == images.labels());
        let drawn = images.sample(50, rng);
        assert!(fits(&drawn) && drawn.len() == 50);
        assert!(fits(&drawn.shifted(0.5, rng)) && fits(&images.clone().shifted(0.0, rng)));
        let binarized = images.binarized(rng);
        assert_eq!(
            (binarized.labels(), binarized.grey_level_count()),
            (images.labels(), 2)
        );

        let without = Images::new(vec![0; 18], 3, 17);
        let all = [
            without.range(0, 1),
            without.first(1),
            without.sample(4, rng),
            without.binarized(rng),
        ];
        assert!(
            all.iter()
                .chain([&without.clone().shifted(1.0, rng)])
                .all(|images| images.labels().is_none())
        );
    }

    #[test]
    fn the_shares_of_the_levels_of_a_pixel_add_up_to_one() {
        // Two pixels in a column and two without ink, three levels.
        let images = Images::new(vec![0, 2, 0, 0, 1, 2, 0, 0, 1, 2, 0, 0], 2, 3);
        let marginals = Marginals::fit(&images, 0.5);
        for pixel in marginals.pixels() {
            let sum: f64 = pixel.iter().map(|log_p| log_p.exp()).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{sum}");
        }
        // Three images and three halves.
        let expected: [f64; 6] = [1.5, 2.5, 0.5, 0.5, 0.5, 3.5];
        for (log_p, count) in marginals.log_probs.iter().zip(expected) {
            assert!((log_p.exp() - count / 4.5).abs() < 1e-12, "{log_p} {count}");
        }
        let one = images.range(0, 1);
        let nats = -(1.5 * 3.5 * 3.5 * 3.5 / 4.5_f64.powi(4)).ln();
        assert!((marginals.nats(&one) - nats).abs() < 1e-12);
        assert!((bits_per_dim(nats, 4) - nats / 4.0 / 2.0_f64.ln()).abs() < 1e-12);
    }
}
