//! Two dependent pixels, where everything can be enumerated.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    error::Result,
    masks::MaskSchedule,
    oracle::PixelTable,
};

/// Two pixels, black or white, that mostly agree.
const TABLE: [f64; 4] = [0.5, 0.1, 0.1, 0.3];

pub fn report(chapter: &mut Chapter) -> Result<()> {
    let pair = PixelTable::new(2, 2, &TABLE)?;
    let model = pair.ideal();
    let mut rows = Vec::new();
    for steps in [1, 2, 3, 4, 8] {
        let bound = |schedule: MaskSchedule| {
            pair.mean(|x| model.path_bound(x, &schedule.grid(steps)))
        };
        let drawn = model.sampled(&MaskSchedule::Linear.grid(steps))?;
        let drawn: f64 = pair.images().zip(drawn).map(|((_, p), q)| -p * q.ln()).sum();
        let numbers = [bound(MaskSchedule::Linear)?, bound(MaskSchedule::Cosine)?, drawn];
        rows.push((steps.to_string(), numbers.map(|x| Number::exact(x, 3)).to_vec()));
    }
    chapter.report.section("Two pixels");
    chapter
        .report
        .table(&["steps T", "bound, linear", "bound, cosine", "-log p, linear"], &rows);
    chapter.report.row(
        "entropy, the limit of many steps",
        &Number::exact(pair.entropy(), 3),
        "nats",
    );
    Ok(())
}
