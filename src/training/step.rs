//! One training step.

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::Tensor,
};

use super::{
    settings::Training,
    shard::{Shard, Shards},
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
        let sum = sum(gradients, &state.model);
        let factor = clip(&sum, &state.model, self.clip_norm, losses.len())?;
        // AdamW along it, and the running average of the weights.
        state.model = state.optimizer.step(state.model, sum, factor, self.at(state.step));
        // It stays on the device until somebody asks.
        state.unread.push(Tensor::cat(losses, 0).mean());
        Ok(state)
    }
    // ANCHOR_END: step
}

/// The sum of the shards' gradients, always in the same order.
fn sum<M: Module>(shards: Vec<GradientsParams>, model: &M) -> GradientsParams {
    struct Sum(Vec<GradientsParams>, GradientsParams);
    impl ModuleVisitor for Sum {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradients =
                self.0.iter_mut().filter_map(|shard| shard.remove::<D>(param.id));
            if let Some(sum) = gradients.reduce(|sum, gradient| sum + gradient) {
                self.1.register(param.id, sum);
            }
        }
    }
    let mut sum = Sum(shards, GradientsParams::new());
    model.visit(&mut sum);
    sum.1
}

/// The factor, [1], that makes of the sum of `count` gradients their mean, or less where
/// the norm of that mean, over all weights together, is above `max_norm`. Fails with a
/// sentence if there are no gradients.
fn clip<M: Module>(
    sum: &GradientsParams,
    model: &M,
    max_norm: f64,
    count: usize,
) -> Result<Tensor<1>> {
    struct SquaredNorm<'a>(&'a GradientsParams, Option<Tensor<1>>);
    impl ModuleVisitor for SquaredNorm<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.0.get::<D>(param.id) {
                let squared = sum_of_squares(gradient);
                self.1 = Some(self.1.take().map_or(squared.clone(), |sum| sum + squared));
            }
        }
    }
    let mut norm = SquaredNorm(sum, None);
    model.visit(&mut norm);
    let nothing = || {
        Error::failure(
            "the loss depends on no weight, so nothing can be trained; let it use the model",
        )
    };
    let count = count as f64;
    // The norm of the mean is that of the sum over count.
    let norm = norm.1.ok_or_else(nothing)?.sqrt() / count;
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
            let sum = GradientsParams::from_grads(loss.backward(), &model);
            let found = download(clip(&sum, &model, 1.0, 4).unwrap()).unwrap();
            assert!((found[0] / factor - 1.0).abs() < 1e-5, "{each}: {found:?}");
        }
    }
}
