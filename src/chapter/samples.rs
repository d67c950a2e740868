//! What a picture of samples shows, in numbers.

use super::{Chapter, Number};
use crate::{
    data::{Dataset, Images},
    error::Result,
    evaluation::samples::{class_shares, energy_distance, nearest_distance, nearest_other},
};

/// Samples that are drawn to be measured.
pub const MEASURED: usize = 500;
/// Samples are compared with at most so many of the first images of each part of the data.
/// The digits have fewer.
const COMPARED: usize = 2000;

/// A section on samples of each of these models, beside real images.
///
/// Fails for samples of another size than the data's.
pub fn report_samples(
    chapter: &mut Chapter,
    data: &Dataset,
    models: &[(&str, Images)],
) -> Result<()> {
    let (train, test) = (data.train.first(COMPARED), data.test.first(COMPARED));
    let labelled = train.labels().is_some();
    let percent = |share: f64| Number::within(100.0 * share, 2.0, 1);
    let mut rows = Vec::new();
    for (name, samples) in models {
        let (energy, nearest) =
            (energy_distance(samples, &test)?, nearest_distance(samples, &train)?);
        let mut row = vec![
            Number::within(energy.value, 0.1, 2),
            Number::within(energy.standard_error, 0.02, 2),
            Number::within(nearest.value, 0.3, 2),
        ];
        if labelled {
            let shares = class_shares(samples, &train)?;
            row.push(percent(shares.iter().copied().fold(1.0, f64::min)));
            row.push(percent(shares.iter().copied().fold(0.0, f64::max)));
        }
        rows.push((name.to_string(), row));
    }
    let (energy, nearest) = (energy_distance(&train, &test)?, nearest_other(&train)?);
    let real = [energy.value, energy.standard_error, nearest.value];
    let mut row = real.map(|value| Number::exact(value, 2)).to_vec();
    if let Some(labels) = train.labels() {
        let share = |class| labels.iter().filter(|&&label| label == class).count() as f64;
        let shares = (0..=labels.iter().copied().max().unwrap_or(0)).map(share);
        let percent = |count: f64| Number::exact(100.0 * count / labels.len() as f64, 1);
        row.push(percent(shares.clone().fold(f64::INFINITY, f64::min)));
        row.push(percent(shares.fold(0.0, f64::max)));
    }
    rows.push(("training images".to_string(), row));

    chapter.report.section("Samples in numbers");
    let header =
        ["", "energy distance", "standard error", "nearest", "rarest %", "commonest %"];
    chapter.report.table(&header[..if labelled { 6 } else { 4 }], &rows);
    let nearest = nearest_distance(&test, &train)?;
    let number = Number::exact(nearest.value, 2);
    chapter.report.row("test images to the nearest", &number, "");
    Ok(())
}
