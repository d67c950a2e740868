//! Ctrl-C: while a network trains, the first one asks for a checkpoint; at any other time
//! it ends the program.

use std::{
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use crate::error::{Error, Result};

/// What came of Ctrl-C so far.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Heard {
    /// Nothing trains.
    NotTraining,
    /// A network trains, and may go on.
    Nothing,
    /// The training was asked to stop, at this time.
    Request(Instant),
}

static HEARD: Mutex<Heard> = Mutex::new(Heard::NotTraining);

/// Programs that run others, such as `timeout`, send the same Ctrl-C twice at once.
const AT_ONCE: Duration = Duration::from_millis(500);

impl Heard {
    /// After a Ctrl-C at `now`; none if the program is to end.
    fn then(self, now: Instant) -> Option<Self> {
        match self {
            Self::NotTraining => None,
            Self::Nothing => Some(Self::Request(now)),
            Self::Request(first) => {
                (now.saturating_duration_since(first) < AT_ONCE).then_some(self)
            }
        }
    }
}

fn hear() {
    let mut heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
    match heard.then(Instant::now()) {
        Some(then) => *heard = then,
        None => {
            if *heard != Heard::NotTraining {
                eprintln!(
                    "error: interrupted again, and ended at once; `--resume` with the folder of this run goes on from its last \
                     checkpoint, if there is one"
                );
            }
            // 128 plus the number of the signal, as shells expect it.
            std::process::exit(130);
        }
    }
}

fn set(heard: Heard) {
    *HEARD.lock().unwrap_or_else(PoisonError::into_inner) = heard;
}

/// While this lives, Ctrl-C is a request.
pub(super) struct WhileTraining;

/// From now on, until the answer is dropped, the first Ctrl-C is a request; a later one
/// ends the program.
pub(super) fn while_training() -> Result<WhileTraining> {
    static HANDLER: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    HANDLER
        .get_or_init(|| ctrlc::set_handler(hear).map_err(|e| e.to_string()))
        .clone()
        .map_err(|e| Error::failure(format!("cannot listen to Ctrl-C: {e}")))?;
    let training = WhileTraining;
    // A request that came as another training ended is one to this.
    if !training.requested() {
        set(Heard::Nothing);
    }
    Ok(training)
}

impl WhileTraining {
    /// True after Ctrl-C.
    pub(super) fn requested(&self) -> bool {
        let heard = HEARD.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(*heard, Heard::Request(_))
    }
}

impl Drop for WhileTraining {
    fn drop(&mut self) {
        // A request stays, as its second Ctrl-C may still come.
        if !self.requested() {
            set(Heard::NotTraining);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_control_c_may_come_twice_and_a_later_one_ends_the_program() {
        let first = Instant::now();
        let asked = Heard::Nothing.then(first).expect("a request");
        assert_eq!(asked, Heard::Request(first));
        assert_eq!(asked.then(first), Some(asked));
        assert_eq!(asked.then(first + AT_ONCE / 2), Some(asked));
        assert_eq!(asked.then(first + AT_ONCE), None);
        assert_eq!(Heard::NotTraining.then(first), None);
    }
}
