//! The network of chapter 7 with a velocity as its output, and odds read as a velocity.

use burn::{module::Module, tensor::Tensor};
use elbo_to_diffusion::{
    chapter::{Chapter, Number, Setting},
    data::Dataset,
    error::Result,
    evaluation::{Bound, Draws, OdeBound, Trace},
    figure::{Axis, Plot, Series, Style},
    flow::Probe,
    network::Regressor,
    random::{Stream, rng},
    training::{SHARDS, Shard},
    vdm::{Denoiser, Linear, Schedule, denoising_term},
    weights,
};
use rand_chacha::ChaCha8Rng;

use crate::line::{Straight, levels, x_from_velocity};

/// `cargo run --example ch05_vdm -- --save FILE` wrote it.
const CHAPTER_5: &[u8] = include_bytes!("../weights/ch05_vdm.safetensors");
/// Steps of Runge-Kutta, of four calls each.
const STEPS: usize = 24;
/// Parts of the noise levels, for the bound of the chain.
const PARTS: usize = 52;

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

/// What one network's bounds are, in nats per image.
pub struct Bounds {
    name: &'static str,
    /// Of the chain in continuous time.
    chain: Bound,
    /// Of the flow.
    flow: OdeBound,
}

/// The bounds of a network on the test images.
pub fn bounds<R: Reading>(
    chapter: &Chapter,
    data: &Dataset,
    linear: &Linear,
    name: &'static str,
    network: &R,
) -> Result<Bounds> {
    let draws = Draws { passes: 2, seed: chapter.seed() };
    let (plain, taped) = (network.valid(), network.clone().train().no_grad());
    let denoise = |z, gamma| plain.x_hat(z, gamma, None);
    let on = &chapter.device;
    let chain = Bound::continuous(&data.test, linear, PARTS, denoise, draws, on)?;
    let flow = OdeBound::estimate(
        &data.test,
        &linear.grid(STEPS + 1),
        |z, gamma| taped.x_hat(z, gamma, None),
        Trace::Fresh(Probe::Rademacher),
        draws,
        on,
    )?;
    Ok(Bounds { name, chain, flow })
}

pub fn report(
    chapter: &mut Chapter,
    data: &Dataset,
    linear: &Linear,
    bounds: &[Bounds],
) -> Result<()> {
    let row = |of: &Bounds| {
        let bits =
            |nats: f64, tolerance| Number::within(data.bits_per_dim(nats), tolerance, 4);
        let numbers = [
            bits(of.chain.total(), 0.005),
            bits(of.chain.noise_error, 0.0005),
            bits(of.flow.total(), 0.005),
            bits(of.flow.noise_error, 0.0005),
        ];
        (of.name.to_string(), numbers.to_vec())
    };
    let rows: Vec<_> = bounds.iter().map(row).collect();
    chapter.report.section("Bounds of the digits");
    let header = ["output and loss", "chain (bits/dim)", "s.e.", "flow (bits/dim)", "s.e."];
    chapter.report.table(&header, &rows);
    for (name, of) in ["velocity", "odds", "odds_bound"].into_iter().zip(bounds) {
        let [chain, flow] =
            [of.chain.total(), of.flow.total()].map(|n| data.bits_per_dim(n));
        chapter.metric(&format!("{name}_test_bits_per_dim"), chain);
        chapter.metric(&format!("{name}_flow_test_bits_per_dim"), flow);
    }
    let [_, odds, of_chapter_5] = bounds else { return Ok(()) };
    let width = (linear.gamma_max - linear.gamma_min) / PARTS as f64;
    let parts = odds.chain.denoising.iter().zip(&of_chapter_5.chain.denoising);
    let points = parts.enumerate().map(|(i, (ours, theirs))| {
        let gamma = linear.gamma_min + width * (i as f64 + 0.5);
        (gamma, 1000.0 * data.bits_per_dim(ours - theirs) / width)
    });
    let zero = [linear.gamma_min, linear.gamma_max].map(|gamma| (gamma, 0.0));
    let plot = Plot {
        x: Axis::linear("gamma = -log SNR"),
        y: Axis::linear("millibits/dim per unit of gamma"),
        series: vec![
            Series::new("", Style::Reference, zero),
            Series::new("", Style::Line, points),
        ],
    };
    chapter.figure("loss_by_noise", &plot.draw()?)
}
