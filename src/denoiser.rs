//! The network that estimates the clean image from a noisy one.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData, activation::sigmoid},
};
use rand_chacha::ChaCha8Rng;

use crate::{
    data::{Images, Marginals},
    host::upload,
    kernels::{level_moments, silu},
    layers::{Linear, TIME_FEATURES, linear, rms_norm, time_features},
    random::dropout_mask,
    unet::{UNet, UNetConfig},
};

/// Number of curves over the levels that the network mixes for each pixel.
const CURVES: usize = 2;
/// What each count of a level is raised by, so that no level is impossible.
const PSEUDO_COUNT: f64 = 0.1;

/// How the hidden layers look at the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layers {
    /// Every unit sees every pixel.
    Dense,
    /// Convolutions, at this many resolutions.
    UNet(usize),
}

/// The size of the hidden layers that all networks here share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrunkConfig {
    /// Smallest gamma of the schedule.
    pub gamma_min: f64,
    /// Largest gamma of the schedule.
    pub gamma_max: f64,
    /// Dense or convolutional.
    pub layers: Layers,
    /// Hidden units of a dense layer, channels at full resolution of a U-Net: h.
    pub hidden: usize,
    /// Number of residual blocks; in a U-Net, at each resolution and each way.
    pub blocks: usize,
    /// Probability that dropout sets an activation to zero.
    pub dropout: f64,
}

impl TrunkConfig {
    /// A linear layer from the hidden units to `outputs` numbers for each of d pixels. It starts at zero.
    fn output(&self, outputs: usize, d: usize, rng: &mut ChaCha8Rng, device: &Device) -> Linear {
        let outputs = match self.layers {
            Layers::Dense => outputs * d,
            Layers::UNet(_) => outputs,
        };
        linear(self.hidden, outputs, 0.0, rng, device)
    }

    /// What tells a network the noise level, [B, 17], from gamma, [B].
    fn time_features(&self, gamma: Tensor<1>) -> Tensor<2> {
        time_features((gamma - self.gamma_min) / (self.gamma_max - self.gamma_min))
    }
}

/// The hidden layers.
#[derive(Module, Debug)]
enum Trunk {
    Dense(Dense),
    UNet(UNet),
}

impl Trunk {
    /// For `inputs` features of each of d pixels.
    fn new(config: TrunkConfig, inputs: usize, d: usize, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let TrunkConfig { hidden, blocks, dropout, .. } = config;
        match config.layers {
            Layers::Dense => Self::Dense(Dense::new(config, inputs * d, rng, device)),
            Layers::UNet(resolutions) => {
                let config = UNetConfig { inputs, side: d.isqrt(), resolutions, channels: hidden, blocks, dropout };
                Self::UNet(UNet::new(config, rng, device))
            }
        }
    }

    /// Hidden units, [B, h] or, of a U-Net, [B d, h], from features, [B, n d], feature after feature, and those of the
    /// noise level, [B, 17].
    fn forward(&self, features: Tensor<2>, time: Tensor<2>, dropout: Option<&mut ChaCha8Rng>) -> Tensor<2> {
        match self {
            Self::Dense(dense) => dense.forward(features, time, dropout),
            Self::UNet(unet) => {
                let h = unet.forward(unet.image(features), time, dropout);
                let [b, c, side, _] = h.dims();
                h.permute([0, 2, 3, 1]).reshape([b * side * side, c])
            }
        }
    }
}

/// A residual network from some features of the noisy image and its noise level to h numbers.
#[derive(Module, Debug)]
struct Dense {
    input: Linear,
    blocks: Vec<Block>,
    #[module(skip)]
    dropout: f64,
}

/// h + outer(dropout(silu(inner(rms_norm(silu(h))) + time(features)))).
#[derive(Module, Debug)]
struct Block {
    inner: Linear,
    time: Linear,
    outer: Linear,
}

impl Dense {
    /// Fresh weights; the last layer of each block starts at zero.
    fn new(config: TrunkConfig, inputs: usize, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let h = config.hidden;
        let block = |rng: &mut _| Block {
            inner: linear(h, h, 1.0, rng, device),
            time: linear(TIME_FEATURES, h, 1.0, rng, device),
            outer: linear(h, h, 0.0, rng, device),
        };
        let input = linear(inputs + TIME_FEATURES, h, 1.0, rng, device);
        Self { input, blocks: (0..config.blocks).map(|_| block(rng)).collect(), dropout: config.dropout }
    }

