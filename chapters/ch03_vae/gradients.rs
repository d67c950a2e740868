//! The variance of two estimators of one gradient.

use burn::{module::Module, tensor::Tensor};
use elbo_to_diffusion::{
    autoencoder::Vae,
    chapter::{Chapter, Number},
    data::Dataset,
    error::{Error, Result},
    gaussian::DiagonalGaussian,
    host::download,
    oracle::{Estimate, Rule},
    random::{Stream, normal, rng},
};
use rand_distr::{Distribution, StandardNormal};

use super::mean::mean;

/// Variances of both estimators of d/dmu E f(z), z ~ N(mu, I), in the first coordinate of
/// mu.
pub struct Simple {
    /// What f is.
    function: String,
    pathwise: Estimate,
    score: Estimate,
    /// The exact ratio of the second variance to the first.
    exact_ratio: f64,
}

// ANCHOR: gradients
/// Both estimators of d/dmu E f(z), z ~ N(mu, I), in the first coordinate of mu = 0.
pub fn of_simple_functions(seed: u64) -> Vec<Simple> {
    const DRAWS: usize = 100_000;
    let noise = &mut rng(seed, Stream::Gradient, 0);
    let mut draw = || -> f64 { StandardNormal.sample(noise) };
    let mut found = Vec::new();
    for d in [1_u32, 10, 100] {
        let (mut pathwise, mut score) = (Estimate::default(), Estimate::default());
        for _ in 0..DRAWS {
            let eps = draw();
            let squared_norm = eps * eps + (1..d).map(|_| draw().powi(2)).sum::<f64>();
            pathwise.push(2.0 * eps);
            score.push(squared_norm * eps);
        }
        let function = format!("squared norm, d = {d}");
        let exact_ratio = f64::from((d + 2) * (d + 4)) / 4.0;
        found.push(Simple { function, pathwise, score, exact_ratio });
    }
    let rule = Rule::gauss_hermite(100);
    for w in [0.5, 1.0, 2.0, 4.0] {
        let by_path = |eps: f64| -w * (w * eps).sin();
        let by_score = |eps: f64| (w * eps).cos() * eps;
        let (mut pathwise, mut score) = (Estimate::default(), Estimate::default());
        for _ in 0..DRAWS {
            let eps = draw();
            pathwise.push(by_path(eps));
            score.push(by_score(eps));
        }
        // Both means are 0 at mu = 0, so the variances are mean squares.
        let above = rule.integrate(|eps| by_score(eps).powi(2));
        let below = rule.integrate(|eps| by_path(eps).powi(2));
        let function = format!("cos({w} z)");
        found.push(Simple { function, pathwise, score, exact_ratio: above / below });
    }
    found
}
// ANCHOR_END: gradients

/// Variances of three estimators, summed over the coordinates of mu and eight test images.
#[derive(Default)]
pub struct OfDecoder {
    pathwise: f64,
    score: f64,
    with_baseline: f64,
}

// ANCHOR: decoder
/// The same for E log p(x|z) of the trained decoder.
pub fn of_the_decoder(
    chapter: &Chapter,
    data: &Dataset,
    model: &Vae, // 16 latents
) -> Result<OfDecoder> {
    const DRAWS: usize = 1000;
    let device = chapter.device.clone().autodiff();
    let decoder = model.decoder.clone().train().no_grad();
    let noise = &mut rng(chapter.seed(), Stream::Gradient, 1);
    let mut sums = OfDecoder::default();
    for i in 0..8 {
        let image = data.test.range(i, i + 1);
        let q = model.encoder.given(image.values(&chapter.device), None);
        let (sigma, k) = (download((q.log_var.clone() * 0.5).exp())?, q.mean.dims()[1]);
        let eps = normal([DRAWS, k], noise, &chapter.device);
        let copies = |row: Tensor<2>| row.expand([DRAWS, k]);
        let q = DiagonalGaussian { mean: copies(q.mean), log_var: copies(q.log_var) };
        let z = q.rsample(eps.clone()).into_data();
        let z = Tensor::<2>::from_data(z, &device).require_grad();
        let grey_levels = image.grey_levels(&device).expand([DRAWS as i32, -1]);
        let f = decoder.log_likelihood(grey_levels, z.clone(), None);
        let gradients = f.clone().sum().backward();
        let none = || Error::failure("the decoder has no gradient");
        let slope = download(z.grad(&gradients).ok_or_else(none)?)?;
        let (eps, f) = (download(eps)?, download(f.inner())?);
        let baseline = mean(&f);
        for j in 0..k {
            let [mut pathwise, mut score, mut with_baseline] = [Estimate::default(); 3];
            for n in 0..DRAWS {
                let slope_of_log_q = eps[n * k + j] / sigma[j];
                pathwise.push(slope[n * k + j]);
                score.push(f[n] * slope_of_log_q);
                with_baseline.push((f[n] - baseline) * slope_of_log_q);
            }
            sums.pathwise += pathwise.variance();
            sums.score += score.variance();
            sums.with_baseline += with_baseline.variance();
        }
    }
    Ok(sums)
}
// ANCHOR_END: decoder

/// Prints the variances for simple functions.
pub fn report_simple(chapter: &mut Chapter, found: &[Simple]) {
    chapter.report.section("Gradient variance");
    let rows = found.iter().map(|Simple { function, pathwise, score, exact_ratio }| {
        let (pathwise, score) = (pathwise.variance(), score.variance());
        (function.clone(), [pathwise, score, score / pathwise, *exact_ratio])
    });
    chapter.report.exact_table(
        &["f", "reparameterized", "score function", "ratio", "exact ratio"],
        2,
        rows,
    );
}

/// Prints the variances for the decoder.
pub fn report_decoder(
    chapter: &mut Chapter,
    OfDecoder { pathwise, score, with_baseline }: &OfDecoder,
) {
    let report = &mut chapter.report;
    report.section("Gradients of the decoder");
    report.row(
        "score function / reparameterized",
        &Number::within(score / pathwise, 100.0, 0),
        "",
    );
    report.row(
        "the same with a baseline",
        &Number::within(with_baseline / pathwise, 0.3, 1),
        "",
    );
}
