//! The odds of the grey levels as a plain output.

use burn::{
    module::Module,
    tensor::{Device, Tensor, activation::softmax},
};
use elbo_to_diffusion::{
    data::Images,
    host::upload,
    network::{Regressor, TrunkConfig},
};
use rand_chacha::ChaCha8Rng;

use super::heads::Head;

// ANCHOR: free
/// A logit for each of V grey levels of each pixel, from z alone: no frequencies, and no
/// likelihood of z given the level.
#[derive(Module, Debug)]
pub struct FreeOdds {
    network: Regressor,
    #[module(skip)]
    values: Vec<f64>,
}

impl FreeOdds {
    pub fn new(
        train: &Images,
        config: TrunkConfig,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let (values, d) = (train.grey_values(), train.dim());
        let sizes = [1, values.len()];
        Self { network: Regressor::of_features(config, sizes, d, rng, device), values }
    }
}

impl Head for FreeOdds {
    fn x_hat(
        &self,
        z: Tensor<2>,
        gamma: Tensor<1>,
        drop: Option<&mut ChaCha8Rng>,
    ) -> Tensor<2> {
        let ([batch, d], v, device) = (z.dims(), self.values.len(), z.device());
        let logits = self.network.forward(z, gamma, drop);
        let p = softmax(logits.reshape([batch, d, v]), 2);
        let values = upload(self.values.iter().copied(), &device).reshape([1, 1, v]);
        (p * values).sum_dim(2).squeeze_dim(2)
    }
}
// ANCHOR_END: free
