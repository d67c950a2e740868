//! The three schedules of the chapter.

use elbo_to_diffusion::{
    error::Result,
    vdm::{Cosine, Learned, Linear, Monotone, Schedule},
};

/// The schedules that are compared, between the same end points.
pub struct Schedules {
    pub linear: Linear,
    pub cosine: Cosine,
    pub learned: Monotone,
}

impl Schedules {
    pub fn of(schedule: &Learned) -> Result<Self> {
        let (gamma_min, gamma_max) = (schedule.gamma_min, schedule.gamma_max);
        let (linear, cosine) =
            (Linear { gamma_min, gamma_max }, Cosine { gamma_min, gamma_max });
        Ok(Self { linear, cosine, learned: schedule.fixed()? })
    }

    /// Each with its name.
    pub fn named(&self) -> [(&'static str, &(dyn Schedule + Sync)); 3] {
        [("linear", &self.linear), ("cosine", &self.cosine), ("learned", &self.learned)]
    }
}
