//! Chapter 4: a Markovian hierarchy of latents above the digits.

use std::process::ExitCode;

use elbo_to_diffusion::{
    autoencoder::{
        Autoencoder, CategoricalDecoder, Fit, GaussianNetwork, Hvae, HvaeConfig, Size, Vae,
    },
    chapter::{self, Chapter, Flag, Spec},
    data::{Dataset, Images},
    error::Result,
    random::{Stream, normal, rng},
};

use self::black_and_white::{INKS, Networks, SAMPLES};

#[path = "black_and_white.rs"]
mod black_and_white;
#[path = "ch04_hvae/compare.rs"]
mod compare;
#[path = "ch04_hvae/decides.rs"]
mod decides;
#[path = "ch04_hvae/exact.rs"]
mod exact;
#[path = "ch04_hvae/levels.rs"]
mod levels;
#[path = "mean.rs"]
mod mean;
#[path = "ch04_hvae/pictures.rs"]
mod pictures;

#[cfg(not(lab))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) const SPEC: Spec = Spec {
    name: "ch04_hvae",
    about: "Chapter 4: train a hierarchy of three levels on the digits and compare it with chapter 3's autoencoder",
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

fn digits(chapter: &mut Chapter) -> Result<()> {
    let data = chapter.dataset()?;
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    let steps = chapter.steps(2400);
    let init = |k: u64| rng(seed, Stream::Initialisation, k);
    let config = HvaeConfig::of_digits();
    let hvae = config.init(&data.train, &mut init(0), &device);
    let loaded = chapter.load_weights(&hvae)?;
    exact::report(chapter, &exact::chains(seed)?);

    // The same network, weights and draws as in chapter 3.
    let vae = Vae::new(&data.train, 16, Vae::SIZES, &mut init(16), &device);
    let vae = train(chapter, &data, "VAE", &vae, steps)?;
    let hvae = match loaded {
        Some(model) => model,
        None => train(chapter, &data, "HVAE", &hvae, steps)?,
    };
    chapter.save_weights(&hvae)?;

    let found = compare::measure(chapter, &data, &vae, &hvae)?;
    compare::report(chapter, &data, &found);
    let found = levels::level_by_level(chapter, &data.test, &hvae)?;
    levels::report(chapter, &found);
    let found = decides::measure(chapter, &config, &hvae)?;
    decides::report(chapter, &found);
    let found = pictures::Pictures::new(chapter, &data.test, &config, &vae, &hvae)?;
    found.draw(chapter, data.test.side())?;
    pictures::measure_samples(chapter, &data, &config, &vae, &hvae)
}

fn train<M: Autoencoder>(
    chapter: &mut Chapter,
    data: &Dataset,
    what: &str,
    model: &M,
    steps: usize,
) -> Result<M> {
    let fit = Fit::new(steps, 0.3);
    let loss = fit.loss(&data.train, chapter.seed(), &chapter.device);
    Ok(chapter.stage(what, &fit).train(model, loss)?.model)
}

/// One hierarchy above black and white MNIST: three levels of 32, 16 and 8 latents.
fn mnist(chapter: &mut Chapter) -> Result<()> {
    const LATENTS: [usize; 3] = [32, 16, 8];
    let fresh = |networks: Networks, train: &Images, rng: &mut _, device: &_| {
        let between = Size { hidden: 128, blocks: 1, dropout: 0.0 };
        let size = networks.size();
        let config =
            HvaeConfig { latents: LATENTS.to_vec(), encoder: size, between, decoder: size };
        let mut model = config.init(train, rng, device);
        if networks == Networks::Convolutional {
            model.encoders[0] =
                GaussianNetwork::convolutional(train.side(), LATENTS[0], size, rng, device);
            model.decoder =
                CategoricalDecoder::convolutional(LATENTS[0], train, size, rng, device);
        }
        model
    };
    let device = chapter.device.clone();
    let means = |model: &Hvae, noise: &mut _| {
        let top = normal([SAMPLES, LATENTS[2]], noise, &device);
        model.decoder.mean(model.descend(LATENTS.len(), 1, top, noise), &INKS)
    };
    black_and_white::run(chapter, fresh, means)
}
