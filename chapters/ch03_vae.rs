//! Chapter 3: variational autoencoders of the digits.

use std::process::ExitCode;

use burn::module::Module;
use elbo_to_diffusion::{
    autoencoder::{CategoricalDecoder, Fit, GaussianNetwork, ImportanceWeighted, NegativeElbo, Size, Vae},
    chapter::{self, Chapter, Flag, Number, Spec},
    data::{Dataset, Images, Marginals},
    error::Result,
    evaluation::Draws,
    figure::{Plot, Series, Style},
    random::{Stream, normal, rng},
    training::State,
};

use self::black_and_white::{INKS, Networks, SAMPLES};

#[path = "black_and_white.rs"]
mod black_and_white;
#[path = "ch03_vae/collapse.rs"]
mod collapse;
#[path = "ch03_vae/evidence.rs"]
mod evidence;
#[path = "ch03_vae/gradients.rs"]
mod gradients;
#[path = "ch03_vae/linear.rs"]
mod linear;
#[path = "ch03_vae/pictures.rs"]
mod pictures;

/// Encoder and decoder of the model with 2 latents.
const PLANE: [Size; 2] = [Size { hidden: 128, blocks: 1, dropout: 0.0 }, Size { hidden: 128, blocks: 1, dropout: 0.2 }];

fn main() -> ExitCode {
    let spec = Spec {
        name: "ch03_vae",
        about: "Chapter 3: train variational autoencoders on the digits, bound their likelihood, look at their latents",
        flags: &[Flag::Device, Flag::Mnist, Flag::Full, Flag::Steps, Flag::Weights, Flag::Resume],
    };
    chapter::main(spec, run)
}

fn run(chapter: &mut Chapter) -> Result<()> {
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
    gradients::of_simple_functions(chapter);
    let wide = match loaded {
        Some(model) => model,
        None => train(chapter, &data, "16 latents", &fresh(), &Fit::new(steps, 0.3))?,
    };
    chapter.save_weights(&wide)?;
    let plane = Vae::new(&data.train, 2, PLANE, &mut init(2), &device);
    let mut fit = Fit::new((steps * 5 / 8).max(1), 0.5);
    // With larger steps, rounding decides where in the plane a digit comes to lie.
    fit.training.learning_rate = 2e-3;
    let plane = train(chapter, &data, "2 latents", &plane, &fit)?;

    bounds(chapter, &data, [("16 latents", &wide), ("2 latents", &plane)])?;
    tighter_bounds(chapter, &data, &wide, &plane)?;
    pictures::draw(chapter, &data, &wide, &plane)?;
    gradients::of_the_decoder(chapter, &data, &wide)?;
    collapse::active_latents(chapter, &data, &wide)?;
    collapse::weight_of_the_kl(chapter, &data, fresh, steps / 5)?;
    linear::linear_vae(chapter, &data)
}
// ANCHOR_END: run

// ANCHOR: train
/// Trains a model; on the way it observes both terms of -ELBO on training and validation images.
fn train(chapter: &mut Chapter, data: &Dataset, what: &str, model: &Vae, fit: &Fit) -> Result<Vae> {
    const EVERY: usize = 40;
    let (seed, device) = (chapter.seed(), chapter.device.clone());
    let seen = data.train.range(0, data.validation.len());
    let observe = |state: &State<Vae>| {
        let mut terms = Vec::new();
        if state.step % EVERY == 1 {
            let model = state.average();
            for images in [&seen, &data.validation] {
                let elbo = NegativeElbo::estimate(&model, images, Draws { passes: 2, seed }, &device)?;
                terms.extend([data.bits_per_dim(elbo.reconstruction), data.bits_per_dim(elbo.kl[0])]);
            }
        }
        Ok(terms)
    };
    let loss = fit.loss(&data.train, seed, &device);
    let trained = chapter.stage(what, fit).observing(observe).train(model, loss)?;

    let curve = |name, term: usize| {
        let steps = (0..).map(|i| f64::from(i * EVERY as u32 + 1));
        Series::new(name, Style::Line, steps.zip(trained.observed.iter().skip(term).step_by(4).copied()))
    };
    let names = ["reconstruction, training", "KL, training", "reconstruction, validation", "KL, validation"];
    let series = [0, 2, 1, 3].map(|term| curve(names[term], term)).to_vec();
    let plot = Plot { series, ..Plot::curve("training step", "term of -ELBO (bits/dim)", []) };
    chapter.figure(&format!("terms_{}", what.replace(' ', "_")), &plot.draw()?)?;
    Ok(trained.model)
}
// ANCHOR_END: train

