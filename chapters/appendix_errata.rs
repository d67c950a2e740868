//! The numbers of the appendix "Errata and loose ends": what common derivations get wrong, and by how much.

use std::process::ExitCode;

use elbo_to_diffusion::{
    chapter::{self, Chapter, Number, Spec},
    error::Result,
    figure::{Axis, Plot, Series, Style},
    oracle::{DiffusionBound, Gaussian, Process, process::NoiseLevel, vector},
};

/// Where the bounds are taken.
const X: f64 = 0.8;

fn main() -> ExitCode {
    let spec = Spec {
        name: "appendix_errata",
        about: "Appendix: compute what common derivations of diffusion models state wrongly, and what is right",
        flags: &[],
    };
    chapter::main(spec, run)
}

fn run(chapter: &mut Chapter) -> Result<()> {
    consistency(chapter)?;
    figure(chapter)?;
    prior(chapter)?;
    schedules(chapter)?;
    missing_sigma(chapter)?;
    reverse_variance(chapter)
}

// ANCHOR: even
/// abar_t = 1 - t / (T + 1): the signal power falls by the same amount in each step.
fn even(latents: usize) -> Result<Process> {
    let betas: Vec<f64> = (1..=latents).map(|t| 1.0 / (latents + 2 - t) as f64).collect();
    Ok(Process::from_betas(&betas)?)
}
// ANCHOR_END: even

// ANCHOR: bound
/// The terms of both decompositions for N(0, 1) data and its exact reverse chain.
fn bound(process: &Process) -> Result<DiffusionBound> {
    let reverse = process.exact_reverse(&Gaussian::standard(1)?)?;
    Ok(DiffusionBound::new(process, &reverse, &vector(&[X]))?)
}
// ANCHOR_END: bound

/// The consistency form with KL terms beside the ELBO.
fn consistency(chapter: &mut Chapter) -> Result<()> {
    let number = |value| Number::exact(value, 4);
    chapter.report.section("The evidence");
    let evidence = Gaussian::standard(1)?.log_prob(&vector(&[X]))?;
    chapter.report.row("log p(x) of N(0, 1) at x = 0.8", &number(evidence), "nats");

    // ANCHOR: table
    let mut rows = Vec::new();
    for latents in [1, 2, 3, 5, 20, 100, 1000] {
        let bound = bound(&even(latents)?)?;
        let (elbo, printed) = (bound.consistency_elbo(), bound.printed_elbo());
        let predicted = -(1..latents).map(|k| k as f64 / (k + 2) as f64).sum::<f64>();
        rows.push((latents.to_string(), [elbo, printed, printed - elbo, predicted].map(number).to_vec()));
    }
    // ANCHOR_END: table
    chapter.report.section("The printed form, signal power falling evenly");
    chapter.report.table(&["latents T", "ELBO", "printed form", "printed - ELBO", "predicted"], &rows);

    let mut rows = Vec::new();
    for latents in [100, 300, 1000] {
        let bound = bound(&Process::ddpm_stretched(latents)?)?;
        let (elbo, printed) = (bound.consistency_elbo(), bound.printed_elbo());
        rows.push((latents.to_string(), [elbo, printed, printed - elbo].map(number).to_vec()));
    }
    chapter.report.section("The printed form, schedule of DDPM");
    chapter.report.table(&["latents T", "ELBO", "printed form", "printed - ELBO"], &rows);
    Ok(())
}

/// The error of the printed form against T.
fn figure(chapter: &mut Chapter) -> Result<()> {
    let curve = |sizes: &[usize], process: fn(usize) -> Result<Process>| {
        let error = |&t: &usize| {
            let bound = bound(&process(t)?)?;
            Ok((t as f64, bound.consistency_elbo() - bound.printed_elbo()))
        };
        sizes.iter().map(error).collect::<Result<Vec<_>>>()
    };
    let sizes = [2, 3, 5, 10, 30, 100, 300, 1000];
    let plot = Plot {
        x: Axis::log("number of latents T"),
        y: Axis::log("ELBO less printed form (nats)"),
        series: vec![
            Series::new("signal falls evenly", Style::LineAndDots, curve(&sizes, even)?),
            Series::new(
                "DDPM's schedule",
                Style::LineAndDots,
                curve(&sizes[4..], |t| Ok(Process::ddpm_stretched(t)?))?,
            ),
            Series::new("one nat per step", Style::Reference, sizes[..].iter().map(|&t| (t as f64, (t - 1) as f64))),
        ],
    };
    chapter.figure("consistency_error", &plot.draw()?)
}

