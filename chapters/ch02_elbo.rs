//! Chapter 2: the evidence lower bound, on models small enough to see all of it.

use std::{f64::consts::LN_2, iter::successors, process::ExitCode};

use elbo_to_diffusion::{
    chapter::{self, Chapter, Number, Spec},
    error::Result,
    figure::{Axis, Plot, Series, Style, Surface},
    oracle::{
        Estimate, Gaussian, LinearGaussian, PowerMeter, Rule, ScalarLatent, ScalarMixture, ScalarNormal, Thermometers,
        log_sum_exp, matrix, vector,
    },
    random::{Stream, rng},
};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

fn main() -> ExitCode {
    let spec = Spec {
        name: "ch02_elbo",
        about: "Chapter 2: climb the evidence lower bound, see what it leaves out, and tighten it with more draws",
        flags: &[],
    };
    chapter::main(spec, run)
}

fn run(chapter: &mut Chapter) -> Result<()> {
    climb(chapter)?;
    let meter = PowerMeter { x: 2.0, sigma: 0.5 };
    let [one_mode, between] = two_modes(chapter, &meter)?;
    more_draws(chapter, &meter, [ScalarNormal::STANDARD, between, one_mode])?;
    learn_theta(chapter)
}

/// The posterior is in the family of q: the ascent closes the gap.
fn climb(chapter: &mut Chapter) -> Result<()> {
    // ANCHOR: climb
    let model = Thermometers { w: [1.0, 0.5], noise: 0.25, x: [1.2, 0.3] };
    let path = model.ascend(ScalarNormal { mean: -1.0, log_std: 0.5 }, 0.05, 60);
    // The oracle knows the evidence and the posterior; the ascent did not ask it.
    let (w, offset) = (matrix(&[&[1.0], &[0.5]])?, vector(&[0.0, 0.0]));
    let oracle = LinearGaussian::standard(w, offset, model.noise)?;
    let log_prob = oracle.log_prob(&vector(&model.x))?;
    let posterior = oracle.posterior(&vector(&model.x))?;
    let mut steps = Vec::new();
    let mut largest_error = 0.0_f64;
    for q in path {
        let kl = Gaussian::scalar(q.mean, q.variance())?.kl(&posterior)?;
        largest_error = largest_error.max((model.elbo(q) + kl - log_prob).abs());
        steps.push((q, model.elbo(q), kl));
    }
    // ANCHOR_END: climb

    chapter.report.section("Climbing the bound");
    let rows = [0, 1, 2, 5, 10, 20, 40, 60].map(|step| {
        let (q, elbo, kl) = steps[step];
        let place = [q.mean, q.log_std.exp()].map(|v| Number::exact(v, 4));
        (step.to_string(), [&place[..], &[elbo, kl, elbo + kl].map(|v| Number::exact(v, 10))].concat())
    });
    chapter.report.table(&["step", "mean", "std", "ELBO", "KL", "ELBO + KL"], &rows);
    chapter.report.line("");
    chapter.report.row("log p(x)", &Number::exact(log_prob, 10), "nats");
    chapter.report.row("largest |ELBO + KL - log p(x)|", &Number::exact(largest_error, 10), "nats");
    chapter.metric("climb_largest_error_nats", largest_error);

    let surface = Surface {
        x: Axis::linear("mean of q").range(-1.5, 2.5),
        y: Axis::linear("log of the std of q").range(-2.5, 0.8),
        value: |mean, log_std| log_prob - model.elbo(ScalarNormal { mean, log_std }),
        levels: vec![0.1, 0.3, 1.0, 3.0, 10.0],
        paths: vec![trace("", steps.iter().map(|step| step.0))],
    };
    chapter.figure("surface", &surface.draw()?)?;
    let elbo = (0..=30).zip(&steps).skip(1).map(|(i, step)| (f64::from(i), step.1));
    let series = vec![
        Series::new("ELBO", Style::LineAndDots, elbo),
        Series::new("log p(x)", Style::Reference, [(1.0, log_prob), (30.0, log_prob)]),
    ];
    let plot = Plot { x: Axis::linear("step of the ascent"), y: Axis::linear("nats"), series };
    chapter.figure("climb", &plot.draw()?)
}

/// A path of q, without the points that would lie on top of each other.
fn trace(name: &str, path: impl IntoIterator<Item = ScalarNormal>) -> Series {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for q in path {
        if points.last().is_none_or(|last| (last.0 - q.mean).hypot(last.1 - q.log_std) > 0.07) {
            points.push((q.mean, q.log_std));
        }
    }
    Series::new(name, Style::LineAndDots, points)
}

