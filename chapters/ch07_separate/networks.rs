//! Networks between the plain outputs and the denoiser of chapters 5 and 6.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData},
};
use elbo_to_diffusion::{
    data::{Images, Marginals},
    host::upload,
    kernels::{GreyOdds, level_moments},
    network::{Regressor, TrunkConfig, mean_and_spread},
    vdm::{Parameterization, denoiser::pixel_odds},
};
use rand_chacha::ChaCha8Rng;

use super::heads::{Head, Plain};

/// How many curves over the grey levels are mixed, as in the denoiser.
const CURVES: usize = 2;

/// What is known of each pixel before the others are looked at: how often each of its grey
/// levels occurs, and how well each fits to z.
#[derive(Module, Debug)]
pub struct Alone {
    /// Log probability of each grey level of each pixel in the training set, `[d, V]`. Never
    /// trained.
    log_marginals: Param<Tensor<2>>,
    #[module(skip)]
    values: Vec<f64>,
}

impl Alone {
    pub fn of(train: &Images, device: &Device) -> Self {
        let (values, d) = (train.grey_values(), train.dim());
        let log_probs = upload(Marginals::fit(train, 0.1).log_probs, device);
        let log_marginals = Param::from_tensor(log_probs.reshape([d, values.len()]));
        Self { log_marginals: log_marginals.set_require_grad(false), values }
    }

    /// d and V.
    fn sizes(&self) -> [usize; 2] {
        self.log_marginals.val().dims()
    }

    /// The odds of each grey level from z_t, `[B, d]`, and gamma_t, `[B]`, alone.
    fn odds(&self, z: Tensor<2>, gamma: Tensor<1>) -> GreyOdds {
        pixel_odds(z, gamma, self.log_marginals.val(), &self.values)
    }
}

// ANCHOR: told
/// Plain outputs, read as x or v, of a network that is told what the denoiser of chapters 5
/// and 6 is told: the mean and the spread of each pixel's own posterior, instead of z.
#[derive(Module, Debug)]
pub struct Told {
    alone: Alone,
    plain: Plain,
}

impl Told {
    pub fn new(
        alone: Alone,
        config: TrunkConfig,
        output: Parameterization,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let d = alone.sizes()[0];
        let network = Regressor::of_features(config, [2, 1], d, rng, device);
        Self { alone, plain: Plain { network, output } }
    }
}

impl Head for Told {
    fn x_hat(
        &self,
        z: Tensor<2>,
        gamma: Tensor<1>,
        drop: Option<&mut ChaCha8Rng>,
    ) -> Tensor<2> {
        let alone = level_moments(self.alone.odds(z.clone(), gamma.clone()));
        self.plain.read(mean_and_spread(alone), z, gamma, drop)
    }

    fn scale(&self, gamma: Tensor<1>) -> Tensor<1> {
        self.plain.scale(gamma)
    }
}
// ANCHOR_END: told

// ANCHOR: odds_of_z
/// The odds of chapters 5 and 6, by a network that looks at z itself.
#[derive(Module, Debug)]
pub struct OddsOfZ {
    alone: Alone,
    network: Regressor,
    /// The curves over the grey levels, `[2, V]`: one rises, one singles out the lowest.
    curves: Param<Tensor<2>>,
    /// What is added to the logits of every image, `[d, V]`.
    bias: Param<Tensor<2>>,
}

impl OddsOfZ {
    pub fn new(
        alone: Alone,
        config: TrunkConfig,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let [d, v] = alone.sizes();
        let blank = (0..v).map(|k| if k == 0 { 2.0 } else { 0.0 });
        let curves = upload(alone.values.iter().copied().chain(blank), device);
        Self {
            network: Regressor::of_features(config, [1, CURVES], d, rng, device),
            curves: Param::from_tensor(curves.reshape([CURVES, v])),
            bias: Param::from_data(TensorData::zeros::<f32, _>([d, v]), device),
            alone,
        }
    }
}

impl Head for OddsOfZ {
    fn x_hat(
        &self,
        z: Tensor<2>,
        gamma: Tensor<1>,
        drop: Option<&mut ChaCha8Rng>,
    ) -> Tensor<2> {
        let [batch, d] = z.dims();
        let mix = self.network.forward(z.clone(), gamma.clone(), drop);
        let alone = self.alone.odds(z, gamma);
        let together = level_moments(GreyOdds {
            base: alone.base.clone() + self.bias.val(),
            mix: mix.reshape([batch, d, CURVES]),
            curves: self.curves.val(),
            ..alone
        });
        together.narrow(1, 0, d)
    }
}
// ANCHOR_END: odds_of_z
