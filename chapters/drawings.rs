//! The drawings of chapters 1 to 7: models as graphs, and what their derivations compare,
//! computed where it can be computed.

use std::process::ExitCode;

use elbo_to_diffusion::{
    chapter::{self, Chapter, Spec},
    error::Result,
};

#[path = "drawings/bounds.rs"]
mod bounds;
#[path = "drawings/chain.rs"]
mod chain;
#[path = "drawings/models.rs"]
mod models;
#[path = "drawings/pairs.rs"]
mod pairs;
#[path = "drawings/posterior.rs"]
mod posterior;
#[path = "drawings/rectangles.rs"]
mod rectangles;
#[path = "drawings/targets.rs"]
mod targets;
#[path = "drawings/vae.rs"]
mod vae;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let spec = Spec {
        name: "drawings",
        about: "Draw the diagrams of chapters 1 to 7, and compute what is drawn to scale",
        flags: &[],
    };
    chapter::main(spec, run)
}

fn run(chapter: &mut Chapter) -> Result<()> {
    chapter.figure("model", &models::latent_variable())?;
    bounds::three_states(chapter)?;
    bounds::two_directions(chapter)?;
    chapter.figure("vae", &vae::flow())?;
    chapter.figure("reparameterization", &vae::reparameterization())?;
    chapter.figure("hierarchies", &models::hierarchies())?;
    chapter.figure("chain", &chain::forward_and_reverse())?;
    chapter.figure("pairings", &chain::pairings())?;
    pairs::drawn_apart(chapter)?;
    posterior::two_bells(chapter)?;
    chapter.figure("ends", &posterior::two_ends())?;
    rectangles::areas(chapter)?;
    chapter.figure("circle", &targets::circle())?;
    chapter.figure("skip_and_scale", &targets::skip_and_scale())
}