/// The posterior has two modes, the family of q has one: the ascent ends on one of them, and a gap stays.
fn two_modes(chapter: &mut Chapter, meter: &PowerMeter) -> Result<[ScalarNormal; 2]> {
    // ANCHOR: two_modes
    let z = Rule::gauss_legendre(1200, -14.0, 14.0);
    let log_prob = meter.log_prob(&z);
    let starts = [0.5, -0.5, 0.0];
    let start = |mean| ScalarNormal { mean, log_std: 0.0 };
    let paths = starts.map(|mean| meter.ascend(start(mean), 0.01, 1000));
    let sum = |q| meter.elbo(q) + meter.kl_to_posterior(q, &z);
    let on_the_way = paths.iter().flat_map(|path| path.iter().step_by(10));
    let largest_error = on_the_way.map(|&q| (sum(q) - log_prob).abs()).fold(0.0, f64::max);
    // ANCHOR_END: two_modes

    let ends = paths.each_ref().map(|path| path[path.len() - 1]);
    chapter.report.section("Two modes");
    let row = |(start, q): (f64, &ScalarNormal)| {
        let (elbo, kl) = (meter.elbo(*q), meter.kl_to_posterior(*q, &z));
        (format!("start {start}"), [q.mean, q.log_std.exp(), elbo, kl])
    };
    let rows = starts.into_iter().zip(&ends).map(row);
    chapter.report.exact_table(&["ascent", "mean", "std", "ELBO", "KL"], 4, rows);
    chapter.report.line("");
    chapter.report.row("log p(x)", &Number::exact(log_prob, 4), "nats");
    chapter.report.row("log 2", &Number::exact(LN_2, 4), "nats");
    chapter.report.row("largest |ELBO + KL - log p(x)|", &Number::exact(largest_error, 10), "nats");

    let grid = || (-240..=240).map(|i| f64::from(i) / 100.0);
    let density = |q: ScalarNormal| grid().map(move |z| (z, q.log_prob(z).exp()));
    let series = vec![
        Series::new("p(z|x)", Style::Line, grid().map(|z| (z, (meter.log_joint(z) - log_prob).exp()))),
        Series::new("q(z), start 0.5", Style::Line, density(ends[0])),
        Series::new("q(z), start 0", Style::Line, density(ends[2])),
    ];
    let plot = Plot { x: Axis::linear("amplitude z"), y: Axis::linear("density"), series };
    chapter.figure("posterior", &plot.draw()?)?;
    let names = starts.map(|start| format!("start {start}"));
    let surface = Surface {
        x: Axis::linear("mean of q").range(-2.2, 2.2),
        y: Axis::linear("log of the std of q").range(-3.0, 0.3),
        value: |mean, log_std| log_prob - meter.elbo(ScalarNormal { mean, log_std }),
        levels: vec![0.75, 1.0, 2.0, 3.5, 8.0, 16.0],
        paths: names.iter().zip(paths).map(|(name, path)| trace(name, path)).collect(),
    };
    chapter.figure("two_modes", &surface.draw()?)?;
    Ok([ends[0], ends[2]])
}

