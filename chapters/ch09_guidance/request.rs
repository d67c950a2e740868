//! Samples of one class, or with one strength of guidance, that the command line asks for.

use elbo_to_diffusion::{
    chapter::{Chapter, Number, Setting},
    data::Dataset,
    error::Result,
    figure::{ImageRow, image_rows},
};

use crate::{
    EACH,
    guide::{EVERYWHERE, Guide, Sampler},
    measure::{seen, share},
    train::{CLASSES, Networks},
};

/// Samples of the class and the strength that were asked for.
pub fn answer(
    chapter: &mut Chapter,
    data: &Dataset,
    setting: &Setting,
    networks: &Networks,
) -> Result<()> {
    let (seed, device) = (chapter.seed(), &chapter.device);
    let sampler = Sampler { networks, schedule: setting.linear(), data, seed, device };
    let w = chapter.args.guidance.unwrap_or(3.0);
    let classes = match chapter.args.label {
        Some(label) => vec![label],
        None => (0..CLASSES as u8).collect(),
    };
    let samples = sampler.draw(&classes, EACH, w, Guide::Free(EVERYWHERE))?;
    let shown = seen(&samples.images, &networks.judge, device)?;
    let (side, greys) = (data.train.side(), data.train.grey_level_count());
    chapter.show(&samples.images.iter().collect::<Vec<_>>().concat(), side, greys);
    let report = &mut chapter.report;
    report.section("Samples on request");
    report.row("strength of guidance", &Number::exact(w, 2), "");
    report.row("samples", &Number::count(samples.labels.len()), "");
    let recognised = 100.0 * share(&shown, &samples.labels);
    report.row("recognised", &Number::within(recognised, 2.0, 1), "%");
    let name = format!("w = {w}");
    let rows = ImageRow::from_grey_levels(name, samples.images.iter(), greys).wrap(25);
    chapter.figure("on_request", &image_rows(&rows, side)?)
}
