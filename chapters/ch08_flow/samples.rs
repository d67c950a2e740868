//! Samples by few calls of the network.

use burn::tensor::Tensor;
use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    data::{Dataset, Images},
    error::Result,
    evaluation::samples::{Measured, energy_difference, energy_distance},
    figure::{ImageRow, image_rows},
    flow::{Solver, alpha_sigma, eta_sampler, solvers::descending},
    random::{Stream, normal, rng},
    vdm::decode,
};

use crate::model::Model;

/// What draws samples.
#[derive(Clone, Copy, PartialEq)]
enum Sampler {
    Ancestral,
    Flow(Solver),
    /// Ancestral, with the variance of the fresh noise where its deviation belongs.
    Broken,
}

impl Sampler {
    const ALL: [Self; 5] = [
        Self::Ancestral,
        Self::Flow(Solver::Ddim),
        Self::Flow(Solver::Heun),
        Self::Flow(Solver::Dpm2),
        Self::Flow(Solver::Multistep),
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Ancestral => "ancestral",
            Self::Flow(solver) => solver.name(),
            Self::Broken => "broken",
        }
    }
}

/// Where all samplers begin: noise, the same for each of them.
struct Start {
    z: Tensor<2>,
    seed: u64,
}

impl Start {
    fn new(chapter: &Chapter, n: usize, d: usize) -> Self {
        let noise = &mut rng(chapter.seed(), Stream::Sampling, 0);
        Self { z: normal([n, d], noise, &chapter.device), seed: chapter.seed() }
    }

    /// The images that the sampler draws with so many calls of the network.
    fn draw(
        &self,
        data: &Dataset,
        model: &Model,
        sampler: Sampler,
        calls: usize,
    ) -> Result<Images> {
        let (z, shape, device) = (self.z.clone(), self.z.dims(), self.z.device());
        let denoise = model.solved();
        let z = match sampler {
            Sampler::Flow(solver) => solver.sample(calls, &model.schedule, z, denoise),
            Sampler::Ancestral | Sampler::Broken => {
                let noise = &mut rng(self.seed, Stream::Sampling, 1);
                let mut gammas = descending(&model.schedule, calls).into_iter().skip(1);
                let fresh = || {
                    let xi = normal(shape, noise, &device);
                    let gamma = gammas.next().unwrap_or(model.schedule.gamma_min);
                    let sigma = alpha_sigma(gamma).1;
                    if sampler == Sampler::Broken { xi * sigma } else { xi }
                };
                let levels = descending(&model.schedule, calls);
                eta_sampler(1.0, &levels, z, denoise, fresh)
            }
        };
        let levels = decode(z, model.schedule.gamma_min, &data.train.level_values())?;
        Ok(data.train.with_pixels(levels))
    }
}

/// Digits from the same noise, by number of calls, and how far they are from where the flow
/// itself goes.
pub fn pictures(chapter: &mut Chapter, data: &Dataset, model: &Model) -> Result<()> {
    const SAMPLES: usize = 100;
    const SHOWN: usize = 12;
    let start = Start::new(chapter, SAMPLES, data.train.dim());
    let flow = start.draw(data, model, Sampler::Flow(Solver::Multistep), 400)?;
    let (mut rows, mut table) = (Vec::new(), Vec::new());
    let row = |name: &str, images: &Images| {
        ImageRow::from_grey_levels(name, images.iter().take(SHOWN), images.level_count())
    };
    for calls in [5, 10, 20, 50] {
        let mut numbers = Vec::new();
        for solver in Solver::ALL {
            let images = start.draw(data, model, Sampler::Flow(solver), calls)?;
            let distance = root_mean_square(&images, &flow);
            numbers.push(Number::within(distance, 0.1, 2));
            if matches!(solver, Solver::Ddim | Solver::Multistep) && calls < 50 {
                rows.push(row(&format!("{}, {calls} calls", solver.name()), &images));
            }
        }
        table.push((calls.to_string(), numbers));
    }
    rows.push(row("The flow, 400 calls", &flow));
    let report = &mut chapter.report;
    report.section("Samples by few calls");
    let names = Solver::ALL.map(Solver::name);
    report.table(&[&["calls"], &names[..]].concat(), &table);
    chapter.figure("samples", &image_rows(&rows, data.train.side())?)?;
    let rows = [5, 10, 20, 200].into_iter().map(|calls| {
        let images = start.draw(data, model, Sampler::Ancestral, calls)?;
        Ok(row(&format!("Ancestral, {calls} calls"), &images))
    });
    let rows: Vec<_> = rows.collect::<Result<_>>()?;
    chapter.figure("ancestral", &image_rows(&rows, data.train.side())?)
}

/// The root of the mean square difference of two pixels, in grey levels.
fn root_mean_square(a: &Images, b: &Images) -> f64 {
    let pairs = a.iter().flatten().zip(b.iter().flatten());
    let squares: Vec<f64> =
        pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).collect();
    (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
}

/// A sampler, its calls, its energy distance to the test images, and that distance less the
/// one of 200 ancestral steps.
pub struct Row {
    name: String,
    distance: Measured,
    less_ancestral: Measured,
}

/// All samplers, 2,000 samples each from the same noise, on the test images.
pub fn measure(chapter: &Chapter, data: &Dataset, model: &Model) -> Result<Vec<Row>> {
    const SAMPLES: usize = 2000;
    let start = Start::new(chapter, SAMPLES, data.train.dim());
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
        (row.name.clone(), numbers.map(|number| Number::within(number, 0.05, 3)).to_vec())
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

/// What is to be expected of real digits: training against test images, and mean and
/// standard deviation over random halves of the test images.
fn real_digits(chapter: &Chapter, data: &Dataset) -> Result<[Measured; 2]> {
    use rand::seq::SliceRandom;
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
