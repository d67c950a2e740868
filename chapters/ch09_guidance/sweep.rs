//! Samples with guidance of every strength and kind, and what they are worth.

use elbo_to_diffusion::{
    chapter::{Chapter, Number, Setting},
    data::Dataset,
    error::Result,
    figure::{Axis, ImageRow, Plot, Series, Style, image_rows},
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
            .into_iter()
            .map(|(name, images)| {
                Ok((name.to_string(), quality(&first_of_each(images, EACH)?)?))
            })
            .collect::<Result<_>>()?,
        drawn,
    })
}

/// The qualities of samples, one row each.
pub fn report(chapter: &mut Chapter, found: &Guided) -> Result<()> {
    let header =
        ["samples", "recognised (%)", "precision (%)", "recall (%)", "entropy (bits)"];
    chapter.report.section("Guided samples");
    chapter.report.table(&header, &rows(&found.sweep));
    chapter.report.section("Real digits by the same measures");
    chapter.report.table(&header, &rows(&found.real));
    chapter.report.section("Guidance at some noise levels only, w = 3");
    chapter.report.table(&header, &rows(&found.intervals));
    chapter.report.section("Guidance by a classifier");
    chapter.report.table(&header, &rows(&found.classifier));
    let curve = |name: &str, rows: &[(String, Quality)]| {
        let point = |(_, quality): &(String, Quality)| {
            (100.0 * quality.recall, 100.0 * quality.recognised)
        };
        Series::new(name, Style::LineAndDots, rows.iter().map(point))
    };
    let plot = Plot {
        x: Axis::linear("recall: test digits among the samples (%)"),
        y: Axis::linear("samples recognised (%)"),
        series: vec![
            // Without guidance nothing is asked for, and one in ten is right by chance.
            curve("without a classifier", &found.sweep[1..]),
            curve("by a classifier", &found.classifier),
        ],
    };
    chapter.figure("tradeoff", &plot.draw()?)
}

fn rows(found: &[(String, Quality)]) -> Vec<(String, Vec<Number>)> {
    let row = |(name, quality): &(String, Quality)| {
        let percent = |share: f64, tolerance| Number::within(100.0 * share, tolerance, 1);
        let numbers = vec![
            percent(quality.recognised, 1.0),
            percent(quality.precision, 2.0),
            percent(quality.recall, 2.0),
            Number::within(quality.entropy, 0.02, 2),
        ];
        (name.clone(), numbers)
    };
    found.iter().map(row).collect()
}

/// The first two samples of each class, in two rows for each strength.
pub fn samples(chapter: &Chapter, data: &Dataset, drawn: &[(f64, Samples)]) -> Result<()> {
    let rows = |(w, samples): &(f64, Samples)| {
        let each = samples.labels.len() / CLASSES;
        let shown = (0..2).flat_map(|i| (0..CLASSES).map(move |class| class * each + i));
        let label = match *w {
            0.0 => "w = 0: no label".to_string(),
            1.0 => "w = 1: labels 0 to 9 told".to_string(),
            w => format!("w = {w}"),
        };
        let images = shown.map(|i| samples.images.image(i));
        ImageRow::from_grey_levels(label, images, data.train.grey_level_count())
            .wrap(CLASSES)
    };
    let rows: Vec<ImageRow> = drawn.iter().flat_map(rows).collect();
    chapter.figure("samples", &image_rows(&rows, data.train.side())?)
}
