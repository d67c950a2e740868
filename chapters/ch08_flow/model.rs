//! The network of chapter 6, from the weights that its default run saved.

use burn::{module::Module, tensor::Tensor};
use elbo_to_diffusion::{
    chapter::Chapter,
    data::Dataset,
    error::Result,
    evaluation::on_all_threads,
    network::{Layers, TrunkConfig},
    random::{Stream, rng},
    vdm::{Denoiser, Learned, Monotone},
};

/// `cargo run --example ch06_learned_snr -- --save FILE` wrote it.
const WEIGHTS: &[u8] = include_bytes!("../weights/ch06_learned_snr.safetensors");

/// What the file holds.
#[derive(Module, Debug)]
struct Saved {
    denoiser: Denoiser,
    schedule: Learned,
}

/// A trained denoiser and its schedule, neither of which learns any more.
pub struct Model {
    /// On a device with gradients, of which only the image has one.
    differentiable: Denoiser,
    denoiser: Denoiser,
    pub schedule: Monotone,
}

impl Model {
    pub fn load(chapter: &Chapter, data: &Dataset) -> Result<Self> {
        let device = chapter.device.clone().autodiff();
        let trunk = TrunkConfig {
            gamma_min: -8.0,
            gamma_max: 5.0,
            layers: Layers::Dense,
            hidden: 192,
            blocks: 2,
            dropout: 0.0,
        };
        let init = &mut rng(chapter.seed(), Stream::Initialisation, 0);
        let fresh = Saved {
            denoiser: Denoiser::for_images(&data.train, trunk, init, &device),
            schedule: Learned::new(trunk.gamma_min, trunk.gamma_max, &device),
        };
        let saved = chapter.load_weights_of("ch06_learned_snr", WEIGHTS, fresh)?;
        Ok(Self {
            differentiable: saved.denoiser.clone().no_grad(),
            denoiser: saved.denoiser.valid(),
            schedule: saved.schedule.fixed()?,
        })
    }

    /// x_hat for z_t, `[B, d]`, and gamma_t, `[B]`, on the tape of z_t.
    pub fn denoise_on_tape(&self, z: Tensor<2>, gamma: Tensor<1>) -> Tensor<2> {
        self.differentiable.denoise(z, gamma, None)
    }

    /// x_hat for z_t, `[B, d]`, and gamma_t, `[B]`, without gradients.
    pub fn denoise(&self, z: Tensor<2>, gamma: Tensor<1>) -> Tensor<2> {
        self.denoiser.denoise(z, gamma, None)
    }

    /// x_hat for many images at one noise level, on all threads, as solvers ask for it.
    pub fn solved(&self) -> impl Fn(Tensor<2>, f64) -> Tensor<2> {
        let denoise = on_all_threads(|z, gamma| self.denoise(z, gamma));
        move |z, gamma| {
            let gamma = Tensor::full([z.dims()[0]], gamma, &z.device());
            denoise(z, gamma)
        }
    }
}
