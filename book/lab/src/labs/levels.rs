//! Chapter 4: hold the upper levels of latents, and draw the lower ones anew.

use burn::{module::Module, tensor::Device};
use elbo_to_diffusion::{
    autoencoder::{Hvae, HvaeConfig},
    data::{Dataset, digits::digits},
    error::Result,
    host::download,
    random::{Stream, normal, rng},
};
use serde_json::{Value, json};

use super::{Files, Lab, drawn, read_weights, whole};
use crate::chapters::ch04_hvae::SPEC;

/// Digits that are drawn.
const DRAWN: usize = 8;

pub struct Levels {
    data: Dataset,
    model: Hvae,
}

impl Levels {
    /// With the shipped weights. Fails if they are not there or damaged.
    pub fn new(files: &Files) -> Result<Self> {
        let data = digits()?;
        let init = &mut rng(0, Stream::Initialisation, 0);
        let fresh = HvaeConfig::of_digits().init(&data.train, init, &Device::flex());
        let model = read_weights(fresh, files, SPEC.name)?.valid();
        Ok(Self { data, model })
    }
}

impl Lab for Levels {
    fn answer(&mut self, request: &Value) -> Result<Value> {
        let latents = HvaeConfig::of_digits().latents;
        let (top, device) = (latents.len(), &Device::flex());
        // top + 1 holds nothing.
        let hold = whole(request, "hold", top, [1, top + 1]);
        let upper = whole(request, "upper", 0, [0, 1_000_000]) as u64;
        let lower = whole(request, "lower", 0, [0, 1_000_000]) as u64;
        let below = &mut rng(lower, Stream::Sampling, 2);
        let bottom = if hold > top {
            self.model.descend(
                top,
                1,
                normal([DRAWN, latents[top - 1]], below, device),
                below,
            )
        } else {
            let above = &mut rng(upper, Stream::Sampling, 1);
            let z = normal([1, latents[top - 1]], above, device);
            let held = self.model.descend(top, hold, z, above);
            self.model.descend(hold, 1, held.repeat_dim(0, DRAWN), below)
        };
        let values = self.data.train.grey_values();
        let means = download(self.model.decoder.mean(bottom, &values))?;
        let d = self.data.train.dim();
        let spread: f64 = (0..d)
            .map(|pixel| {
                let of: Vec<f64> = means.iter().skip(pixel).step_by(d).copied().collect();
                let mean = of.iter().sum::<f64>() / DRAWN as f64;
                of.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (DRAWN - 1) as f64
            })
            .sum::<f64>()
            / d as f64;
        let held = match hold {
            hold if hold > top => "Nothing is held".into(),
            1 => "All levels are held".into(),
            hold => format!("The levels from z_{hold} up are held"),
        };
        let pictures: Vec<Value> = means
            .chunks(d)
            .map(|values| json!({"name": "", "values": drawn(values.iter().copied())}))
            .collect();
        Ok(json!({
            "says": format!(
                "{held}; of {DRAWN} drawn below, a pixel of the mean image differs by {:.4}, root mean square.",
                spread.sqrt()
            ),
            "pictures": pictures,
            "spread": spread.sqrt(),
        }))
    }
}
