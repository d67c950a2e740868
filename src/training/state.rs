//! The state of a run between two steps.

use burn::{
    module::Module,
    store::{ModuleRecord, RecordError},
    tensor::{Bytes, Tensor},
};

use super::settings::Training;
use crate::{
    error::{Error, Result},
    host::download,
    optimizer::Optimizer,
};

/// Everything that a run needs to go on: what a checkpoint holds.
pub struct State<M> {
    /// Steps done so far.
    pub step: usize,
    /// The loss of each step that was read back from the device.
    pub losses: Vec<f64>,
    /// Numbers that the caller adds on the way, in its own order. A run that goes on from a
    /// checkpoint finds them again.
    pub observed: Vec<f64>,
    pub(super) model: M,
    pub(super) optimizer: Optimizer,
    /// Losses that are still on the device.
    pub(super) unread: Vec<Tensor<1>>,
}

impl Training {
    /// The state before the first step.
    pub fn begin<M: Module>(&self, model: &M) -> State<M> {
        State {
            step: 0,
            losses: Vec::with_capacity(self.steps),
            observed: Vec::new(),
            model: model.clone().train(),
            optimizer: Optimizer::default(),
            unread: Vec::new(),
        }
    }
}

impl<M: Module> State<M> {
    /// The model with the average of the weights, without a tape.
    pub fn average(&self) -> M {
        self.optimizer.average(&self.model)
    }

    /// The parts of a checkpoint.
    pub fn save(&mut self) -> Result<Vec<Vec<u8>>> {
        self.read_losses()?;
        let cannot = |e: RecordError| {
            Error::failure(format!("cannot write down the state of training: {e}"))
        };
        let bytes = |module: M| {
            module.into_record().into_bytes().map(|bytes| bytes.to_vec()).map_err(cannot)
        };
        let [first, second] = self.optimizer.moments(&self.model);
        Ok(vec![
            bytes(self.model.clone())?,
            bytes(self.average())?,
            bytes(first)?,
            bytes(second)?,
            to_bytes(&self.losses),
            to_bytes(&self.observed),
        ])
    }

    /// The state in the place of a fresh one, from the parts of a checkpoint of the same
    /// network.
    pub fn restore(self, parts: &[Vec<u8>]) -> Result<Self> {
        let cannot = || {
            Error::failure(
                "the checkpoint does not fit this network; remove the folder of checkpoints and start the run anew without \
                 --resume",
            )
        };
        let [model, average, first, second, losses, observed] = parts else {
            return Err(cannot());
        };
        let read = |module: M, bytes: &[u8]| {
            let record = ModuleRecord::from_bytes(Bytes::from_bytes_vec(bytes.to_vec()))
                .map_err(|_| cannot())?;
            module.try_load_record(record).map_err(|_| cannot())
        };
        let untaped = |bytes: &[u8]| read(self.model.valid(), bytes);
        let optimizer =
            Optimizer::restored(&untaped(average)?, [&untaped(first)?, &untaped(second)?]);
        let (losses, observed) = (from_bytes(losses), from_bytes(observed));
        let model = read(self.model, model)?;
        Ok(Self {
            step: losses.len(),
            losses,
            observed,
            model,
            optimizer,
            unread: Vec::new(),
        })
    }

    /// Reads the losses that are still on the device. Fails with a sentence if one is no
    /// finite number.
    pub fn read_losses(&mut self) -> Result<()> {
        if self.unread.is_empty() {
            return Ok(());
        }
        for value in download(Tensor::cat(std::mem::take(&mut self.unread), 0))? {
            self.losses.push(value);
            if !value.is_finite() {
                let step = self.losses.len();
                return Err(Error::failure(format!(
                    "the loss became {value} at step {step}; try another --seed"
                )));
            }
        }
        Ok(())
    }
}

fn to_bytes(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn from_bytes(bytes: &[u8]) -> Vec<f64> {
    bytes
        .chunks_exact(8)
        .filter_map(|b| b.try_into().ok())
        .map(f64::from_le_bytes)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_from_their_bytes() {
        let numbers = [0.0, -1.5, f64::MAX, 1e-300];
        assert_eq!(to_bytes(&numbers).len(), 32);
        assert_eq!(from_bytes(&to_bytes(&numbers)), numbers);
    }
}
