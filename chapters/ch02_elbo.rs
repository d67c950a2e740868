//! Chapter 2: the evidence lower bound.
fn main() {}
