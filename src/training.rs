//! One training loop for every chapter: AdamW, a learning-rate curve, clipping, and an average of the weights.

use std::{
    f64::consts::PI,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    store::{ModuleRecord, RecordError},
    tensor::{Bytes, Device, Tensor},
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::{
    data::Images,
    error::{Error, Result},
    host::download,
    optimizer::{Optimizer, StepSettings},
    random::{Stream, normal, rng},
};

/// The settings of a training run.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// Number of gradient steps.
    pub steps: usize,
    /// Highest learning rate, reached after the warm-up.
    pub learning_rate: f64,
    /// Steps over which the learning rate rises from zero.
    pub warmup: usize,
    /// AdamW's weight decay; Loshchilov and Hutter (2019).
    pub weight_decay: f64,
    /// Largest norm of the gradient of all weights together.
    pub clip_norm: f64,
    /// Decay of the exponential moving average (EMA) of the weights, approached from below in the first steps.
    pub ema_decay: f64,
}

/// What a training run returns.
pub struct Trained<M> {
    /// The exponential moving average of the weights, without a tape. This is the model to evaluate.
    pub model: M,
    /// The loss of each step.
    pub losses: Vec<f64>,
    /// What the caller observed on the way.
    pub observed: Vec<f64>,
    /// Steps per second over the whole run.
    pub steps_per_second: f64,
}

/// Every batch is cut into this many shards, whatever the number of threads, so that the sum of their gradients is the
/// same on one thread and on several. More devices than these get a shard each.
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
    /// `n` times in [0, 1), evenly spaced from one random offset over the whole batch, of which each shard gets one in
    /// `count`. Equation `low-discrepancy`; Kingma et al. (2021), appendix I.1.
    pub fn times(&self, n: usize, seed: u64) -> Vec<f64> {
        let offset = rng(seed, Stream::Times, self.step as u64).random::<f64>();
        (0..n).map(|i| ((i * self.count + self.index) as f64 + offset) / (n * self.count) as f64).collect()
    }
    // ANCHOR_END: times

    /// `n` images, drawn with replacement, of which about the share `shifted` are moved by a pixel: [n, d].
    pub fn images(&self, images: &Images, n: usize, shifted: f64, seed: u64, device: &Device) -> Tensor<2> {
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

/// Everything that a run needs to go on: what a checkpoint holds.
pub struct State<M> {
    /// Steps done so far.
    pub step: usize,
    /// The loss of each step that was read back from the device.
    pub losses: Vec<f64>,
    /// Numbers that the caller adds on the way, in its own order. A run that goes on from a checkpoint finds them again.
    pub observed: Vec<f64>,
    model: M,
    optimizer: Optimizer,
    /// Losses that are still on the device.
    unread: Vec<Tensor<1>>,
}

impl<M: Module> State<M> {
    /// The model with the average of the weights, without a tape.
    pub fn average(&self) -> M {
        self.optimizer.average(&self.model)
    }

    /// The parts of a checkpoint.
    pub fn save(&mut self) -> Result<Vec<Vec<u8>>> {
        self.read_losses()?;
        let cannot = |e: RecordError| Error::failure(format!("cannot write down the state of training: {e}"));
        let bytes = |module: M| module.into_record().into_bytes().map(|bytes| bytes.to_vec()).map_err(cannot);
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

    /// The state in the place of a fresh one, from the parts of a checkpoint of the same network.
    pub fn restore(self, parts: &[Vec<u8>]) -> Result<Self> {
        let cannot = || Error::failure("the checkpoint does not fit this network; start the run anew without --resume");
        let [model, average, first, second, losses, observed] = parts else { return Err(cannot()) };
        let read = |module: M, bytes: &[u8]| {
            let record = ModuleRecord::from_bytes(Bytes::from_bytes_vec(bytes.to_vec())).map_err(|_| cannot())?;
            module.try_load_record(record).map_err(|_| cannot())
        };
        let untaped = |bytes: &[u8]| read(self.model.valid(), bytes);
        let optimizer = Optimizer::restored(&untaped(average)?, [&untaped(first)?, &untaped(second)?]);
        let (losses, observed) = (from_bytes(losses), from_bytes(observed));
        let model = read(self.model, model)?;
        Ok(Self { step: losses.len(), losses, observed, model, optimizer, unread: Vec::new() })
    }

    /// Reads the losses that are still on the device. Fails with a sentence if one is no finite number.
    fn read_losses(&mut self) -> Result<()> {
        if self.unread.is_empty() {
            return Ok(());
        }
        for value in download(Tensor::cat(std::mem::take(&mut self.unread), 0))? {
            self.losses.push(value);
            if !value.is_finite() {
                let step = self.losses.len();
                return Err(Error::failure(format!("the loss became {value} at step {step}; try another --seed")));
            }
        }
        Ok(())
    }
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

    /// The settings of the diffusion chapters, for this number of steps.
    pub fn new(steps: usize) -> Self {
        Self {
            steps,
            learning_rate: 2e-3,
            warmup: steps * 15 / 100,
            weight_decay: 0.01,
            clip_norm: 1.0,
            ema_decay: 0.999,
        }
    }

    // ANCHOR: train
    /// Minimises the mean over shards of `loss(model, shard)`, a scalar, from this state on. `after(state)` is called after
    /// each step.
    ///
    /// Each shard is computed on one of the `devices`, in turn; without any, on the one where the model is. The optimizer
    /// works where the model is.
    ///
    /// Fails with a sentence when the loss is no longer a finite number, when a device breaks down, or as `after` says.
    pub fn run<M: Module + Sync>(
        &self,
        mut state: State<M>,
        devices: &[Device],
        loss: impl Fn(&M, Shard) -> Tensor<1> + Sync,
        mut after: impl FnMut(&mut State<M>) -> Result<()>,
    ) -> Result<Trained<M>> {
        let Some(home) = state.model.devices().first().cloned() else {
            return Err(Error::failure("a model without weights cannot be trained"));
        };
        let devices = if devices.is_empty() { std::slice::from_ref(&home) } else { devices };
        let count = devices.len().max(SHARDS);
        let (first, start) = (state.step, Instant::now());
        while state.step < self.steps {
            let step = state.step + 1;
            let model = &state.model;
            let shards = (0..count).into_par_iter().map(|index| {
                guarded(step, index % devices.len(), |place| {
                    // A fork has a tape of its own, so that the shards do not wait for each other.
                    let copy = model.clone().fork(&devices[place]);
                    let value = loss(&copy, Shard { step, index, count });
                    let gradients = GradientsParams::from_grads(value.backward(), &copy);
                    (gradients.to_device(&home, model), value.inner().to_device(&home))
                })
            });
            let (shards, values): (Vec<_>, Vec<_>) = shards.collect::<Result<Vec<_>>>()?.into_iter().unzip();
            let gradients = sum(shards, model);
            let Some(factor) = clip(&gradients, model, self.clip_norm, count) else {
                return Err(Error::failure("the loss depends on no weight, so nothing can be trained"));
            };
            let settings = StepSettings {
                step,
                learning_rate: self.learning_rate_at(step),
                weight_decay: self.weight_decay,
                average_decay: self.ema_decay.min((1 + step) as f64 / (10 + step) as f64),
            };
            state.model = state.optimizer.step(state.model, gradients, factor, settings);
            state.step = step;

            // Reading a value back waits for the device, so it is done rarely.
            state.unread.push(Tensor::cat(values, 0).mean());
            if step.is_multiple_of(20) || step == self.steps {
                state.read_losses()?;
            }
            after(&mut state)?;
        }
        let steps_per_second = (self.steps - first) as f64 / start.elapsed().as_secs_f64();
        let model = state.average();
        Ok(Trained { model, losses: state.losses, observed: state.observed, steps_per_second })
    }
    // ANCHOR_END: train

    /// A linear warm-up, times a cosine from 1 to 0.03.
    fn learning_rate_at(&self, step: usize) -> f64 {
        let warmup = (step as f64 / self.warmup.max(1) as f64).min(1.0);
        let cosine = 0.5 * (1.0 + (PI * step as f64 / self.steps as f64).cos());
        self.learning_rate * warmup * (0.03 + 0.97 * cosine)
    }
}

fn to_bytes(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn from_bytes(bytes: &[u8]) -> Vec<f64> {
    bytes.chunks_exact(8).filter_map(|b| b.try_into().ok()).map(f64::from_le_bytes).collect()
}

/// Computes on the device with this number. Burn panics when a device breaks down; that becomes a sentence.
fn guarded<T>(step: usize, place: usize, compute: impl FnOnce(usize) -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(|| compute(place))).map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
        let reason = text.and_then(|text| text.lines().next()).unwrap_or("no reason given");
        Error::failure(format!(
            "device {} broke down in step {step} ({reason}); give --resume the folder of this run to go on from its last \
             checkpoint",
            place + 1
        ))
    })
}

