//! Chapter 3: what its default run leaves open. What more steps and the slow rise of the
//! weight of the KL do, each alone, and what one encoder costs on the images that it was
//! trained on. This takes some minutes; `benches/recorded/controls.txt` holds a run.

#[allow(dead_code, reason = "chapter 3 uses all of it")]
#[path = "ch03_vae/collapse.rs"]
mod collapse;
#[path = "ch03_vae/evidence.rs"]
mod evidence;
#[path = "mean.rs"]
mod mean;
#[path = "ch03_vae/plane.rs"]
mod plane;

use std::process::ExitCode;

use elbo_to_diffusion::{
    autoencoder::{Fit, NegativeElbo, Vae},
    chapter::{self, Chapter, Flag, Number, Spec},
    data::Dataset,
    error::Result,
    evaluation::Draws,
    random::{Stream, rng},
};

use collapse::Latents;
use mean::mean;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SPEC: Spec = Spec {
    name: "ch03_controls",
    about: "Chapter 3: more steps and the rise of the KL's weight, each alone; one encoder on training images",
    flags: &[Flag::Device, Flag::Steps, Flag::Resume],
};

fn main() -> ExitCode {
    chapter::main(SPEC, run)
}

fn run(chapter: &mut Chapter) -> Result<()> {
    let data = chapter.dataset()?;
    let steps = chapter.steps(2400);
    weights(chapter, &data, steps)?;
    one_encoder(chapter, &data, steps)
}

/// A row for each number of steps, weight of the KL, and way to that weight.
fn weights(chapter: &mut Chapter, data: &Dataset, all: usize) -> Result<()> {
    let (seed, device) = (chapter.seed(), chapter.device.clone());
    let draws = Draws { passes: 16, seed };
    let init = || rng(seed, Stream::Initialisation, 16);
    let fresh =
        || Vae::new(&data.train, 16, Vae::SIZES, &mut init(), &device.clone().autodiff());
    let short = (all / 5).max(1);
    let mut rows = Vec::new();
    for (steps, weight) in
        [(short, 1.0), (short, 4.0), (short, 10.0), (all, 1.0), (all, 4.0)]
    {
        for rises in [false, true] {
            let fit = Fit { kl_weight: weight, ..Fit::new(steps, 0.3) };
            let fit = if rises { fit } else { Fit { kl_warmup: 0, ..fit } };
            let name = format!(
                "{weight}, {steps} steps, {}",
                if rises { "rising" } else { "constant" }
            );
            let loss = fit.loss(&data.train, seed, &device);
            let model = chapter.stage(&name, &fit).train(&fresh(), loss)?.model;
            let elbo = NegativeElbo::estimate(&model, &data.validation, draws, &device)?;
            let latents = Latents::of(&model, &data.validation, &device)?;
            let bits = |nats: f64| Number::within(data.bits_per_dim(nats), 0.005, 3);
            let cells = [elbo.reconstruction, elbo.kl[0], elbo.total()].map(bits).to_vec();
            let active = Number::within(latents.active as f64, 1.0, 0);
            rows.push((name, [cells, vec![active]].concat()));
        }
    }
    chapter.report.section("Steps and the way to the weight (validation, bits/dim)");
    let header = ["weight", "reconstruction", "KL", "-ELBO", "active latents"];
    chapter.report.table(&header, &rows);
    Ok(())
}

/// The two parts of the gap in the plane, on training and on test images.
fn one_encoder(chapter: &mut Chapter, data: &Dataset, steps: usize) -> Result<()> {
    let (seed, device) = (chapter.seed(), chapter.device.clone());
    let init = &mut rng(seed, Stream::Initialisation, 2);
    let fresh = Vae::new(&data.train, 2, plane::SIZES, init, &device.clone().autodiff());
    let fit = plane::fit(steps);
    let loss = fit.loss(&data.train, seed, &device);
    let model = chapter.stage("2 latents", &fit).train(&fresh, loss)?.model;
    let mut rows = Vec::new();
    for (name, images) in [("training", &data.train), ("test", &data.test)] {
        let posteriors = evidence::posteriors(&model, images, &device)?;
        let evidence: Vec<f64> = posteriors.iter().map(|p| p.log_evidence).collect();
        let found =
            evidence::one_posterior_per_image(chapter, &model, images, &posteriors)?;
        let least = -mean(&evidence);
        let nats =
            [found.encoder, found.own, least, found.encoder - found.own, found.own - least];
        let bits = |nats: f64| Number::within(data.bits_per_dim(nats), 0.02, 3);
        rows.push((name.to_owned(), nats.map(bits).to_vec()));
    }
    chapter.report.section("The price of one encoder (bits/dim)");
    let header =
        ["images", "encoder", "a q for each image", "-log p(x)", "amortisation", "family"];
    chapter.report.table(&header, &rows);
    Ok(())
}
