//! Chapter 11: flow matching. Straight lines from data to noise, and what they are worth.

#[path = "ch11_flow_matching/blobs.rs"]
mod blobs;
#[path = "ch11_flow_matching/bounds.rs"]
mod bounds;
#[path = "ch11_flow_matching/crossings.rs"]
mod crossings;
#[path = "ch11_flow_matching/digits.rs"]
mod digits;
#[path = "ch11_flow_matching/identities.rs"]
mod identities;
#[path = "ch11_flow_matching/line.rs"]
mod line;
#[path = "ch11_flow_matching/pairs.rs"]
mod pairs;
#[path = "ch11_flow_matching/pictures.rs"]
mod pictures;
#[path = "ch11_flow_matching/plane.rs"]
mod plane;
#[path = "ch11_flow_matching/reflow.rs"]
mod reflow;
#[path = "ch11_flow_matching/samples.rs"]
mod samples;

use std::process::ExitCode;

use burn::module::Module;
use elbo_to_diffusion::{
    chapter::{self, Chapter, Flag, Setting, Spec},
    data::Dataset,
    error::Result,
};

use bounds::bounds;
use digits::Digits;
use plane::Plane;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `cargo run --example ch11_flow_matching -- --steps 1200 --save FILE` wrote it.
const WEIGHTS: &[u8] = include_bytes!("weights/ch11_flow_matching.safetensors");
/// Steps of the networks of the plane for each step of those of the digits, which are 1200,
/// as in chapter 5.
const PLANE: usize = 3;

fn main() -> ExitCode {
    let spec = Spec {
        name: "ch11_flow_matching",
        about: "Chapter 11: learn a velocity along straight lines from data to noise, and follow it in few steps",
        flags: &[Flag::Device, Flag::Steps, Flag::Weights, Flag::Resume],
    };
    chapter::main(spec, run)
}

/// All networks of the chapter.
#[derive(Module, Debug)]
struct Networks {
    plane: Plane,
    digits: Digits,
}

fn run(chapter: &mut Chapter) -> Result<()> {
    let data = chapter.dataset()?;
    let setting = chapter.setting(1200);
    let networks = networks(chapter, &data, &setting)?;
    chapter.save_weights(&networks)?;
    identities::velocity(chapter)?;
    identities::gradients(chapter)?;
    identities::losses_of_one_denoiser(chapter)?;
    reflow::what_it_takes(chapter)?;
    crossings::crossings(chapter, &networks.plane)?;

    let (linear, digits) = (setting.linear(), networks.digits);
    let of_chapter_5 = digits.of_chapter_5()?;
    let of_all = [
        bounds(chapter, &data, &linear, "u, flow matching", &digits.velocity)?,
        bounds(chapter, &data, &linear, "odds, flow matching", &digits.odds)?,
        bounds(chapter, &data, &linear, "odds, bound", &of_chapter_5)?,
    ];
    bounds::report(chapter, &data, &linear, &of_all)?;
    samples::few_calls(chapter, &data, &linear, &digits, &of_chapter_5)
}

/// The networks as the repository ships them or as `--load` names them; trained, if
/// `--steps` is given.
fn networks(chapter: &mut Chapter, data: &Dataset, setting: &Setting) -> Result<Networks> {
    let fresh = Networks {
        plane: Plane::fresh(chapter),
        digits: Digits::fresh(chapter, data, setting),
    };
    if chapter.args.steps.is_some() && chapter.args.load.is_none() {
        return Ok(Networks {
            digits: fresh.digits.train(chapter, data, setting)?,
            plane: fresh.plane.train(chapter, PLANE * setting.training.steps)?,
        });
    }
    Ok(chapter.load_weights_of("ch11_flow_matching", WEIGHTS, fresh)?.valid())
}
