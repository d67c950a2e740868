//! Samples of both models, and walks down the levels of latents.

use burn::tensor::Tensor;
use elbo_to_diffusion::{
    autoencoder::{Hvae, HvaeConfig, Vae},
    chapter::{Chapter, MEASURED, report_samples},
    data::{Dataset, Images},
    error::Result,
    figure::{ImageRow, image_rows},
    host::download,
    random::{Stream, normal, rng},
};

/// What the figures show.
pub struct Pictures {
    /// Images drawn from both models.
    samples: Vec<ImageRow>,
    /// The grey levels of those drawn from the HVAE.
    drawn: Vec<u8>,
    grey_levels: usize,
    /// Means of the pixels where z_t is fixed and what lies below is drawn.
    levels: Vec<ImageRow>,
}

impl Pictures {
    /// Draws from both models.
    pub fn new(
        chapter: &Chapter,
        like: &Images,
        config: &HvaeConfig,
        vae: &Vae,
        hvae: &Hvae,
    ) -> Result<Self> {
        let (device, dim, grey_levels) =
            (&chapter.device, like.dim(), like.grey_level_count());
        let noise = &mut rng(chapter.seed(), Stream::Sampling, 1);
        let latent_levels = config.latents.len();
        let (bottom, top) = (config.latents[0], config.latents[latent_levels - 1]);
        let sheet = |label: &str, pixels: &[u8]| {
            ImageRow::from_grey_levels(label, pixels.chunks(dim), grey_levels).wrap(16)
        };

        let z = hvae.descend(latent_levels, 1, normal([32, top], noise, device), noise);
        let drawn = hvae.decoder.sample(z, noise)?;
        let from_vae = vae.decoder.sample(normal([32, bottom], noise, device), noise)?;
        let mut samples = sheet("Samples from the HVAE", &drawn);
        samples.extend(sheet("Samples from the VAE", &from_vae));

        // Fix z_t, draw z_{t-1} twelve times and go down from each; the first z_{t-1} is
        // the one that the next row fixes.
        let mut levels = Vec::new();
        for path in ["first", "second"] {
            let mut z: Tensor<2> = normal([1, top], noise, device);
            for t in (1..=latent_levels).rev() {
                let below = hvae.descend(t, t - 1, z.repeat_dim(0, 12), noise);
                z = below.clone().narrow(0, 0, 1);
                let x_hat = hvae
                    .decoder
                    .mean(hvae.descend(t - 1, 1, below, noise), &like.grey_values());
                levels.push(ImageRow::from_values(
                    format!("{path} path, z_{t} fixed"),
                    &download(x_hat)?,
                    dim,
                ));
            }
        }
        Ok(Self { samples, drawn, grey_levels, levels })
    }

    /// Draws the figures; images have so many pixels on a side.
    pub fn draw(&self, chapter: &Chapter, side: usize) -> Result<()> {
        chapter.show(&self.drawn, side, self.grey_levels);
        chapter.figure("samples", &image_rows(&self.samples, side)?)?;
        chapter.figure("levels", &image_rows(&self.levels, side)?)
    }
}

/// Measures samples of both models.
pub fn measure_samples(
    chapter: &mut Chapter,
    data: &Dataset,
    config: &HvaeConfig,
    vae: &Vae,
    hvae: &Hvae,
) -> Result<()> {
    let (device, latent_levels) = (chapter.device.clone(), config.latents.len());
    let noise = &mut rng(chapter.seed(), Stream::MeasuredSamples, 0);
    let top = normal([MEASURED, config.latents[latent_levels - 1]], noise, &device);
    let z = hvae.descend(latent_levels, 1, top, noise);
    let from_hvae = data.test.with_pixels(hvae.decoder.sample(z, noise)?);
    let z = normal([MEASURED, config.latents[0]], noise, &device);
    let from_vae = data.test.with_pixels(vae.decoder.sample(z, noise)?);
    report_samples(chapter, data, &[("HVAE", from_hvae), ("VAE", from_vae)])
}
