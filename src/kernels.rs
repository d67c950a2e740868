//! Functions that Burn's CPU backend computes in many passes, with needless copies, or with
//! one scalar `expf` call per number.
//!
//! Each is an operation of its own behind Burn's backend extension: on the CPU (Flex) a
//! loop or a product of matrices, on every other backend the plain composition of Burn's
//! operations. The tests compare both with Burn's own (appendix "Where the time goes").

use burn::{backend::Dispatch, tensor::Tensor};

mod adamw;
mod composed;
mod convolution;
mod cpu;
mod extension;
mod levels;
mod odds;
mod product;
#[cfg(test)]
mod subnormals;
mod tape;
#[cfg(test)]
mod tests;
mod vector;

pub use self::adamw::{AdamWState, AdamWStep};
use self::extension::Kernels;

/// x W + b: `[B, m]` from x, `[B, n]`, the weights, `[n, m]`, and the biases, `[m]`.
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::fast_linear(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
    ))
}

/// The convolution of images, [B, inputs, H, W], padded with zeros to keep their size, with
/// weights, [outputs, inputs, k, k] for an odd k, and biases, `[outputs]`: `[B, outputs, H,
/// W]`.
pub fn convolution(images: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
    let [images, weight] = [images, weight].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::fast_convolution(images, weight, bias.into_dispatch()))
}

/// h / sqrt(mean(h^2) + 1e-5), with the mean over dimension 1: units, or the channels of a
/// pixel. Zhang and Sennrich (2019), without the learned gain. The shape of the result is
/// that of `h`.
pub fn rms_norm<const D: usize>(h: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::fast_rms_norm(h.into_dispatch()))
}

/// x sigmoid(x). Hendrycks and Gimpel (2016). The shape of the result is that of `x`.
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::fast_silu(x.into_dispatch()))
}

/// rms_norm(silu(h)): where a residual block begins, and where a network ends.
pub fn silu_norm<const D: usize>(h: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::fast_silu_norm(h.into_dispatch()))
}

/// sin(x). The shape of the result is that of `x`.
pub fn sin<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::fast_sine(x.into_dispatch(), 0))
}

/// cos(x). The shape of the result is that of `x`.
pub fn cos<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::fast_sine(x.into_dispatch(), 1))
}

/// The sum of x^2, `[1]`, but for what is so small that its square would be subnormal.
pub fn sum_of_squares<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::fast_sum_of_squares(x.into_dispatch()))
}

/// softmax over the last dimension. The shape of the result is that of `logits`.
pub fn softmax<const D: usize>(logits: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::fast_softmax(logits.into_dispatch()))
}

/// log(softmax) over the last dimension. The shape of the result is that of `logits`.
pub fn log_softmax<const D: usize>(logits: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::fast_log_softmax(logits.into_dispatch()))
}

// ANCHOR: level_moments
/// What the posterior of each pixel's grey level depends on. The probability of grey level
/// k is proportional to exp(base_ik + sum_j mix_bij curves_jk - precision_b (seen_bi -
/// x_k)^2).
#[derive(Clone, Debug)]
pub struct GreyOdds {
    /// What is seen of each pixel, `[B, d]`.
    pub seen: Tensor<2>,
    /// How exactly it is seen, `[B]`: 1 / (2 variance).
    pub precision: Tensor<1>,
    /// The log odds of each grey level of each pixel before anything is seen, `[d, V]`.
    pub base: Tensor<2>,
    /// How much of each curve is added to these, `[B, d, J]`.
    pub mix: Tensor<3>,
    /// Curves over the grey levels, `[J, V]`.
    pub curves: Tensor<2>,
    /// The values x_k of the grey levels, `[V]`. They are constants and get no gradient.
    pub values: Tensor<1>,
}

/// The mean and the variance of each pixel's value x_k, `[B, 2 d]`: first the means of all
/// pixels of an image, then their variances.
pub fn level_moments(odds: GreyOdds) -> Tensor<2> {
    // ANCHOR_END: level_moments
    let GreyOdds { seen, precision, base, mix, curves, values } = odds;
    let [seen, base, curves] = [seen, base, curves].map(Tensor::into_dispatch);
    let [precision, values] = [precision, values].map(Tensor::into_dispatch);
    let moments = Dispatch::fast_level_moments(
        seen,
        precision,
        base,
        mix.into_dispatch(),
        curves,
        values,
    );
    Tensor::from_dispatch(moments)
}

/// One step of AdamW, Loshchilov and Hutter (2019), algorithm 2, and of the average of the weights.
///
/// The gradient has the shape of the weight; it is multiplied by `factor`, `[1]`.
pub fn adamw<const D: usize>(
    state: AdamWState<Tensor<D>>,
    gradient: Tensor<D>,
    factor: Tensor<1>,
    step: AdamWStep,
) -> AdamWState<Tensor<D>> {
    let AdamWState { weight, first, second, average } = state.map(Tensor::into_dispatch);
    let gradient = gradient.into_dispatch();
    let factor = factor.reshape([1; D]).into_dispatch();
    let (weight, first, second, average) =
        Dispatch::fast_adamw(weight, gradient, first, second, average, factor, step);
    AdamWState { weight, first, second, average }.map(Tensor::from_dispatch)
}
