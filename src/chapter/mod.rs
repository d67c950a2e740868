//! What every chapter program shares: arguments, device, report, figures, metrics.

mod args;
mod device;
#[cfg_attr(target_family = "wasm", path = "interrupt_page.rs")]
mod interrupt;
mod outlet;
mod program;
#[cfg(not(target_family = "wasm"))]
mod progress;
mod report;
mod samples;
mod setting;
mod stage;
mod terminal;

pub use crate::files::write_atomically;

pub use self::{
    args::{Args, DataChoice, DeviceChoice, Flag, Preset},
    device::select as select_device,
    outlet::Outlet,
    program::{Chapter, Spec, main},
    report::{Number, Report},
    samples::{MEASURED, report_samples},
    setting::Setting,
    stage::Stage,
};
