//! Images drawn by unmasking in few steps and in many, and pixel by pixel.

use elbo_to_diffusion::{
    chapter::Chapter,
    data::{Dataset, Images},
    error::Result,
    evaluation::samples::{Measured, energy_distance},
    host::download,
    masks::{CausalNetwork, MaskSchedule, MaskedNetwork, draw_level, unmask},
    random::{Stream, rng},
};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::{Model, REPORTED};

/// Images drawn for each measure.
const SAMPLES: usize = 400;
/// The numbers of steps.
pub const STEPS: [usize; 6] = [1, 2, 4, 8, 16, 64];

/// Images, and how far their law is from that of the training images.
pub struct Drawn {
    pub name: String,
    pub images: Images,
    pub distance: Measured,
    /// How far it may be off on another machine.
    pub tolerance: f64,
    /// True if the figure shows some of the images.
    pub pictured: bool,
}

pub fn draw(chapter: &Chapter, data: &Dataset, model: &Model) -> Result<Vec<Drawn>> {
    let seed = chapter.seed();
    let drawn =
        |name: &str, images: Images, tolerance: f64, pictured: bool| -> Result<Drawn> {
            let distance = energy_distance(&images, &data.test.first(REPORTED))?;
            Ok(Drawn { name: name.into(), images, distance, tolerance, pictured })
        };
    let mut all = Vec::new();
    if let Some(network) = &model.masked {
        for steps in STEPS {
            // ANCHOR: sample
            let abar = MaskSchedule::Cosine.grid(steps);
            let log_probs = |seen: &[Option<u8>]| on_all_threads(network, seen);
            let rng = &mut rng(seed, Stream::Sampling, steps as u64);
            let shape = [SAMPLES, data.train.dim()];
            let pixels = unmask(shape, &abar, log_probs, rng, |_, _, _| {})?;
            // ANCHOR_END: sample
            let name =
                format!("unmasked in {steps} step{}", if steps == 1 { "" } else { "s" });
            let pictured = [1, 4, 64].contains(&steps);
            all.push(drawn(&name, data.train.with_pixels(pixels), 0.05, pictured)?);
        }
    }
    all.push(drawn("training images", data.train.first(SAMPLES), 0.001, true)?);
    let rng = &mut rng(seed, Stream::Sampling, 0);
    let pixels = causal(data, &model.causal, rng)?;
    all.push(drawn("causal network", data.train.with_pixels(pixels), 0.15, true)?);
    Ok(all)
}

/// What the network says of each pixel, computed for some images on each thread.
fn on_all_threads(network: &MaskedNetwork, seen: &[Option<u8>]) -> Result<Vec<f64>> {
    let parts: Result<Vec<_>> = seen
        .par_chunks(32 * network.dim())
        .map(|seen| download(network.log_probs(seen, None)))
        .collect();
    Ok(parts?.concat())
}

/// Images drawn pixel by pixel, row after row.
fn causal(
    data: &Dataset,
    network: &CausalNetwork,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<u8>> {
    let (d, levels) = (data.train.dim(), data.train.grey_level_count());
    let mut images = vec![0; SAMPLES * d];
    for pixel in 0..d {
        let places: Vec<_> = images.chunks(d).map(|image| (image, pixel)).collect();
        let log_probs = download(network.log_probs(&places, None))?;
        for (image, log_probs) in images.chunks_mut(d).zip(log_probs.chunks(levels)) {
            image[pixel] = draw_level(log_probs, rng);
        }
    }
    Ok(images)
}
