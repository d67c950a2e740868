//! One test per numbered equation of the book, named after the equation's label.
//!
//! Each test reads the formula from its page ([`tex`]) or writes it as the page prints it,
//! and compares it with an answer found another way: the covariance of a joint Gaussian,
//! quadrature, enumeration, finite differences, or Monte Carlo with a standard error.
//! `Kind:` says which; `TOLERANCE` and `STANDARD_ERRORS` are what the comparison uses. A
//! test of kind `negative` shows that a tempting equation does not hold.

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
mod errata;
mod support;
mod tex;

// What the chapter alone uses.
#[path = "../../chapters/ch12_masks/gumbel.rs"]
mod gumbel;