    /// Hidden units, [B, h], from features, [B, n], and those of the noise level, [B, 17].
    fn forward(&self, features: Tensor<2>, time: Tensor<2>, dropout: Option<&mut ChaCha8Rng>) -> Tensor<2> {
        let (device, batch) = (features.device(), features.dims()[0]);
        let mut h = self.input.forward(Tensor::cat(vec![features, time.clone()], 1));
        let hidden = h.dims()[1];
        let masks = dropout.map(|rng| dropout_mask([self.blocks.len(), batch, hidden], self.dropout, rng, &device));
        for (i, block) in self.blocks.iter().enumerate() {
            let inner = block.inner.forward(rms_norm(silu(h.clone()))) + block.time.forward(time.clone());
            let mut inner = silu(inner);
            if let Some(masks) = &masks {
                inner = inner * masks.clone().narrow(0, i, 1).squeeze_dim::<2>(0);
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
    /// Two numbers per pixel, [h, 2 d]; [h, 2] behind a U-Net.
    output: Linear,
    /// The curves over the levels that these numbers mix, [2, K].
    curves: Param<Tensor<2>>,
    /// What is added to the logits of every image, [d, K].
    bias: Param<Tensor<2>>,
    /// Log probability of each level of each pixel in the training set, [d, K]. Saved with the weights, never trained.
    log_marginals: Param<Tensor<2>>,
    #[module(skip)]
    levels: Vec<f64>,
    #[module(skip)]
    config: TrunkConfig,
}

impl DenoiserConfig {
    /// What the training images tell: the values of the levels, and how often each occurs at each pixel.
    pub fn for_images(train: &Images, trunk: TrunkConfig) -> Self {
        Self { levels: train.level_values(), log_marginals: Marginals::fit(train, PSEUDO_COUNT).log_probs, trunk }
    }

    /// A network with fresh weights. Its output layers start at zero, so an untrained network is the exact denoiser of
    /// independent pixels, and training starts where the independent baseline ends.
    pub fn init(&self, rng: &mut ChaCha8Rng, device: &Device) -> Denoiser {
        let k = self.levels.len();
        let d = self.log_marginals.len() / k;
        let trunk = Trunk::new(self.trunk, 2, d, rng, device);
        let log_marginals = upload(self.log_marginals.iter().copied(), device).reshape([d, k]);
        Denoiser {
            output: self.trunk.output(CURVES, d, rng, device),
            trunk,
            curves: Param::from_tensor(upload(self.initial_curves(), device).reshape([CURVES, k])),
            bias: Param::from_data(TensorData::zeros::<f32, _>([d, k]), device),
            log_marginals: Param::from_tensor(log_marginals).set_require_grad(false),
            levels: self.levels.clone(),
            config: self.trunk,
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
    /// p_ik is proportional to exp(f_ik) m_ik N(z_i; sqrt(abar) x_k, 1 - abar). The network only
    /// says, through f, how the other pixels change the odds of a level. With a generator, units
    /// are dropped out (training).
    pub fn denoise(&self, z: Tensor<2>, gamma: Tensor<1>, dropout: Option<&mut ChaCha8Rng>) -> Tensor<2> {
        let ([batch, d], device) = (z.dims(), z.device());
        // As a function of x_k, the Gaussian is exp(-SNR / 2 (z_i / sqrt(abar) - x_k)^2).
        let seen = z / sigmoid(-gamma.clone()).sqrt().unsqueeze_dim(1);
        let levels = upload(self.levels.iter().copied(), &device);
        let given = [(-gamma.clone()).exp() * 0.5, levels];
        let (log_m, curves) = (self.log_marginals.val(), self.curves.val());
        // First each pixel alone, with nothing of the curves mixed in...
        let nothing = Tensor::zeros([batch, d, CURVES], &device);
        let pixels = [seen.clone(), log_m.clone(), curves.clone().detach()];
        let alone = level_moments(pixels, nothing, given.clone());
        // ... then with what the other pixels say.
        let mix = self.correction(alone, gamma, dropout);
        let together = level_moments([seen, log_m + self.bias.val(), curves], mix, given);
        together.narrow(1, 0, d)
    }
    // ANCHOR_END: denoise

    // ANCHOR: correction
    /// How much of each curve is in f, [B, d, 2], from the mean and the variance of each pixel alone,
    /// [B, 2 d], and gamma, [B].
    fn correction(&self, alone: Tensor<2>, gamma: Tensor<1>, dropout: Option<&mut ChaCha8Rng>) -> Tensor<3> {
        let [batch, d] = [alone.dims()[0], alone.dims()[1] / 2];
        // A root has no slope at zero; a pixel that is certain need not have one.
        let deviation = alone.clone().narrow(1, d, d).clamp_min(1e-20).sqrt() * 2.0;
        let features = Tensor::cat(vec![alone.narrow(1, 0, d), deviation], 1);
        let time = self.config.time_features(gamma);
        let mix = self.output.forward(self.trunk.forward(features, time, dropout));
        mix.reshape([batch, d, CURVES])
    }
    // ANCHOR_END: correction
}

/// The same hidden layers with d plain outputs, which may stand for x, eps, the score or v.
#[derive(Module, Debug)]
pub struct Regressor {
    /// From the noisy image, [d].
    trunk: Trunk,
    /// [h, d]; [h, 1] behind a U-Net.
    output: Linear,
    #[module(skip)]
    config: TrunkConfig,
}

impl Regressor {
    /// A network for images of d dimensions; it outputs zero at first.
    pub fn new(config: TrunkConfig, d: usize, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let trunk = Trunk::new(config, 1, d, rng, device);
        Self { trunk, output: config.output(1, d, rng, device), config }
    }

    /// The output, [B, d], for z_t, [B, d], and gamma_t, [B]. With a generator, units are dropped out (training).
    pub fn forward(&self, z: Tensor<2>, gamma: Tensor<1>, dropout: Option<&mut ChaCha8Rng>) -> Tensor<2> {
        let shape = z.dims();
        self.output.forward(self.trunk.forward(z, self.config.time_features(gamma), dropout)).reshape(shape)
    }
}
