//! The kernels on the CPU: loops that `pulp` compiles for the vector unit at hand, and products of matrices.

use burn::{
    backend::{Flex, TensorMetadata, flex::FlexTensor},
    tensor::DType,
};
use pulp::Arch;
use rayon::prelude::*;

use super::{
    AdamWStep, Kernels,
    composed::{self, RMS_EPSILON},
    convolution::Sizes,
    levels::Posterior,
    product::product,
};

impl Kernels for Flex {
    fn fast_linear(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        let row = contiguous(bias.clone());
        let product = (row.dtype() == DType::F32).then(|| product(&x, &weight, Some(row.storage()))).flatten();
        product.unwrap_or_else(|| composed::linear::<Self>(x, weight, bias))
    }

    fn fast_product(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        product(&a, &b, None).unwrap_or_else(|| composed::product::<Self>(a, b))
    }

    fn fast_convolution(images: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        let one_each = bias.shape().num_dims() == 1 && bias.shape()[0] == weight.shape()[0];
        let Some(sizes) = sizes([&images, &weight, &bias]).filter(|_| one_each) else {
            return composed::convolution::<Self>(images, weight, bias);
        };
        let [images, weight, bias] = [images, weight, bias].map(contiguous);
        sizes.forward(images.storage(), weight.storage(), bias.storage())
    }

    fn fast_convolution_images(images: FlexTensor, weight: FlexTensor, grad: FlexTensor) -> FlexTensor {
        let Some(sizes) = sizes([&images, &weight, &grad]) else {
            return composed::convolution_images::<Self>(images, weight, grad);
        };
        let [weight, grad] = [weight, grad].map(contiguous);
        sizes.backward_images(grad.storage(), weight.storage())
    }

    fn fast_convolution_weights(images: FlexTensor, weight: FlexTensor, grad: FlexTensor) -> FlexTensor {
        let Some(sizes) = sizes([&images, &weight, &grad]) else {
            return composed::convolution_weights::<Self>(images, weight, grad);
        };
        let [images, grad] = [images, grad].map(contiguous);
        sizes.backward_weights(images.storage(), grad.storage())
    }

    fn fast_silu(x: FlexTensor) -> FlexTensor {
        if x.dtype() != DType::F32 {
            return composed::silu::<Self>(x);
        }
        in_place(x, |x, _| {
            for x in x {
                *x *= sigmoid(*x);
            }
        })
    }

    fn fast_silu_backward(x: FlexTensor, grad: FlexTensor) -> FlexTensor {
        if x.dtype() != DType::F32 {
            return composed::silu_backward::<Self>(x, grad);
        }
        let x = contiguous(x);
        let x = x.storage::<f32>();
        in_place(grad, |grad, _| {
            for (grad, &x) in grad.iter_mut().zip(x) {
                let s = sigmoid(x);
                *grad *= s * (1.0 + x - x * s);
            }
        })
    }

    fn fast_rms_norm(h: FlexTensor) -> FlexTensor {
        if h.dtype() != DType::F32 {
            return composed::rms_norm::<Self>(h);
        }
        in_place(h, |h, width| {
            for row in h.chunks_exact_mut(width) {
                let scale = inverse_norm(row);
                row.iter_mut().for_each(|h| *h *= scale);
            }
        })
    }

    fn fast_rms_norm_backward(h: FlexTensor, grad: FlexTensor) -> FlexTensor {
        if h.dtype() != DType::F32 {
            return composed::rms_norm_backward::<Self>(h, grad);
        }
        let h = contiguous(h);
        let h = h.storage::<f32>();
        in_place(grad, |grad, width| {
            for (grad, h) in grad.chunks_exact_mut(width).zip(h.chunks_exact(width)) {
                let scale = inverse_norm(h);
                let along = sum(grad.iter().zip(h).map(|(g, h)| g * h)) * scale * scale / width as f32;
                grad.iter_mut().zip(h).for_each(|(g, h)| *g = scale * (*g - along * h));
            }
        })
    }

    fn fast_softmax(logits: FlexTensor) -> FlexTensor {
        if logits.dtype() != DType::F32 {
            return composed::softmax::<Self>(logits);
        }
        in_place(logits, |logits, width| {
            for row in logits.chunks_exact_mut(width) {
                let max = row.iter().fold(f32::NEG_INFINITY, |max, &x| max.max(x));
                row.iter_mut().for_each(|x| *x -= max);
            }
            logits.iter_mut().for_each(|x| *x = exp(*x));
            for row in logits.chunks_exact_mut(width) {
                let factor = 1.0 / row.iter().sum::<f32>();
                row.iter_mut().for_each(|x| *x *= factor);
            }
        })
    }

    fn fast_softmax_backward(output: FlexTensor, grad: FlexTensor) -> FlexTensor {
        if output.dtype() != DType::F32 {
            return composed::softmax_backward::<Self>(output, grad);
        }
        let output = contiguous(output);
        let output = output.storage::<f32>();
        in_place(grad, |grad, width| {
            for (grad, p) in grad.chunks_exact_mut(width).zip(output.chunks_exact(width)) {
                let total: f32 = grad.iter().zip(p).map(|(g, p)| g * p).sum();
                grad.iter_mut().zip(p).for_each(|(g, p)| *g = p * (*g - total));
            }
        })
    }

