//! The solutions of the coding exercises. Each is shown on its page, compiled here, and
//! checked by a test.

mod ch01;
mod ch02;
mod ch03;
mod ch04;
mod ch05;
mod ch06;
mod ch07;
mod ch08;
mod ch11;

// The models that chapter 2 alone uses, and their unit tests.
#[path = "../../chapters/ch02_elbo/meters.rs"]
mod meters;
#[path = "../../chapters/ch02_elbo/scalar_latent.rs"]
mod scalar_latent;
