//! Bounds that lie closer to log p(x), and where the gap comes from.

use elbo_to_diffusion::{
    autoencoder::{Importance, ImportanceWeighted, Vae},
    chapter::{Chapter, Number},
    data::Dataset,
    error::Result,
};

use super::{
    evidence::{self, Amortisation},
    mean::mean,
};

/// Bounds on the test images, in nats per image.
pub struct Tighter {
    /// -L_500 of the model with 16 latents.
    wide: ImportanceWeighted,
    /// -L_100 of the model with 2 latents.
    plane: ImportanceWeighted,
    /// -ELBO of the model with 2 latents.
    amortisation: Amortisation,
    /// -log p(x) of the model with 2 latents.
    least: f64,
}

/// Tightens the bounds of both models.
pub fn measure(
    chapter: &mut Chapter,
    data: &Dataset,
    wide: &Vae,
    plane: &Vae,
) -> Result<Tighter> {
    let (seed, device) = (chapter.seed(), chapter.device.clone());
    let importance = |model, draws| {
        ImportanceWeighted::estimate(model, &data.test, Importance { draws, seed }, &device)
    };
    let (tight_wide, tight_plane) = (importance(wide, 500)?, importance(plane, 100)?);
    let posteriors = evidence::posteriors(plane, &data.test, &device)?;
    let log_evidence: Vec<f64> =
        posteriors.iter().map(|posterior| posterior.log_evidence).collect();
    Ok(Tighter {
        wide: tight_wide,
        plane: tight_plane,
        amortisation: evidence::one_posterior_per_image(
            chapter,
            plane,
            &data.test,
            &posteriors,
        )?,
        least: -mean(&log_evidence),
    })
}

/// Prints the bounds, and the two parts of the gap.
pub fn report(chapter: &mut Chapter, data: &Dataset, found: &Tighter) {
    let Tighter { wide, plane, amortisation: Amortisation { own, encoder }, least } = found;
    let bits = |nats: f64, tolerance| Number::within(data.bits_per_dim(nats), tolerance, 3);
    let report = &mut chapter.report;
    report.section("Tighter bounds");
    report.row("16 latents, -L_500", &bits(wide.nats, 0.003), "bits/dim");
    report.row(
        "16 latents, effective draws of 500",
        &Number::within(wide.effective_draws, 3.0, 0),
        "",
    );
    report.row("2 latents, -L_100", &bits(plane.nats, 0.02), "bits/dim");
    report.row(
        "2 latents, effective draws of 100",
        &Number::within(plane.effective_draws, 8.0, 0),
        "",
    );
    report.row("2 latents, -log p(x)", &bits(*least, 0.02), "bits/dim");
    report.section("The price of one encoder");
    report.row("-ELBO with the encoder", &bits(*encoder, 0.02), "bits/dim");
    report.row("-ELBO with a q for each image", &bits(*own, 0.02), "bits/dim");
    report.row("-log p(x)", &bits(*least, 0.02), "bits/dim");
    report.row("amortisation gap", &bits(encoder - own, 0.015), "bits/dim");
    report.row("gap of the Gaussian family", &bits(own - least, 0.004), "bits/dim");
    chapter.metric("test_iw_bits_per_dim", data.bits_per_dim(wide.nats));
    chapter.metric("test_iw_bits_per_dim_stderr", data.bits_per_dim(wide.noise_error));
}
