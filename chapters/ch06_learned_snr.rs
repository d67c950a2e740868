//! Chapter 6: continuous time, and a noise schedule that is learned.

#[path = "ch06_learned_snr/ends.rs"]
mod ends;
#[path = "ch06_learned_snr/report.rs"]
mod report;
#[path = "ch06_learned_snr/samples.rs"]
mod samples;
#[path = "ch06_learned_snr/schedules.rs"]
mod schedules;
#[path = "ch06_learned_snr/train.rs"]
mod train;

use std::process::ExitCode;

use burn::module::Module;
use elbo_to_diffusion::{
    chapter::{self, Chapter, Flag, Setting, Spec, report_samples},
    data::{Dataset, Images},
    error::Result,
    evaluation::{Bound, Draws},
    random::{Stream, rng},
    training::Training,
    vdm::{Denoiser, Learned, Schedule},
};

use schedules::Schedules;
use train::{Run, train};

/// Each part of the data is compared on at most this many of its first images. The digits
/// have fewer.
const REPORTED: usize = 500;

#[cfg(not(lab))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) const SPEC: Spec = Spec {
    name: "ch06_learned_snr",
    about: "Chapter 6: bound the likelihood in continuous time, and learn the noise schedule",
    flags: &[
        Flag::Device,
        Flag::Mnist,
        Flag::Full,
        Flag::Steps,
        Flag::Weights,
        Flag::Resume,
    ],
};

fn main() -> ExitCode {
    chapter::main(SPEC, run)
}

/// The denoiser and the schedule it is trained with.
#[derive(Module, Debug)]
pub(crate) struct Model {
    pub(crate) denoiser: Denoiser,
    pub(crate) schedule: Learned,
}

pub(crate) fn run(chapter: &mut Chapter) -> Result<()> {
    let data = chapter.dataset()?;
    let setting = chapter.setting(900);
    let device = chapter.device.clone().autodiff();
    let init = &mut rng(chapter.seed(), Stream::Initialisation, 0);
    let fresh = Model {
        denoiser: Denoiser::for_images(&data.train, setting.trunk, init, &device)
            .with_curves(setting.curves, &device),
        schedule: Learned::new(setting.trunk.gamma_min, setting.trunk.gamma_max, &device),
    };
    let model = match chapter.load_weights(&fresh)? {
        Some(model) => model,
        None => {
            let run = Run { stage: "training", training: &setting.training, fixed: None };
            train(chapter, &data.train, &setting, &fresh, run)?
        }
    };
    chapter.save_weights(&model)?;
    let schedules = Schedules::of(&model.schedule)?;

    let bounds = one_network(chapter, &data, &model, &schedules)?;
    report::one_network(chapter, &data, &schedules, &bounds)?;
    let discrete = discrete_time(chapter, &data, &model, &schedules)?;
    report::discrete_time(chapter, &data, &discrete);
    let samples = samples::draw(chapter, &data, &model, &schedules)?;
    report_samples(chapter, &data, &[("samples", samples)])?;
    let path = ends::descend(chapter, &data, &model)?;
    ends::report(chapter, &data, &model, &path)?;
    let trained = equal_training(chapter, &data, &setting, &fresh, &schedules)?;
    report::equal_training(chapter, &data, &trained);
    Ok(())
}

impl Model {
    /// The bound in continuous time, from one t in each of `parts` of [0, 1] per image and
    /// pass.
    fn bound(
        &self,
        chapter: &Chapter,
        images: &Images,
        schedule: &(dyn Schedule + Sync),
        parts: usize,
    ) -> Result<Bound> {
        let denoise = |z, gamma| self.denoiser.denoise(z, gamma, None);
        let draws = Draws { passes: 2, seed: chapter.seed() };
        Bound::continuous(images, schedule, parts, denoise, draws, &chapter.device)
    }
}

/// The bounds of one network.
struct OneNetwork {
    /// With each schedule, on the same test images and with the same seed.
    test: [(&'static str, Bound); 3],
    /// With the learned schedule, on the validation images.
    validation: Bound,
    /// With the learned schedule, on all test images, if these are more.
    all: Option<Bound>,
}

fn one_network(
    chapter: &Chapter,
    data: &Dataset,
    model: &Model,
    schedules: &Schedules,
) -> Result<OneNetwork> {
    // ANCHOR: one_network
    let test = data.test.first(REPORTED);
    let bound = |schedule| model.bound(chapter, &test, schedule, 64);
    let test = [
        ("linear", bound(&schedules.linear)?),
        ("cosine", bound(&schedules.cosine)?),
        ("learned", bound(&schedules.learned)?),
    ];
    // ANCHOR_END: one_network
    let validation =
        model.bound(chapter, &data.validation.first(REPORTED), &schedules.learned, 64)?;
    let more = data.test.len() > REPORTED;
    let all = more
        .then(|| model.bound(chapter, &data.test, &schedules.learned, 8))
        .transpose()?;
    Ok(OneNetwork { test, validation, all })
}

/// The bounds of chains with few latents, whose noise levels are those of each schedule at
/// equal distances in t.
fn discrete_time(
    chapter: &Chapter,
    data: &Dataset,
    model: &Model,
    schedules: &Schedules,
) -> Result<Vec<(usize, [Bound; 3])>> {
    let test = data.test.first(REPORTED);
    let denoise = |z, gamma| model.denoiser.denoise(z, gamma, None);
    let draws = Draws { passes: 2, seed: chapter.seed() };
    let bound = |schedule: &dyn Schedule, latents| {
        Bound::discrete(&test, &schedule.grid(latents), denoise, draws, &chapter.device)
    };
    let Schedules { linear, cosine, learned } = schedules;
    let row = |latents| {
        Ok((
            latents,
            [bound(linear, latents)?, bound(cosine, latents)?, bound(learned, latents)?],
        ))
    };
    [10, 25, 50].into_iter().map(row).collect()
}

/// Short training runs that differ in the schedule alone, all bounded with the learned
/// schedule on the validation images.
fn equal_training(
    chapter: &mut Chapter,
    data: &Dataset,
    setting: &Setting,
    fresh: &Model,
    schedules: &Schedules,
) -> Result<Vec<(&'static str, Bound)>> {
    // In a short run no longer than the one before.
    let training = Training::new(setting.training.steps.min(200));
    let validation = data.validation.first(REPORTED);
    let setting = &Setting { shifted: 0.0, ..setting.clone() };
    let mut trained = Vec::new();
    for (name, schedule) in schedules.named() {
        let fixed = (name != "learned").then_some(schedule);
        let run = Run { stage: &format!("{name} schedule"), training: &training, fixed };
        let model = train(chapter, &data.train, setting, fresh, run)?;
        trained.push((name, model.bound(chapter, &validation, &schedules.learned, 32)?));
    }
    Ok(trained)
}
