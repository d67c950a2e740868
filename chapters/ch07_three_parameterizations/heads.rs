//! One network with different outputs, and how it is trained.

use burn::{module::Module, tensor::Tensor};
use elbo_to_diffusion::{
    chapter::{Chapter, Preset, Setting},
    data::Dataset,
    error::Result,
    network::{Regressor, TrunkConfig},
    random::Stream,
    training::{SHARDS, Shard, Training},
    vdm::{Denoiser, NoiseLevels, Parameterization, Schedule, denoising_term},
};
use rand_chacha::ChaCha8Rng;

/// The network of `--preset` and `--data`. Ten of them are trained here, so each gets a
/// tenth of the steps of a long run; in a short one, with less dropout than in chapters 5
/// and 6.
pub fn setting(chapter: &mut Chapter) -> Setting {
    let setting = chapter.setting(400);
    let Setting { trunk, training, .. } = &setting;
    match chapter.preset() {
        Preset::Quick => {
            Setting { trunk: TrunkConfig { dropout: 0.3, ..*trunk }, ..setting }
        }
        Preset::Full => {
            let steps = chapter.steps(training.steps.div_ceil(10));
            Setting {
                training: Training {
                    steps,
                    warmup: training.warmup * steps / training.steps,
                    ..training.clone()
                },
                ..setting
            }
        }
    }
}

// ANCHOR: network
/// A network and the way its output is read as an estimate of x.
pub trait Head: Module + Sync {
    /// x_hat, `[B, d]`, from z_t, `[B, d]`, and gamma_t, `[B]`.
    fn x_hat(
        &self,
        z: Tensor<2>,
        gamma: Tensor<1>,
        drop: Option<&mut ChaCha8Rng>,
    ) -> Tensor<2>;

    /// The error of x_hat that one unit of error in the output makes, `[B]`: one, where the
    /// output is x_hat.
    fn scale(&self, gamma: Tensor<1>) -> Tensor<1> {
        gamma.ones_like()
    }
}

/// A network whose d outputs are read as one of the four.
#[derive(Module, Debug)]
pub struct Plain {
    pub network: Regressor,
    #[module(skip)]
    pub output: Parameterization,
}

impl Plain {
    /// x_hat from what the network is told of each pixel: z itself, or features of it.
    pub fn read(
        &self,
        told: Tensor<2>,
        z: Tensor<2>,
        gamma: Tensor<1>,
        drop: Option<&mut ChaCha8Rng>,
    ) -> Tensor<2> {
        let output = self.network.forward(told, gamma.clone(), drop);
        self.output.to_x(output, z, gamma)
    }
}

impl Head for Plain {
    fn x_hat(
        &self,
        z: Tensor<2>,
        gamma: Tensor<1>,
        drop: Option<&mut ChaCha8Rng>,
    ) -> Tensor<2> {
        self.read(z.clone(), z, gamma, drop)
    }

    fn scale(&self, gamma: Tensor<1>) -> Tensor<1> {
        let (_, scale) = self.output.coefficients(gamma);
        scale.squeeze_dim(1)
    }
}

/// A network that outputs the odds of each grey level, and with them x_hat.
impl Head for Denoiser {
    fn x_hat(
        &self,
        z: Tensor<2>,
        gamma: Tensor<1>,
        drop: Option<&mut ChaCha8Rng>,
    ) -> Tensor<2> {
        self.denoise(z, gamma, drop)
    }
}
// ANCHOR_END: network

/// How the error at each noise level counts in training.
#[derive(Clone, Copy)]
pub enum Loss<'a> {
    /// As the bound demands.
    Bound,
    /// The plain squared error of the output, at times of this schedule.
    Simple(&'a (dyn Schedule + Sync)),
}

/// One network to be trained.
pub struct Experiment<'a, H> {
    pub name: &'static str,
    pub head: H,
    pub loss: Loss<'a>,
}

// ANCHOR: train
pub fn train<H: Head>(
    chapter: &mut Chapter,
    data: &Dataset,
    setting: &Setting,
    experiment: Experiment<H>,
) -> Result<H> {
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    let loss = |head: &H, shard: Shard| {
        let n = setting.batch / SHARDS;
        let t = shard.times(n, seed);
        let at = match experiment.loss {
            Loss::Bound => NoiseLevels::at(&setting.linear(), &t, &device),
            Loss::Simple(times) => {
                let NoiseLevels { gamma, .. } = NoiseLevels::at(times, &t, &device);
                // |target - output|^2 = |x - x_hat|^2 / scale^2.
                let weight = head.scale(gamma.clone()).square().recip();
                NoiseLevels { gamma, weight }
            }
        };
        let (x, eps) =
            shard.images_and_noise(&data.train, n, setting.shifted, seed, &device);
        let dropout = &mut shard.rng(seed, Stream::Dropout);
        let x_hat = |z, gamma| head.x_hat(z, gamma, Some(dropout));
        denoising_term(x, at, eps, x_hat).mean() / data.train.dim() as f64
    };
    Ok(chapter.stage(experiment.name, setting).train(&experiment.head, loss)?.model)
}
// ANCHOR_END: train
