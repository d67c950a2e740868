//! The network that estimates the clean image from a noisy one.

use std::f64::consts::PI;

use burn::{
    module::{Module, Param},
    nn::Linear,
    tensor::{Device, Tensor, TensorData, activation::sigmoid},
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::{
    data::{Images, Marginals},
    host::upload,
    kernels::{silu, softmax},
    random::dropout_mask,
};

/// Number of features that tell a network the noise level.
const TIME_FEATURES: usize = 17;
/// Number of curves over the levels that the network mixes for each pixel.
const CURVES: usize = 2;
/// What each count of a level is raised by, so that no level is impossible.
const PSEUDO_COUNT: f64 = 0.1;

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
pub fn rms_norm(h: Tensor<2>) -> Tensor<2> {
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

/// The size of the hidden layers that all networks here share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrunkConfig {
    /// Smallest gamma of the schedule.
    pub gamma_min: f64,
    /// Largest gamma of the schedule.
    pub gamma_max: f64,
    /// Width of the hidden layers, h.
    pub hidden: usize,
    /// Number of residual blocks.
    pub blocks: usize,
    /// Probability that dropout sets an activation to zero.
    pub dropout: f64,
}

/// A residual network from some features of the noisy image and its noise level to h numbers.
#[derive(Module, Debug)]
struct Trunk {
    input: Linear,
    blocks: Vec<Block>,
    #[module(skip)]
    config: TrunkConfig,
}

/// h + outer(dropout(silu(inner(rms_norm(silu(h))) + time(features)))).
#[derive(Module, Debug)]
struct Block {
    inner: Linear,
    time: Linear,
    outer: Linear,
}

impl Trunk {
    /// Fresh weights; the last layer of each block starts at zero.
    fn new(config: TrunkConfig, inputs: usize, rng: &mut impl Rng, device: &Device) -> Self {
        let h = config.hidden;
        let block = |rng: &mut _| Block {
            inner: linear(h, h, 1.0, rng, device),
            time: linear(TIME_FEATURES, h, 1.0, rng, device),
            outer: linear(h, h, 0.0, rng, device),
        };
        let input = linear(inputs + TIME_FEATURES, h, 1.0, rng, device);
        Self { input, blocks: (0..config.blocks).map(|_| block(rng)).collect(), config }
    }

    /// Hidden units, [B, h], from features, [B, n], and gamma, [B].
    fn forward(&self, features: Tensor<2>, gamma: Tensor<1>, dropout: Option<&mut ChaCha8Rng>) -> Tensor<2> {
        let (device, batch) = (features.device(), features.dims()[0]);
        let TrunkConfig { gamma_min, gamma_max, hidden, dropout: rate, .. } = self.config;
        let time = time_features((gamma - gamma_min) / (gamma_max - gamma_min));
        let masks = dropout.map(|rng| dropout_mask([self.blocks.len(), batch, hidden], rate, rng, &device));

        let mut h = self.input.forward(Tensor::cat(vec![features, time.clone()], 1));
        for (i, block) in self.blocks.iter().enumerate() {
            let inner = block.inner.forward(rms_norm(silu(h.clone()))) + block.time.forward(time.clone());
            let mut inner = silu(inner);
            if let Some(masks) = &masks {
                inner = inner * masks.clone().slice([i..i + 1]).squeeze_dim::<2>(0);
            }
            h = h + block.outer.forward(inner);
        }
        rms_norm(silu(h))
    }
}

/// What a [`Denoiser`] needs to know of its data, and its size.
#[derive(Clone, Debug, PartialEq)]
pub struct DenoiserConfig {
    /// The values x_k that a pixel can take, ascending, K of them.
    pub levels: Vec<f64>,
    /// Log probability of each level of each pixel in the training set, d * K, pixel after pixel.
    pub log_marginals: Vec<f64>,
    /// The hidden layers.
    pub trunk: TrunkConfig,
}

/// A residual network that corrects the exact denoiser of independent pixels.
#[derive(Module, Debug)]
pub struct Denoiser {
    /// From the mean and the spread of each pixel on its own, [2 d].
    trunk: Trunk,
    /// Two numbers per pixel, [h, 2 d].
    output: Linear,
    /// The curves over the levels that these numbers mix, [2, K].
    curves: Param<Tensor<2>>,
    /// What is added to the logits of every image, [d, K].
    bias: Param<Tensor<2>>,
    /// Log probability of each level of each pixel in the training set, [d, K]. Saved with the weights, never trained.
    log_marginals: Param<Tensor<2>>,
    #[module(skip)]
    levels: Vec<f64>,
}

impl DenoiserConfig {
    /// What the training images tell: the values of the levels, and how often each occurs at each pixel.
    pub fn for_images(train: &Images, trunk: TrunkConfig) -> Self {
        Self { levels: train.level_values(), log_marginals: Marginals::fit(train, PSEUDO_COUNT).log_probs, trunk }
    }

    /// A network with fresh weights. Its output layers start at zero, so an untrained network is the exact denoiser of
    /// independent pixels, and training starts where the independent baseline ends.
    pub fn init(&self, rng: &mut impl Rng, device: &Device) -> Denoiser {
        let k = self.levels.len();
        let d = self.log_marginals.len() / k;
        let log_marginals = upload(self.log_marginals.iter().copied(), device).reshape([d, k]);
        Denoiser {
            trunk: Trunk::new(self.trunk, 2 * d, rng, device),
            output: linear(self.trunk.hidden, d * CURVES, 0.0, rng, device),
            curves: Param::from_tensor(upload(self.initial_curves(), device).reshape([CURVES, k])),
            bias: Param::from_data(TensorData::zeros::<f32, _>([d, k]), device),
            log_marginals: Param::from_tensor(log_marginals).set_require_grad(false),
            levels: self.levels.clone(),
        }
    }

    /// One curve that rises with the level and one that singles out the lowest: half of all pixels are blank.
    fn initial_curves(&self) -> Vec<f64> {
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
        let x = upload(self.levels.iter().copied(), &z.device());
        let alone = posterior_logits(self.log_marginals.val(), x.clone(), z, gamma.clone());
        let x = x.unsqueeze::<3>();
        let f = self.correction(alone.clone(), x.clone(), gamma, dropout);
        (softmax(alone + f) * x).sum_dim(2).squeeze_dim(2)
    }
    // ANCHOR_END: denoise

    // ANCHOR: correction
    /// f, [B, d, K], from the logits of each pixel alone, [B, d, K], the level values, [1, 1, K], and gamma, [B].
    fn correction(
        &self,
        alone: Tensor<3>,
        x: Tensor<3>,
        gamma: Tensor<1>,
        dropout: Option<&mut ChaCha8Rng>,
    ) -> Tensor<3> {
        let [batch, d, k] = alone.dims();
        // Mean and twice the standard deviation of each pixel alone.
        let p = softmax(alone);
        let mean = (p.clone() * x.clone()).sum_dim(2);
        let deviation = (p * (x - mean.clone()).square()).sum_dim(2).sqrt() * 2.0;
        let features = Tensor::cat(vec![mean.squeeze_dim::<2>(2), deviation.squeeze_dim::<2>(2)], 1);
        let mix = self.output.forward(self.trunk.forward(features, gamma, dropout));
        let mixed = mix.reshape([batch * d, CURVES]).matmul(self.curves.val());
        mixed.reshape([batch, d, k]) + self.bias.val().unsqueeze::<3>()
    }
    // ANCHOR_END: correction
}

/// The same hidden layers with d plain outputs, which may stand for x, eps, the score or v.
#[derive(Module, Debug)]
pub struct Regressor {
    /// From the noisy image, [d].
    trunk: Trunk,
    /// [h, d].
    output: Linear,
}

impl Regressor {
    /// A network for images of d dimensions; it outputs zero at first.
    pub fn new(config: TrunkConfig, d: usize, rng: &mut impl Rng, device: &Device) -> Self {
        let trunk = Trunk::new(config, d, rng, device);
        Self { trunk, output: linear(config.hidden, d, 0.0, rng, device) }
    }

    /// The output, [B, d], for z_t, [B, d], and gamma_t, [B]. With a generator, units are dropped out (training).
    pub fn forward(&self, z: Tensor<2>, gamma: Tensor<1>, dropout: Option<&mut ChaCha8Rng>) -> Tensor<2> {
        self.output.forward(self.trunk.forward(z, gamma, dropout))
    }
}

/// 2u - 1 and eight octaves of sin and cos of u, [B, 17], where u in [0, 1] is the normalised gamma.
pub fn time_features(u: Tensor<1>) -> Tensor<2> {
    let device = u.device();
    let frequencies = upload((0..8).map(|i| PI / 2.0 * f64::from(1 << i)), &device);
    let u = u.unsqueeze_dim::<2>(1);
    let phase = u.clone() * frequencies.unsqueeze::<2>();
    Tensor::cat(vec![u * 2.0 - 1.0, phase.clone().sin(), phase.cos()], 1)
}
