//! The parts of a batch, and where they are computed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::{
    module::Module,
    optim::GradientsParams,
    tensor::{Device, Tensor},
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::{
    data::Images,
    error::{Error, Result},
    random::{Stream, normal, rng},
};

/// Every batch is cut into this many shards, whatever the number of threads, so that the
/// sum of their gradients is the same on one thread and on several. More devices than these
/// get a shard each.
///
/// Two, for the two cores that the book's times are for; more would leave each core smaller
/// products of matrices.
pub const SHARDS: usize = 2;

/// One part of the batch of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The step, counted from 1.
    pub step: usize,
    /// Which part, 0 to `count` - 1.
    pub index: usize,
    /// How many parts the batch has, [`SHARDS`] on a single device.
    pub count: usize,
}

impl Shard {
    /// This shard's own generator.
    pub fn rng(&self, seed: u64, stream: Stream) -> ChaCha8Rng {
        rng(seed, stream, (self.step * self.count + self.index) as u64)
    }

    // ANCHOR: times
    /// `n` times in [0, 1), evenly spaced from one random offset over the whole batch, of
    /// which each shard gets one in `count`. Equation `low-discrepancy`; Kingma et al.
    /// (2021), appendix I.1.
    pub fn times(&self, n: usize, seed: u64) -> Vec<f64> {
        let offset = rng(seed, Stream::Times, self.step as u64).random::<f64>();
        let time = |i: usize| {
            ((i * self.count + self.index) as f64 + offset) / (n * self.count) as f64
        };
        (0..n).map(time).collect()
    }
    // ANCHOR_END: times

    /// `n` images, drawn with replacement, of which about the share `shifted` are moved by
    /// a pixel: [n, d].
    pub fn images(
        &self,
        images: &Images,
        n: usize,
        shifted: f64,
        seed: u64,
        device: &Device,
    ) -> Tensor<2> {
        let rng = &mut self.rng(seed, Stream::Batch);
        images.sample(n, rng).shifted(shifted, rng).values(device)
    }

    /// The same images, and noise for each, both `[n, d]`.
    pub fn images_and_noise(
        &self,
        images: &Images,
        n: usize,
        shifted: f64,
        seed: u64,
        device: &Device,
    ) -> (Tensor<2>, Tensor<2>) {
        let eps = normal([n, images.dim()], &mut self.rng(seed, Stream::Training), device);
        (self.images(images, n, shifted, seed, device), eps)
    }
}

/// Where the shards of every batch are computed.
pub struct Shards<'a> {
    /// Each shard is computed on one of these, in turn; without any, where the model is.
    devices: &'a [Device],
    count: usize,
}

impl<'a> Shards<'a> {
    /// Shards on these devices, in turn; without any, where the model is.
    pub fn on(devices: &'a [Device]) -> Self {
        Self { devices, count: devices.len().max(SHARDS) }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// `compute(model, shard)` for each shard of this step, in parallel on the CPU and on
    /// several devices: gradients and loss, brought to where the model is.
    ///
    /// A panic in it becomes a sentence.
    pub(super) fn each<M: Module + Sync>(
        &self,
        step: usize,
        model: &M,
        compute: impl Fn(&M, Shard) -> (GradientsParams, Tensor<1>) + Sync,
    ) -> Result<Vec<(GradientsParams, Tensor<1>)>> {
        let Some(home) = model.devices().first().cloned() else {
            return Err(Error::failure(
                "a model without weights cannot be trained; give it some",
            ));
        };
        let devices = if self.devices.is_empty() {
            std::slice::from_ref(&home)
        } else {
            self.devices
        };
        let shard = |index: usize| {
            let place = index % devices.len();
            let shard = Shard { step, index, count: self.count };
            let computed = catch_unwind(AssertUnwindSafe(|| {
                // A fork has a tape of its own, so that the shards do not wait for each
                // other.
                let (gradients, loss) =
                    compute(&model.clone().fork(&devices[place]), shard);
                (gradients.to_device(&home, model), loss.to_device(&home))
            }));
            computed.map_err(|panic| {
                let said = said(&*panic);
                Error::failure(if is_remote(&devices[place]) {
                    format!(
                        "device {} broke down in step {step} ({said}); give --resume the folder of this run to go on from \
                         its last checkpoint",
                        place + 1
                    )
                } else {
                    format!("step {step} of the training panicked: {said}; mend the loss or the network that it is about")
                })
            })
        };
        if self.devices.len() < 2 && !takes_many_threads(&home) {
            return (0..self.count).map(shard).collect();
        }
        (0..self.count).into_par_iter().map(shard).collect()
    }
}

/// False for a device to which a single thread should give all work of a training: where
/// several do, a loss through wgpu is off by a part in a thousand now and then, seen on
/// software Vulkan (test `a_training_repeats_itself`).
pub(super) fn takes_many_threads(device: &Device) -> bool {
    device.clone().without_autodiff() == Device::flex()
}

/// All that a panic said, in one line.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("without a word")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .trim_end_matches('.')
        .into()
}

/// True for a device that another machine lends.
#[cfg(feature = "remote")]
fn is_remote(device: &Device) -> bool {
    use burn::backend::DispatchDevice;
    matches!(device.clone().without_autodiff().as_dispatch(), DispatchDevice::Remote(_))
}

/// True for a device that another machine lends, which takes the feature `remote`.
#[cfg(not(feature = "remote"))]
fn is_remote(_: &Device) -> bool {
    false
}
