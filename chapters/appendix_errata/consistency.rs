//! The consistency form with KL terms, as it is often printed, beside the ELBO.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    error::Result,
    figure::{Axis, Plot, Series, Style},
    oracle::{DiffusionBound, Gaussian, Process, vector},
};

/// Where the bounds are taken.
const X: f64 = 0.8;

/// The two forms, in nats.
pub struct Consistency {
    /// log p(x) of N(0, 1) at [`X`].
    evidence: f64,
    falling_evenly: Vec<Forms>,
    ddpm: Vec<Forms>,
    figure: Vec<Series>,
    /// The bound of DDPM's thousand steps.
    thousand: DiffusionBound,
}

/// Both forms for one number of latents.
struct Forms {
    latents: usize,
    elbo: f64,
    printed: f64,
    /// What printed - ELBO should be where the signal power falls evenly.
    predicted: f64,
}

// ANCHOR: even
/// abar_t = 1 - t / (T + 1): the signal power falls by the same amount in each step.
fn even(latents: usize) -> Result<Process> {
    let beta = |t: usize| 1.0 / (latents + 2 - t) as f64;
    let betas: Vec<f64> = (1..=latents).map(beta).collect();
    Ok(Process::from_betas(&betas)?)
}
// ANCHOR_END: even

/// DDPM's schedule over another number of steps.
fn ddpm(latents: usize) -> Result<Process> {
    Ok(Process::ddpm_stretched(latents)?)
}

// ANCHOR: bound
/// The terms of both decompositions for N(0, 1) data and its exact reverse chain.
fn bound(process: &Process) -> Result<DiffusionBound> {
    let reverse = process.exact_reverse(&Gaussian::standard(1)?)?;
    Ok(DiffusionBound::new(process, &reverse, &vector(&[X]))?)
}
// ANCHOR_END: bound

// ANCHOR: table
/// The ELBO and the printed form of this process, for each of these numbers of latents.
fn forms(process: fn(usize) -> Result<Process>, sizes: &[usize]) -> Result<Vec<Forms>> {
    let forms = |&latents: &usize| {
        let bound = bound(&process(latents)?)?;
        let (elbo, printed) = (bound.consistency_elbo(), bound.printed_elbo());
        let predicted = -(1..latents).map(|k| k as f64 / (k + 2) as f64).sum::<f64>();
        Ok(Forms { latents, elbo, printed, predicted })
    };
    sizes.iter().map(forms).collect()
}
// ANCHOR_END: table

/// Computes both forms.
pub fn measure() -> Result<Consistency> {
    let error = |name: &str, forms: Vec<Forms>| {
        let points =
            forms.iter().map(|forms| (forms.latents as f64, forms.elbo - forms.printed));
        Series::new(name, Style::LineAndDots, points)
    };
    let sizes = [2, 3, 5, 10, 30, 100, 300, 1000];
    let figure = vec![
        error("signal falls evenly", forms(even, &sizes)?),
        error("DDPM's schedule", forms(ddpm, &sizes[4..])?),
        Series::new(
            "one nat per step",
            Style::Reference,
            sizes.iter().map(|&t| (t as f64, (t - 1) as f64)),
        ),
    ];
    Ok(Consistency {
        evidence: Gaussian::standard(1)?.log_prob(&vector(&[X]))?,
        falling_evenly: forms(even, &[1, 2, 3, 5, 20, 100, 1000])?,
        ddpm: forms(ddpm, &[100, 300, 1000])?,
        figure,
        thousand: bound(&Process::ddpm()?)?,
    })
}

/// Prints and draws them.
pub fn report(chapter: &mut Chapter, found: &Consistency) -> Result<()> {
    let report = &mut chapter.report;
    report.section("The evidence");
    report.row("log p(x) of N(0, 1) at x = 0.8", &Number::exact(found.evidence, 4), "nats");
    report.section("The printed form, signal power falling evenly");
    let row = |forms: &Forms| {
        let Forms { latents, elbo, printed, predicted } = *forms;
        (latents.to_string(), [elbo, printed, printed - elbo, predicted])
    };
    let header = ["latents T", "ELBO", "printed form", "printed - ELBO", "predicted"];
    report.exact_table(&header, 4, found.falling_evenly.iter().map(row));
    report.section("The printed form, schedule of DDPM");
    let row = |forms: &Forms| {
        (forms.latents.to_string(), [forms.elbo, forms.printed, forms.printed - forms.elbo])
    };
    report.exact_table(&header[..4], 4, found.ddpm.iter().map(row));

    report.section("The two prior terms, schedule of DDPM");
    let (denoising, consistency) = (found.thousand.prior, found.thousand.consistency_prior);
    report.row("denoising form", &Number::exact(denoising, 7), "nats/dim");
    report.row("consistency form", &Number::exact(consistency, 3), "nats/dim");
    report.row(
        "mutual information of the last two",
        &Number::exact(consistency - denoising, 3),
        "nats/dim",
    );

    let (x, y) =
        (Axis::log("number of latents T"), Axis::log("ELBO less printed form (nats)"));
    chapter
        .figure("consistency_error", &Plot { x, y, series: found.figure.clone() }.draw()?)
}
