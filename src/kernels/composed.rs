//! The kernels as compositions of Burn's own operations, for every backend.

use burn::{
    backend::{Backend, TensorMetadata, tensor::FloatTensor},
    tensor::{Shape, Slice, ops::ConvOptions},
};

use super::{
    adamw::{AdamWState, AdamWStep},
    odds::{Odds, OddsGradients},
};

/// What is added to the mean square of a row, so that a row of zeros stays one.
pub(super) const RMS_EPSILON: f64 = 1e-5;

pub(super) fn linear<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
) -> FloatTensor<B> {
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

/// Over which dimension is normalized: 1, but of a single row.
fn channels<B: Backend>(h: &FloatTensor<B>) -> usize {
    (h.shape().num_dims() - 1).min(1)
}

/// 1 / sqrt(mean(h^2) + 1e-5) over the channels.
pub(super) fn inverse_norm<B: Backend>(h: FloatTensor<B>) -> FloatTensor<B> {
    let dim = channels::<B>(&h);
    let mean = B::float_mean_dim(B::float_mul(h.clone(), h), dim);
    B::float_recip(B::float_sqrt(B::float_add_scalar(mean, RMS_EPSILON.into())))
}

pub(super) fn rms_norm<B: Backend>(h: FloatTensor<B>) -> FloatTensor<B> {
    let scale = inverse_norm::<B>(h.clone());
    B::float_mul(h, scale)
}

/// With s = 1 / sqrt(mean(h^2) + 1e-5), d loss / d h = s (g - h s^2 mean(g h)).
pub(super) fn rms_norm_backward<B: Backend>(
    h: FloatTensor<B>,
    grad: FloatTensor<B>,
) -> FloatTensor<B> {
    let dim = channels::<B>(&h);
    let scale = inverse_norm::<B>(h.clone());
    let mean = B::float_mean_dim(B::float_mul(grad.clone(), h.clone()), dim);
    let along = B::float_mul(B::float_mul(scale.clone(), scale.clone()), mean);
    B::float_mul(scale, B::float_sub(grad, B::float_mul(h, along)))
}

pub(super) fn silu<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let gate = B::sigmoid(x.clone());
    B::float_mul(x, gate)
}

/// With s = sigmoid(x), d silu / dx = s + x s (1 - s) = s (1 + x - x s).
pub(super) fn silu_backward<B: Backend>(
    x: FloatTensor<B>,
    grad: FloatTensor<B>,
) -> FloatTensor<B> {
    let s = B::sigmoid(x.clone());
    let rest = B::float_add_scalar(
        B::float_sub(x.clone(), B::float_mul(x, s.clone())),
        1.0.into(),
    );
    B::float_mul(grad, B::float_mul(s, rest))
}

pub(super) fn silu_norm<B: Backend>(h: FloatTensor<B>) -> FloatTensor<B> {
    rms_norm::<B>(silu::<B>(h))
}

pub(super) fn silu_norm_backward<B: Backend>(
    h: FloatTensor<B>,
    grad: FloatTensor<B>,
) -> FloatTensor<B> {
    let grad = rms_norm_backward::<B>(silu::<B>(h.clone()), grad);
    silu_backward::<B>(h, grad)
}

pub(super) fn sine<B: Backend>(x: FloatTensor<B>, quarters: u64) -> FloatTensor<B> {
    match quarters % 4 {
        0 => B::float_sin(x),
        1 => B::float_cos(x),
        2 => B::float_neg(B::float_sin(x)),
        _ => B::float_neg(B::float_cos(x)),
    }
}

pub(super) fn softmax<B: Backend>(logits: FloatTensor<B>) -> FloatTensor<B> {
    let last = logits.shape().num_dims() - 1;
    B::softmax(logits, last)
}

/// d loss / d logit_k = p_k (g_k - sum_j p_j g_j).
pub(super) fn softmax_backward<B: Backend>(
    output: FloatTensor<B>,
    grad: FloatTensor<B>,
) -> FloatTensor<B> {
    let last = output.shape().num_dims() - 1;
    let total = B::float_sum_dim(B::float_mul(grad.clone(), output.clone()), last);
    B::float_mul(output, B::float_sub(grad, total))
}

pub(super) fn log_softmax<B: Backend>(logits: FloatTensor<B>) -> FloatTensor<B> {
    let last = logits.shape().num_dims() - 1;
    B::log_softmax(logits, last)
}

/// d loss / d logit_k = g_k - p_k sum_j g_j.
pub(super) fn log_softmax_backward<B: Backend>(
    output: FloatTensor<B>,
    grad: FloatTensor<B>,
) -> FloatTensor<B> {
    let last = output.shape().num_dims() - 1;
    let total = B::float_sum_dim(grad.clone(), last);
    B::float_sub(grad, B::float_mul(B::float_exp(output), total))
}

/// The posterior of each pixel's grey level, as tensors of Burn.
struct GreyPosterior<B: Backend> {
    /// The probabilities p_ik, [B, d, V].
    p: FloatTensor<B>,
    /// x_k less the mean, [B, d, V].
    centred: FloatTensor<B>,
    /// The mean of x_k, [B, d, 1].
    mean: FloatTensor<B>,
    /// Its variance, [B, d, 1].
    variance: FloatTensor<B>,
}

