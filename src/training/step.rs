//! One training step.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::Tensor,
};
use rayon::Scope;

use super::{
    settings::Training,
    shard::{Shard, Shards, takes_many_threads},
    state::State,
};
use crate::{
    error::{Error, Result},
    kernels::sum_of_squares,
};

impl Training {
    // ANCHOR: step
    /// One step down the gradient of the mean of `loss(model, shard)` over the shards of a
    /// batch.
    pub fn step<M: Module + Sync>(
        &self,
        mut state: State<M>,
        shards: &Shards,
        loss: impl Fn(&M, Shard) -> Tensor<1> + Sync,
    ) -> Result<State<M>> {
        state.step += 1;
        // The gradients of each shard, and its loss, [1].
        let parts = shards.each(state.step, &state.model, |model, shard| {
            let loss = loss(model, shard);
            (GradientsParams::from_grads(loss.backward(), model), loss.inner())
        })?;
        let (gradients, losses): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        // Their mean is their sum times this factor, which is less where the mean is too
        // long.
        let (sum, squares) = sum(gradients, &state.model);
        let factor = clip(squares, self.clip_norm, losses.len())?;
        // The optimizer along it, and the running average of the weights.
        state.model = state.optimizer.step(state.model, sum, factor, self.at(state.step));
        // It stays on the device until somebody asks.
        state.unread.push(Tensor::cat(losses, 0).mean());
        Ok(state)
    }
    // ANCHOR_END: step
}

/// The sum of the shards' gradients, always in the same order, and the sum of its squares
/// over all weights, [1], if there are any. On the CPU each weight's is computed by a thread
/// that is free.
fn sum<M: Module>(
    shards: Vec<GradientsParams>,
    model: &M,
) -> (GradientsParams, Option<Tensor<1>>) {
    /// The sums, and the squares of each weight by its place in the model.
    type Sums = Mutex<(GradientsParams, BTreeMap<usize, Tensor<1>>)>;
    struct Sum<'a, 's> {
        shards: Vec<GradientsParams>,
        threads: &'a Scope<'s>,
        sums: &'s Sums,
        place: usize,
    }
    impl ModuleVisitor for Sum<'_, '_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let (id, place, sums) = (param.id, self.place, self.sums);
            self.place += 1;
            let gradients: Vec<_> =
                self.shards.iter_mut().filter_map(|shard| shard.remove::<D>(id)).collect();
            let on_threads = takes_many_threads(&param.val().device());
            let add = move || {
                let sum = gradients.into_iter().reduce(|sum, gradient| sum + gradient);
                let Some(sum) = sum else { return };
                let square = sum_of_squares(sum.clone());
                let (all, squares) =
                    &mut *sums.lock().unwrap_or_else(PoisonError::into_inner);
                all.register(id, sum);
                squares.insert(place, square);
            };
            if on_threads { self.threads.spawn(|_| add()) } else { add() }
        }
    }
    let sums = Mutex::new((GradientsParams::new(), BTreeMap::new()));
    rayon::in_place_scope(|threads| {
        model.visit(&mut Sum { shards, threads, sums: &sums, place: 0 });
    });
    let (sum, squares) = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
    (sum, squares.into_values().reduce(|sum, squares| sum + squares))
}

/// The factor, [1], that makes of the sum of `count` gradients their mean, or less where
/// the norm of that mean, over all weights together, is above `max_norm`. Fails with a
/// sentence if there are no gradients, and so no squares.
fn clip(squares: Option<Tensor<1>>, max_norm: f64, count: usize) -> Result<Tensor<1>> {
    let nothing = || {
        Error::failure(
            "the loss depends on no weight, so nothing can be trained; let it use the model",
        )
    };
    let count = count as f64;
    // The norm of the mean is that of the sum over count.
    let norm = squares.ok_or_else(nothing)?.sqrt() / count;
    Ok(((norm + 1e-6).recip() * max_norm).clamp_max(1.0) / count)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::host::download;

    /// Six weights.
    #[derive(Module, Debug)]
    struct Six {
        weight: Param<Tensor<2>>,
    }

    #[test]
    fn the_factor_makes_a_mean_and_bounds_its_norm() {
        let device = Device::flex().autodiff();
        let data = TensorData::ones::<f32, _>([2, 3]);
        let model = Six { weight: Param::from_data(data, &device) };
        // The sum of the gradients of four shards is `each` at every weight.
        for (each, factor) in [(0.4, 0.25), (40.0, 0.25 / (10.0 * 6.0_f64.sqrt()))] {
            let loss = (model.weight.val() * each).sum();
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            let (sum, squares) = sum(vec![gradients], &model);
            assert_eq!(sum.len(), 1);
            let found = download(clip(squares, 1.0, 4).unwrap()).unwrap();
            assert!((found[0] / factor - 1.0).abs() < 1e-5, "{each}: {found:?}");
        }
    }
}
