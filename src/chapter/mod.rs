//! What every chapter program shares: arguments, device, report, figures, metrics.

mod args;
mod device;
mod interrupt;
mod program;
mod progress;
mod report;
mod setting;
mod stage;
mod terminal;

pub use crate::files::write_atomically;

pub use self::{
    args::{Args, DataChoice, DeviceChoice, Flag, Preset},
    device::select as select_device,
    program::{Chapter, Spec, main},
    report::{Number, Report},
    setting::Setting,
    stage::Stage,
};
