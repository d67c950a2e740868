//! Chapter 3: a digit that the reader draws, its posterior on a plane of latents, and the
//! weight of the KL.

use std::path::Path;

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use elbo_to_diffusion::{
    autoencoder::{Batch, Fit, Size, Vae},
    data::{Dataset, Images, digits::digits},
    error::Result,
    host::{download, upload},
    random::{Stream, rng},
    weights,
};
use serde_json::{Value, json};

use super::{Files, Lab, drawn, number, read_weights, whole};

/// The name in the file of weights.
const NAME: &str = "ch03_plane";
/// Weights of the KL in training.
const WEIGHTS: [f64; 3] = [0.25, 1.0, 4.0];
/// Smaller than the chapter's networks, because all three are loaded.
const SIZES: [Size; 2] = [
    Size { hidden: 64, blocks: 1, dropout: 0.0 }, // q(z | x)
    Size { hidden: 64, blocks: 1, dropout: 0.2 }, // p(x | z)
];
/// As many as the chapter's plane has.
const STEPS: usize = 1500;
/// Test digits whose posterior means are shown.
const SHOWN: usize = 160;

/// A model for each weight.
#[derive(Module, Debug)]
struct Planes {
    models: Vec<Vae>,
}

impl Planes {
    fn fresh(train: &Images, device: &Device) -> Self {
        let model = |k: u64| {
            let init = &mut rng(0, Stream::Initialisation, 20 + k);
            Vae::new(train, 2, SIZES, init, device)
        };
        Self { models: (0..WEIGHTS.len() as u64).map(model).collect() }
    }
}

/// Trains the models of the lab and writes their weights.
///
/// # Errors
/// Where training fails or the file cannot be written.
pub fn train(file: &Path) -> Result<()> {
    let (data, device) = (digits()?, Device::flex());
    let fresh = Planes::fresh(&data.train, &device.clone().autodiff());
    let one = |(model, weight): (&Vae, f64)| {
        let mut fit = Fit { kl_weight: weight, ..Fit::new(STEPS, 0.5) };
        // As in the chapter: with larger steps, rounding decides where a digit comes to lie.
        fit.training.learning_rate = 2e-3;
        let loss = fit.loss(&data.train, 0, &device);
        let trained = fit.training.run(fit.training.begin(model), &[], loss, |_| Ok(()))?;
        Ok(trained.model)
    };
    let models = fresh.models.iter().zip(WEIGHTS).map(one).collect::<Result<_>>()?;
    weights::save(&Planes { models }, NAME, file)
}

pub struct Plane {
    data: Dataset,
    models: Vec<Vae>,
    /// The posterior means of some test digits, with their labels, for each weight.
    maps: Vec<Vec<Vec<f64>>>,
}

impl Plane {
    /// With the shipped weights. Fails if they are not there or damaged.
    pub fn new(files: &Files) -> Result<Self> {
        let (data, device) = (digits()?, &Device::flex());
        let fresh = Planes::fresh(&data.train, device);
        let models = read_weights(fresh, files, NAME)?.valid().models;
        let shown = data.test.first(SHOWN);
        let map = |model: &Vae| -> Result<Vec<Vec<f64>>> {
            let means = download(model.encoder.given(shown.values(device), None).mean)?;
            let labels = shown.known_labels()?;
            let points = means.chunks(2).zip(labels);
            Ok(points.map(|(z, label)| drawn([z[0], z[1], f64::from(*label)])).collect())
        };
        let maps = models.iter().map(map).collect::<Result<_>>()?;
        Ok(Self { data, models, maps })
    }

    /// What the reader drew, or a test digit.
    fn image(&self, request: &Value) -> Images {
        let levels = (self.data.train.grey_level_count() - 1) as u64;
        let pixels: Option<Vec<u8>> = request["pixels"].as_array().map(|pixels| {
            let level = |pixel: &Value| pixel.as_u64().unwrap_or(0).min(levels) as u8;
            pixels.iter().map(level).collect()
        });
        match pixels.filter(|pixels| pixels.len() == self.data.test.dim()) {
            Some(pixels) => self.data.test.with_pixels(pixels),
            None => {
                let i = whole(request, "digit", 0, [0, self.data.test.len() - 1]);
                self.data.test.range(i, i + 1)
            }
        }
    }
}

impl Lab for Plane {
    fn answer(&mut self, request: &Value) -> Result<Value> {
        let device = &Device::flex();
        let kind = whole(request, "weight", 1, [0, WEIGHTS.len() - 1]);
        let chosen = ["z1", "z2"].map(|key| number(request, key, 0.0, [-4.0, 4.0]));
        let (model, values) = (&self.models[kind], self.data.train.grey_values());
        let images = self.image(request);
        let Batch { x, grey_levels } = Batch::new(&images, device);
        let q = model.encoder.given(x.clone(), None);
        let (mean, log_var) = (download(q.mean.clone())?, download(q.log_var.clone())?);
        let deviation: Vec<f64> = log_var.iter().map(|v| (0.5 * v).exp()).collect();
        let kl = download(q.clone().kl_standard())?[0];
        let at: Tensor<2> = upload(chosen, device).reshape([1, 2]);
        let log_likelihood = |z: &Tensor<2>| -> Result<f64> {
            let nats = model.decoder.log_likelihood(grey_levels.clone(), z.clone(), None);
            Ok(download(nats)?[0])
        };
        let (at_mean, at_chosen) = (log_likelihood(&q.mean)?, log_likelihood(&at)?);
        let decoded = |z: Tensor<2>| download(model.decoder.mean(z, &values));
        Ok(json!({
            "says": format!(
                "With the weight {} of the KL, q(z|x) has mean ({:.2}, {:.2}) and deviations ({:.3}, {:.3}), \
                 {kl:.2} nats from the prior. log p(x|z) is {at_mean:.1} nats at that mean, and {at_chosen:.1} at z = \
                 ({:.2}, {:.2}).",
                WEIGHTS[kind], mean[0], mean[1], deviation[0], deviation[1], chosen[0], chosen[1],
            ),
            "pictures": [
                {"name": "x", "values": drawn(download(x)?)},
                {"name": "expected at the mean of q", "values": drawn(decoded(q.mean)?)},
                {"name": "expected at your z", "values": drawn(decoded(at)?)},
            ],
            "pixels": images.image(0),
            "mean": mean, "deviation": deviation, "kl": kl, "map": self.maps[kind],
        }))
    }
}
