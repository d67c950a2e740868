//! The unit tests of what one chapter alone uses. They stand in its files, and `cargo test`
//! runs none of an example's.

#[allow(dead_code, reason = "the chapter uses all of it")]
#[path = "../chapters/ch11_flow_matching/blobs.rs"]
mod blobs;
#[allow(dead_code, reason = "the chapter uses all of it")]
#[path = "../chapters/ch09_guidance/bounds.rs"]
mod bounds;
#[path = "../chapters/ch11_flow_matching/tests.rs"]
mod ch11_tests;
#[path = "../chapters/ch01_latent_variables/class_mixture.rs"]
mod class_mixture;
#[allow(dead_code, reason = "the chapter uses all of it")]
#[path = "../chapters/ch09_guidance/classifier.rs"]
mod classifier;
#[path = "../chapters/ch02_elbo/contour.rs"]
mod contour;
#[allow(dead_code, reason = "the chapter uses all of it")]
#[path = "../chapters/ch09_guidance/guide.rs"]
mod guide;
#[allow(dead_code, reason = "the chapter uses all of it")]
#[path = "../chapters/ch09_guidance/line.rs"]
mod guided_line;
#[allow(dead_code, reason = "the chapter uses all of it")]
#[path = "../chapters/ch11_flow_matching/line.rs"]
mod line;
#[path = "../chapters/ch03_vae/linear_vae.rs"]
mod linear_vae;
#[allow(dead_code, reason = "the chapter uses all of it")]
#[path = "../chapters/ch09_guidance/measure.rs"]
mod measure;
#[allow(dead_code, reason = "the chapter uses all of it")]
#[path = "../chapters/ch11_flow_matching/pairs.rs"]
mod pairs;
#[path = "../chapters/ch12_masks/pixels.rs"]
mod pixels;
#[allow(dead_code, reason = "the chapter uses all of it")]
#[path = "../chapters/ch11_flow_matching/plane.rs"]
mod plane;
#[allow(dead_code, reason = "the chapter uses all of it")]
#[path = "../chapters/ch12_masks/profile.rs"]
mod profile;
#[path = "../chapters/ch02_elbo/surface.rs"]
mod surface;
#[allow(dead_code, reason = "the chapter uses all of it")]
#[path = "../chapters/ch09_guidance/train.rs"]
mod train;
