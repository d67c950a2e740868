//! The solutions of the coding exercises. Each is shown on its page, compiled here, and checked by a test.

mod ch01;
mod ch02;
mod ch03;
mod ch04;
mod ch05;
mod ch06;
mod ch07;
