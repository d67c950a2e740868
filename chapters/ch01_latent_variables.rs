//! Chapter 1: latent variables, and why p(x) is out of reach.

use std::process::ExitCode;

use elbo_to_diffusion::{
    chapter::{self, Chapter, Number, Spec},
    error::Result,
    figure::{Axis, Plot, Series, Style},
    oracle::{LinearGaussian, Rule, matrix, vector},
};

#[path = "ch01_latent_variables/baselines.rs"]
mod baselines;
#[path = "ch01_latent_variables/class_mixture.rs"]
mod class_mixture;
#[path = "ch01_latent_variables/classes.rs"]
mod classes;
#[path = "ch01_latent_variables/monte_carlo.rs"]
pub(crate) mod monte_carlo;

#[cfg(not(lab))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) const SPEC: Spec = Spec {
    name: "ch01_latent_variables",
    about: "Chapter 1: p(x) of latent-variable models, exactly where that is possible, and by chance where it is not",
    flags: &[],
};

fn main() -> ExitCode {
    chapter::main(SPEC, run)
}

pub(crate) fn run(chapter: &mut Chapter) -> Result<()> {
    let temperature = thermometers()?;
    report_routes(chapter, "Two thermometers", &temperature.routes);
    draw_chain_rule(chapter, &temperature.curve)?;
    report_routes(chapter, "Photons", &photons());

    let (data, seed) = (chapter.dataset()?, chapter.seed());
    baselines::report(chapter, &baselines::measure(&data));
    classes::report(chapter, &data, &classes::choose(&data, seed)?)?;
    monte_carlo::report(chapter, &monte_carlo::measure(seed))
}

/// log p(x) by three routes, in nats.
struct Routes {
    closed_form: f64,
    /// The logarithm of the sum or integral of p(x, z) over z.
    marginalised: f64,
    by_chain_rule: Vec<ChainRule>,
}

/// log p(x) = log p(x, z) - log p(z|x), at one z.
struct ChainRule {
    z: f64,
    log_joint: f64,
    log_posterior: f64,
}

impl ChainRule {
    fn log_prob(&self) -> f64 {
        self.log_joint - self.log_posterior
    }
}

/// What the two thermometers say.
struct Temperature {
    routes: Routes,
    /// The chain rule over a range of z.
    curve: Vec<ChainRule>,
}

// ANCHOR: thermometers
/// One temperature, two readings.
fn thermometers() -> Result<Temperature> {
    let (w, offset, noise) = (matrix(&[&[1.0], &[0.5]])?, vector(&[0.0, 0.0]), 0.25);
    let model = LinearGaussian::standard(w, offset, noise)?;
    let x = vector(&[1.2, 0.3]);
    let log_joint = |z: f64| -> Result<f64> {
        let z = vector(&[z]);
        Ok(model.prior().log_prob(&z)? + model.likelihood().given(&z)?.log_prob(&x)?)
    };

    // Marginalise: add p(x, z) over all z, here with 200 nodes from -10 to 10.
    let mut marginalised = 0.0;
    for (z, weight) in Rule::gauss_legendre(200, -10.0, 10.0).points() {
        marginalised += weight * log_joint(z)?.exp();
    }
    // The chain rule: log p(x, z) - log p(z|x), at any one z.
    let posterior = model.posterior(&x)?;
    let by_chain_rule = |z: f64| -> Result<ChainRule> {
        let log_posterior = posterior.log_prob(&vector(&[z]))?;
        Ok(ChainRule { z, log_joint: log_joint(z)?, log_posterior })
    };
    // The closed form: x is Gaussian itself, N(0, W W^T + s2 I).
    let closed_form = model.log_prob(&x)?;
    // ANCHOR_END: thermometers

    let at = |z: &[f64]| z.iter().map(|&z| by_chain_rule(z)).collect::<Result<Vec<_>>>();
    let range: Vec<f64> = (0..=80).map(|i| -1.0 + 0.045 * f64::from(i)).collect();
    let by_chain_rule = at(&[-2.0, 0.0, 0.9, 3.0])?;
    let routes = Routes { closed_form, marginalised: marginalised.ln(), by_chain_rule };
    Ok(Temperature { routes, curve: at(&range)? })
}

/// A lamp emits z photons, a detector counts x of them: the same three routes with a sum
/// for the integral.
fn photons() -> Routes {
    // ANCHOR: photons
    let (emitted, efficiency, x) = (5.0_f64, 0.4_f64, 3_u32);
    let log_factorial = |n: u32| -> f64 { (1..=n).map(|i| f64::from(i).ln()).sum() };
    let log_power = |base: f64, n: u32| f64::from(n) * base.ln();
    let log_poisson = |n: u32, mean: f64| log_power(mean, n) - mean - log_factorial(n);
    let log_joint = |z: u32| {
        let missed = z - x;
        let ways = log_factorial(z) - log_factorial(x) - log_factorial(missed);
        let caught = log_power(efficiency, x);
        let binomial = ways + caught + log_power(1.0 - efficiency, missed);
        log_poisson(z, emitted) + binomial
    };
    // From z = 103 on, the terms are below 1e-80.
    let marginalised: f64 = (x..x + 100).map(|z| log_joint(z).exp()).sum();
    // What was missed does not depend on what was seen: z - x is Poisson with mean 3.
    let log_posterior = |z: u32| log_poisson(z - x, emitted * (1.0 - efficiency));
    let closed_form = log_poisson(x, emitted * efficiency);
    // ANCHOR_END: photons

    let by_chain_rule = |z: u32| ChainRule {
        z: f64::from(z),
        log_joint: log_joint(z),
        log_posterior: log_posterior(z),
    };
    Routes {
        closed_form,
        marginalised: marginalised.ln(),
        by_chain_rule: [3, 6, 12].into_iter().map(by_chain_rule).collect(),
    }
}

fn report_routes(chapter: &mut Chapter, heading: &str, routes: &Routes) {
    let nats = |value: f64| Number::exact(value, 10);
    chapter.report.section(heading);
    chapter.report.row("log p(x), closed form", &nats(routes.closed_form), "nats");
    chapter.report.row("log p(x), marginalised", &nats(routes.marginalised), "nats");
    chapter.report.line("");
    let rows = routes.by_chain_rule.iter().map(|at| {
        let cells = [at.log_joint, at.log_posterior, at.log_prob()].map(nats);
        (format!("z = {}", at.z), cells.to_vec())
    });
    let header = ["at", "log p(x, z)", "log p(z|x)", "difference"];
    chapter.report.table(&header, &rows.collect::<Vec<_>>());
}

fn draw_chain_rule(chapter: &Chapter, curve: &[ChainRule]) -> Result<()> {
    let line = |name: &str, value: fn(&ChainRule) -> f64| {
        Series::new(name, Style::Line, curve.iter().map(|at| (at.z, value(at))))
    };
    let series = vec![
        line("log p(z|x)", |at| at.log_posterior),
        line("log p(x, z)", |at| at.log_joint),
        line("log p(x)", ChainRule::log_prob),
    ];
    let plot = Plot {
        x: Axis::linear("z, the true temperature"),
        y: Axis::linear("nats"),
        series,
    };
    chapter.figure("chain_rule", &plot.draw()?)
}
