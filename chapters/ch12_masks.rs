//! Chapter 12: masks, noise that hides pixels; and an exact likelihood beside the bound.

#[path = "ch12_masks/estimators.rs"]
mod estimators;
#[path = "ch12_masks/gumbel.rs"]
mod gumbel;
#[path = "ch12_masks/likelihood.rs"]
mod likelihood;
#[path = "ch12_masks/pixels.rs"]
mod pixels;
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
#[path = "ch12_masks/walk.rs"]
mod walk;

use std::{path::Path, process::ExitCode};

use burn::module::Module;
use elbo_to_diffusion::{
    chapter::{self, Chapter, DataChoice, Flag, Preset, Setting, Spec},
    data::Dataset,
    error::Result,
    evaluation::Draws,
    masks::{CausalNetwork, MaskedNetwork},
    random::{Stream, rng},
    weights,
};

use likelihood::Likelihoods;
use profile::Profile;

/// The name of the program, also in its weights.
const NAME: &str = "ch12_masks";
/// Written by `cargo run --example ch12_masks -- --steps 1200 --save
/// chapters/weights/ch12_masks.safetensors`.
const WEIGHTS: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/chapters/weights/ch12_masks.safetensors");
/// Training steps of the masked network: those of chapter 5.
const MASKED_STEPS: usize = 1200;
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

/// The networks of the chapter.
#[derive(Module, Debug)]
struct Model {
    /// Of the digits alone.
    masked: Option<MaskedNetwork>,
    causal: CausalNetwork,
}

fn run(chapter: &mut Chapter) -> Result<()> {
    let data = chapter.dataset()?;
    let setting = chapter.setting(MASKED_STEPS);
    let model = model(chapter, &data, &setting)?;
    chapter.save_weights(&model)?;
    two_pixels::report(chapter)?;
    if let Some(network) = &model.masked {
        let draws = Draws { passes: 4, seed: chapter.seed() };
        let test = Profile::estimate(&data.test, network, draws)?;
        let validation = Profile::estimate(&data.validation, network, draws)?;
        report::bounds(chapter, &data, &validation, &test);
        report::pixel_costs(chapter, &data, &test)?;
        report::steps(chapter, &data, &test)?;
        report::constants(chapter, &data, &test);
        let deviations = estimators::deviations(&data.test, network, chapter.seed())?;
        report::estimators(chapter, &data, &deviations)?;
    }
    let exact = Likelihoods::of(&data, &model)?;
    report::likelihoods(chapter, &data, &exact);
    let drawn = samples::draw(chapter, &data, &model)?;
    report::samples(chapter, &data, &drawn)?;
    if let Some(network) = &model.masked {
        walk::step_by_step(chapter, &data, network)?;
    }
    report::gumbel(chapter);
    Ok(())
}

/// The trained networks. Those of `--load`; else, the masked one is read from the file that
/// an earlier run wrote unless `--steps` or `--preset full` ask for training, and the
/// causal one is trained.
fn model(chapter: &mut Chapter, data: &Dataset, setting: &Setting) -> Result<Model> {
    let init = &mut rng(chapter.seed(), Stream::Initialisation, 0);
    let device = chapter.device.clone().autodiff();
    // ANCHOR: networks
    let causal = train::Causal::setting(chapter, setting);
    let digits = chapter.data() == DataChoice::Digits;
    let fresh = Model {
        masked: digits
            .then(|| MaskedNetwork::for_images(&data.train, setting.trunk, init, &device)),
        causal: CausalNetwork::for_images(&data.train, causal.trunk, init, &device),
    };
    // ANCHOR_END: networks
    if let Some(model) = chapter.load_weights(&fresh)? {
        return Ok(model);
    }
    let trains = chapter.args.steps.is_some() || chapter.preset() == Preset::Full;
    let masked = match &fresh.masked {
        Some(network) if trains => {
            Some(train::masked(chapter, &data.train, setting, network)?)
        }
        Some(_) => weights::load(fresh.clone(), NAME, Path::new(WEIGHTS))?.valid().masked,
        None => None,
    };
    let causal = train::causal(chapter, &data.train, &causal, &fresh.causal)?;
    Ok(Model { masked, causal })
}
