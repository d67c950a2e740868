//! What the chapter prints and draws of its results.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    data::Dataset,
    error::Result,
    evaluation::Bound,
    figure::{Axis, Plot, Series, Style},
};

use super::{OneNetwork, schedules::Schedules};

pub fn one_network(
    chapter: &mut Chapter,
    data: &Dataset,
    schedules: &Schedules,
    bounds: &OneNetwork,
) -> Result<()> {
    let bits = |nats: f64| data.bits_per_dim(nats);
    let row = |(name, bound): &(&str, Bound)| {
        let variance = bits(bits(bound.draw_variance));
        let numbers = [
            Number::within(bits(bound.total()), 0.005, 3),
            Number::within(bits(bound.noise_error), 0.0003, 4),
            Number::within(variance, 0.03 * variance, 2),
        ];
        (name.to_string(), numbers.to_vec())
    };
    let rows: Vec<_> = bounds.test.iter().map(row).collect();
    let [linear, cosine, own] = bounds.test.each_ref().map(|(_, bound)| bound);
    let pairs = [linear.less(own)?, cosine.less(own)?, linear.less(cosine)?];
    let apart = pairs.iter().map(|pair| pair.standard_errors()).fold(0.0, f64::max);
    let ratio = own.draw_variance / cosine.draw_variance;
    let validation = bits(bounds.validation.total());
    let report = &mut chapter.report;
    report.section("One network, three schedules");
    let header =
        ["schedule", "test bound (bits/dim)", "error of the noise", "variance of one draw"];
    report.table(&header, &rows);
    let set_error =
        bounds.test.iter().map(|(_, bound)| bound.set_error).fold(0.0, f64::max);
    let set_error = Number::within(bits(set_error), 0.0005, 4);
    report.row("largest error of the test set", &set_error, "bits/dim");
    report.row(
        "least possible variance",
        &Number::within(bits(bits(linear.least_variance)), 0.02, 2),
        "",
    );
    report.row("variance, learned over worst", &Number::within(ratio, 0.003, 3), "");
    report.row("bounds apart, at most", &Number::within(apart, 0.3, 1), "standard errors");
    let verdict = if apart <= 3.0 { "yes" } else { "no" };
    report.line(&format!("All three agree within three standard errors: {verdict}"));
    report.row(
        "validation bound, learned",
        &Number::within(validation, 0.005, 3),
        "bits/dim",
    );
    if let Some(all) = &bounds.all {
        report.row(
            "all test images, learned",
            &Number::within(bits(all.total()), 0.005, 3),
            "bits/dim",
        );
        for (name, error) in [
            ("its error of the noise", all.noise_error),
            ("its error of the test set", all.set_error),
        ] {
            report.row(name, &Number::within(bits(error), 0.0003, 4), "bits/dim");
        }
        chapter.metric("all_test_bits_per_dim", bits(all.total()));
    }
    chapter.metric("validation_bits_per_dim", validation);
    chapter.metric("test_bits_per_dim", bits(own.total()));
    chapter.metric("test_bits_per_dim_stderr", bits(own.noise_error));
    chapter.metric("test_bits_per_dim_set_stderr", bits(own.set_error));
    chapter.metric("estimator_variance_ratio", ratio);
    chapter.metric("bounds_apart_standard_errors", apart);

    let curve = |name: &str, f: &dyn Fn(f64) -> f64| {
        Series::new(
            name,
            Style::Line,
            (0..=100).map(|i| f64::from(i) / 100.0).map(|t| (t, f(t))),
        )
    };
    let plot =
        |y: Axis, series: Vec<Series>| Plot { x: Axis::linear("time t"), y, series }.draw();
    let gamma = schedules.named().map(|(name, s)| curve(name, &|t| s.gamma(t))).to_vec();
    chapter.figure("gamma", &plot(Axis::linear("gamma(t)"), gamma)?)?;
    let snr =
        schedules.named().map(|(name, s)| curve(name, &|t| (-s.gamma(t)).exp())).to_vec();
    chapter.figure("snr", &plot(Axis::log("SNR(t)"), snr)?)?;
    let per_t = bounds.test.iter().map(|(name, bound)| {
        let parts = bound.denoising.len() as f64;
        let points = bound
            .denoising
            .iter()
            .zip(0..)
            .map(|(&nats, i)| ((f64::from(i) + 0.5) / parts, bits(nats) * parts));
        Series::new(*name, Style::Line, points)
    });
    chapter
        .figure("loss_per_t", &plot(Axis::linear("loss at t (bits/dim)"), per_t.collect())?)
}

pub fn discrete_time(
    chapter: &mut Chapter,
    data: &Dataset,
    bounds: &[(usize, [Bound; 3])],
) {
    let row = |(latents, bounds): &(usize, [Bound; 3])| {
        let bits =
            |bound: &Bound| Number::within(data.bits_per_dim(bound.total()), 0.02, 2);
        (latents.to_string(), bounds.iter().map(bits).collect())
    };
    let rows: Vec<_> = bounds.iter().map(row).collect();
    chapter.report.section("Discrete time");
    chapter.report.table(&["latents T", "linear", "cosine", "learned"], &rows);
    let largest = |error: fn(&Bound) -> f64| {
        let errors = bounds.iter().flat_map(|(_, bounds)| bounds).map(error);
        data.bits_per_dim(errors.fold(0.0, f64::max))
    };
    for (name, error, tolerance) in [
        ("largest error of the noise", largest(|bound| bound.noise_error), 0.01),
        ("largest error of the test set", largest(|bound| bound.set_error), 0.02),
    ] {
        chapter.report.row(name, &Number::within(error, tolerance, 2), "bits/dim");
    }
}

pub fn equal_training(chapter: &mut Chapter, data: &Dataset, trained: &[(&str, Bound)]) {
    let row = |(name, bound): &(&str, Bound)| {
        let bits = |nats, tolerance, decimals| {
            Number::within(data.bits_per_dim(nats), tolerance, decimals)
        };
        (
            name.to_string(),
            vec![bits(bound.total(), 0.005, 3), bits(bound.noise_error, 0.0003, 4)],
        )
    };
    let rows: Vec<_> = trained.iter().map(row).collect();
    chapter.report.section("Equal short training");
    chapter.report.table(
        &["trained with", "validation bound (bits/dim)", "error of the noise"],
        &rows,
    );
}
