//! Chapter 12: masks, noise for data that are not numbers; and an exact likelihood.

#[path = "ch12_masks/estimators.rs"]
mod estimators;
#[path = "ch12_masks/gumbel.rs"]
mod gumbel;
#[path = "ch12_masks/likelihood.rs"]
mod likelihood;
#[path = "ch12_masks/profile.rs"]
mod profile;
#[path = "ch12_masks/report.rs"]
mod report;
#[path = "ch12_masks/samples.rs"]
mod samples;
#[path = "ch12_masks/train.rs"]
mod train;
#[path = "ch12_masks/two_pixels.rs"]
mod two_pixels;

use std::{path::Path, process::ExitCode};

use burn::module::Module;
use elbo_to_diffusion::{
    chapter::{self, Chapter, DataChoice, Flag, Preset, Spec},
    data::Dataset,
    error::Result,
    evaluation::Draws,
    masks::{CausalNetwork, MaskedNetwork},
    random::{Stream, rng},
    weights,
};

use likelihood::Likelihoods;
use profile::Profile;

/// The program, and the name in its weights.
const NAME: &str = "ch12_masks";
/// The masked network of the default run, which
/// `cargo run --example ch12_masks -- --steps 1200 --save-masked` does not
const WEIGHTS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/chapters/weights/ch12_masks.safetensors");
/// Each part of the data is reported on at most this many of its first images. The digits
/// have fewer.
const REPORTED: usize = 500;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let spec = Spec {
        name: NAME,
        about: "Chapter 12: diffusion that masks pixels, and an exact likelihood beside its bound",
        flags: &[
            Flag::Device,
            Flag::Mnist,
            Flag::Full,
            Flag::Steps,
            Flag::Weights,
            Flag::Resume,
        ],
    };
    chapter::main(spec, run)
}

/// The two networks of the chapter.
#[derive(Module, Debug)]
struct Model {
    masked: MaskedNetwork,
    causal: CausalNetwork,
}

fn run(chapter: &mut Chapter) -> Result<()> {
    let data = chapter.dataset()?;
    let _ = (Path::new(WEIGHTS), Preset::Full, DataChoice::Digits, weights::load::<Model>);
    two_pixels::report(chapter)?;
    let setting = chapter.setting(1200);
    let init = &mut rng(chapter.seed(), Stream::Initialisation, 0);
    let device = chapter.device.clone().autodiff();
    let fresh = Model {
        masked: MaskedNetwork::for_images(&data.train, setting.trunk, init, &device),
        causal: CausalNetwork::for_images(
            &data.train,
            train::causal_trunk(setting.trunk),
            init,
            &device,
        ),
    };
    let model = match chapter.load_weights(&fresh)? {
        Some(model) => model,
        None => Model {
            masked: train::masked(chapter, &data.train, &setting, &fresh.masked)?,
            causal: train::causal(chapter, &data.train, &setting, &fresh.causal)?,
        },
    };
    chapter.save_weights(&model)?;
    masked(chapter, &data, &model.masked)?;
    let exact = Likelihoods::of(chapter, &data, &model)?;
    likelihood::report(chapter, &data, &exact);
    Ok(())
}

fn masked(chapter: &mut Chapter, data: &Dataset, network: &MaskedNetwork) -> Result<()> {
    let draws = Draws { passes: 4, seed: chapter.seed() };
    let test = Profile::estimate(&data.test.first(REPORTED), network, draws)?;
    let validation = Profile::estimate(&data.validation.first(REPORTED), network, draws)?;
    report::bounds(chapter, data, &validation, &test)
}
