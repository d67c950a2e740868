//! The linear VAE: decoder and encoder are linear, so its best ELBO is known exactly
//! (probabilistic PCA).

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData},
};
use elbo_to_diffusion::{
    data::Images,
    error::Result,
    gaussian::DiagonalGaussian,
    host::download,
    network::layers::{Linear, linear},
    oracle::{Gaussian, LinearGaussian, Matrix, Vector},
    random::normal,
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

// ANCHOR: linear
/// p(z) = N(0, I), p(x|z) = N(W z + b, s2 I), q(z|x) = N(V x + c, diag(exp(log_var))).
/// Lucas et al. (2019).
#[derive(Module, Debug)]
pub struct LinearVae {
    encoder: Linear,
    log_var: Param<Tensor<1>>,
    decoder: Linear,
    log_noise: Param<Tensor<1>>,
}

impl LinearVae {
    /// One draw of the ELBO of each image, `[B]`, in nats of the pixel values' density,
    /// for x `[B, d]`.
    pub fn elbo(&self, x: Tensor<2>, noise: &mut ChaCha8Rng) -> Tensor<1> {
        let mean = self.encoder.forward(x.clone());
        let log_var = self.log_var.val().unsqueeze::<2>().expand(mean.dims());
        let q = DiagonalGaussian { mean, log_var };
        let z = q.rsample(normal(q.mean.dims(), noise, &x.device()));
        let log_var = self.log_noise.val().unsqueeze::<2>().expand(x.dims());
        let p = DiagonalGaussian { mean: self.decoder.forward(z), log_var };
        p.log_prob(x) - q.kl_standard()
    }
}
// ANCHOR_END: linear

/// The ELBO of a linear VAE, exact, in nats.
pub struct ExactElbo {
    /// Its mean over the images.
    pub elbo: f64,
    /// The mean KL of each latent dimension, `[k]`.
    pub kl: Vec<f64>,
}

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

    /// The mean ELBO of the images.
    pub fn exact_elbo(&self, images: &Images) -> Result<ExactElbo> {
        let (v, c) = affine(&self.encoder)?;
        let (w, b) = affine(&self.decoder)?;
        let variances: Vec<f64> =
            download(self.log_var.val())?.iter().map(|l| l.exp()).collect();
        let noise = download(self.log_noise.val())?.iter().map(|l| l.exp()).sum();
        let model = LinearGaussian::standard(w, b, noise)?;
        let covariance = Matrix::from_diagonal(&Vector::from_vec(variances.clone()));
        let (mut elbo, mut kl) = (0.0, vec![0.0; variances.len()]);
        let (n, values) = (images.len() as f64, images.grey_values());
        for image in images.iter() {
            let x = Vector::from_iterator(
                image.len(),
                image.iter().map(|&v| values[usize::from(v)]),
            );
            let q = Gaussian::new(&v * &x + &c, covariance.clone())?;
            elbo += model.elbo(&x, &q)? / n;
            for ((kl, mean), s2) in kl.iter_mut().zip(q.mean().iter()).zip(&variances) {
                *kl += 0.5 * (mean * mean + s2 - s2.ln() - 1.0) / n;
            }
        }
        Ok(ExactElbo { elbo, kl })
    }
}

/// The matrix `[outputs, inputs]` and the offset `[outputs]` of a linear layer.
fn affine(layer: &Linear) -> Result<(Matrix, Vector)> {
    let weight = layer.weight.val();
    let [inputs, outputs] = weight.dims();
    let matrix = Matrix::from_column_slice(outputs, inputs, &download(weight)?);
    Ok((matrix, Vector::from_vec(download(layer.bias.val())?)))
}

#[cfg(test)]
mod tests {
    use elbo_to_diffusion::{
        data::digits::digits,
        oracle::Estimate,
        random::{Stream, rng},
    };

    use super::*;

    #[test]
    fn the_exact_elbo_of_the_linear_vae_is_the_mean_of_its_draws() {
        let (images, device) =
            (digits().expect("the embedded digits").train.range(0, 20), Device::flex());
        let model =
            LinearVae::new(images.dim(), 3, &mut rng(7, Stream::Evaluation, 10), &device);
        let exact = model.exact_elbo(&images).expect("an ELBO");
        let noise = &mut rng(7, Stream::Evaluation, 11);
        let mut estimate = Estimate::default();
        for _ in 0..2000 {
            let draw = model.elbo(images.values(&device), noise).mean();
            estimate.push(download(draw).expect("a tensor on the CPU")[0]);
        }
        assert!(
            estimate.z_score(exact.elbo).abs() < 4.0,
            "{} and {}",
            estimate.mean(),
            exact.elbo
        );
        assert_eq!(exact.kl.len(), 3);
        assert!(exact.kl.iter().all(|&kl| kl > 0.0));
    }
}
