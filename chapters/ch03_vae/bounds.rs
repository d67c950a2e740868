//! The bounds of both models on all images.

use std::f64::consts::LN_2;

use burn::module::Module;
use elbo_to_diffusion::{
    autoencoder::{NegativeElbo, Vae},
    chapter::{Chapter, Number},
    data::{Dataset, Marginals},
    error::Result,
    evaluation::Draws,
};

/// What both models cost, and the baseline.
pub struct Bounds {
    wide: OfModel,
    plane: OfModel,
    /// Nats per validation image and per test image of a model of independent pixels.
    independent_validation: f64,
    independent_test: f64,
}

/// -ELBO of one model, in nats per image.
struct OfModel {
    name: &'static str,
    /// How far the bounds of two machines may lie apart, in bits per dimension.
    tolerance: f64,
    weights: usize,
    training: NegativeElbo,
    validation: NegativeElbo,
    test: NegativeElbo,
}

// ANCHOR: bounds
/// Both models with 32 draws of the latents of each image.
pub fn measure(
    chapter: &Chapter,
    data: &Dataset,
    wide: &Vae,  // 16 latents
    plane: &Vae, // 2 latents
) -> Result<Bounds> {
    let (draws, device) = (Draws { passes: 32, seed: chapter.seed() }, &chapter.device);
    let of_model = |name, model: &Vae, tolerance| -> Result<OfModel> {
        let bound = |images| NegativeElbo::estimate(model, images, draws, device);
        let (training, validation) = (bound(&data.train)?, bound(&data.validation)?);
        let (test, weights) = (bound(&data.test)?, model.num_params());
        Ok(OfModel { name, tolerance, weights, training, validation, test })
    };
    let independent = Marginals::fit(&data.train, 0.1);
    Ok(Bounds {
        wide: of_model("16 latents", wide, 0.003)?,
        // Where the plane's digits come to lie is sensitive to rounding.
        plane: of_model("2 latents", plane, 0.02)?,
        independent_validation: independent.nats(&data.validation),
        independent_test: independent.nats(&data.test),
    })
}
// ANCHOR_END: bounds

/// Prints them.
pub fn report(chapter: &mut Chapter, data: &Dataset, bounds: &Bounds) {
    let bits = |nats: f64| data.bits_per_dim(nats);
    let models = [&bounds.wide, &bounds.plane];
    let row = |model: &OfModel, part: &str, elbo: &NegativeElbo| {
        let terms = [elbo.reconstruction, elbo.kl[0], elbo.total()];
        let mut row =
            terms.map(|nats| Number::within(bits(nats), model.tolerance, 3)).to_vec();
        row.push(Number::within(bits(elbo.noise_error), 0.0002, 4));
        (format!("{}, {part}", model.name), row)
    };
    let rows: Vec<_> = models
        .iter()
        .flat_map(|model| {
            let parts = [
                ("training", &model.training),
                ("validation", &model.validation),
                ("test", &model.test),
            ];
            parts.map(|(part, elbo)| row(model, part, elbo))
        })
        .collect();
    let report = &mut chapter.report;
    report.section("The bounds (bits/dim)");
    report.table(&["", "reconstruction", "KL", "-ELBO", "standard error"], &rows);
    for model in models {
        let spent = Number::within(model.test.kl[0] / LN_2, 0.6, 1);
        report.row(&format!("{}, KL of a test image", model.name), &spent, "bits");
    }
    for model in models {
        report.row(
            &format!("weights of the model with {}", model.name),
            &Number::count(model.weights),
            "",
        );
    }
    let baseline = |nats| Number::exact(bits(nats), 3);
    report.row(
        "independent pixels, validation",
        &baseline(bounds.independent_validation),
        "bits/dim",
    );
    report.row("independent pixels, test", &baseline(bounds.independent_test), "bits/dim");
    for (part, elbo) in
        [("validation", &bounds.wide.validation), ("test", &bounds.wide.test)]
    {
        chapter.metric(&format!("{part}_bits_per_dim"), bits(elbo.total()));
        chapter.metric(&format!("{part}_bits_per_dim_stderr"), bits(elbo.noise_error));
    }
}
