//! The network of chapter 7 with a velocity as its output, and odds read as a velocity.

use burn::{module::Module, tensor::Tensor};
use elbo_to_diffusion::{
    chapter::{Chapter, Setting},
    data::Dataset,
    error::Result,
    network::Regressor,
    random::{Stream, rng},
    training::{SHARDS, Shard},
    vdm::{Denoiser, denoising_term},
    weights,
};
use rand_chacha::ChaCha8Rng;

use crate::line::{Straight, levels, x_from_velocity};

/// `cargo run --example ch05_vdm -- --save FILE` wrote it.
const CHAPTER_5: &[u8] = include_bytes!("../weights/ch05_vdm.safetensors");

/// A network and the way its output is read as an estimate of x.
pub trait Reading: Module + Sync {
    /// x_hat, `[B, d]`, from z_t, `[B, d]`, and gamma_t, `[B]`.
    fn x_hat(
        &self,
        z: Tensor<2>,
        gamma: Tensor<1>,
        dropout: Option<&mut ChaCha8Rng>,
    ) -> Tensor<2>;
}

/// Plain outputs are a velocity.
impl Reading for Regressor {
    fn x_hat(
        &self,
        z: Tensor<2>,
        gamma: Tensor<1>,
        dropout: Option<&mut ChaCha8Rng>,
    ) -> Tensor<2> {
        let u = self.forward(z.clone(), gamma.clone(), dropout);
        x_from_velocity(u, z, gamma)
    }
}

/// Odds are an x_hat, and with it a velocity.
impl Reading for Denoiser {
    fn x_hat(
        &self,
        z: Tensor<2>,
        gamma: Tensor<1>,
        dropout: Option<&mut ChaCha8Rng>,
    ) -> Tensor<2> {
        self.denoise(z, gamma, dropout)
    }
}

// ANCHOR: train
/// Trains on the plain squared error of the velocity at times that are even along the line.
pub fn train<R: Reading>(
    chapter: &mut Chapter,
    data: &Dataset,
    setting: &Setting,
    name: &str,
    fresh: &R,
) -> Result<R> {
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    let line = Straight::between(setting.trunk.gamma_min, setting.trunk.gamma_max);
    let loss = |network: &R, shard: Shard| {
        let n = setting.batch / SHARDS;
        let at = levels(&line, &shard.times(n, seed), &device);
        let (x, eps) = shard.images_and_noise(&data.train, n, 0.0, seed, &device);
        let dropout = &mut shard.rng(seed, Stream::Dropout);
        let x_hat = |z, gamma| network.x_hat(z, gamma, Some(dropout));
        denoising_term(x, at, eps, x_hat).mean() / data.train.dim() as f64
    };
    Ok(chapter.stage(name, setting).train(fresh, loss)?.model)
}
// ANCHOR_END: train

/// The networks of the digits, trained by flow matching: plain outputs, and odds.
#[derive(Module, Debug)]
pub struct Digits {
    pub velocity: Regressor,
    pub odds: Denoiser,
}

impl Digits {
    pub fn fresh(chapter: &Chapter, data: &Dataset, setting: &Setting) -> Self {
        let device = chapter.device.clone().autodiff();
        let init = || rng(chapter.seed(), Stream::Initialisation, 0);
        let dim = data.train.dim();
        Self {
            velocity: Regressor::new(setting.trunk, dim, &mut init(), &device),
            odds: Denoiser::for_images(&data.train, setting.trunk, &mut init(), &device),
        }
    }

    pub fn train(
        self,
        chapter: &mut Chapter,
        data: &Dataset,
        setting: &Setting,
    ) -> Result<Self> {
        Ok(Self {
            velocity: train(chapter, data, setting, "velocity", &self.velocity)?,
            odds: train(chapter, data, setting, "odds", &self.odds)?,
        })
    }

    /// The network of chapter 5: the same odds, trained for the bound in as many steps.
    pub fn of_chapter_5(&self) -> Result<Denoiser> {
        weights::shipped(self.odds.clone(), "ch05_vdm", CHAPTER_5)
    }
}
