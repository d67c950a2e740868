//! How much of its latents a model uses.

use burn::tensor::Device;
use elbo_to_diffusion::{
    autoencoder::{Fit, NegativeElbo, Vae},
    chapter::{Chapter, Number},
    data::{Dataset, Images},
    error::Result,
    evaluation::Draws,
    figure::{Axis, Plot, Series, Style},
    host::download,
    oracle::Estimate,
};

/// What the encoder does with its latents: the mean KL of each dimension, the mean sigma, and how many dimensions are
/// active, that is, have a posterior mean that varies over the images by more than 0.01. Burda et al. (2016), appendix C.
struct Latents {
    kl: Vec<f64>,
    sigma: f64,
    active: usize,
}

impl Latents {
    fn of(model: &Vae, images: &Images, device: &Device) -> Result<Self> {
        let q = model.encoder.given(images.values(device), None);
        let k = q.mean.dims()[1];
        let (means, log_vars) = (download(q.mean)?, download(q.log_var)?);
        let (mut kl, mut sigma, mut active) = (vec![0.0; k], 0.0, 0);
        for j in 0..k {
            let mut spread = Estimate::default();
            for (mean, log_var) in means.chunks(k).zip(log_vars.chunks(k)).map(|(m, l)| (m[j], l[j])) {
                kl[j] += 0.5 * (mean * mean + log_var.exp() - log_var - 1.0) / images.len() as f64;
                sigma += (0.5 * log_var).exp() / means.len() as f64;
                spread.push(mean);
            }
            active += usize::from(spread.variance() > 0.01);
        }
        kl.sort_by(|a, b| b.total_cmp(a));
        Ok(Self { kl, sigma, active })
    }
}

pub fn active_latents(chapter: &mut Chapter, data: &Dataset, wide: &Vae) -> Result<()> {
    let latents = Latents::of(wide, &data.test, &chapter.device)?;
    chapter.report.section("Active latents");
    chapter.report.row("active of 16", &Number::within(latents.active as f64, 1.0, 0), "");
    chapter.report.row("largest KL", &Number::within(latents.kl[0], 0.05, 2), "nats");
    chapter.report.row("smallest KL", &Number::within(latents.kl[15], 0.05, 2), "nats");
    Ok(())
}

pub fn weight_of_the_kl(chapter: &mut Chapter, data: &Dataset, fresh: impl Fn() -> Vae, steps: usize) -> Result<()> {
    let device = chapter.device.clone();
    let (mut rows, mut series) = (Vec::new(), Vec::new());
    for kl_weight in [0.0, 1.0, 4.0, 10.0] {
        let fit = Fit { kl_warmup: 0, kl_weight, ..Fit::new(steps, 0.3) };
        let loss = fit.loss(&data.train, chapter.seed(), &device);
        let model = chapter.stage(&format!("weight {kl_weight}"), &fit).train(&fresh(), loss)?.model;
        let elbo =
            NegativeElbo::estimate(&model, &data.validation, Draws { passes: 16, seed: chapter.seed() }, &device)?;
        let latents = Latents::of(&model, &data.validation, &device)?;
        if kl_weight > 0.0 {
            let per_dimension = (1..).zip(&latents.kl).map(|(j, &kl)| (f64::from(j), kl));
            series.push(Series::new(format!("weight {kl_weight}"), Style::LineAndDots, per_dimension));
        }
        let bits = |nats: f64| Number::within(data.bits_per_dim(nats), 0.005, 3);
        rows.push((
            format!("{kl_weight}"),
            vec![
                Number::within(latents.sigma, 0.005, 3),
                bits(elbo.reconstruction),
                bits(elbo.kl[0]),
                bits(elbo.total()),
                Number::within(latents.active as f64, 1.0, 0),
            ],
        ));
    }
    chapter.report.section("The weight of the KL (bits/dim)");
    chapter.report.table(&["weight", "mean sigma", "reconstruction", "KL", "-ELBO", "active latents"], &rows);
    let (x, y) = (Axis::linear("latent dimension, sorted"), Axis::linear("KL (nats)"));
    chapter.figure("kl_per_dimension", &Plot { x, y, series }.draw()?)
}
