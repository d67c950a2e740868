//! Chapter 5's training on several devices at once, on this machine and on others.
//!
//! On each machine that lends a device: `cargo run --example scale_out --features remote --
//! --serve 3000`. On the one that trains: `cargo run --example scale_out --features remote
//! -- --devices cpu,HOST:3000`.

use std::process::ExitCode;

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use elbo_to_diffusion::{
    chapter::{self, Chapter, Flag, Number, Preset, Spec},
    data::Dataset,
    error::{Error, Result},
    evaluation::{Bound, Draws},
    random::{Stream, rng},
    training::Shard,
    vdm::{Denoiser, NoiseLevels, Schedule, denoising_term},
};

/// The images of a batch, whatever the number of devices.
const BATCH: usize = 128;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let spec = Spec {
        name: "scale_out",
        about: "Train chapter 5's full preset on several devices, or lend a device to others",
        flags: &[
            Flag::Device,
            Flag::Mnist,
            Flag::Full,
            Flag::Steps,
            Flag::Weights,
            Flag::Resume,
            Flag::Remote,
        ],
    };
    chapter::main(spec, run)
}

fn run(chapter: &mut Chapter) -> Result<()> {
    if chapter.args.load.is_some() {
        return Err(Error::usage("scale_out trains; leave out --load"));
    }
    let named = chapter.args.devices.len();
    if named > 0 && !BATCH.is_multiple_of(named) {
        return Err(Error::usage(format!(
            "--devices names {named}, among which a batch of {BATCH} images cannot be shared out evenly; name 1, 2, 4, 8, ..."
        )));
    }
    chapter.args.preset.get_or_insert(Preset::Full);
    let data = chapter.dataset()?;
    let devices: Vec<Device> =
        chapter.devices()?.into_iter().map(Device::autodiff).collect();
    let setting = chapter.setting(1200);
    let schedule = setting.linear();

    let init = &mut rng(chapter.seed(), Stream::Initialisation, 0);
    let home = chapter.device.clone().autodiff();
    let model = Denoiser::for_images(&data.train, setting.trunk, init, &home);
    let seed = chapter.seed();
    // ANCHOR: loss
    let loss = |model: &Denoiser, shard: Shard| {
        // The shard is computed where this copy of the model is.
        let device = model.devices().into_iter().next().unwrap_or_else(|| home.clone());
        let n = BATCH / shard.count;
        let at = NoiseLevels::at(&schedule, &shard.times(n, seed), &device);
        let (x, eps) =
            shard.images_and_noise(&data.train, n, setting.shifted, seed, &device);
        let dropout = &mut shard.rng(seed, Stream::Dropout);
        let denoise = |z, gamma| model.denoise(z, gamma, Some(dropout));
        denoising_term(x, at, eps, denoise).mean() * data.bits_per_dim(1.0)
    };
    // ANCHOR_END: loss
    // A device that breaks down makes Burn panic. The run turns that into a sentence, so it
    // need not be printed as well.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let trained = chapter.stage("training", &setting).on(&devices).train(&model, loss);
    std::panic::set_hook(hook);
    let trained = trained?;
    chapter.save_weights(&trained.model)?;
    report(chapter, &data, &trained.losses, &trained.model, &schedule)
}

fn report(
    chapter: &mut Chapter,
    data: &Dataset,
    losses: &[f64],
    model: &Denoiser,
    schedule: &(impl Schedule + Sync),
) -> Result<()> {
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let part = losses.len().div_ceil(10).max(1);
    let row = |(i, part_losses): (usize, &[f64])| {
        let last = i * part + part_losses.len();
        (format!("to step {last}"), vec![Number::within(mean(part_losses), 0.02, 3)])
    };
    let rows: Vec<_> = losses.chunks(part).enumerate().map(row).collect();
    chapter.report.section("Training");
    chapter.report.table(&["mean loss", "bits/dim"], &rows);

    let denoise = |z: Tensor<2>, gamma| model.denoise(z, gamma, None);
    let draws = Draws { passes: 2, seed: chapter.seed() };
    let bound = Bound::continuous(
        &data.validation.first(350),
        schedule,
        16,
        denoise,
        draws,
        &chapter.device,
    )?;
    let (bits, error) =
        (data.bits_per_dim(bound.total()), data.bits_per_dim(bound.noise_error));
    chapter.report.section("The bound");
    chapter.report.row("validation bound", &Number::within(bits, 0.02, 3), "bits/dim");
    chapter.report.row("standard error", &Number::within(error, 0.001, 4), "bits/dim");
    chapter.metric("validation_bits_per_dim", bits);
    Ok(())
}
