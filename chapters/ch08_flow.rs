//! Chapter 8: diffusion as a flow, with a likelihood of its own and better samplers.

#[path = "ch08_flow/bound.rs"]
mod bound;
#[path = "ch08_flow/latents.rs"]
mod latents;
#[path = "ch08_flow/line.rs"]
mod line;
#[path = "ch08_flow/model.rs"]
mod model;
#[path = "ch08_flow/orders.rs"]
mod orders;
#[path = "ch08_flow/picture.rs"]
mod picture;
#[path = "ch08_flow/quality.rs"]
mod quality;
#[path = "ch08_flow/samples.rs"]
mod samples;

use std::process::ExitCode;

use elbo_to_diffusion::{
    chapter::{self, Chapter, Flag, Preset, Spec},
    error::Result,
};

use model::Model;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let spec = Spec {
        name: "ch08_flow",
        about: "Chapter 8: follow the flow of a diffusion model, for its likelihood and for samples",
        flags: &[Flag::Device, Flag::Full, Flag::Load],
    };
    chapter::main(spec, run)
}

fn run(chapter: &mut Chapter) -> Result<()> {
    let data = chapter.labelled_dataset()?;
    let model = Model::load(chapter, &data)?;
    // What takes minutes: all samplers, with errors small enough to compare them.
    if chapter.preset() == Preset::Full {
        quality::spacings(chapter, &data, &model)?;
        let rows = quality::measure(chapter, &data, &model)?;
        return quality::report(chapter, &data, &rows);
    }
    let line = line::line()?;
    line::marginals(chapter, &line)?;
    line::likelihood(chapter, &line)?;
    orders::orders(chapter, &line)?;
    let bounds = bound::bounds(chapter, &data, &model)?;
    bound::report(chapter, &data, &bounds)?;
    samples::pictures(chapter, &data, &model)?;
    quality::draw_recorded(chapter)?;
    latents::round_trip(chapter, &data, &model)?;
    latents::interpolation(chapter, &data, &model)
}
