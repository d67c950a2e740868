//! Functions that Burn's CPU backend computes with one scalar `expf` call per number, or in many passes, as vector loops.
//!
//! They took a third of a training step (appendix "Where the time goes"). Each is an operation of its own behind Burn's
//! backend extension: on the CPU (Flex) a loop that `pulp` compiles for the vector unit at hand, on every other backend the
//! plain composition of Burn's operations, which is also what the tests compare with.

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
    tensor::{DType, Shape, Tensor, ops::ConvOptions},
};
use pulp::Arch;
use rayon::prelude::*;

use self::{convolution::Sizes, product::product};

mod convolution;
mod product;

/// What is added to the mean square of a row, so that a row of zeros stays one.
const RMS_EPSILON: f64 = 1e-5;

/// x W + b: [B, m] from x, [B, n], the weights, [n, m], and the biases, [m].
pub fn affine(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::fast_linear(x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch()))
}

/// The convolution of images, [B, inputs, H, W], padded with zeros to keep their size, with weights, [outputs, inputs, k, k]
/// for an odd k, and biases, [outputs]: [B, outputs, H, W].
pub fn convolution(images: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
    let [images, weight] = [images, weight].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::fast_convolution(images, weight, bias.into_dispatch()))
}

/// h / sqrt(mean(h^2) + 1e-5), with the mean over the last dimension. Zhang and Sennrich (2019), without the learned gain. The
/// shape of the result is that of `h`.
pub fn rms_norm<const D: usize>(h: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::fast_rms_norm(h.into_dispatch()))
}

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
    /// x W + b; see [`affine`].
    #[fusion(default)]
    fn fast_linear(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        composed_linear::<Self>(x, weight, bias)
    }

    /// a b for two matrices.
    #[fusion(default)]
    fn fast_product(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        composed_product::<Self>(a, b)
    }

    /// A convolution that keeps the size of the images; see [`convolution`].
    #[fusion(default)]
    fn fast_convolution(
        images: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed_convolution::<Self>(images, weight, bias)
    }

    /// The gradient of the images from images, weights and the gradient of the convolution.
    #[fusion(default)]
    fn fast_convolution_images(
        images: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed_convolution_images::<Self>(images, weight, grad)
    }

    /// The gradient of the weights from images, weights and the gradient of the convolution.
    #[fusion(default)]
    fn fast_convolution_weights(
        images: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed_convolution_weights::<Self>(images, weight, grad)
    }

    /// h / sqrt(mean(h^2) + 1e-5) over the last dimension.
    #[fusion(default)]
    fn fast_rms_norm(h: FloatTensor<Self>) -> FloatTensor<Self> {
        composed_rms_norm::<Self>(h)
    }

    /// The gradient of h from h and the gradient of rms_norm(h).
    #[fusion(default)]
    fn fast_rms_norm_backward(h: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        composed_rms_norm_backward::<Self>(h, grad)
    }

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

fn composed_linear<B: Backend>(x: FloatTensor<B>, weight: FloatTensor<B>, bias: FloatTensor<B>) -> FloatTensor<B> {
    B::linear(x, weight, Some(bias))
}

fn composed_product<B: Backend>(a: FloatTensor<B>, b: FloatTensor<B>) -> FloatTensor<B> {
    B::float_matmul(a, b)
}

fn convolution_options<B: Backend>(weight: &FloatTensor<B>) -> ConvOptions<2> {
    let padding = weight.shape()[2] / 2;
    ConvOptions::new([1, 1], [padding, padding], [1, 1], 1)
}

fn composed_convolution<B: Backend>(
    images: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
) -> FloatTensor<B> {
    let options = convolution_options::<B>(&weight);
    B::conv2d(images, weight, Some(bias), options)
}

fn composed_convolution_images<B: Backend>(
    images: FloatTensor<B>,
    weight: FloatTensor<B>,
    grad: FloatTensor<B>,
) -> FloatTensor<B> {
    let options = convolution_options::<B>(&weight);
    B::conv2d_x_backward(images, weight, grad, options)
}

