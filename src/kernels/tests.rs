use burn::tensor::{
    Device, FloatDType, Shape, TensorData, Tolerance, activation, module::conv2d,
    ops::ConvOptions, s,
};

use gemm::Parallelism;
use rayon::ThreadPoolBuilder;

use super::{
    composed::RMS_EPSILON,
    levels::GreyLoop,
    odds::Odds,
    product::{parallelism, product, tensor},
    vector::{CIRCLES, LEAST, exp, sigmoid, sine},
    *,
};
use crate::{
    random::{Stream, normal, rng},
    vdm::denoiser::pixel_posterior,
};

fn inputs() -> Tensor<3> {
    // A spread from -60 to 60, and rows of 17 so that no vector width divides them.
    normal([5, 7, 17], &mut rng(1, Stream::Evaluation, 0), &Device::flex()) * 20.0
}

#[test]
fn exp_is_accurate_down_to_where_it_is_zero() {
    let mut worst = 0.0_f64;
    for i in -38_816..=38_816 {
        let x = i as f32 / 1000.0;
        worst = worst.max((f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs());
    }
    assert!(worst < 2e-7, "{worst:e}");
    assert_eq!([-38.817, -87.0, -1e30, f32::NEG_INFINITY].map(exp), [0.0; 4]);
    assert!(exp(-38.816) >= LEAST && exp(1e30).is_finite() && exp(f32::NAN).is_nan());
    assert!(sigmoid(-38.8) > LEAST && sigmoid(f32::NAN).is_nan());
    assert_eq!([-38.9, -1e30, 1e30].map(sigmoid), [0.0, 0.0, 1.0]);
}

#[test]
fn silu_and_softmax_agree_with_burn() {
    let x = inputs();
    log_softmax(x.clone()).into_data().assert_approx_eq::<f32>(
        &activation::log_softmax(x.clone(), 2).into_data(),
        Tolerance::rel_abs(1e-6, 1e-6),
    );
    silu(x.clone()).into_data().assert_approx_eq::<f32>(
        &activation::silu(x.clone()).into_data(),
        Tolerance::rel_abs(1e-6, 1e-7),
    );
    softmax(x.clone()).into_data().assert_approx_eq::<f32>(
        &activation::softmax(x, 2).into_data(),
        Tolerance::rel_abs(1e-6, 1e-7),
    );
}

#[test]
fn views_that_are_not_contiguous_are_read_in_their_order() {
    let x = inputs().swap_dims(1, 2).slice([1..4, 2..11, 0..6]);
    softmax(x.clone()).into_data().assert_approx_eq::<f32>(
        &activation::softmax(x.clone(), 2).into_data(),
        Tolerance::rel_abs(1e-6, 1e-7),
    );
    silu(x.clone()).into_data().assert_approx_eq::<f32>(
        &activation::silu(x).into_data(),
        Tolerance::rel_abs(1e-6, 1e-7),
    );
}

/// The RMS norm in Burn's own operations.
fn composed_norm<const D: usize>(h: Tensor<D>) -> Tensor<D> {
    h.clone() / (h.square().mean_dim(1) + RMS_EPSILON).sqrt()
}

#[test]
fn rms_norm_agrees_with_burn() {
    let (h, tolerance) = (inputs(), || Tolerance::<f32>::rel_abs(1e-5, 1e-6));
    let expected = composed_norm(h.clone()).into_data();
    rms_norm(h.clone()).into_data().assert_approx_eq(&expected, tolerance());
    // Units, in the place of the channels of pixels, and pixels in lines.
    let rows = h.clone().reshape([35, 17]);
    let expected = composed_norm(rows.clone()).into_data();
    rms_norm(rows).into_data().assert_approx_eq(&expected, tolerance());
    let images = h.reshape([5, 7, 1, 17]);
    let expected = composed_norm(images.clone()).into_data();
    rms_norm(images).into_data().assert_approx_eq(&expected, tolerance());
    // A single row, and nothing.
    let row = Tensor::<1>::from_floats([3.0, -4.0], &Device::flex());
    let expected = row.clone() / 12.5_f64.sqrt();
    rms_norm(row).into_data().assert_approx_eq(&expected.into_data(), tolerance());
    assert_eq!(rms_norm(Tensor::<3>::empty([2, 0, 3], &Device::flex())).dims(), [2, 0, 3]);
    assert_eq!(
        rms_norm(Tensor::<2>::zeros([2, 3], &Device::flex()))
            .into_data()
            .iter::<f32>()
            .sum::<f32>(),
        0.0
    );
}

#[test]
fn silu_and_norm_in_one_loop_are_the_two_loops() {
    let h = inputs();
    assert_eq!(silu_norm(h.clone()).into_data(), rms_norm(silu(h.clone())).into_data());
    let rows = h.reshape([35, 17]);
    assert_eq!(silu_norm(rows.clone()).into_data(), rms_norm(silu(rows)).into_data());
    // A view of every second row, from the second on.
    let view = inputs().slice(s![1..5;2, .., ..]);
    assert_eq!(silu_norm(view.clone()).into_data(), rms_norm(silu(view)).into_data());
}

#[test]
fn sines_are_within_a_rounding_of_those_in_f64() {
    // From the least normal number to where the plain form begins.
    let (least, most) = (f32::MIN_POSITIVE.to_bits(), CIRCLES.to_bits());
    for x in (least..most).step_by(9_973).map(f32::from_bits) {
        for x in [x, -x] {
            let exact = f64::from(x);
            let exact = [exact.sin(), exact.cos(), -exact.sin(), -exact.cos()];
            for (quarters, exact) in exact.into_iter().enumerate() {
                let found = f64::from(sine(x, quarters as u64));
                // A unit in the last place is at most this part of the number.
                let off = (found - exact).abs() / (exact.abs() * f64::from(f32::EPSILON));
                assert!(off < 0.57, "{x:e} {quarters}: {found:e}, not {exact:e}");
            }
        }
    }
}

#[test]
fn sines_of_what_is_large_or_no_number_are_those_of_burn() {
    let numbers = [0.5, 3e5, -1e30, f32::INFINITY, f32::NAN];
    let x = Tensor::<1>::from_floats(numbers, &Device::flex());
    let bits =
        |x: Tensor<1>| x.into_data().iter::<f32>().map(f32::to_bits).collect::<Vec<_>>();
    assert_eq!(bits(sin(x.clone())), bits(x.clone().sin()));
    assert_eq!(bits(cos(x.clone())), bits(x.cos()));
}

#[test]
fn the_sum_of_squares_is_that_of_burn_but_for_the_smallest() {
    let read = |x: Tensor<1>| x.into_scalar::<f32>();
    let x = inputs();
    let (ours, burns) = (read(sum_of_squares(x.clone())), read(x.square().sum()));
    assert!((ours / burns - 1.0).abs() < 1e-5, "{ours} {burns}");
    // Neither in pieces of sixteen nor in one piece.
    let x = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::flex());
    assert_eq!(read(sum_of_squares(x.transpose())), 91.0);
    let tiny = Tensor::<1>::from_floats([1e-18, 1e-16], &Device::flex());
    assert_eq!(read(sum_of_squares(tiny)), 1e-16 * 1e-16);
}

