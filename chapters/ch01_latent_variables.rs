//! Chapter 1: latent variables, and why p(x) is out of reach.

use std::{f64::consts::TAU, process::ExitCode};

use elbo_to_diffusion::{
    chapter::{self, Chapter, Number, Spec},
    class_mixture::ClassMixture,
    data::{Dataset, Marginals},
    error::Result,
    figure::{Axis, ImageRow, Plot, Series, Style, image_rows},
    oracle::{Estimate, LinearGaussian, Rule, log_sum_exp, matrix, vector},
    random::{Stream, rng},
};
use rand_distr::{Distribution, StandardNormal};

fn main() -> ExitCode {
    let spec = Spec {
        name: "ch01_latent_variables",
        about: "Chapter 1: p(x) of latent-variable models, exactly where that is possible, and by chance where it is not",
        flags: &[],
    };
    chapter::main(spec, run)
}

fn run(chapter: &mut Chapter) -> Result<()> {
    thermometers(chapter)?;
    photons(chapter);
    let data = chapter.dataset()?;
    baselines(chapter, &data);
    classes(chapter, &data)?;
    monte_carlo(chapter)
}

/// One temperature, two readings: log p(x) by three routes.
fn thermometers(chapter: &mut Chapter) -> Result<()> {
    // ANCHOR: thermometers
    let (w, offset, noise) = (matrix(&[&[1.0], &[0.5]])?, vector(&[0.0, 0.0]), 0.25);
    let model = LinearGaussian::standard(w, offset, noise)?;
    let x = vector(&[1.2, 0.3]);
    let log_joint = |z: f64| -> Result<f64> {
        let z = vector(&[z]);
        Ok(model.prior().log_prob(&z)? + model.likelihood().given(&z)?.log_prob(&x)?)
    };

    // Marginalise: add p(x, z) over all z, here with 200 nodes from -10 to 10.
    let mut marginalised = 0.0;
    for (z, weight) in Rule::gauss_legendre(200, -10.0, 10.0).points() {
        marginalised += weight * log_joint(z)?.exp();
    }
    // The chain rule: log p(x, z) - log p(z|x), at any one z.
    let posterior = model.posterior(&x)?;
    let log_posterior = |z: f64| posterior.log_prob(&vector(&[z]));
    let by_chain_rule = |z: f64| -> Result<f64> { Ok(log_joint(z)? - log_posterior(z)?) };
    // The closed form: x is Gaussian itself, N(0, W W^T + s2 I).
    let closed_form = model.log_prob(&x)?;
    // ANCHOR_END: thermometers

    let mut table = Vec::new();
    for z in [-2.0, 0.0, 0.9, 3.0] {
        table.push((format!("z = {z}"), [log_joint(z)?, log_posterior(z)?, by_chain_rule(z)?]));
    }
    report_routes(chapter, "Two thermometers", closed_form, marginalised.ln(), &table);

    let mut curves = [("log p(z|x)", Vec::new()), ("log p(x, z)", Vec::new()), ("log p(x)", Vec::new())];
    for z in (0..=80).map(|i| -1.0 + 0.045 * f64::from(i)) {
        let values = [log_posterior(z)?, log_joint(z)?, by_chain_rule(z)?];
        curves.iter_mut().zip(values).for_each(|((_, curve), value)| curve.push((z, value)));
    }
    let series = curves.map(|(name, points)| Series::new(name, Style::Line, points)).to_vec();
    let plot = Plot { x: Axis::linear("z, the true temperature"), y: Axis::linear("nats"), series };
    chapter.figure("chain_rule", &plot.draw()?)
}

