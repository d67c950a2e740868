//! Convolutions for Burn's CPU backend.
//!
//! The backend's own rearrange the image before the product, and as its gradient with
//! respect to the weights is a convolution with a kernel of the size of an image, that one
//! costs more still (appendix "Where the time goes"). With a kernel of one pixel a
//! convolution is a product of matrices. With one of three pixels a side, the loops below
//! read a copy of the image with zeros around it, and nothing is rearranged.

use std::array;

use burn::{backend::flex::FlexTensor, tensor::Shape};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::product::{Matrix, add_product, tensor, threads};

/// The side of the kernels that the loops are for.
const SIDE: usize = 3;
/// Weights from one input to one output.
const AREA: usize = SIDE * SIDE;
/// The most outputs that are computed side by side.
const OUTPUTS: usize = 8;

/// The sizes of a convolution with a square kernel of one or three pixels a side, of images
/// padded with zeros to keep their size.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    images: usize,
    inputs: usize,
    outputs: usize,
    height: usize,
    width: usize,
    kernel: usize,
}

impl Sizes {
    /// For images [B, inputs, H, W] and weights [outputs, inputs, k, k]. `None` if they do
    /// not fit together, or if k is neither 1 nor 3.
    pub(super) fn of(images: &Shape, weights: &Shape) -> Option<Self> {
        let (&[images, inputs, height, width], &[outputs, depth, kernel, across]) =
            (images.as_slice(), weights.as_slice())
        else {
            return None;
        };
        let fits = depth == inputs
            && kernel == across
            && [1, SIDE].contains(&kernel)
            && images * inputs * outputs * height * width > 0;
        fits.then_some(Self { images, inputs, outputs, height, width, kernel })
    }

    /// Pixels of an image.
    fn pixels(self) -> usize {
        self.height * self.width
    }

    /// How many of `all` parts of the work a thread takes at a time, in steps of `least`.
    fn at_once(self, all: usize, least: usize) -> usize {
        let window = self.inputs * self.kernel * self.kernel;
        let work = self.images * self.outputs * self.pixels() * window;
        all.div_ceil(threads(work)).next_multiple_of(least)
    }

    /// The convolution, [B, outputs, H, W], from images, [B, inputs, H, W], and weights,
    /// [outputs, inputs, k, k]; `bias` holds one number for each output or nothing.
    pub(super) fn forward(
        self,
        images: &[f32],
        weights: &[f32],
        bias: &[f32],
    ) -> FlexTensor {
        let (inputs, outputs) = (self.inputs * self.pixels(), self.outputs * self.pixels());
        let mut out = vec![0.0; self.images * outputs];
        for (channel, bias) in out.chunks_exact_mut(self.pixels()).zip(bias.iter().cycle())
        {
            channel.fill(*bias);
        }
        if self.kernel == 1 {
            let weights = Matrix::rows(weights, self.inputs);
            for (out, image) in out.chunks_exact_mut(outputs).zip(images.chunks(inputs)) {
                add_product(out, weights, Matrix::rows(image, self.pixels()));
            }
        } else {
            let at_once = self.at_once(self.images, 1);
            out.par_chunks_mut(outputs * at_once)
                .zip(images.par_chunks(inputs * at_once))
                .for_each(|(out, images)| {
                    Arch::new().dispatch(Forward { sizes: self, images, weights, out });
                });
        }
        tensor(out, Shape::new([self.images, self.outputs, self.height, self.width]))
    }

    /// The gradient of the images from that of the result: a convolution with the weights
    /// turned by half a turn, from the outputs to the inputs.
    pub(super) fn backward_images(self, grad: &[f32], weights: &[f32]) -> FlexTensor {
        let area = self.kernel * self.kernel;
        let mut turned = vec![0.0; weights.len()];
        for (i, kernel) in weights.chunks_exact(area).enumerate() {
            let (output, input) = (i / self.inputs, i % self.inputs);
            let turned = &mut turned[(input * self.outputs + output) * area..][..area];
            turned
                .iter_mut()
                .zip(kernel.iter().rev())
                .for_each(|(turned, weight)| *turned = *weight);
        }
        Self { inputs: self.outputs, outputs: self.inputs, ..self }.forward(
            grad,
            &turned,
            &[],
        )
    }

