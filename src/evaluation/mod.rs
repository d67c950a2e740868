//! Estimates on a set of images: in groups on all threads, and compared in pairs.
//!
//! | module | holds |
//! |---|---|
//! | [`groups`] | how images are cut into groups and shared out to threads |
//! | [`bound`] | the bound of a diffusion model, and the difference of two |
//! | [`samples`] | how far samples are from images: energy distance, nearest image, classes |

pub mod bound;
pub mod groups;
pub mod samples;

pub use self::{
    bound::{Bound, Difference},
    groups::{Draws, in_groups, on_all_threads},
};
