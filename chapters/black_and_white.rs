//! What chapters 3 and 4 do with `--data mnist`: train and bound one model, in nats.

use burn::tensor::{Device, Tensor};
use elbo_to_diffusion::{
    autoencoder::{Autoencoder, Fit, Importance, ImportanceWeighted, NegativeElbo, Size},
    chapter::{Chapter, DataChoice, Number, Preset},
    data::{Images, Marginals},
    error::{Error, Result},
    evaluation::Draws,
    figure::{ImageRow, image_rows},
    host::download,
    random::{Stream, rng},
};
use rand_chacha::ChaCha8Rng;

/// Images whose importance-weighted bound is reported.
const REPORTED: usize = 500;

/// What the figure shows for black and for white.
pub const INKS: [f64; 2] = [-1.0, 1.0];
/// Draws from the prior in the figure.
pub const SAMPLES: usize = 32;

/// How the networks look at an image.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Networks {
    /// Dense, for a first look.
    Dense,
    /// Convolutional.
    Convolutional,
}

impl Networks {
    /// The size of encoder and decoder.
    pub fn size(self) -> Size {
        match self {
            Self::Dense => Size { hidden: 256, blocks: 1, dropout: 0.0 },
            // Channels at full resolution, and blocks at 14 and at 7 pixels.
            Self::Convolutional => Size { hidden: 16, blocks: 1, dropout: 0.0 },
        }
    }
}

/// Whether the command line asks for this; the digits have no full preset in these
/// chapters.
pub fn asked_for(chapter: &Chapter) -> Result<bool> {
    match (chapter.data(), chapter.preset()) {
        (DataChoice::Mnist, _) => Ok(true),
        (DataChoice::Digits, Preset::Quick) => Ok(false),
        (DataChoice::Digits, Preset::Full) => Err(Error::usage(
            "this chapter has one preset for the digits; add --data mnist, or leave out --preset full",
        )),
    }
}

/// The black and white images.
struct Drawn {
    train: Images,
    validation: Images,
    test: Images,
}

/// What a model costs, in nats per image.
struct Bounds {
    elbo: NegativeElbo,
    /// -L_100 of the first [`REPORTED`] images.
    tight: ImportanceWeighted,
}

/// What a trained model came to.
struct Found {
    validation: Bounds,
    test: Bounds,
    /// Nats per test image of a model of independent pixels.
    independent: f64,
    weights: usize,
    /// Means of the pixels for draws from the prior.
    means: Vec<f64>,
}

/// Trains `fresh(networks, images, rng, device)` and reports on it. `means(model, noise)`
/// are the means of the pixels for draws from the prior, with [`INKS`] for the two grey
/// levels.
pub fn run<M: Autoencoder>(
    chapter: &mut Chapter,
    fresh: impl FnOnce(Networks, &Images, &mut ChaCha8Rng, &Device) -> M,
    means: impl FnOnce(&M, &mut ChaCha8Rng) -> Tensor<2>,
) -> Result<()> {
    let networks = match chapter.preset() {
        Preset::Quick => Networks::Dense,
        Preset::Full => Networks::Convolutional,
    };
    let images = binarized(chapter)?;
    let (seed, tape) = (chapter.seed(), chapter.device.clone().autodiff());
    let fresh =
        fresh(networks, &images.train, &mut rng(seed, Stream::Initialisation, 0), &tape);
    let model = match chapter.load_weights(&fresh)? {
        Some(model) => model,
        None => train(chapter, networks, &images.train, &fresh)?,
    };
    chapter.save_weights(&model)?;
    let bounds = |images: &Images| -> Result<Bounds> {
        let elbo = NegativeElbo::estimate(
            &model,
            images,
            Draws { passes: 4, seed },
            &chapter.device,
        )?;
        let (importance, few) = (Importance { draws: 100, seed }, images.first(REPORTED));
        Ok(Bounds {
            elbo,
            tight: ImportanceWeighted::estimate(&model, &few, importance, &chapter.device)?,
        })
    };
    let found = Found {
        validation: bounds(&images.validation)?,
        test: bounds(&images.test)?,
        independent: Marginals::fit(&images.train, 0.1).nats(&images.test),
        weights: model.num_params(),
        means: download(means(&model, &mut rng(seed, Stream::Sampling, 0)))?,
    };
    report(chapter, &images.test, &found)
}

/// Draws the images once and for all: another seed trains another model on the same images.
fn binarized(chapter: &Chapter) -> Result<Drawn> {
    let data = chapter.dataset()?;
    let drawn = |images: &Images, part: u64| {
        images.binarized(&mut rng(0, Stream::Binarisation, part))
    };
    Ok(Drawn {
        train: drawn(&data.train, 0),
        validation: drawn(&data.validation, 1),
        test: drawn(&data.test, 2),
    })
}

fn train<M: Autoencoder>(
    chapter: &mut Chapter,
    networks: Networks,
    images: &Images,
    fresh: &M,
) -> Result<M> {
    // ANCHOR: fit
    let steps = chapter.steps(if networks == Networks::Dense { 2000 } else { 30_000 });
    let mut fit = Fit::new(steps, 0.01);
    fit.training.learning_rate = 2e-3;
    fit.training.ema_decay = 0.999;
    fit.kl_warmup = steps / 10;
    // ANCHOR_END: fit
    let loss = fit.loss(images, chapter.seed(), &chapter.device);
    Ok(chapter.stage("training", &fit).train(fresh, loss)?.model)
}

/// Prints the bounds, and draws the means of the pixels.
fn report(chapter: &mut Chapter, test: &Images, found: &Found) -> Result<()> {
    let mut rows = Vec::new();
    for (part, Bounds { elbo, tight }) in
        [("validation", &found.validation), ("test", &found.test)]
    {
        let nats = [
            elbo.reconstruction,
            elbo.kl.iter().sum(),
            elbo.total(),
            elbo.noise_error,
            tight.nats,
        ];
        rows.push((
            part.to_string(),
            nats.map(|nats| Number::within(nats, 0.5, 2)).to_vec(),
        ));
        chapter.metric(&format!("{part}_nats"), elbo.total());
        chapter.metric(&format!("{part}_nats_stderr"), elbo.noise_error);
    }
    let report = &mut chapter.report;
    report.section("Black and white MNIST (nats)");
    let columns = [
        "",
        "reconstruction",
        "KL",
        "-ELBO",
        "standard error",
        &format!("-L_100 of {REPORTED} images"),
    ];
    report.table(&columns, &rows);
    report.row(
        "independent pixels, test",
        &Number::within(found.independent, 0.1, 1),
        "nats",
    );
    report.row("weights", &Number::count(found.weights), "");

    let label = "Means of the pixels, for draws from the prior";
    let mut rows = ImageRow::from_values(label, &found.means, test.dim()).wrap(16);
    let (images, v) = (test.iter().take(16), test.grey_level_count());
    rows.extend(ImageRow::from_grey_levels("Test images", images, v).wrap(16));
    chapter.figure("samples", &image_rows(&rows, test.side())?)
}
