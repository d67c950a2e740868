//! The kernels of the library, the very files in `src/kernels`, as a crate of their own for
//! a page.
//!
//! What is sent to readers is compiled for size, and only where a network spends its time
//! for speed. Cargo chooses between the two for a whole crate.

#![cfg(target_family = "wasm")]
// Some kernels name devices that a page has not.
#![allow(unexpected_cfgs)]

// A page has one thread.
extern crate book_lab_rayon as rayon;

#[path = "../../../src"]
mod library {
    pub mod kernels;
}

pub use self::library::kernels::*;