fn composed_convolution_weights<B: Backend>(
    images: FloatTensor<B>,
    weight: FloatTensor<B>,
    grad: FloatTensor<B>,
) -> FloatTensor<B> {
    let options = convolution_options::<B>(&weight);
    B::conv2d_weight_backward(images, weight, grad, options)
}

/// 1 / sqrt(mean(h^2) + 1e-5), one for each row.
fn composed_inverse_norm<B: Backend>(h: FloatTensor<B>) -> FloatTensor<B> {
    let last = h.shape().num_dims() - 1;
    let mean = B::float_mean_dim(B::float_mul(h.clone(), h), last);
    B::float_recip(B::float_sqrt(B::float_add_scalar(mean, RMS_EPSILON.into())))
}

fn composed_rms_norm<B: Backend>(h: FloatTensor<B>) -> FloatTensor<B> {
    let scale = composed_inverse_norm::<B>(h.clone());
    B::float_mul(h, scale)
}

/// With s = 1 / sqrt(mean(h^2) + 1e-5), d loss / d h = s (g - h s^2 mean(g h)).
fn composed_rms_norm_backward<B: Backend>(h: FloatTensor<B>, grad: FloatTensor<B>) -> FloatTensor<B> {
    let last = h.shape().num_dims() - 1;
    let scale = composed_inverse_norm::<B>(h.clone());
    let mean = B::float_mean_dim(B::float_mul(grad.clone(), h.clone()), last);
    let along = B::float_mul(B::float_mul(scale.clone(), scale.clone()), mean);
    B::float_mul(scale, B::float_sub(grad, B::float_mul(h, along)))
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
    fn fast_linear(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Affine;

        impl<B: Kernels> Backward<B, 3> for Affine {
            type State = (FloatTensor<B>, FloatTensor<B>);

            fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
                let ((x, weight), [of_x, of_weight, of_bias]) = (ops.state, ops.parents);
                let grad = grads.consume::<B>(&ops.node);
                if let Some(node) = of_x {
                    grads.register::<B>(node.id, B::fast_product(grad.clone(), B::float_transpose(weight)));
                }
                if let Some(node) = of_weight {
                    grads.register::<B>(node.id, B::fast_product(B::float_transpose(x), grad.clone()));
                }
                if let Some(node) = of_bias {
                    let outputs = grad.shape()[1];
                    grads.register::<B>(node.id, B::float_reshape(B::float_sum_dim(grad, 0), Shape::new([outputs])));
                }
            }
        }

        let ((x, of_x), (weight, of_weight), (bias, of_bias)) =
            (x.into_parts(), weight.into_parts(), bias.into_parts());
        match Affine.prepare::<C>([of_x, of_weight, of_bias]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x.clone(), weight.clone()), B::fast_linear(x, weight, bias)),
            OpsKind::UnTracked(prep) => prep.finish(B::fast_linear(x, weight, bias)),
        }
    }

    fn fast_convolution(
        images: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Convolution;

        impl<B: Kernels> Backward<B, 3> for Convolution {
            type State = (FloatTensor<B>, FloatTensor<B>);

            fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
                let ((images, weight), [of_images, of_weight, of_bias]) = (ops.state, ops.parents);
                let grad = grads.consume::<B>(&ops.node);
                if let Some(node) = of_images {
                    let grad = B::fast_convolution_images(images.clone(), weight.clone(), grad.clone());
                    grads.register::<B>(node.id, grad);
                }
                if let Some(node) = of_weight {
                    grads.register::<B>(node.id, B::fast_convolution_weights(images, weight, grad.clone()));
                }
                if let Some(node) = of_bias {
                    let outputs = grad.shape()[1];
                    let sum = [0, 2, 3].into_iter().fold(grad, B::float_sum_dim);
                    grads.register::<B>(node.id, B::float_reshape(sum, Shape::new([outputs])));
                }
            }
        }

        let ((images, of_images), (weight, of_weight), (bias, of_bias)) =
            (images.into_parts(), weight.into_parts(), bias.into_parts());
        match Convolution.prepare::<C>([of_images, of_weight, of_bias]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                prep.finish((images.clone(), weight.clone()), B::fast_convolution(images, weight, bias))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::fast_convolution(images, weight, bias)),
        }
    }

    fn fast_rms_norm(h: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct RmsNorm;

        impl<B: Kernels> Backward<B, 1> for RmsNorm {
            type State = FloatTensor<B>;

            fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let h = ops.state;
                unary::<B, _>(ops.parents, ops.node, grads, |grad| B::fast_rms_norm_backward(h, grad));
            }
        }

        let (h, node) = h.into_parts();
        match RmsNorm.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(h.clone(), B::fast_rms_norm(h)),
            OpsKind::UnTracked(prep) => prep.finish(B::fast_rms_norm(h)),
        }
    }

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
    fn fast_linear(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        let row = contiguous(bias.clone());
        let product = (row.dtype() == DType::F32).then(|| product(&x, &weight, Some(row.storage()))).flatten();
        product.unwrap_or_else(|| composed_linear::<Self>(x, weight, bias))
    }

    fn fast_product(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        product(&a, &b, None).unwrap_or_else(|| composed_product::<Self>(a, b))
    }

    fn fast_convolution(images: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        let Some(sizes) = sizes([&images, &weight, &bias]) else {
            return composed_convolution::<Self>(images, weight, bias);
        };
        let [images, weight, bias] = [images, weight, bias].map(contiguous);
        sizes.forward(images.storage(), weight.storage(), bias.storage())
    }

    fn fast_convolution_images(images: FlexTensor, weight: FlexTensor, grad: FlexTensor) -> FlexTensor {
        let Some(sizes) = sizes([&images, &weight, &grad]) else {
            return composed_convolution_images::<Self>(images, weight, grad);
        };
        let [weight, grad] = [weight, grad].map(contiguous);
        sizes.backward_images(grad.storage(), weight.storage())
    }

    fn fast_convolution_weights(images: FlexTensor, weight: FlexTensor, grad: FlexTensor) -> FlexTensor {
        let Some(sizes) = sizes([&images, &weight, &grad]) else {
            return composed_convolution_weights::<Self>(images, weight, grad);
        };
        let [images, grad] = [images, grad].map(contiguous);
        sizes.backward_weights(images.storage(), grad.storage())
    }

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
            return composed_rms_norm::<Self>(h);
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
            return composed_rms_norm_backward::<Self>(h, grad);
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
        let output = contiguous(output);
        let output = output.storage::<f32>();
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
    use burn::tensor::{Device, Tolerance, activation, module::conv2d, s};

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

    /// The RMS norm in Burn's own operations.
    fn composed_norm(h: Tensor<3>) -> Tensor<3> {
        h.clone() / (h.square().mean_dim(2) + RMS_EPSILON).sqrt()
    }

    #[test]
    fn rms_norm_agrees_with_burn() {
        let h = inputs();
        rms_norm(h.clone())
            .into_data()
            .assert_approx_eq::<f32>(&composed_norm(h).into_data(), Tolerance::rel_abs(1e-5, 1e-6));
        assert_eq!(rms_norm(Tensor::<2>::zeros([2, 3], &Device::flex())).into_data().iter::<f32>().sum::<f32>(), 0.0);
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
            (gradient(&rms_norm), gradient(&composed_norm)),
            (gradient(&softmax), gradient(&|x| activation::softmax(x, 2))),
        ];
        for (ours, burns) in pairs {
            assert!(ours.is_some() && burns.is_some());
            if let (Some(ours), Some(burns)) = (ours, burns) {
                ours.assert_approx_eq::<f32>(&burns, Tolerance::rel_abs(1e-5, 1e-6));
            }
        }
    }

    #[test]
    fn affine_maps_and_their_gradients_agree_with_burn() {
        type Affine = dyn Fn(Tensor<2>, Tensor<2>, Tensor<1>) -> Tensor<2>;
        // Fewer rows than inputs, and more; the weights in one piece, and as a view of every second of some others, across.
        for (rows, view) in [(3, false), (3, true), (19, false), (19, true)] {
            let outputs_and_gradients = |affine: &Affine| {
                let (noise, device) = (&mut rng(3, Stream::Evaluation, 0), Device::flex().autodiff());
                let x = normal([rows, 6], noise, &device).require_grad();
                let whole = normal(if view { [40, 6] } else { [6, 19] }, noise, &device).require_grad();
                let weight = if view { whole.clone().slice(s![1..38;2, ..]).transpose() } else { whole.clone() };
                let bias = normal::<2>([1, 19], noise, &device).reshape([19]).require_grad();
                let y = affine(x.clone(), weight, bias.clone());
                let gradients = (y.clone() * normal([rows, 19], noise, &device)).sum().backward();
                let bias = bias.grad(&gradients).map(Tensor::unsqueeze);
                let gradients = [x.grad(&gradients), whole.grad(&gradients), bias];
                gradients.into_iter().flatten().chain([y.inner()]).map(Tensor::into_data).collect::<Vec<_>>()
            };
            let ours = outputs_and_gradients(&affine);
            let burns = outputs_and_gradients(&|x, weight, bias| x.matmul(weight) + bias.unsqueeze());
            assert_eq!((ours.len(), burns.len()), (4, 4));
            for (ours, burns) in ours.iter().zip(&burns) {
                ours.assert_approx_eq::<f32>(burns, Tolerance::rel_abs(1e-5, 1e-5));
            }
        }
    }

    #[test]
    fn convolutions_and_their_gradients_agree_with_burn() {
        type Convolve<'a> = dyn Fn(Tensor<4>, Tensor<4>, Tensor<1>) -> Tensor<4> + 'a;
        // Kernels of one, three and five pixels, the last wider than the image is high.
        for k in [1, 3, 5] {
            let outputs_and_gradients = |convolve: &Convolve| {
                let (noise, device) = (&mut rng(4, Stream::Evaluation, 0), Device::flex().autodiff());
                let images = normal([2, 3, 2, 6], noise, &device).require_grad();
                let weight = normal([4, 3, k, k], noise, &device).require_grad();
                let bias = normal::<2>([1, 4], noise, &device).reshape([4]).require_grad();
                let y = convolve(images.clone(), weight.clone(), bias.clone());
                let loss = (y.clone() * normal([2, 4, 2, 6], noise, &device)).sum();
                let gradients = loss.backward();
                let gradients = [
                    images.grad(&gradients),
                    weight.grad(&gradients),
                    bias.grad(&gradients).map(|g| g.reshape([4, 1, 1, 1])),
                ];
                gradients.into_iter().flatten().chain([y.inner()]).map(Tensor::into_data).collect::<Vec<_>>()
            };
            let ours = outputs_and_gradients(&convolution);
            let options = || ConvOptions::new([1, 1], [k / 2, k / 2], [1, 1], 1);
            let burns = outputs_and_gradients(&|images, weight, bias| conv2d(images, weight, Some(bias), options()));
            assert_eq!((ours.len(), burns.len()), (4, 4));
            for (ours, burns) in ours.iter().zip(&burns) {
                ours.assert_approx_eq::<f32>(burns, Tolerance::rel_abs(1e-5, 1e-5));
            }
        }
    }

    #[test]
    fn affine_maps_of_nothing_are_the_biases() {
        let device = Device::flex();
        let y = affine(Tensor::empty([2, 0], &device), Tensor::empty([0, 3], &device), Tensor::ones([3], &device));
        assert_eq!(y.into_data().iter::<f32>().collect::<Vec<_>>(), [1.0; 6]);
    }
}