/// The importance-weighted bound L_K of three proposals.
fn more_draws(chapter: &mut Chapter, meter: &PowerMeter, proposals: [ScalarNormal; 3]) -> Result<()> {
    // ANCHOR: importance
    const DRAWS: usize = 1 << 20;
    /// L_K: the mean, over groups of K draws, of the log of the group's mean weight,
    /// for K = 1, 2, 4, .., 4096.
    fn bounds(meter: &PowerMeter, q: ScalarNormal, noise: &mut ChaCha8Rng) -> Vec<Estimate> {
        let log_weight = |eps: f64| {
            let z = q.mean + q.log_std.exp() * eps;
            meter.log_joint(z) - q.log_prob(z)
        };
        let eps = StandardNormal.sample_iter(noise).take(DRAWS);
        let log_weights: Vec<f64> = eps.map(log_weight).collect();
        let of_groups = |k: usize| {
            let mut bound = Estimate::default();
            for group in log_weights.chunks_exact(k) {
                bound.push(log_sum_exp(group) - (k as f64).ln());
            }
            bound
        };
        (0..=12).map(|i| of_groups(1 << i)).collect()
    }
    // ANCHOR_END: importance
    let z = Rule::gauss_legendre(1200, -14.0, 14.0);
    let log_prob = meter.log_prob(&z);
    let names = ["prior", "between", "one mode"];
    let seed = chapter.seed();
    let columns = [0, 1, 2].map(|i| bounds(meter, proposals[i], &mut rng(seed, Stream::Evaluation, i as u64)));
    // E_q w^2 with w = p(x, z) / (q(z) p(x)).
    let moment = |q: ScalarNormal| z.integrate(|z| (2.0 * (meter.log_joint(z) - log_prob) - q.log_prob(z)).exp());
    let theory = |k: usize| log_prob - (moment(proposals[0]) - 1.0) / (2.0 * k as f64);

    chapter.report.section("More draws");
    let rows = (0..=12).step_by(2).map(|i| {
        let [a, b, c] = columns.each_ref().map(|column| column[i].mean());
        ((1 << i).to_string(), [a, theory(1 << i), b, c])
    });
    chapter.report.exact_table(&["K", "prior", "prior, theory", "between", "one mode"], 3, rows);
    chapter.report.line("");
    chapter.report.row("log p(x)", &Number::exact(log_prob, 3), "nats");
    chapter.report.row("log p(x) - log 2", &Number::exact(log_prob - LN_2, 3), "nats");
    for ((name, &q), column) in names.into_iter().zip(&proposals).zip(&columns) {
        let error = column.iter().map(Estimate::standard_error).fold(0.0, f64::max);
        chapter.report.row(&format!("largest standard error, {name}"), &Number::exact(error, 4), "nats");
        let moment = moment(q);
        let number = if moment < 1e4 { Number::exact(moment, 2) } else { Number::scientific(moment, 1) };
        chapter.report.row(&format!("mean of w^2, {name}"), &number, "");
    }
    let curve = |column: &[Estimate]| (0..).zip(column).map(|(i, e)| (f64::from(1 << i), e.mean())).collect::<Vec<_>>();
    let curves = names.iter().zip(&columns).map(|(name, column)| Series::new(*name, Style::LineAndDots, curve(column)));
    let evidence = Series::new("log p(x)", Style::Reference, [(1.0, log_prob), (4096.0, log_prob)]);
    let series = curves.chain([evidence]).collect();
    let plot = Plot { x: Axis::log("number of draws K"), y: Axis::linear("L_K (nats)"), series };
    chapter.figure("importance_weighted", &plot.draw()?)
}

/// Theta, the noise of the meter, is learned too: the ELBO rises, and the gap and the evidence do as they please.
fn learn_theta(chapter: &mut Chapter) -> Result<()> {
    let noise = &mut rng(chapter.seed(), Stream::Batch, 0);
    let mut normal = || -> f64 { StandardNormal.sample(&mut *noise) };
    let readings: Vec<f64> = (0..200).map(|_| normal().powi(2) + 0.5 * normal()).collect();
    let z = Rule::gauss_legendre(1200, -14.0, 14.0);

    // ANCHOR: learn
    let mean = |sigma: f64, f: &dyn Fn(PowerMeter) -> f64| {
        let sum: f64 = readings.iter().map(|&x| f(PowerMeter { x, sigma })).sum();
        sum / readings.len() as f64
    };
    let evidence = |sigma| mean(sigma, &|meter| meter.log_prob(&z));
    let elbo = |sigma| mean(sigma, &|meter| meter.elbo(meter.best()));
    let kl = |sigma| mean(sigma, &|meter| meter.kl_to_posterior(meter.best(), &z));
    // One round. Phi: the best q of every reading at this sigma.
    // Theta: the best sigma for these q, from dELBO/dsigma = 0.
    let round = |sigma| mean(sigma, &|meter| meter.expected_misfit(meter.best())).sqrt();
    // Expectation-maximisation: the same with the model's posterior in the place of q.
    let exact_round = |sigma: f64| {
        let misfit = |meter: PowerMeter| {
            let log_prob = meter.log_prob(&z);
            let posterior = |z| (meter.log_joint(z) - log_prob).exp();
            z.integrate(|z| posterior(z) * (meter.x - z * z).powi(2))
        };
        mean(sigma, &misfit).sqrt()
    };
    let learn = |start: f64, round: &dyn Fn(f64) -> f64| -> Vec<f64> {
        successors(Some(start), |&sigma| Some(round(sigma))).take(61).collect()
    };
    // ANCHOR_END: learn

    let paths = [learn(3.0, &round), learn(0.2, &round)];
    for path in &paths {
        chapter.report.section(&format!("Learning theta from sigma = {}", path[0]));
        let row = |i: usize| (i.to_string(), [path[i], elbo(path[i]), kl(path[i]), evidence(path[i])]);
        let rows = [0, 1, 2, 4, 8, 16, 32, 60].map(row);
        chapter.report.exact_table(&["round", "sigma", "ELBO", "KL", "log p(x)"], 4, rows);
    }
    let most_likely = learn(1.0, &exact_round)[60];
    chapter.report.section("Two maxima");
    chapter.report.row("sigma that made the readings", &Number::exact(0.5, 4), "");
    chapter.report.row("sigma of the highest log p(x)", &Number::exact(most_likely, 4), "");
    chapter.report.row("sigma of the highest ELBO", &Number::exact(paths[0][60], 4), "");
    chapter.metric("most_likely_sigma", most_likely);
    chapter.metric("highest_elbo_sigma", paths[0][60]);

    let sigmas = || (0..=70).map(|i| 0.2 + 0.04 * f64::from(i));
    let series = vec![
        Series::new("log p(x)", Style::Line, sigmas().map(|sigma| (sigma, evidence(sigma)))),
        Series::new("highest ELBO", Style::Line, sigmas().map(|sigma| (sigma, elbo(sigma)))),
        Series::new("learned from 3", Style::Dots, paths[0].iter().map(|&sigma| (sigma, elbo(sigma)))),
        Series::new("learned from 0.2", Style::Dots, paths[1].iter().map(|&sigma| (sigma, elbo(sigma)))),
    ];
    let plot = Plot { x: Axis::linear("sigma, the noise of the meter"), y: Axis::linear("nats per reading"), series };
    chapter.figure("two_maxima", &plot.draw()?)?;
    surgery(chapter, &readings)
}

