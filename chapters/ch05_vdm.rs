//! Chapter 5: a variational diffusion model of the digits, in discrete time.

use std::{f64::consts::LN_2, process::ExitCode, time::Instant};

use burn::tensor::Tensor;
use elbo_to_diffusion::{
    bound::{Bound, Draws},
    chapter::{self, Chapter, Flag, Number, Setting, Spec},
    data::{Dataset, Marginals},
    denoiser::{Denoiser, DenoiserConfig},
    diffusion::{denoising_kl, denoising_weight, diffuse},
    error::Result,
    figure::{ImageRow, Plot, Series, Style, image_rows},
    host::{download, upload},
    oracle::{Estimator, Estimators, Process, decoder::reconstruction_cost},
    random::{Stream, normal, rng},
    sampler::{ancestral, decode},
    schedule::{Linear, Schedule},
    training::{SHARDS, Shard},
};

/// Number of latents in the chain.
const LATENTS: usize = 200;
/// Each part of the data is reported on at most this many of its first images. The digits have fewer.
const REPORTED: usize = 500;

fn main() -> ExitCode {
    let spec = Spec {
        name: "ch05_vdm",
        about: "Chapter 5: train a variational diffusion model on the digits and bound their likelihood",
        flags: &[Flag::Device, Flag::Mnist, Flag::Full, Flag::Steps, Flag::Weights, Flag::Resume],
    };
    chapter::main(spec, run)
}

fn run(chapter: &mut Chapter) -> Result<()> {
    let data = chapter.dataset()?;
    let init = &mut rng(chapter.seed(), Stream::Initialisation, 0);
    let setting = chapter.setting(&data, 1200);
    // ANCHOR: network
    let device = chapter.device.clone().autodiff();
    let fresh = DenoiserConfig::for_images(&data.train, setting.trunk).init(init, &device);
    // ANCHOR_END: network
    let loaded = chapter.load_weights(&fresh)?;

    baselines(chapter, &data);
    let model = match loaded {
        Some(model) => model,
        None => train(chapter, &data, &setting, fresh)?,
    };
    chapter.save_weights(&model)?;
    let schedule = setting.linear();
    let test = report_bound(chapter, &data, &model, &schedule)?;
    fewer_latents(chapter, &data, &model, &schedule, test)?;
    sample(chapter, &data, &model, &schedule)?;
    step_by_step(chapter, &data, &model, &schedule)?;
    first_latent(chapter);
    estimators(chapter)
}

fn baselines(chapter: &mut Chapter, data: &Dataset) {
    let independent = Marginals::fit(&data.train, 0.1);
    let report = &mut chapter.report;
    report.section("Baselines");
    let uniform = (data.train.level_count() as f64).log2();
    report.row("uniform levels", &Number::exact(uniform, 3), "bits/dim");
    for (name, images) in [("validation", &data.validation), ("test", &data.test)] {
        let bits = data.bits_per_dim(independent.nats(images));
        report.row(&format!("independent pixels, {name}"), &Number::exact(bits, 3), "bits/dim");
    }
}

// ANCHOR: train
fn train(chapter: &mut Chapter, data: &Dataset, setting: &Setting, model: Denoiser) -> Result<Denoiser> {
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    let gammas = setting.linear().grid(LATENTS);
    let terms = gammas.len() - 1;

    // ANCHOR: loss
    let loss = |model: &Denoiser, shard: Shard| {
        let n = setting.batch / SHARDS;
        let x = shard.images(&data.train, n, setting.shifted, seed, &device);
        // Times spread evenly over 2..=T from one random start, so that every batch sees all noise levels.
        let t = shard.times(n, seed).into_iter().map(|t| 1 + (t * terms as f64) as usize);
        let (gamma, weight): (Vec<f64>, Vec<f64>) =
            t.map(|t| (gammas[t], denoising_weight(gammas[t - 1], gammas[t]))).unzip();
        let (gamma, weight) = (upload(gamma, &device), upload(weight, &device));

        let eps = normal([n, data.train.dim()], &mut shard.rng(seed, Stream::Training), &device);
        let z = diffuse(x.clone(), gamma.clone(), eps);
        let x_hat = model.denoise(z, gamma, Some(&mut shard.rng(seed, Stream::Dropout)));
        denoising_kl(x, x_hat, weight).mean() * data.bits_per_dim(terms as f64)
    };
    // ANCHOR_END: loss
    let trained = chapter.train("training", &setting.training, &model, loss)?;

    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let curve = trained.losses.chunks(20).zip(1..).map(|(chunk, i)| (f64::from(i * 20), mean(chunk)));
    chapter.figure("loss", &Plot::curve("training step", "training loss (bits/dim)", curve).draw()?)?;
    Ok(trained.model)
}
// ANCHOR_END: train

