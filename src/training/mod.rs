//! How every chapter trains, in two rooms: [`step`](Training::step) is what happens in one
//! step, AdamW or Muon along clipped gradients; [`run`](Training::run) is what a program needs
//! around it, devices, panics and losses that are read back.

mod run;
mod settings;
mod shard;
mod state;
mod step;

pub use self::{
    run::Trained,
    settings::Training,
    shard::{SHARDS, Shard, Shards},
    state::State,
};
