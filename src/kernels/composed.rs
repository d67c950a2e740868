//! The kernels as compositions of Burn's own operations, for every backend.

use burn::{
    backend::{Backend, TensorMetadata, tensor::FloatTensor},
    tensor::ops::ConvOptions,
};

use super::AdamWStep;

/// What is added to the mean square of a row, so that a row of zeros stays one.
pub(super) const RMS_EPSILON: f64 = 1e-5;

pub(super) fn linear<B: Backend>(x: FloatTensor<B>, weight: FloatTensor<B>, bias: FloatTensor<B>) -> FloatTensor<B> {
    B::linear(x, weight, Some(bias))
}

pub(super) fn product<B: Backend>(a: FloatTensor<B>, b: FloatTensor<B>) -> FloatTensor<B> {
    B::float_matmul(a, b)
}

fn convolution_options<B: Backend>(weight: &FloatTensor<B>) -> ConvOptions<2> {
    let padding = weight.shape()[2] / 2;
    ConvOptions::new([1, 1], [padding, padding], [1, 1], 1)
}

pub(super) fn convolution<B: Backend>(
    images: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
) -> FloatTensor<B> {
    let options = convolution_options::<B>(&weight);
    B::conv2d(images, weight, Some(bias), options)
}

pub(super) fn convolution_images<B: Backend>(
    images: FloatTensor<B>,
    weight: FloatTensor<B>,
    grad: FloatTensor<B>,
) -> FloatTensor<B> {
    let options = convolution_options::<B>(&weight);
    B::conv2d_x_backward(images, weight, grad, options)
}

pub(super) fn convolution_weights<B: Backend>(
    images: FloatTensor<B>,
    weight: FloatTensor<B>,
    grad: FloatTensor<B>,
) -> FloatTensor<B> {
    let options = convolution_options::<B>(&weight);
    B::conv2d_weight_backward(images, weight, grad, options)
}

/// 1 / sqrt(mean(h^2) + 1e-5), one for each row.
pub(super) fn inverse_norm<B: Backend>(h: FloatTensor<B>) -> FloatTensor<B> {
    let last = h.shape().num_dims() - 1;
    let mean = B::float_mean_dim(B::float_mul(h.clone(), h), last);
    B::float_recip(B::float_sqrt(B::float_add_scalar(mean, RMS_EPSILON.into())))
}

pub(super) fn rms_norm<B: Backend>(h: FloatTensor<B>) -> FloatTensor<B> {
    let scale = inverse_norm::<B>(h.clone());
    B::float_mul(h, scale)
}

/// With s = 1 / sqrt(mean(h^2) + 1e-5), d loss / d h = s (g - h s^2 mean(g h)).
pub(super) fn rms_norm_backward<B: Backend>(h: FloatTensor<B>, grad: FloatTensor<B>) -> FloatTensor<B> {
    let last = h.shape().num_dims() - 1;
    let scale = inverse_norm::<B>(h.clone());
    let mean = B::float_mean_dim(B::float_mul(grad.clone(), h.clone()), last);
    let along = B::float_mul(B::float_mul(scale.clone(), scale.clone()), mean);
    B::float_mul(scale, B::float_sub(grad, B::float_mul(h, along)))
}

pub(super) fn silu<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let gate = B::sigmoid(x.clone());
    B::float_mul(x, gate)
}

/// With s = sigmoid(x), d silu / dx = s + x s (1 - s) = s (1 + x - x s).
pub(super) fn silu_backward<B: Backend>(x: FloatTensor<B>, grad: FloatTensor<B>) -> FloatTensor<B> {
    let s = B::sigmoid(x.clone());
    let rest = B::float_add_scalar(B::float_sub(x.clone(), B::float_mul(x, s.clone())), 1.0.into());
    B::float_mul(grad, B::float_mul(s, rest))
}

pub(super) fn softmax<B: Backend>(logits: FloatTensor<B>) -> FloatTensor<B> {
    let last = logits.shape().num_dims() - 1;
    B::softmax(logits, last)
}

/// d loss / d logit_k = p_k (g_k - sum_j p_j g_j).
pub(super) fn softmax_backward<B: Backend>(output: FloatTensor<B>, grad: FloatTensor<B>) -> FloatTensor<B> {
    let last = output.shape().num_dims() - 1;
    let total = B::float_sum_dim(B::float_mul(grad.clone(), output.clone()), last);
    B::float_mul(output, B::float_sub(grad, total))
}

pub(super) fn adamw<B: Backend>(
    [weight, gradient, first, second, average]: [FloatTensor<B>; 5],
    factor: FloatTensor<B>,
    step: AdamWStep,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let times = |x: FloatTensor<B>, factor: f32| B::float_mul_scalar(x, factor.into());
    let mean = |old, new, decay: f32| B::float_add(times(old, decay), times(new, 1.0 - decay));
    let gradient = B::float_mul(gradient, factor);
    let first = mean(first, gradient.clone(), step.beta_1);
    let second = mean(second, B::float_mul(gradient.clone(), gradient), step.beta_2);
    let root = B::float_sqrt(times(second.clone(), step.correction_2));
    let direction = B::float_div(first.clone(), B::float_add_scalar(root, step.epsilon.into()));
    let weight = B::float_sub(times(weight, step.keep), times(direction, step.rate * step.correction_1));
    let average = mean(average, weight.clone(), step.average_decay);
    (weight, first, second, average)
}
