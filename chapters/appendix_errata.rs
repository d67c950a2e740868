//! The numbers of the appendix "Errata and loose ends": what common derivations get wrong,
//! and by how much.

use std::process::ExitCode;

use elbo_to_diffusion::{
    chapter::{self, Chapter, Spec},
    error::Result,
};

#[path = "appendix_errata/consistency.rs"]
mod consistency;
#[path = "appendix_errata/steps.rs"]
mod steps;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let spec = Spec {
        name: "appendix_errata",
        about: "Appendix: compute what common derivations of diffusion models state wrongly, and what is right",
        flags: &[],
    };
    chapter::main(spec, run)
}

fn run(chapter: &mut Chapter) -> Result<()> {
    consistency::report(chapter, &consistency::measure()?)?;
    steps::report_schedules(chapter, &steps::schedules()?);
    steps::report_missing_sigma(chapter, &steps::missing_sigma()?);
    steps::report_reverse_variance(chapter, &steps::reverse_variance()?);
    Ok(())
}
