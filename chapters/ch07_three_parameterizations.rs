//! Chapter 7: three (and one more) ways to read the output of the same network.

#[path = "ch07_three_parameterizations/field.rs"]
mod field;
#[path = "ch07_three_parameterizations/heads.rs"]
mod heads;
#[path = "ch07_three_parameterizations/identities.rs"]
mod identities;
#[path = "ch07_three_parameterizations/judge.rs"]
mod judge;
#[path = "ch07_three_parameterizations/score.rs"]
pub(crate) mod score;

use std::process::ExitCode;

use elbo_to_diffusion::{
    chapter::{self, Chapter, Flag, Setting, Spec},
    data::Dataset,
    error::Result,
    network::Regressor,
    random::{Stream, rng},
    vdm::{
        Cosine, Denoiser,
        Parameterization::{Eps, Score, V, X},
    },
};

use heads::{Experiment, Head, Loss, Plain, setting, train};
use judge::{Judged, judge, report};

#[cfg(not(lab))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) const SPEC: Spec = Spec {
    name: "ch07_three_parameterizations",
    about: "Chapter 7: predict x, the noise, the score or v, and see what is equal and what is not",
    flags: &[Flag::Device, Flag::Mnist, Flag::Full, Flag::Steps, Flag::Resume],
};

fn main() -> ExitCode {
    chapter::main(SPEC, run)
}

pub(crate) fn run(chapter: &mut Chapter) -> Result<()> {
    let data = chapter.dataset()?;
    identities::four_losses(chapter);
    identities::error_scale(chapter)?;
    score::tweedie(chapter)?;
    let setting = setting(chapter);
    let judged = experiments(chapter, &data, &setting)?;
    let words = ["The same network with each head", "output and loss"];
    report(chapter, &data, words, judged)
}

/// Trains the same network with each output and loss, and judges what comes out.
fn experiments(
    chapter: &mut Chapter,
    data: &Dataset,
    setting: &Setting,
) -> Result<Vec<Judged>> {
    let (trunk, linear) = (setting.trunk, setting.linear());
    let cosine = Cosine { gamma_min: trunk.gamma_min, gamma_max: trunk.gamma_max };
    let (simple, simple_cosine) = (Loss::Simple(&linear), Loss::Simple(&cosine));
    let device = chapter.device.clone().autodiff();
    let init = || rng(chapter.seed(), Stream::Initialisation, 0);
    let network = Regressor::new(trunk, data.train.dim(), &mut init(), &device);
    let denoiser = Denoiser::for_images(&data.train, trunk, &mut init(), &device);
    let mut judged = Vec::new();
    for (name, output, loss) in [
        ("x, bound", X, Loss::Bound),
        ("x, simple", X, simple),
        ("eps, bound", Eps, Loss::Bound),
        ("eps, simple, cosine times", Eps, simple_cosine),
        ("score, bound", Score, Loss::Bound),
        ("score, simple", Score, simple),
        ("v, bound", V, Loss::Bound),
        ("v, simple", V, simple),
    ] {
        let experiment =
            Experiment { name, loss, head: Plain { network: network.clone(), output } };
        let head = train(chapter, data, setting, experiment)?;
        judged.push(judge(chapter, data, setting, name, |z, gamma| {
            head.x_hat(z, gamma, None)
        })?);
        if matches!((output, loss), (Eps, Loss::Bound)) {
            let clipped = |z, gamma| head.x_hat(z, gamma, None).clamp(-1.0, 1.0);
            judged.push(judge(chapter, data, setting, "eps, bound, clipped", clipped)?);
        }
    }
    for (name, loss) in [("softmax x, bound", Loss::Bound), ("softmax x, simple", simple)] {
        let head = train(
            chapter,
            data,
            setting,
            Experiment { name, loss, head: denoiser.clone() },
        )?;
        let result =
            judge(chapter, data, setting, name, |z, gamma| head.x_hat(z, gamma, None))?;
        if matches!(loss, Loss::Bound) {
            // The output of the chapters before, trained for the bound.
            chapter.metric("test_bits_per_dim", result.bits);
            chapter.metric("test_bits_per_dim_stderr", result.error);
            chapter.metric("test_bits_per_dim_set_stderr", result.set_error);
        }
        judged.push(result);
    }
    Ok(judged)
}
