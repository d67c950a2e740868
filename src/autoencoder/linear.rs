//! The linear VAE: decoder and encoder are linear, so its best ELBO is known exactly (probabilistic PCA).

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData},
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::{
    data::Images,
    error::Result,
    gaussian::DiagonalGaussian,
    host::download,
    network::layers::{Linear, linear},
    oracle::{Gaussian, LinearGaussian, Matrix, Vector},
    random::normal,
};

// ANCHOR: linear
/// p(z) = N(0, I), p(x|z) = N(W z + b, s2 I), q(z|x) = N(V x + c, diag(exp(log_var))). Lucas et al. (2019).
#[derive(Module, Debug)]
pub struct LinearVae {
    encoder: Linear,
    log_var: Param<Tensor<1>>,
    decoder: Linear,
    log_noise: Param<Tensor<1>>,
}

impl LinearVae {
    /// One draw of the ELBO of each image, [B], in nats of the pixel values' density. x is [B, d].
    pub fn elbo(&self, x: Tensor<2>, noise: &mut ChaCha8Rng) -> Tensor<1> {
        let mean = self.encoder.forward(x.clone());
        let q = DiagonalGaussian { log_var: self.log_var.val().unsqueeze::<2>().expand(mean.dims()), mean };
        let z = q.rsample(normal(q.mean.dims(), noise, &x.device()));
        let log_var = self.log_noise.val().unsqueeze::<2>().expand(x.dims());
        let p = DiagonalGaussian { mean: self.decoder.forward(z), log_var };
        p.log_prob(x) - q.kl_standard()
    }
}
// ANCHOR_END: linear

impl LinearVae {
    /// A model of d dimensions with k latent ones, and fresh weights.
    pub fn new(d: usize, k: usize, rng: &mut impl Rng, device: &Device) -> Self {
        let zeros = |n| Param::from_data(TensorData::zeros::<f32, _>([n]), device);
        Self {
            encoder: linear(d, k, 1.0, rng, device),
            log_var: zeros(k),
            decoder: linear(k, d, 1.0, rng, device),
            log_noise: zeros(1),
        }
    }

    /// The mean ELBO of the images in nats, exact, and the mean KL of each latent dimension.
    pub fn exact_elbo(&self, images: &Images) -> Result<(f64, Vec<f64>)> {
        let (v, c) = affine(&self.encoder)?;
        let (w, b) = affine(&self.decoder)?;
        let variances: Vec<f64> = download(self.log_var.val())?.iter().map(|l| l.exp()).collect();
        let noise = download(self.log_noise.val())?.iter().map(|l| l.exp()).sum();
        let model = LinearGaussian::standard(w, b, noise)?;
        let covariance = Matrix::from_diagonal(&Vector::from_vec(variances.clone()));
        let (mut elbo, mut kl) = (0.0, vec![0.0; variances.len()]);
        let (n, values) = (images.len() as f64, images.level_values());
        for image in images.iter() {
            let x = Vector::from_iterator(image.len(), image.iter().map(|&k| values[usize::from(k)]));
            let q = Gaussian::new(&v * &x + &c, covariance.clone())?;
            elbo += model.elbo(&x, &q)? / n;
            for ((kl, mean), s2) in kl.iter_mut().zip(q.mean().iter()).zip(&variances) {
                *kl += 0.5 * (mean * mean + s2 - s2.ln() - 1.0) / n;
            }
        }
        Ok((elbo, kl))
    }
}

/// The matrix [outputs, inputs] and the offset [outputs] of a linear layer.
fn affine(layer: &Linear) -> Result<(Matrix, Vector)> {
    let weight = layer.weight.val();
    let [inputs, outputs] = weight.dims();
    let matrix = Matrix::from_column_slice(outputs, inputs, &download(weight)?);
    Ok((matrix, Vector::from_vec(download(layer.bias.val())?)))
}
