//! Functions that Burn's CPU backend computes with one scalar `expf` call per number, or in many passes, as vector loops.
//!
//! They took a third of a training step (appendix "Where the time goes"). Each is an operation of its own behind Burn's
//! backend extension: on the CPU (Flex) a loop that `pulp` compiles for the vector unit at hand, on every other backend the
//! plain composition of Burn's operations, which is also what the tests compare with.

use std::borrow::Cow;

use burn::{
    backend::{
        Autodiff, Backend, Dispatch, Flex, TensorMetadata,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind, unary},
        },
        backend_extension,
        flex::FlexTensor,
        tensor::FloatTensor,
    },
    tensor::{DType, Tensor, TensorData},
};
use pulp::Arch;
use rayon::prelude::*;

/// x sigmoid(x). Hendrycks and Gimpel (2016). The shape of the result is that of `x`.
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::fast_silu(x.into_dispatch()))
}

/// softmax over the last dimension. The shape of the result is that of `logits`.
pub fn softmax<const D: usize>(logits: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::fast_softmax(logits.into_dispatch()))
}

/// The numbers of one step of [`adamw`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWStep {
    /// Decay of the mean of the gradients.
    pub beta_1: f32,
    /// Decay of the mean of their squares.
    pub beta_2: f32,
    /// 1 / (1 - beta_1^t): the mean starts at zero, and this makes up for it.
    pub correction_1: f32,
    /// 1 / (1 - beta_2^t).
    pub correction_2: f32,
    /// Added to the root of the mean square.
    pub epsilon: f32,
    /// The learning rate.
    pub rate: f32,
    /// What weight decay leaves of each weight.
    pub keep: f32,
    /// Decay of the average of the weights.
    pub average_decay: f32,
}

/// One step of AdamW, Loshchilov and Hutter (2019), algorithm 2, and of the average of the weights.
///
/// Takes weights, their gradients, the running means of gradients and of their squares, and the average of the weights, all of
/// one shape, and a factor, [1], for all gradients. Returns weights, both means, and the average.
pub fn adamw<const D: usize>(
    [weight, gradient, first, second, average]: [Tensor<D>; 5],
    factor: Tensor<1>,
    step: AdamWStep,
) -> [Tensor<D>; 4] {
    let factor = factor.reshape([1; D]).into_dispatch();
    let [weight, gradient, first, second, average] =
        [weight, gradient, first, second, average].map(Tensor::into_dispatch);
    let (weight, first, second, average) = Dispatch::fast_adamw(weight, gradient, first, second, average, factor, step);
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
    /// x sigmoid(x).
    #[fusion(default)]
    fn fast_silu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        composed_silu::<Self>(x)
    }

    /// The gradient of x from x and the gradient of silu(x).
    #[fusion(default)]
    fn fast_silu_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        composed_silu_backward::<Self>(x, grad)
    }

    /// softmax over the last dimension.
    #[fusion(default)]
    fn fast_softmax(logits: FloatTensor<Self>) -> FloatTensor<Self> {
        composed_softmax::<Self>(logits)
    }

    /// The gradient of the logits from softmax(logits) and its gradient.
    #[fusion(default)]
    fn fast_softmax_backward(output: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        composed_softmax_backward::<Self>(output, grad)
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
        composed_adamw::<Self>([weight, gradient, first, second, average], factor, step)
    }
}

fn composed_silu<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let gate = B::sigmoid(x.clone());
    B::float_mul(x, gate)
}

/// With s = sigmoid(x), d silu / dx = s + x s (1 - s) = s (1 + x - x s).
fn composed_silu_backward<B: Backend>(x: FloatTensor<B>, grad: FloatTensor<B>) -> FloatTensor<B> {
    let s = B::sigmoid(x.clone());
    let rest = B::float_add_scalar(B::float_sub(x.clone(), B::float_mul(x, s.clone())), 1.0.into());
    B::float_mul(grad, B::float_mul(s, rest))
}

fn composed_softmax<B: Backend>(logits: FloatTensor<B>) -> FloatTensor<B> {
    let last = logits.shape().num_dims() - 1;
    B::softmax(logits, last)
}

