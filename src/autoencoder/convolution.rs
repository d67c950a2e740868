//! The convolutional networks between an image and a few numbers.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::size::Size;
use crate::network::layers::{
    Convolution, Linear, double, dropout, halve, linear, residual, silu_norm,
};

/// No resolution has fewer pixels on a side.
const LEAST_SIDE: usize = 7;

/// How often an image is halved on the way in, and doubled on the way out.
fn halvings(mut side: usize) -> usize {
    let mut count = 0;
    while side.is_multiple_of(2) && side / 2 >= LEAST_SIDE {
        side /= 2;
        count += 1;
    }
    count
}

/// The blocks at one resolution, after a change of channels.
#[derive(Module, Debug)]
struct Stage {
    change: Convolution,
    blocks: Vec<Block>,
}

#[derive(Module, Debug)]
struct Block {
    inner: Convolution,
    outer: Convolution,
}

impl Stage {
    /// Fresh weights; the last layer of each block starts at zero.
    fn new(
        [from, to]: [usize; 2],
        blocks: usize,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Self {
        let block = |rng: &mut _| Block {
            inner: Convolution::new([to, to], 3, 1.0, rng, device),
            outer: Convolution::new([to, to], 3, 0.0, rng, device),
        };
        let change = Convolution::new([from, to], 3, 1.0, rng, device);
        Self { change, blocks: (0..blocks).map(|_| block(rng)).collect() }
    }

    fn forward(
        &self,
        h: Tensor<4>,
        rate: f64,
        mut rng: Option<&mut ChaCha8Rng>,
    ) -> Tensor<4> {
        let mut h = self.change.forward(h);
        for block in &self.blocks {
            let (inner, outer) = (|h| block.inner.forward(h), |h| block.outer.forward(h));
            h = residual(h, inner, outer, rate, rng.as_deref_mut());
        }
        h
    }
}

/// From images to numbers: convolutions at half the resolution and twice the channels again
/// and again, down to a side of at least 7 pixels, then a linear layer.
#[derive(Module, Debug)]
pub(super) struct Inward {
    /// From one channel at full resolution to h.
    input: Convolution,
    stages: Vec<Stage>,
    output: Linear,
    #[module(skip)]
    size: Size,
}

impl Inward {
    /// From images of so many pixels on a side; `size.hidden` counts the channels at full
    /// resolution, `size.blocks` the blocks at each of the others. Fresh weights; those of
    /// the last layer are small.
    pub(super) fn new(
        side: usize,
        outputs: usize,
        size: Size,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Self {
        let (h, depth) = (size.hidden, halvings(side));
        let last = (h << depth) * (side >> depth).pow(2);
        Self {
            input: Convolution::new([1, h], 3, 1.0, rng, device),
            stages: (0..depth)
                .map(|i| Stage::new([h << i, h << (i + 1)], size.blocks, rng, device))
                .collect(),
            output: linear(last, outputs, 0.1, rng, device),
            size,
        }
    }

    /// From `[B, d]` to `[B, outputs]`.
    pub(super) fn forward(
        &self,
        x: Tensor<2>,
        mut rng: Option<&mut ChaCha8Rng>,
    ) -> Tensor<2> {
        let [batch, d] = x.dims();
        let mut h = self.input.forward(x.reshape([batch, 1, d.isqrt(), d.isqrt()]));
        for stage in &self.stages {
            h = stage.forward(halve(h), self.size.dropout, rng.as_deref_mut());
        }
        let h = silu_norm(h.flatten::<2>(1, 3));
        self.output.forward(dropout(h, self.size.dropout, rng))
    }
}

/// From numbers to images, the way of [`Inward`] back.
#[derive(Module, Debug)]
pub(super) struct Outward {
    input: Linear,
    stages: Vec<Stage>,
    /// From h channels at full resolution to so many numbers for each pixel.
    output: Convolution,
    #[module(skip)]
    size: Size,
    #[module(skip)]
    side: usize,
}

impl Outward {
    /// To images of so many pixels on a side with `outputs` numbers for each pixel. Fresh
    /// weights; those of the last layer are small.
    pub(super) fn new(
        inputs: usize,
        [side, outputs]: [usize; 2],
        size: Size,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Self {
        let (h, depth) = (size.hidden, halvings(side));
        let first = (h << depth) * (side >> depth).pow(2);
        Self {
            input: linear(inputs, first, 1.0, rng, device),
            stages: (0..depth)
                .rev()
                .map(|i| Stage::new([h << (i + 1), h << i], size.blocks, rng, device))
                .collect(),
            output: Convolution::new([h, outputs], 3, 0.1, rng, device),
            size,
            side,
        }
    }

    /// From `[B, inputs]` to `[B, d outputs]`, pixel after pixel.
    pub(super) fn forward(
        &self,
        u: Tensor<2>,
        mut rng: Option<&mut ChaCha8Rng>,
    ) -> Tensor<2> {
        let (batch, depth) = (u.dims()[0], self.stages.len());
        let side = self.side >> depth;
        let mut h =
            self.input.forward(u).reshape([batch, self.size.hidden << depth, side, side]);
        for stage in &self.stages {
            h = double(stage.forward(h, self.size.dropout, rng.as_deref_mut()));
        }
        let h = self.output.forward(dropout(silu_norm(h), self.size.dropout, rng));
        h.permute([0, 2, 3, 1]).flatten::<2>(1, 3)
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Param;

    use super::*;
    use crate::host::download;
    use crate::random::{Stream, normal, rng};

    const SIZE: Size = Size { hidden: 3, blocks: 1, dropout: 0.0 };

    #[test]
    fn no_resolution_is_below_seven_pixels() {
        assert_eq!([28, 14, 8, 7, 32, 30].map(halvings), [2, 1, 0, 0, 2, 1]);
    }

    #[test]
    fn images_become_numbers_and_numbers_images() {
        let (init, device) = (&mut rng(0, Stream::Initialisation, 0), Device::flex());
        for side in [28, 8] {
            let (inward, outward) = (
                Inward::new(side, 5, SIZE, init, &device),
                Outward::new(5, [side, 2], SIZE, init, &device),
            );
            let u = inward.forward(normal([4, side * side], init, &device), None);
            assert_eq!(u.dims(), [4, 5]);
            assert_eq!(outward.forward(u, None).dims(), [4, 2 * side * side]);
        }
    }

    #[test]
    fn the_numbers_of_a_pixel_follow_each_other() -> crate::error::Result<()> {
        let (init, device) = (&mut rng(1, Stream::Initialisation, 0), Device::flex());
        let mut outward = Outward::new(1, [8, 2], SIZE, init, &device);
        outward.output.bias = Param::from_data([1.0, 2.0], &device);
        // Nothing comes in, so the biases come out.
        let values = download(outward.forward(Tensor::zeros([1, 1], &device), None))?;
        assert_eq!(values, [1.0, 2.0].repeat(64));
        Ok(())
    }
}
