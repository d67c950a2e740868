//! AdamW and the running average of the weights.

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::Tensor,
};

use crate::kernels::{AdamWState, AdamWStep, adamw};

/// Decay of the mean of the gradients.
const BETA_1: f64 = 0.9;
/// Decay of the mean of their squares.
const BETA_2: f64 = 0.99;
/// Keeps the step finite where all gradients were zero.
const EPSILON: f64 = 1e-8;

/// AdamW, Loshchilov and Hutter (2019), algorithm 2, together with an exponential moving
/// average (EMA) of the weights.
///
/// Both go once through all weights in each step. As separate tensor operations they took
/// as long as a third of the rest of the step (appendix "Where the time goes"), so they are
/// one operation here.
pub struct Optimizer {
    /// Running mean of the gradients of each weight.
    first: GradientsParams,
    /// Running mean of their squares.
    second: GradientsParams,
    /// The EMA of each weight that is trained.
    average: GradientsParams,
}

impl Default for Optimizer {
    fn default() -> Self {
        Self {
            first: GradientsParams::new(),
            second: GradientsParams::new(),
            average: GradientsParams::new(),
        }
    }
}

/// The settings of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepSettings {
    /// Which step, counted from 1.
    pub step: usize,
    /// The learning rate.
    pub learning_rate: f64,
    /// The weight decay, as a multiple of the learning rate.
    pub weight_decay: f64,
    /// The decay of the EMA.
    pub average_decay: f64,
}

impl Optimizer {
    /// The model after a step along the `gradients`, all multiplied by `factor`, `[1]`. A
    /// weight without a gradient stays.
    pub fn step<M: Module>(
        &mut self,
        model: M,
        gradients: GradientsParams,
        factor: Tensor<1>,
        settings: StepSettings,
    ) -> M {
        let StepSettings { step, learning_rate, weight_decay, average_decay } = settings;
        // 1 / (1 - beta^step).
        let correction = |beta: f64| -1.0 / (step as f64 * beta.ln()).exp_m1();
        let step = AdamWStep {
            beta_1: BETA_1 as f32,
            beta_2: BETA_2 as f32,
            correction_1: correction(BETA_1) as f32,
            correction_2: correction(BETA_2) as f32,
            epsilon: EPSILON as f32,
            rate: learning_rate as f32,
            keep: (1.0 - learning_rate * weight_decay) as f32,
            average_decay: average_decay as f32,
        };
        model.map(&mut Step { optimizer: self, gradients, factor, step })
    }

    /// The model with the averages in the place of the weights, without a tape.
    pub fn average<M: Module>(&self, model: &M) -> M {
        model.valid().map(&mut Put { tensors: &self.average, missing: Missing::Keep })
    }

    /// The running means in modules of the model's shape, for a checkpoint: of the
    /// gradients and of their squares.
    pub fn moments<M: Module>(&self, model: &M) -> [M; 2] {
        [&self.first, &self.second]
            .map(|tensors| model.valid().map(&mut Put { tensors, missing: Missing::Zero }))
    }

    /// The optimizer of a checkpoint, from what `average` and `moments` returned.
    pub fn restored<M: Module>(average: &M, [first, second]: [&M; 2]) -> Self {
        let tensors = |module: &M| {
            let mut collect = Collect(GradientsParams::new());
            module.visit(&mut collect);
            collect.0
        };
        Self { first: tensors(first), second: tensors(second), average: tensors(average) }
    }
}

struct Step<'a> {
    optimizer: &'a mut Optimizer,
    gradients: GradientsParams,
    factor: Tensor<1>,
    step: AdamWStep,
}

impl ModuleMapper for Step<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let id = param.id;
        let Some(gradient) = self.gradients.remove::<D>(id) else { return param };
        let Optimizer { first, second, average } = &mut *self.optimizer;
        param.map(|weight| {
            let weight = weight.inner();
            let state = AdamWState {
                first: first.remove::<D>(id).unwrap_or_else(|| gradient.zeros_like()),
                second: second.remove::<D>(id).unwrap_or_else(|| gradient.zeros_like()),
                average: average.remove::<D>(id).unwrap_or_else(|| weight.clone()),
                weight,
            };
            let state = adamw(state, gradient, self.factor.clone(), self.step);
            first.register(id, state.first);
            second.register(id, state.second);
            average.register(id, state.average);
            Tensor::from_inner(state.weight).require_grad()
        })
    }
}

/// Puts tensors in the place of the weights.
struct Put<'a> {
    tensors: &'a GradientsParams,
    missing: Missing,
}

/// What becomes of a weight for which there is no tensor.
enum Missing {
    Keep,
    Zero,
}

