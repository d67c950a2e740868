//! Chapter 7: what the odds of the grey levels have more than a plain output, one thing at a
//! time.

#[path = "ch07_separate/free.rs"]
mod free;
#[allow(dead_code, reason = "chapter 7 uses all of it")]
#[path = "ch07_three_parameterizations/heads.rs"]
mod heads;
#[path = "ch07_three_parameterizations/judge.rs"]
mod judge;
#[path = "ch07_separate/networks.rs"]
mod networks;

use std::process::ExitCode;

use elbo_to_diffusion::{
    chapter::{self, Chapter, Flag, Setting, Spec},
    data::Dataset,
    error::Result,
    random::{Stream, rng},
    vdm::{
        Denoiser,
        Parameterization::{V, X},
    },
};

use free::FreeOdds;
use heads::{Experiment, Head, Loss, setting, train};
use judge::{Judged, judge, report};
use networks::{Alone, OddsOfZ, Told};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SPEC: Spec = Spec {
    name: "ch07_separate",
    about: "Chapter 7: give a plain output the inputs of the odds, and take them from the odds",
    flags: &[Flag::Device, Flag::Steps, Flag::Resume],
};

fn main() -> ExitCode {
    chapter::main(SPEC, run)
}

fn run(chapter: &mut Chapter) -> Result<()> {
    let data = chapter.dataset()?;
    let setting = setting(chapter);
    let judged = networks(chapter, &data, &setting)?;
    report(chapter, &data, ["One thing at a time", "output and inputs"], judged)
}

// ANCHOR: networks
/// Trains each network with the weights of the bound, from the same stream of weights, on
/// the same images with the same noise as those of chapter 7.
fn networks(
    chapter: &mut Chapter,
    data: &Dataset,
    setting: &Setting,
) -> Result<Vec<Judged>> {
    let (trunk, device) = (setting.trunk, chapter.device.clone().autodiff());
    let init = &mut || rng(chapter.seed(), Stream::Initialisation, 0);
    let alone = Alone::of(&data.train, &device);
    let told = |output| Told::new(alone.clone(), trunk, output, &mut init(), &device);
    let (x_told, v_told) = (told(X), told(V));
    let odds = OddsOfZ::new(alone, trunk, &mut init(), &device);
    let (d, levels) = (data.train.dim(), data.train.grey_values());
    let free = FreeOdds::new(&data.train, trunk, &mut init(), &device);
    let even = vec![-(levels.len() as f64).ln(); d * levels.len()];
    let no_frequencies = Denoiser::new(levels, even, trunk, &mut init(), &device);
    Ok(vec![
        one(chapter, data, setting, "x, inputs of the odds", x_told)?,
        one(chapter, data, setting, "v, inputs of the odds", v_told)?,
        one(chapter, data, setting, "odds, z as input", odds)?,
        one(chapter, data, setting, "odds, no frequencies", no_frequencies)?,
        one(chapter, data, setting, "odds, nothing built in", free)?,
    ])
}
// ANCHOR_END: networks

fn one<H: Head>(
    chapter: &mut Chapter,
    data: &Dataset,
    setting: &Setting,
    name: &'static str,
    head: H,
) -> Result<Judged> {
    let head = train(chapter, data, setting, Experiment { name, loss: Loss::Bound, head })?;
    judge(chapter, data, setting, name, |z, gamma| head.x_hat(z, gamma, None))
}
