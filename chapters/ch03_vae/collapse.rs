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

/// What the encoder does with its latents.
pub struct Latents {
    /// The mean KL of each dimension in nats, the largest first.
    kl: Vec<f64>,
    /// The mean sigma.
    sigma: f64,
    /// How many dimensions have a posterior mean that varies over the images by more than
    /// 0.01. Burda et al. (2016), appendix C.
    pub active: usize,
}

impl Latents {
    /// Those of these images.
    pub fn of(model: &Vae, images: &Images, device: &Device) -> Result<Self> {
        let q = model.encoder.given(images.values(device), None);
        let k = q.mean.dims()[1];
        let (means, log_vars) = (download(q.mean)?, download(q.log_var)?);
        let (mut kl, mut sigma, mut active) = (vec![0.0; k], 0.0, 0);
        for j in 0..k {
            let mut spread = Estimate::default();
            for (mean, log_var) in
                means.chunks(k).zip(log_vars.chunks(k)).map(|(m, l)| (m[j], l[j]))
            {
                kl[j] += 0.5 * (mean * mean + log_var.exp() - log_var - 1.0)
                    / images.len() as f64;
                sigma += (0.5 * log_var).exp() / means.len() as f64;
                spread.push(mean);
            }
            active += usize::from(spread.variance() > 0.01);
        }
        kl.sort_by(|a, b| b.total_cmp(a));
        Ok(Self { kl, sigma, active })
    }
}

/// A model trained with another weight of the KL, on the validation images.
pub struct Weighted {
    weight: f64,
    elbo: NegativeElbo,
    latents: Latents,
}

/// Trains one model for each of four weights.
pub fn weigh_the_kl(
    chapter: &mut Chapter,
    data: &Dataset,
    fresh: impl Fn() -> Vae,
    steps: usize,
) -> Result<Vec<Weighted>> {
    let (draws, device) =
        (Draws { passes: 16, seed: chapter.seed() }, chapter.device.clone());
    let mut found = Vec::new();
    for weight in [0.0, 1.0, 4.0, 10.0] {
        let fit = Fit { kl_warmup: 0, kl_weight: weight, ..Fit::new(steps, 0.3) };
        let loss = fit.loss(&data.train, chapter.seed(), &device);
        let model =
            chapter.stage(&format!("weight {weight}"), &fit).train(&fresh(), loss)?.model;
        let elbo = NegativeElbo::estimate(&model, &data.validation, draws, &device)?;
        let latents = Latents::of(&model, &data.validation, &device)?;
        found.push(Weighted { weight, elbo, latents });
    }
    Ok(found)
}

/// Prints what the model with 16 latents uses.
pub fn report_active(chapter: &mut Chapter, latents: &Latents) {
    let report = &mut chapter.report;
    report.section("Active latents");
    report.row("active of 16", &Number::within(latents.active as f64, 1.0, 0), "");
    report.row("largest KL", &Number::within(latents.kl[0], 0.05, 2), "nats");
    report.row("smallest KL", &Number::within(latents.kl[15], 0.05, 2), "nats");
}

/// Prints what each weight does, and draws the KL of each dimension.
pub fn report_weights(
    chapter: &mut Chapter,
    data: &Dataset,
    found: &[Weighted],
) -> Result<()> {
    let bits = |nats: f64| Number::within(data.bits_per_dim(nats), 0.005, 3);
    let rows = found.iter().map(|Weighted { weight, elbo, latents }| {
        let cells = vec![
            Number::within(latents.sigma, 0.005, 3),
            bits(elbo.reconstruction),
            bits(elbo.kl[0]),
            bits(elbo.total()),
            Number::within(latents.active as f64, 1.0, 0),
        ];
        (format!("{weight}"), cells)
    });
    chapter.report.section("The weight of the KL (bits/dim)");
    let header =
        ["weight", "mean sigma", "reconstruction", "KL", "-ELBO", "active latents"];
    chapter.report.table(&header, &rows.collect::<Vec<_>>());

    // With weight 0 the KL is no part of the loss, nor of the figure.
    let priced = found.iter().filter(|found| found.weight > 0.0);
    let curve = |Weighted { weight, latents, .. }: &Weighted| {
        let per_dimension = (1..).zip(&latents.kl).map(|(j, &kl)| (f64::from(j), kl));
        Series::new(format!("weight {weight}"), Style::LineAndDots, per_dimension)
    };
    let (x, y) = (Axis::linear("latent dimension, sorted"), Axis::linear("KL (nats)"));
    chapter.figure(
        "kl_per_dimension",
        &Plot { x, y, series: priced.map(curve).collect() }.draw()?,
    )
}