/// The sum of the shards' gradients, always in the same order.
fn sum<M: Module>(shards: Vec<GradientsParams>, model: &M) -> GradientsParams {
    struct Sum(Vec<GradientsParams>, GradientsParams);
    impl ModuleVisitor for Sum {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradients = self.0.iter_mut().filter_map(|shard| shard.remove::<D>(param.id));
            if let Some(sum) = gradients.reduce(|sum, gradient| sum + gradient) {
                self.1.register(param.id, sum);
            }
        }
    }
    let mut sum = Sum(shards, GradientsParams::new());
    model.visit(&mut sum);
    sum.1
}

/// The factor, [1], that makes of the sum of `count` gradients their mean, or less where the norm of that mean, over all
/// weights together, is above `max_norm`.
///
/// `None` if there are no gradients.
fn clip<M: Module>(sum: &GradientsParams, model: &M, max_norm: f64, count: usize) -> Option<Tensor<1>> {
    struct SquaredNorm<'a>(&'a GradientsParams, Option<Tensor<1>>);
    impl ModuleVisitor for SquaredNorm<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                let squared = gradient.square().sum();
                self.1 = Some(self.1.take().map_or(squared.clone(), |sum| sum + squared));
            }
        }
    }
    let mut norm = SquaredNorm(sum, None);
    model.visit(&mut norm);
    let count = count as f64;
    // The norm of the mean is that of the sum over count.
    norm.1.map(|squared| ((squared.sqrt() / count + 1e-6).recip() * max_norm).clamp_max(1.0) / count)
}
