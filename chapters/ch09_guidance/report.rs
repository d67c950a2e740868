//! What the chapter prints and draws of the digits.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    data::Dataset,
    error::Result,
    figure::{Axis, ImageRow, Plot, Series, Style, image_rows},
    vdm::{Linear, Schedule},
};

use crate::{
    Classified, bounds::Worth, guide::Samples, measure::Quality, sweep::Guided,
    train::CLASSES,
};

/// What the label is worth on the validation and the test images.
pub fn worth(
    chapter: &mut Chapter,
    data: &Dataset,
    schedule: &Linear,
    [validation, test]: [&Worth; 2],
    summed_out: f64,
) -> Result<()> {
    let bits = |nats: f64| data.bits_per_dim(nats);
    let most = (CLASSES as f64).log2() / data.test.dim() as f64;
    let near = |value: f64| Number::within(value, 0.003, 3);
    let fine = |value: f64| Number::within(value, 0.0003, 4);
    let report = &mut chapter.report;
    report.section("What a label is worth");
    let row = |worth: &Worth| {
        let (told, null) = (bits(worth.given.total()), bits(worth.without.total()));
        vec![near(told), near(null), near(null - told), near(told + most)]
    };
    report.table(
        &["images", "label told", "null label", "difference", "label told, and paid for"],
        &[("validation".into(), row(validation)), ("test".into(), row(test))],
    );
    report.row("the label itself, log2(10) / 64", &Number::exact(most, 4), "bits/dim");
    report.row("test, label summed out", &near(bits(summed_out)), "bits/dim");
    for (name, error) in [
        ("difference, error of the noise", test.gain.noise_error),
        ("difference, error of the test set", test.gain.set_error),
        ("label told, error of the noise", test.given.noise_error),
        ("label told, error of the test set", test.given.set_error),
    ] {
        report.row(name, &fine(bits(error)), "bits/dim");
    }
    chapter.metric("test_given_label_bits_per_dim", bits(test.given.total()));
    chapter.metric("test_null_label_bits_per_dim", bits(test.without.total()));

    let parts = validation.given.denoising.len() as f64;
    let gamma = |i: usize| schedule.gamma((i as f64 + 0.5) / parts);
    let width = (schedule.gamma_max - schedule.gamma_min) / parts;
    let pairs = validation.without.denoising.iter().zip(&validation.given.denoising);
    let points = pairs
        .enumerate()
        .map(|(i, (without, given))| (gamma(i), bits(without - given) / width));
    let series = vec![
        Series::new(
            "",
            Style::Reference,
            [(schedule.gamma_min, 0.0), (schedule.gamma_max, 0.0)],
        ),
        Series::new("", Style::LineAndDots, points),
    ];
    let plot = Plot {
        x: Axis::linear("gamma (more noise to the right)"),
        y: Axis::linear("bits/dim saved per unit of gamma"),
        series,
    };
    chapter.figure("label_worth", &plot.draw()?)
}

pub fn classified(chapter: &mut Chapter, found: &Classified) -> Result<()> {
    let percent = |share: f64, tolerance| Number::within(100.0 * share, tolerance, 1);
    let report = &mut chapter.report;
    report.section("Classifying the test images");
    for (name, share, tolerance) in [
        ("nearest neighbour", found.nearest_neighbour, 0.0),
        ("logistic regression", found.logistic_regression, 0.5),
        ("the classifier that guides", found.noisy, 0.5),
        ("the judge", found.judge, 0.5),
    ] {
        let number = if tolerance == 0.0 {
            Number::exact(100.0 * share, 1)
        } else {
            percent(share, tolerance)
        };
        report.row(name, &number, "%");
    }
    let cells = |share: f64| percent(share, 1.0);
    let rows: Vec<_> = found
        .by_draws
        .iter()
        .map(|(draws, shares)| (draws.to_string(), shares.map(cells).to_vec()))
        .collect();
    report.section("Classifying by the bound (% right)");
    report.table(&["noises", "drawn apart", "drawn together", "together, middle"], &rows);
    let [own, common] = found.noise;
    let ratio = own / common;
    report.row(
        "noise of a difference, apart",
        &Number::within(own, 0.05 * own, 0),
        "nats^2",
    );
    let number = Number::within(common, 0.05 * common, 1);
    report.row("noise of a difference, together", &number, "nats^2");
    report.row("ratio", &Number::within(ratio, 0.08 * ratio, 0), "");

    let curve = |name: &str, j: usize| {
        let points = found.by_draws.iter().map(|(n, both)| (*n as f64, 100.0 * both[j]));
        Series::new(name, Style::LineAndDots, points)
    };
    let first = found.by_draws.first().map_or(1.0, |(n, _)| *n as f64);
    let last = found.by_draws.last().map_or(1.0, |(n, _)| *n as f64);
    let flat = |name: &str, share: f64| {
        Series::new(name, Style::Reference, [first, last].map(|n| (n, 100.0 * share)))
    };
    let plot = Plot {
        x: Axis::log("noises for each label"),
        y: Axis::linear("test images classified right (%)"),
        series: vec![
            curve("noise drawn apart", 0),
            curve("noise drawn together", 1),
            curve("together, gamma -2 to 3", 2),
            flat("nearest neighbour", found.nearest_neighbour),
        ],
    };
    chapter.figure("classified", &plot.draw()?)
}

/// The qualities of samples, one row each.
pub fn guided(chapter: &mut Chapter, found: &Guided) -> Result<()> {
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
        ImageRow::from_grey_levels(label, images, data.train.level_count()).wrap(CLASSES)
    };
    let rows: Vec<ImageRow> = drawn.iter().flat_map(rows).collect();
    chapter.figure("samples", &image_rows(&rows, data.train.side())?)
}
