//! The labs of the book's pages: the library and the programs of the chapters, for a page.
//!
//! A lab is asked in JSON and answers in JSON ([`Labs::answer`]); what the page says of an
//! answer is part of it, so that JavaScript only draws and listens. Every number comes from
//! a function of the library or of a chapter.
//!
//! | module | holds |
//! |---|---|
//! | [`programs`] | "Run this chapter": the chapters' programs, and the book's reports |
//! | [`labs`] | a lab for each idea |
//! | `page` | what JavaScript calls, on WebAssembly only |

// Two chapters share a file.
#![allow(clippy::duplicate_mod)]

// A page has one thread.
#[cfg(target_family = "wasm")]
extern crate book_lab_rayon as rayon;

#[path = "../../../tests/chapters/agreement.rs"]
#[allow(dead_code)]
mod agreement;
mod chapters;
pub mod labs;
#[cfg(target_family = "wasm")]
mod page;
pub mod programs;

pub use labs::Labs;
