//! What is equal: one output read in four ways, and how an error of each counts.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    error::Result,
    figure::{Axis, Plot, Series, Style},
    host::{download, upload},
    oracle::Step,
    random::{Stream, rng},
    vdm::{
        Linear,
        Parameterization::{Eps, Score, V, X},
        Schedule,
    },
};
use rand_distr::{Distribution, StandardNormal};

/// Noise levels at which the scales of the errors are drawn.
const LINEAR: Linear = Linear { gamma_min: -8.0, gamma_max: 5.0 };

// ANCHOR: four_losses
/// Reads one random output as x, eps, score and v in turn, and weighs each error as the
/// bound demands.
pub fn four_losses(chapter: &mut Chapter) {
    let noise = &mut rng(chapter.seed(), Stream::Exact, 0);
    let mut draw = || -> f64 { StandardNormal.sample(noise) };
    let (mut losses, mut weights, mut largest) = (Vec::new(), Vec::new(), 0.0_f64);
    for gamma_t in [-7.87, -3.87, 0.13, 5.0] {
        let step = Step::new(gamma_t - 0.13, gamma_t);
        let (signal, noise) = (step.t.abar().sqrt(), step.t.noise().sqrt());
        let (x, eps, error) = (draw(), draw(), draw());
        let z = signal * x + noise * eps;
        // The network predicts v with this error. The other three readings follow from z
        // and v_hat.
        let v_hat = signal * eps - noise * x + error;
        let (x_hat, eps_hat) = (signal * z - noise * v_hat, noise * z + signal * v_hat);
        let weight =
            [step.x_weight(), step.eps_weight(), step.score_weight(), step.v_weight()];
        let errors = [x - x_hat, eps - eps_hat, (eps_hat - eps) / noise, error];
        // The KL divergence itself: two Gaussians of equal variance whose means differ.
        let means = step.posterior_mean(z, x) - step.posterior_mean(z, x_hat);
        let kl = means.powi(2) / (2.0 * step.posterior_variance());
        let loss = [0, 1, 2, 3].map(|i| weight[i] * errors[i].powi(2));
        largest = loss.iter().map(|loss| (loss / kl - 1.0).abs()).fold(largest, f64::max);
        let exact =
            |values: &[f64]| values.iter().map(|&value| Number::exact(value, 6)).collect();
        losses.push((format!("{gamma_t}"), exact(&[&loss[..], &[kl]].concat())));
        weights.push((format!("{gamma_t}"), exact(&weight)));
    }
    // ANCHOR_END: four_losses
    let report = &mut chapter.report;
    report.section("One output, four losses");
    report.table(&["gamma_t", "x", "eps", "score", "v", "KL"], &losses);
    report.row(
        "largest relative difference",
        &Number::within(1e10 * largest, 1.0, 2),
        "x 1e-10",
    );
    report.section("The weights of these losses");
    report.table(&["gamma_t", "x", "eps", "score", "v"], &weights);
}

/// Draws by how much each reading multiplies the error of the output.
pub fn error_scale(chapter: &mut Chapter) -> Result<()> {
    let gammas: Vec<f64> = LINEAR.grid(105);
    let series =
        [("x", X), ("eps", Eps), ("score", Score), ("v", V)].map(|(name, head)| {
            let (_, scale) =
                head.coefficients(upload(gammas.iter().copied(), &chapter.device));
            Ok(Series::new(
                name,
                Style::Line,
                gammas.iter().copied().zip(download(scale.abs())?),
            ))
        });
    let (x, y) =
        (Axis::linear("gamma = -log SNR"), Axis::log("error of x per error of the output"));
    let series = series.into_iter().collect::<Result<Vec<_>>>()?;
    chapter.figure("error_scale", &Plot { x, y, series }.draw()?)
}
