//! Convolutions for Burn's CPU backend, as products of matrices.
//!
//! The backend's own spend more time on rearranging the image than on the product, and as
//! its gradient with respect to the weights is a convolution with a kernel of the size of
//! an image, more still on that (appendix "Where the time goes").

use burn::{backend::flex::FlexTensor, tensor::Shape};

use super::product::{Matrix, add_product, tensor};

/// The sizes of a convolution with a square kernel of an odd side, of images padded with
/// zeros to keep their size.
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
    /// not fit together.
    pub(super) fn of(images: &Shape, weights: &Shape) -> Option<Self> {
        let (&[images, inputs, height, width], &[outputs, depth, kernel, across]) =
            (images.as_slice(), weights.as_slice())
        else {
            return None;
        };
        let fits = depth == inputs
            && kernel == across
            && kernel % 2 == 1
            && images * inputs * outputs * height * width > 0;
        fits.then_some(Self { images, inputs, outputs, height, width, kernel })
    }

    /// Pixels of an image.
    fn pixels(self) -> usize {
        self.height * self.width
    }

    /// Numbers that one pixel of the result depends on.
    fn window(self) -> usize {
        self.inputs * self.kernel * self.kernel
    }

    /// What each pixel's window sees in an image, [inputs, H, W]: [inputs k k, H W].
    fn unfold(self, image: &[f32], columns: &mut [f32]) {
        let (k, width, half, pixels) =
            (self.kernel, self.width, self.kernel / 2, self.pixels());
        for (row, columns) in columns.chunks_exact_mut(pixels).enumerate() {
            let (channel, down, right) = (row / (k * k), row / k % k, row % k);
            let image = &image[channel * pixels..][..pixels];
            // Pixel (y, x) looks at (y + down - half, x + right - half): a channel of the
            // image, moved as a whole, forward or back...
            let (ahead, behind) = (down * width + right, half * width + half);
            let start = behind.saturating_sub(ahead).min(pixels);
            let from = ahead.saturating_sub(behind).min(pixels);
            let end = pixels - from;
            columns[..start].fill(0.0);
            columns[start..end].copy_from_slice(&image[from..][..end - start]);
            columns[end..].fill(0.0);
            // ... but for what the move brought in from the line above or below.
            if right != half {
                let left = half.saturating_sub(right).min(width);
                let last = (width + half).saturating_sub(right).min(width);
                for line in columns.chunks_exact_mut(width) {
                    line[..left].fill(0.0);
                    line[last..].fill(0.0);
                }
            }
        }
    }

    /// Each image as the windows of its pixels, one after the other in the same memory.
    fn for_each_image(self, images: &[f32], mut f: impl FnMut(usize, Matrix)) {
        let mut columns =
            vec![0.0; if self.kernel == 1 { 0 } else { self.window() * self.pixels() }];
        for (i, image) in images.chunks_exact(self.inputs * self.pixels()).enumerate() {
            if self.kernel == 1 {
                f(i, Matrix::rows(image, self.pixels()));
            } else {
                self.unfold(image, &mut columns);
                f(i, Matrix::rows(&columns, self.pixels()));
            }
        }
    }

    /// The convolution, [B, outputs, H, W], from images, [B, inputs, H, W], and weights,
    /// [outputs, inputs, k, k]; `bias` holds one number for each output or nothing.
    pub(super) fn forward(
        self,
        images: &[f32],
        weights: &[f32],
        bias: &[f32],
    ) -> FlexTensor {
        let mut out = vec![0.0; self.images * self.outputs * self.pixels()];
        for (channel, bias) in out.chunks_exact_mut(self.pixels()).zip(bias.iter().cycle())
        {
            channel.fill(*bias);
        }
        let weights = Matrix::rows(weights, self.window());
        let size = self.outputs * self.pixels();
        self.for_each_image(images, |i, columns| {
            add_product(&mut out[i * size..][..size], weights, columns)
        });
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
        let (window, size) = (self.window(), self.outputs * self.pixels());
        // Transposed, [inputs k k, outputs]: gemm need not rearrange the windows then.
        let mut sum = vec![0.0; window * self.outputs];
        self.for_each_image(images, |i, columns| {
            add_product(
                &mut sum,
                columns,
                Matrix::rows(&grad[i * size..][..size], self.pixels()).transposed(),
            );
        });
        let weights = (0..self.outputs)
            .flat_map(|output| sum.iter().skip(output).step_by(self.outputs))
            .copied()
            .collect();
        tensor(weights, Shape::new([self.outputs, self.inputs, self.kernel, self.kernel]))
    }
}
