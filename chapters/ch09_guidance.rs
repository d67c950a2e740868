//! Chapter 9: conditions. A denoiser that takes a label, what the label is worth, and
//! samples that are guided to it.

#[path = "ch09_guidance/baselines.rs"]
mod baselines;
#[path = "ch09_guidance/bounds.rs"]
mod bounds;
#[path = "ch09_guidance/classifier.rs"]
mod classifier;
#[path = "ch09_guidance/guide.rs"]
mod guide;
#[path = "ch09_guidance/line.rs"]
mod line;
#[path = "ch09_guidance/measure.rs"]
mod measure;
#[path = "ch09_guidance/report.rs"]
mod report;
#[path = "ch09_guidance/request.rs"]
mod request;
#[path = "ch09_guidance/sweep.rs"]
mod sweep;
#[path = "ch09_guidance/tilting.rs"]
mod tilting;
#[path = "ch09_guidance/train.rs"]
mod train;

use std::process::ExitCode;

use burn::tensor::Tensor;
use elbo_to_diffusion::{
    chapter::{self, Chapter, Flag, Setting, Spec},
    data::Dataset,
    error::Result,
    evaluation::Draws,
    host::download,
    vdm::Linear,
};

use bounds::ByLabel;
use measure::{seen, share};
use train::Networks;

/// Samples of each class.
const EACH: usize = 50;
/// The noise levels at which a label is worth most, as the figure `label_worth` shows of
/// the validation images.
const MIDDLE: [f64; 2] = [-2.0, 3.0];
/// What `--steps 2500 --save chapters/weights/ch09_guidance.safetensors` wrote.
const WEIGHTS: &[u8] = include_bytes!("weights/ch09_guidance.safetensors");

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let spec = Spec {
        name: "ch09_guidance",
        about: "Chapter 9: tell a diffusion model the label, weigh it in bits, and guide samples to it",
        flags: &[Flag::Device, Flag::Steps, Flag::Weights, Flag::Resume, Flag::Guidance],
    };
    chapter::main(spec, run)
}

fn run(chapter: &mut Chapter) -> Result<()> {
    let data = chapter.labelled_dataset()?;
    let setting = chapter.setting(2500);
    let device = chapter.device.clone().autodiff();
    let fresh = Networks::new(&data, &setting, chapter.seed(), &device);
    let networks = match chapter.load_or_shipped(&fresh, WEIGHTS)? {
        Some(networks) => networks,
        None => train::train(chapter, &data, &setting, fresh)?,
    };
    chapter.save_weights(&networks)?;
    if chapter.args.guidance.is_some() || chapter.args.label.is_some() {
        return request::answer(chapter, &data, &setting, &networks);
    }
    let (schedule, draws) = (setting.linear(), Draws { passes: 2, seed: chapter.seed() });
    let worth = |images| {
        bounds::worth(images, &networks.denoiser, &schedule, draws, &chapter.device)
    };
    let (validation, test) = (worth(&data.validation)?, worth(&data.test)?);
    let classified = classify(chapter, &data, &setting, &networks)?;
    report::worth(chapter, &data, &schedule, [&validation, &test])?;
    report::summed_out(chapter, &data, classified.summed_out);
    report::classified(chapter, &classified)?;
    tilting::report(chapter, &tilting::measure()?)?;
    let guided = sweep::sweep(chapter, &data, &setting, &networks)?;
    sweep::report(chapter, &guided)?;
    sweep::samples(chapter, &data, &guided.drawn)
}

/// How well the test images are classified.
pub struct Classified {
    nearest_neighbour: f64,
    logistic_regression: f64,
    noisy: f64,
    judge: f64,
    /// By the bound: with so many noises for each label, drawn for each label apart, for
    /// all together, and for all together in the middle of the noise levels.
    by_draws: Vec<(usize, [f64; 3])>,
    /// The variance of a difference of two bounds, in nats^2, apart and together.
    noise: [f64; 2],
    /// The bound with the label told, and the one without it that the conditional bounds
    /// imply, from the same noise, in nats.
    summed_out: [f64; 2],
}

fn classify(
    chapter: &Chapter,
    data: &Dataset,
    setting: &Setting,
    networks: &Networks,
) -> Result<Classified> {
    let (device, test) = (&chapter.device, &data.test);
    let labels = test.known_labels()?;
    let clean = Tensor::full([test.len()], setting.trunk.gamma_min, device);
    let noisy = networks.noisy.log_probs(test.values(device), clean, None);
    let noisy = download(noisy.argmax(1).float())?.into_iter().map(|c| c as u8);
    // ANCHOR: by_bound
    let (mut by_draws, mut noise, mut summed_out) = (Vec::new(), [0.0; 2], [0.0; 2]);
    let [gamma_min, gamma_max] = MIDDLE;
    let (all, middle) = (setting.linear(), Linear { gamma_min, gamma_max });
    for strata in [1, 4, 16] {
        let bounds = |schedule, paired| {
            let (denoiser, seed) = (&networks.denoiser, chapter.seed());
            ByLabel::of(test, denoiser, schedule, (strata, paired), seed, device)
        };
        let ways = [bounds(&all, false)?, bounds(&all, true)?, bounds(&middle, true)?];
        let [one, both] = [0, 1].map(|i| ways.each_ref().map(|b| b.accuracy(labels)[i]));
        by_draws.extend([(strata, one), (2 * strata, both)]);
        noise = [0, 1].map(|i| ways[i].noise_of_difference(labels));
        summed_out = [ways[1].told(labels), ways[1].summed_out()];
    }
    // ANCHOR_END: by_bound
    Ok(Classified {
        nearest_neighbour: baselines::nearest_neighbour(data)?,
        logistic_regression: baselines::logistic_regression(data, device)?,
        noisy: share(&noisy.collect::<Vec<_>>(), labels),
        judge: share(&seen(test, &networks.judge, device)?, labels),
        by_draws,
        noise,
        summed_out,
    })
}
