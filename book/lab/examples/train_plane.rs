//! Trains the three models of the lab in which a reader draws a digit, and writes their
//! weights: `cargo run -p book-lab --example train_plane -- chapters/weights/ch03_plane.safetensors`.

use std::{env, path::Path};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = env::args_os().nth(1).ok_or("name the file to write")?;
    book_lab::labs::train_planes(Path::new(&file))?;
    Ok(())
}
