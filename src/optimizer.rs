//! AdamW, with Muon for convolutions on request, and the running average of the weights.

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    optim::{
        AdjustLrFn, GradientsParams, Muon, MuonConfig, Optimizer as _,
        decay::WeightDecayConfig, momentum::MomentumConfig,
    },
    tensor::Tensor,
};

use crate::kernels::{AdamWState, AdamWStep, adamw};

/// Decay of the mean of the gradients.
const BETA_1: f64 = 0.9;
/// Decay of the mean of their squares.
const BETA_2: f64 = 0.99;
/// Keeps the step finite where all gradients were zero.
const EPSILON: f64 = 1e-8;
/// Decay of the sum of the gradients in Muon, as in its published code.
const MOMENTUM: f64 = 0.95;
/// Where all sums of a weight are nearer to zero than this, they are zero: Muon's own least
/// norm is ten times as much.
const LEAST_SUMS: f64 = 1e-8;
/// A single sum nearer to zero than this is zero as well.
const LEAST_SUM: f64 = 1e-12;

/// AdamW, Loshchilov and Hutter (2019), algorithm 2, together with an exponential moving
/// average (EMA) of the weights.
///
/// Both go once through all weights in each step. As separate tensor operations they took
/// as long as a third of the rest of the step (appendix "Where the time goes"), so they are
/// one operation here.
///
/// On request the weights of convolutions with several outputs, as matrices with a row for
/// each output, take steps of Muon instead, Jordan et al. (2024): the momentum with all its
/// singular values made nearly one, times 0.2 sqrt(the longer side), which makes the steps
/// as long as AdamW's; Liu et al. (2025), eq. 4.
pub struct Optimizer {
    /// Running mean of the gradients of each weight; their decaying sum, where Muon steps.
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
    /// Whether the weights of convolutions take steps of Muon.
    pub muon: bool,
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
        let StepSettings { step, learning_rate, weight_decay, average_decay, muon } =
            settings;
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
        let muon = muon.then(|| {
            MuonConfig::new()
                .with_adjust_lr_fn(AdjustLrFn::MatchRmsAdamW)
                .with_weight_decay(Some(WeightDecayConfig::new(weight_decay as f32)))
                // A checkpoint has to hold the momentum, and so it is kept here.
                .with_momentum(MomentumConfig {
                    momentum: 0.0,
                    dampening: 0.0,
                    nesterov: false,
                })
                .build()
        });
        model.map(&mut Step {
            optimizer: self,
            gradients,
            factor,
            step,
            muon: muon.map(|muon| (muon, learning_rate)),
        })
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
    /// With the learning rate.
    muon: Option<(Muon, f64)>,
}

/// The shape of the weights of a convolution as a matrix. With one output they are a single
/// row, as is what a network adds at each pixel, [1, c, S, S].
fn matrix<const D: usize>(weight: &Tensor<D>) -> Option<[usize; 2]> {
    match weight.dims()[..] {
        [outputs, inputs, height, width] if outputs > 1 => {
            Some([outputs, inputs * height * width])
        }
        _ => None,
    }
}

/// The sums of a weight, none of them so small that it, or a product of a few, would be
/// subnormal.
fn without_the_least<const D: usize>(sums: Tensor<D>) -> Tensor<D> {
    let sizes = sums.clone().abs();
    let any = sizes.clone().max().greater_elem(LEAST_SUMS).float();
    sums.mask_fill(sizes.lower_elem(LEAST_SUM), 0.0) * any.reshape([1; D])
}

