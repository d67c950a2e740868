//! Two classifiers of other kinds: one that guides, at every noise level, and one that
//! judges, on clean images.

use burn::{
    module::Module,
    tensor::{Device, Tensor, activation::log_softmax},
};
use elbo_to_diffusion::network::{
    Layers, Trunk, TrunkConfig,
    layers::{Convolution, Linear, dropout, halve, linear, residual, silu_norm},
};
use rand_chacha::ChaCha8Rng;

// ANCHOR: noisy
/// log q(y | z_t) for every noise level: a dense network, told gamma.
#[derive(Module, Debug)]
pub struct NoisyClassifier {
    trunk: Trunk,
    output: Linear,
    #[module(skip)]
    config: TrunkConfig,
}

impl NoisyClassifier {
    /// log q(y | z_t), `[B, C]`, from z_t, `[B, d]`, and gamma, `[B]`.
    pub fn log_probs(
        &self,
        z: Tensor<2>,
        gamma: Tensor<1>,
        dropout: Option<&mut ChaCha8Rng>,
    ) -> Tensor<2> {
        let time = self.config.time_features(gamma);
        log_softmax(self.output.forward(self.trunk.forward(z, time, dropout)), 1)
    }
}
// ANCHOR_END: noisy

impl NoisyClassifier {
    /// Fresh weights, for images of d pixels in C classes, at the noise levels of `trunk`.
    pub fn new(
        trunk: TrunkConfig,
        [d, classes]: [usize; 2],
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let config = TrunkConfig { layers: Layers::Dense, hidden: 96, blocks: 1, ..trunk };
        Self {
            trunk: Trunk::new(config, 1, d, rng, device),
            output: linear(config.hidden, classes, 0.1, rng, device),
            config,
        }
    }
}

/// Channels of the judge, at full and at half resolution.
const CHANNELS: usize = 12;

/// p(y | x) of a clean image: convolutions, whose choices on test images are the better
/// the less they see of the place of a stroke.
#[derive(Module, Debug)]
pub struct Judge {
    input: Convolution,
    fine: [Convolution; 2],
    change: Convolution,
    coarse: [Convolution; 2],
    output: Linear,
    #[module(skip)]
    rate: f64,
}

impl Judge {
    /// Fresh weights, for images of d pixels in C classes.
    pub fn new([d, classes]: [usize; 2], rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let c = CHANNELS;
        let mut convolution =
            |from, to, k, scale| Convolution::new([from, to], k, scale, rng, device);
        let (input, change) = (convolution(1, c, 3, 1.0), convolution(c, 2 * c, 1, 1.0));
        let fine = [convolution(c, c, 3, 1.0), convolution(c, c, 3, 0.3)];
        let coarse = [convolution(2 * c, 2 * c, 3, 1.0), convolution(2 * c, 2 * c, 3, 0.3)];
        let output = linear(2 * c * d / 4, classes, 0.3, rng, device);
        Self { input, fine, change, coarse, output, rate: 0.3 }
    }

    /// log p(y | x), `[B, C]`, from x, `[B, d]`.
    pub fn log_probs(&self, x: Tensor<2>, mut rng: Option<&mut ChaCha8Rng>) -> Tensor<2> {
        let [batch, d] = x.dims();
        let side = d.isqrt();
        let mut h = self.input.forward(x.reshape([batch, 1, side, side]));
        h = self.block(&self.fine, h, rng.as_deref_mut());
        h = self.block(&self.coarse, self.change.forward(halve(h)), rng.as_deref_mut());
        let h = silu_norm(h.flatten::<2>(1, 3));
        log_softmax(self.output.forward(dropout(h, self.rate, rng)), 1)
    }

    fn block(
        &self,
        [inner, outer]: &[Convolution; 2],
        h: Tensor<4>,
        rng: Option<&mut ChaCha8Rng>,
    ) -> Tensor<4> {
        residual(h, |h| inner.forward(h), |h| outer.forward(h), self.rate, rng)
    }
}
