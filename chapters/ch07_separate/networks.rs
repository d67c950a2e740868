//! Networks between the plain outputs and the denoiser of chapters 5 and 6.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData, activation::sigmoid},
};
use elbo_to_diffusion::{
    data::{Images, Marginals},
    host::upload,
    kernels::{GreyOdds, level_moments},
    network::{Trunk, TrunkConfig, layers::Linear},
    vdm::Parameterization,
};
use rand_chacha::ChaCha8Rng;

use super::heads::Head;

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

    /// The odds of each grey level from z_t, `[B, d]`, and gamma_t, `[B]`, alone.
    fn odds(&self, z: Tensor<2>, gamma: Tensor<1>) -> GreyOdds {
        let ([batch, d], device) = (z.dims(), z.device());
        let curves = TensorData::zeros::<f32, _>([CURVES, self.values.len()]);
        GreyOdds {
            seen: z / sigmoid(-gamma.clone()).sqrt().unsqueeze_dim(1),
            precision: (-gamma).exp() * 0.5,
            base: self.log_marginals.val(),
            mix: Tensor::zeros([batch, d, CURVES], &device),
            curves: Tensor::from_data(curves, &device),
            values: upload(self.values.iter().copied(), &device),
        }
    }
}

// ANCHOR: told
/// Plain outputs, read as x or v, of a network that is told what the denoiser of chapters 5
/// and 6 is told: the mean and the spread of each pixel's own posterior, instead of z.
#[derive(Module, Debug)]
pub struct Told {
    alone: Alone,
    trunk: Trunk,
    last: Linear,
    #[module(skip)]
    config: TrunkConfig,
    #[module(skip)]
    output: Parameterization,
}

impl Told {
    pub fn new(
        alone: Alone,
        config: TrunkConfig,
        output: Parameterization,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let d = alone.log_marginals.val().dims()[0];
        let trunk = Trunk::new(config, 2, d, rng, device);
        Self { alone, trunk, last: config.output(1, d, rng, device), config, output }
    }
}

impl Head for Told {
    fn x_hat(
        &self,
        z: Tensor<2>,
        gamma: Tensor<1>,
        drop: Option<&mut ChaCha8Rng>,
    ) -> Tensor<2> {
        let (shape, d) = (z.dims(), z.dims()[1]);
        let moments = level_moments(self.alone.odds(z.clone(), gamma.clone()));
        let deviation = moments.clone().narrow(1, d, d).clamp_min(1e-20).sqrt() * 2.0;
        let features = Tensor::cat(vec![moments.narrow(1, 0, d), deviation], 1);
        let told = self.config.time_features(gamma.clone());
        let output = self.last.forward(self.trunk.forward(features, told, drop));
        self.output.to_x(output.reshape(shape), z, gamma)
    }

    fn scale(&self, gamma: Tensor<1>) -> Tensor<1> {
        self.output.coefficients(gamma).1.squeeze_dim(1)
    }
}
// ANCHOR_END: told

// ANCHOR: odds_of_z
/// The odds of chapters 5 and 6, by a network that looks at z itself.
#[derive(Module, Debug)]
pub struct OddsOfZ {
    alone: Alone,
    trunk: Trunk,
    last: Linear,
    /// The curves over the grey levels, `[2, V]`: one rises, one singles out the lowest.
    curves: Param<Tensor<2>>,
    /// What is added to the logits of every image, `[d, V]`.
    bias: Param<Tensor<2>>,
    #[module(skip)]
    config: TrunkConfig,
}

impl OddsOfZ {
    pub fn new(
        alone: Alone,
        config: TrunkConfig,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let [d, v] = alone.log_marginals.val().dims();
        let blank = (0..v).map(|k| if k == 0 { 2.0 } else { 0.0 });
        let curves = upload(alone.values.iter().copied().chain(blank), device);
        Self {
            trunk: Trunk::new(config, 1, d, rng, device),
            last: config.output(CURVES, d, rng, device),
            curves: Param::from_tensor(curves.reshape([CURVES, v])),
            bias: Param::from_data(TensorData::zeros::<f32, _>([d, v]), device),
            alone,
            config,
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
        let told = self.config.time_features(gamma.clone());
        let mix = self.last.forward(self.trunk.forward(z.clone(), told, drop));
        let alone = self.alone.odds(z, gamma);
        let together = level_moments(GreyOdds {
            base: alone.base.clone() + self.bias.val(),
            mix: mix.reshape([batch, d, CURVES]),
            curves: self.curves.val(),
            ..alone
        });
        together.narrow(1, 0, d)
    }

    fn scale(&self, gamma: Tensor<1>) -> Tensor<1> {
        gamma.ones_like()
    }
}
// ANCHOR_END: odds_of_z