/// f of the rows of the last dimension.
fn in_rows(x: Tensor<3>, f: fn(Tensor<2>) -> Tensor<2>) -> Tensor<3> {
    f(x.reshape([35, 17])).reshape([5, 7, 17])
}

#[test]
fn gradients_agree_with_burn() {
    let weights =
        normal([5, 7, 17], &mut rng(2, Stream::Evaluation, 0), &Device::flex().autodiff());
    let gradient = |f: &dyn Fn(Tensor<3>) -> Tensor<3>| {
        let x = Tensor::from_inner(inputs() / 10.0).require_grad();
        let loss = (f(x.clone()) * weights.clone()).sum();
        x.grad(&loss.backward()).map(Tensor::into_data)
    };
    let pairs = [
        (gradient(&silu), gradient(&activation::silu)),
        (gradient(&rms_norm), gradient(&composed_norm)),
        (gradient(&silu_norm), gradient(&|x| composed_norm(activation::silu(x)))),
        (gradient(&|x| in_rows(x, rms_norm)), gradient(&|x| in_rows(x, composed_norm))),
        (
            gradient(&|x| in_rows(x, silu_norm)),
            gradient(&|x| in_rows(x, |x| composed_norm(activation::silu(x)))),
        ),
        (gradient(&sin), gradient(&|x| x.sin())),
        (gradient(&cos), gradient(&|x| x.cos())),
        (gradient(&softmax), gradient(&|x| activation::softmax(x, 2))),
        (gradient(&log_softmax), gradient(&|x| activation::log_softmax(x, 2))),
    ];
    for (ours, burns) in pairs {
        assert!(ours.is_some() && burns.is_some());
        if let (Some(ours), Some(burns)) = (ours, burns) {
            ours.assert_approx_eq::<f32>(&burns, Tolerance::rel_abs(1e-5, 1e-6));
        }
    }
}

