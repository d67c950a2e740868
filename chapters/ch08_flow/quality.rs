//! Steps against quality: the energy distance of 2,000 samples to the test images.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    data::Dataset,
    error::Result,
    evaluation::samples::{Measured, energy_difference, energy_distance},
    figure::{Axis, Plot, Series, Style},
    random::{Stream, rng},
    vdm::{Linear, Schedule},
};
use rand::seq::SliceRandom;

use crate::{
    model::Model,
    samples::{SPACING, Sampler, Start},
};

/// What `--preset full` printed once; it takes minutes.
const RECORD: &str = include_str!("../../benches/recorded/flow.txt");

/// Samples of each sampler.
const SAMPLES: usize = 2000;

/// The energy distance to the validation images with 20 calls, for each sampler with steps
/// at equal distances in the time of each schedule.
pub fn spacings(chapter: &mut Chapter, data: &Dataset, model: &Model) -> Result<()> {
    let linear = Linear { gamma_min: -8.0, gamma_max: 5.0 };
    let spacings: [(&str, &dyn Schedule); 3] =
        [("learned", &model.schedule), ("linear", &linear), ("cosine", &SPACING)];
    let row = |(name, spacing): (&str, &dyn Schedule)| {
        let start = Start::new(chapter, spacing, [SAMPLES, data.train.dim()]);
        let distance = |sampler| {
            let images = start.draw(data, model, sampler, 20)?;
            let distance = energy_distance(&images, &data.validation)?.value;
            Ok(Number::exact(distance, 3))
        };
        Ok((
            name.to_string(),
            Sampler::ALL.into_iter().map(distance).collect::<Result<_>>()?,
        ))
    };
    let rows: Vec<_> = spacings.into_iter().map(row).collect::<Result<_>>()?;
    let names = Sampler::ALL.map(Sampler::name);
    chapter.report.section("Where the steps lie (20 calls, validation images)");
    chapter.report.table(&[&["spacing"], &names[..]].concat(), &rows);
    Ok(())
}

/// A sampler, its calls, its energy distance to the test images, and that distance less the
/// one of 200 ancestral steps.
pub struct Row {
    name: String,
    distance: Measured,
    less_ancestral: Measured,
}

/// All samplers from the same noise, on the test images.
pub fn measure(chapter: &Chapter, data: &Dataset, model: &Model) -> Result<Vec<Row>> {
    let start = Start::new(chapter, &SPACING, [SAMPLES, data.train.dim()]);
    let reference = start.draw(data, model, Sampler::Ancestral, 200)?;
    let row = |sampler: Sampler, calls: usize| {
        let images = start.draw(data, model, sampler, calls)?;
        Ok(Row {
            name: format!("{}, {calls} calls", sampler.name()),
            distance: energy_distance(&images, &data.test)?,
            less_ancestral: energy_difference(&images, &reference, &data.test)?,
        })
    };
    let calls = [5, 10, 20, 50, 200];
    let all = Sampler::ALL.iter().flat_map(|&sampler| calls.map(|calls| (sampler, calls)));
    all.chain([(Sampler::Broken, 200)])
        .map(|(sampler, calls)| row(sampler, calls))
        .collect()
}

pub fn report(chapter: &mut Chapter, data: &Dataset, rows: &[Row]) -> Result<()> {
    let cells = |row: &Row| {
        let Measured { value, standard_error } = row.distance;
        let less = row.less_ancestral;
        let numbers = [value, standard_error, less.value, less.standard_error];
        (row.name.clone(), numbers.map(|number| Number::exact(number, 3)).to_vec())
    };
    let rows: Vec<_> = rows.iter().map(cells).collect();
    let [real, halves] = real_digits(chapter, data)?;
    let report = &mut chapter.report;
    report.section("Steps against quality");
    let header = ["sampler", "energy distance", "s.e.", "less ancestral, 200", "s.e."];
    report.table(&header, &rows);
    report.row("training against test images", &Number::exact(real.value, 3), "");
    report.row("halves of the test images, mean", &Number::exact(halves.value, 3), "");
    let deviation = Number::exact(halves.standard_error, 3);
    report.row("their standard deviation", &deviation, "");
    Ok(())
}

/// Draws what was recorded: the energy distance of each sampler by its calls.
pub fn draw_recorded(chapter: &Chapter) -> Result<()> {
    // "DDIM, 20 calls  0.312  0.023  ...": name, calls and distance.
    let row = |line: &'static str| -> Option<(&'static str, f64, f64)> {
        let (name, numbers) = line.split_once("  ")?;
        let (name, calls) = name.strip_suffix(" calls")?.split_once(", ")?;
        Some((name, calls.parse().ok()?, numbers.split_whitespace().next()?.parse().ok()?))
    };
    let rows: Vec<_> = RECORD.lines().filter_map(row).collect();
    let curve = |sampler: Sampler| {
        let own = rows.iter().filter(|(name, ..)| *name == sampler.name());
        let points = own.map(|(_, calls, distance)| (*calls, *distance));
        Series::new(sampler.name(), Style::LineAndDots, points)
    };
    let plot = Plot {
        x: Axis::log("calls of the network"),
        y: Axis::log("energy distance (grey levels)"),
        series: Sampler::ALL.into_iter().map(curve).collect(),
    };
    chapter.figure("quality", &plot.draw()?)
}

/// What is to be expected of real digits: training against test images, and mean and
/// standard deviation over random halves of the test images.
fn real_digits(chapter: &Chapter, data: &Dataset) -> Result<[Measured; 2]> {
    const SPLITS: usize = 200;
    let (test, draws) = (&data.test, &mut rng(chapter.seed(), Stream::Exact, 1));
    let mut order: Vec<usize> = (0..test.len()).collect();
    let mut splits = Vec::with_capacity(SPLITS);
    for _ in 0..SPLITS {
        order.shuffle(draws);
        let half = |part: &[usize]| {
            test.with_pixels(part.iter().flat_map(|&i| test.image(i)).copied().collect())
        };
        let (a, b) = order.split_at(order.len() / 2);
        splits.push(energy_distance(&half(a), &half(b))?.value);
    }
    let mean = splits.iter().sum::<f64>() / SPLITS as f64;
    let variance =
        splits.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (SPLITS as f64 - 1.0);
    let halves = Measured { value: mean, standard_error: variance.sqrt() };
    Ok([energy_distance(&data.train, test)?, halves])
}
