//! What `--preset` and `--data` choose in the diffusion chapters.

use super::{
    args::{DataChoice, Preset},
    program::Chapter,
};
use crate::{
    network::{Layers, TrunkConfig},
    training::Training,
    vdm::Linear,
};

/// The network, its noise levels, and how it is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The hidden layers, with the end points of the schedule.
    pub trunk: TrunkConfig,
    /// The training run.
    pub training: Training,
    /// Images in a batch.
    pub batch: usize,
    /// Images of each batch, some for each shard, from which the schedule of chapter 6
    /// learns at further times.
    pub schedule_batch: usize,
    /// The share of the training images that are moved by a pixel.
    pub shifted: f64,
    /// Curves over the grey levels that the denoiser of chapter 6 mixes.
    pub curves: usize,
}

impl AsRef<Training> for Setting {
    fn as_ref(&self) -> &Training {
        &self.training
    }
}

impl Setting {
    /// The schedule between the end points along which gamma rises linearly.
    pub fn linear(&self) -> Linear {
        Linear { gamma_min: self.trunk.gamma_min, gamma_max: self.trunk.gamma_max }
    }
}

impl Chapter {
    /// What to train; `steps` is the number of training steps of the quick preset.
    pub fn setting(&mut self, steps: usize) -> Setting {
        let (preset, data) = (self.preset(), self.data());
        Setting::chosen(preset, data, steps, |default| self.steps(default))
    }
}

impl Setting {
    /// What a preset trains; `steps` is the number of training steps of the quick one, and
    /// `count` may choose another number. Where a comment says "not tuned", no other value
    /// is on record.
    pub fn chosen(
        preset: Preset,
        data: DataChoice,
        steps: usize,
        mut count: impl FnMut(usize) -> usize,
    ) -> Self {
        // ANCHOR: quick
        // The log SNR falls from where the levels are just told apart to -5, where almost
        // nothing is left to see. For 256 levels both are those of Kingma et al. (2021).
        let gamma_min = match data {
            DataChoice::Digits => -8.0,
            DataChoice::Mnist => -13.3,
        };
        let trunk = TrunkConfig {
            gamma_min,
            gamma_max: 5.0,
            layers: Layers::Dense,
            // Small enough for a run of seconds; not tuned.
            hidden: 192,
            blocks: 2,
            // Strong, because a thousand images are soon known by heart; not tuned.
            dropout: 0.4,
        };
        // ANCHOR_END: quick
        match (preset, data) {
            // 128 images in a batch, as in Kingma et al. (2021).
            (Preset::Quick, _) => Setting {
                trunk,
                training: Training::new(count(steps)),
                batch: 128,
                schedule_batch: 32,
                shifted: 0.0,
                curves: 2,
            },
            // ANCHOR: full
            // No other values than these are on record; chapter 5 reports what they reach.
            (Preset::Full, DataChoice::Digits) => {
                let training = Training::new(count(3600));
                let warmup = training.steps / 12;
                Setting {
                    trunk: TrunkConfig {
                        layers: Layers::UNet(1),
                        hidden: 24,
                        blocks: 6,
                        dropout: 0.25,
                        ..trunk
                    },
                    training: Training {
                        learning_rate: 6e-3,
                        warmup,
                        weight_decay: 0.05,
                        ema_decay: 0.995,
                        ..training
                    },
                    batch: 128,
                    schedule_batch: 32,
                    // Moved digits are more digits to learn from, as long as most stay
                    // where digits are.
                    shifted: 0.55,
                    curves: 2,
                }
            }
            // ANCHOR_END: full
            // Channels, batch and steps fit an hour of two cores. No dropout, not tuned:
            // fifty thousand images are not soon known by heart. Of the other settings
            // appendix D lists the few that were compared.
            (Preset::Full, DataChoice::Mnist) => Setting {
                trunk: TrunkConfig {
                    // Wider, so that the terms that no network can lower nearly vanish.
                    gamma_min: -14.5,
                    gamma_max: 7.0,
                    layers: Layers::UNet(3),
                    hidden: 16,
                    blocks: 2,
                    dropout: 0.0,
                },
                training: Training {
                    learning_rate: 1e-2,
                    muon: true,
                    ..Training::new(count(25_000))
                },
                batch: 32,
                schedule_batch: 2,
                shifted: 0.0,
                curves: 8,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_full_preset_is_trained_as_its_weights_were() {
        let full = Setting::chosen(Preset::Full, DataChoice::Digits, 300, |steps| steps);
        let training = Training {
            learning_rate: 6e-3,
            warmup: 300,
            weight_decay: 0.05,
            ema_decay: 0.995,
            ..Training::new(3600)
        };
        assert_eq!(full.training, training);
        assert_eq!((full.batch, full.shifted), (128, 0.55));
        let TrunkConfig { layers, hidden, blocks, dropout, .. } = full.trunk;
        assert_eq!((layers, hidden, blocks, dropout), (Layers::UNet(1), 24, 6, 0.25));
    }
}
