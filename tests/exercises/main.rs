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
mod ch09;
mod ch10;
mod ch11;
mod ch12;

// The models that chapter 2 alone uses, and their unit tests.
#[path = "../../chapters/ch02_elbo/meters.rs"]
mod meters;
#[allow(dead_code, reason = "the chapter uses all of it")]
#[path = "../../chapters/ch10_bits_back/models.rs"]
mod models;
#[path = "../../chapters/ch02_elbo/scalar_latent.rs"]
mod scalar_latent;
