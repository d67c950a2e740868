//! Chapter 5: one digit and a slider for t, and the sampler, with the weights of the
//! chapter's default run.

use burn::tensor::{Device, Tensor};
use elbo_to_diffusion::{
    chapter::Setting,
    data::Dataset,
    error::Result,
    host::download,
    random::{Stream, normal, rng},
    vdm::{
        Denoiser, Schedule, ancestral, decode, diffuse,
        process::denoising_weight,
        terms::{decoder_log_probs, reconstruction},
    },
};
use serde_json::{Value, json};

use super::{Files, Lab, chapter_5_model, drawn, whole};
use crate::chapters::ch05_vdm::LATENTS;

/// A trained network, and a walk of the sampler.
pub struct Digit {
    data: Dataset,
    setting: Setting,
    gammas: Vec<f64>,
    denoiser: Denoiser,
    /// The seed of the walk, and z_t and x_hat from t = T down to 2, then z_1 and the
    /// digit.
    walk: Option<(u64, Vec<[Vec<f64>; 2]>)>,
}

impl Digit {
    /// With the shipped weights. Fails if they are not there or damaged.
    pub fn new(files: &Files) -> Result<Self> {
        let (data, setting, denoiser) = chapter_5_model(files)?;
        let gammas = setting.linear().grid(LATENTS);
        Ok(Self { data, setting, gammas, denoiser, walk: None })
    }

    fn denoise(&self, z: Tensor<2>, gamma: Tensor<1>) -> Tensor<2> {
        self.denoiser.denoise(z, gamma, None)
    }

    /// A test digit, diffused to t with noise that is the same at all t.
    fn diffused(&self, request: &Value) -> Result<Value> {
        let device = &Device::flex();
        let i = whole(request, "digit", 0, [0, self.data.test.len() - 1]);
        let t = whole(request, "t", LATENTS / 2, [1, LATENTS]);
        let images = self.data.test.range(i, i + 1);
        let (x, gamma_t) = (images.values(device), self.gammas[t - 1]);
        let noise = &mut rng(0, Stream::Sampling, 2 + i as u64);
        let eps = normal([1, images.dim()], noise, device);
        let gamma = Tensor::full([1], gamma_t, device);
        let z = diffuse(x.clone(), gamma.clone(), eps);
        let x_hat = self.denoise(z.clone(), gamma);
        let error = download((x.clone() - x_hat.clone()).square().sum())?[0];
        let snr = (-gamma_t).exp();
        let label = images.labels().map_or(0, |labels| labels[0]);
        let (weight, nats, says);
        if t == 1 {
            let values = elbo_to_diffusion::host::upload(images.grey_values(), device);
            let log_probs = decoder_log_probs(z.clone(), gamma_t, values);
            nats = download(reconstruction(images.grey_levels(device), log_probs))?[0];
            weight = None;
            says = format!(
                "Test digit {i}, a {label}, at t = 1 of {LATENTS}: SNR {snr:.4}. \
                 No denoising term ends here; to read the digit off z_1 costs {nats:.4} nats."
            );
        } else {
            let w = denoising_weight(self.gammas[t - 2], gamma_t);
            nats = w * error;
            weight = Some(w);
            says = format!(
                "Test digit {i}, a {label}, at t = {t} of {LATENTS}: SNR {snr:.4}, \
                 squared error {error:.3}, weight {w:.5}, denoising term {nats:.4} nats."
            );
        }
        Ok(json!({
            "says": says,
            "pictures": [
                {"name": "x, the digit", "values": drawn(download(x)?)},
                {"name": "z_t, what is left of it", "values": drawn(download(z)?)},
                {"name": "x_hat, what the network expects", "values": drawn(download(x_hat)?)},
            ],
            "t": t, "snr": snr, "squared_error": error, "weight": weight, "nats": nats,
        }))
    }

    /// The sampler on its way, at t.
    fn sampled(&mut self, request: &Value) -> Result<Value> {
        let (device, d) = (&Device::flex(), self.data.train.dim());
        let seed = whole(request, "seed", 0, [0, 1_000_000]) as u64;
        let t = whole(request, "t", LATENTS, [1, LATENTS]);
        let walk = match self.walk.take() {
            Some((of, walk)) if of == seed => walk,
            _ => {
                let mut steps = Vec::new();
                let z = ancestral(
                    [1, d],
                    &self.gammas,
                    |z, gamma| self.denoise(z, gamma),
                    &mut rng(seed, Stream::Sampling, 1),
                    device,
                    |_, z, x_hat| steps.push([z.clone(), x_hat.clone()]),
                );
                let levels = decode(
                    z.clone(),
                    self.setting.trunk.gamma_min,
                    &self.data.train.grey_values(),
                )?;
                let values = self.data.train.grey_values();
                let digit = levels.iter().map(|&k| values[usize::from(k)]).collect();
                let mut walk = Vec::new();
                for step in steps {
                    let [z, x_hat] = step.map(download);
                    walk.push([z?, x_hat?]);
                }
                walk.push([download(z)?, digit]);
                walk
            }
        };
        let [z, x_hat] = walk[LATENTS - t].clone();
        let change = match LATENTS - t {
            0 => 0.0,
            before => {
                let squares =
                    walk[before - 1][1].iter().zip(&x_hat).map(|(a, b)| (a - b).powi(2));
                (squares.sum::<f64>() / d as f64).sqrt()
            }
        };
        self.walk = Some((seed, walk));
        let says = if t == 1 {
            format!("The sampler with seed {seed} is at t = 1: the digit is read off z_1.")
        } else {
            format!(
                "The sampler with seed {seed} is at t = {t} of {LATENTS}, SNR {:.4}; \
                 in the last step a pixel of x_hat moved by {change:.4}, root mean square.",
                (-self.gammas[t - 1]).exp()
            )
        };
        let last = if t == 1 { "the digit" } else { "x_hat, what the network expects" };
        Ok(json!({
            "says": says,
            "pictures": [
                {"name": "z_t", "values": drawn(z)},
                {"name": last, "values": drawn(x_hat)},
            ],
            "t": t, "change": change,
        }))
    }
}

impl Lab for Digit {
    fn answer(&mut self, request: &Value) -> Result<Value> {
        match request["view"].as_str() {
            Some("sample") => self.sampled(request),
            _ => self.diffused(request),
        }
    }
}
