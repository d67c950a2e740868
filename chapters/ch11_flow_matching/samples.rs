//! Digits from few calls of a network.

use burn::tensor::Tensor;
use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    data::{Dataset, Images},
    error::Result,
    evaluation::{
        on_all_threads,
        samples::{Measured, energy_difference, energy_distance},
    },
    figure::{ImageRow, image_rows},
    flow::{Solver, solvers::descending},
    random::{Stream, normal, rng},
    vdm::{Cosine, Denoiser, Linear, Schedule, decode},
};

use crate::{
    digits::{Digits, Reading},
    line::Straight,
};

/// Images of each sampler.
const SAMPLES: usize = 500;
/// Of which so many are drawn.
const SHOWN: usize = 12;
/// Calls of the network.
const CALLS: [usize; 5] = [1, 2, 4, 8, 50];

/// The samples of one network and one spacing of the steps, for each number of calls.
struct Row {
    name: &'static str,
    images: Vec<Images>,
    distances: Vec<Measured>,
}

fn sample<R: Reading>(
    chapter: &Chapter,
    data: &Dataset,
    name: &'static str,
    network: &R,
    spacing: &dyn Schedule,
) -> Result<Row> {
    let network = network.valid();
    let denoise = on_all_threads(|z, gamma| network.x_hat(z, gamma, None));
    let start = &mut rng(chapter.seed(), Stream::Sampling, 0);
    let noise = normal([SAMPLES, data.train.dim()], start, &chapter.device);
    let values = data.train.grey_values();
    let draw = |calls: usize| {
        // ANCHOR: sample
        // Euler's method along the line is DDIM with its steps at other noise levels.
        let gammas = descending(spacing, calls);
        let z = Solver::Ddim.solve(&gammas, noise.clone(), |z, gamma| {
            let gamma = Tensor::full([SAMPLES], gamma, &chapter.device);
            denoise(z, gamma)
        });
        // ANCHOR_END: sample
        Ok(data.train.with_pixels(decode(z, spacing.gamma(0.0), &values)?))
    };
    let images: Vec<Images> = CALLS.into_iter().map(draw).collect::<Result<_>>()?;
    let distance = |images: &Images| energy_distance(images, &data.test);
    let distances = images.iter().map(distance).collect::<Result<_>>()?;
    Ok(Row { name, images, distances })
}

pub fn few_calls(
    chapter: &mut Chapter,
    data: &Dataset,
    linear: &Linear,
    digits: &Digits,
    of_chapter_5: &Denoiser,
) -> Result<()> {
    let line = Straight::between(linear.gamma_min, linear.gamma_max);
    // Where chapter 8 lets the samplers make their steps.
    let cosine = Cosine { gamma_min: linear.gamma_min, gamma_max: linear.gamma_max };
    let rows = [
        sample(chapter, data, "u, along the line", &digits.velocity, &line)?,
        sample(chapter, data, "odds, along the line", &digits.odds, &line)?,
        sample(chapter, data, "odds, DDIM", &digits.odds, linear)?,
        sample(chapter, data, "odds, cosine DDIM", &digits.odds, &cosine)?,
        sample(chapter, data, "chapter 5, along the line", of_chapter_5, &line)?,
        sample(chapter, data, "chapter 5, DDIM", of_chapter_5, linear)?,
        sample(chapter, data, "chapter 5, cosine DDIM", of_chapter_5, &cosine)?,
    ];
    let [_, odds, _, odds_cosine, bound, bound_ddim, bound_cosine] = &rows;
    let calls = CALLS.map(|calls| calls.to_string());
    let header: Vec<&str> =
        ["network, steps"].into_iter().chain(calls.iter().map(String::as_str)).collect();
    let table = |number: &dyn Fn(&Measured) -> Number| -> Vec<_> {
        let row = |row: &Row| {
            (row.name.to_string(), row.distances.iter().map(number).collect::<Vec<_>>())
        };
        rows.iter().map(row).collect()
    };
    let mut differences = Vec::new();
    for (name, one, other) in [
        ("chapter 5, line less DDIM", bound, bound_ddim),
        ("chapter 5, line less cosine DDIM", bound, bound_cosine),
        ("odds, line less cosine DDIM", odds, odds_cosine),
        ("line, flow matching less bound", odds, bound),
        ("flow matching, line, less bound, cosine DDIM", odds, bound_cosine),
    ] {
        for (i, calls) in CALLS.iter().enumerate().skip(2) {
            let less = energy_difference(&one.images[i], &other.images[i], &data.test)?;
            let numbers = [
                Number::within(less.value, 0.05, 2),
                Number::within(less.standard_error, 0.01, 2),
            ];
            differences.push((format!("{name}, {calls} calls"), numbers.to_vec()));
        }
    }
    let report = &mut chapter.report;
    report.section("Energy distance by calls");
    report.table(
        &header,
        &table(&|d| Number::within(d.value, (0.01 * d.value).max(0.05), 2)),
    );
    report.section("Its standard errors");
    report.table(&header, &table(&|d| Number::within(d.standard_error, 0.01, 2)));
    report.section("Differences in pairs");
    report.table(&["", "difference", "s.e."], &differences);
    report.section("Real digits");
    let real = energy_distance(&data.validation, &data.test)?;
    report.row("validation against test images", &Number::exact(real.value, 2), "");
    report.row("its standard error", &Number::exact(real.standard_error, 2), "");
    let picture = |row: usize, i: usize| {
        let images = rows[row].images[i].iter().take(SHOWN);
        let plural = if CALLS[i] == 1 { "call" } else { "calls" };
        let label = format!("{} {plural}: {}", CALLS[i], rows[row].name);
        ImageRow::from_grey_levels(label, images, data.train.grey_level_count())
    };
    let shown = [(0, 0), (1, 0), (0, 2), (1, 2), (4, 2), (5, 2), (0, 4), (1, 4), (5, 4)];
    let pictures: Vec<_> = shown.into_iter().map(|(row, i)| picture(row, i)).collect();
    chapter.figure("samples", &image_rows(&pictures, data.train.side())?)
}
