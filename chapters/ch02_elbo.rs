//! Chapter 2: the evidence lower bound, on models small enough to see all of it.

use std::process::ExitCode;

use elbo_to_diffusion::{
    chapter::{self, Chapter, Number, Spec},
    error::Result,
    figure::{Axis, Plot, Series, Style},
    oracle::{Gaussian, LinearGaussian, matrix, vector},
};

use self::{
    gap::{Ascent, GapMap},
    importance::Proposal,
    meters::{PowerMeter, Thermometers},
    scalar_latent::{ScalarLatent, ScalarNormal},
};

#[path = "ch02_elbo/contour.rs"]
mod contour;
#[path = "ch02_elbo/gap.rs"]
mod gap;
#[path = "ch02_elbo/importance.rs"]
mod importance;
#[path = "ch02_elbo/meters.rs"]
pub(crate) mod meters;
#[path = "ch02_elbo/scalar_latent.rs"]
pub(crate) mod scalar_latent;
#[path = "ch02_elbo/surface.rs"]
mod surface;
#[path = "ch02_elbo/surgery.rs"]
mod surgery;
#[path = "ch02_elbo/theta.rs"]
mod theta;
#[path = "ch02_elbo/two_modes.rs"]
mod two_modes;

#[cfg(not(lab))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) const SPEC: Spec = Spec {
    name: "ch02_elbo",
    about: "Chapter 2: climb the evidence lower bound, see what it leaves out, and tighten it with more draws",
    flags: &[],
};

fn main() -> ExitCode {
    chapter::main(SPEC, run)
}

pub(crate) fn run(chapter: &mut Chapter) -> Result<()> {
    // The posterior is in the family of q: the ascent closes the gap.
    report_climb(chapter, &climb()?)?;
    // The posterior has two modes, the family of q has one: the ascent ends on one of them,
    // and a gap stays.
    let meter = PowerMeter { x: 2.0, sigma: 0.5 };
    let modes = two_modes::ascend(&meter);
    two_modes::report(chapter, &meter, &modes)?;
    // More draws narrow it, from any proposal.
    let proposals = [
        Proposal { name: "prior", q: ScalarNormal::STANDARD },
        Proposal { name: "between", q: modes.between() },
        Proposal { name: "one mode", q: modes.one_mode() },
    ];
    importance::report(chapter, &importance::measure(&meter, proposals, chapter.seed()))?;
    // Theta, the noise of the meter, is learned too: the ELBO rises, and the gap and the
    // evidence do as they please.
    let readings = theta::readings(chapter.seed());
    theta::report(chapter, &theta::learn_from(&readings))?;
    surgery::report(chapter, &surgery::divide(&readings)?)
}

/// The ascent of the thermometers' ELBO.
struct Climb {
    model: Thermometers,
    steps: Vec<Step>,
    log_prob: f64,
    /// The largest |ELBO + KL - log p(x)| on the way.
    largest_error: f64,
}

/// One q on the way; in nats.
struct Step {
    q: ScalarNormal,
    elbo: f64,
    kl: f64,
}

// ANCHOR: climb
fn climb() -> Result<Climb> {
    let model = Thermometers { w: [1.0, 0.5], noise: 0.25, x: [1.2, 0.3] };
    let path = model.ascend(ScalarNormal { mean: -1.0, log_std: 0.5 }, 0.05, 60);
    // The oracle knows the evidence and the posterior; the ascent did not ask it.
    let (w, offset) = (matrix(&[&[1.0], &[0.5]])?, vector(&[0.0, 0.0]));
    let oracle = LinearGaussian::standard(w, offset, model.noise)?;
    let log_prob = oracle.log_prob(&vector(&model.x))?;
    let posterior = oracle.posterior(&vector(&model.x))?;
    let mut steps = Vec::new();
    let mut largest_error = 0.0_f64;
    for q in path {
        let elbo = model.elbo(q);
        let kl = Gaussian::scalar(q.mean, q.variance())?.kl(&posterior)?;
        largest_error = largest_error.max((elbo + kl - log_prob).abs());
        steps.push(Step { q, elbo, kl });
    }
    Ok(Climb { model, steps, log_prob, largest_error })
}
// ANCHOR_END: climb

fn report_climb(chapter: &mut Chapter, climb: &Climb) -> Result<()> {
    let report = &mut chapter.report;
    report.section("Climbing the bound");
    let rows = [0, 1, 2, 5, 10, 20, 40, 60].map(|step| {
        let Step { q, elbo, kl } = climb.steps[step];
        let place = [q.mean, q.log_std.exp()].map(|value| Number::exact(value, 4));
        let nats = [elbo, kl, elbo + kl].map(|value| Number::exact(value, 10));
        (step.to_string(), [place.as_slice(), &nats].concat())
    });
    report.table(&["step", "mean", "std", "ELBO", "KL", "ELBO + KL"], &rows);
    report.line("");
    report.row("log p(x)", &Number::exact(climb.log_prob, 10), "nats");
    report.row(
        "largest |ELBO + KL - log p(x)|",
        &Number::exact(climb.largest_error, 10),
        "nats",
    );
    chapter.metric("climb_largest_error_nats", climb.largest_error);

    let path: Vec<ScalarNormal> = climb.steps.iter().map(|step| step.q).collect();
    let map = GapMap {
        means: [-1.5, 2.5],
        log_stds: [-2.5, 0.8],
        gaps: vec![0.1, 0.3, 1.0, 3.0, 10.0],
        ascents: vec![Ascent { name: String::new(), path: &path }],
    };
    chapter.figure("surface", &map.draw(&climb.model, climb.log_prob)?)?;
    let elbo =
        (0..=30).zip(&climb.steps).skip(1).map(|(i, step)| (f64::from(i), step.elbo));
    let series = vec![
        Series::new("ELBO", Style::LineAndDots, elbo),
        Series::new(
            "log p(x)",
            Style::Reference,
            [(1.0, climb.log_prob), (30.0, climb.log_prob)],
        ),
    ];
    let plot =
        Plot { x: Axis::linear("step of the ascent"), y: Axis::linear("nats"), series };
    chapter.figure("climb", &plot.draw()?)
}
