//! The kernels on the CPU: loops that `pulp` compiles for the vector unit at hand, and
//! products of matrices.

use burn::{
    backend::{Flex, TensorMetadata, flex::FlexTensor},
    tensor::{DType, Shape},
};
use rayon::prelude::*;

use super::{
    adamw::{AdamWState, AdamWStep},
    composed,
    convolution::Sizes,
    extension::Kernels,
    levels::GreyLoop,
    odds::{Odds, OddsGradients},
    product::{product, tensor},
    vector::{
        CIRCLES, LEAST, exp, flush, inverse_norm, inverse_norms, sigmoid, sine, sum,
        vectorized,
    },
};

#[cfg(test)]
use super::subnormals::watch;

/// Where the tests look at what a kernel takes in.
#[cfg(not(test))]
#[inline(always)]
fn watch<const N: usize>(_kernel: &'static str, _inputs: [&FlexTensor; N]) {}

impl Kernels for Flex {
    fn fast_linear(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        watch("linear", [&x, &weight, &bias]);
        let row = contiguous(bias.clone());
        let product = (row.dtype() == DType::F32)
            .then(|| product(&x, &weight, Some(row.storage())))
            .flatten();
        product.unwrap_or_else(|| composed::linear::<Self>(x, weight, bias))
    }

    fn fast_product(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        watch("product", [&a, &b]);
        product(&a, &b, None).unwrap_or_else(|| composed::product::<Self>(a, b))
    }

    fn fast_convolution(
        images: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
    ) -> FlexTensor {
        watch("convolution", [&images, &weight, &bias]);
        let one_each = bias.shape().num_dims() == 1 && bias.shape()[0] == weight.shape()[0];
        let Some(sizes) = sizes([&images, &weight, &bias]).filter(|_| one_each) else {
            return composed::convolution::<Self>(images, weight, bias);
        };
        let [images, weight, bias] = [images, weight, bias].map(contiguous);
        sizes.forward(images.storage(), weight.storage(), bias.storage())
    }

    fn fast_convolution_images(
        images: FlexTensor,
        weight: FlexTensor,
        grad: FlexTensor,
    ) -> FlexTensor {
        watch("convolution_images", [&images, &weight, &grad]);
        let Some(sizes) = sizes([&images, &weight, &grad]) else {
            return composed::convolution_images::<Self>(images, weight, grad);
        };
        let [weight, grad] = [weight, grad].map(contiguous);
        sizes.backward_images(grad.storage(), weight.storage())
    }

    fn fast_convolution_weights(
        images: FlexTensor,
        weight: FlexTensor,
        grad: FlexTensor,
    ) -> FlexTensor {
        watch("convolution_weights", [&images, &weight, &grad]);
        let Some(sizes) = sizes([&images, &weight, &grad]) else {
            return composed::convolution_weights::<Self>(images, weight, grad);
        };
        let [images, grad] = [images, grad].map(contiguous);
        sizes.backward_weights(images.storage(), grad.storage())
    }

    fn fast_silu(x: FlexTensor) -> FlexTensor {
        watch("silu", [&x]);
        if x.dtype() != DType::F32 {
            return composed::silu::<Self>(x);
        }
        each(
            x,
            #[inline(always)]
            |x| x * sigmoid(x),
        )
    }

    fn fast_silu_backward(x: FlexTensor, grad: FlexTensor) -> FlexTensor {
        watch("silu_backward", [&x, &grad]);
        if x.dtype() != DType::F32 {
            return composed::silu_backward::<Self>(x, grad);
        }
        let x = contiguous(x);
        let x = x.storage::<f32>();
        in_place(
            grad,
            #[inline(always)]
            |grad| {
                for (grad, &x) in grad.iter_mut().zip(x) {
                    let s = sigmoid(x);
                    *grad *= s * (1.0 + x - x * s);
                }
            },
        )
    }

    fn fast_rms_norm(h: FlexTensor) -> FlexTensor {
        watch("rms_norm", [&h]);
        if h.dtype() != DType::F32 {
            return composed::rms_norm::<Self>(h);
        }
        let (channels, pixels) = channels(&h);
        in_place(
            h,
            #[inline(always)]
            |h| h.chunks_exact_mut(channels * pixels).for_each(|h| norm(h, pixels)),
        )
    }

    fn fast_rms_norm_backward(h: FlexTensor, grad: FlexTensor) -> FlexTensor {
        watch("rms_norm_backward", [&h, &grad]);
        if h.dtype() != DType::F32 {
            return composed::rms_norm_backward::<Self>(h, grad);
        }
        let (channels, pixels) = channels(&h);
        let (h, size) = (contiguous(h), channels * pixels);
        let h = h.storage::<f32>();
        in_place(
            grad,
            #[inline(always)]
            |grad| {
                let images = grad.chunks_exact_mut(size).zip(h.chunks_exact(size));
                images.for_each(|(grad, h)| norm_backward(h, grad, pixels));
            },
        )
    }

    fn fast_silu_norm(h: FlexTensor) -> FlexTensor {
        watch("silu_norm", [&h]);
        if h.dtype() != DType::F32 {
            return composed::silu_norm::<Self>(h);
        }
        let (channels, pixels) = channels(&h);
        rows_of(
            h,
            channels * pixels,
            #[inline(always)]
            |h, y| {
                y.iter_mut().zip(h).for_each(|(y, &h)| *y = h * sigmoid(h));
                norm(y, pixels);
            },
        )
    }

    fn fast_silu_norm_backward(h: FlexTensor, grad: FlexTensor) -> FlexTensor {
        watch("silu_norm_backward", [&h, &grad]);
        if h.dtype() != DType::F32 {
            return composed::silu_norm_backward::<Self>(h, grad);
        }
        let (channels, pixels) = channels(&h);
        let (h, size) = (contiguous(h), channels * pixels);
        let h = h.storage::<f32>();
        in_place(
            grad,
            #[inline(always)]
            |grad| {
                let (mut gate, mut y) = (vec![0.0; size], vec![0.0; size]);
                for (grad, h) in grad.chunks_exact_mut(size).zip(h.chunks_exact(size)) {
                    gate.iter_mut().zip(h).for_each(|(gate, &h)| *gate = sigmoid(h));
                    for ((y, h), gate) in y.iter_mut().zip(h).zip(&gate) {
                        *y = h * gate;
                    }
                    norm_backward(&y, grad, pixels);
                    for ((grad, h), s) in grad.iter_mut().zip(h).zip(&gate) {
                        *grad *= s * (1.0 + h - h * s);
                    }
                }
            },
        )
    }

    fn fast_sine(x: FlexTensor, quarters: u64) -> FlexTensor {
        watch("sine", [&x]);
        let fits = |x: &FlexTensor| x.storage::<f32>().iter().all(|x| x.abs() < CIRCLES);
        if x.dtype() != DType::F32 || !fits(&x) {
            return composed::sine::<Self>(x, quarters);
        }
        each(
            x,
            #[inline(always)]
            |x| sine(x, quarters),
        )
    }

    fn fast_sum_of_squares(x: FlexTensor) -> FlexTensor {
        watch("sum_of_squares", [&x]);
        if x.dtype() != DType::F32 {
            return composed::sum_of_squares::<Self>(x);
        }
        let x = contiguous(x);
        let x = x.storage::<f32>();
        let squares = vectorized(
            #[inline(always)]
            || sum(x, x, |x, _| flush(x) * flush(x)),
        );
        tensor(vec![squares], Shape::new([1]))
    }

    fn fast_softmax(logits: FlexTensor) -> FlexTensor {
        watch("softmax", [&logits]);
        if logits.dtype() != DType::F32 {
            return composed::softmax::<Self>(logits);
        }
        let width = row_length(&logits);
        in_place(
            logits,
            #[inline(always)]
            |logits| {
                for row in logits.chunks_exact_mut(width) {
                    let max = row.iter().fold(f32::NEG_INFINITY, |max, &x| max.max(x));
                    row.iter_mut().for_each(|x| *x -= max);
                }
                logits.iter_mut().for_each(|x| *x = exp(*x));
                for row in logits.chunks_exact_mut(width) {
                    let factor = 1.0 / row.iter().sum::<f32>();
                    row.iter_mut().for_each(|x| *x *= factor);
                }
            },
        )
    }

    fn fast_softmax_backward(output: FlexTensor, grad: FlexTensor) -> FlexTensor {
        watch("softmax_backward", [&output, &grad]);
        if output.dtype() != DType::F32 {
            return composed::softmax_backward::<Self>(output, grad);
        }
        let output = contiguous(output);
        let output = output.storage::<f32>();
        let width = row_length(&grad);
        in_place(
            grad,
            #[inline(always)]
            |grad| {
                for (grad, p) in
                    grad.chunks_exact_mut(width).zip(output.chunks_exact(width))
                {
                    let total: f32 = grad.iter().zip(p).map(|(g, p)| g * p).sum();
                    grad.iter_mut().zip(p).for_each(|(g, p)| *g = flush(p * (*g - total)));
                }
            },
        )
    }

    fn fast_log_softmax(logits: FlexTensor) -> FlexTensor {
        watch("log_softmax", [&logits]);
        if logits.dtype() != DType::F32 {
            return composed::log_softmax::<Self>(logits);
        }
        let width = row_length(&logits);
        in_place(
            logits,
            #[inline(always)]
            |logits| {
                let mut exps = vec![0.0; width * ROWS];
                for rows in logits.chunks_mut(width * ROWS) {
                    for row in rows.chunks_exact_mut(width) {
                        let max = row.iter().fold(f32::NEG_INFINITY, |max, &x| max.max(x));
                        row.iter_mut().for_each(|x| *x -= max);
                    }
                    exps.iter_mut().zip(&*rows).for_each(|(exp_x, x)| *exp_x = exp(*x));
                    for (row, exps) in
                        rows.chunks_exact_mut(width).zip(exps.chunks_exact(width))
                    {
                        let log = exps.iter().sum::<f32>().ln();
                        row.iter_mut().for_each(|x| *x -= log);
                    }
                }
            },
        )
    }

    fn fast_log_softmax_backward(output: FlexTensor, grad: FlexTensor) -> FlexTensor {
        watch("log_softmax_backward", [&output, &grad]);
        if output.dtype() != DType::F32 {
            return composed::log_softmax_backward::<Self>(output, grad);
        }
        let output = contiguous(output);
        let output = output.storage::<f32>();
        let width = row_length(&grad);
        in_place(
            grad,
            #[inline(always)]
            |grad| {
                let mut totals = vec![0.0; width * ROWS];
                for (grad, output) in
                    grad.chunks_mut(width * ROWS).zip(output.chunks(width * ROWS))
                {
                    for (grad, totals) in
                        grad.chunks_exact(width).zip(totals.chunks_exact_mut(width))
                    {
                        totals.fill(grad.iter().sum());
                    }
                    for ((g, y), total) in grad.iter_mut().zip(output).zip(&totals) {
                        *g -= exp(*y) * total;
                    }
                }
            },
        )
    }

    fn fast_level_moments(
        seen: FlexTensor,
        precision: FlexTensor,
        base: FlexTensor,
        mix: FlexTensor,
        curves: FlexTensor,
        values: FlexTensor,
    ) -> FlexTensor {
        watch("level_moments", [&seen, &precision, &base, &mix, &curves, &values]);
        let odds = Odds { seen, precision, base, mix, curves, values }.map(contiguous);
        match GreyLoop::of(&odds) {
            Some(pixels) => pixels.moments(),
            None => composed::level_moments::<Self>(odds),
        }
    }

    fn fast_level_moments_backward(
        seen: FlexTensor,
        precision: FlexTensor,
        base: FlexTensor,
        mix: FlexTensor,
        curves: FlexTensor,
        values: FlexTensor,
        grad: FlexTensor,
    ) -> (FlexTensor, FlexTensor, FlexTensor, FlexTensor, FlexTensor) {
        watch(
            "level_moments_backward",
            [&seen, &precision, &base, &mix, &curves, &values, &grad],
        );
        let odds = Odds { seen, precision, base, mix, curves, values }.map(contiguous);
        let grad = contiguous(grad);
        let gradients = match GreyLoop::of(&odds) {
            Some(pixels) if grad.dtype() == DType::F32 => pixels.gradients(grad.storage()),
            _ => None,
        };
        let OddsGradients { seen, precision, base, mix, curves } = gradients
            .unwrap_or_else(|| composed::level_moments_backward::<Self>(odds, grad));
        (seen, precision, base, mix, curves)
    }

    fn fast_adamw(
        weight: FlexTensor,
        gradient: FlexTensor,
        first: FlexTensor,
        second: FlexTensor,
        average: FlexTensor,
        factor: FlexTensor,
        step: AdamWStep,
    ) -> (FlexTensor, FlexTensor, FlexTensor, FlexTensor) {
        watch("adamw", [&weight, &gradient, &first, &second, &average, &factor]);
        let tensors = [&weight, &gradient, &first, &second, &average, &factor];
        if tensors.into_iter().any(|tensor| tensor.dtype() != DType::F32) {
            let state = AdamWState { weight, first, second, average };
            let AdamWState { weight, first, second, average } =
                composed::adamw::<Self>(state, gradient, factor, step);
            return (weight, first, second, average);
        }
        let [gradient, factor] = [gradient, factor].map(contiguous);
        let factor = factor.storage().first().copied().unwrap_or(1.0);
        let gradient = gradient.storage::<f32>();
        let [mut weight, mut first, mut second, mut average] =
            [weight, first, second, average].map(contiguous);
        let parts = weight
            .storage_mut::<f32>()
            .par_chunks_mut(PART)
            .zip(gradient.par_chunks(PART))
            .zip(first.storage_mut::<f32>().par_chunks_mut(PART))
            .zip(second.storage_mut::<f32>().par_chunks_mut(PART))
            .zip(average.storage_mut::<f32>().par_chunks_mut(PART));
        parts.for_each(|((((weight, gradient), first), second), average)| {
            vectorized(
                #[inline(always)]
                || {
                    let numbers =
                        weight.iter_mut().zip(gradient).zip(first).zip(second).zip(average);
                    for ((((w, g), m), v), mean) in numbers {
                        let g = flush(g * factor);
                        *m = flush(step.beta_1 * *m + (1.0 - step.beta_1) * g);
                        *v = step.beta_2 * *v + (1.0 - step.beta_2) * g * g;
                        // Far below the square of epsilon.
                        *v = if *v < LEAST * LEAST { 0.0 } else { *v };
                        let root = (*v * step.correction_2).sqrt() + step.epsilon;
                        *w = *w * step.keep - step.rate * step.correction_1 * *m / root;
                        *mean =
                            step.average_decay * *mean + (1.0 - step.average_decay) * *w;
                    }
                },
            );
        });
        (weight, first, second, average)
    }
}

/// The sizes of a convolution of images with weights, if these and a third tensor hold f32.
fn sizes([images, weight, other]: [&FlexTensor; 3]) -> Option<Sizes> {
    let all_f32 = [images, weight, other].iter().all(|tensor| tensor.dtype() == DType::F32);
    all_f32.then(|| Sizes::of(&images.shape(), &weight.shape())).flatten()
}

/// Numbers that one thread takes at a time.
const PART: usize = 1 << 14;

/// Rows whose exponentials are kept at a time: together they are long enough for the
/// processor's vectors, and few for its cache.
const ROWS: usize = 64;

/// Runs `kernel` on the values of a tensor, compiled for the vector unit of this machine.
/// They are copied first where somebody else uses them.
fn in_place(x: FlexTensor, kernel: impl FnOnce(&mut [f32])) -> FlexTensor {
    let mut x = contiguous(x);
    let values = x.storage_mut();
    vectorized(
        #[inline(always)]
        || kernel(values),
    );
    x
}

/// A tensor of f of each number, compiled for the vector unit of this machine.
fn each(x: FlexTensor, f: impl Fn(f32) -> f32) -> FlexTensor {
    let all = x.shape().num_elements().max(1);
    rows_of(
        x,
        all,
        #[inline(always)]
        |x, y| y.iter_mut().zip(x).for_each(|(y, x)| *y = f(*x)),
    )
}

/// A tensor of the same shape, of which `kernel` writes each row, `width` numbers, from the
/// values of the row of `x`, compiled for the vector unit of this machine.
fn rows_of(x: FlexTensor, width: usize, kernel: impl Fn(&[f32], &mut [f32])) -> FlexTensor {
    let x = contiguous(x);
    let mut values = vec![0.0; x.shape().num_elements()];
    vectorized(
        #[inline(always)]
        || {
            let rows = x.storage::<f32>().chunks_exact(width);
            for (x, y) in rows.zip(values.chunks_exact_mut(width)) {
                kernel(x, y);
            }
        },
    );
    tensor(values, x.shape())
}

/// The length of the last dimension.
fn row_length(x: &FlexTensor) -> usize {
    x.shape().last().copied().unwrap_or(1).max(1)
}

/// The length of dimension 1, and of all behind it together.
fn channels(x: &FlexTensor) -> (usize, usize) {
    let size = |lengths: &[usize]| lengths.iter().product::<usize>().max(1);
    match x.shape().as_slice() {
        [_, channels, pixels @ ..] => (size(&[*channels]), size(pixels)),
        rest => (size(rest), 1),
    }
}

/// rms_norm over the channels of each of so many pixels of an image.
#[inline(always)]
fn norm(h: &mut [f32], pixels: usize) {
    if pixels == 1 {
        let scale = inverse_norm(h);
        return h.iter_mut().for_each(|h| *h *= scale);
    }
    let scales = inverse_norms(h, pixels);
    for channel in h.chunks_exact_mut(pixels) {
        channel.iter_mut().zip(&scales).for_each(|(h, scale)| *h *= scale);
    }
}

/// The gradient of h in the place of that of rms_norm(h).
#[inline(always)]
fn norm_backward(h: &[f32], grad: &mut [f32], pixels: usize) {
    let channels = (h.len() / pixels) as f32;
    if pixels == 1 {
        let scale = inverse_norm(h);
        let along = sum(grad, h, |g, h| g * h) * scale * scale / channels;
        return grad.iter_mut().zip(h).for_each(|(g, h)| *g = scale * (*g - along * h));
    }
    let (scales, mut along) = (inverse_norms(h, pixels), vec![0.0; pixels]);
    for (grad, h) in grad.chunks_exact(pixels).zip(h.chunks_exact(pixels)) {
        for ((along, g), h) in along.iter_mut().zip(grad).zip(h) {
            *along += g * h;
        }
    }
    for (along, scale) in along.iter_mut().zip(&scales) {
        *along *= scale * scale / channels;
    }
    for (grad, h) in grad.chunks_exact_mut(pixels).zip(h.chunks_exact(pixels)) {
        for (((g, h), scale), along) in grad.iter_mut().zip(h).zip(&scales).zip(&along) {
            *g = scale * (*g - along * h);
        }
    }
}

/// The tensor in one row, from the start of its memory to the end.
fn contiguous(x: FlexTensor) -> FlexTensor {
    let row = x.to_contiguous();
    // Until then, the memory has two owners, and whoever changes it would have to copy it.
    drop(x);
    row
}
