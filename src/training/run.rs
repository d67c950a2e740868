//! A run of many steps: devices, losses that are read back, and what the caller does on the
//! way.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use web_time::Instant;

use super::{
    settings::Training,
    shard::{Shard, Shards, takes_many_threads},
    state::State,
};
use crate::error::Result;

/// Steps between two times that the losses are read back, which waits until the device has
/// finished all its work. Not tuned.
const READ_EVERY: usize = 20;

/// What a training run returns.
pub struct Trained<M> {
    /// The exponential moving average of the weights, without a tape. This is the model to
    /// evaluate.
    pub model: M,
    /// The loss of each step.
    pub losses: Vec<f64>,
    /// What the caller observed on the way.
    pub observed: Vec<f64>,
    /// Steps per second over the whole run.
    pub steps_per_second: f64,
}

impl Training {
    // ANCHOR: train
    /// Minimises the mean over shards of `loss(model, shard)`, a scalar, from this state
    /// on. `after(state)` is called after each step.
    ///
    /// Each shard is computed on one of the `devices`, in turn; without any, on the one
    /// where the model is. The optimizer works where the model is.
    ///
    /// Fails with a sentence when the loss is no longer a finite number, when it panics or
    /// a device breaks down, or as `after` says.
    pub fn run<M: Module + Sync>(
        &self,
        mut state: State<M>,
        devices: &[Device],
        loss: impl Fn(&M, Shard) -> Tensor<1> + Sync,
        mut after: impl FnMut(&mut State<M>) -> Result<()>,
    ) -> Result<Trained<M>> {
        let shards = Shards::on(devices);
        let on_threads = state.model.devices().iter().all(takes_many_threads);
        let (first, start) = (state.step, Instant::now());
        while state.step < self.steps {
            let step = || self.step(state, &shards, &loss);
            // On the threads that compute: its parts need not be handed over to them.
            state = if on_threads { rayon::scope(|_| step())? } else { step()? };
            if state.step.is_multiple_of(READ_EVERY) || state.step == self.steps {
                state.read_losses()?;
            }
            after(&mut state)?;
        }
        let steps_per_second = (self.steps - first) as f64 / start.elapsed().as_secs_f64();
        let model = state.average();
        Ok(Trained {
            model,
            losses: state.losses,
            observed: state.observed,
            steps_per_second,
        })
    }
    // ANCHOR_END: train
}

#[cfg(test)]
mod tests {
    use burn::{module::Param, tensor::TensorData};

    use super::*;
    use crate::{
        network::layers::{Linear, linear, silu_norm},
        random::{Stream, normal, rng},
    };

    /// One weight matrix, [2, 3].
    #[derive(Module, Debug)]
    struct Matrix {
        weight: Param<Tensor<2>>,
    }

    fn matrix(device: &Device) -> Matrix {
        Matrix {
            weight: Param::from_data(
                TensorData::ones::<f32, _>([2, 3]),
                &device.clone().autodiff(),
            ),
        }
    }

    #[test]
    fn a_loss_with_a_wrong_shape_is_told_what_is_wrong_and_nothing_about_devices() {
        let (training, device) = (Training::new(3), Device::flex());
        let model = matrix(&device);
        let loss = |model: &Matrix, _: Shard| {
            let batch = Tensor::<2>::ones([5, 7], &Device::flex().autodiff());
            batch.matmul(model.weight.val()).mean()
        };
        let error = training
            .run(training.begin(&model), &[], loss, |_| Ok(()))
            .map(|_| ())
            .unwrap_err()
            .to_string();
        // What Burn says takes several lines, and the first says nothing.
        for word in ["step 1", "Matmul", "[5, 7]", "[2, 3]"] {
            assert!(error.contains(word), "`{word}` is not in `{error}`");
        }
        for word in ["device", "--resume", "\n"] {
            assert!(!error.contains(word), "`{word}` is in `{error}`");
        }
    }

    #[test]
    fn a_loss_without_weights_is_refused() {
        let (training, device) = (Training::new(3), Device::flex());
        let loss = |_: &Matrix, _: Shard| {
            Tensor::ones([1], &Device::flex().autodiff()).require_grad()
        };
        let run = training.run(training.begin(&matrix(&device)), &[], loss, |_| Ok(()));
        assert!(run.map(|_| ()).unwrap_err().to_string().contains("depends on no weight"));
    }

    #[test]
    fn steps_lead_down_the_mean_of_all_shards() {
        let training = Training { steps: 200, ..Training::new(200) };
        let device = Device::flex();
        // The shards want 2 and 4 in all places; between them lies 3.
        let loss = |model: &Matrix, shard: Shard| {
            (model.weight.val() - (2.0 + 2.0 * shard.index as f64)).square().mean()
        };
        let training =
            Training { learning_rate: 0.1, weight_decay: 0.0, ema_decay: 0.9, ..training };
        let trained =
            training.run(training.begin(&matrix(&device)), &[], loss, |_| Ok(())).unwrap();
        let weights = crate::host::download(trained.model.weight.val()).unwrap();
        assert!(weights.iter().all(|w| (w - 3.0).abs() < 0.02), "{weights:?}");
        // The mean of (3 - 2)^2 and (4 - 3)^2.
        assert_eq!(trained.losses.len(), 200);
        assert!(
            (trained.losses[199] - 1.0).abs() < 0.01 && trained.losses[0] > 4.0,
            "{:?}",
            trained.losses
        );
    }

    /// Two layers, large enough for several threads.
    #[derive(Module, Debug)]
    struct Layers {
        inner: Linear,
        outer: Linear,
    }

    #[test]
    fn weights_have_the_same_bits_on_any_number_of_threads() {
        let device = Device::flex().autodiff();
        let noise = |shape, shard: Shard, seed| {
            normal::<2>(shape, &mut shard.rng(seed, Stream::Training), &device)
        };
        let loss = |model: &Layers, shard: Shard| {
            let hidden = silu_norm(model.inner.forward(noise([64, 256], shard, 0)));
            (model.outer.forward(hidden) - noise([64, 300], shard, 1)).square().mean()
        };
        let draws = &mut rng(0, Stream::Initialisation, 0);
        let model = Layers {
            inner: linear(256, 256, 1.0, draws, &device),
            outer: linear(256, 300, 1.0, draws, &device),
        };
        // So small a norm that the gradients are clipped in each step.
        let training = Training { warmup: 0, clip_norm: 0.01, ..Training::new(10) };
        let weights = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("threads").install(|| {
                let trained = training.run(training.begin(&model), &[], loss, |_| Ok(()));
                let Layers { inner, outer } = trained.expect("it trains").model;
                [inner.weight, outer.weight]
                    .map(|w| crate::host::download(w.val()).expect("weights"))
            })
        };
        let alone = weights(1);
        assert!(alone.iter().flatten().all(|w| w.is_finite()));
        for threads in [2, 4, 8] {
            assert!(weights(threads) == alone, "{threads} threads");
        }
    }

    #[test]
    fn the_speed_is_that_of_the_steps_of_this_run() {
        let training = Training::new(20);
        let loss = |model: &Matrix, _: Shard| model.weight.val().square().mean();
        let begin = Instant::now();
        let trained = training
            .run(training.begin(&matrix(&Device::flex())), &[], loss, |_| Ok(()))
            .unwrap();
        // The run began a little later.
        let least = 20.0 / begin.elapsed().as_secs_f64();
        assert!(trained.steps_per_second >= least, "{} {least}", trained.steps_per_second);
    }
}
