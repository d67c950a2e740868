//! Images carried up to noise, and down again.

use burn::tensor::Tensor;
use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    data::{Dataset, Images},
    error::{Error, Result},
    figure::{ImageRow, image_rows},
    flow::{Solver, solvers::descending},
    host::download,
    random::{Stream, normal, rng},
    vdm::{Schedule, decode, diffuse},
};

use crate::{model::Model, samples::SPACING};

/// z_0 ~ q(z_0 | x) of some images, `[n, d]`.
fn encode(chapter: &Chapter, model: &Model, images: &Images) -> Tensor<2> {
    let (shape, device) = ([images.len(), images.dim()], &chapter.device);
    let noise = &mut rng(chapter.seed(), Stream::Posterior, 0);
    let gamma = Tensor::full([images.len()], model.schedule.gamma_min, device);
    diffuse(images.values(device), gamma, normal(shape, noise, device))
}

/// How many pixels come back from the way up and down, and whether z_1 looks like N(0, I).
pub fn round_trip(chapter: &mut Chapter, data: &Dataset, model: &Model) -> Result<()> {
    const IMAGES: usize = 100;
    let images = data.test.first(IMAGES);
    let z = encode(chapter, model, &images);
    let row = |steps: usize| {
        // ANCHOR: round_trip
        let (up, down) = (SPACING.grid(steps + 1), descending(&SPACING, steps));
        let latents = Solver::Heun.solve(&up, z.clone(), model.solved());
        let back = Solver::Heun.solve(&down, latents.clone(), model.solved());
        // ANCHOR_END: round_trip
        let levels = decode(back, model.schedule.gamma_min, &images.grey_values())?;
        let same = images.iter().flatten().zip(&levels).filter(|(a, b)| a == b).count();
        let share = 100.0 * same as f64 / levels.len() as f64;
        let square = download(latents.square().mean())?[0];
        let numbers = vec![Number::within(share, 0.3, 1), Number::within(square, 0.005, 3)];
        Ok((steps.to_string(), numbers))
    };
    let rows: Vec<_> = [5, 10, 20, 40, 80].into_iter().map(row).collect::<Result<_>>()?;
    chapter.report.section("Up and down again");
    let header = ["Heun's steps", "pixels that come back (%)", "mean square of z_1"];
    chapter.report.table(&header, &rows);
    Ok(())
}

/// Ways from one digit to another through the latents of the flow, and one through pixels.
pub fn interpolation(chapter: &mut Chapter, data: &Dataset, model: &Model) -> Result<()> {
    const FRAMES: usize = 9;
    const STEPS: usize = 20;
    // A 0 and a 1, a 4 and a 7, a 3 and an 8 of the test images.
    let pairs = [[0, 1], [4, 7], [3, 8]];
    let (side, d, device) = (data.test.side(), data.test.dim(), chapter.device.clone());
    let mut rows = Vec::new();
    for (i, pair) in pairs.iter().enumerate() {
        let [a, b] = pair.map(|digit| first(data, digit));
        let pixels = [data.test.image(a?), data.test.image(b?)].concat();
        let images = data.test.with_pixels(pixels);
        let z = encode(chapter, model, &images);
        // ANCHOR: interpolation
        let up = SPACING.grid(STEPS + 1);
        let latents = Solver::Heun.solve(&up, z, model.solved());
        let [a, b] = [0, 1].map(|i| latents.clone().narrow(0, i, 1));
        let frame = |i| {
            // On an arc, so that the mean square of what is independent stays one.
            let angle = std::f64::consts::FRAC_PI_2 * i as f64 / (FRAMES - 1) as f64;
            a.clone() * angle.cos() + b.clone() * angle.sin()
        };
        let frames = Tensor::cat((0..FRAMES).map(frame).collect(), 0);
        let down = descending(&SPACING, STEPS);
        let z = Solver::Heun.solve(&down, frames, model.solved());
        // ANCHOR_END: interpolation
        let levels = decode(z, model.schedule.gamma_min, &images.grey_values())?;
        let label = if i == 0 { "Through the latents of the flow" } else { "" };
        rows.push(ImageRow::from_grey_levels(
            label,
            levels.chunks(d),
            images.grey_level_count(),
        ));
        if i + 1 == pairs.len() {
            let x = download(images.values(&device))?;
            let mix = |i: usize| {
                let share = i as f64 / (FRAMES - 1) as f64;
                let (a, b) = x.split_at(d);
                a.iter()
                    .zip(b)
                    .map(|(a, b)| (1.0 - share) * a + share * b)
                    .collect::<Vec<_>>()
            };
            let mixed: Vec<f64> = (0..FRAMES).flat_map(mix).collect();
            rows.push(ImageRow::from_values("The last two, pixel by pixel", &mixed, d));
        }
    }
    chapter.figure("interpolation", &image_rows(&rows, side)?)
}

/// The first test image of a digit.
fn first(data: &Dataset, digit: u8) -> Result<usize> {
    let found = data.test.known_labels()?.iter().position(|label| *label == digit);
    found.ok_or_else(|| {
        Error::failure(format!("no test image is a {digit}; take images of all digits"))
    })
}