/// The prior term of the two decompositions, for DDPM's thousand steps.
fn prior(chapter: &mut Chapter) -> Result<()> {
    let bound = bound(&Process::ddpm()?)?;
    let report = &mut chapter.report;
    report.section("The two prior terms, schedule of DDPM");
    for (name, nats, decimals) in [
        ("denoising form", bound.prior, 7),
        ("consistency form", bound.consistency_prior, 3),
        ("mutual information of the last two", bound.consistency_prior - bound.prior, 3),
    ] {
        report.row(name, &Number::exact(nats, decimals), "nats/dim");
    }
    Ok(())
}

/// What schedules leave of the signal at the last step.
fn schedules(chapter: &mut Chapter) -> Result<()> {
    let betas = |latents: usize, power: i32| -> Result<Process> {
        let (low, high) = (1e-4_f64.powi(power), 0.02_f64.powi(power));
        let beta = |i: usize| (low + (high - low) * i as f64 / (latents - 1) as f64).powi(power);
        Ok(Process::from_betas(&(0..latents).map(beta).collect::<Vec<_>>())?)
    };
    let mut rows = Vec::new();
    for (name, process) in [
        ("beta 0.0001 to 0.02, T = 1000", betas(1000, 1)?),
        ("beta 0.0001 to 0.02, T = 200", betas(200, 1)?),
        ("beta 0.0001 to 0.02, T = 50", betas(50, 1)?),
        ("squared for square root, T = 200", betas(200, 2)?),
        ("gamma from -8 to 5", Process::linear_gamma(-8.0, 5.0, 200)?),
    ] {
        let last = process.noise_levels().last().copied().unwrap_or(NoiseLevel::DATA);
        // KL(q(z_T|x) || N(0, 1)) for one dimension, averaged over data of variance 1.
        let prior = -0.5 * last.noise().ln();
        let cells = [(last.abar(), 5), (last.abar().sqrt(), 3), (-last.gamma, 2), (prior, 5)];
        rows.push((name.to_string(), cells.map(|(value, decimals)| Number::exact(value, decimals)).to_vec()));
    }
    chapter.report.section("What is left at the last step");
    let header = ["schedule", "signal power", "signal", "log SNR", "prior KL (nats)"];
    chapter.report.table(&header, &rows);
    Ok(())
}

/// Ancestral sampling of N(0, 1) data with the exact denoiser eps_hat = sigma_t z_t, with and without the factor sigma_t.
fn missing_sigma(chapter: &mut Chapter) -> Result<()> {
    let mut rows = Vec::new();
    for latents in [10, 100, 1000] {
        let process = Process::linear_gamma(-8.0, 5.0, latents)?;
        // ANCHOR: sigma
        let variance = |with_sigma: bool| {
            process.steps()[1..].iter().rev().fold(1.0, |variance, step| {
                let (sigma_t, c) = (step.t.noise().sqrt(), -(step.s.gamma - step.t.gamma).exp_m1());
                let factor = if with_sigma { sigma_t } else { 1.0 };
                // z_s = (z_t - factor c sigma_t z_t) / sqrt(alpha) + sqrt(c) sigma_s eps
                let keep = (1.0 - factor * c * sigma_t) / step.alpha().sqrt();
                keep * keep * variance + c * step.s.noise()
            })
        };
        // ANCHOR_END: sigma
        rows.push((latents.to_string(), [variance(true), variance(false)].map(|v| Number::exact(v, 4)).to_vec()));
    }
    chapter.report.section("Variance of z_1 when sampling, where 1 is right");
    chapter.report.table(&["latents T", "with sigma_t", "without"], &rows);
    Ok(())
}

/// The variance of the true reverse step, for data of different variance.
fn reverse_variance(chapter: &mut Chapter) -> Result<()> {
    let process = Process::from_betas(&[0.4, 0.1])?;
    chapter.report.section("Variance of the true reverse step");
    let point = process.steps()[1].posterior_variance();
    chapter.report.row("data at one point (sigma_q^2)", &Number::exact(point, 4), "");
    for (name, data) in [("data of variance 1 (beta)", 1.0), ("data of variance 4", 4.0)] {
        let reverse = process.exact_reverse(&Gaussian::scalar(0.0, data)?)?;
        let variance = reverse.steps().first().map_or(f64::NAN, |step| step.noise().covariance()[(0, 0)]);
        chapter.report.row(name, &Number::exact(variance, 4), "");
    }
    Ok(())
}