    /// The gradient of the weights, [outputs, inputs, k, k], from the images and the
    /// gradient of the result.
    pub(super) fn backward_weights(self, images: &[f32], grad: &[f32]) -> FlexTensor {
        let (inputs, outputs) = (self.inputs * self.pixels(), self.outputs * self.pixels());
        let window = self.inputs * self.kernel * self.kernel;
        let mut sum = vec![0.0; self.outputs * window];
        if self.kernel == 1 {
            for (image, grad) in images.chunks(inputs).zip(grad.chunks_exact(outputs)) {
                let image = Matrix::rows(image, self.pixels()).transposed();
                add_product(&mut sum, Matrix::rows(grad, self.pixels()), image);
            }
        } else {
            let at_once = self.at_once(self.outputs, OUTPUTS);
            sum.par_chunks_mut(window * at_once).enumerate().for_each(|(part, sum)| {
                let first = part * at_once;
                Arch::new().dispatch(Weights { sizes: self, images, grad, first, sum });
            });
        }
        let shape = [self.outputs, self.inputs, self.kernel, self.kernel];
        tensor(sum, Shape::new(shape))
    }
}

/// Where the pixels lie while the loops read them: a zero stands before each line, and so
/// behind the one above it, and a line of zeros above and below the image. So what a pixel
/// at `p` sees through weight (y, x) of the kernel lies `y * line + x` from `p` on, for as
/// many pixels side by side as a vector holds. What is computed at the place of a zero is
/// dropped.
#[derive(Clone, Copy)]
struct Lines {
    height: usize,
    width: usize,
    /// From one line to the next.
    line: usize,
    /// Vectors for all lines.
    vectors: usize,
    /// Numbers in a vector.
    lanes: usize,
}

impl Lines {
    fn of(sizes: Sizes, lanes: usize) -> Self {
        let Sizes { height, width, .. } = sizes;
        let line = width + 1;
        Self { height, width, line, vectors: (height * line).div_ceil(lanes), lanes }
    }

    /// Numbers of a channel of a result.
    fn strip(self) -> usize {
        self.vectors * self.lanes
    }

    /// Numbers of a channel of an image with its zeros.
    fn plane(self) -> usize {
        self.strip() + (SIDE - 1) * (self.line + 1)
    }

    /// Sets the pixels of channels that are `size` numbers apart, from the number `start` of
    /// each on.
    fn set(self, channels: &[f32], size: usize, start: usize, padded: &mut [f32]) {
        let pixels = channels.chunks_exact(self.height * self.width);
        for (channel, padded) in pixels.zip(padded.chunks_exact_mut(size)) {
            let lines = padded[start..].chunks_mut(self.line);
            for (pixels, line) in channel.chunks_exact(self.width).zip(lines) {
                line[..self.width].copy_from_slice(pixels);
            }
        }
    }

    /// Channels of an image with their zeros.
    fn pad(self, image: &[f32], padded: &mut [f32]) {
        self.set(image, self.plane(), self.line + 1, padded);
    }
}

/// Whether there are registers for eight outputs side by side: three sums for each, three
/// vectors of what is seen and a weight take 28 of 32. With four outputs they take all 16.
const fn many<S: Simd>() -> bool {
    S::REGISTER_COUNT >= 32
}

/// V vectors from the first numbers on.
#[inline(always)]
fn load<S: Simd, const V: usize>(numbers: &[f32]) -> [S::f32s; V] {
    let vectors = S::as_simd_f32s(&numbers[..V * S::F32_LANES]).0;
    array::from_fn(|v| vectors[v])
}

/// Adds the convolution of several images to `out`.
struct Forward<'a> {
    sizes: Sizes,
    images: &'a [f32],
    weights: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if many::<S>() { self.run::<S, OUTPUTS>(simd) } else { self.run::<S, 4>(simd) }
    }
}

