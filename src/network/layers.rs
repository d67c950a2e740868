//! The layers that the networks are made of. All start from the host's generator.

use std::f64::consts::PI;

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData},
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

pub use crate::kernels::{rms_norm, silu_norm};
use crate::{
    host::upload,
    kernels::{self, convolution, cos, silu, sin},
    random::dropout_mask,
};

/// Number of features that tell a network the noise level.
pub const TIME_FEATURES: usize = 17;

/// x W + b.
#[derive(Module, Debug)]
pub struct Linear {
    /// W, [inputs, outputs].
    pub weight: Param<Tensor<2>>,
    /// b, `[outputs]`.
    pub bias: Param<Tensor<1>>,
}

impl Linear {
    /// From [B, inputs] to [B, outputs].
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        kernels::linear(x, self.weight.val(), self.bias.val())
    }
}

/// A linear layer with weights scale * N(0, 1 / inputs) and a bias of zero.
pub fn linear(
    inputs: usize,
    outputs: usize,
    scale: f64,
    rng: &mut impl Rng,
    device: &Device,
) -> Linear {
    let weight =
        TensorData::new(weights(inputs * outputs, inputs, scale, rng), [inputs, outputs]);
    Linear {
        weight: Param::from_data(weight, device),
        bias: Param::from_data(zeros(outputs), device),
    }
}

/// A convolution that keeps the size of the image, which it pads with zeros.
#[derive(Module, Debug)]
pub struct Convolution {
    /// [outputs, inputs, k, k] for an odd k.
    pub(crate) weight: Param<Tensor<4>>,
    /// [outputs].
    pub(crate) bias: Param<Tensor<1>>,
}

impl Convolution {
    /// Weights scale * N(0, 1 / (inputs k^2)) and a bias of zero.
    pub fn new(
        [inputs, outputs]: [usize; 2],
        k: usize,
        scale: f64,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Self {
        let weight = weights(inputs * outputs * k * k, inputs * k * k, scale, rng);
        Self {
            weight: Param::from_data(
                TensorData::new(weight, [outputs, inputs, k, k]),
                device,
            ),
            bias: Param::from_data(zeros(outputs), device),
        }
    }

    /// [B, inputs, S, S] to [B, outputs, S, S].
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        convolution(x, self.weight.val(), self.bias.val())
    }
}

/// n weights scale * N(0, 1 / inputs).
fn weights(n: usize, inputs: usize, scale: f64, rng: &mut impl Rng) -> Vec<f32> {
    let scale = (scale / (inputs as f64).sqrt()) as f32;
    StandardNormal.sample_iter(rng).take(n).map(|w: f32| w * scale).collect()
}

fn zeros(n: usize) -> TensorData {
    TensorData::zeros::<f32, _>([n])
}

/// Sets each activation to zero with probability `rate` and scales the others up. Without a
/// generator, h comes back.
pub fn dropout<const D: usize>(
    h: Tensor<D>,
    rate: f64,
    rng: Option<&mut ChaCha8Rng>,
) -> Tensor<D> {
    match rng {
        Some(rng) if rate > 0.0 => {
            h.clone() * dropout_mask(h.dims(), rate, rng, &h.device())
        }
        _ => h,
    }
}

/// A residual block, h + outer(dropout(silu(inner(rms_norm(silu(h)))))), in pre-activation
/// order; He et al. (2016). `inner` and `outer` are its two layers; what else a block takes
/// in, such as the noise level, `inner` adds.
pub fn residual<const D: usize>(
    h: Tensor<D>,
    inner: impl FnOnce(Tensor<D>) -> Tensor<D>,
    outer: impl FnOnce(Tensor<D>) -> Tensor<D>,
    rate: f64,
    rng: Option<&mut ChaCha8Rng>,
) -> Tensor<D> {
    let hidden = silu(inner(silu_norm(h.clone())));
    h + outer(dropout(hidden, rate, rng))
}

/// The mean of each square of 2 x 2 pixels: [B, c, S, S] to [B, c, S / 2, S / 2].
pub fn halve(h: Tensor<4>) -> Tensor<4> {
    let [b, c, side, _] = h.dims();
    let half = side / 2;
    h.reshape([b, c, half, 2, half, 2]).mean_dim(3).mean_dim(5).reshape([b, c, half, half])
}

/// Each pixel as a square of 2 x 2: [B, c, S, S] to [B, c, 2 S, 2 S].
pub fn double(h: Tensor<4>) -> Tensor<4> {
    let [b, c, side, _] = h.dims();
    h.reshape([b, c, side, 1, side, 1]).expand([b, c, side, 2, side, 2]).reshape([
        b,
        c,
        2 * side,
        2 * side,
    ])
}

/// 2u - 1 and eight octaves of sin and cos of u, [B, 17], where u in [0, 1] is the
/// normalised gamma.
pub fn time_features(u: Tensor<1>) -> Tensor<2> {
    let device = u.device();
    let frequencies = upload((0..8).map(|i| PI / 2.0 * f64::from(1 << i)), &device);
    let u = u.unsqueeze_dim::<2>(1);
    let phase = u.clone() * frequencies.unsqueeze::<2>();
    Tensor::cat(vec![u * 2.0 - 1.0, sin(phase.clone()), cos(phase)], 1)
}