impl<B: Backend> GreyPosterior<B> {
    fn of(odds: Odds<FloatTensor<B>>) -> Self {
        let Odds { seen, precision, base, mix, curves, values } = odds;
        let (shape, v) = (mix.shape(), values.shape()[0]);
        let (b, d, j) = (shape[0], shape[1], shape[2]);
        let reshape =
            |tensor, shape: [usize; 3]| B::float_reshape(tensor, Shape::new(shape));
        let values = reshape(values, [1, 1, v]);
        let gap = B::float_sub(reshape(seen, [b, d, 1]), values.clone());
        let misfit =
            B::float_mul(reshape(precision, [b, 1, 1]), B::float_mul(gap.clone(), gap));
        let mixed = B::float_matmul(B::float_reshape(mix, Shape::new([b * d, j])), curves);
        let logits = B::float_add(
            B::float_sub(reshape(base, [1, d, v]), misfit),
            reshape(mixed, [b, d, v]),
        );
        let p = B::softmax(logits, 2);
        let mean = B::float_sum_dim(B::float_mul(p.clone(), values.clone()), 2);
        let centred = B::float_sub(values, mean.clone());
        let variance =
            B::float_sum_dim(B::float_mul(p.clone(), square::<B>(centred.clone())), 2);
        Self { p, centred, mean, variance }
    }
}

fn square<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_mul(x.clone(), x)
}

pub(super) fn sum_of_squares<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_sum(square::<B>(x))
}

pub(super) fn level_moments<B: Backend>(odds: Odds<FloatTensor<B>>) -> FloatTensor<B> {
    let shape = odds.seen.shape();
    let GreyPosterior { mean, variance, .. } = GreyPosterior::<B>::of(odds);
    let rows = |tensor| B::float_reshape(tensor, shape.clone());
    B::float_cat(vec![rows(mean), rows(variance)], 1)
}

/// d loss / d logit_k = p_k (g (x_k - mean) + h ((x_k - mean)^2 - variance)), with the
/// gradients g of the mean and h of the variance; these sum to zero over k.
pub(super) fn level_moments_backward<B: Backend>(
    odds: Odds<FloatTensor<B>>,
    grad: FloatTensor<B>,
) -> OddsGradients<FloatTensor<B>> {
    let GreyPosterior { p, centred, mean, variance } = GreyPosterior::<B>::of(odds.clone());
    let Odds { seen, precision, mix, curves, values, .. } = odds;
    let shape = mix.shape();
    let (b, d, j, v) = (shape[0], shape[1], shape[2], values.shape()[0]);
    let column = |tensor: FloatTensor<B>| B::float_reshape(tensor, Shape::new([b, d, 1]));
    let half = |from| {
        column(B::float_slice(
            grad.clone(),
            &[Slice::from(0..b), Slice::from(from..from + d)],
        ))
    };
    let of_mean = B::float_mul(half(0), centred.clone());
    let of_variance =
        B::float_mul(half(d), B::float_sub(square::<B>(centred.clone()), variance));
    let logits = B::float_mul(p, B::float_add(of_mean, of_variance));

    let along = B::float_sum_dim(B::float_mul(logits.clone(), centred.clone()), 2);
    let across = B::float_sum_dim(B::float_mul(logits.clone(), square::<B>(centred)), 2);
    let twice = |x| B::float_mul_scalar(x, 2.0.into());
    let of_seen = B::float_mul(
        twice(B::float_reshape(precision, Shape::new([b, 1, 1]))),
        along.clone(),
    );
    let moved = B::float_mul(twice(B::float_sub(column(seen), mean)), along);
    let of_precision = B::float_sum_dim(B::float_sub(moved, across), 1);
    let of_base = B::float_sum_dim(logits.clone(), 0);
    let rows = B::float_reshape(logits, Shape::new([b * d, v]));
    let of_mix = B::float_matmul(rows.clone(), B::float_transpose(curves));
    let of_curves = B::float_matmul(
        B::float_transpose(B::float_reshape(mix, Shape::new([b * d, j]))),
        rows,
    );
    OddsGradients {
        seen: B::float_reshape(of_seen, Shape::new([b, d])),
        precision: B::float_reshape(of_precision, Shape::new([b])),
        base: B::float_reshape(of_base, Shape::new([d, v])),
        mix: B::float_reshape(of_mix, Shape::new([b, d, j])),
        curves: of_curves,
    }
}

pub(super) fn adamw<B: Backend>(
    state: AdamWState<FloatTensor<B>>,
    gradient: FloatTensor<B>,
    factor: FloatTensor<B>,
    step: AdamWStep,
) -> AdamWState<FloatTensor<B>> {
    let AdamWState { weight, first, second, average } = state;
    let times = |x: FloatTensor<B>, factor: f32| B::float_mul_scalar(x, factor.into());
    let mean =
        |old, new, decay: f32| B::float_add(times(old, decay), times(new, 1.0 - decay));
    let gradient = B::float_mul(gradient, factor);
    let first = mean(first, gradient.clone(), step.beta_1);
    let second = mean(second, B::float_mul(gradient.clone(), gradient), step.beta_2);
    let root = B::float_sqrt(times(second.clone(), step.correction_2));
    let direction =
        B::float_div(first.clone(), B::float_add_scalar(root, step.epsilon.into()));
    let weight = B::float_sub(
        times(weight, step.keep),
        times(direction, step.rate * step.correction_1),
    );
    let average = mean(average, weight.clone(), step.average_decay);
    AdamWState { weight, first, second, average }
}
