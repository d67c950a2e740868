//! Samples with guidance of every strength and kind, and what they are worth.

use elbo_to_diffusion::{
    chapter::{Chapter, Setting},
    data::Dataset,
    error::Result,
};

use crate::{
    EACH,
    guide::{EVERYWHERE, Guide, Sampler, Samples},
    measure::{Quality, first_of_each},
    train::{CLASSES, Networks},
};

/// Samples and what they are worth.
pub struct Guided {
    /// For each strength of guidance.
    pub sweep: Vec<(String, Quality)>,
    /// For w = 3 at some noise levels, and 1 at the others.
    pub intervals: Vec<(String, Quality)>,
    /// Guided by the noisy classifier.
    pub classifier: Vec<(String, Quality)>,
    /// Digits of other writers in the place of samples.
    pub real: Vec<(String, Quality)>,
    /// Some of the samples, with their strength.
    pub drawn: Vec<(f64, Samples)>,
}

pub fn sweep(
    chapter: &Chapter,
    data: &Dataset,
    setting: &Setting,
    networks: &Networks,
) -> Result<Guided> {
    let device = &chapter.device;
    let sampler = Sampler {
        networks,
        schedule: setting.linear(),
        data,
        seed: chapter.seed(),
        device,
    };
    let classes: Vec<u8> = (0..CLASSES as u8).collect();
    let draw = |w, guide| sampler.draw(&classes, EACH, w, guide);
    let quality = |s: &Samples| Quality::of(s, &data.test, &networks.judge, device);
    let mut drawn = Vec::new();
    let mut sweep = Vec::new();
    for w in [0.0, 1.0, 1.5, 2.0, 3.0, 4.0, 8.0] {
        let samples = draw(w, Guide::Free(EVERYWHERE))?;
        sweep.push((format!("w = {w}"), quality(&samples)?));
        if [0.0, 1.0, 3.0, 8.0].contains(&w) {
            drawn.push((w, samples));
        }
    }
    let interval = |(name, levels): (&str, [f64; 2])| {
        Ok((name.to_string(), quality(&draw(3.0, Guide::Free(levels))?)?))
    };
    // Three parts in which the label is worth about as much each.
    let [low, high] = [-0.5, 1.0];
    let intervals = [
        ("gamma above 1", [high, f64::INFINITY]),
        ("gamma from -0.5 to 1", [low, high]),
        ("gamma below -0.5", [f64::NEG_INFINITY, low]),
    ];
    let by_classifier =
        |w: f64| Ok((format!("w = {w}"), quality(&draw(w, Guide::Classifier)?)?));
    Ok(Guided {
        sweep,
        intervals: intervals.into_iter().map(interval).collect::<Result<_>>()?,
        classifier: [1.0, 3.0, 8.0]
            .into_iter()
            .map(by_classifier)
            .collect::<Result<_>>()?,
        real: [("training images", &data.train), ("validation images", &data.validation)]
            .map(|(name, images)| (name.to_string(), first_of_each(images, EACH)))
            .into_iter()
            .map(|(name, samples)| Ok((name, quality(&samples)?)))
            .collect::<Result<_>>()?,
        drawn,
    })
}