/// A lamp emits z photons, a detector counts x of them: the same three routes with a sum for the integral.
fn photons(chapter: &mut Chapter) {
    // ANCHOR: photons
    let (emitted, efficiency, x) = (5.0_f64, 0.4_f64, 3_u32);
    let log_factorial = |n: u32| -> f64 { (1..=n).map(|i| f64::from(i).ln()).sum() };
    let log_power = |base: f64, n: u32| f64::from(n) * base.ln();
    let log_poisson = |n: u32, mean: f64| log_power(mean, n) - mean - log_factorial(n);
    let log_joint = |z: u32| {
        let missed = z - x;
        let ways = log_factorial(z) - log_factorial(x) - log_factorial(missed);
        let binomial = ways + log_power(efficiency, x) + log_power(1.0 - efficiency, missed);
        log_poisson(z, emitted) + binomial
    };
    // From z = 103 on, the terms are below 1e-80.
    let marginalised: f64 = (x..x + 100).map(|z| log_joint(z).exp()).sum();
    // What was missed does not depend on what was seen: z - x is Poisson with mean 3.
    let log_posterior = |z: u32| log_poisson(z - x, emitted * (1.0 - efficiency));
    let closed_form = log_poisson(x, emitted * efficiency);
    // ANCHOR_END: photons

    let routes = |z: u32| (format!("z = {z}"), [log_joint(z), log_posterior(z), log_joint(z) - log_posterior(z)]);
    report_routes(chapter, "Photons", closed_form, marginalised.ln(), &[3, 6, 12].map(routes));
}

/// The closed form of log p(x), the sum or integral over z, and log p(x, z) - log p(z|x) at some z.
fn report_routes(chapter: &mut Chapter, heading: &str, exact: f64, marginalised: f64, table: &[(String, [f64; 3])]) {
    let nats = |value: f64| Number::exact(value, 10);
    chapter.report.section(heading);
    chapter.report.row("log p(x), closed form", &nats(exact), "nats");
    chapter.report.row("log p(x), marginalised", &nats(marginalised), "nats");
    chapter.report.line("");
    let rows: Vec<_> = table.iter().map(|(z, row)| (z.clone(), row.map(nats).to_vec())).collect();
    chapter.report.table(&["at", "log p(x, z)", "log p(z|x)", "difference"], &rows);
}

/// Models without a latent, and what a density would claim.
fn baselines(chapter: &mut Chapter, data: &Dataset) {
    let uniform = (data.train.level_count() as f64).log2();
    let independent = Marginals::fit(&data.train, 0.1);
    let [validation, test] = [&data.validation, &data.test].map(|images| data.bits_per_dim(independent.nats(images)));
    let report = &mut chapter.report;
    report.section("Baselines");
    for (name, value) in [
        ("uniform levels", uniform),
        ("independent pixels, validation", validation),
        ("independent pixels, test", test),
    ] {
        report.row(name, &Number::exact(value, 3), "bits/dim");
    }
    chapter.metric("uniform_bits_per_dim", uniform);
    chapter.metric("independent_test_bits_per_dim", test);

    // ANCHOR: spikes
    // A density with a narrow Gaussian spike on every level, as heavy as the level.
    let (d, levels) = (data.test.dim(), data.test.level_count());
    let spiked = |width: f64| -> f64 {
        let mut log_density = 0.0;
        for (i, &level) in data.test.iter().flat_map(|image| image.iter().enumerate()) {
            let spike = |k: usize| {
                let distance = (f64::from(level) - k as f64) / width;
                independent.log_probs[i * levels + k] - 0.5 * distance * distance
            };
            let terms: Vec<f64> = (0..levels).map(spike).collect();
            log_density += log_sum_exp(&terms) - (width * TAU.sqrt()).ln();
        }
        -log_density / (data.test.len() * d) as f64 / std::f64::consts::LN_2
    };
    // ANCHOR_END: spikes
    chapter.report.section("A density is not a probability");
    let rows: Vec<_> =
        [0.1, 0.01, 0.001].map(|width| (format!("{width}"), vec![Number::exact(spiked(width), 3)])).to_vec();
    chapter.report.table(&["width (levels)", "-log2 density / d"], &rows);
}

