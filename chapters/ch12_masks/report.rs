//! What the chapter prints and draws of its results.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    data::Dataset,
    error::Result,
    masks::MaskSchedule,
};

use crate::profile::Profile;

pub fn bounds(
    chapter: &mut Chapter,
    data: &Dataset,
    validation: &Profile,
    test: &Profile,
) -> Result<()> {
    let bits = |nats, tolerance, decimals| {
        Number::within(data.bits_per_dim(nats), tolerance, decimals)
    };
    chapter.report.section("The bound");
    for (name, profile) in [("validation", validation), ("test", test)] {
        chapter.report.row(
            &format!("{name} bound"),
            &bits(profile.limit(), 0.005, 3),
            "bits/dim",
        );
        chapter.report.row(
            &format!("{name}, standard error"),
            &bits(profile.noise_error, 0.0003, 4),
            "bits/dim",
        );
    }
    for steps in [1, 2, 4, 8, 16, 32, 64, 128, 256] {
        let bound = |schedule: MaskSchedule| {
            data.bits_per_dim(test.terms(&schedule.grid(steps)).iter().sum())
        };
        chapter.report.line(&format!(
            "{steps}  {:.4} {:.4}",
            bound(MaskSchedule::Linear),
            bound(MaskSchedule::Cosine)
        ));
    }
    Ok(())
}
