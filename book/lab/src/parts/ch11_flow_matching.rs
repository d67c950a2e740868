//! What the lab of chapter 11 uses.

#[path = "../../../../chapters/ch11_flow_matching/blobs.rs"]
pub(crate) mod blobs;
#[path = "../../../../chapters/ch11_flow_matching/pairs.rs"]
pub(crate) mod pairs;
#[path = "../../../../chapters/ch11_flow_matching/plane.rs"]
pub(crate) mod plane;
