//! One training loop for every chapter: AdamW, a learning-rate curve, clipping, and an average of the weights.

use std::{f64::consts::PI, time::Instant};

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    optim::{AdamWConfig, GradientsParams},
    tensor::Tensor,
};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::{
    error::{Error, Result},
    host::download,
    random::{Stream, rng},
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
    /// Steps per second over the whole run.
    pub steps_per_second: f64,
}

/// Every batch is cut into this many shards, whatever the number of threads, so that the sum of their gradients is the
/// same on one thread and on several.
pub const SHARDS: usize = 2;

/// One part of the batch of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The step, counted from 1.
    pub step: usize,
    /// Which part, 0 to [`SHARDS`] - 1.
    pub index: usize,
}

impl Shard {
    /// This shard's own generator.
    pub fn rng(&self, seed: u64, stream: Stream) -> ChaCha8Rng {
        rng(seed, stream, (self.step * SHARDS + self.index) as u64)
    }

    /// `n` times in [0, 1), evenly spaced from one random offset over the whole batch, of which this shard gets every
    /// [`SHARDS`]-th. Equation `low-discrepancy`; Kingma et al. (2021), appendix I.1.
    pub fn times(&self, n: usize, seed: u64) -> Vec<f64> {
        let offset = rng(seed, Stream::Times, self.step as u64).random::<f64>();
        (0..n).map(|i| ((i * SHARDS + self.index) as f64 + offset) / (n * SHARDS) as f64).collect()
    }
}

impl Training {
    // ANCHOR: train
    /// Minimises the mean over shards of `loss(model, shard)`, a scalar. `after(model, step, loss)` is called after each
    /// step; its loss is the last that was read back from the device.
    ///
    /// Fails with a sentence when the loss is no longer a finite number.
    pub fn run<M: Module + Sync>(
        &self,
        model: M,
        loss: impl Fn(&M, Shard) -> Tensor<1> + Sync,
        mut after: impl FnMut(&M, usize, f64) -> Result<()>,
    ) -> Result<Trained<M>> {
        let mut optimizer =
            AdamWConfig::new().with_beta_2(0.99).with_epsilon(1e-8).with_weight_decay(self.weight_decay as f32).init();
        let (mut model, mut ema) = (model.clone().train(), model.valid());
        let (mut losses, mut unread) = (Vec::with_capacity(self.steps), Vec::new());
        let start = Instant::now();

        for step in 1..=self.steps {
            let shards = (0..SHARDS).into_par_iter().map(|index| {
                // A fork has a tape of its own, so that the shards do not wait for each other.
                let model = model.devices().first().map_or_else(|| model.clone(), |d| model.clone().fork(d));
                let value = loss(&model, Shard { step, index });
                (GradientsParams::from_grads(value.backward(), &model), value.inner())
            });
            let (shards, values): (Vec<_>, Vec<_>) = shards.unzip();
            let gradients = clip(mean(shards, &model), &model, self.clip_norm);
            model = optimizer.step(self.learning_rate_at(step), model, gradients);
            let decay = self.ema_decay.min((1 + step) as f64 / (10 + step) as f64);
            ema = average(ema, &model, decay);

            // Reading a value back waits for the device, so it is done rarely.
            unread.push(Tensor::cat(values, 0).mean());
            if step % 20 == 0 || step == self.steps {
                read(&mut unread, &mut losses)?;
            }
            after(&model, step, losses.last().copied().unwrap_or(f64::NAN))?;
        }
        let steps_per_second = self.steps as f64 / start.elapsed().as_secs_f64();
        Ok(Trained { model: ema, losses, steps_per_second })
    }
    // ANCHOR_END: train

    /// A linear warm-up, times a cosine from 1 to 0.03.
    fn learning_rate_at(&self, step: usize) -> f64 {
        let warmup = (step as f64 / self.warmup.max(1) as f64).min(1.0);
        let cosine = 0.5 * (1.0 + (PI * step as f64 / self.steps as f64).cos());
        self.learning_rate * warmup * (0.03 + 0.97 * cosine)
    }
}

/// Reads the losses that are still on the device.
fn read(unread: &mut Vec<Tensor<1>>, losses: &mut Vec<f64>) -> Result<()> {
    let values = Tensor::cat(std::mem::take(unread), 0);
    for value in download(values)? {
        losses.push(value);
        if !value.is_finite() {
            return Err(Error::failure(format!(
                "the loss became {value} at step {}; try another --seed or fewer --steps",
                losses.len()
            )));
        }
    }
    Ok(())
}

/// The mean of the shards' gradients, always summed in the same order.
fn mean<M: Module>(shards: Vec<GradientsParams>, model: &M) -> GradientsParams {
    struct Mean(Vec<GradientsParams>, GradientsParams);
    impl ModuleVisitor for Mean {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradients = self.0.iter_mut().filter_map(|shard| shard.remove::<D>(param.id));
            if let Some(sum) = gradients.reduce(|sum, gradient| sum + gradient) {
                self.1.register(param.id, sum / SHARDS as f64);
            }
        }
    }
    let mut mean = Mean(shards, GradientsParams::new());
    model.visit(&mut mean);
    mean.1
}

/// Scales all gradients by one factor, so that their common norm is at most `max_norm`.
fn clip<M: Module>(mut gradients: GradientsParams, model: &M, max_norm: f64) -> GradientsParams {
    struct SquaredNorm<'a>(&'a GradientsParams, Option<Tensor<1>>);
    impl ModuleVisitor for SquaredNorm<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                let squared = gradient.square().sum();
                self.1 = Some(self.1.take().map_or(squared.clone(), |sum| sum + squared));
            }
        }
    }
    struct Scale<'a>(&'a mut GradientsParams, Tensor<1>);
    impl ModuleVisitor for Scale<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.remove::<D>(param.id) {
                self.0.register(param.id, gradient * self.1.clone().unsqueeze());
            }
        }
    }
    let mut norm = SquaredNorm(&gradients, None);
    model.visit(&mut norm);
    if let Some(squared) = norm.1 {
        let factor = ((squared.sqrt() + 1e-6).recip() * max_norm).clamp_max(1.0);
        model.visit(&mut Scale(&mut gradients, factor));
    }
    gradients
}

/// decay * average + (1 - decay) * model, weight by weight.
fn average<M: Module>(average: M, model: &M, decay: f64) -> M {
    struct Collect(GradientsParams);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.register(param.id, param.val().inner());
        }
    }
    struct Average(GradientsParams, f64);
    impl ModuleMapper for Average {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            match self.0.remove::<D>(param.id) {
                Some(weight) => param.map(|average| average * self.1 + weight * (1.0 - self.1)),
                None => param,
            }
        }
    }
    let mut weights = Collect(GradientsParams::new());
    model.visit(&mut weights);
    average.map(&mut Average(weights.0, decay))
}