/// One model of black and white MNIST, with 32 latents.
fn mnist(chapter: &mut Chapter) -> Result<()> {
    const LATENTS: usize = 32;
    let fresh = |networks: Networks, train: &Images, rng: &mut _, device: &_| match networks {
        Networks::Dense => Vae::new(train, LATENTS, [networks.size(); 2], rng, device),
        Networks::Convolutional => Vae {
            encoder: GaussianNetwork::convolutional(train.side(), LATENTS, networks.size(), rng, device),
            decoder: CategoricalDecoder::convolutional(LATENTS, train, networks.size(), rng, device),
        },
    };
    let device = chapter.device.clone();
    let means = |model: &Vae, noise: &mut _| model.decoder.mean(normal([SAMPLES, LATENTS], noise, &device), &INKS);
    black_and_white::run(chapter, fresh, means)
}

// ANCHOR: bounds
fn bounds(chapter: &mut Chapter, data: &Dataset, models: [(&str, &Vae); 2]) -> Result<()> {
    let (mut rows, mut spent) = (Vec::new(), Vec::new());
    for (name, model) in models {
        for (part, images) in [("training", &data.train), ("validation", &data.validation), ("test", &data.test)] {
            let draws = Draws { passes: 64, seed: chapter.seed() };
            let elbo = NegativeElbo::estimate(model, images, draws, &chapter.device)?;
            let error = data.bits_per_dim(elbo.standard_error);
            let terms = [elbo.reconstruction, elbo.kl[0], elbo.total()].map(|nats| data.bits_per_dim(nats));
            let tolerance = tolerance(name);
            let mut row = terms.map(|bits| Number::within(bits, tolerance, 3)).to_vec();
            row.push(Number::within(error, 0.0002, 4));
            rows.push((format!("{name}, {part}"), row));
            if part == "test" {
                spent.push((name, elbo.kl[0] / std::f64::consts::LN_2));
            }
            if name == "16 latents" && part != "training" {
                chapter.metric(&format!("{part}_bits_per_dim"), terms[2]);
                chapter.metric(&format!("{part}_bits_per_dim_stderr"), error);
            }
        }
    }
    let report = &mut chapter.report;
    report.section("The bounds (bits/dim)");
    report.table(&["", "reconstruction", "KL", "-ELBO", "standard error"], &rows);
    for (name, bits) in spent {
        report.row(&format!("{name}, KL of a test image"), &Number::within(bits, 0.6, 1), "bits");
    }
    for (name, model) in models {
        report.row(&format!("weights of the model with {name}"), &Number::count(model.num_params()), "");
    }
    let independent = Marginals::fit(&data.train, 0.1);
    for (part, images) in [("validation", &data.validation), ("test", &data.test)] {
        let baseline = Number::exact(data.bits_per_dim(independent.nats(images)), 3);
        report.row(&format!("independent pixels, {part}"), &baseline, "bits/dim");
    }
    Ok(())
}
// ANCHOR_END: bounds

/// Where the plane's digits come to lie is sensitive to rounding, and the bounds with it.
fn tolerance(name: &str) -> f64 {
    if name == "2 latents" { 0.02 } else { 0.003 }
}

fn tighter_bounds(chapter: &mut Chapter, data: &Dataset, wide: &Vae, plane: &Vae) -> Result<()> {
    let (seed, device) = (chapter.seed(), chapter.device.clone());
    let importance = |model, passes| ImportanceWeighted::estimate(model, &data.test, Draws { passes, seed }, &device);
    let (wide, narrow) = (importance(wide, 500)?, importance(plane, 100)?);
    let posteriors = evidence::posteriors(plane, &data.test, &device)?;
    let log_evidence: Vec<f64> = posteriors.iter().map(|posterior| posterior.log_evidence).collect();
    let (direct, amortised) = evidence::one_posterior_per_image(chapter, plane, &data.test, &posteriors)?;
    let least = -mean(&log_evidence);

    let bits = |nats: f64, tolerance| Number::within(data.bits_per_dim(nats), tolerance, 3);
    let report = &mut chapter.report;
    report.section("Tighter bounds");
    report.row("16 latents, -L_500", &bits(wide.nats, 0.003), "bits/dim");
    report.row("16 latents, effective draws of 500", &Number::within(wide.effective_draws, 3.0, 0), "");
    report.row("2 latents, -L_100", &bits(narrow.nats, 0.02), "bits/dim");
    report.row("2 latents, effective draws of 100", &Number::within(narrow.effective_draws, 8.0, 0), "");
    report.row("2 latents, -log p(x)", &bits(-mean(&log_evidence), 0.02), "bits/dim");
    report.section("The price of one encoder");
    report.row("-ELBO with the encoder", &bits(amortised, 0.02), "bits/dim");
    report.row("-ELBO with a q for each image", &bits(direct, 0.02), "bits/dim");
    report.row("-log p(x)", &bits(least, 0.02), "bits/dim");
    report.row("amortisation gap", &bits(amortised - direct, 0.015), "bits/dim");
    report.row("gap of the Gaussian family", &bits(direct - least, 0.004), "bits/dim");
    chapter.metric("test_iw_bits_per_dim", data.bits_per_dim(wide.nats));
    chapter.metric("test_iw_bits_per_dim_stderr", data.bits_per_dim(wide.standard_error));
    Ok(())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
