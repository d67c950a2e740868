//! What schedules leave at the last step, and what goes wrong in a step of the reverse
//! chain.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    error::Result,
    oracle::{Gaussian, NoiseLevel, Process},
};

/// What a schedule leaves of the signal at the last step.
pub struct Schedule {
    name: &'static str,
    last: NoiseLevel,
}

/// The variance of z_1 when sampling N(0, 1) data.
pub struct Sampled {
    latents: usize,
    with_sigma: f64,
    without: f64,
}

/// The variance of the true reverse step, for data of different variance.
pub struct ReverseVariance {
    of_a_point: f64,
    of_variance_1: f64,
    of_variance_4: f64,
}

/// Five schedules.
pub fn schedules() -> Result<Vec<Schedule>> {
    let betas = |latents: usize, power: i32| -> Result<Process> {
        let (low, high) = (1e-4_f64.powi(power), 0.02_f64.powi(power));
        let beta =
            |i: usize| (low + (high - low) * i as f64 / (latents - 1) as f64).powi(power);
        Ok(Process::from_betas(&(0..latents).map(beta).collect::<Vec<_>>())?)
    };
    let schedule = |name, process: Process| {
        let last = process.noise_levels().last().copied().unwrap_or(NoiseLevel::DATA);
        Schedule { name, last }
    };
    Ok(vec![
        schedule("beta 0.0001 to 0.02, T = 1000", betas(1000, 1)?),
        schedule("beta 0.0001 to 0.02, T = 200", betas(200, 1)?),
        schedule("beta 0.0001 to 0.02, T = 50", betas(50, 1)?),
        schedule("squared for square root, T = 200", betas(200, 2)?),
        schedule("gamma from -8 to 5", Process::linear_gamma(-8.0, 5.0, 200)?),
    ])
}

// ANCHOR: sigma
/// Ancestral sampling of N(0, 1) data with the exact denoiser eps_hat = sigma_t z_t,
/// with and without the factor sigma_t.
pub fn missing_sigma() -> Result<Vec<Sampled>> {
    let sampled = |latents: usize| {
        let process = Process::linear_gamma(-8.0, 5.0, latents)?;
        let variance = |factor: fn(f64) -> f64| {
            process.steps()[1..].iter().rev().fold(1.0, |variance, step| {
                let sigma_t = step.t.noise().sqrt();
                let c = -(step.s.gamma - step.t.gamma).exp_m1();
                // z_s = (z_t - factor c sigma_t z_t) / sqrt(alpha)
                //       + sqrt(c) sigma_s eps
                let keep = (1.0 - factor(sigma_t) * c * sigma_t) / step.alpha().sqrt();
                keep * keep * variance + c * step.s.noise()
            })
        };
        let (with_sigma, without) = (variance(|sigma_t| sigma_t), variance(|_| 1.0));
        Ok(Sampled { latents, with_sigma, without })
    };
    [10, 100, 1000].into_iter().map(sampled).collect()
}
// ANCHOR_END: sigma

/// The variance of p(z_1 | z_2) of a short chain.
pub fn reverse_variance() -> Result<ReverseVariance> {
    let process = Process::from_betas(&[0.4, 0.1])?;
    let of_data = |variance: f64| -> Result<f64> {
        let reverse = process.exact_reverse(&Gaussian::scalar(0.0, variance)?)?;
        Ok(reverse
            .steps()
            .first()
            .map_or(f64::NAN, |step| step.noise().covariance()[(0, 0)]))
    };
    Ok(ReverseVariance {
        of_a_point: process.steps()[1].posterior_variance(),
        of_variance_1: of_data(1.0)?,
        of_variance_4: of_data(4.0)?,
    })
}

/// Prints what is left.
pub fn report_schedules(chapter: &mut Chapter, schedules: &[Schedule]) {
    let row = |Schedule { name, last }: &Schedule| {
        // KL(q(z_T|x) || N(0, 1)) for one dimension, averaged over data of variance 1.
        let prior = -0.5 * last.noise().ln();
        let cells = vec![
            Number::exact(last.abar(), 5),
            Number::exact(last.abar().sqrt(), 3),
            Number::exact(-last.gamma, 2),
            Number::exact(prior, 5),
        ];
        (name.to_string(), cells)
    };
    chapter.report.section("What is left at the last step");
    let header = ["schedule", "signal power", "signal", "log SNR", "prior KL (nats)"];
    chapter.report.table(&header, &schedules.iter().map(row).collect::<Vec<_>>());
}

/// Prints the variances of samples.
pub fn report_missing_sigma(chapter: &mut Chapter, sampled: &[Sampled]) {
    chapter.report.section("Variance of z_1 when sampling, where 1 is right");
    let row = |sampled: &Sampled| {
        (sampled.latents.to_string(), [sampled.with_sigma, sampled.without])
    };
    chapter.report.exact_table(
        &["latents T", "with sigma_t", "without"],
        4,
        sampled.iter().map(row),
    );
}

/// Prints the variances of the step.
pub fn report_reverse_variance(chapter: &mut Chapter, found: &ReverseVariance) {
    let report = &mut chapter.report;
    report.section("Variance of the true reverse step");
    report.row("data at one point (sigma_q^2)", &Number::exact(found.of_a_point, 4), "");
    report.row("data of variance 1 (beta)", &Number::exact(found.of_variance_1, 4), "");
    report.row("data of variance 4", &Number::exact(found.of_variance_4, 4), "");
}
