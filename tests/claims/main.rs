//! One test per claim of the pages: `{{claim some-name}}` behind a sentence names `fn
//! some_name` here.
//!
//! A claim is a statement of fact that is neither a numbered equation (those are in
//! tests/equations) nor a relation between printed numbers (those the build of the book
//! evaluates). Each test compares two sides that are computed independently; its comment
//! says what is compared with what, and a constant states how closely.

mod appendices;
mod ch01;
mod ch02;
mod ch03;
mod ch04;
mod ch05;
mod ch06;
mod ch07;
mod ch08;
mod ch09;
mod ch10;
mod ch11;
mod ch12;
mod recorded;

#[allow(dead_code, reason = "shared with the tests of equations, which use all of it")]
#[path = "../equations/support.rs"]
mod support;

// What one chapter alone uses, and its unit tests.
#[allow(dead_code, reason = "the chapter uses all of it")]
#[path = "../../chapters/ch01_latent_variables/class_mixture.rs"]
mod class_mixture;
#[path = "../../src/codec/damage.rs"]
mod damage;
#[allow(dead_code, reason = "the chapter uses all of it")]
#[path = "../../chapters/ch12_masks/estimators.rs"]
mod estimators;
#[path = "../../chapters/ch02_elbo/meters.rs"]
mod meters;
#[allow(dead_code, reason = "the chapter uses all of it")]
#[path = "../../chapters/ch10_bits_back/models.rs"]
mod models;
#[allow(dead_code, reason = "the chapter uses all of it")]
#[path = "../../chapters/ch12_masks/pixels.rs"]
mod pixels;
#[path = "../../chapters/ch02_elbo/scalar_latent.rs"]
mod scalar_latent;
#[allow(dead_code, reason = "the chapter uses all of it")]
#[path = "../../chapters/ch10_bits_back/text.rs"]
mod text;