#[test]
fn moments_of_the_levels_and_their_gradients_are_those_of_the_plain_form() {
    type Moments = dyn Fn(GreyOdds) -> Tensor<2>;
    // f32 is the loop, f64 the composition that other backends run. Few pixels, and more
    // than are computed side by side; pixels that are seen in a haze, and almost exactly.
    for (dtype, d, k, scale) in [
        (FloatDType::F32, 6, 17, 1.0),
        (FloatDType::F32, 70, 37, 1.0),
        (FloatDType::F32, 6, 5, 300.0),
        (FloatDType::F64, 6, 17, 1.0),
    ] {
        let outputs_and_gradients = |moments: &Moments| {
            let (noise, device) =
                (&mut rng(5, Stream::Evaluation, 0), Device::flex().autodiff());
            let mut draw = |shape| normal::<2>(shape, noise, &device).cast(dtype);
            let [seen, base, curves] =
                [[4, d], [d, k], [2, k]].map(|shape| draw(shape).require_grad());
            let mix = draw([4, 2 * d]).reshape([4, d, 2]).detach().require_grad();
            let precision =
                (draw([1, 4]).exp() * scale).reshape([4]).detach().require_grad();
            let values = Tensor::arange(0..k as i64, &device).float().cast(dtype)
                * (2.0 / k as f64)
                - 1.0;
            let odds = GreyOdds {
                seen: seen.clone(),
                precision: precision.clone(),
                base: base.clone(),
                mix: mix.clone(),
                curves: curves.clone(),
                values,
            };
            let y = moments(odds);
            let gradients = (y.clone() * draw([4, 2 * d])).sum().backward();
            let of_precision = precision.grad(&gradients).map(Tensor::unsqueeze);
            let of_mix = mix.grad(&gradients).map(|mix| mix.reshape([4, 2 * d]));
            let gradients = [
                seen.grad(&gradients),
                base.grad(&gradients),
                curves.grad(&gradients),
                of_precision,
                of_mix,
            ];
            gradients
                .into_iter()
                .flatten()
                .chain([y.inner()])
                .map(Tensor::into_data)
                .collect::<Vec<_>>()
        };
        let (ours, burns) = (
            outputs_and_gradients(&level_moments),
            outputs_and_gradients(&pixel_posterior),
        );
        assert_eq!((ours.len(), burns.len()), (6, 6));
        for (ours, burns) in ours.iter().zip(&burns) {
            match dtype {
                FloatDType::F64 => {
                    ours.assert_approx_eq::<f64>(burns, Tolerance::rel_abs(1e-12, 1e-12))
                }
                _ => ours.assert_approx_eq::<f32>(burns, Tolerance::rel_abs(1e-4, 1e-5)),
            }
        }
    }
}

#[test]
fn linear_layers_and_their_gradients_agree_with_burn() {
    type Layer = dyn Fn(Tensor<2>, Tensor<2>, Tensor<1>) -> Tensor<2>;
    // Fewer rows than inputs, and more; the weights in one piece, and as a view of every
    // second of some others, across.
    for (rows, view) in [(3, false), (3, true), (19, false), (19, true)] {
        let outputs_and_gradients = |layer: &Layer| {
            let (noise, device) =
                (&mut rng(3, Stream::Evaluation, 0), Device::flex().autodiff());
            let x = normal([rows, 6], noise, &device).require_grad();
            let whole =
                normal(if view { [40, 6] } else { [6, 19] }, noise, &device).require_grad();
            let weight = if view {
                whole.clone().slice(s![1..38;2, ..]).transpose()
            } else {
                whole.clone()
            };
            let bias = normal::<2>([1, 19], noise, &device).reshape([19]).require_grad();
            let y = layer(x.clone(), weight, bias.clone());
            let gradients =
                (y.clone() * normal([rows, 19], noise, &device)).sum().backward();
            let bias = bias.grad(&gradients).map(Tensor::unsqueeze);
            let gradients = [x.grad(&gradients), whole.grad(&gradients), bias];
            gradients
                .into_iter()
                .flatten()
                .chain([y.inner()])
                .map(Tensor::into_data)
                .collect::<Vec<_>>()
        };
        let ours = outputs_and_gradients(&linear);
        let burns =
            outputs_and_gradients(&|x, weight, bias| x.matmul(weight) + bias.unsqueeze());
        assert_eq!((ours.len(), burns.len()), (4, 4));
        for (ours, burns) in ours.iter().zip(&burns) {
            ours.assert_approx_eq::<f32>(burns, Tolerance::rel_abs(1e-5, 1e-5));
        }
    }
}

