//! Images drawn with the learned schedule.

use elbo_to_diffusion::{
    chapter::{Chapter, MEASURED},
    data::{Dataset, Images},
    error::Result,
    evaluation::on_all_threads,
    random::{Stream, rng},
    vdm::{Schedule, ancestral, decode},
};

use super::{Model, schedules::Schedules};

/// Images drawn in 200 steps of the learned schedule.
pub fn draw(
    chapter: &Chapter,
    data: &Dataset,
    model: &Model,
    schedules: &Schedules,
) -> Result<Images> {
    let gammas = schedules.learned.grid(200);
    let denoise = on_all_threads(|z, gamma| model.denoiser.denoise(z, gamma, None));
    let noise = &mut rng(chapter.seed(), Stream::MeasuredSamples, 0);
    let shape = [MEASURED, data.train.dim()];
    let z = ancestral(shape, &gammas, denoise, noise, &chapter.device, |_, _, _| {});
    let values = data.train.grey_values();
    Ok(data.test.with_pixels(decode(z, model.schedule.gamma_min, &values)?))
}
