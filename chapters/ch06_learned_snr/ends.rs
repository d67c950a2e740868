//! The end points of the schedule, moved down the slopes of the bound.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    data::Dataset,
    error::Result,
    evaluation::Bound,
    figure::{Axis, Plot, Series, Style},
    host::download,
    progress,
    random::{Stream, rng},
    vdm::Linear,
};

use super::{Model, REPORTED};

/// Steps of the descent.
const STEPS: usize = 60;

/// The descent from end points that are clearly wrong.
pub struct Path {
    /// gamma_min and gamma_max, at first and after each step.
    ends: Vec<[f64; 2]>,
    /// The slopes of the bound that are left at the end, in bits/dim.
    slopes: [f64; 2],
}

/// Moves both end points down the slopes of the bound on the training images.
pub fn descend(chapter: &Chapter, data: &Dataset, model: &Model) -> Result<Path> {
    let (seed, device) = (chapter.seed(), chapter.device.clone());
    let work = progress::work("end points", STEPS);
    // ANCHOR: end_points
    let denoise = |z, gamma| model.denoiser.denoise(z, gamma, None);
    let slopes = |ends: [f64; 2], images: usize, step: usize| -> Result<[f64; 2]> {
        let noise = &mut rng(seed, Stream::EndPoints, step as u64);
        let batch = data.train.sample(images, noise);
        let slopes = Bound::end_point_slopes(&batch, ends, denoise, noise, &device)?;
        Ok(slopes.map(|nats| data.bits_per_dim(nats)))
    };
    let mut path = vec![[-5.0, 2.0]];
    for step in 0..STEPS {
        let (ends, slopes) = (path[step], slopes(path[step], 256, step)?);
        path.push([0, 1].map(|i| ends[i] - (20.0 * slopes[i]).clamp(-0.25, 0.25)));
        work.advance();
    }
    // ANCHOR_END: end_points
    Ok(Path { slopes: slopes(path[STEPS], 2000, STEPS)?, ends: path })
}

pub fn report(
    chapter: &mut Chapter,
    data: &Dataset,
    model: &Model,
    path: &Path,
) -> Result<()> {
    let (start, learned) = (path.ends[0], path.ends[STEPS]);
    let chosen = [model.schedule.gamma_min, model.schedule.gamma_max];
    let validation = data.validation.first(REPORTED);
    let (mut ends, mut bounds) = (Vec::new(), Vec::new());
    for (name, [gamma_min, gamma_max]) in
        [("start", start), ("chapter 5", chosen), ("learned", learned)]
    {
        let bound =
            model.bound(chapter, &validation, &Linear { gamma_min, gamma_max }, 64)?;
        let bits = |nats, tolerance| Number::within(data.bits_per_dim(nats), tolerance, 4);
        let gamma = |gamma| Number::within(gamma, 0.05, 2);
        ends.push((name.to_string(), vec![gamma(gamma_min), gamma(gamma_max)]));
        let terms = [
            bits(bound.reconstruction, 0.0005),
            bits(bound.prior, 0.0001),
            bits(bound.denoising.iter().sum(), 0.005),
            bits(bound.total(), 0.005),
        ];
        bounds.push((name.to_string(), terms.to_vec()));
    }
    // What an ideal denoiser would leave: the slope of KL(q(z) || N(0, I)), to first order
    // in abar.
    let mean = data.train.values(&chapter.device).mean_dim(0);
    let mean_square = download(mean.square().sum())?[0];
    let predicted = -0.5 * (-learned[1]).exp() * data.bits_per_dim(mean_square);
    let report = &mut chapter.report;
    report.section("Learned end points");
    report.table(&["end points", "gamma_min", "gamma_max"], &ends);
    for (name, slope) in [
        ("slope left in gamma_min", path.slopes[0]),
        ("slope left in gamma_max", path.slopes[1]),
        ("predicted for gamma_max", predicted),
    ] {
        report.row(name, &Number::within(slope, 0.0002, 5), "bits/dim");
    }
    report.section("The bound at these end points");
    report.table(&["end points", "reconstruction", "prior", "diffusion", "bound"], &bounds);
    let curve = |name: &str, end: fn(&[f64; 2]) -> f64| {
        Series::new(
            name,
            Style::Line,
            path.ends.iter().zip(0..).map(|(ends, step)| (f64::from(step), end(ends))),
        )
    };
    let series =
        vec![curve("gamma_min", |ends| ends[0]), curve("gamma_max", |ends| ends[1])];
    chapter.figure(
        "end_points",
        &Plot { x: Axis::linear("step"), y: Axis::linear("gamma"), series }.draw()?,
    )
}