impl ModuleMapper for Step<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let id = param.id;
        let Some(gradient) = self.gradients.remove::<D>(id) else { return param };
        let Optimizer { first, second, average } = &mut *self.optimizer;
        if let (Some((muon, rate)), Some(shape)) = (&self.muon, matrix(&gradient)) {
            let gradient = gradient * self.factor.clone().reshape([1; D]);
            let sum = match first.remove::<D>(id) {
                Some(sum) => sum * MOMENTUM + gradient.clone(),
                None => gradient.clone(),
            };
            let sum = without_the_least(sum);
            let ahead = gradient + sum.clone() * MOMENTUM;
            first.register(id, sum);
            return param.map(|weight| {
                let (weight, decay) = (weight.inner(), f64::from(self.step.average_decay));
                let before = average.remove::<D>(id).unwrap_or_else(|| weight.clone());
                let (dims, rows) = (weight.dims(), weight.reshape(shape));
                let (rows, _) = muon.step(*rate, rows, ahead.reshape(shape), None);
                let weight = rows.reshape(dims);
                average.register(id, before * decay + weight.clone() * (1.0 - decay));
                Tensor::from_inner(weight).require_grad()
            });
        }
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
        network::layers::{Convolution, Linear, linear},
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
        StepSettings {
            step,
            learning_rate: 0.02,
            weight_decay: 0.1,
            average_decay: 0.9,
            muon: false,
        }
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

    /// A convolution, and its gradients in each step.
    fn convolution([inputs, outputs]: [usize; 2]) -> (Convolution, Gradients) {
        let init = &mut rng(0, Stream::Initialisation, 0);
        let device = Device::flex().autodiff();
        let model = Convolution::new([inputs, outputs], 3, 1.0, init, &device);
        let gradients = move |model: &Convolution, step: usize| {
            let noise = &mut rng(step as u64, Stream::Training, 0);
            let of_weight = normal([outputs, inputs, 3, 3], noise, &Device::flex());
            let of_bias = normal([1, outputs], noise, &Device::flex());
            let mut gradients = GradientsParams::new();
            gradients.register(model.weight.id, of_weight);
            gradients.register(model.bias.id, of_bias.reshape([outputs]));
            gradients
        };
        (model, Box::new(gradients))
    }

    type Gradients = Box<dyn Fn(&Convolution, usize) -> GradientsParams>;

    #[test]
    fn convolutions_take_steps_of_burns_muon_and_their_biases_of_adamw() {
        // Fewer outputs than numbers that each sees, and more.
        for [inputs, outputs] in [[2, 6], [1, 12]] {
            let (fresh, gradients) = convolution([inputs, outputs]);
            let muon = MuonConfig::new()
                .with_adjust_lr_fn(AdjustLrFn::MatchRmsAdamW)
                .with_weight_decay(Some(WeightDecayConfig::new(0.1)))
                .build();
            let rows = |t: Tensor<4>| t.reshape([outputs, 9 * inputs]);
            let (mut ours, mut adamw) = (fresh.clone(), fresh.clone());
            let (mut optimizer, mut other) = (Optimizer::default(), Optimizer::default());
            let (mut theirs, mut state) = (rows(fresh.weight.val().inner()), None);
            let mut average = theirs.clone();
            for step in 1..=5 {
                let factor = 1.0 / step as f64;
                let factors = || Tensor::from_floats([factor as f32], &Device::flex());
                let all = gradients(&ours, step);
                let gradient = all.get::<4>(ours.weight.id).expect("a gradient") * factor;
                let muons = StepSettings { muon: true, ..settings(step) };
                ours = optimizer.step(ours, all, factors(), muons);
                let all = gradients(&adamw, step);
                adamw = other.step(adamw, all, factors(), settings(step));
                (theirs, state) = muon.step(0.02, theirs, rows(gradient), state);
                average = average * 0.9 + theirs.clone() * 0.1;
            }
            let read = |t: Tensor<2>| download(t).expect("numbers");
            let weights = |model: &Convolution| read(rows(model.weight.val().inner()));
            assert!(apart(&weights(&ours), &read(theirs)) < 1e-5);
            assert!(apart(&weights(&optimizer.average(&ours)), &read(average)) < 1e-5);
            assert!(apart(&weights(&ours), &weights(&fresh)) > 0.005, "nothing moved");
            let bias = |model: &Convolution| download(model.bias.val().inner());
            assert_eq!(bias(&ours).expect("biases"), bias(&adamw).expect("biases"));
            assert_ne!(bias(&ours).expect("biases"), bias(&fresh).expect("biases"));
        }
    }

    #[test]
    fn a_restored_optimizer_goes_on_with_the_same_bits() {
        let ((mut model, gradients), mut optimizer) =
            (convolution([2, 6]), Optimizer::default());
        let one = || Tensor::from_floats([1.0], &Device::flex());
        let settings = |step| StepSettings { muon: true, ..settings(step) };
        for step in 1..=3 {
            let gradients = gradients(&model, step);
            model = optimizer.step(model, gradients, one(), settings(step));
        }
        let [first, second] = optimizer.moments(&model);
        let mut restored =
            Optimizer::restored(&optimizer.average(&model), [&first, &second]);
        let here = optimizer.step(model.clone(), gradients(&model, 4), one(), settings(4));
        let there = restored.step(model.clone(), gradients(&model, 4), one(), settings(4));
        let numbers = |model: &Convolution| {
            let mut numbers = download(model.weight.val().inner()).expect("weights");
            numbers.extend(download(model.bias.val().inner()).expect("biases"));
            numbers
        };
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
