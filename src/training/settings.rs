//! The settings of a training run.

use std::f64::consts::PI;

use crate::optimizer::StepSettings;

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
    /// Decay of the exponential moving average (EMA) of the weights, approached from below
    /// in the first steps.
    pub ema_decay: f64,
    /// Whether the weights of convolutions take steps of Muon; Jordan et al. (2024).
    pub muon: bool,
}

/// So that settings which hold these, with the size of a batch or a network, can be given
/// in their place.
impl AsRef<Training> for Training {
    fn as_ref(&self) -> &Training {
        self
    }
}

impl Training {
    /// The settings of the diffusion chapters, for this number of steps. Where a comment
    /// says "not tuned", no other value is on record.
    pub fn new(steps: usize) -> Self {
        Self {
            steps,
            // Ten times that of Kingma et al. (2021), whose networks are larger and train
            // for millions of steps. Not tuned.
            learning_rate: 2e-3,
            // Adam's estimates of the gradients' size are poor in the first steps. The
            // share is not tuned.
            warmup: steps * 15 / 100,
            // As in the published code of Kingma et al. (2021).
            weight_decay: 0.01,
            // Stops the rare step that a few large weights of the loss would make too long.
            // Not tuned.
            clip_norm: 1.0,
            // A memory of a thousand steps. The 0.9999 of Kingma et al. (2021) would
            // remember more steps than there are.
            ema_decay: 0.999,
            muon: false,
        }
    }

    /// The settings of one step, counted from 1.
    pub(super) fn at(&self, step: usize) -> StepSettings {
        StepSettings {
            step,
            learning_rate: self.learning_rate_at(step),
            weight_decay: self.weight_decay,
            // In the first steps the average forgets sooner, or it would long remember the
            // random start.
            average_decay: self.ema_decay.min((1 + step) as f64 / (10 + step) as f64),
            muon: self.muon,
        }
    }

    /// A linear warm-up, times a cosine from 1 to 0.03 (not 0, so that the last steps still
    /// count; not tuned).
    fn learning_rate_at(&self, step: usize) -> f64 {
        let warmup = (step as f64 / self.warmup.max(1) as f64).min(1.0);
        let cosine = 0.5 * (1.0 + (PI * step as f64 / self.steps as f64).cos());
        self.learning_rate * warmup * (0.03 + 0.97 * cosine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_rises_in_a_line_and_falls_in_a_cosine() {
        let training = Training {
            learning_rate: 2.0,
            warmup: 50,
            ema_decay: 0.9,
            ..Training::new(200)
        };
        let eighth = 0.03 + 0.97 * 0.5 * (1.0 + (PI / 8.0).cos());
        let expected = [(25, 0.5 * eighth), (100, 0.03 + 0.97 * 0.5), (200, 0.03)];
        for (step, share) in expected {
            let found = training.at(step).learning_rate;
            assert!((found - 2.0 * share).abs() < 1e-12, "{step}: {found}");
        }
        // The average forgets sooner at first.
        for (step, decay) in [(1, 2.0 / 11.0), (8, 0.5), (200, 0.9)] {
            assert!((training.at(step).average_decay - decay).abs() < 1e-12, "{step}");
        }
    }
}