/// The rate, E KL(q(z|x) || p(z)), of two encoders with the same ELBO, in its two parts.
fn surgery(chapter: &mut Chapter, readings: &[f64]) -> Result<()> {
    // ANCHOR: surgery
    let z = Rule::gauss_legendre(2000, -8.0, 8.0);
    let prior = ScalarNormal::STANDARD;
    let best = readings.iter().map(|&x| PowerMeter { x, sigma: 0.2 }.best());
    let positive: Vec<ScalarNormal> = best.collect();
    let mut alternating = positive.clone();
    for q in alternating.iter_mut().step_by(2) {
        q.mean = -q.mean;
    }

    let (mut rows, mut aggregates) = (Vec::new(), Vec::new());
    for (name, encoder) in [("positive", positive), ("alternating", alternating)] {
        let share = 1.0 / encoder.len() as f64;
        let means: Vec<f64> = encoder.iter().map(|q| q.mean).collect();
        let variances: Vec<f64> = encoder.iter().map(|q| q.variance()).collect();
        let shares = vec![share; encoder.len()];
        let aggregate = ScalarMixture::new(&shares, &means, &variances)?;
        // Each of the three is an integral of its own.
        let (mut rate, mut information, mut mismatch) = (0.0, 0.0, 0.0);
        for (z, dz) in z.points() {
            let (log_aggregate, log_prior) = (aggregate.log_prob(z), prior.log_prob(z));
            mismatch += dz * log_aggregate.exp() * (log_aggregate - log_prior);
            for log_q in encoder.iter().map(|q| q.log_prob(z)) {
                rate += share * dz * log_q.exp() * (log_q - log_prior);
                information += share * dz * log_q.exp() * (log_q - log_aggregate);
            }
        }
        rows.push((name.to_string(), [rate, information, mismatch]));
        aggregates.push((name, aggregate));
    }
    // ANCHOR_END: surgery
    chapter.report.section("Surgery");
    chapter.report.exact_table(&["encoder", "rate", "information", "mismatch"], 4, rows);

    let grid = || (-150..=150).map(|i| f64::from(i) / 50.0);
    let curves = aggregates.iter().map(|(name, aggregate)| {
        Series::new(format!("q(z), {name}"), Style::Line, grid().map(|z| (z, aggregate.log_prob(z).exp())))
    });
    let reference = Series::new("prior p(z)", Style::Reference, grid().map(|z| (z, prior.log_prob(z).exp())));
    let series = [reference].into_iter().chain(curves).collect();
    let plot = Plot { x: Axis::linear("amplitude z"), y: Axis::linear("density"), series };
    chapter.figure("aggregate", &plot.draw()?)
}
