//! The network that estimates the clean image from a noisy one.

use std::f64::consts::PI;

use burn::{
    module::{Module, Param},
    nn::Linear,
    tensor::{
        Device, Tensor, TensorData,
        activation::{sigmoid, silu, softmax},
    },
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::random::dropout_mask;

/// Number of features that tell a network the noise level.
const TIME_FEATURES: usize = 17;
/// Number of curves over the levels that the network mixes for each pixel.
const CURVES: usize = 2;

/// A linear layer with weights scale * N(0, 1 / inputs) and a bias of zero, drawn from the host's generator.
pub fn linear(inputs: usize, outputs: usize, scale: f64, rng: &mut impl Rng, device: &Device) -> Linear {
    let scale = (scale / (inputs as f64).sqrt()) as f32;
    let normal = StandardNormal.sample_iter(rng);
    let weight: Vec<f32> = normal.take(inputs * outputs).map(|w: f32| w * scale).collect();
    Linear {
        weight: Param::from_data(TensorData::new(weight, [inputs, outputs]), device),
        bias: Some(Param::from_data(TensorData::zeros::<f32, _>([outputs]), device)),
    }
}

/// h / sqrt(mean(h^2) + 1e-5) over the last dimension. Zhang and Sennrich (2019), without the learned gain.
fn rms_norm(h: Tensor<2>) -> Tensor<2> {
    let scale = (h.clone().square().mean_dim(1) + 1e-5).sqrt();
    h / scale
}

// ANCHOR: posterior_logits
/// log m_ik + log N(z_i; sqrt(abar) x_k, 1 - abar), up to a constant in k: [B, d, K].
///
/// This is the exact posterior of each pixel's level if pixels were independent with the marginals m.
/// `log_marginals` is [d, K], `levels` holds the K values x_k, z is [B, d], gamma is [B].
pub fn posterior_logits(log_marginals: Tensor<2>, levels: Tensor<1>, z: Tensor<2>, gamma: Tensor<1>) -> Tensor<3> {
    let gamma = gamma.reshape([-1, 1, 1]);
    let signal = sigmoid(-gamma.clone()).sqrt();
    let noise = sigmoid(gamma);
    let distance = z.unsqueeze_dim::<3>(2) - signal * levels.unsqueeze::<3>();
    log_marginals.unsqueeze::<3>() - distance.square() / (noise * 2.0)
}
// ANCHOR_END: posterior_logits

/// What a [`Denoiser`] needs to know of its data, and its size.
#[derive(Clone, Debug, PartialEq)]
pub struct DenoiserConfig {
    /// The values x_k that a pixel can take, ascending, K of them.
    pub levels: Vec<f32>,
    /// Log probability of each level of each pixel in the training set, d * K, pixel after pixel.
    pub log_marginals: Vec<f32>,
    /// Smallest gamma of the schedule.
    pub gamma_min: f64,
    /// Largest gamma of the schedule.
    pub gamma_max: f64,
    /// Width of the hidden layers.
    pub hidden: usize,
    /// Number of residual blocks.
    pub blocks: usize,
    /// Probability that dropout sets an activation to zero.
    pub dropout: f64,
}

/// A residual network that corrects the exact denoiser of independent pixels.
#[derive(Module, Debug)]
pub struct Denoiser {
    /// What each pixel looks like on its own and the noise level, [2 d + 17, h].
    input: Linear,
    blocks: Vec<Block>,
    /// Two numbers per pixel, [h, 2 d].
    output: Linear,
    /// The curves over the levels that these numbers mix, [2, K].
    curves: Param<Tensor<2>>,
    /// What is added to the logits of every image, [d, K].
    bias: Param<Tensor<2>>,
    #[module(skip)]
    config: DenoiserConfig,
}

/// h + outer(dropout(silu(inner(rms_norm(silu(h))) + time(features)))).
#[derive(Module, Debug)]
struct Block {
    inner: Linear,
    time: Linear,
    outer: Linear,
}

impl DenoiserConfig {
    /// A network with fresh weights. Its output layers start at zero, so an untrained network is the exact denoiser of
    /// independent pixels, and training starts where the independent baseline ends.
    pub fn init(&self, rng: &mut impl Rng, device: &Device) -> Denoiser {
        let (h, k) = (self.hidden, self.levels.len());
        let d = self.log_marginals.len() / k;
        let curves = self.initial_curves();
        Denoiser {
            input: linear(2 * d + TIME_FEATURES, h, 1.0, rng, device),
            blocks: (0..self.blocks)
                .map(|_| Block {
                    inner: linear(h, h, 1.0, rng, device),
                    time: linear(TIME_FEATURES, h, 1.0, rng, device),
                    outer: linear(h, h, 0.0, rng, device),
                })
                .collect(),
            output: linear(h, d * CURVES, 0.0, rng, device),
            curves: Param::from_data(TensorData::new(curves, [CURVES, k]), device),
            bias: Param::from_data(TensorData::zeros::<f32, _>([d, k]), device),
            config: self.clone(),
        }
    }

    /// One curve that rises with the level and one that singles out the lowest: half of all pixels are blank.
    fn initial_curves(&self) -> Vec<f32> {
        let blank = (0..self.levels.len()).map(|j| if j == 0 { 2.0 } else { 0.0 });
        self.levels.iter().copied().chain(blank).collect()
    }
}

impl Denoiser {
    // ANCHOR: denoise
    /// x_hat_i = sum_k p_ik x_k: estimates x from z_t, [B, d], and gamma_t, [B].
    ///
    /// p_ik is proportional to exp(f_ik) m_ik N(z_i; sqrt(abar) x_k, 1 - abar). The network only says, through f, how
    /// the other pixels change the odds of a level. With a generator, units are dropped out (training).
    pub fn denoise(&self, z: Tensor<2>, gamma: Tensor<1>, dropout: Option<&mut ChaCha8Rng>) -> Tensor<2> {
        let device = z.device();
        let k = self.config.levels.len();
        let x = Tensor::<1>::from_floats(self.config.levels.as_slice(), &device);
        let marginals = TensorData::new(self.config.log_marginals.clone(), [z.dims()[1], k]);
        let alone = posterior_logits(Tensor::from_data(marginals, &device), x.clone(), z, gamma.clone());
        let f = self.logits(alone.clone(), x.clone().unsqueeze::<3>(), gamma, dropout);
        (softmax(alone + f, 2) * x.unsqueeze::<3>()).sum_dim(2).squeeze_dim(2)
    }
    // ANCHOR_END: denoise

    /// f, [B, d, K], from the logits of each pixel alone, [B, d, K], the level values, [1, 1, K], and gamma, [B].
    fn logits(&self, alone: Tensor<3>, x: Tensor<3>, gamma: Tensor<1>, dropout: Option<&mut ChaCha8Rng>) -> Tensor<3> {
        let (device, [batch, pixels, k]) = (alone.device(), alone.dims());
        let DenoiserConfig { gamma_min, gamma_max, hidden, dropout: rate, .. } = self.config;
        let time = time_features((gamma - gamma_min) / (gamma_max - gamma_min));
        let masks = dropout.map(|rng| dropout_mask([self.blocks.len(), batch, hidden], rate, rng, &device));

        // Mean and twice the standard deviation of each pixel alone.
        let p = softmax(alone, 2);
        let mean = (p.clone() * x.clone()).sum_dim(2);
        let deviation = (p * (x - mean.clone()).square()).sum_dim(2).sqrt() * 2.0;
        let pixel = [mean.squeeze_dim::<2>(2), deviation.squeeze_dim::<2>(2), time.clone()];

        let mut h = self.input.forward(Tensor::cat(pixel.to_vec(), 1));
        for (i, block) in self.blocks.iter().enumerate() {
            let inner = block.inner.forward(rms_norm(silu(h.clone()))) + block.time.forward(time.clone());
            let mut inner = silu(inner);
            if let Some(masks) = &masks {
                inner = inner * masks.clone().slice([i..i + 1]).squeeze_dim::<2>(0);
            }
            h = h + block.outer.forward(inner);
        }
        let mix = self.output.forward(rms_norm(silu(h))).reshape([batch * pixels, CURVES]);
        mix.matmul(self.curves.val()).reshape([batch, pixels, k]) + self.bias.val().unsqueeze::<3>()
    }
}

/// 2u - 1 and eight octaves of sin and cos of u, [B, 17], where u in [0, 1] is the normalised gamma.
fn time_features(u: Tensor<1>) -> Tensor<2> {
    let device = u.device();
    let frequencies: Vec<f32> = (0..8).map(|i| (PI / 2.0 * f64::from(1 << i)) as f32).collect();
    let u = u.unsqueeze_dim::<2>(1);
    let phase = u.clone() * Tensor::<1>::from_floats(frequencies.as_slice(), &device).unsqueeze::<2>();
    Tensor::cat(vec![u * 2.0 - 1.0, phase.clone().sin(), phase.cos()], 1)
}
