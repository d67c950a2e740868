//! The gradients of the kernels, for Burn's tape.

use burn::{
    backend::{
        Autodiff, TensorMetadata,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind, unary},
        },
        tensor::FloatTensor,
    },
    tensor::Shape,
};

use super::{extension::Kernels, odds::Odds};

impl<B: Kernels, C: CheckpointStrategy> Kernels for Autodiff<B, C> {
    fn fast_linear(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct LinearLayer;

        impl<B: Kernels> Backward<B, 3> for LinearLayer {
            type State = (FloatTensor<B>, FloatTensor<B>);

            fn backward(
                self,
                ops: Ops<Self::State, 3>,
                grads: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let ((x, weight), [of_x, of_weight, of_bias]) = (ops.state, ops.parents);
                let grad = grads.consume::<B>(&ops.node);
                if let Some(node) = of_x {
                    grads.register::<B>(
                        node.id,
                        B::fast_product(grad.clone(), B::float_transpose(weight)),
                    );
                }
                if let Some(node) = of_weight {
                    grads.register::<B>(
                        node.id,
                        B::fast_product(B::float_transpose(x), grad.clone()),
                    );
                }
                if let Some(node) = of_bias {
                    let outputs = grad.shape()[1];
                    grads.register::<B>(
                        node.id,
                        B::float_reshape(B::float_sum_dim(grad, 0), Shape::new([outputs])),
                    );
                }
            }
        }

        let ((x, of_x), (weight, of_weight), (bias, of_bias)) =
            (x.into_parts(), weight.into_parts(), bias.into_parts());
        match LinearLayer
            .prepare::<C>([of_x, of_weight, of_bias])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => {
                prep.finish((x.clone(), weight.clone()), B::fast_linear(x, weight, bias))
            }
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

            fn backward(
                self,
                ops: Ops<Self::State, 3>,
                grads: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let ((images, weight), [of_images, of_weight, of_bias]) =
                    (ops.state, ops.parents);
                let grad = grads.consume::<B>(&ops.node);
                if let Some(node) = of_images {
                    let grad = B::fast_convolution_images(
                        images.clone(),
                        weight.clone(),
                        grad.clone(),
                    );
                    grads.register::<B>(node.id, grad);
                }
                if let Some(node) = of_weight {
                    grads.register::<B>(
                        node.id,
                        B::fast_convolution_weights(images, weight, grad.clone()),
                    );
                }
                if let Some(node) = of_bias {
                    let outputs = grad.shape()[1];
                    let sum = [0, 2, 3].into_iter().fold(grad, B::float_sum_dim);
                    grads.register::<B>(
                        node.id,
                        B::float_reshape(sum, Shape::new([outputs])),
                    );
                }
            }
        }

