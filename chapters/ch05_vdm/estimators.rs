//! Two experiments without a network: what the first latent costs, and how much estimators
//! of one ELBO vary.

use std::f64::consts::LN_2;

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    error::Result,
    oracle::{Estimator, Estimators, Process, decoder::reconstruction_cost},
    random::{Stream, rng},
};

// ANCHOR: first_latent
/// What reading a pixel off z_1 costs, for a pixel that is uniform over its grey levels.
pub fn first_latent(chapter: &mut Chapter) {
    let cost = |greys, gamma| Number::exact(reconstruction_cost(greys, gamma) / LN_2, 4);
    let rows = [-4.0, -6.0, -8.0, -10.0, -12.0, -13.3];
    let rows =
        rows.map(|gamma| (format!("{gamma}"), vec![cost(17, gamma), cost(256, gamma)]));
    chapter.report.section("The first latent");
    chapter.report.table(&["gamma_min", "17 levels (bits)", "256 levels (bits)"], &rows);
}
// ANCHOR_END: first_latent

// ANCHOR: estimators
/// How much six estimators of one ELBO vary, for data on the line, where the ELBO is known.
pub fn estimators(chapter: &mut Chapter) -> Result<()> {
    let noise = &mut rng(chapter.seed(), Stream::Exact, 0);
    let mut deviation = |estimator, draws, shift, latents| -> Result<Number> {
        // DDPM's schedule; the exact reverse of N(0, 1) data, each mean moved by `shift`
        // variances; x = 0.8.
        let estimators =
            Estimators::shifted(&Process::ddpm_stretched(latents)?, shift, 0.8)?;
        let (deviation, error) = estimators.deviation(estimator, draws, noise);
        Ok(Number::within(deviation, 3.0 * error, if deviation < 10.0 { 2 } else { 1 }))
    };
    let mut rows = Vec::new();
    for (name, estimator, draws, shift) in [
        ("whole path, exact reverse chain", Estimator::WholePath, 100, 0.0),
        ("whole path", Estimator::WholePath, 3000, 0.5),
        ("consistency form, a triple for each t", Estimator::ConsistencyTriples, 3000, 0.5),
        ("denoising form, a pair for each t", Estimator::DenoisingPairs, 3000, 0.5),
        ("denoising form, exact KL for each t", Estimator::DenoisingKl, 3000, 0.5),
        ("consistency form, one random t", Estimator::ConsistencyOneTime, 100_000, 0.5),
        ("denoising form, one random t", Estimator::DenoisingOneTime, 100_000, 0.5),
    ] {
        let row =
            [100, 300, 1000].map(|latents| deviation(estimator, draws, shift, latents));
        rows.push((name.to_string(), row.into_iter().collect::<Result<_>>()?));
    }
    chapter.report.section("How much the estimators vary");
    chapter
        .report
        .table(&["standard deviation (nats)", "T = 100", "T = 300", "T = 1000"], &rows);
    Ok(())
}
// ANCHOR_END: estimators
