//! Noise schedules: gamma(t) = -log SNR(t), increasing in t.
//!
//! gamma is the primitive of the whole book, because everything else follows from it
//! without loss of digits: abar = sigmoid(-gamma) is the signal power, 1 - abar =
//! sigmoid(gamma) the noise power, exp(-gamma) their ratio.

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, activation::sigmoid},
};

use crate::{
    error::{Error, Result},
    host::{download, upload},
};

/// abar = sigmoid(-gamma), the signal power; 1 - abar is `signal_power(-gamma)`. Equation
/// `abar-sigmoid`.
pub fn signal_power(gamma: f64) -> f64 {
    1.0 / (1.0 + gamma.exp())
}

/// A schedule that is fixed, or no longer learned.
///
/// t runs over [0, 1], from the least noise (gamma_min) to the most (gamma_max).
pub trait Schedule {
    /// gamma(t).
    fn gamma(&self, t: f64) -> f64;
    /// d gamma / d t.
    fn slope(&self, t: f64) -> f64;

    // ANCHOR: grid
    /// gamma_1, ..., gamma_T of the discrete chain with `steps` latents: t = 1 has the
    /// least noise.
    fn grid(&self, steps: usize) -> Vec<f64> {
        (0..steps).map(|i| self.gamma(i as f64 / (steps.max(2) - 1) as f64)).collect()
    }
    // ANCHOR_END: grid
}

// ANCHOR: linear
/// gamma(t) linear in t: log SNR falls at a constant rate. Kingma et al. (2021), section
/// 4.1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// gamma(0), the least noise.
    pub gamma_min: f64,
    /// gamma(1), the most noise.
    pub gamma_max: f64,
}

impl Schedule for Linear {
    fn gamma(&self, t: f64) -> f64 {
        self.gamma_min + (self.gamma_max - self.gamma_min) * t
    }

    fn slope(&self, _t: f64) -> f64 {
        self.gamma_max - self.gamma_min
    }
}
// ANCHOR_END: linear

// ANCHOR: cosine
/// The cosine schedule, abar = cos^2(pi u / 2), on the part of u in [0, 1] between two
/// given end points. Nichol and Dhariwal (2021), eq. 17, without the offset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cosine {
    /// gamma(0), the least noise.
    pub gamma_min: f64,
    /// gamma(1), the most noise.
    pub gamma_max: f64,
}

impl Cosine {
    /// pi u / 2 at time t. SNR = 1 / tan^2(pi u / 2), so gamma = 2 ln tan(pi u / 2).
    fn angle(&self, t: f64) -> f64 {
        let angle = |gamma: f64| (0.5 * gamma).exp().atan();
        angle(self.gamma_min) + (angle(self.gamma_max) - angle(self.gamma_min)) * t
    }
}

impl Schedule for Cosine {
    fn gamma(&self, t: f64) -> f64 {
        2.0 * self.angle(t).tan().ln()
    }

    fn slope(&self, t: f64) -> f64 {
        4.0 * (self.angle(1.0) - self.angle(0.0)) / (2.0 * self.angle(t)).sin()
    }
}
// ANCHOR_END: cosine

// ANCHOR: learned
/// gamma(t) as a network with positive weights, moved so that its end points are exact:
/// gamma(t) = (1 - u) gamma_min + u gamma_max, u = (g(t) - g(0)) / (g(1) - g(0)),
/// g(t) = |w| t + sum_j |a_j| sigmoid(|b_j| t + c_j). Equation `monotone-network`;
/// Kingma et al. (2021), appendix H, with one hidden layer.
#[derive(Module, Debug)]
pub struct Learned {
    /// w, the slope of the straight part, `[1]`.
    slope: Param<Tensor<1>>,
    /// a_j, the height of each sigmoid step, `[J]`.
    heights: Param<Tensor<1>>,
    /// b_j, the steepness of each step, `[J]`.
    rates: Param<Tensor<1>>,
    /// c_j, the place of each step, `[J]`.
    offsets: Param<Tensor<1>>,
    /// gamma(0).
    pub gamma_min: f64,
    /// gamma(1).
    pub gamma_max: f64,
}

