//! What the chapter prints and draws of its results.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    data::Dataset,
    error::Result,
    figure::{Axis, ImageRow, Plot, Series, Style, image_rows},
    masks::MaskSchedule,
};

use crate::{
    estimators::{CALLS, Estimator},
    gumbel,
    likelihood::Likelihoods,
    profile::{Moments, Profile},
    samples::Drawn,
};

pub fn bounds(chapter: &mut Chapter, data: &Dataset, validation: &Profile, test: &Profile) {
    let bits = |nats| data.bits_per_dim(nats);
    chapter.report.section("The bound");
    for (name, profile) in [("validation", validation), ("test", test)] {
        for (what, nats, tolerance, decimals) in [
            ("bound", profile.limit(), 0.002, 3),
            ("error of the masks", profile.noise_error, 0.0003, 4),
            ("error of the set", profile.set_error, 0.0003, 4),
        ] {
            let number = Number::within(bits(nats), tolerance, decimals);
            chapter.report.row(&format!("{name}, {what}"), &number, "bits/dim");
        }
    }
    chapter.metric("validation_bits_per_dim", bits(validation.limit()));
    chapter.metric("test_bits_per_dim", bits(test.limit()));
    chapter.metric("test_bits_per_dim_stderr", bits(test.noise_error));
}

pub fn pixel_costs(chapter: &mut Chapter, data: &Dataset, test: &Profile) -> Result<()> {
    let bits = |n: usize| test.costs[n - 1] / std::f64::consts::LN_2;
    let error = |n: usize| test.errors[n - 1] / std::f64::consts::LN_2;
    let row = |n: usize| {
        let numbers =
            [Number::within(bits(n), 0.002, 3), Number::within(error(n), 0.002, 3)];
        (n.to_string(), numbers.to_vec())
    };
    chapter.report.section("What a masked pixel costs");
    let rows: Vec<_> = [1, 2, 4, 8, 16, 32, 48, 64].into_iter().map(row).collect();
    chapter
        .report
        .table(&["masked pixels", "cost of each (bits)", "standard error"], &rows);
    let points = (1..=data.train.dim()).map(|n| (n as f64, bits(n)));
    let plot = Plot::curve("masked pixels", "cost of each (bits)", points);
    chapter.figure("pixel_cost", &plot.draw()?)
}

pub fn steps(chapter: &mut Chapter, data: &Dataset, test: &Profile) -> Result<()> {
    let bound = |schedule: MaskSchedule, steps| {
        data.bits_per_dim(test.terms(&schedule.grid(steps)).iter().sum())
    };
    let limit = data.bits_per_dim(test.limit());
    let schedules = [("linear", MaskSchedule::Linear), ("cosine", MaskSchedule::Cosine)];
    let rows: Vec<_> = [1, 2, 4, 8, 16, 32, 64, 128]
        .into_iter()
        .map(|steps| {
            let bits = |(_, schedule)| Number::within(bound(schedule, steps), 0.002, 3);
            (steps.to_string(), schedules.map(bits).to_vec())
        })
        .collect();
    chapter.report.section("Fewer steps");
    chapter.report.table(&["steps T", "linear", "cosine"], &rows);
    chapter.report.row(
        "infinitely many steps",
        &Number::within(limit, 0.002, 3),
        "bits/dim",
    );
    let curve = |(name, schedule)| {
        let points = (0..=8).map(|i| 1 << i).map(|t| (t as f64, bound(schedule, t)));
        Series::new(name, Style::LineAndDots, points)
    };
    let mut series = schedules.map(curve).to_vec();
    series.push(Series::new(
        "infinitely many",
        Style::Reference,
        [(1.0, limit), (256.0, limit)],
    ));
    let plot =
        Plot { x: Axis::log("steps T"), y: Axis::linear("test bound (bits/dim)"), series };
    chapter.figure("fewer_steps", &plot.draw()?)
}

// ANCHOR: constants
/// Numbers that are no bound, though a program may call them one.
pub fn constants(chapter: &mut Chapter, data: &Dataset, test: &Profile) {
    let d = data.train.dim() as f64;
    let terms = test.terms(&MaskSchedule::Linear.grid(64));
    // The mean cost of all masked pixels, at a uniform time: without the weight 1/t.
    let unweighted: f64 =
        (1..).map(f64::from).zip(&test.costs).map(|(n, cost)| n * cost / (d + 1.0)).sum();
    // A number of masked pixels from 0 to d, of which 0 counts as a cost of 0.
    let with_empty = test.limit() * d / (d + 1.0);
    chapter.report.section("What is left out");
    for (name, nats) in [
        ("nothing, infinitely many steps", test.limit()),
        ("the empty masks, counted as no cost", with_empty),
        ("the weights 1/t", unweighted),
        ("nothing, 64 steps", terms.iter().sum()),
        ("the last step of sampling", terms[1..].iter().sum()),
        ("the first step of sampling", terms[..63].iter().sum()),
    ] {
        let number = Number::within(data.bits_per_dim(nats), 0.002, 3);
        chapter.report.row(name, &number, "bits/dim");
    }
}
// ANCHOR_END: constants

