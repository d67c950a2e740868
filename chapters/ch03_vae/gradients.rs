//! The variance of two estimators of one gradient.

use burn::{module::Module, tensor::Tensor};
use elbo_to_diffusion::{
    autoencoder::{Vae, read},
    chapter::{Chapter, Number},
    data::Dataset,
    error::{Error, Result},
    gaussian::DiagonalGaussian,
    oracle::{Estimate, Rule},
    random::{Stream, normal, rng},
};
use rand_distr::{Distribution, StandardNormal};

use super::mean;

// ANCHOR: gradients
/// Variances of both estimators of d/dmu E f(z), z ~ N(mu, I), in the first coordinate of mu.
pub fn of_simple_functions(chapter: &mut Chapter) {
    const DRAWS: usize = 100_000;
    let noise = &mut rng(chapter.seed(), Stream::Evaluation, 2000);
    let mut draw = || -> f64 { StandardNormal.sample(noise) };
    let mut rows = Vec::new();
    for d in [1_u32, 10, 100] {
        let (mut pathwise, mut score) = (Estimate::default(), Estimate::default());
        for _ in 0..DRAWS {
            let eps = draw();
            let squared_norm = eps * eps + (1..d).map(|_| draw().powi(2)).sum::<f64>();
            pathwise.push(2.0 * eps);
            score.push(squared_norm * eps);
        }
        let exact = f64::from((d + 2) * (d + 4)) / 4.0;
        rows.push((format!("|z|^2, d = {d}"), pathwise, score, exact));
    }
    for w in [0.5, 1.0, 2.0, 4.0] {
        let (mut pathwise, mut score) = (Estimate::default(), Estimate::default());
        for _ in 0..DRAWS {
            let eps = draw();
            pathwise.push(-w * (w * eps).sin());
            score.push((w * eps).cos() * eps);
        }
        // Both means are 0 at mu = 0.
        let rule = Rule::gauss_hermite(100);
        let exact = rule.integrate(|e| ((w * e).cos() * e).powi(2)) / rule.integrate(|e| (w * (w * e).sin()).powi(2));
        rows.push((format!("cos({w} z)"), pathwise, score, exact));
    }
    let rows: Vec<(String, Vec<Number>)> = rows
        .into_iter()
        .map(|(name, pathwise, score, exact)| {
            let ratio = score.variance() / pathwise.variance();
            (
                name,
                vec![pathwise.variance(), score.variance(), ratio, exact]
                    .into_iter()
                    .map(|v| Number::exact(v, 3))
                    .collect(),
            )
        })
        .collect();
    chapter.report.section("Gradient variance");
    chapter.report.table(&["f", "reparameterized", "score function", "ratio", "exact ratio"], &rows);
}
// ANCHOR_END: gradients

pub fn of_the_decoder(chapter: &mut Chapter, data: &Dataset, model: &Vae) -> Result<()> {
    const DRAWS: usize = 1000;
    let device = chapter.device.clone().autodiff();
    let decoder = model.decoder.clone().train().no_grad();
    let noise = &mut rng(chapter.seed(), Stream::Evaluation, 3000);
    let (mut pathwise_variance, mut score_variance, mut baseline_variance) = (0.0, 0.0, 0.0);
    for i in 0..8 {
        let image = data.test.range(i, i + 1);
        let q = model.encoder.given(image.values(&chapter.device), None);
        let (sigma, k) = (read((q.log_var.clone() * 0.5).exp())?, q.mean.dims()[1]);
        let eps = normal([DRAWS, k], noise, &chapter.device);
        let q = DiagonalGaussian { mean: q.mean.expand([DRAWS, k]), log_var: q.log_var.expand([DRAWS, k]) };
        let z = Tensor::<2>::from_data(q.rsample(eps.clone()).into_data(), &device).require_grad();
        let level = image.levels(&device).expand([DRAWS as i32, -1]);
        let f = decoder.log_likelihood(level, z.clone(), None);
        let gradients = f.clone().sum().backward();
        let slope = z.grad(&gradients).ok_or_else(|| Error::failure("the decoder has no gradient"))?;
        let (slope, eps, f) = (read(slope)?, read(eps)?, read(f.inner())?);
        let mean_f = mean(&f);
        for j in 0..k {
            let (mut pathwise, mut score, mut baseline) =
                (Estimate::default(), Estimate::default(), Estimate::default());
            for n in 0..DRAWS {
                let weight = eps[n * k + j] / sigma[j];
                pathwise.push(slope[n * k + j]);
                score.push(f[n] * weight);
                baseline.push((f[n] - mean_f) * weight);
            }
            pathwise_variance += pathwise.variance();
            score_variance += score.variance();
            baseline_variance += baseline.variance();
        }
    }
    chapter.report.section("Gradients of the decoder");
    let report = &mut chapter.report;
    report.row("score function / reparameterized", &Number::within(score_variance / pathwise_variance, 100.0, 0), "");
    report.row("with a baseline", &Number::within(baseline_variance / pathwise_variance, 5.0, 1), "");
    Ok(())
}