/// d loss / d logit_k = p_k (g_k - sum_j p_j g_j).
fn composed_softmax_backward<B: Backend>(output: FloatTensor<B>, grad: FloatTensor<B>) -> FloatTensor<B> {
    let last = output.shape().num_dims() - 1;
    let total = B::float_sum_dim(B::float_mul(grad.clone(), output.clone()), last);
    B::float_mul(output, B::float_sub(grad, total))
}

fn composed_adamw<B: Backend>(
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

#[cfg(feature = "ndarray")]
impl Kernels for burn::backend::NdArray {}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
impl Kernels for burn::backend::Cube {}

#[cfg(feature = "remote")]
impl Kernels for burn::backend::Remote {}

impl<B: Kernels, C: CheckpointStrategy> Kernels for Autodiff<B, C> {
    fn fast_silu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Silu;

        impl<B: Kernels> Backward<B, 1> for Silu {
            type State = FloatTensor<B>;

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let x = ops.state;
                unary::<B, _>(ops.parents, ops.node, grads, |grad| B::fast_silu_backward(x, grad));
            }
        }

        let (x, node) = x.into_parts();
        match Silu.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(x.clone(), B::fast_silu(x)),
            OpsKind::UnTracked(prep) => prep.finish(B::fast_silu(x)),
        }
    }

    fn fast_softmax(logits: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Softmax;

        impl<B: Kernels> Backward<B, 1> for Softmax {
            type State = FloatTensor<B>;

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let output = ops.state;
                unary::<B, _>(ops.parents, ops.node, grads, |grad| B::fast_softmax_backward(output, grad));
            }
        }

        let (logits, node) = logits.into_parts();
        match Softmax.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let output = B::fast_softmax(logits);
                prep.finish(output.clone(), output)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::fast_softmax(logits)),
        }
    }
}

impl Kernels for Flex {
    fn fast_silu(x: FlexTensor) -> FlexTensor {
        if x.dtype() != DType::F32 {
            return composed_silu::<Self>(x);
        }
        in_place(x, |x, _| {
            for x in x {
                *x *= sigmoid(*x);
            }
        })
    }

    fn fast_silu_backward(x: FlexTensor, grad: FlexTensor) -> FlexTensor {
        if x.dtype() != DType::F32 {
            return composed_silu_backward::<Self>(x, grad);
        }
        let x = x.to_contiguous().into_data();
        let x = values(&x);
        in_place(grad, |grad, _| {
            for (grad, &x) in grad.iter_mut().zip(&*x) {
                let s = sigmoid(x);
                *grad *= s * (1.0 + x - x * s);
            }
        })
    }

    fn fast_softmax(logits: FlexTensor) -> FlexTensor {
        if logits.dtype() != DType::F32 {
            return composed_softmax::<Self>(logits);
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
            return composed_softmax_backward::<Self>(output, grad);
        }
        let output = output.to_contiguous().into_data();
        let output = values(&output);
        in_place(grad, |grad, width| {
            for (grad, p) in grad.chunks_exact_mut(width).zip(output.chunks_exact(width)) {
                let total: f32 = grad.iter().zip(p).map(|(g, p)| g * p).sum();
                grad.iter_mut().zip(p).for_each(|(g, p)| *g = p * (*g - total));
            }
        })
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
            return composed_adamw::<Self>([weight, gradient, first, second, average], factor, step);
        }
        let [gradient, factor] = [gradient, factor].map(|tensor| tensor.to_contiguous().into_data());
        let factor = values(&factor).first().copied().unwrap_or(1.0);
        let gradient = values(&gradient);
        let [mut weight, mut first, mut second, mut average] = [weight, first, second, average].map(owned);
        let parts = values_mut(&mut weight)
            .par_chunks_mut(PART)
            .zip(gradient.par_chunks(PART))
            .zip(values_mut(&mut first).par_chunks_mut(PART))
            .zip(values_mut(&mut second).par_chunks_mut(PART))
            .zip(values_mut(&mut average).par_chunks_mut(PART));
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
        let [weight, first, second, average] = [weight, first, second, average].map(FlexTensor::from_data);
        (weight, first, second, average)
    }
}

/// Numbers that one thread takes at a time.
const PART: usize = 1 << 14;