        let ((images, of_images), (weight, of_weight), (bias, of_bias)) =
            (images.into_parts(), weight.into_parts(), bias.into_parts());
        match Convolution
            .prepare::<C>([of_images, of_weight, of_bias])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish(
                (images.clone(), weight.clone()),
                B::fast_convolution(images, weight, bias),
            ),
            OpsKind::UnTracked(prep) => {
                prep.finish(B::fast_convolution(images, weight, bias))
            }
        }
    }

    fn fast_rms_norm(h: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct RmsNorm;

        impl<B: Kernels> Backward<B, 1> for RmsNorm {
            type State = FloatTensor<B>;

            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                grads: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let h = ops.state;
                unary::<B, _>(ops.parents, ops.node, grads, |grad| {
                    B::fast_rms_norm_backward(h, grad)
                });
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

            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                grads: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let x = ops.state;
                unary::<B, _>(ops.parents, ops.node, grads, |grad| {
                    B::fast_silu_backward(x, grad)
                });
            }
        }

        let (x, node) = x.into_parts();
        match Silu.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(x.clone(), B::fast_silu(x)),
            OpsKind::UnTracked(prep) => prep.finish(B::fast_silu(x)),
        }
    }

    fn fast_silu_norm(x: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct SiluNorm;

        impl<B: Kernels> Backward<B, 1> for SiluNorm {
            type State = FloatTensor<B>;

            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                grads: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let x = ops.state;
                unary::<B, _>(ops.parents, ops.node, grads, |grad| {
                    B::fast_silu_norm_backward(x, grad)
                });
            }
        }

        let (x, node) = x.into_parts();
        match SiluNorm.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(x.clone(), B::fast_silu_norm(x)),
            OpsKind::UnTracked(prep) => prep.finish(B::fast_silu_norm(x)),
        }
    }

    fn fast_sine(x: FloatTensor<Self>, quarters: u64) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Sine;

        impl<B: Kernels> Backward<B, 1> for Sine {
            type State = (FloatTensor<B>, u64);

            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                grads: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let (x, quarters) = ops.state;
                unary::<B, _>(ops.parents, ops.node, grads, |grad| {
                    B::float_mul(grad, B::fast_sine(x, quarters + 1))
                });
            }
        }

        let (x, node) = x.into_parts();
        match Sine.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                prep.finish((x.clone(), quarters), B::fast_sine(x, quarters))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::fast_sine(x, quarters)),
        }
    }

    fn fast_softmax(logits: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Softmax;

        impl<B: Kernels> Backward<B, 1> for Softmax {
            type State = FloatTensor<B>;

            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                grads: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let output = ops.state;
                unary::<B, _>(ops.parents, ops.node, grads, |grad| {
                    B::fast_softmax_backward(output, grad)
                });
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

    fn fast_log_softmax(logits: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct LogSoftmax;

        impl<B: Kernels> Backward<B, 1> for LogSoftmax {
            type State = FloatTensor<B>;

            fn backward(
                self,
                ops: Ops<Self::State, 1>,
                grads: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let output = ops.state;
                unary::<B, _>(ops.parents, ops.node, grads, |grad| {
                    B::fast_log_softmax_backward(output, grad)
                });
            }
        }

        let (logits, node) = logits.into_parts();
        match LogSoftmax.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let output = B::fast_log_softmax(logits);
                prep.finish(output.clone(), output)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::fast_log_softmax(logits)),
        }
    }

    fn fast_level_moments(
        seen: FloatTensor<Self>,
        precision: FloatTensor<Self>,
        base: FloatTensor<Self>,
        mix: FloatTensor<Self>,
        curves: FloatTensor<Self>,
        values: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct LevelMoments;

        impl<B: Kernels> Backward<B, 5> for LevelMoments {
            type State = Odds<FloatTensor<B>>;

            fn backward(
                self,
                ops: Ops<Self::State, 5>,
                grads: &mut Gradients,
                _: &mut Checkpointer,
            ) {
                let Odds { seen, precision, base, mix, curves, values } = ops.state;
                let grad = grads.consume::<B>(&ops.node);
                let (seen, precision, base, mix, curves) = B::fast_level_moments_backward(
                    seen, precision, base, mix, curves, values, grad,
                );
                for (node, grad) in
                    ops.parents.into_iter().zip([seen, precision, base, mix, curves])
                {
                    if let Some(node) = node {
                        grads.register::<B>(node.id, grad);
                    }
                }
            }
        }

        let (values, _) = values.into_parts();
        let ((seen, of_seen), (precision, of_precision)) =
            (seen.into_parts(), precision.into_parts());
        let ((base, of_base), (mix, of_mix), (curves, of_curves)) =
            (base.into_parts(), mix.into_parts(), curves.into_parts());
        let nodes = [of_seen, of_precision, of_base, of_mix, of_curves];
        let moments = B::fast_level_moments(
            seen.clone(),
            precision.clone(),
            base.clone(),
            mix.clone(),
            curves.clone(),
            values.clone(),
        );
        match LevelMoments.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                prep.finish(Odds { seen, precision, base, mix, curves, values }, moments)
            }
            OpsKind::UnTracked(prep) => prep.finish(moments),
        }
    }
}
