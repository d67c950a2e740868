//! Reconstructions, samples, walks, and the latent plane.

use burn::tensor::{Tensor, TensorData};
use elbo_to_diffusion::{
    autoencoder::Vae,
    chapter::Chapter,
    data::{Dataset, Images},
    error::Result,
    figure::{ImageRow, image_rows},
    host::download,
    random::{Stream, normal, rng},
};

pub fn draw(chapter: &Chapter, data: &Dataset, wide: &Vae, plane: &Vae) -> Result<()> {
    let (device, side, dim) = (&chapter.device, data.test.side(), data.test.dim());
    let (values, level_count) = (data.test.level_values(), data.test.level_count());
    let row = |label: &str, z: Tensor<2>, model: &Vae| -> Result<ImageRow> {
        Ok(ImageRow::from_values(label, &download(model.decoder.mean(z, &values))?, dim))
    };
    let digits = |label: &str, images: &Images| ImageRow::from_grey_levels(label, images.iter(), level_count);

    // Reconstructions: each test digit, and what the decoder expects at the mean of its posterior.
    let few = data.test.range(0, 12);
    let code = |model: &Vae, images: &Images| model.encoder.given(images.values(device), None).mean;
    let rows = [
        digits("Test digits", &few),
        row("Reconstructed from 2 latents", code(plane, &few), plane)?,
        row("Reconstructed from 16 latents", code(wide, &few), wide)?,
    ];
    chapter.figure("reconstructions", &image_rows(&rows, side)?)?;

    // Samples, and straight walks between the codes of two test digits.
    let z = normal([48, 16], &mut rng(chapter.seed(), Stream::Sampling, 0), device);
    let pixels = wide.decoder.sample(z.clone(), &mut rng(chapter.seed(), Stream::Sampling, 1))?;
    chapter.show(&pixels, side, level_count);
    let mut rows =
        ImageRow::from_grey_levels("Samples: z from N(0, I), then x from p(x|z)", pixels.chunks(dim), level_count)
            .wrap(16);
    rows.extend(row("E[x|z] at the same z", z, wide)?.wrap(16));
    chapter.figure("samples", &image_rows(&rows, side)?)?;
    let ends = code(wide, &few);
    let mut rows = Vec::new();
    for (from, to) in [(0, 1), (2, 3), (4, 5), (6, 7)] {
        let (from, to) = (ends.clone().narrow(0, from, 1), ends.clone().narrow(0, to, 1));
        let steps = (0..12).map(|i| from.clone() + (to.clone() - from.clone()) * (f64::from(i) / 11.0));
        rows.push(row("", Tensor::cat(steps.collect(), 0), wide)?);
    }
    chapter.figure("walk", &image_rows(&rows, side)?)?;

    // The plane: what the decoder draws at each point, and the test digit that the encoder puts nearest to it.
    const CELLS: usize = 13;
    let at = |i: usize| i as f32 * 0.4 - 2.4;
    let grid: Vec<[f32; 2]> = (0..CELLS * CELLS).map(|i| [at(i % CELLS), -at(i / CELLS)]).collect();
    let z = Tensor::<2>::from_data(TensorData::new(grid.concat(), [grid.len(), 2]), device);
    chapter.figure("plane", &image_rows(&row("", z, plane)?.wrap(CELLS), side)?)?;
    let codes = download(code(plane, &data.test))?;
    let nearest = |z: &[f32; 2]| {
        let distance = |c: &[f64]| (c[0] - f64::from(z[0])).hypot(c[1] - f64::from(z[1]));
        let best = codes.chunks(2).map(distance).enumerate().min_by(|a, b| a.1.total_cmp(&b.1));
        best.filter(|(_, distance)| *distance < 0.2).map_or_else(|| vec![0; dim], |(i, _)| data.test.image(i).to_vec())
    };
    let placed: Vec<Vec<u8>> = grid.iter().map(nearest).collect();
    let placed = ImageRow::from_grey_levels("", placed.iter().map(Vec::as_slice), level_count);
    chapter.figure("plane_of_test_digits", &image_rows(&placed.wrap(CELLS), side)?)
}
