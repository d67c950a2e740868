//! Chapter 7: one estimate, read as x, as the noise, as the score and as v.

use burn::tensor::{Device, Tensor};
use elbo_to_diffusion::{
    data::Dataset,
    error::Result,
    host::download,
    random::{Stream, normal, rng},
    vdm::{
        Denoiser,
        Parameterization::{Eps, Score, V, X},
        diffuse,
    },
};
use serde_json::{Value, json};

use super::{Files, Lab, chapter_5_model, drawn, number, whole};

pub struct Readings {
    data: Dataset,
    denoiser: Denoiser,
}

impl Readings {
    /// With the weights of chapter 5. Fails if they are not there or damaged.
    pub fn new(files: &Files) -> Result<Self> {
        let (data, _, denoiser) = chapter_5_model(files)?;
        Ok(Self { data, denoiser })
    }
}

impl Lab for Readings {
    fn answer(&mut self, request: &Value) -> Result<Value> {
        let device = &Device::flex();
        let i = whole(request, "digit", 0, [0, self.data.test.len() - 1]);
        let level = number(request, "gamma", 0.0, [-8.0, 5.0]);
        let images = self.data.test.range(i, i + 1);
        let (x, gamma) = (images.values(device), Tensor::full([1], level, device));
        let eps =
            normal([1, images.dim()], &mut rng(0, Stream::Sampling, 2 + i as u64), device);
        let z = diffuse(x.clone(), gamma.clone(), eps);
        let x_hat = self.denoiser.denoise(z.clone(), gamma.clone(), None);
        let mut pictures =
            vec![json!({"name": "z", "values": drawn(download(z.clone())?)})];
        let mut errors = Vec::new();
        for (name, reading) in [("x", X), ("eps", Eps), ("score", Score), ("v", V)] {
            let read = |x: Tensor<2>| download(reading.from_x(x, z.clone(), gamma.clone()));
            let (estimate, truth) = (read(x_hat.clone())?, read(x.clone())?);
            let squares = estimate.iter().zip(&truth).map(|(a, b)| (a - b).powi(2));
            errors.push(squares.sum::<f64>());
            // The score of little noise is far larger than a picture's range.
            let largest = estimate.iter().fold(1.0_f64, |most, v| most.max(v.abs()));
            let scale = if name == "score" { largest } else { 1.0 };
            pictures.push(json!({
                "name": if scale > 1.0 { format!("{name}, divided by {scale:.1}") } else { name.into() },
                "values": drawn(estimate.into_iter().map(|v| v / scale)),
            }));
        }
        Ok(json!({
            "says": format!(
                "Test digit {i} at gamma {level:.2}. The one estimate has the squared error {:.3} as x, \
                 {:.3} as eps, {:.2} as the score and {:.3} as v.",
                errors[0], errors[1], errors[2], errors[3]
            ),
            "pictures": pictures,
            "errors": errors,
        }))
    }
}
