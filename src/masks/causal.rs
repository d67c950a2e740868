//! A network that guesses each pixel from those before it, row after row: its likelihood is
//! a product of V-way distributions, and exact.

use std::f64::consts::FRAC_PI_2;

use burn::{
    module::{Module, Param},
    tensor::{Device, Int, Tensor, TensorData},
};
use rand_chacha::ChaCha8Rng;

use crate::{
    data::{Images, Marginals},
    host::upload,
    kernels::log_softmax,
    network::{Layers, Trunk, TrunkConfig, layers::Linear},
};

/// How far up and to either side of a pixel the network sees.
const REACH: usize = 7;
/// The pixels that it sees: those of the rows above and those to the left.
const NEIGHBOURS: usize = REACH * (2 * REACH + 1) + REACH;
/// What it is told of each: how bright it is, and whether it is blank, or full.
const FEATURES: usize = 3;
/// What each count of a grey level is raised by, so that none is impossible.
const PSEUDO_COUNT: f64 = 0.1;

/// The trunk of chapter 5 on one pixel's past: one network for all places.
#[derive(Module, Debug)]
pub struct CausalNetwork {
    /// From three features of each of 112 neighbours; where the pixel lies takes the place
    /// of the noise level.
    trunk: Trunk,
    /// `[h, V]`.
    output: Linear,
    /// Log probability of each grey level of each pixel in the training set, `[d, V]`.
    /// Saved with the weights, never trained.
    log_marginals: Param<Tensor<2>>,
    #[module(skip)]
    side: usize,
    #[module(skip)]
    levels: usize,
}

/// Pixels of images, each with all of its image.
pub type Places<'a> = [(&'a [u8], usize)];

impl CausalNetwork {
    /// A network with fresh weights for images like those of `train`. Its output layer
    /// starts at zero, so an untrained network is the model of independent pixels.
    pub fn for_images(
        train: &Images,
        trunk: TrunkConfig,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let log_marginals = Marginals::fit(train, PSEUDO_COUNT).log_probs;
        Self::new(log_marginals, train.side(), trunk, rng, device)
    }

    /// A network with fresh weights for square images with these log probabilities of each
    /// grey level of each pixel, d V, pixel after pixel.
    pub fn new(
        log_marginals: Vec<f64>,
        side: usize,
        trunk: TrunkConfig,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let config = TrunkConfig { layers: Layers::Dense, ..trunk };
        let d = side * side;
        let levels = log_marginals.len() / d;
        let log_marginals = upload(log_marginals, device).reshape([d, levels]);
        Self {
            trunk: Trunk::new(config, FEATURES, NEIGHBOURS, rng, device),
            output: config.output(levels, 1, rng, device),
            log_marginals: Param::from_tensor(log_marginals).set_require_grad(false),
            side,
            levels,
        }
    }

    // ANCHOR: past
    /// What the network sees of the pixels before this one; nothing where these would lie
    /// outside the image.
    fn past(&self, image: &[u8], pixel: usize, features: &mut Vec<f32>) {
        let (row, column) = (pixel / self.side, pixel % self.side);
        let highest = (self.levels - 1) as f32;
        for place in 0..NEIGHBOURS {
            let (up, across) =
                (REACH - place / (2 * REACH + 1), place % (2 * REACH + 1) + column);
            let inside = up <= row && (REACH..REACH + self.side).contains(&across);
            let brightness = if inside {
                f32::from(image[(row - up) * self.side + across - REACH]) / highest
            } else {
                0.0
            };
            let full = brightness > 0.985;
            features.extend([brightness, f32::from(brightness > 0.0), f32::from(full)]);
        }
    }
    // ANCHOR_END: past

    /// Where a pixel lies: four octaves of sine and cosine of its row and its column, in the
    /// place of the 17 features of a noise level.
    fn position(&self, pixel: usize) -> [f64; 17] {
        let mut features = [1.0; 17];
        let places = [pixel / self.side, pixel % self.side];
        for (part, place) in features[1..].chunks_exact_mut(8).zip(places) {
            let u = place as f64 / self.side as f64;
            for (octave, pair) in part.chunks_exact_mut(2).enumerate() {
                let (sine, cosine) = (FRAC_PI_2 * f64::from(1 << octave) * u).sin_cos();
                pair.copy_from_slice(&[sine, cosine]);
            }
        }
        features
    }