/// Runs `kernel(values, length of a row)` on the values of a tensor, compiled for the vector unit of this machine.
fn in_place(x: FlexTensor, kernel: impl FnOnce(&mut [f32], usize)) -> FlexTensor {
    let mut data = owned(x);
    let width = data.shape().last().copied().unwrap_or(1).max(1);
    let values = values_mut(&mut data);
    Arch::new().dispatch(
        #[inline(always)]
        || kernel(values, width),
    );
    FlexTensor::from_data(data)
}

/// The values of a tensor in one row and in memory of their own, aligned. Copied only where somebody else uses them.
fn owned(x: FlexTensor) -> TensorData {
    let mut data = x.to_contiguous().into_data();
    if data.as_mut_slice::<f32>().is_err() {
        data = TensorData::new(values(&data).into_owned(), data.shape().clone());
    }
    data
}

/// The numbers in data that `owned` made.
fn values_mut(data: &mut TensorData) -> &mut [f32] {
    match data.as_mut_slice::<f32>() {
        Ok(values) => values,
        Err(error) => unreachable!("a vector of f32 is a slice of f32: {error:?}"),
    }
}

/// The numbers in some data; copied only where their bytes are not aligned.
fn values(data: &TensorData) -> Cow<'_, [f32]> {
    data.as_slice::<f32>().map_or_else(|_| data.iter::<f32>().collect(), Cow::Borrowed)
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
fn exp(x: f32) -> f32 {
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

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tolerance, activation};

    use super::*;
    use crate::random::{Stream, normal, rng};

    fn inputs() -> Tensor<3> {
        // A spread from -60 to 60, and rows of 17 so that no vector width divides them.
        normal([5, 7, 17], &mut rng(1, Stream::Evaluation, 0), &Device::flex()) * 20.0
    }

    #[test]
    fn exp_is_accurate_over_its_range() {
        let mut worst = 0.0_f64;
        for i in -87_000..=88_000 {
            let x = i as f32 / 1000.0;
            worst = worst.max((f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs());
        }
        assert!(worst < 2e-7, "{worst:e}");
        assert!(exp(-1e30) < 2e-38 && exp(f32::NEG_INFINITY) >= 0.0 && exp(1e30).is_finite());
    }

    #[test]
    fn silu_and_softmax_agree_with_burn() {
        let x = inputs();
        silu(x.clone())
            .into_data()
            .assert_approx_eq::<f32>(&activation::silu(x.clone()).into_data(), Tolerance::rel_abs(1e-6, 1e-7));
        softmax(x.clone())
            .into_data()
            .assert_approx_eq::<f32>(&activation::softmax(x, 2).into_data(), Tolerance::rel_abs(1e-6, 1e-7));
    }

    #[test]
    fn views_that_are_not_contiguous_are_read_in_their_order() {
        let x = inputs().swap_dims(1, 2).slice([1..4, 2..11, 0..6]);
        softmax(x.clone())
            .into_data()
            .assert_approx_eq::<f32>(&activation::softmax(x.clone(), 2).into_data(), Tolerance::rel_abs(1e-6, 1e-7));
        silu(x.clone())
            .into_data()
            .assert_approx_eq::<f32>(&activation::silu(x).into_data(), Tolerance::rel_abs(1e-6, 1e-7));
    }

    #[test]
    fn gradients_agree_with_burn() {
        let weights = normal([5, 7, 17], &mut rng(2, Stream::Evaluation, 0), &Device::flex().autodiff());
        let gradient = |f: &dyn Fn(Tensor<3>) -> Tensor<3>| {
            let x = Tensor::from_inner(inputs() / 10.0).require_grad();
            let loss = (f(x.clone()) * weights.clone()).sum();
            x.grad(&loss.backward()).map(Tensor::into_data)
        };
        let pairs = [
            (gradient(&silu), gradient(&activation::silu)),
            (gradient(&softmax), gradient(&|x| activation::softmax(x, 2))),
        ];
        for (ours, burns) in pairs {
            assert!(ours.is_some() && burns.is_some());
            if let (Some(ours), Some(burns)) = (ours, burns) {
                ours.assert_approx_eq::<f32>(&burns, Tolerance::rel_abs(1e-5, 1e-6));
            }
        }
    }
}