impl Forward<'_> {
    /// With C outputs side by side.
    #[inline(always)]
    fn run<S: Simd, const C: usize>(self, simd: S) {
        let Self { sizes, images, weights, out } = self;
        let (window, pixels) = (sizes.inputs * AREA, sizes.pixels());
        let lines = Lines::of(sizes, S::F32_LANES);
        let blocks: Vec<[f32; C]> = weights
            .chunks(window * C)
            .flat_map(|block| {
                (0..window).map(|i| {
                    array::from_fn(|c| block.get(c * window + i).copied().unwrap_or(0.0))
                })
            })
            .collect();
        let mut padded = vec![0.0; sizes.inputs * lines.plane()];
        let mut strips = vec![0.0; C * lines.strip()];
        let images = images.chunks_exact(sizes.inputs * pixels);
        for (image, out) in images.zip(out.chunks_exact_mut(sizes.outputs * pixels)) {
            lines.pad(image, &mut padded);
            for (block, out) in blocks.chunks_exact(window).zip(out.chunks_mut(C * pixels))
            {
                let mut first = 0;
                while first < lines.vectors {
                    first += match lines.vectors - first {
                        1 => {
                            tile::<S, C, 1>(simd, lines, first, &padded, block, &mut strips)
                        }
                        2 | 4 => {
                            tile::<S, C, 2>(simd, lines, first, &padded, block, &mut strips)
                        }
                        _ => {
                            tile::<S, C, 3>(simd, lines, first, &padded, block, &mut strips)
                        }
                    };
                }
                let strips = strips.chunks_exact(lines.strip());
                for (out, strip) in out.chunks_exact_mut(pixels).zip(strips) {
                    let lines = strip.chunks(lines.line);
                    for (out, line) in out.chunks_exact_mut(sizes.width).zip(lines) {
                        out.iter_mut().zip(line).for_each(|(out, sum)| *out += sum);
                    }
                }
            }
        }
    }
}

/// Writes V vectors of each of C outputs, from the vector `first` on, and returns V.
#[inline(always)]
fn tile<S: Simd, const C: usize, const V: usize>(
    simd: S,
    lines: Lines,
    first: usize,
    padded: &[f32],
    block: &[[f32; C]],
    strips: &mut [f32],
) -> usize {
    let start = first * lines.lanes;
    let mut sums = [[simd.splat_f32s(0.0); V]; C];
    let channels = padded.chunks_exact(lines.plane());
    for (channel, weights) in channels.zip(block.chunks_exact(AREA)) {
        for (tap, weights) in weights.iter().enumerate() {
            let at = start + tap / SIDE * lines.line + tap % SIDE;
            let seen = load::<S, V>(&channel[at..]);
            for (sums, weight) in sums.iter_mut().zip(weights) {
                let weight = simd.splat_f32s(*weight);
                for (sum, seen) in sums.iter_mut().zip(seen) {
                    *sum = simd.mul_add_e_f32s(weight, seen, *sum);
                }
            }
        }
    }
    for (strip, sums) in strips.chunks_exact_mut(lines.strip()).zip(sums) {
        let strip = &mut strip[start..][..V * lines.lanes];
        S::as_mut_simd_f32s(strip).0.iter_mut().zip(sums).for_each(|(to, sum)| *to = sum);
    }
    V
}

/// Writes the gradients of the weights of some outputs, from `first` on.
struct Weights<'a> {
    sizes: Sizes,
    images: &'a [f32],
    grad: &'a [f32],
    first: usize,
    sum: &'a mut [f32],
}

impl WithSimd for Weights<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if many::<S>() { self.run::<S, OUTPUTS>(simd) } else { self.run::<S, 4>(simd) }
    }
}

impl Weights<'_> {
    /// With C outputs side by side.
    #[inline(always)]
    fn run<S: Simd, const C: usize>(self, simd: S) {
        let Self { sizes, images, grad, first, sum } = self;
        let (window, pixels) = (sizes.inputs * AREA, sizes.pixels());
        let lines = Lines::of(sizes, S::F32_LANES);
        let mut padded = vec![0.0; sizes.inputs * lines.plane()];
        let mut strips = vec![0.0; C * lines.strip()];
        for (block, sum) in sum.chunks_mut(window * C).enumerate() {
            let from = (first + block * C) * pixels;
            let outputs = sum.len() / window;
            // For each input and line of the kernel.
            let mut sums = vec![[[simd.splat_f32s(0.0); SIDE]; C]; sizes.inputs * SIDE];
            let grads = grad.chunks_exact(sizes.outputs * pixels);
            for (image, grad) in images.chunks_exact(sizes.inputs * pixels).zip(grads) {
                lines.pad(image, &mut padded);
                lines.set(&grad[from..][..outputs * pixels], lines.strip(), 0, &mut strips);
                for (i, sums) in sums.iter_mut().enumerate() {
                    let seen = &padded[i / SIDE * lines.plane() + i % SIDE * lines.line..];
                    add_along(simd, lines, seen, &strips, sums);
                }
            }
            for (c, sum) in sum.chunks_exact_mut(window).enumerate() {
                for (sum, sums) in sum.chunks_exact_mut(SIDE).zip(&sums) {
                    for (sum, sums) in sum.iter_mut().zip(sums[c]) {
                        *sum = simd.reduce_sum_f32s(sums);
                    }
                }
            }
        }
    }
}