impl Learned {
    /// gamma(t) and its derivative, both `[B]`, for t of shape `[B]`. The derivative is
    /// written out layer by layer: Burn differentiates once only, and training needs the
    /// gradient of both.
    pub fn gamma_and_slope(&self, t: Tensor<1>) -> (Tensor<1>, Tensor<1>) {
        let ends = upload([0.0, 1.0], &t.device());
        let (g, slope) = self.raw(Tensor::cat(vec![ends, t.clone()], 0));
        let (n, start) = (t.dims()[0], g.clone().narrow(0, 0, 1));
        let rise = g.clone().narrow(0, 1, 1) - start.clone();
        let u = (g.narrow(0, 2, n) - start) / rise.clone();
        let gamma = (-u.clone() + 1.0) * self.gamma_min + u * self.gamma_max;
        (gamma, slope.narrow(0, 2, n) * (self.gamma_max - self.gamma_min) / rise)
    }

    /// g(t) and g'(t), both `[B]`.
    fn raw(&self, t: Tensor<1>) -> (Tensor<1>, Tensor<1>) {
        let line = self.slope.val().abs();
        let [heights, rates, offsets] =
            [self.heights.val().abs(), self.rates.val().abs(), self.offsets.val()]
                .map(|w| w.unsqueeze::<2>());
        let step = sigmoid(t.clone().unsqueeze_dim::<2>(1) * rates.clone() + offsets);
        let steepness = rates * step.clone() * (-step.clone() + 1.0);
        let sum = |steps: Tensor<2>| (steps * heights.clone()).sum_dim(1).squeeze_dim(1);
        (t * line.clone() + sum(step), sum(steepness) + line)
    }
    // ANCHOR_END: learned

    /// A schedule between these end points that is close to a straight line: J = 32 low
    /// steps, evenly spaced, each about as wide as the distance to the next.
    pub fn new(gamma_min: f64, gamma_max: f64, device: &Device) -> Self {
        let weights = |w: &[f64]| Param::from_tensor(upload(w.iter().copied(), device));
        let offsets: Vec<f64> = (0..32).map(|j| -1.25 * (f64::from(j) + 0.5)).collect();
        Self {
            slope: weights(&[1.0]),
            heights: weights(&[0.02; 32]),
            rates: weights(&[40.0; 32]),
            offsets: weights(&offsets),
            gamma_min,
            gamma_max,
        }
    }

    /// The same schedule in f64, fixed. Fails if its weights are no longer finite numbers.
    pub fn fixed(&self) -> Result<Monotone> {
        let read = |weights: &Param<Tensor<1>>| download(weights.val());
        let schedule = Monotone {
            gamma_min: self.gamma_min,
            gamma_max: self.gamma_max,
            slope: read(&self.slope)?[0],
            heights: read(&self.heights)?,
            rates: read(&self.rates)?,
            offsets: read(&self.offsets)?,
        };
        let finite = schedule.gamma(0.5).is_finite() && schedule.slope(0.5).is_finite();
        let why = "the learned schedule is not finite; train it again with another --seed";
        finite.then_some(schedule).ok_or_else(|| Error::failure(why))
    }
}

/// The function gamma(t) of [`Learned`] with fixed weights, in f64; the names are the same.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct Monotone {
    pub gamma_min: f64,
    pub gamma_max: f64,
    pub slope: f64,
    pub heights: Vec<f64>,
    pub rates: Vec<f64>,
    pub offsets: Vec<f64>,
}

impl Monotone {
    /// The sum over the steps of f(|a_j|, |b_j|, |b_j| t + c_j).
    fn sum(&self, t: f64, f: impl Fn(f64, f64, f64) -> f64) -> f64 {
        let weights = self.heights.iter().zip(&self.rates).zip(&self.offsets);
        weights.map(|((a, b), c)| f(a.abs(), b.abs(), b.abs() * t + c)).sum()
    }

    /// g(t).
    fn raw(&self, t: f64) -> f64 {
        self.slope.abs() * t + self.sum(t, |a, _, place| a * signal_power(-place))
    }
}

impl Schedule for Monotone {
    fn gamma(&self, t: f64) -> f64 {
        let [start, g, end] = [0.0, t, 1.0].map(|t| self.raw(t));
        let u = (g - start) / (end - start);
        // gamma_min + u (gamma_max - gamma_min) would miss gamma_max, by rounding.
        (1.0 - u) * self.gamma_min + u * self.gamma_max
    }

