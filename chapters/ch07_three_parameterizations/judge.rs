//! What a trained network reached, judged alike for every output and loss.

use burn::tensor::Tensor;
use elbo_to_diffusion::{
    chapter::{Chapter, Number, Setting},
    data::Dataset,
    error::Result,
    evaluation::{Bound, Draws, on_all_threads},
    figure::{ImageRow, image_rows},
    random::{Stream, rng},
    vdm::{Schedule, ancestral, decode},
};

/// The networks are compared on at most this many of the first test images. The digits have
/// fewer.
const REPORTED: usize = 500;
/// Images drawn from each model.
const SAMPLES: usize = 16;

/// What a trained network reached: a bound in bits/dim with its standard errors, that of the
/// noise and that of the test set, and samples.
pub struct Judged {
    name: &'static str,
    pub bits: f64,
    pub error: f64,
    pub set_error: f64,
    samples: ImageRow,
}

/// Bounds the test set, always with the bound's weights, and draws samples.
pub fn judge(
    chapter: &mut Chapter,
    data: &Dataset,
    setting: &Setting,
    name: &'static str,
    x_hat: impl Fn(Tensor<2>, Tensor<1>) -> Tensor<2> + Sync,
) -> Result<Judged> {
    let (linear, draws) = (setting.linear(), Draws { passes: 2, seed: chapter.seed() });
    let bound = Bound::continuous(
        &data.test.first(REPORTED),
        &linear,
        48,
        &x_hat,
        draws,
        &chapter.device,
    )?;
    let [bits, error, set_error] =
        [bound.total(), bound.noise_error, bound.set_error].map(|n| data.bits_per_dim(n));
    chapter.metric(
        &format!("{}_test_bits_per_dim", name.replace(", ", "_").replace(' ', "_")),
        bits,
    );

    let noise = &mut rng(chapter.seed(), Stream::Sampling, 0);
    let (shape, gammas) = ([SAMPLES, data.train.dim()], linear.grid(100));
    let z = ancestral(
        shape,
        &gammas,
        on_all_threads(x_hat),
        noise,
        &chapter.device,
        |_, _, _| {},
    );
    let digits = decode(z, linear.gamma_min, &data.train.grey_values())?;
    let samples = ImageRow::from_grey_levels(
        name,
        digits.chunks(data.train.dim()),
        data.train.grey_level_count(),
    );
    Ok(Judged { name, bits, error, set_error, samples })
}

/// Prints a section with a row for each network, and draws its samples.
pub fn report(
    chapter: &mut Chapter,
    data: &Dataset,
    [section, first_column]: [&str; 2],
    judged: Vec<Judged>,
) -> Result<()> {
    let row = |j: &Judged| {
        let tolerance = (0.002 * j.bits).max(0.005);
        let numbers = vec![
            Number::within(j.bits, tolerance, 3),
            Number::within(j.error, 0.0005, 4),
            Number::within(j.set_error, (0.02 * j.set_error).max(0.0005), 4),
        ];
        (j.name.to_string(), numbers)
    };
    let rows: Vec<_> = judged.iter().map(row).collect();
    let bound = "test bound (bits/dim)";
    let header = [first_column, bound, "error of the noise", "error of the test set"];
    chapter.report.section(section);
    chapter.report.table(&header, &rows);
    let pictures: Vec<_> = judged.into_iter().map(|j| j.samples).collect();
    chapter.figure("samples", &image_rows(&pictures, data.train.side())?)
}
