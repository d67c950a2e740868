//! How much of an image is decided once a level of latents is fixed.

use elbo_to_diffusion::{
    autoencoder::{Hvae, HvaeConfig},
    chapter::{Chapter, Number},
    error::Result,
    oracle::Estimate,
    random::{Stream, normal, rng},
};

/// What is settled by z_t.
pub struct Decided {
    t: usize,
    /// The share of the pixels' variance that is gone once z_t is fixed.
    share: f64,
}

// ANCHOR: decides
/// Fixes z_t and draws what lies below, the pixels included.
pub fn measure(
    chapter: &Chapter,
    config: &HvaeConfig, // that of the model
    model: &Hvae,
) -> Result<Vec<Decided>> {
    const FIXED: usize = 64;
    const DRAWS: usize = 32;
    let noise = &mut rng(chapter.seed(), Stream::Sampling, 0);
    let device = &chapter.device;
    let latent_levels = config.latents.len();
    let mut decided = Vec::new();
    for t in (1..=latent_levels).rev() {
        let top = normal([FIXED, config.latents[latent_levels - 1]], noise, device);
        let z_t = model.descend(latent_levels, t, top, noise);
        // Each z_t in DRAWS copies, one after the other.
        let copies = z_t.unsqueeze_dim::<3>(1).repeat_dim(1, DRAWS).flatten::<2>(0, 1);
        let bottom = model.descend(t, 1, copies, noise);
        let images = model.decoder.sample(bottom, noise)?;
        let dim = images.len() / (FIXED * DRAWS);
        let (mut within, mut total) = (0.0, 0.0);
        for pixel in 0..dim {
            let of_pixel = images.iter().skip(pixel).step_by(dim);
            let values: Vec<f64> = of_pixel.map(|&v| f64::from(v)).collect();
            total += variance(&values);
            within += values.chunks(DRAWS).map(variance).sum::<f64>() / FIXED as f64;
        }
        decided.push(Decided { t, share: 1.0 - within / total });
    }
    Ok(decided)
}
// ANCHOR_END: decides

fn variance(values: &[f64]) -> f64 {
    let mut estimate = Estimate::default();
    values.iter().for_each(|&value| estimate.push(value));
    estimate.variance()
}

/// Prints the shares.
pub fn report(chapter: &mut Chapter, decided: &[Decided]) {
    let row = |Decided { t, share }: &Decided| {
        (format!("z_{t}"), vec![Number::within(*share, 0.05, 2)])
    };
    chapter.report.section("What each level decides");
    chapter.report.table(
        &["fixed", "share of the variance"],
        &decided.iter().map(row).collect::<Vec<_>>(),
    );
}
