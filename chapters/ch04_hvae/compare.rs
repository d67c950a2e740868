//! One level of latents against three, at the same size.

use elbo_to_diffusion::{
    autoencoder::{Autoencoder, Hvae, Importance, ImportanceWeighted, NegativeElbo, Vae},
    chapter::{Chapter, Number},
    data::{Dataset, Images},
    error::Result,
    evaluation::Draws,
};

/// Both models.
pub struct Comparison {
    vae: OfModel,
    hvae: OfModel,
}

/// What a model costs.
struct OfModel {
    weights: usize,
    validation: Bounds,
    test: Bounds,
}

/// In nats per image.
struct Bounds {
    elbo: NegativeElbo,
    /// -L_200.
    tight: ImportanceWeighted,
}

// ANCHOR: compare
/// Bounds both models on the same images, with as many draws.
pub fn measure(
    chapter: &Chapter,
    data: &Dataset,
    vae: &Vae,   // one level of latents
    hvae: &Hvae, // three
) -> Result<Comparison> {
    let (vae, hvae) = (of_model(chapter, data, vae)?, of_model(chapter, data, hvae)?);
    Ok(Comparison { vae, hvae })
}

fn of_model(
    chapter: &Chapter,
    data: &Dataset,
    model: &impl Autoencoder, // any number of levels
) -> Result<OfModel> {
    let (seed, device) = (chapter.seed(), &chapter.device);
    let draws = Draws { passes: 64, seed };
    let importance = Importance { draws: 200, seed };
    let bounds = |images: &Images| -> Result<Bounds> {
        let elbo = NegativeElbo::estimate(model, images, draws, device)?;
        let tight = ImportanceWeighted::estimate(model, images, importance, device)?;
        Ok(Bounds { elbo, tight })
    };
    let (validation, test) = (bounds(&data.validation)?, bounds(&data.test)?);
    Ok(OfModel { weights: model.num_params(), validation, test })
}
// ANCHOR_END: compare

/// Prints the bounds, and the gain.
pub fn report(
    chapter: &mut Chapter,
    data: &Dataset,
    Comparison { vae, hvae }: &Comparison,
) {
    let bits = |nats: f64| data.bits_per_dim(nats);
    let mut rows = Vec::new();
    for (name, prefix, model) in [("VAE", "vae_", vae), ("HVAE", "", hvae)] {
        for (part, Bounds { elbo, tight }) in
            [("validation", &model.validation), ("test", &model.test)]
        {
            let terms =
                [elbo.reconstruction, elbo.kl.iter().sum(), elbo.total(), tight.nats];
            rows.push((
                format!("{name}, {part}"),
                terms.map(|nats| Number::within(bits(nats), 0.003, 3)).to_vec(),
            ));
            for (metric, nats) in [
                ("bits_per_dim", elbo.total()),
                ("bits_per_dim_stderr", elbo.noise_error),
                ("iw_bits_per_dim", tight.nats),
                ("iw_bits_per_dim_stderr", tight.noise_error),
            ] {
                chapter.metric(&format!("{prefix}{part}_{metric}"), bits(nats));
            }
        }
    }
    let report = &mut chapter.report;
    report.section("Two models of one size (bits/dim)");
    report.table(&["", "reconstruction", "KL", "-ELBO", "-L_200"], &rows);
    let gain = bits(vae.test.elbo.total() - hvae.test.elbo.total());
    report.row("gain of the HVAE, test", &Number::within(gain, 0.004, 3), "bits/dim");
    report.row("weights of the VAE", &Number::count(vae.weights), "");
    report.row("weights of the HVAE", &Number::count(hvae.weights), "");
}
