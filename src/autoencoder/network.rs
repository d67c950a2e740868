//! The networks: from a vector to a Gaussian, and from a vector to a categorical
//! distribution for each pixel.

use burn::{
    module::{Module, Param},
    tensor::{Device, Int, Tensor, TensorData, activation::log_softmax},
};
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use super::{
    convolution::{Inward, Outward},
    size::Size,
};
use crate::{
    data::{Images, Marginals},
    error::Result,
    gaussian::DiagonalGaussian,
    host::{download, upload},
    network::layers::{Linear, dropout, linear, residual, silu_norm},
};

/// Number of curves over the grey levels that the decoder mixes for each pixel.
const CURVES: usize = 2;
/// What each count of a grey level is raised by, so that none is impossible.
const PSEUDO_COUNT: f64 = 0.1;

/// From some numbers, or the pixels of an image, to others.
#[derive(Module, Debug)]
enum Network {
    Dense(Dense),
    Inward(Inward),
    Outward(Outward),
}

impl Network {
    /// From `[B, inputs]` to `[B, outputs]`. With a generator, units are dropped out
    /// (training).
    fn forward(&self, u: Tensor<2>, rng: Option<&mut ChaCha8Rng>) -> Tensor<2> {
        match self {
            Self::Dense(network) => network.forward(u, rng),
            Self::Inward(network) => network.forward(u, rng),
            Self::Outward(network) => network.forward(u, rng),
        }
    }
}

/// A residual network: a linear layer, some blocks, and a linear layer.
#[derive(Module, Debug)]
struct Dense {
    input: Linear,
    blocks: Vec<Block>,
    output: Linear,
    #[module(skip)]
    size: Size,
}

#[derive(Module, Debug)]
struct Block {
    inner: Linear,
    outer: Linear,
}

