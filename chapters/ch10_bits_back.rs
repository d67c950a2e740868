//! Chapter 10: the bound as a file.

#[path = "ch10_bits_back/bars.rs"]
mod bars;
#[path = "ch10_bits_back/chain.rs"]
mod chain;
#[path = "ch10_bits_back/command.rs"]
mod command;
#[path = "ch10_bits_back/growth.rs"]
mod growth;
#[path = "ch10_bits_back/models.rs"]
mod models;
#[path = "ch10_bits_back/small.rs"]
mod small;
#[path = "ch10_bits_back/test_set.rs"]
mod test_set;
#[path = "ch10_bits_back/text.rs"]
mod text;

use std::process::ExitCode;

use burn::tensor::Device;
use elbo_to_diffusion::{
    chapter::{self, Chapter, Flag, Preset, Spec},
    error::Result,
};

use models::{Autoencoders, Vdm};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if command::asked_for() {
        return command::main();
    }
    let spec = Spec {
        name: "ch10_bits_back",
        about: "Chapter 10: turn the bounds of chapters 3 to 5 into files. `compress FILE OUT` and `decompress FILE OUT` code files of your own",
        flags: &[Flag::Full],
    };
    chapter::main(spec, run)
}

// ANCHOR: run
fn run(chapter: &mut Chapter) -> Result<()> {
    let (data, device) = (chapter.dataset()?, Device::flex());
    let vdm = Vdm::load(&data, chapter.preset(), &device)?;
    if chapter.preset() == Preset::Full {
        let coded = test_set::vdm(chapter, &data, &vdm, &device)?;
        return test_set::report(chapter, &data, &[coded]);
    }
    let models = Autoencoders::load(&data, &device)?;
    let asked = &*chapter;
    // The largest file is made on one thread, everything else on another.
    let (coded, others) = rayon::join(
        || test_set::vdm(asked, &data, &vdm, &device),
        || -> Result<_> {
            let coded = test_set::autoencoders(asked, &data, &models, &device)?;
            let small_files = growth::small(&data, &vdm, &device)?;
            let walk = chain::walk(&data, &vdm, &device)?;
            let choices = chain::choices(asked, &data, &vdm, &device)?;
            Ok((coded, small_files, walk, choices))
        },
    );
    let (mut files, small_files, walk, choices) = others?;
    let coded = coded?;
    growth::draw(chapter, &data, &coded)?;
    files.push(coded);

    let exact = small::measure(chapter.seed())?;
    small::report(chapter, &exact);
    chain::report_walk(chapter, &walk)?;
    test_set::report(chapter, &data, &files)?;
    growth::report_small(chapter, &data, &small_files);
    chain::report_choices(chapter, &data, &choices);
    Ok(())
}
// ANCHOR_END: run
