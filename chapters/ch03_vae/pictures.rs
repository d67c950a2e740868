//! Reconstructions, samples, walks, and the latent plane.

use burn::tensor::{Tensor, TensorData};
use elbo_to_diffusion::{
    autoencoder::Vae,
    chapter::{Chapter, MEASURED, report_samples},
    data::{Dataset, Images},
    error::Result,
    figure::{ImageRow, image_rows},
    host::download,
    random::{Stream, normal, rng},
};

/// Points of the plane on a side of the picture.
const CELLS: usize = 13;

/// What the figures show.
pub struct Pictures {
    /// Test digits, and what the decoders expect at the means of their posteriors.
    reconstructions: Vec<ImageRow>,
    /// Images drawn from the model with 16 latents: draws of x, and means at the same z.
    samples: Vec<ImageRow>,
    /// The grey levels of the drawn images.
    drawn: Vec<u8>,
    grey_levels: usize,
    /// Straight walks between the codes of two test digits.
    walk: Vec<ImageRow>,
    /// What the decoder draws at each point of the plane.
    plane: Vec<ImageRow>,
    /// The test digit that the encoder puts nearest to each point.
    plane_of_test_digits: Vec<ImageRow>,
}

impl Pictures {
    /// Draws from both models.
    pub fn new(chapter: &Chapter, data: &Dataset, wide: &Vae, plane: &Vae) -> Result<Self> {
        let (device, dim) = (&chapter.device, data.test.dim());
        let (values, grey_levels) = (data.test.grey_values(), data.test.grey_level_count());
        let row = |label: &str, z: Tensor<2>, model: &Vae| -> Result<ImageRow> {
            Ok(ImageRow::from_values(
                label,
                &download(model.decoder.mean(z, &values))?,
                dim,
            ))
        };
        let code = |model: &Vae, images: &Images| {
            model.encoder.given(images.values(device), None).mean
        };

        let few = data.test.range(0, 12);
        let reconstructions = vec![
            ImageRow::from_grey_levels("Test digits", few.iter(), grey_levels),
            row("Reconstructed from 2 latents", code(plane, &few), plane)?,
            row("Reconstructed from 16 latents", code(wide, &few), wide)?,
        ];

        let z = normal([48, 16], &mut rng(chapter.seed(), Stream::Sampling, 0), device);
        let drawn = wide
            .decoder
            .sample(z.clone(), &mut rng(chapter.seed(), Stream::Sampling, 1))?;
        let label = "Samples: z from N(0, I), then x from p(x|z)";
        let mut samples =
            ImageRow::from_grey_levels(label, drawn.chunks(dim), grey_levels).wrap(16);
        samples.extend(row("E[x|z] at the same z", z, wide)?.wrap(16));

        let ends = code(wide, &few);
        let walk = |first: usize| {
            let (from, to) =
                (ends.clone().narrow(0, first, 1), ends.clone().narrow(0, first + 1, 1));
            let steps = (0..12).map(|i| {
                from.clone() + (to.clone() - from.clone()) * (f64::from(i) / 11.0)
            });
            row("", Tensor::cat(steps.collect(), 0), wide)
        };
        let walk = [0, 2, 4, 6].into_iter().map(walk).collect::<Result<_>>()?;

        let grid = grid();
        let z =
            Tensor::<2>::from_data(TensorData::new(grid.concat(), [grid.len(), 2]), device);
        let codes = download(code(plane, &data.test))?;
        let placed: Vec<Vec<u8>> = grid
            .iter()
            .map(|z| {
                nearest(z, &codes)
                    .map_or_else(|| vec![0; dim], |i| data.test.image(i).to_vec())
            })
            .collect();
        let placed =
            ImageRow::from_grey_levels("", placed.iter().map(Vec::as_slice), grey_levels);
        Ok(Self {
            reconstructions,
            samples,
            drawn,
            grey_levels,
            walk,
            plane: row("", z, plane)?.wrap(CELLS),
            plane_of_test_digits: placed.wrap(CELLS),
        })
    }

    /// Draws the figures; images have so many pixels on a side.
    pub fn draw(&self, chapter: &Chapter, side: usize) -> Result<()> {
        chapter.show(&self.drawn, side, self.grey_levels);
        for (name, rows) in [
            ("reconstructions", &self.reconstructions),
            ("samples", &self.samples),
            ("walk", &self.walk),
            ("plane", &self.plane),
            ("plane_of_test_digits", &self.plane_of_test_digits),
        ] {
            chapter.figure(name, &image_rows(rows, side)?)?;
        }
        Ok(())
    }
}

/// Measures samples of the model with 16 latents.
pub fn measure_samples(chapter: &mut Chapter, data: &Dataset, wide: &Vae) -> Result<()> {
    let noise = &mut rng(chapter.seed(), Stream::MeasuredSamples, 0);
    let z = normal([MEASURED, 16], noise, &chapter.device);
    let samples = data.test.with_pixels(wide.decoder.sample(z, noise)?);
    report_samples(chapter, data, &[("VAE", samples)])
}

/// The points of the plane, row after row from the top.
fn grid() -> Vec<[f32; 2]> {
    let at = |i: usize| i as f32 * 0.4 - 2.4;
    (0..CELLS * CELLS).map(|i| [at(i % CELLS), -at(i / CELLS)]).collect()
}

/// Which code lies nearest to z, if one lies near enough to be shown in its place.
fn nearest(z: &[f32; 2], codes: &[f64]) -> Option<usize> {
    let distance = |c: &[f64]| (c[0] - f64::from(z[0])).hypot(c[1] - f64::from(z[1]));
    let (nearest, distance) =
        codes.chunks(2).map(distance).enumerate().min_by(|a, b| a.1.total_cmp(&b.1))?;
    (distance < 0.2).then_some(nearest)
}
