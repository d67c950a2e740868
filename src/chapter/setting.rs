//! What `--preset` and `--data` choose in the diffusion chapters.

use super::{Chapter, args::Preset};
use crate::{
    data::Dataset,
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
    /// The share of the training images that are shifted by a pixel.
    pub shifted: f64,
}

impl Setting {
    /// The schedule between the end points along which gamma rises linearly.
    pub fn linear(&self) -> Linear {
        Linear { gamma_min: self.trunk.gamma_min, gamma_max: self.trunk.gamma_max }
    }
}

impl Chapter {
    /// What to train on these data; `steps` is the number of training steps of the quick preset.
    pub fn setting(&mut self, data: &Dataset, steps: usize) -> Setting {
        let digits = data.train.level_count() == 17;
        // ANCHOR: quick
        // The log SNR falls from where the levels are just told apart to -5, where almost nothing is left to see.
        let gamma_min = if digits { -8.0 } else { -13.3 };
        let trunk =
            TrunkConfig { gamma_min, gamma_max: 5.0, layers: Layers::Dense, hidden: 192, blocks: 2, dropout: 0.4 };
        // ANCHOR_END: quick
        match (self.preset(), digits) {
            (Preset::Quick, _) => {
                Setting { trunk, training: Training::new(self.steps(steps)), batch: 128, shifted: 0.0 }
            }
            // ANCHOR: full
            (Preset::Full, true) => {
                let training = Training::new(self.steps(3600));
                let warmup = training.steps / 12;
                Setting {
                    trunk: TrunkConfig { layers: Layers::UNet(1), hidden: 24, blocks: 6, dropout: 0.25, ..trunk },
                    training: Training {
                        learning_rate: 6e-3,
                        warmup,
                        weight_decay: 0.05,
                        ema_decay: 0.995,
                        ..training
                    },
                    batch: 128,
                    shifted: 0.55,
                }
            }
            // ANCHOR_END: full
            (Preset::Full, false) => Setting {
                trunk: TrunkConfig { layers: Layers::UNet(3), hidden: 16, blocks: 2, dropout: 0.0, ..trunk },
                training: Training::new(self.steps(20_000)),
                batch: 32,
                shifted: 0.0,
            },
        }
    }
}
