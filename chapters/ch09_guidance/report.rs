//! What the chapter prints and draws of the digits.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    data::Dataset,
    error::Result,
    figure::{Axis, Plot, Series, Style},
    vdm::{Linear, Schedule},
};

use crate::{Classified, bounds::Worth, train::CLASSES};

/// What the label is worth on the validation and the test images.
pub fn worth(
    chapter: &mut Chapter,
    data: &Dataset,
    schedule: &Linear,
    [validation, test]: [&Worth; 2],
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

/// The bound that the conditional bounds imply, beside what they cost with the label.
pub fn summed_out(chapter: &mut Chapter, data: &Dataset, [told, summed_out]: [f64; 2]) {
    let (told, summed_out) = (data.bits_per_dim(told), data.bits_per_dim(summed_out));
    let paid = told + (CLASSES as f64).log2() / data.test.dim() as f64;
    chapter.report.section("The label summed out, test images");
    for (name, bits) in [
        ("label told", told),
        ("label told, and paid for", paid),
        ("label summed out", summed_out),
    ] {
        chapter.report.row(name, &Number::within(bits, 0.003, 3), "bits/dim");
    }
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