/// Adds to each of C times three sums the products of an output's gradients with what the
/// three weights of one line of its kernel see.
#[inline(always)]
fn add_along<S: Simd, const C: usize>(
    simd: S,
    lines: Lines,
    seen: &[f32],
    strips: &[f32],
    into: &mut [[S::f32s; SIDE]; C],
) {
    let strip = lines.strip();
    let seen: [&[S::f32s]; SIDE] =
        array::from_fn(|x| S::as_simd_f32s(&seen[x..][..strip]).0);
    let grads: [&[S::f32s]; C] =
        array::from_fn(|c| S::as_simd_f32s(&strips[c * strip..][..strip]).0);
    let mut sums = *into;
    for v in 0..lines.vectors {
        let seen = seen.map(|seen| seen[v]);
        for (sums, grad) in sums.iter_mut().zip(grads) {
            for (sum, seen) in sums.iter_mut().zip(seen) {
                *sum = simd.mul_add_e_f32s(grad[v], seen, *sum);
            }
        }
    }
    *into = sums;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On the vectors of `simd`: the convolution of two images, and the gradient of the
    /// weights where that of the result is its square.
    fn loops<S: Simd>(simd: S, sizes: Sizes) -> [Vec<f32>; 2] {
        let numbers = |n: usize, step: usize| {
            (0..n).map(|i| ((i * step % 97) as f32 - 48.0) / 64.0).collect::<Vec<_>>()
        };
        let images = &numbers(sizes.images * sizes.inputs * sizes.pixels(), 31);
        let weights = &numbers(sizes.outputs * sizes.inputs * AREA, 57);
        let mut out = vec![0.0; sizes.images * sizes.outputs * sizes.pixels()];
        simd.vectorize(Forward { sizes, images, weights, out: &mut out });
        let grad: Vec<_> = out.iter().map(|y| y * y).collect();
        // In two parts, the second of them from the middle on.
        let mut sum = vec![0.0; weights.len()];
        let at_once = sizes.outputs.div_ceil(2);
        for (part, sum) in sum.chunks_mut(at_once * sizes.inputs * AREA).enumerate() {
            let first = part * at_once;
            simd.vectorize(Weights { sizes, images, grad: &grad, first, sum });
        }
        [out, sum]
    }

    #[test]
    fn vectors_of_every_length_agree() {
        // One pixel, lines shorter than a vector, three vectors, five, and more; outputs
        // for one block, for a part of one, and for some and a part.
        for [inputs, outputs, height, width] in
            [[1, 1, 1, 1], [2, 5, 3, 4], [3, 8, 4, 11], [2, 9, 7, 9], [2, 19, 28, 28]]
        {
            let sizes = Sizes { images: 2, inputs, outputs, height, width, kernel: SIDE };
            let one_by_one = loops(pulp::Scalar, sizes);
            #[cfg(target_arch = "x86_64")]
            if let Some(v3) = pulp::x86::V3::try_new() {
                compare(&loops(v3, sizes), &one_by_one);
            }
            #[cfg(target_arch = "x86_64")]
            if let Some(v4) = pulp::x86::V4::try_new() {
                compare(&loops(v4, sizes), &one_by_one);
            }
            #[cfg(target_arch = "aarch64")]
            if let Some(neon) = pulp::aarch64::Neon::try_new() {
                compare(&loops(neon, sizes), &one_by_one);
            }
            assert!(one_by_one.iter().flatten().any(|number| *number != 0.0));
        }
    }

    fn compare(some: &[Vec<f32>; 2], others: &[Vec<f32>; 2]) {
        for (a, b) in some.iter().flatten().zip(others.iter().flatten()) {
            assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{a} {b}");
        }
    }
}