impl Dense {
    /// Fresh weights. Those of the last layer are small, so that an untrained network says
    /// almost nothing.
    fn new(
        inputs: usize,
        outputs: usize,
        size: Size,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Self {
        let h = size.hidden;
        let block = |rng: &mut _| Block {
            inner: linear(h, h, 1.0, rng, device),
            outer: linear(h, h, 0.0, rng, device),
        };
        Self {
            input: linear(inputs, h, 1.0, rng, device),
            blocks: (0..size.blocks).map(|_| block(rng)).collect(),
            output: linear(h, outputs, 0.1, rng, device),
            size,
        }
    }

    /// From `[B, inputs]` to `[B, outputs]`.
    fn forward(&self, u: Tensor<2>, mut rng: Option<&mut ChaCha8Rng>) -> Tensor<2> {
        let mut h = self.input.forward(u);
        for block in &self.blocks {
            let (inner, outer) = (|h| block.inner.forward(h), |h| block.outer.forward(h));
            h = residual(h, inner, outer, self.size.dropout, rng.as_deref_mut());
        }
        self.output.forward(dropout(silu_norm(h), self.size.dropout, rng))
    }
}

// ANCHOR: encoder
/// N(mean(u), diag(exp(log_var(u)))), whose parameters a network computes from its
/// input u. Equation `gaussian-encoder`.
#[derive(Module, Debug)]
pub struct GaussianNetwork {
    /// From u to a correction of the mean, and to the log variance, `[2 k]`.
    network: Network,
    /// From u to the mean: the part that needs no network.
    mean: Linear,
}

impl GaussianNetwork {
    /// The Gaussian given u. With a generator, units are dropped out (training).
    pub fn given(
        &self,
        u: Tensor<2>, // [B, inputs]
        dropout: Option<&mut ChaCha8Rng>,
    ) -> DiagonalGaussian {
        let output = self.network.forward(u.clone(), dropout);
        let k = output.dims()[1] / 2;
        let mean = self.mean.forward(u) + output.clone().narrow(1, 0, k);
        DiagonalGaussian { mean, log_var: output.narrow(1, k, k) }
    }
}
// ANCHOR_END: encoder

impl GaussianNetwork {
    /// From vectors of length `inputs` to Gaussians in k dimensions, with fresh weights.
    pub fn new(
        inputs: usize,
        k: usize,
        size: Size,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Self {
        let network = Network::Dense(Dense::new(inputs, 2 * k, size, rng, device));
        Self { network, mean: linear(inputs, k, 0.5, rng, device) }
    }

    /// The same from images of so many pixels on a side, with convolutions.
    pub fn convolutional(
        side: usize,
        k: usize,
        size: Size,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Self {
        let network = Network::Inward(Inward::new(side, 2 * k, size, rng, device));
        Self { network, mean: linear(side * side, k, 0.5, rng, device) }
    }
}

/// p(x | z): given z, each of the d pixels has a categorical distribution over V grey
/// levels of its own.
#[derive(Module, Debug)]
pub struct CategoricalDecoder {
    /// From z to a few numbers per pixel, `[d R]`.
    network: Network,
    /// The curves over the grey levels that these numbers mix, `[R, V]`.
    curves: Param<Tensor<2>>,
    /// The logits of the average image, `[d, V]`.
    bias: Param<Tensor<2>>,
}

impl CategoricalDecoder {
    /// From k latent dimensions to images like those of `train`, with fresh weights.
    ///
    /// The bias starts at the log marginals of each pixel, so training starts where the
    /// independent baseline ends. A few curves over the grey levels, mixed for each pixel,
    /// need far fewer outputs than V logits per pixel, and overfit less: one curve rises
    /// with the grey level, the other singles out the lowest, because half of all pixels
    /// are blank.
    pub fn new(
        k: usize,
        train: &Images,
        size: Size,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Self {
        Self::around(
            Network::Dense(Dense::new(k, train.dim() * CURVES, size, rng, device)),
            train,
            device,
        )
    }

    /// The same with convolutions.
    pub fn convolutional(
        k: usize,
        train: &Images,
        size: Size,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Self {
        Self::around(
            Network::Outward(Outward::new(k, [train.side(), CURVES], size, rng, device)),
            train,
            device,
        )
    }

    fn around(network: Network, train: &Images, device: &Device) -> Self {
        let (d, grey_levels) = (train.dim(), train.grey_level_count());
        let log_marginals: Vec<f32> = Marginals::fit(train, PSEUDO_COUNT)
            .log_probs
            .iter()
            .map(|&p| p as f32)
            .collect();
        let blank = (0..grey_levels).map(|v| if v == 0 { 2.0 } else { 0.0 });
        let curves: Vec<f32> =
            train.grey_values().into_iter().chain(blank).map(|v| v as f32).collect();
        Self {
            network,
            curves: Param::from_data(
                TensorData::new(curves, [CURVES, grey_levels]),
                device,
            ),
            bias: Param::from_data(
                TensorData::new(log_marginals, [d, grey_levels]),
                device,
            ),
        }
    }

    // ANCHOR: decoder
    /// log p(x_i = x_v | z) for every grey level v of every pixel i, `[B, d, V]`.
    pub fn log_probs(&self, z: Tensor<2>, dropout: Option<&mut ChaCha8Rng>) -> Tensor<3> {
        let (batch, [d, grey_levels]) = (z.dims()[0], self.bias.dims());
        let mix = self.network.forward(z, dropout).reshape([batch * d, CURVES]);
        let logits = mix.matmul(self.curves.val()).reshape([batch, d, grey_levels]);
        log_softmax(logits + self.bias.val().unsqueeze::<3>(), 2)
    }

    /// log p(x | z), `[B]`, where `grey_levels` holds the index of each pixel's grey
    /// level. Given z the pixels are independent, so their log probabilities add up.
    pub fn log_likelihood(
        &self,
        grey_levels: Tensor<2, Int>, // [B, d]
        z: Tensor<2>,                // [B, k]
        dropout: Option<&mut ChaCha8Rng>,
    ) -> Tensor<1> {
        let seen = grey_levels.unsqueeze_dim::<3>(2);
        let chosen = self.log_probs(z, dropout).gather(2, seen);
        chosen.squeeze_dim::<2>(2).sum_dim(1).squeeze_dim(1)
    }
    // ANCHOR_END: decoder

    /// E[x | z], `[B, d]`, where `values` holds x_v, `[V]`.
    pub fn mean(&self, z: Tensor<2>, values: &[f64]) -> Tensor<2> {
        let values = upload(values.iter().copied(), &z.device());
        (self.log_probs(z, None).exp() * values.unsqueeze::<3>()).sum_dim(2).squeeze_dim(2)
    }

    // ANCHOR: sample
    /// Draws x ~ p(x | z): the grey levels of all pixels, image after image.
    pub fn sample(&self, z: Tensor<2>, rng: &mut impl Rng) -> Result<Vec<u8>> {
        let grey_levels = self.bias.dims()[1];
        let log_probs = download(self.log_probs(z, None))?;
        let draw = |log_probs: &[f64]| {
            // The first grey level whose cumulative probability exceeds a uniform number.
            let mut left = rng.random::<f64>();
            let below = log_probs.iter().take_while(|p| {
                left -= p.exp();
                left >= 0.0
            });
            below.count().min(grey_levels - 1) as u8
        };
        Ok(log_probs.chunks(grey_levels).map(draw).collect())
    }
    // ANCHOR_END: sample
}
