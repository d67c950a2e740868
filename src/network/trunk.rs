//! The hidden layers of a denoiser: from some features of each pixel and the noise level to
//! hidden units.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use rand_chacha::ChaCha8Rng;

use super::{
    layers::{Linear, TIME_FEATURES, linear, residual, silu_norm, time_features},
    unet::{UNet, UNetConfig},
};

/// How the hidden layers look at the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layers {
    /// Every unit sees every pixel.
    Dense,
    /// Convolutions, at this many resolutions.
    UNet(usize),
}

/// The size of the hidden layers, and the noise levels that they see.
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
    /// A linear layer from the hidden units to `outputs` numbers for each of d pixels. It
    /// starts at zero.
    pub fn output(
        &self,
        outputs: usize,
        d: usize,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Linear {
        let outputs = match self.layers {
            Layers::Dense => outputs * d,
            Layers::UNet(_) => outputs,
        };
        linear(self.hidden, outputs, 0.0, rng, device)
    }

    /// What tells a network the noise level, `[B, 17]`, from gamma, `[B]`.
    pub fn time_features(&self, gamma: Tensor<1>) -> Tensor<2> {
        time_features((gamma - self.gamma_min) / (self.gamma_max - self.gamma_min))
    }
}

/// The hidden layers.
#[derive(Module, Debug)]
pub enum Trunk {
    /// Every unit sees every pixel.
    Dense(Dense),
    /// Convolutions.
    UNet(UNet),
}

impl Trunk {
    /// Fresh weights, for `inputs` features of each of d pixels.
    pub fn new(
        config: TrunkConfig,
        inputs: usize,
        d: usize,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let TrunkConfig { hidden, blocks, dropout, .. } = config;
        match config.layers {
            Layers::Dense => Self::Dense(Dense::new(config, inputs * d, rng, device)),
            Layers::UNet(resolutions) => {
                let config = UNetConfig {
                    inputs,
                    side: d.isqrt(),
                    resolutions,
                    channels: hidden,
                    blocks,
                    dropout,
                };
                Self::UNet(UNet::new(config, rng, device))
            }
        }
    }

    /// Hidden units, `[B, h]` or, of a U-Net, `[B d, h]`, from features, `[B, n d]`,
    /// feature after feature, and those of the noise level, `[B, 17]`. With a generator,
    /// units are dropped out (training).
    pub fn forward(
        &self,
        features: Tensor<2>,
        time: Tensor<2>,
        dropout: Option<&mut ChaCha8Rng>,
    ) -> Tensor<2> {
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

/// A residual network on all features at once. The noise level enters the first layer and
/// every block.
#[derive(Module, Debug)]
pub struct Dense {
    input: Linear,
    blocks: Vec<Block>,
    #[module(skip)]
    dropout: f64,
}

#[derive(Module, Debug)]
struct Block {
    inner: Linear,
    time: Linear,
    outer: Linear,
}

impl Dense {
    /// Fresh weights; the last layer of each block starts at zero.
    fn new(
        config: TrunkConfig,
        inputs: usize,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let h = config.hidden;
        let block = |rng: &mut _| Block {
            inner: linear(h, h, 1.0, rng, device),
            time: linear(TIME_FEATURES, h, 1.0, rng, device),
            outer: linear(h, h, 0.0, rng, device),
        };
        let input = linear(inputs + TIME_FEATURES, h, 1.0, rng, device);
        Self {
            input,
            blocks: (0..config.blocks).map(|_| block(rng)).collect(),
            dropout: config.dropout,
        }
    }

    /// Hidden units, `[B, h]`, from features, `[B, n]`, and those of the noise level, `[B,
    /// 17]`.
    fn forward(
        &self,
        features: Tensor<2>,
        time: Tensor<2>,
        mut rng: Option<&mut ChaCha8Rng>,
    ) -> Tensor<2> {
        let mut h = self.input.forward(Tensor::cat(vec![features, time.clone()], 1));
        for block in &self.blocks {
            let inner = |h| block.inner.forward(h) + block.time.forward(time.clone());
            h = residual(
                h,
                inner,
                |h| block.outer.forward(h),
                self.dropout,
                rng.as_deref_mut(),
            );
        }
        silu_norm(h)
    }
}

/// A trunk with plain outputs. One for each pixel may stand for x, eps, the score or v.
#[derive(Module, Debug)]
pub struct Regressor {
    /// From n features of each pixel, `[n d]`.
    trunk: Trunk,
    /// m numbers per pixel, `[h, m d]`; `[h, m]` behind a U-Net.
    output: Linear,
    #[module(skip)]
    config: TrunkConfig,
}

impl Regressor {
    /// A network from images of d dimensions to as many numbers; it outputs zero at first.
    pub fn new(
        config: TrunkConfig,
        d: usize,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        Self::of_features(config, [1, 1], d, rng, device)
    }

    /// The same from n features of each of d pixels to m numbers for each, `[n, m]`.
    pub fn of_features(
        config: TrunkConfig,
        [inputs, outputs]: [usize; 2],
        d: usize,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let trunk = Trunk::new(config, inputs, d, rng, device);
        Self { trunk, output: config.output(outputs, d, rng, device), config }
    }

    /// The output, `[B, m d]`, pixel after pixel, from the features, `[B, n d]`, feature
    /// after feature, such as z_t itself, and gamma_t, `[B]`. With a generator, units are
    /// dropped out (training).
    pub fn forward(
        &self,
        features: Tensor<2>,
        gamma: Tensor<1>,
        dropout: Option<&mut ChaCha8Rng>,
    ) -> Tensor<2> {
        let (batch, told) = (features.dims()[0], self.config.time_features(gamma));
        let hidden = self.trunk.forward(features, told, dropout);
        self.output.forward(hidden).reshape([batch as i64, -1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        host::download,
        random::{Stream, normal, rng},
    };

    #[test]
    fn the_rows_of_a_u_net_are_its_pixels() {
        let device = Device::flex();
        let draws = &mut rng(3, Stream::Initialisation, 0);
        let config = TrunkConfig {
            gamma_min: -8.0,
            gamma_max: 5.0,
            layers: Layers::UNet(2),
            hidden: 4,
            blocks: 1,
            dropout: 0.0,
        };
        let trunk = Trunk::new(config, 2, 16, draws, &device);
        let features = normal([3, 2 * 16], draws, &device);
        let time = time_features(Tensor::from_floats([0.1, 0.5, 0.9], &device));
        let rows = trunk.forward(features.clone(), time.clone(), None);
        assert_eq!(rows.dims(), [3 * 16, 4]);
        let Trunk::UNet(unet) = &trunk else { panic!("a U-Net was asked for") };
        let whole = unet.forward(unet.image(features), time, None);
        assert_eq!(whole.dims(), [3, 4, 4, 4]);
        // From [image, channel, row, column] to [image, row, column], channel.
        let (rows, whole) = (download(rows).unwrap(), download(whole).unwrap());
        for (i, value) in whole.iter().enumerate() {
            let (image, channel, pixel) = (i / 64, i / 16 % 4, i % 16);
            assert_eq!(rows[(image * 16 + pixel) * 4 + channel], *value, "{i}");
        }
    }
}