// ANCHOR: bound
fn report_bound(chapter: &mut Chapter, data: &Dataset, model: &Denoiser, schedule: &Linear) -> Result<Bound> {
    let denoise = |z, gamma| model.denoise(z, gamma, None);
    let gammas = schedule.grid(LATENTS);
    let bits = |nats: f64| data.bits_per_dim(nats);
    chapter.report.section("The bound");
    let draws = Draws { passes: 2, seed: chapter.seed() };
    let bound = |images| Bound::discrete(images, &gammas, denoise, draws, &chapter.device);
    let (validation, test) = (data.validation.first(REPORTED), data.test.first(REPORTED));
    let (seen, validation, test) = (bound(&data.train.first(validation.len()))?, bound(&validation)?, bound(&test)?);
    for (name, bound) in [("training", &seen), ("validation", &validation), ("test", &test)] {
        for (term, nats, tolerance, decimals) in [
            ("reconstruction", bound.reconstruction, 0.001, 4),
            ("prior", bound.prior, 0.0001, 4),
            ("denoising", bound.denoising.iter().sum(), 0.02, 3),
            ("bound", bound.total(), 0.02, 3),
            ("standard error", bound.standard_error, 0.001, 4),
        ] {
            let number = Number::within(bits(nats), tolerance, decimals);
            chapter.report.row(&format!("{name} {term}"), &number, "bits/dim");
        }
        chapter.metric(&format!("{name}_bits_per_dim"), bits(bound.total()));
        chapter.metric(&format!("{name}_bits_per_dim_stderr"), bits(bound.standard_error));
    }
    let curve = |name, bound: &Bound| {
        let points = (2..).zip(&bound.denoising).map(|(t, &nats)| (f64::from(t), 1000.0 * bits(nats)));
        Series::new(name, Style::Line, points)
    };
    let series = vec![curve("test images", &test), curve("training images", &seen)];
    let plot = Plot { series, ..Plot::curve("time step t", "denoising term (1/1000 bits/dim)", []) };
    chapter.figure("denoising_term", &plot.draw()?)?;
    Ok(test)
}
// ANCHOR_END: bound

// ANCHOR: fewer
fn fewer_latents(
    chapter: &mut Chapter,
    data: &Dataset,
    model: &Denoiser,
    schedule: &Linear,
    full: Bound,
) -> Result<()> {
    let denoise = |z, gamma| model.denoise(z, gamma, None);
    let draws = Draws { passes: 2, seed: chapter.seed() };
    let bound = |latents: usize| match latents {
        LATENTS => Ok(full.clone()),
        _ => Bound::discrete(&data.test.first(REPORTED), &schedule.grid(latents), denoise, draws, &chapter.device),
    };
    let (mut rows, mut points) = (Vec::new(), Vec::new());
    for latents in [10, 25, 50, 100, LATENTS] {
        let bound = bound(latents)?;
        let bits = |nats, tolerance, decimals| Number::within(data.bits_per_dim(nats), tolerance, decimals);
        rows.push((latents.to_string(), vec![bits(bound.total(), 0.02, 3), bits(bound.standard_error, 0.002, 4)]));
        points.push((1.0 / latents as f64, data.bits_per_dim(bound.total())));
    }
    chapter.report.section("Fewer latents");
    chapter.report.table(&["latents T", "test bound (bits/dim)", "standard error"], &rows);
    let series = vec![Series::new("", Style::LineAndDots, points)];
    let plot = Plot { series, ..Plot::curve("1 / T", "test bound (bits/dim)", []) };
    chapter.figure("fewer_latents", &plot.draw()?)
}
// ANCHOR_END: fewer