/// A convolution of images [B, n, H, W] to m outputs, with a kernel of k pixels a side, and
/// the gradients of the images, the weights and the biases.
fn convolved(
    convolve: &dyn Fn(Tensor<4>, Tensor<4>, Tensor<1>) -> Tensor<4>,
    [b, n, height, width]: [usize; 4],
    [m, k]: [usize; 2],
) -> Vec<TensorData> {
    let (noise, device) = (&mut rng(4, Stream::Evaluation, 0), Device::flex().autodiff());
    let images = normal([b, n, height, width], noise, &device).require_grad();
    let weight = normal([m, n, k, k], noise, &device).require_grad();
    let bias = normal::<2>([1, m], noise, &device).reshape([m]).require_grad();
    let y = convolve(images.clone(), weight.clone(), bias.clone());
    let gradients = (y.clone() * normal([b, m, height, width], noise, &device)).sum();
    let gradients = gradients.backward();
    let bias = bias.grad(&gradients).map(|g| g.reshape([m, 1, 1, 1]));
    [images.grad(&gradients), weight.grad(&gradients), bias, Some(y.inner())]
        .map(|tensor| tensor.expect("a gradient").into_data())
        .into()
}

#[test]
fn convolutions_and_their_gradients_agree_with_burn() {
    // Kernels of one, three and five pixels, the last wider than the image is high; one
    // pixel; outputs for some blocks and a part of one; lines longer than a vector.
    for (images, [m, k]) in [
        ([2, 3, 2, 6], [4, 1]),
        ([2, 3, 2, 6], [4, 3]),
        ([2, 3, 2, 6], [4, 5]),
        ([1, 1, 1, 1], [1, 3]),
        ([3, 5, 7, 7], [19, 3]),
        ([2, 4, 9, 5], [8, 3]),
        ([2, 2, 13, 17], [9, 3]),
        ([1, 2, 28, 28], [16, 3]),
    ] {
        let ours = convolved(&convolution, images, [m, k]);
        let options = || ConvOptions::new([1, 1], [k / 2, k / 2], [1, 1], 1);
        let burns = convolved(
            &|images, weight, bias| conv2d(images, weight, Some(bias), options()),
            images,
            [m, k],
        );
        for (ours, burns) in ours.iter().zip(&burns) {
            ours.assert_approx_eq::<f32>(burns, Tolerance::rel_abs(1e-5, 1e-4));
        }
    }
}

#[test]
fn convolutions_on_several_threads_have_the_same_bits() {
    // Large enough to be shared out, with a last part that is smaller than the others.
    let on = |threads| {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("threads").install(|| convolved(&convolution, [5, 16, 28, 28], [20, 3]))
    };
    let alone = on(1);
    for threads in [2, 4, 8] {
        assert!(on(threads) == alone, "{threads}");
    }
}

#[test]
fn linear_layers_of_nothing_are_the_biases() {
    let device = Device::flex();
    let y = linear(
        Tensor::empty([2, 0], &device),
        Tensor::empty([0, 3], &device),
        Tensor::ones([3], &device),
    );
    assert_eq!(y.into_data().iter::<f32>().collect::<Vec<_>>(), [1.0; 6]);
}

#[test]
fn a_part_of_the_work_uses_its_share_of_the_threads() {
    // The smallest large product of the reference workload.
    let large = 64 * 256 * 256;
    for (threads, share) in [(1, None), (2, None), (3, None), (4, Some(2)), (16, Some(8))] {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let found = pool.install(|| [large, large / 4].map(parallelism));
        let [of_large, of_small] = found.map(|parallelism| match parallelism {
            Parallelism::Rayon(threads) => Some(threads),
            Parallelism::None => None,
        });
        assert_eq!((of_large, of_small), (share, None), "{threads} threads");
    }
}

#[test]
fn products_have_the_same_bits_on_any_number_of_threads() {
    let draw = |shape: [usize; 2], step| {
        normal(shape, &mut rng(9, Stream::Evaluation, step), &Device::flex())
    };
    // The layers of the reference workload for 64 images, and one with more inputs than
    // gemm takes at once.
    for (inputs, outputs) in [(337, 256), (256, 256), (256, 1088), (1088, 256)] {
        let outputs_and_gradients = |threads: usize| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("threads").install(|| {
                let [x, weight, bias] =
                    [([64, inputs], 0), ([inputs, outputs], 1), ([1, outputs], 2)].map(
                        |(shape, step)| {
                            Tensor::from_inner(draw(shape, step)).require_grad()
                        },
                    );
                let y = linear(x.clone(), weight.clone(), bias.clone().reshape([outputs]));
                let grads = (y.clone() * Tensor::from_inner(draw([64, outputs], 3)))
                    .sum()
                    .backward();
                let grads =
                    [&x, &weight, &bias].map(|t| t.grad(&grads).expect("a gradient"));
                let bits = |t: Tensor<2>| {
                    t.into_data().iter::<f32>().map(f32::to_bits).collect::<Vec<_>>()
                };
                grads.into_iter().chain([y.inner()]).flat_map(bits).collect::<Vec<_>>()
            })
        };
        let alone = outputs_and_gradients(1);
        for threads in [2, 4, 8] {
            assert!(
                outputs_and_gradients(threads) == alone,
                "{inputs} {outputs} {threads}"
            );
        }
    }
}

