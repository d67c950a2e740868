//! What the lab of chapter 8 uses.

#[path = "../../../../chapters/ch08_flow/line.rs"]
pub(crate) mod line;
#[path = "../../../../chapters/ch08_flow/picture.rs"]
mod picture;