    fn slope(&self, t: f64) -> f64 {
        let step = |a, b, place| a * b * signal_power(place) * signal_power(-place);
        let slope = self.slope.abs() + self.sum(t, step);
        slope * (self.gamma_max - self.gamma_min) / (self.raw(1.0) - self.raw(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Central difference of fourth order.
    fn difference(f: impl Fn(f64) -> f64, t: f64) -> f64 {
        let h = 1e-4;
        (8.0 * (f(t + h) - f(t - h)) - (f(t + 2.0 * h) - f(t - 2.0 * h))) / (12.0 * h)
    }

    #[test]
    fn slopes_are_derivatives_and_ends_are_kept() {
        let (linear, cosine) = (
            Linear { gamma_min: -8.0, gamma_max: 5.0 },
            Cosine { gamma_min: -8.0, gamma_max: 5.0 },
        );
        let schedules: [&dyn Schedule; 2] = [&linear, &cosine];
        for schedule in schedules {
            assert!(
                (schedule.gamma(0.0) + 8.0).abs() < 1e-12
                    && (schedule.gamma(1.0) - 5.0).abs() < 1e-12
            );
            for t in [0.1, 0.37, 0.5, 0.9] {
                let slope = difference(|t| schedule.gamma(t), t);
                assert!(
                    (schedule.slope(t) / slope - 1.0).abs() < 1e-8,
                    "{} {slope}",
                    schedule.slope(t)
                );
            }
        }
        // The cosine itself, between other ends: abar = cos^2(pi u / 2).
        let wide = Cosine { gamma_min: -30.0, gamma_max: 30.0 };
        assert!(
            (signal_power(wide.gamma(0.25)) - (std::f64::consts::PI / 8.0).cos().powi(2))
                .abs()
                < 1e-6
        );
    }

    #[test]
    fn the_learned_schedule_agrees_with_its_fixed_copy_in_f64() {
        let device = Device::flex();
        let mut learned = Learned::new(-8.0, 5.0, &device);
        // Weights of both signs, as training may leave them.
        learned.heights = learned.heights.map(|a| a.clone() * (a * 300.0).sin() * 5.0);
        let (fixed, t) =
            (learned.fixed().unwrap(), [0.0, 0.1, 0.31, 0.5, 0.77, 0.999, 1.0]);
        let (gamma, slope) = learned.gamma_and_slope(upload(t, &device));
        let (gamma, slope) = (download(gamma).unwrap(), download(slope).unwrap());
        assert_eq!((gamma[0], gamma[6]), (-8.0, 5.0), "the end points are exact");
        for (i, &t) in t.iter().enumerate() {
            assert!((gamma[i] - fixed.gamma(t)).abs() < 1e-4);
            assert!((slope[i] / fixed.slope(t) - 1.0).abs() < 1e-3);
            assert!(slope[i] > 0.0);
        }
    }

    #[test]
    fn a_gradient_reaches_every_weight_through_gamma_and_through_its_slope() {
        use burn::optim::GradientsParams;
        let device = Device::flex().autodiff();
        for part in 0..2 {
            let learned = Learned::new(-8.0, 5.0, &device);
            let (gamma, slope) = learned.gamma_and_slope(upload([0.2, 0.6], &device));
            let loss = [gamma, slope][part].clone().square().sum();
            let gradients = GradientsParams::from_grads(loss.backward(), &learned);
            assert_eq!(gradients.len(), 4);
        }
    }

    #[test]
    fn a_learned_schedule_that_is_not_finite_or_need_not_increase_is_refused() {
        let learned = || Learned::new(-8.0, 5.0, &Device::flex());
        assert!(learned().fixed().is_ok());
        let mut broken = [learned(), learned(), learned()];
        broken[0].rates = broken[0].rates.clone().map(|b| b * f32::NAN);
        broken[1].heights = broken[1].heights.clone().map(|a| a * f32::INFINITY);
        broken[2].slope = broken[2].slope.clone().map(|w| w * 0.0);
        broken[2].heights = broken[2].heights.clone().map(|a| a * 0.0);
        for schedule in broken {
            assert!(schedule.fixed().unwrap_err().to_string().contains("not finite"));
        }
    }
}
