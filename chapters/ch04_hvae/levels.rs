//! How the KL divides over the levels.

use burn::tensor::Tensor;
use elbo_to_diffusion::{
    autoencoder::{Batch, Hvae, read},
    chapter::{Chapter, Number},
    data::Dataset,
    error::Result,
    gaussian::DiagonalGaussian,
    oracle::log_sum_exp,
    random::{Stream, normal, rng},
};

/// Prints each level's term of the ELBO, and between which bounds its KL divergence lies.
pub fn level_by_level(chapter: &mut Chapter, data: &Dataset, model: &Hvae) -> Result<()> {
    const DRAWS: usize = 64;
    let images = data.test.range(0, 256);
    let (n, device) = (images.len(), &chapter.device);
    let noise = &mut rng(chapter.seed(), Stream::Evaluation, 2000);
    let batch = Batch::new(&images, device);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;

    let draw = |q: &DiagonalGaussian, noise: &mut _| q.rsample(normal(q.mean.dims(), noise, device));
    let bottom = model.encoders[0].given(batch.x.clone(), None);
    let top = model.encoders.len();
    let (mut terms, mut lower, mut upper) = (vec![0.0; top], vec![0.0; top], vec![0.0; top]);
    const PASSES: usize = 4;
    for _ in 0..PASSES {
        // q(z_t | z_{t-1}) and z_t from it, from the bottom up.
        let mut q = vec![bottom.clone()];
        let mut z = vec![draw(&bottom, noise)];
        for encoder in &model.encoders[1..] {
            q.push(encoder.given(z[z.len() - 1].clone(), None));
            z.push(draw(&q[q.len() - 1], noise));
        }
        let mut p: Vec<DiagonalGaussian> = Vec::new();
        for (t, prior) in model.priors.iter().enumerate() {
            p.push(prior.given(z[t + 1].clone(), None));
        }
        p.push(DiagonalGaussian::standard(&z[top - 1]));
        let log = |law: &DiagonalGaussian, z: &Tensor<2>| read(law.log_prob(z.clone()));
        let log_q: Vec<Vec<f64>> = (0..top).map(|t| log(&q[t], &z[t])).collect::<Result<_>>()?;
        let log_p: Vec<Vec<f64>> = (0..top).map(|t| log(&p[t], &z[t])).collect::<Result<_>>()?;

        // log q(z_t | x) = log E q(z_t | z_{t-1}): draws of z_{t-1} given x alone, without and with the one that z_t came from.
        let mut marginal = vec![[log_q[0].clone(), log_q[0].clone()]];
        let mut others: Vec<Vec<Vec<f64>>> = vec![vec![Vec::new(); n]; top];
        for _ in 0..DRAWS {
            let mut other = draw(&bottom, noise);
            for t in 1..top {
                let law = model.encoders[t].given(other.clone(), None);
                others[t].iter_mut().zip(log(&law, &z[t])?).for_each(|(list, value)| list.push(value));
                other = draw(&law, noise);
            }
        }
        for t in 1..top {
            let count = DRAWS as f64;
            let without = others[t].iter().map(|list| log_sum_exp(list) - count.ln()).collect();
            let with = others[t].iter().zip(&log_q[t]);
            let with = with.map(|(list, &own)| log_sum_exp(&[log_sum_exp(list), own]) - (count + 1.0).ln()).collect();
            marginal.push([without, with]);
        }
        for t in 0..top {
            terms[t] += (mean(&log_q[t]) - mean(&log_p[t])) / PASSES as f64;
            // log q(z_t | z_{t+1}, x) by Bayes' rule, from log q(z_t | x) and log q(z_{t+1} | x), each too low or too high.
            for (bound, low) in [(&mut lower, 0), (&mut upper, 1)] {
                let above = if t + 1 < top { mean(&log_q[t + 1]) - mean(&marginal[t + 1][1 - low]) } else { 0.0 };
                bound[t] += (mean(&marginal[t][low]) + above - mean(&log_p[t])) / PASSES as f64;
            }
        }
    }
    let rows: Vec<(String, Vec<Number>)> = (0..top)
        .map(|t| (format!("z_{}", t + 1), [terms[t], lower[t], upper[t]].map(|v| Number::within(v, 0.3, 2)).to_vec()))
        .collect();
    chapter.report.section("Level by level");
    chapter.report.table(&["level", "term of the ELBO", "KL, at least", "KL, at most"], &rows);
    Ok(())
}
