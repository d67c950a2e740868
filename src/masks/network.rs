//! The network that guesses the masked pixels from those that are seen.

use burn::{
    module::{Module, Param},
    tensor::{Device, Int, Tensor, TensorData},
};
use rand_chacha::ChaCha8Rng;

use super::process::Masked;
use crate::{
    data::{Images, Marginals},
    host::upload,
    kernels::log_softmax,
    network::{Trunk, TrunkConfig, layers::Linear},
};

/// Number of curves over the grey levels that the network mixes for each pixel, J.
const CURVES: usize = 6;
/// What each count of a grey level is raised by, so that none is impossible.
const PSEUDO_COUNT: f64 = 0.1;

/// A residual network that corrects the odds of independent pixels: the trunk of chapter 5.
///
/// It does not see the time. It sees how many pixels are masked, which the masks tell
/// anyway.
#[derive(Module, Debug)]
pub struct MaskedNetwork {
    /// From the mean and the spread of each pixel on its own, `[2 d]`: for a pixel that is
    /// seen its value and nothing, for a masked one those of all training images.
    trunk: Trunk,
    /// J numbers per pixel, `[h, J d]`; `[h, J]` behind a U-Net.
    output: Linear,
    /// The curves over the grey levels that these numbers mix, `[J, V]`.
    curves: Param<Tensor<2>>,
    /// What is added to the logits of every image, `[d, V]`.
    bias: Param<Tensor<2>>,
    /// Log probability of each grey level of each pixel in the training set, `[d, V]`.
    /// Saved with the weights, never trained.
    log_marginals: Param<Tensor<2>>,
    /// The value of each grey level.
    #[module(skip)]
    values: Vec<f64>,
    /// The mean and twice the standard deviation of each pixel in the training set.
    #[module(skip)]
    alone: Vec<[f64; 2]>,
    #[module(skip)]
    config: TrunkConfig,
}

impl MaskedNetwork {
    /// A network with fresh weights for images like those of `train`. Its output layer
    /// starts at zero, so an untrained network is the model of independent pixels.
    pub fn for_images(
        train: &Images,
        trunk: TrunkConfig,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let (values, d) = (train.grey_values(), train.dim());
        let v = values.len();
        let log_marginals = Marginals::fit(train, PSEUDO_COUNT).log_probs;
        let alone = log_marginals.chunks(v).map(|log_probs| {
            let p = || log_probs.iter().map(|l| l.exp()).zip(&values);
            let mean: f64 = p().map(|(p, x)| p * x).sum();
            let variance: f64 = p().map(|(p, x)| p * (x - mean).powi(2)).sum();
            [mean, 2.0 * variance.sqrt()]
        });
        // One curve singles out the lowest level and one the highest; the others bend the
        // odds once to four times.
        let curve = |j: usize| {
            let last = v - 1;
            values.iter().enumerate().map(move |(k, x)| match j {
                0 => 2.0 * f64::from(k == 0),
                1 => 2.0 * f64::from(k == last),
                _ => (f64::from(j as u32 - 1) * x.clamp(-1.0, 1.0).acos()).cos(),
            })
        };
        let curves = upload((0..CURVES).flat_map(curve), device).reshape([CURVES, v]);
        // The noise level that the trunk is told runs from 0, all seen, to 1, all masked.
        let config = TrunkConfig { gamma_min: 0.0, gamma_max: 1.0, ..trunk };
        Self {
            trunk: Trunk::new(config, 2, d, rng, device),
            output: config.output(CURVES, d, rng, device),
            curves: Param::from_tensor(curves),
            bias: Param::from_data(TensorData::zeros::<f32, _>([d, v]), device),
            alone: alone.collect(),
            log_marginals: Param::from_tensor(
                upload(log_marginals, device).reshape([d, v]),
            )
            .set_require_grad(false),
            values,
            config,
        }
    }

    /// d.
    pub fn dim(&self) -> usize {
        self.alone.len()
    }

    /// V.
    pub fn grey_level_count(&self) -> usize {
        self.values.len()
    }

    /// log p(x_i = k | what is seen) for every pixel i and level k, `[B, d, V]`, from what
    /// is seen of B images, B d entries. With a generator, units are dropped out
    /// (training).
    pub fn log_probs(
        &self,
        seen: &[Option<u8>],
        dropout: Option<&mut ChaCha8Rng>,
    ) -> Tensor<3> {
        let (d, device) = (self.dim(), self.curves.val().device());
        let b = seen.len() / d;
        // ANCHOR: odds
        // What chapter 5's denoiser sees of a pixel where the noise is none, or infinite.
        let pixel = |(pixel, alone): (&Option<u8>, &[f64; 2])| match pixel {
            Some(level) => [self.values[usize::from(*level)], 0.0],
            None => *alone,
        };
        let features = seen.chunks_exact(d).flat_map(|image| {
            let of = move |part: usize| {
                image.iter().zip(&self.alone).map(move |both| pixel(both)[part])
            };
            of(0).chain(of(1))
        });
        let features = upload(features, &device).reshape([b, 2 * d]);
        let masked = seen.chunks_exact(d).map(|image| {
            image.iter().filter(|pixel| pixel.is_none()).count() as f64 / d as f64
        });
        let time = self.config.time_features(upload(masked, &device));
        let mix = self.output.forward(self.trunk.forward(features, time, dropout));
        let base = self.log_marginals.val() + self.bias.val();
        let odds = mix.reshape([b * d, CURVES]).matmul(self.curves.val());
        log_softmax(odds.reshape([b as i32, d as i32, -1]) + base.unsqueeze::<3>())
        // ANCHOR_END: odds
    }

    /// The sum over the masked pixels of -log p(x_i | what is seen), `[B]`.
    pub fn cost(&self, images: &Masked, dropout: Option<&mut ChaCha8Rng>) -> Tensor<1> {
        let log_probs = self.log_probs(&images.seen(), dropout);
        let ([b, d, _], device) = (log_probs.dims(), log_probs.device());
        let levels: Vec<i32> = images.levels.iter().map(|&k| i32::from(k)).collect();
        let levels =
            Tensor::<3, Int>::from_data(TensorData::new(levels, [b, d, 1]), &device);
        let hidden = upload(images.hidden.iter().map(|&hidden| f64::from(hidden)), &device);
        let chosen = log_probs.gather(2, levels).reshape([b, d]);
        -(chosen * hidden.reshape([b, d])).sum_dim(1).squeeze_dim::<1>(1)
    }
}