// ANCHOR: sample
fn sample(chapter: &mut Chapter, data: &Dataset, model: &Denoiser, schedule: &Linear) -> Result<()> {
    const SAMPLES: usize = 64;
    let start = Instant::now();
    let (gammas, device) = (schedule.grid(LATENTS), &chapter.device);
    let denoise = |z, gamma| model.denoise(z, gamma, None);
    let noise = &mut rng(chapter.seed(), Stream::Sampling, 0);
    let z = ancestral([SAMPLES, data.train.dim()], &gammas, denoise, noise, device, |_, _, _| {});
    let digits = decode(z, schedule.gamma_min, &data.train.level_values())?;
    // ANCHOR_END: sample
    let seconds = start.elapsed().as_secs_f64();
    chapter.timing("sample_images_per_second", SAMPLES as f64 / seconds);
    let (side, level_count) = (data.train.side(), data.train.level_count());
    chapter.show(&digits, side, level_count);
    let mut rows = ImageRow::from_levels("Samples from the model", digits.chunks(side * side), level_count).wrap(16);
    let real = ImageRow::from_levels("Digits from the training set", data.train.iter().take(SAMPLES), level_count);
    rows.extend(real.wrap(16));
    chapter.figure("samples", &image_rows(&rows, side)?)
}

fn step_by_step(chapter: &mut Chapter, data: &Dataset, model: &Denoiser, schedule: &Linear) -> Result<()> {
    let (gammas, device, dim) = (schedule.grid(LATENTS), &chapter.device, data.train.dim());
    let denoise = |z, gamma| model.denoise(z, gamma, None);
    let at = |gamma| Tensor::full([1], gamma, device);
    let noise = &mut rng(chapter.seed(), Stream::Sampling, 1);
    // z_t and x_hat of one walk down the reverse chain, from t = T to 1.
    let mut walk = Vec::new();
    let z = ancestral([1, dim], &gammas, denoise, noise, device, |_, z, x_hat| walk.push([z.clone(), x_hat.clone()]));
    walk.push([z.clone(), denoise(z, at(gammas[0]))]);

    let x = data.test.range(0, 1).values(device);
    let mut rows: [Vec<Tensor<2>>; 4] = Default::default();
    for t in (0..10).map(|i| 1 + i * (LATENTS - 1) / 9) {
        let z = diffuse(x.clone(), Tensor::full([1], gammas[t - 1], device), normal([1, dim], noise, device));
        let seen = [z.clone(), denoise(z, at(gammas[t - 1]))].into_iter().chain(walk[LATENTS - t].clone());
        rows.iter_mut().zip(seen).for_each(|(row, image)| row.push(image));
    }
    let labels = [
        "A test digit diffused: z_t from little noise (left) to all noise (right)",
        "What the network makes of each z_t above",
        "Sampling: z_t on the way from noise (right) to a digit (left)",
        "What the network expects the digit to be at each of these steps",
    ];
    let row = |(label, row)| Ok(ImageRow::from_values(label, &download(Tensor::cat(row, 0))?, dim));
    let rows = labels.into_iter().zip(rows.to_vec()).map(row).collect::<Result<Vec<_>>>()?;
    chapter.figure("step_by_step", &image_rows(&rows, data.train.side())?)
}

// ANCHOR: first_latent
/// What reading a pixel off z_1 costs, for a pixel that is uniform over its levels.
fn first_latent(chapter: &mut Chapter) {
    let cost = |levels, gamma| Number::exact(reconstruction_cost(levels, gamma) / LN_2, 4);
    let rows = [-4.0, -6.0, -8.0, -10.0, -12.0, -13.3];
    let rows = rows.map(|gamma| (format!("{gamma}"), vec![cost(17, gamma), cost(256, gamma)]));
    chapter.report.section("The first latent");
    chapter.report.table(&["gamma_min", "17 levels (bits)", "256 levels (bits)"], &rows);
}
// ANCHOR_END: first_latent

// ANCHOR: estimators
/// How much six estimators of one ELBO vary, for data on the line, where the ELBO is known.
fn estimators(chapter: &mut Chapter) -> Result<()> {
    let noise = &mut rng(chapter.seed(), Stream::Evaluation, 0);
    let mut deviation = |estimator, draws, shift, latents| -> Result<Number> {
        // DDPM's schedule; the exact reverse of N(0, 1) data, each mean moved by `shift` variances; x = 0.8.
        let estimators = Estimators::shifted(&Process::ddpm_stretched(latents)?, shift, 0.8)?;
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
        let row = [100, 300, 1000].map(|latents| deviation(estimator, draws, shift, latents));
        rows.push((name.to_string(), row.into_iter().collect::<Result<_>>()?));
    }
    chapter.report.section("How much the estimators vary");
    chapter.report.table(&["standard deviation (nats)", "T = 100", "T = 300", "T = 1000"], &rows);
    Ok(())
}
// ANCHOR_END: estimators
