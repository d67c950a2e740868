//! Chapter 3: variational autoencoders of the digits.

use std::process::ExitCode;

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData},
};
use elbo_to_diffusion::{
    autoencoder::{Autoencoder, Batch, CategoricalDecoder, Fit, ImportanceWeighted, LinearVae, NegativeElbo, Size, Vae},
    bound::Draws,
    chapter::{self, Chapter, Flag, Number, Spec},
    data::{Dataset, Images, Marginals},
    error::{Error, Result},
    figure::{Axis, ImageRow, Plot, Series, Style, image_rows},
    gaussian::DiagonalGaussian,
    oracle::{Estimate, Matrix, Rule, Vector, linear_gaussian::ppca_log_likelihood},
    random::{Stream, normal, rng},
    training::{Shard, Trained, Training},
};
use rand_distr::{Distribution, StandardNormal};

fn main() -> ExitCode {
    let spec = Spec {
        name: "ch03_vae",
        about: "Chapter 3: train variational autoencoders on the digits, bound their likelihood, look at their latents",
        flags: &[Flag::Device, Flag::Steps, Flag::Weights],
    };
    chapter::main(spec, run)
}

fn run(chapter: &mut Chapter) -> Result<()> {
    let data = chapter.dataset()?;
    let device = chapter.device.clone().autodiff();
    let steps = chapter.steps(2400);
    let fresh = |k: usize, sizes| Vae::new(&data.train, k, sizes, &mut rng(chapter.seed(), Stream::Initialisation, k as u64), &device);
    let (wide, plane) = (fresh(16, WIDE), fresh(2, PLANE));
    let wide = match chapter.load_weights(&wide)? {
        Some(model) => model,
        None => {
            let curve = &mut Vec::new();
            let trained = train(chapter, &data, "16 latents", wide.clone(), fit(steps, 0.3), curve)?;
            chapter.timing("train_steps_per_second", trained.steps_per_second);
            terms_over_training(chapter, curve)?;
            trained.model
        }
    };
    chapter.save_weights(&wide)?;
    let plane = train(chapter, &data, "2 latents", plane, fit(steps * 5 / 8, 0.5), &mut Vec::new())?.model;

    bounds(chapter, &data, &wide, &plane)?;
    evidence(chapter, &data, &plane)?;
    Ok(())
}

// ANCHOR: sizes
/// The networks of encoder and decoder, for 16 latents and for 2.
const WIDE: [Size; 2] = [Size { hidden: 128, blocks: 1, dropout: 0.0 }, Size { hidden: 128, blocks: 0, dropout: 0.1 }];
const PLANE: [Size; 2] = [Size { hidden: 128, blocks: 1, dropout: 0.0 }, Size { hidden: 128, blocks: 1, dropout: 0.2 }];

fn fit(steps: usize, weight_decay: f64) -> Fit {
    let warmup = steps / 20;
    let training = Training { steps, learning_rate: 6e-3, warmup, weight_decay, clip_norm: 1.0, ema_decay: 0.995 };
    Fit { training, batch: 64, kl_warmup: steps * 6 / 10, kl_weight: 1.0 }
}
// ANCHOR_END: sizes

/// Trains a model, and on the way notes both terms of -ELBO, of training and validation images.
fn train(
    chapter: &Chapter,
    data: &Dataset,
    what: &str,
    model: Vae,
    fit: Fit,
    curve: &mut Vec<(f64, [f64; 4])>,
) -> Result<Trained<Vae>> {
    let steps = fit.training.steps;
    let mut progress = chapter.progress(what, steps);
    let seen = data.train.range(0, data.validation.len());
    fit.run(model, &data.train, chapter.seed(), &chapter.device.clone().autodiff(), |model, step, loss| {
        progress.set(step, &format!("{loss:.3} bits/dim"));
        if step % 40 == 0 {
            let elbo = |images| NegativeElbo::estimate(&model.valid(), images, Draws { passes: 2, seed: 0 }, &chapter.device);
            let (train, validation) = (elbo(&seen)?, elbo(&data.validation)?);
            let terms = [train.reconstruction, train.kl[0], validation.reconstruction, validation.kl[0]];
            curve.push((step as f64, terms.map(|nats| data.bits_per_dim(nats))));
        }
        Ok(())
    })
}

