//! Samples by few calls of the network.

use burn::tensor::Tensor;
use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    data::{Dataset, Images},
    error::Result,
    figure::{ImageRow, image_rows},
    flow::{Solver, alpha_sigma, eta_sampler, solvers::descending},
    random::{Stream, normal, rng},
    vdm::{Cosine, Schedule, decode},
};

use crate::model::Model;

/// Where samplers make their steps: chosen on the validation images, from the three
/// schedules of chapter 6 (`--preset full` prints how).
pub const SPACING: Cosine = Cosine { gamma_min: -8.0, gamma_max: 5.0 };

/// What draws samples.
#[derive(Clone, Copy, PartialEq)]
pub enum Sampler {
    Ancestral,
    Flow(Solver),
    /// Ancestral, with the variance of the fresh noise where its deviation belongs.
    Broken,
}

impl Sampler {
    pub const ALL: [Self; 5] = [
        Self::Ancestral,
        Self::Flow(Solver::Ddim),
        Self::Flow(Solver::Heun),
        Self::Flow(Solver::Dpm2),
        Self::Flow(Solver::Multistep),
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ancestral => "ancestral",
            Self::Flow(solver) => solver.name(),
            Self::Broken => "broken",
        }
    }
}

/// Where all samplers begin: noise, the same for each of them.
pub struct Start<'a> {
    z: Tensor<2>,
    seed: u64,
    /// Where the steps lie.
    spacing: &'a dyn Schedule,
}

impl<'a> Start<'a> {
    pub fn new(chapter: &Chapter, spacing: &'a dyn Schedule, [n, d]: [usize; 2]) -> Self {
        let noise = &mut rng(chapter.seed(), Stream::Sampling, 0);
        let z = normal([n, d], noise, &chapter.device);
        Self { z, seed: chapter.seed(), spacing }
    }

    /// The images that the sampler draws with so many calls of the network.
    pub fn draw(
        &self,
        data: &Dataset,
        model: &Model,
        sampler: Sampler,
        calls: usize,
    ) -> Result<Images> {
        let (z, shape, device) = (self.z.clone(), self.z.dims(), self.z.device());
        let denoise = model.solved();
        let z = match sampler {
            Sampler::Flow(solver) => solver.sample(calls, self.spacing, z, denoise),
            Sampler::Ancestral | Sampler::Broken => {
                let noise = &mut rng(self.seed, Stream::Sampling, 1);
                let mut gammas = descending(self.spacing, calls).into_iter().skip(1);
                let fresh = || {
                    let xi = normal(shape, noise, &device);
                    let gamma = gammas.next().unwrap_or(model.schedule.gamma_min);
                    let sigma = alpha_sigma(gamma).1;
                    if sampler == Sampler::Broken { xi * sigma } else { xi }
                };
                let levels = descending(self.spacing, calls);
                eta_sampler(1.0, &levels, z, denoise, fresh)
            }
        };
        let levels = decode(z, model.schedule.gamma_min, &data.train.grey_values())?;
        Ok(data.train.with_pixels(levels))
    }
}

/// Digits from the same noise, by number of calls, and how far they are from where the flow
/// itself goes.
pub fn pictures(chapter: &mut Chapter, data: &Dataset, model: &Model) -> Result<()> {
    const SAMPLES: usize = 100;
    const SHOWN: usize = 12;
    let start = Start::new(chapter, &SPACING, [SAMPLES, data.train.dim()]);
    let flow = start.draw(data, model, Sampler::Flow(Solver::Multistep), 400)?;
    let (mut rows, mut table) = (Vec::new(), Vec::new());
    let row = |name: &str, images: &Images| {
        ImageRow::from_grey_levels(
            name,
            images.iter().take(SHOWN),
            images.grey_level_count(),
        )
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
