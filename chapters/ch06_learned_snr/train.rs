//! How the denoiser and its schedule are trained.

use burn::module::Module;
use elbo_to_diffusion::{
    chapter::{Chapter, Setting},
    data::{Images, bits_per_dim},
    error::Result,
    host::upload,
    random::Stream,
    training::{SHARDS, Shard, Training},
    vdm::{Denoiser, NoiseLevels, Schedule, denoising_term},
};

use super::Model;

/// One training run.
pub struct Run<'a> {
    pub stage: &'a str,
    pub training: &'a Training,
    /// The schedule; without one, the model's own learns along.
    pub fixed: Option<&'a (dyn Schedule + Sync)>,
}

// ANCHOR: train
/// Trains a copy of the model.
pub fn train(
    chapter: &mut Chapter,
    images: &Images,
    setting: &Setting,
    model: &Model,
    run: Run,
) -> Result<Model> {
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    // L_MC, one draw of the diffusion loss for each time, in bits/dim. Equation
    // `continuous-loss`.
    let draw = |denoiser: &Denoiser, at: NoiseLevels, shard: Shard, drop: bool| {
        let n = at.gamma.dims()[0];
        let (x, eps) = shard.images_and_noise(images, n, setting.shifted, seed, &device);
        let dropout = &mut shard.rng(seed, Stream::Dropout);
        let denoise = |z, gamma| denoiser.denoise(z, gamma, drop.then_some(dropout));
        denoising_term(x, at, eps, denoise) * bits_per_dim(1.0, images.dim())
    };
    let loss = |model: &Model, shard: Shard| {
        let t = shard.times(setting.batch / SHARDS, seed);
        if let Some(schedule) = run.fixed {
            return draw(
                &model.denoiser,
                NoiseLevels::at(schedule, &t, &device),
                shard,
                true,
            )
            .mean();
        }
        // ANCHOR: two_losses
        // The denoiser learns from the mean of L_MC. To the interior of the schedule that
        // mean says nothing.
        let at = NoiseLevels::of_learned(&model.schedule, upload(t, &device)).detach();
        let mean = draw(&model.denoiser, at, shard, true).mean();
        // The schedule learns from the mean square, which with a fixed mean is the
        // variance. Equation `variance-gradient`. The factor keeps it small where gradients
        // are clipped; AdamW's steps do not depend on it.
        let t = shard.times(setting.schedule_batch / SHARDS, seed);
        let at = NoiseLevels::of_learned(&model.schedule, upload(t, &device));
        // What rounding leaves of the loss of an image that is all but known has a slope
        // too small for f32.
        let losses =
            draw(&model.denoiser.clone().no_grad(), at, shard, false).clamp_min(1e-6);
        mean + losses.square().mean() * 0.01
        // ANCHOR_END: two_losses
    };
    Ok(chapter.stage(run.stage, run.training).train(model, loss)?.model)
}
// ANCHOR_END: train