    // ANCHOR: causal_log_probs
    /// log p(x_i = k | the pixels before i) for every level k, `[n, V]`, at n places. With a
    /// generator, units are dropped out (training).
    pub fn log_probs(
        &self,
        places: &Places,
        dropout: Option<&mut ChaCha8Rng>,
    ) -> Tensor<2> {
        let (n, device) = (places.len(), self.output.bias.val().device());
        let mut past = Vec::with_capacity(n * NEIGHBOURS * FEATURES);
        places.iter().for_each(|(image, pixel)| self.past(image, *pixel, &mut past));
        let past = TensorData::new(past, [n, NEIGHBOURS * FEATURES]);
        let position = places.iter().flat_map(|(_, pixel)| self.position(*pixel));
        let hidden = self.trunk.forward(
            Tensor::from_data(past, &device),
            upload(position, &device).reshape([n, 17]),
            dropout,
        );
        let pixels: Vec<i32> = places.iter().map(|(_, pixel)| *pixel as i32).collect();
        let pixels = Tensor::<1, Int>::from_data(TensorData::new(pixels, [n]), &device);
        let base = self.log_marginals.val().select(0, pixels);
        log_softmax(base + self.output.forward(hidden))
    }

    /// -log p(x_i | the pixels before i), `[n]`, at n places.
    pub fn cost(&self, places: &Places, dropout: Option<&mut ChaCha8Rng>) -> Tensor<1> {
        let log_probs = self.log_probs(places, dropout);
        let levels: Vec<i32> =
            places.iter().map(|(image, pixel)| i32::from(image[*pixel])).collect();
        let levels = TensorData::new(levels, [places.len(), 1]);
        let levels = Tensor::<2, Int>::from_data(levels, &log_probs.device());
        -log_probs.gather(1, levels).squeeze_dim::<1>(1)
    }
    // ANCHOR_END: causal_log_probs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        data::digits::digits,
        error::Result,
        host::download,
        random::{Stream, normal, rng},
    };

    /// A network whose output layer does not start at zero.
    fn network(log_marginals: Vec<f64>, side: usize) -> CausalNetwork {
        let (config, device) = (
            TrunkConfig {
                gamma_min: 0.0,
                gamma_max: 1.0,
                layers: Layers::Dense,
                hidden: 8,
                blocks: 1,
                dropout: 0.0,
            },
            Device::flex(),
        );
        let rng = &mut rng(5, Stream::Initialisation, 0);
        let mut network = CausalNetwork::new(log_marginals, side, config, rng, &device);
        let shape = network.output.weight.val().dims();
        network.output.weight = Param::from_tensor(normal(shape, rng, &device));
        network
    }

    #[test]
    fn a_pixel_sees_all_that_come_before_it_and_none_that_come_after() -> Result<()> {
        let data = digits()?;
        let (network, image) =
            (network(vec![0.0; 64 * 17], 8), data.train.image(3).to_vec());
        let d = image.len();
        let all = |image: &[u8]| {
            let places: Vec<_> = (0..d).map(|pixel| (image, pixel)).collect();
            download(network.log_probs(&places, None))
        };
        let before = all(&image)?;
        for changed in [0, 9, 30, 63] {
            let mut other = image.clone();
            other[changed] = (other[changed] + 8) % 17;
            let after = all(&other)?;
            for pixel in 0..d {
                let row = pixel * 17..(pixel + 1) * 17;
                let same = before[row.clone()] == after[row];
                // From the top right to the bottom left there are more than seven pixels.
                let reach = (changed % 8).abs_diff(pixel % 8) <= 7;
                assert_eq!(same, pixel <= changed || !reach, "{changed} {pixel}");
            }
        }
        Ok(())
    }

    /// The probabilities of all images of 2 x 2 pixels and 3 levels add up to one.
    #[test]
    fn the_likelihood_is_one() -> Result<()> {
        let network = network(vec![0.0; 4 * 3], 2);
        let images: Vec<[u8; 4]> =
            (0..81).map(|i| [i % 3, i / 3 % 3, i / 9 % 3, i / 27]).collect();
        let places: Vec<_> =
            images.iter().flat_map(|x| (0..4).map(move |i| (&x[..], i))).collect();
        let costs = download(network.cost(&places, None))?;
        let total: f64 = costs.chunks(4).map(|x| (-x.iter().sum::<f64>()).exp()).sum();
        assert!((total - 1.0).abs() < 1e-5, "{total}");
        Ok(())
    }

    #[test]
    fn a_neighbour_is_told_with_its_brightness_and_whether_it_has_ink_or_is_full() {
        let network = network(vec![0.0; 4 * 17], 2);
        let (image, mut features) = ([0, 8, 16, 0], Vec::new());
        // Before the last pixel of 2 x 2 lie three.
        network.past(&image, 3, &mut features);
        assert_eq!(features.len(), FEATURES * NEIGHBOURS);
        let at = |up: usize, left: usize| {
            let place = (REACH - up) * (2 * REACH + 1) + REACH - left;
            &features[FEATURES * place..][..FEATURES]
        };
        assert_eq!(at(1, 1), [0.0, 0.0, 0.0]);
        assert_eq!(at(1, 0), [0.5, 1.0, 0.0]);
        assert_eq!(at(0, 1), [1.0, 1.0, 1.0]);
        // All others lie outside the image.
        assert_eq!(features.iter().sum::<f32>(), 4.5);
    }
}