/// A mixture of classes: a latent-variable model of the digits whose likelihood is exact.
fn classes(chapter: &mut Chapter, data: &Dataset) -> Result<()> {
    const STRENGTHS: [f64; 3] = [4.0, 16.0, 64.0];
    let seed = chapter.seed();
    // ANCHOR: choose
    let fit = |classes: usize, strength: f64, start: u64| {
        let sorting = &mut rng(seed, Stream::Initialisation, start);
        ClassMixture::fit(&data.train, classes, strength, 60, sorting)
    };
    let bits = |model: &ClassMixture, images| data.bits_per_dim(model.nats(images));
    let mut models = Vec::new();
    for classes in [1, 2, 5, 10, 15, 20, 30] {
        models.extend(STRENGTHS.map(|strength| (strength, fit(classes, strength, 0))));
    }
    // The validation images decide between the models.
    let score = |(_, model): &&(f64, ClassMixture)| bits(model, &data.validation);
    let best = models.iter().min_by(|a, b| score(a).total_cmp(&score(b)));
    // ANCHOR_END: choose
    let Some((strength, best)) = best else { return Ok(()) };

    let cell = |value: f64| Number::exact(value, 3);
    let names = ["train, 4", "validation, 4", "validation, 16", "validation, 64"];
    let rows = models.chunks_exact(STRENGTHS.len()).map(|row| {
        let validation = row.iter().map(|(_, model)| bits(model, &data.validation));
        (row[0].1.classes(), [bits(&row[0].1, &data.train)].into_iter().chain(validation).collect())
    });
    let table: Vec<(usize, Vec<f64>)> = rows.collect();
    let rows: Vec<_> = table.iter().map(|(c, row)| (c.to_string(), row.iter().copied().map(cell).collect())).collect();
    chapter.report.section("Classes");
    chapter.report.table(&[&["classes"], names.as_slice()].concat(), &rows);
    chapter.report.line("");
    chapter.report.row("classes chosen", &Number::count(best.classes()), "");
    chapter.report.row("imaginary images chosen", &Number::exact(*strength, 0), "");
    for (name, images) in [("validation", &data.validation), ("test", &data.test)] {
        let value = bits(best, images);
        chapter.report.row(&format!("{name}, chosen model"), &cell(value), "bits/dim");
        chapter.metric(&format!("{name}_bits_per_dim"), value);
    }
    let per_image = bits(best, &data.test) * data.test.dim() as f64;
    chapter.report.row("test, chosen model, whole image", &Number::exact(per_image, 1), "bits");
    let others: Vec<f64> = (1..=5).map(|start| bits(&fit(best.classes(), *strength, start), &data.test)).collect();
    let (lowest, highest) = others.iter().fold((f64::MAX, 0.0_f64), |(l, h), &v| (l.min(v), h.max(v)));
    chapter.report.row("test, lowest of 5 other starts", &cell(lowest), "bits/dim");
    chapter.report.row("test, highest of 5 other starts", &cell(highest), "bits/dim");
    let curve = |j: usize| table.iter().map(move |(c, row)| (*c as f64, row[j]));
    let series = (0..4).map(|j| Series::new(names[j], Style::LineAndDots, curve(j))).collect();
    let plot = Plot { x: Axis::linear("number of classes"), y: Axis::linear("bits/dim"), series };
    chapter.figure("classes_and_bits", &plot.draw()?)?;

    // ANCHOR: generate
    let noise = &mut rng(seed, Stream::Sampling, 0);
    let drawn: Vec<Vec<u8>> = (0..best.classes()).map(|c| best.sample(c, noise)).collect();
    // ANCHOR_END: generate
    let levels = data.train.level_count();
    let most_at_home =
        |c: usize| data.train.iter().max_by(|a, b| best.log_joint(a)[c].total_cmp(&best.log_joint(b)[c]));
    let darkness = |c: usize| best.mean_levels(c).iter().map(|mean| mean / (levels - 1) as f64).collect();
    let rows = [
        ImageRow { label: "The mean image of each class".into(), images: (0..best.classes()).map(darkness).collect() },
        ImageRow::from_grey_levels("One draw from each class", drawn.iter().map(Vec::as_slice), levels),
        ImageRow::from_grey_levels(
            "The training image most at home in it",
            (0..best.classes()).filter_map(most_at_home),
            levels,
        ),
    ];
    chapter.figure("classes", &image_rows(&rows, data.train.side())?)
}

