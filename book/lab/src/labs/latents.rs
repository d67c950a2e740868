//! Chapter 3: the latents of one digit, moved by hand, with the weights of the chapter's
//! default run.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use elbo_to_diffusion::{
    autoencoder::{Batch, Vae},
    data::{Dataset, digits::digits},
    error::Result,
    host::{download, upload},
    random::{Stream, normal, rng},
};
use serde_json::{Value, json};

use super::{Files, Lab, drawn, number, read_weights, whole};
use crate::chapters::ch03_vae::SPEC;

/// Latent dimensions of the chapter's model.
const LATENTS: usize = 16;

pub struct Latents {
    data: Dataset,
    model: Vae,
}

impl Latents {
    /// With the shipped weights. Fails if they are not there or damaged.
    pub fn new(files: &Files) -> Result<Self> {
        let data = digits()?;
        let init = &mut rng(0, Stream::Initialisation, LATENTS as u64);
        let fresh = Vae::new(&data.train, LATENTS, Vae::SIZES, init, &Device::flex());
        let model = read_weights(fresh, files, SPEC.name)?.valid();
        Ok(Self { data, model })
    }
}

impl Lab for Latents {
    /// A test digit, or a draw from the prior; one latent moved; noise or none.
    fn answer(&mut self, request: &Value) -> Result<Value> {
        let device = &Device::flex();
        let values = self.data.train.grey_values();
        let i = whole(request, "digit", 0, [0, self.data.test.len() - 1]);
        let which = whole(request, "latent", 1, [1, LATENTS]);
        let to = number(request, "to", 0.0, [-4.0, 4.0]);
        let (images, draws) =
            (self.data.test.range(i, i + 1), whole(request, "draw", 0, [0, 1_000_000]));
        let Batch { x, grey_levels } = Batch::new(&images, device);
        let q = self.model.encoder.given(x.clone(), None);
        let noise = &mut rng(draws as u64, Stream::Posterior, i as u64);
        // Without a draw, the mean of q.
        let z = match draws {
            0 => q.mean.clone(),
            _ => q.rsample(normal([1, LATENTS], noise, device)),
        };
        let mut moved = download(z.clone())?;
        let (mean, log_var) = (download(q.mean.clone())?, download(q.log_var.clone())?);
        let deviation = (0.5 * log_var[which - 1]).exp();
        moved[which - 1] += to;
        let at: Tensor<2> = upload(moved.iter().copied(), device).reshape([1, LATENTS]);
        let reconstruct = |z| self.model.decoder.mean(z, &values);
        let log_likelihood = |z| -> Result<f64> {
            Ok(download(self.model.decoder.log_likelihood(grey_levels.clone(), z, None))?
                [0])
        };
        let (before, after) = (log_likelihood(z.clone())?, log_likelihood(at.clone())?);
        let kl = download(q.kl_standard())?[0];
        Ok(json!({
            "says": format!(
                "Test digit {i}: KL(q, prior) is {kl:.2} nats. Latent {which} has mean {:.2} and deviation \
                 {deviation:.2} under q; moved by {to:.2} it takes log p(x given z) from {before:.2} to {after:.2} nats.",
                mean[which - 1]
            ),
            "pictures": [
                {"name": "x, the digit", "values": drawn(download(x)?)},
                {"name": "mean of x given z", "values": drawn(download(reconstruct(z))?)},
                {"name": "the same with the latent moved", "values": drawn(download(reconstruct(at))?)},
            ],
            "kl": kl, "log_likelihood": after,
        }))
    }
}
