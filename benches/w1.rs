//! The reference workload W1: a diffusion model that this crate, PyTorch and JAX all run,
//! to compare their speed.
//!
//! `peers/` holds the same work in Python. Its network is larger than that of chapter 5 and
//! does less well; it is the plain design that a reader would write first. 774,720 weights.

use std::f64::consts::PI;

use burn::{
    module::Module,
    tensor::{Device, Tensor, activation::sigmoid},
};
use elbo_to_diffusion::{
    data::Dataset,
    host::upload,
    kernels::{cos, sin, softmax},
    network::layers::{Linear, linear, residual, silu_norm, time_features},
    random::Stream,
    training::{SHARDS, Shard, Training},
    vdm::{Linear as LinearSchedule, NoiseLevels, denoising_term},
};
use rand_chacha::ChaCha8Rng;

/// gamma runs linearly from -8 to 5.
pub const SCHEDULE: LinearSchedule = LinearSchedule { gamma_min: -8.0, gamma_max: 5.0 };
const LEVELS: usize = 17;
const PIXELS: usize = 64;
const HIDDEN: usize = 256;
const BATCH: usize = 128;
/// The first weights have the standard deviation of PyTorch's, so that the bounds can be
/// compared: 1 / sqrt(3 inputs).
const SCALE: f64 = 0.577_350_269_189_625_8;

/// A residual network on the noisy pixels and their sines and cosines, with the
/// softmax-posterior head.
#[derive(Module, Debug)]
pub struct W1 {
    input: Linear,
    blocks: Vec<Block>,
    output: Linear,
}

#[derive(Module, Debug)]
struct Block {
    inner: Linear,
    time: Linear,
    outer: Linear,
}

impl W1 {
    /// Fresh weights.
    pub fn new(rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let input = linear(5 * PIXELS + 17, HIDDEN, SCALE, rng, device);
        let block = |rng: &mut ChaCha8Rng| Block {
            inner: linear(HIDDEN, HIDDEN, SCALE, rng, device),
            time: linear(17, HIDDEN, SCALE, rng, device),
            outer: linear(HIDDEN, HIDDEN, 0.0, rng, device),
        };
        let blocks = (0..3).map(|_| block(rng)).collect();
        Self { input, blocks, output: linear(HIDDEN, PIXELS * LEVELS, 0.0, rng, device) }
    }

    /// x_hat, [B, d], for z_t, [B, d], and gamma_t, [B].
    pub fn denoise(
        &self,
        z: Tensor<2>,
        gamma: Tensor<1>,
        mut dropout: Option<&mut ChaCha8Rng>,
    ) -> Tensor<2> {
        let (device, [batch, _]) = (z.device(), z.dims());
        let LinearSchedule { gamma_min, gamma_max } = SCHEDULE;
        let time = time_features((gamma.clone() - gamma_min) / (gamma_max - gamma_min));
        let (slow, fast) =
            (z.clone() * (LEVELS as f64 * PI / 2.0), z.clone() * (LEVELS as f64 * PI));
        let features = vec![
            z.clone(),
            sin(slow.clone()),
            cos(slow),
            sin(fast.clone()),
            cos(fast),
            time.clone(),
        ];
        let mut h = self.input.forward(Tensor::cat(features, 1));
        for block in &self.blocks {
            let inner = |h| block.inner.forward(h) + block.time.forward(time.clone());
            let outer = |h| block.outer.forward(h);
            h = residual(h, inner, outer, 0.4, dropout.as_deref_mut());
        }
        let logits = self.output.forward(silu_norm(h)).reshape([batch, PIXELS, LEVELS]);
        let levels = upload(
            (0..LEVELS).map(|k| 2.0 * (k as f64 + 0.5) / LEVELS as f64 - 1.0),
            &device,
        )
        .unsqueeze::<3>();
        let gamma = gamma.reshape([-1, 1, 1]);
        let distance =
            z.unsqueeze_dim::<3>(2) - sigmoid(-gamma.clone()).sqrt() * levels.clone();
        let logits = logits - distance.square() / (sigmoid(gamma) * 2.0);
        (softmax(logits) * levels).sum_dim(2).squeeze_dim(2)
    }

    /// The diffusion loss of one shard of a training batch, in bits/dim.
    pub fn loss(&self, data: &Dataset, shard: Shard, device: &Device) -> Tensor<1> {
        const N: usize = BATCH / SHARDS;
        let (x, eps) = shard.images_and_noise(&data.train, N, 0.0, 0, device);
        let t = shard.times(N, 0);
        let at = NoiseLevels::at(&SCHEDULE, &t, device);
        let dropout = &mut shard.rng(0, Stream::Dropout);
        let denoise = |z, gamma| self.denoise(z, gamma, Some(dropout));
        denoising_term(x, at, eps, denoise).mean() * data.bits_per_dim(1.0)
    }
}

/// The training run that the peers make as well.
pub fn training(steps: usize) -> Training {
    Training {
        steps,
        learning_rate: 2e-3,
        warmup: 200,
        weight_decay: 0.01,
        clip_norm: 1.0,
        ema_decay: 0.999,
        muon: false,
    }
}