/// The naive Monte Carlo estimate of p(x) in more and more dimensions, beside its closed form.
fn monte_carlo(chapter: &mut Chapter) -> Result<()> {
    const DIMENSIONS: [usize; 8] = [1, 2, 4, 8, 12, 16, 32, 64];
    const DRAWS: usize = 10_000;
    const RUNS: usize = 100;
    // ANCHOR: monte_carlo
    // z ~ N(0, I) and x|z ~ N(z, s2 I), hence x ~ N(0, (1 + s2) I).
    // Every coordinate of x lies one standard deviation from its mean.
    let s2: f64 = 0.5;
    let x = (1.0 + s2).sqrt();
    let log_normal = |x: f64, mean: f64, variance: f64| -0.5 * ((TAU * variance).ln() + (x - mean).powi(2) / variance);
    let log_p = log_normal(x, 0.0, 1.0 + s2);
    let mut errors = [[Estimate::default(); 3]; DIMENSIONS.len()];
    for run in 0..RUNS {
        let noise = &mut rng(chapter.seed(), Stream::Evaluation, run as u64);
        let mut log_weights = vec![0.0; DRAWS];
        for dimension in 1..=64 {
            for log_weight in &mut log_weights {
                let z: f64 = StandardNormal.sample(noise);
                *log_weight += log_normal(x, z, s2) - log_p;
            }
            if let Some(i) = DIMENSIONS.iter().position(|&d| d == dimension) {
                let log_sum = log_sum_exp(&log_weights);
                let twice: Vec<f64> = log_weights.iter().map(|w| 2.0 * w).collect();
                let log_squares = log_sum_exp(&twice);
                let log_error = log_sum - (DRAWS as f64).ln();
                let effective = (2.0 * log_sum - log_squares).exp();
                let [logs, squares, sizes] = &mut errors[i];
                logs.push(log_error);
                squares.push((log_error.exp() - 1.0).powi(2));
                sizes.push(effective);
            }
        }
    }
    // The mean of w^2 with w = p(x|z) / p(x): for d coordinates, the d-th power.
    let exponent = x * x / ((1.0 + s2) * (2.0 + s2));
    let second_moment = (1.0 + s2) / (s2 * (2.0 + s2)).sqrt() * exponent.exp();
    let power = |d: usize| second_moment.powi(d as i32);
    let exact_error = |d: usize| ((power(d) - 1.0) / DRAWS as f64).sqrt();
    let exact_size = |d: usize| DRAWS as f64 / power(d);
    // ANCHOR_END: monte_carlo

    let report = &mut chapter.report;
    report.section("Naive Monte Carlo");
    report.row("mean of w^2, d = 1", &Number::exact(second_moment, 4), "");
    report.line("");
    let rows = DIMENSIONS.iter().zip(&errors).map(|(&d, [logs, squares, _])| {
        let log_p = d as f64 * log_p;
        let cells = vec![
            Number::exact(log_p, 3),
            Number::exact(log_p + logs.mean(), 3),
            Number::exact(logs.standard_error(), 3),
            Number::exact(squares.mean().sqrt(), 3),
            Number::scientific(exact_error(d), 1),
        ];
        (d.to_string(), cells)
    });
    report.table(&["d", "log p(x)", "mean log p_hat", "s.e.", "rms error / p", "theory"], &rows.collect::<Vec<_>>());
    report.section("Effective sample size");
    let rows = DIMENSIONS.iter().zip(&errors).map(|(&d, [_, _, sizes])| {
        let draws = 100.0 * (power(d) - 1.0);
        let cells = [Number::exact(sizes.mean(), 1), Number::scientific(exact_size(d), 1)];
        (d.to_string(), [cells.as_slice(), &[Number::scientific(draws, 1)]].concat())
    });
    report.table(&["d", "measured", "theory", "draws for 10 % error"], &rows.collect::<Vec<_>>());
    let [logs, _, sizes] = &errors[DIMENSIONS.len() - 1];
    let (too_low, effective) = (-logs.mean(), sizes.mean());
    report.line("");
    report.row("log p_hat too low at d = 64 by", &Number::exact(too_low, 2), "nats");
    chapter.metric("log_prob_error_64_dims_nats", too_low);
    chapter.metric("effective_sample_size_64_dims", effective);

    let figure = |chapter: &Chapter, name: &str, label: &str, measured: Vec<f64>, exact: &dyn Fn(usize) -> f64| {
        let dimensions = || DIMENSIONS.iter().map(|&d| d as f64);
        let series = vec![
            Series::new("measured", Style::LineAndDots, dimensions().zip(measured)),
            Series::new("theory", Style::Reference, dimensions().zip(DIMENSIONS.map(exact))),
        ];
        let plot = Plot { x: Axis::linear("dimensions of z and of x"), y: Axis::log(label), series };
        chapter.figure(name, &plot.draw()?)
    };
    let error = errors.iter().map(|[_, squares, _]| squares.mean().sqrt()).collect();
    figure(chapter, "relative_error", "rms error / p(x)", error, &exact_error)?;
    let sizes = errors.iter().map(|[_, _, sizes]| sizes.mean()).collect();
    figure(chapter, "effective_sample_size", "effective sample size", sizes, &exact_size)
}
