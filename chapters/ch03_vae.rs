//! Chapter 3: variational autoencoders of the digits.

use std::process::ExitCode;

use elbo_to_diffusion::{
    autoencoder::{CategoricalDecoder, Fit, GaussianNetwork, NegativeElbo, Vae},
    chapter::{self, Chapter, Flag, Spec},
    data::{Dataset, Images},
    error::Result,
    evaluation::Draws,
    figure::{Plot, Series, Style},
    random::{Stream, normal, rng},
    training::{State, Trained},
};

use self::black_and_white::{INKS, Networks, SAMPLES};

#[path = "black_and_white.rs"]
mod black_and_white;
#[path = "ch03_vae/bounds.rs"]
mod bounds;
#[path = "ch03_vae/collapse.rs"]
mod collapse;
#[path = "ch03_vae/evidence.rs"]
mod evidence;
#[path = "ch03_vae/gradients.rs"]
mod gradients;
#[path = "ch03_vae/linear.rs"]
mod linear;
#[path = "ch03_vae/linear_vae.rs"]
mod linear_vae;
#[path = "mean.rs"]
mod mean;
#[path = "ch03_vae/pictures.rs"]
mod pictures;
#[path = "ch03_vae/plane.rs"]
mod plane;
#[path = "ch03_vae/tighter.rs"]
mod tighter;

/// Steps between two observations of the terms of -ELBO.
const EVERY: usize = 80;

#[cfg(not(lab))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) const SPEC: Spec = Spec {
    name: "ch03_vae",
    about: "Chapter 3: train variational autoencoders on the digits, bound their likelihood, look at their latents",
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

pub(crate) fn run(chapter: &mut Chapter) -> Result<()> {
    if black_and_white::asked_for(chapter)? { mnist(chapter) } else { digits(chapter) }
}

// ANCHOR: run
fn digits(chapter: &mut Chapter) -> Result<()> {
    let data = chapter.dataset()?;
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    let steps = chapter.steps(2400);
    let init = |k: usize| rng(seed, Stream::Initialisation, k as u64);
    let fresh = || Vae::new(&data.train, 16, Vae::SIZES, &mut init(16), &device);
    let loaded = chapter.load_weights(&fresh())?;
    gradients::report_simple(chapter, &gradients::of_simple_functions(seed));

    let wide = match loaded {
        Some(model) => model,
        None => {
            let fit = Fit::new(steps, 0.3);
            let trained = train(chapter, &data, "16 latents", &fresh(), &fit)?;
            draw_terms(chapter, "terms_16_latents", &trained.observed)?;
            trained.model
        }
    };
    chapter.save_weights(&wide)?;
    let plane = Vae::new(&data.train, 2, plane::SIZES, &mut init(2), &device);
    let fit = plane::fit(steps);
    let trained = train(chapter, &data, "2 latents", &plane, &fit)?;
    draw_terms(chapter, "terms_2_latents", &trained.observed)?;
    let plane = trained.model;

    let found = bounds::measure(chapter, &data, &wide, &plane)?;
    bounds::report(chapter, &data, &found);
    let found = tighter::measure(chapter, &data, &wide, &plane)?;
    tighter::report(chapter, &data, &found);
    let found = pictures::Pictures::new(chapter, &data, &wide, &plane)?;
    found.draw(chapter, data.test.side())?;
    pictures::measure_samples(chapter, &data, &wide)?;
    let found = gradients::of_the_decoder(chapter, &data, &wide)?;
    gradients::report_decoder(chapter, &found);
    let found = collapse::Latents::of(&wide, &data.test, &chapter.device)?;
    collapse::report_active(chapter, &found);
    let found = collapse::weigh_the_kl(chapter, &data, fresh, steps / 5)?;
    collapse::report_weights(chapter, &data, &found)?;
    let found = linear::compare(chapter, &data)?;
    linear::report(chapter, &found);
    Ok(())
}
// ANCHOR_END: run

// ANCHOR: train
/// Trains a model; on the way it observes both terms of -ELBO, in bits per dimension:
/// reconstruction and KL of training images, then of the validation images.
fn train(
    chapter: &mut Chapter,
    data: &Dataset,
    what: &str, // which model, for progress and checkpoints
    model: &Vae,
    fit: &Fit,
) -> Result<Trained<Vae>> {
    let draws = Draws { passes: 2, seed: chapter.seed() };
    let device = chapter.device.clone();
    let seen = data.train.range(0, data.validation.len());
    let observe = |state: &State<Vae>| {
        let mut terms = Vec::new();
        if state.step % EVERY == 1 {
            let model = state.average();
            for images in [&seen, &data.validation] {
                let elbo = NegativeElbo::estimate(&model, images, draws, &device)?;
                let nats = [elbo.reconstruction, elbo.kl[0]];
                terms.extend(nats.map(|nats| data.bits_per_dim(nats)));
            }
        }
        Ok(terms)
    };
    let loss = fit.loss(&data.train, chapter.seed(), &device);
    chapter.stage(what, fit).observing(observe).train(model, loss)
}
// ANCHOR_END: train

fn draw_terms(chapter: &Chapter, name: &str, observed: &[f64]) -> Result<()> {
    let curve = |name, term: usize| {
        let steps = (0..).map(|i| f64::from(i * EVERY as u32 + 1));
        Series::new(
            name,
            Style::Line,
            steps.zip(observed.iter().skip(term).step_by(4).copied()),
        )
    };
    let series = vec![
        curve("reconstruction, training", 0),
        curve("reconstruction, validation", 2),
        curve("KL, training", 1),
        curve("KL, validation", 3),
    ];
    let plot =
        Plot { series, ..Plot::curve("training step", "term of -ELBO (bits/dim)", []) };
    chapter.figure(name, &plot.draw()?)
}

/// One model of black and white MNIST, with 32 latents.
fn mnist(chapter: &mut Chapter) -> Result<()> {
    const LATENTS: usize = 32;
    let fresh = |networks: Networks, train: &Images, rng: &mut _, device: &_| match networks
    {
        Networks::Dense => Vae::new(train, LATENTS, [networks.size(); 2], rng, device),
        Networks::Convolutional => Vae {
            encoder: GaussianNetwork::convolutional(
                train.side(),
                LATENTS,
                networks.size(),
                rng,
                device,
            ),
            decoder: CategoricalDecoder::convolutional(
                LATENTS,
                train,
                networks.size(),
                rng,
                device,
            ),
        },
    };
    let device = chapter.device.clone();
    let means = |model: &Vae, noise: &mut _| {
        model.decoder.mean(normal([SAMPLES, LATENTS], noise, &device), &INKS)
    };
    black_and_white::run(chapter, fresh, means)
}
