//! A training run within a chapter: its progress, its checkpoints, and Ctrl-C.

use std::{fmt::Debug, time::Duration};

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use web_time::Instant;

use super::{interrupt, program::Chapter};
use crate::{
    error::{Error, Result},
    progress,
    training::{Shard, Shards, State, Trained, Training},
};

/// Writing checkpoints may take one part in this many of the time...
const CHECKPOINT_SHARE: u32 = 50;
/// ... but they are never closer together than this.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(200);

/// A training run that is about to begin.
pub struct Stage<'a, M> {
    chapter: &'a mut Chapter,
    name: &'a str,
    training: &'a Training,
    /// The settings in words.
    settings: String,
    devices: &'a [Device],
    observe: Option<Box<Observe<'a, M>>>,
}

type Observe<'a, M> = dyn Fn(&State<M>) -> Result<Vec<f64>> + 'a;

impl Chapter {
    /// A training run with these settings: a [`Training`], or what holds one beside the
    /// size of a batch. `name` tells it from the others of the chapter. [`Stage::train`]
    /// runs it.
    pub fn stage<'a, M>(
        &'a mut self,
        name: &'a str,
        settings: &'a (impl AsRef<Training> + Debug),
    ) -> Stage<'a, M> {
        let training = settings.as_ref();
        Stage {
            chapter: self,
            name,
            training,
            settings: format!("{settings:#?}"),
            devices: &[],
            observe: None,
        }
    }
}

impl<'a, M: Module + Sync> Stage<'a, M> {
    /// Computes the shards of each batch on these devices; see [`Training::run`].
    pub fn on(self, devices: &'a [Device]) -> Self {
        Self { devices, ..self }
    }

    /// After each step, adds the numbers of `observe(state)` to those that come back in
    /// [`Trained::observed`]. A resumed run does not lose what was observed before.
    pub fn observing(self, observe: impl Fn(&State<M>) -> Result<Vec<f64>> + 'a) -> Self {
        Self { observe: Some(Box::new(observe)), ..self }
    }

    /// Trains the model, showing its progress, and with checkpoints from which `--resume`
    /// goes on. Ctrl-C writes one more and ends the program with a sentence.
    pub fn train(
        self,
        model: &M,
        loss: impl Fn(&M, Shard) -> Tensor<1> + Sync,
    ) -> Result<Trained<M>> {
        let Self { chapter, name, training, settings, devices, observe } = self;
        let file: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        // Another number of shards would draw other noise.
        let settings = format!("shards: {}\n{settings}", Shards::on(devices).count());
        // A page has no files; that its code never gets there makes the module smaller.
        let files = !cfg!(target_family = "wasm");
        let checkpoints = chapter.checkpoints.as_ref().filter(|_| files);
        let saved = match checkpoints {
            Some(checkpoints) if chapter.args.resume.is_some() => {
                checkpoints.latest(&file, &settings, |line| chapter.outlet.say(line))?
            }
            _ => None,
        };
        let fresh = training.begin(model);
        let state = match saved {
            Some(parts) => fresh.restore(&parts)?,
            None => fresh,
        };
        let folder = chapter.run_folder().display();
        let interrupted = |step: usize| {
            Error::Interrupted(format!(
                "interrupted in step {step} of {name}; the same command with `--resume {folder}` goes on from here"
            ))
        };
        let progress = progress::open(name);
        let (mut written, mut interval) = (Instant::now(), CHECKPOINT_INTERVAL);
        let interrupt = interrupt::while_training()?;
        let trained = training.run(state, devices, loss, |state| {
            if let Some(progress) = &progress {
                progress.hear(state.step, training.steps);
                if let Some(loss) = state.losses.last() {
                    progress.note(&format!("loss {loss:.3}"));
                }
            }
            if let Some(observe) = &observe {
                let seen = observe(state)?;
                state.observed.extend(seen);
            }
            let (last, stop) = (state.step == training.steps, interrupt.requested());
            if let Some(checkpoints) = checkpoints
                && (stop || last || written.elapsed() >= interval)
            {
                written = Instant::now();
                let parts = state.save()?;
                let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                checkpoints.write(&file, &settings, state.step, &parts)?;
                interval = CHECKPOINT_INTERVAL.max(written.elapsed() * CHECKPOINT_SHARE);
            }
            if stop { Err(interrupted(state.step)) } else { Ok(()) }
        })?;
        drop(progress);
        // The checkpoint of the last step is written; what comes now would not listen.
        if interrupt.requested() {
            return Err(interrupted(training.steps));
        }
        drop(interrupt);
        // A stage that a resumed run finds done has no speed.
        if trained.steps_per_second > 0.0 {
            chapter.timing("train_steps_per_second", trained.steps_per_second);
        }
        Ok(trained)
    }
}
