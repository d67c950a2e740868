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

use super::mean;

// ANCHOR: gradients
/// Variances of both estimators of d/dmu E f(z), z ~ N(mu, I), in the first coordinate of mu.
pub fn of_simple_functions(chapter: &mut Chapter) {
    const DRAWS: usize = 100_000;
    let noise = &mut rng(chapter.seed(), Stream::Evaluation, 2000);
    let mut draw = || -> f64 { StandardNormal.sample(noise) };
    let mut rows = Vec::new();
    let mut row = |name: String, pathwise: Estimate, score: Estimate, exact: f64| {
        let ratio = score.variance() / pathwise.variance();
        let numbers = [pathwise.variance(), score.variance(), ratio, exact].map(|value| Number::exact(value, 2));
        rows.push((name, numbers.to_vec()));
    };
    for d in [1_u32, 10, 100] {
        let (mut pathwise, mut score) = (Estimate::default(), Estimate::default());
        for _ in 0..DRAWS {
            let eps = draw();
            let squared_norm = eps * eps + (1..d).map(|_| draw().powi(2)).sum::<f64>();
            pathwise.push(2.0 * eps);
            score.push(squared_norm * eps);
        }
        row(format!("squared norm, d = {d}"), pathwise, score, f64::from((d + 2) * (d + 4)) / 4.0);
    }
    let rule = Rule::gauss_hermite(100);
    for w in [0.5, 1.0, 2.0, 4.0] {
        let (mut pathwise, mut score) = (Estimate::default(), Estimate::default());
        for _ in 0..DRAWS {
            let eps = draw();
            pathwise.push(-w * (w * eps).sin());
            score.push((w * eps).cos() * eps);
        }
        // Both means are 0 at mu = 0, so the variances are mean squares.
        let exact = rule.integrate(|e| ((w * e).cos() * e).powi(2)) / rule.integrate(|e| (w * (w * e).sin()).powi(2));
        row(format!("cos({w} z)"), pathwise, score, exact);
    }
    chapter.report.section("Gradient variance");
    chapter.report.table(&["f", "reparameterized", "score function", "ratio", "exact ratio"], &rows);
}
// ANCHOR_END: gradients

// ANCHOR: decoder
/// The same for E log p(x|z) of the trained decoder: variances summed over the coordinates of mu, for eight test images.
pub fn of_the_decoder(chapter: &mut Chapter, data: &Dataset, model: &Vae) -> Result<()> {
    const DRAWS: usize = 1000;
    let device = chapter.device.clone().autodiff();
    let decoder = model.decoder.clone().train().no_grad();
    let noise = &mut rng(chapter.seed(), Stream::Evaluation, 3000);
    let mut variances = [0.0; 3];
    for i in 0..8 {
        let image = data.test.range(i, i + 1);
        let q = model.encoder.given(image.values(&chapter.device), None);
        let (sigma, k) = (download((q.log_var.clone() * 0.5).exp())?, q.mean.dims()[1]);
        let eps = normal([DRAWS, k], noise, &chapter.device);
        let q = DiagonalGaussian { mean: q.mean.expand([DRAWS, k]), log_var: q.log_var.expand([DRAWS, k]) };
        let z = Tensor::<2>::from_data(q.rsample(eps.clone()).into_data(), &device).require_grad();
        let f = decoder.log_likelihood(image.levels(&device).expand([DRAWS as i32, -1]), z.clone(), None);
        let gradients = f.clone().sum().backward();
        let slope = z.grad(&gradients).ok_or_else(|| Error::failure("the decoder has no gradient"))?;
        let (slope, eps, f) = (download(slope)?, download(eps)?, download(f.inner())?);
        let baseline = mean(&f);
        for j in 0..k {
            let mut estimates = [Estimate::default(); 3];
            for n in 0..DRAWS {
                let score = eps[n * k + j] / sigma[j];
                let values = [slope[n * k + j], f[n] * score, (f[n] - baseline) * score];
                estimates.iter_mut().zip(values).for_each(|(estimate, value)| estimate.push(value));
            }
            variances.iter_mut().zip(estimates).for_each(|(sum, estimate)| *sum += estimate.variance());
        }
    }
    let [pathwise, score, with_baseline] = variances;
    chapter.report.section("Gradients of the decoder");
    chapter.report.row("score function / reparameterized", &Number::within(score / pathwise, 100.0, 0), "");
    chapter.report.row("the same with a baseline", &Number::within(with_baseline / pathwise, 0.3, 1), "");
    Ok(())
}
// ANCHOR_END: decoder