#[test]
fn other_numbers_than_f32_go_through_burns_own_operations() {
    let device = Device::flex();
    let draw = |shape: [usize; 4]| {
        normal(shape, &mut rng(6, Stream::Evaluation, 0), &device).cast(FloatDType::F64)
    };
    let tolerance = || Tolerance::<f64>::rel_abs(1e-12, 1e-12);
    let x = draw([2, 3, 4, 5]);
    silu(x.clone())
        .into_data()
        .assert_approx_eq::<f64>(&activation::silu(x.clone()).into_data(), tolerance());
    let (weight, bias) = (draw([4, 3, 3, 3]), draw([1, 1, 1, 4]).reshape([4]));
    let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
    let burns = conv2d(x.clone(), weight.clone(), Some(bias.clone()), options);
    convolution(x, weight, bias)
        .into_data()
        .assert_approx_eq::<f64>(&burns.into_data(), tolerance());
}

#[test]
fn gradients_of_other_numbers_than_f32_agree_with_burn() {
    let device = Device::flex().autodiff();
    let draw = |step| {
        normal::<3>([5, 7, 17], &mut rng(8, Stream::Evaluation, step), &device)
            .cast(FloatDType::F64)
    };
    let outputs_and_gradients = |f: &dyn Fn(Tensor<3>) -> Tensor<3>| {
        let x = (draw(0) * 3.0).detach().require_grad();
        let y = f(x.clone());
        let gradient = x.grad(&(y.clone() * draw(1)).sum().backward());
        [Some(y.inner()), gradient].map(|tensor| tensor.expect("a gradient").into_data())
    };
    type Function = dyn Fn(Tensor<3>) -> Tensor<3>;
    let pairs: [(&Function, &Function); 7] = [
        (&silu, &activation::silu),
        (&rms_norm, &composed_norm),
        (&silu_norm, &|x| composed_norm(activation::silu(x))),
        (&sin, &|x| x.sin()),
        (&cos, &|x| x.cos()),
        (&softmax, &|x| activation::softmax(x, 2)),
        (&log_softmax, &|x| activation::log_softmax(x, 2)),
    ];
    for (ours, burns) in pairs {
        for (ours, burns) in
            outputs_and_gradients(ours).iter().zip(outputs_and_gradients(burns))
        {
            ours.assert_approx_eq::<f64>(&burns, Tolerance::rel_abs(1e-10, 1e-12));
        }
    }
}

#[test]
fn loops_take_what_fits_together_and_nothing_else() {
    let filled = |shape: &[usize]| {
        tensor(vec![0.5; shape.iter().product()], Shape::from(shape.to_vec()))
    };
    let odds = || Odds {
        seen: filled(&[2, 3]),
        precision: filled(&[2]),
        base: filled(&[3, 5]),
        mix: filled(&[2, 3, 4]),
        curves: filled(&[4, 5]),
        values: filled(&[5]),
    };
    assert!(GreyLoop::of(&odds()).is_some());
    for wrong in [
        Odds { seen: filled(&[3, 2]), ..odds() },
        Odds { precision: filled(&[1]), ..odds() },
        Odds { base: filled(&[1, 5]), ..odds() },
        Odds { mix: filled(&[2, 3, 1]), ..odds() },
        Odds { curves: filled(&[4, 1]), ..odds() },
        Odds { values: filled(&[1]), ..odds() },
    ] {
        assert!(GreyLoop::of(&wrong).is_none(), "{wrong:?}");
    }
    let [a, b, across] = [[2, 3], [3, 4], [4, 3]].map(|shape| filled(&shape));
    assert!(product(&a, &b, None).is_some() && product(&a, &b, Some(&[0.0; 4])).is_some());
    assert!(product(&a, &across, None).is_none());
    assert!(product(&a, &b, Some(&[0.0; 3])).is_none());
}
