//! Estimates on a set of images: in groups on all threads, and compared in pairs.
//!
//! | module | holds |
//! |---|---|
//! | [`groups`] | how images are cut into groups and shared out to threads |
//! | [`bound`] | the bound of a diffusion model, and the difference of two |
//! | [`ode`] | the bound of the flow of a diffusion model |
//! | [`totals`] | the errors of such estimates, and their difference in pairs |
//! | [`samples`] | how far samples are from images: energy distance, nearest image, classes |

pub mod bound;
pub mod groups;
pub mod ode;
pub mod samples;
pub mod totals;

pub use self::{
    bound::Bound,
    groups::{Draws, in_groups, on_all_threads},
    ode::{OdeBound, Trace},
    totals::Difference,
};