impl ModuleMapper for Put<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match (self.tensors.get::<D>(param.id), &self.missing) {
            (Some(tensor), _) => param.map(|_| tensor),
            (None, Missing::Keep) => param,
            (None, Missing::Zero) => param.map(|weight| weight.zeros_like()),
        }
    }
}

/// The weights that are trained.
struct Collect(GradientsParams);

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.register(param.id, param.val().inner());
    }
}

#[cfg(test)]
mod tests {
    use burn::{
        optim::{AdamWConfig, ModuleOptimizer},
        tensor::Device,
    };

    use super::*;
    use crate::{
        host::download,
        network::layers::{Linear, linear},
        random::{Stream, normal, rng},
    };

    /// Gradients of a linear layer, different for each step.
    fn gradients(model: &Linear, step: u64) -> GradientsParams {
        let noise = &mut rng(step, Stream::Training, 0);
        let mut gradients = GradientsParams::new();
        gradients.register(model.weight.id, normal([5, 700], noise, &Device::flex()));
        gradients.register(model.bias.id, normal([700], noise, &Device::flex()));
        gradients
    }

    fn settings(step: usize) -> StepSettings {
        StepSettings { step, learning_rate: 0.02, weight_decay: 0.1, average_decay: 0.9 }
    }

    fn model() -> Linear {
        linear(
            5,
            700,
            1.0,
            &mut rng(0, Stream::Initialisation, 0),
            &Device::flex().autodiff(),
        )
    }

    fn numbers(model: &Linear) -> Vec<f64> {
        let mut numbers = download(model.weight.val().inner()).expect("weights");
        numbers.extend(download(model.bias.val().inner()).expect("biases"));
        numbers
    }

    fn apart(a: &[f64], b: &[f64]) -> f64 {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn steps_are_those_of_burns_adamw_and_the_average_follows() {
        let (mut ours, mut theirs) = (model(), model());
        let mut average = numbers(&ours);
        let mut optimizer = Optimizer::default();
        let config =
            AdamWConfig::new().with_beta_2(0.99).with_epsilon(1e-8).with_weight_decay(0.1);
        let mut burns: ModuleOptimizer = config.init();
        for step in 1..=7 {
            let half = Tensor::from_floats([0.5], &Device::flex());
            let doubled = |g: GradientsParams, model: &Linear| {
                let mut twice = GradientsParams::new();
                let weight = g.get::<2>(model.weight.id).map(|w| w * 2.0);
                weight.into_iter().for_each(|w| twice.register(model.weight.id, w));
                let bias = g.get::<1>(model.bias.id).map(|b| b * 2.0);
                bias.into_iter().for_each(|b| twice.register(model.bias.id, b));
                twice
            };
            let twice = doubled(gradients(&ours, step), &ours);
            ours = optimizer.step(ours, twice, half, settings(step as usize));
            let single = gradients(&theirs, step);
            theirs = burns.step(0.02, theirs, single);
            average
                .iter_mut()
                .zip(numbers(&ours))
                .for_each(|(mean, w)| *mean = 0.9 * *mean + 0.1 * w);
        }
        assert!(apart(&numbers(&ours), &numbers(&model())) > 0.05, "nothing moved");
        assert!(apart(&numbers(&ours), &numbers(&theirs)) < 1e-6);
        assert!(apart(&numbers(&optimizer.average(&ours)), &average) < 1e-6);
    }

    #[test]
    fn a_restored_optimizer_goes_on_with_the_same_bits() {
        let (mut model, mut optimizer) = (model(), Optimizer::default());
        let one = || Tensor::from_floats([1.0], &Device::flex());
        for step in 1..=3 {
            let gradients = gradients(&model, step);
            model = optimizer.step(model, gradients, one(), settings(step as usize));
        }
        let [first, second] = optimizer.moments(&model);
        let mut restored =
            Optimizer::restored(&optimizer.average(&model), [&first, &second]);
        let here = optimizer.step(model.clone(), gradients(&model, 4), one(), settings(4));
        let there = restored.step(model.clone(), gradients(&model, 4), one(), settings(4));
        assert_eq!(numbers(&here), numbers(&there));
        assert_eq!(numbers(&optimizer.average(&here)), numbers(&restored.average(&there)));
        assert_ne!(numbers(&here), numbers(&model));
    }

    #[test]
    fn a_weight_without_a_gradient_stays() {
        let (model, mut optimizer) = (model(), Optimizer::default());
        let one = Tensor::from_floats([1.0], &Device::flex());
        let stayed =
            optimizer.step(model.clone(), GradientsParams::new(), one, settings(1));
        assert_eq!(numbers(&stayed), numbers(&model));
        assert_eq!(numbers(&optimizer.average(&stayed)), numbers(&model));
    }
}
