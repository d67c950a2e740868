//! Functions that Burn's CPU backend computes in many passes, with needless copies, or with
//! one scalar `expf` call per number.
//!
//! Each is an operation of its own behind Burn's backend extension: on the CPU (Flex) a
//! loop or a product of matrices, on every other backend the plain composition of Burn's
//! operations. The tests compare both with Burn's own (appendix "Where the time goes").

use burn::{
    backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor},
    tensor::Tensor,
};

mod adamw;
mod composed;
mod convolution;
mod cpu;
mod levels;
mod product;
#[cfg(test)]
mod subnormals;
mod tape;
#[cfg(test)]
mod tests;
mod vector;

pub use self::adamw::AdamWStep;

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

/// h / sqrt(mean(h^2) + 1e-5), with the mean over the last dimension. Zhang and Sennrich
/// (2019), without the learned gain. The shape of the result is that of `h`.
pub fn rms_norm<const D: usize>(h: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::fast_rms_norm(h.into_dispatch()))
}

/// x sigmoid(x). Hendrycks and Gimpel (2016). The shape of the result is that of `x`.
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::fast_silu(x.into_dispatch()))
}

/// x^2, or zero where x is so small that its square would be subnormal. The shape of the result is that of `x`.
pub fn square<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::fast_square(x.into_dispatch()))
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

/// One step of AdamW, Loshchilov and Hutter (2019), algorithm 2, and of the average of the
/// weights.
///
/// Takes weights, their gradients, the running means of gradients and of their squares, and
/// the average of the weights, all of one shape, and a factor, `[1]`, for all gradients.
/// Returns weights, both means, and the average.
pub fn adamw<const D: usize>(
    [weight, gradient, first, second, average]: [Tensor<D>; 5],
    factor: Tensor<1>,
    step: AdamWStep,
) -> [Tensor<D>; 4] {
    let factor = factor.reshape([1; D]).into_dispatch();
    let [weight, gradient, first, second, average] =
        [weight, gradient, first, second, average].map(Tensor::into_dispatch);
    let (weight, first, second, average) =
        Dispatch::fast_adamw(weight, gradient, first, second, average, factor, step);
    [weight, first, second, average].map(Tensor::from_dispatch)
}

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
    /// x W + b; see [`linear`].
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

    /// A convolution that keeps the size of the images; see [`convolution`].
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

    /// h / sqrt(mean(h^2) + 1e-5) over the last dimension.
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

    /// x^2; see [`square`].
    #[fusion(default)]
    fn fast_square(x: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::square::<Self>(x)
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

    /// Mean and variance of each pixel's value; see [`level_moments`].
    #[fusion(default)]
    fn fast_level_moments(
        seen: FloatTensor<Self>,
        precision: FloatTensor<Self>,
        base: FloatTensor<Self>,
        mix: FloatTensor<Self>,
        curves: FloatTensor<Self>,
        values: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed::level_moments::<Self>([seen, precision, base, mix, curves, values])
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
        let [seen, precision, base, mix, curves] = composed::level_moments_backward::<Self>(
            [seen, precision, base, mix, curves, values],
            grad,
        );
        (seen, precision, base, mix, curves)
    }

    /// One step of AdamW and of the average of the weights; see [`adamw`].
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
        composed::adamw::<Self>([weight, gradient, first, second, average], factor, step)
    }
}

#[cfg(feature = "ndarray")]
impl Kernels for burn::backend::NdArray {}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl Kernels for burn::backend::Cube {}

#[cfg(feature = "remote")]
impl Kernels for burn::backend::Remote {}