    fn fast_level_moments(
        seen: FlexTensor,
        precision: FlexTensor,
        base: FlexTensor,
        mix: FlexTensor,
        curves: FlexTensor,
        levels: FlexTensor,
    ) -> FlexTensor {
        let tensors = [seen, precision, base, mix, curves, levels].map(contiguous);
        match Posterior::of(tensors.each_ref()) {
            Some(posterior) => posterior.moments(),
            None => composed::level_moments::<Self>(tensors),
        }
    }

    fn fast_level_moments_backward(
        seen: FlexTensor,
        precision: FlexTensor,
        base: FlexTensor,
        mix: FlexTensor,
        curves: FlexTensor,
        levels: FlexTensor,
        grad: FlexTensor,
    ) -> (FlexTensor, FlexTensor, FlexTensor, FlexTensor, FlexTensor) {
        let tensors = [seen, precision, base, mix, curves, levels].map(contiguous);
        let grad = contiguous(grad);
        let gradients = match Posterior::of(tensors.each_ref()) {
            Some(posterior) if grad.dtype() == DType::F32 => posterior.gradients(grad.storage()),
            _ => None,
        };
        let [seen, precision, base, mix, curves] =
            gradients.unwrap_or_else(|| composed::level_moments_backward::<Self>(tensors, grad));
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
        let tensors = [&weight, &gradient, &first, &second, &average, &factor];
        if tensors.into_iter().any(|tensor| tensor.dtype() != DType::F32) {
            return composed::adamw::<Self>([weight, gradient, first, second, average], factor, step);
        }
        let [gradient, factor] = [gradient, factor].map(contiguous);
        let factor = factor.storage().first().copied().unwrap_or(1.0);
        let gradient = gradient.storage::<f32>();
        let [mut weight, mut first, mut second, mut average] = [weight, first, second, average].map(contiguous);
        let parts = weight
            .storage_mut::<f32>()
            .par_chunks_mut(PART)
            .zip(gradient.par_chunks(PART))
            .zip(first.storage_mut::<f32>().par_chunks_mut(PART))
            .zip(second.storage_mut::<f32>().par_chunks_mut(PART))
            .zip(average.storage_mut::<f32>().par_chunks_mut(PART));
        parts.for_each(|((((weight, gradient), first), second), average)| {
            Arch::new().dispatch(
                #[inline(always)]
                || {
                    let numbers = weight.iter_mut().zip(gradient).zip(first).zip(second).zip(average);
                    for ((((w, g), m), v), mean) in numbers {
                        let g = g * factor;
                        *m = step.beta_1 * *m + (1.0 - step.beta_1) * g;
                        *v = step.beta_2 * *v + (1.0 - step.beta_2) * g * g;
                        let root = (*v * step.correction_2).sqrt() + step.epsilon;
                        *w = *w * step.keep - step.rate * step.correction_1 * *m / root;
                        *mean = step.average_decay * *mean + (1.0 - step.average_decay) * *w;
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

/// Runs `kernel(values, length of a row)` on the values of a tensor, compiled for the vector unit of this machine. They are
/// copied first where somebody else uses them.
fn in_place(x: FlexTensor, kernel: impl FnOnce(&mut [f32], usize)) -> FlexTensor {
    let mut x = contiguous(x);
    let width = x.shape().last().copied().unwrap_or(1).max(1);
    let values = x.storage_mut();
    Arch::new().dispatch(
        #[inline(always)]
        || kernel(values, width),
    );
    x
}

/// The tensor in one row, from the start of its memory to the end.
fn contiguous(x: FlexTensor) -> FlexTensor {
    let row = x.to_contiguous();
    // Until then, the memory has two owners, and whoever changes it would have to copy it.
    drop(x);
    row
}

/// The sum of some numbers, in sixteen sums side by side, for one sum would be one addition after the other.
#[inline(always)]
fn sum(numbers: impl ExactSizeIterator<Item = f32>) -> f32 {
    let mut sums = [0.0; 16];
    for (i, number) in numbers.enumerate() {
        sums[i % 16] += number;
    }
    sums.iter().sum()
}

/// The sum of the products of two rows of the same length, in sixteen sums as well.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 16];
    let (a, b) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum::<f32>();
    for (a, b) in a.zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// 1 / sqrt(mean(h^2) + 1e-5).
#[inline(always)]
fn inverse_norm(h: &[f32]) -> f32 {
    1.0 / (sum(h.iter().map(|h| h * h)) / h.len() as f32 + RMS_EPSILON as f32).sqrt()
}

/// 1 / (1 + exp(-x)).
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// exp(x) with a relative error of at most 2e-7; below -87 it stays at 1.6e-38, above 88 at 1.7e38.
///
/// The method is that of Cephes' `expf` (Moshier, 1992): exp(x) = 2^n exp(r) with |r| <= ln(2) / 2 and a polynomial for the
/// rest. It has no branch and no table, so a loop of it becomes vector instructions.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// Adding this to a small number leaves its nearest integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, of which the first is exact in a product with n.
    let r = x - n * 0.693_359_4 - n * -2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let scale = f32::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    (p * r * r + r + 1.0) * scale
}