fn terms_over_training(chapter: &Chapter, curve: &[(f64, [f64; 4])]) -> Result<()> {
    let names = ["reconstruction, training", "KL, training", "reconstruction, validation", "KL, validation"];
    let series = |(i, name): (usize, &&str)| Series::new(*name, Style::Line, curve.iter().map(|(step, v)| (*step, v[i])));
    let plot = Plot {
        x: Axis::linear("training step"),
        y: Axis::linear("term of -ELBO (bits/dim)"),
        series: names.iter().enumerate().map(series).collect(),
    };
    chapter.figure("terms", &plot.draw()?)
}

fn bounds(chapter: &mut Chapter, data: &Dataset, wide: &Vae, plane: &Vae) -> Result<()> {
    chapter.report.section("The bounds");
    let marginals = Marginals::fit(&data.train, 0.1);
    let bits = |nats: f64, tolerance, decimals| Number::within(data.bits_per_dim(nats), tolerance, decimals);
    for (name, images) in [("validation", &data.validation), ("test", &data.test)] {
        let start = std::time::Instant::now();
        let elbo = NegativeElbo::estimate(wide, images, Draws { passes: 64, seed: chapter.seed() }, &chapter.device)?;
        println!("{name} {:?} {:?} {:?}", bits(elbo.total(), 0.0, 4), bits(elbo.standard_error, 0.0, 5), start.elapsed());
        let elbo = NegativeElbo::estimate(plane, images, Draws { passes: 64, seed: chapter.seed() }, &chapter.device)?;
        println!("{name} {:?} {:?} {:?}", bits(elbo.total(), 0.0, 4), bits(elbo.standard_error, 0.0, 5), start.elapsed());
        if name == "test" {
            for m in [wide, plane] {
            for k in [50, 500] {
        let start = std::time::Instant::now();
            let iw = ImportanceWeighted::estimate(m, images, Draws { passes: k, seed: chapter.seed() }, &chapter.device)?;
        println!("{name} iw {:?} {:?} {} {:?}", bits(iw.nats, 0.0, 4), bits(iw.standard_error, 0.0, 5), iw.effective_draws, start.elapsed());
            }
            }
        }
    }
    let _ = marginals;
    Ok(())
}

// ANCHOR: evidence
/// log p(x) = log int p(x|z) p(z) dz of each image, with the integral as a sum over a grid of the latent plane.
fn log_evidence(model: &Vae, images: &Images, points: usize, device: &Device) -> Result<Vec<f64>> {
    const RANGE: f64 = 5.0;
    let step = 2.0 * RANGE / points as f64;
    let axis: Vec<f32> = (0..points).map(|i| (-RANGE + (i as f64 + 0.5) * step) as f32).collect();
    // One row of the grid at a time: [n, d K] x [d K, points].
    let one_hot = images.levels(device).one_hot::<3>(images.level_count()).float();
    let one_hot = one_hot.reshape([images.len() as i32, -1]);
    let mut total = vec![f64::NEG_INFINITY; images.len()];
    for &z_2 in &axis {
        let z: Vec<f32> = axis.iter().flat_map(|&z_1| [z_1, z_2]).collect();
        let z = Tensor::<2>::from_data(TensorData::new(z, [points, 2]), device);
        let log_prior = DiagonalGaussian::standard(&z).log_prob(z.clone()) + (step * step).ln();
        let log_probs = model.decoder.log_probs(z, None).reshape([points as i32, -1]).transpose();
        let log_joint = one_hot.clone().matmul(log_probs) + log_prior.unsqueeze::<2>();
        let largest = log_joint.clone().max_dim(1);
        let row = (log_joint - largest.clone()).exp().sum_dim(1).log() + largest;
        let row = row.try_into_vec_as::<f32>().map_err(|e| Error::failure(format!("cannot read the integral: {e}")))?;
        for (total, row) in total.iter_mut().zip(row) {
            *total = elbo_to_diffusion::oracle::log_sum_exp(&[*total, f64::from(row)]);
        }
    }
    Ok(total)
}
// ANCHOR_END: evidence

fn evidence(chapter: &mut Chapter, data: &Dataset, plane: &Vae) -> Result<()> {
    for points in [64, 128, 256, 384] {
        let start = std::time::Instant::now();
        let l = log_evidence(plane, &data.test, points, &chapter.device)?;
        let mean = l.iter().sum::<f64>() / l.len() as f64;
        println!("evidence {points}: {:.6} {:?}", data.bits_per_dim(-mean), start.elapsed());
    }
    Ok(())
}