pub fn estimators(
    chapter: &mut Chapter,
    data: &Dataset,
    deviations: &[[f64; CALLS.len()]],
) -> Result<()> {
    let bits = |nats| data.bits_per_dim(nats);
    let (mut rows, mut series) = (Vec::new(), Vec::new());
    for ((name, _), deviations) in Estimator::ALL.iter().zip(deviations) {
        let number = |nats: f64| Number::within(bits(nats), 0.02 * bits(nats), 4);
        let shown = [0, 2, 4].map(|i| number(deviations[i]));
        rows.push((name.to_string(), shown.to_vec()));
        let points = CALLS.iter().zip(deviations).map(|(c, nats)| (*c as f64, bits(*nats)));
        series.push(Series::new(*name, Style::LineAndDots, points));
    }
    chapter.report.section("How much the estimates vary");
    chapter
        .report
        .table(&["standard deviation (bits/dim)", "2 calls", "8 calls", "32 calls"], &rows);
    let plot = Plot {
        x: Axis::log("calls of the network for one image"),
        y: Axis::log("standard deviation (bits/dim)"),
        series,
    };
    chapter.figure("estimators", &plot.draw()?)
}

pub fn likelihoods(chapter: &mut Chapter, data: &Dataset, exact: &Likelihoods) {
    let of = |nats: &[f64]| Moments::of(nats.iter().copied());
    let bits = |nats| data.bits_per_dim(nats);
    chapter.report.section("An exact likelihood");
    for (name, nats, tolerance) in [
        ("causal network, validation", Some(&exact.validation), 0.01),
        ("causal network, test", Some(&exact.test), 0.01),
        ("causal network, all test images", exact.all.as_ref(), 0.01),
        ("masked network in rows, test", exact.in_rows.as_ref(), 0.002),
    ] {
        if let Some(nats) = nats {
            let number = Number::within(bits(of(nats).mean), tolerance, 3);
            chapter.report.row(name, &number, "bits/dim");
        }
    }
    let number = Number::within(bits(of(&exact.test).error), 0.001, 3);
    chapter.report.row("causal network, error of the set", &number, "bits/dim");
    chapter.metric("causal_test_bits_per_dim", bits(of(&exact.test).mean));
}

pub fn samples(chapter: &mut Chapter, data: &Dataset, drawn: &[Drawn]) -> Result<()> {
    let row = |drawn: &Drawn| {
        let numbers = [
            Number::within(drawn.distance.value, drawn.tolerance, 2),
            Number::within(drawn.distance.standard_error, 0.02, 2),
        ];
        (drawn.name.clone(), numbers.to_vec())
    };
    let rows: Vec<_> = drawn.iter().map(row).collect();
    chapter.report.section("Samples");
    chapter
        .report
        .table(&["400 images", "energy distance to the test images", "its error"], &rows);
    let (side, greys) = (data.train.side(), data.train.grey_level_count());
    let mut pictures = Vec::new();
    for drawn in drawn.iter().filter(|drawn| drawn.pictured) {
        let images = drawn.images.first(24);
        let row = ImageRow::from_grey_levels(drawn.name.clone(), images.iter(), greys);
        pictures.extend(row.wrap(12));
    }
    if let Some(last) = drawn.last() {
        let pixels: Vec<u8> = last.images.first(6).iter().flatten().copied().collect();
        chapter.show(&pixels, side, greys);
    }
    chapter.figure("samples", &image_rows(&pictures, side)?)
}

pub fn gumbel(chapter: &mut Chapter) {
    let row = |exponent: i32| {
        let p = 10f64.powi(exponent);
        let counted = gumbel::drawn_in_f32(p) / p;
        let numbers =
            [Number::within(counted, 0.002, 3), Number::exact(gumbel::share(p), 3)];
        (format!("1e{exponent}"), numbers.to_vec())
    };
    let rows: Vec<_> = [-4, -5, -6, -7, -8].into_iter().map(row).collect();
    chapter.report.section("Gumbel noise in 32 bits");
    chapter.report.table(&["probability p", "drawn / p, counted", "by the formula"], &rows);
}
