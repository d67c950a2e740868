//! What the chapter prints and draws of its results.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    data::{Dataset, Marginals},
    error::Result,
    evaluation::Bound,
    figure::{ImageRow, Plot, Series, Style, image_rows},
};

use super::{Bounds, SAMPLES};

pub fn baselines(chapter: &mut Chapter, data: &Dataset) {
    let independent = Marginals::fit(&data.train, 0.1);
    let report = &mut chapter.report;
    report.section("Baselines");
    let uniform = (data.train.grey_level_count() as f64).log2();
    report.row("uniform levels", &Number::exact(uniform, 3), "bits/dim");
    for (name, images) in [("validation", &data.validation), ("test", &data.test)] {
        let bits = data.bits_per_dim(independent.nats(images));
        report.row(
            &format!("independent pixels, {name}"),
            &Number::exact(bits, 3),
            "bits/dim",
        );
    }
}

/// Draws the mean loss of each twenty steps.
pub fn training(chapter: &Chapter, losses: &[f64]) -> Result<()> {
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let curve =
        losses.chunks(20).zip(1..).map(|(chunk, i)| (f64::from(i * 20), mean(chunk)));
    chapter.figure(
        "loss",
        &Plot::curve("training step", "training loss (bits/dim)", curve).draw()?,
    )
}

pub fn bounds(chapter: &mut Chapter, data: &Dataset, bounds: &Bounds) -> Result<()> {
    let bits = |nats: f64| data.bits_per_dim(nats);
    let Bounds { training, validation, test } = bounds;
    chapter.report.section("The bound");
    for (name, bound) in
        [("training", training), ("validation", validation), ("test", test)]
    {
        for (term, nats, tolerance, decimals) in [
            ("reconstruction", bound.reconstruction, 0.001, 4),
            ("prior", bound.prior, 0.0001, 4),
            ("denoising", bound.denoising.iter().sum(), 0.02, 3),
            ("bound", bound.total(), 0.02, 3),
            ("error of the noise", bound.noise_error, 0.001, 4),
        ] {
            let number = Number::within(bits(nats), tolerance, decimals);
            chapter.report.row(&format!("{name} {term}"), &number, "bits/dim");
        }
        chapter.metric(&format!("{name}_bits_per_dim"), bits(bound.total()));
        chapter.metric(&format!("{name}_bits_per_dim_stderr"), bits(bound.noise_error));
    }
    let set_error = bits(test.set_error);
    let number = Number::within(set_error, 0.0005, 4);
    chapter.report.row("test error of the test set", &number, "bits/dim");
    chapter.metric("test_bits_per_dim_set_stderr", set_error);
    let curve = |name, bound: &Bound| {
        let points = (2..)
            .zip(&bound.denoising)
            .map(|(t, &nats)| (f64::from(t), 1000.0 * bits(nats)));
        Series::new(name, Style::Line, points)
    };
    let series = vec![curve("test images", test), curve("training images", training)];
    let plot = Plot {
        series,
        ..Plot::curve("time step t", "denoising term (1/1000 bits/dim)", [])
    };
    chapter.figure("denoising_term", &plot.draw()?)
}

pub fn fewer_latents(
    chapter: &mut Chapter,
    data: &Dataset,
    fewer: &[(usize, Bound)],
) -> Result<()> {
    let (mut rows, mut points) = (Vec::new(), Vec::new());
    for (latents, bound) in fewer {
        let bits = |nats, tolerance, decimals| {
            Number::within(data.bits_per_dim(nats), tolerance, decimals)
        };
        rows.push((
            latents.to_string(),
            vec![
                bits(bound.total(), 0.02, 3),
                bits(bound.noise_error, 0.002, 4),
                bits(bound.set_error, 0.001, 4),
            ],
        ));
        points.push((1.0 / *latents as f64, data.bits_per_dim(bound.total())));
    }
    chapter.report.section("Fewer latents");
    let errors = ["error of the noise", "error of the test set"];
    let header = ["latents T", "test bound (bits/dim)", errors[0], errors[1]];
    chapter.report.table(&header, &rows);
    let series = vec![Series::new("", Style::LineAndDots, points)];
    let plot = Plot { series, ..Plot::curve("1 / T", "test bound (bits/dim)", []) };
    chapter.figure("fewer_latents", &plot.draw()?)
}

/// Shows the samples above as many digits of the training set.
pub fn samples(chapter: &Chapter, data: &Dataset, digits: &[u8]) -> Result<()> {
    let (side, greys) = (data.train.side(), data.train.grey_level_count());
    chapter.show(digits, side, greys);
    let mut rows = ImageRow::from_grey_levels(
        "Samples from the model",
        digits.chunks(side * side),
        greys,
    )
    .wrap(16);
    let real = ImageRow::from_grey_levels(
        "Digits from the training set",
        data.train.iter().take(SAMPLES),
        greys,
    );
    rows.extend(real.wrap(16));
    chapter.figure("samples", &image_rows(&rows, side)?)
}
