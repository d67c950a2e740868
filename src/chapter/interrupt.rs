//! Ctrl-C: while a network trains, the first one asks for a checkpoint; at any other time
//! it ends the program.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use crate::error::{Error, Result};

static TRAINING: AtomicBool = AtomicBool::new(false);
static REQUESTED: AtomicBool = AtomicBool::new(false);

/// While this lives, Ctrl-C is a request.
pub(super) struct WhileTraining;

/// From now on, until the answer is dropped, the first Ctrl-C is a request; a second one
/// ends the program.
pub(super) fn while_training() -> Result<WhileTraining> {
    static HANDLER: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    let handler = || {
        ctrlc::set_handler(|| {
            if !TRAINING.load(Ordering::SeqCst) || REQUESTED.swap(true, Ordering::SeqCst) {
                // 128 plus the number of the signal, as shells expect it.
                std::process::exit(130);
            }
        })
        .map_err(|e| e.to_string())
    };
    HANDLER
        .get_or_init(handler)
        .clone()
        .map_err(|e| Error::failure(format!("cannot listen to Ctrl-C: {e}")))?;
    TRAINING.store(true, Ordering::SeqCst);
    Ok(WhileTraining)
}

impl WhileTraining {
    /// True after Ctrl-C.
    pub(super) fn requested(&self) -> bool {
        REQUESTED.load(Ordering::SeqCst)
    }
}

impl Drop for WhileTraining {
    fn drop(&mut self) {
        TRAINING.store(false, Ordering::SeqCst);
    }
}
