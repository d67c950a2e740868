//! The operations that every backend has: Burn's extension point.

use burn::backend::{Backend, backend_extension, tensor::FloatTensor};

use super::{
    adamw::{AdamWState, AdamWStep},
    composed,
    odds::{Odds, OddsGradients},
};

/// The backend operations behind this module's functions.
#[backend_extension(
    Flex,
    NdArray: cfg(feature = "ndarray"),
    Cube: cfg(any(feature = "wgpu", feature = "cuda")),
    Fusion: cfg(any(feature = "wgpu", feature = "cuda")),
    Remote: cfg(feature = "remote"),
    Autodiff
)]
pub trait Kernels: Backend {
    /// x W + b; see [`super::linear`].
    #[fusion(default)]
    fn fast_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed::linear::<Self>(x, weight, bias)
    }

    /// a b for two matrices.
    #[fusion(default)]
    fn fast_product(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::product::<Self>(a, b)
    }

    /// A convolution that keeps the size of the images; see [`super::convolution`].
    #[fusion(default)]
    fn fast_convolution(
        images: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed::convolution::<Self>(images, weight, bias)
    }

    /// The gradient of the images from images, weights and the gradient of the convolution.
    #[fusion(default)]
    fn fast_convolution_images(
        images: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed::convolution_images::<Self>(images, weight, grad)
    }

    /// The gradient of the weights from images, weights and the gradient of the
    /// convolution.
    #[fusion(default)]
    fn fast_convolution_weights(
        images: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed::convolution_weights::<Self>(images, weight, grad)
    }

    /// h / sqrt(mean(h^2) + 1e-5) over dimension 1.
    #[fusion(default)]
    fn fast_rms_norm(h: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::rms_norm::<Self>(h)
    }

    /// The gradient of h from h and the gradient of rms_norm(h).
    #[fusion(default)]
    fn fast_rms_norm_backward(
        h: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed::rms_norm_backward::<Self>(h, grad)
    }

    /// x sigmoid(x).
    #[fusion(default)]
    fn fast_silu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::silu::<Self>(x)
    }

    /// The gradient of x from x and the gradient of silu(x).
    #[fusion(default)]
    fn fast_silu_backward(
        x: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed::silu_backward::<Self>(x, grad)
    }

    /// rms_norm(silu(h)).
    #[fusion(default)]
    fn fast_silu_norm(h: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::silu_norm::<Self>(h)
    }

    /// The gradient of h from h and the gradient of rms_norm(silu(h)).
    #[fusion(default)]
    fn fast_silu_norm_backward(
        h: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed::silu_norm_backward::<Self>(h, grad)
    }

    /// sin(x + quarters pi / 2).
    #[fusion(default)]
    fn fast_sine(x: FloatTensor<Self>, quarters: u64) -> FloatTensor<Self> {
        composed::sine::<Self>(x, quarters)
    }

    /// The sum of x^2, [1]; see [`super::sum_of_squares`].
    #[fusion(default)]
    fn fast_sum_of_squares(x: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::sum_of_squares::<Self>(x)
    }

    /// softmax over the last dimension.
    #[fusion(default)]
    fn fast_softmax(logits: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::softmax::<Self>(logits)
    }

    /// The gradient of the logits from softmax(logits) and its gradient.
    #[fusion(default)]
    fn fast_softmax_backward(
        output: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed::softmax_backward::<Self>(output, grad)
    }

    /// log(softmax) over the last dimension.
    #[fusion(default)]
    fn fast_log_softmax(logits: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::log_softmax::<Self>(logits)
    }

    /// The gradient of the logits from log(softmax(logits)) and its gradient.
    #[fusion(default)]
    fn fast_log_softmax_backward(
        output: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed::log_softmax_backward::<Self>(output, grad)
    }

    /// Mean and variance of each pixel's value; see [`super::level_moments`].
    #[fusion(default)]
    fn fast_level_moments(
        seen: FloatTensor<Self>,
        precision: FloatTensor<Self>,
        base: FloatTensor<Self>,
        mix: FloatTensor<Self>,
        curves: FloatTensor<Self>,
        values: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed::level_moments::<Self>(Odds { seen, precision, base, mix, curves, values })
    }

    /// The gradients of seen, precision, base, mix and curves from these, the levels and
    /// the gradient of the moments.
    // The macro understands tuples of tensors, and no name for one.
    #[allow(clippy::type_complexity)]
    #[fusion(default)]
    fn fast_level_moments_backward(
        seen: FloatTensor<Self>,
        precision: FloatTensor<Self>,
        base: FloatTensor<Self>,
        mix: FloatTensor<Self>,
        curves: FloatTensor<Self>,
        values: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    ) {
        let odds = Odds { seen, precision, base, mix, curves, values };
        let OddsGradients { seen, precision, base, mix, curves } =
            composed::level_moments_backward::<Self>(odds, grad);
        (seen, precision, base, mix, curves)
    }

    /// One step of AdamW and of the average of the weights; see [`super::adamw`].
    #[fusion(default)]
    fn fast_adamw(
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        average: FloatTensor<Self>,
        factor: FloatTensor<Self>,
        step: AdamWStep,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let state = AdamWState { weight, first, second, average };
        let AdamWState { weight, first, second, average } =
            composed::adamw::<Self>(state, gradient, factor, step);
        (weight, first, second, average)
    }
}

#[cfg(feature = "ndarray")]
impl Kernels for burn::backend::NdArray {}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl Kernels for burn::backend::Cube {}

#[cfg(feature = "remote")]
impl Kernels for burn::backend::Remote {}
