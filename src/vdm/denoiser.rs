//! The network that estimates the clean image from a noisy one.

use burn::{
    module::{Module, Param},
    tensor::{
        Device, Tensor, TensorData,
        activation::{sigmoid, softmax},
    },
};
use rand_chacha::ChaCha8Rng;

use crate::{
    data::{Images, Marginals},
    host::upload,
    kernels::{GreyOdds, level_moments},
    network::{
        Trunk, TrunkConfig,
        layers::{Linear, TIME_FEATURES},
    },
};

/// Number of curves over the grey levels that the network mixes for each pixel, J.
const CURVES: usize = 2;
/// What each count of a grey level is raised by, so that none is impossible.
const PSEUDO_COUNT: f64 = 0.1;

// ANCHOR: pixel_posterior
/// The mean and the variance of each pixel's value, `[B, 2 d]`: the plain form of
/// [`level_moments`], which computes the same in one loop.
pub fn pixel_posterior(odds: GreyOdds) -> Tensor<2> {
    let [b, d, j] = odds.mix.dims();
    let values = odds.values.unsqueeze::<3>();
    let gap = odds.seen.unsqueeze_dim::<3>(2) - values.clone();
    let log_fit = gap.square() * -odds.precision.reshape([b, 1, 1]);
    let mixed =
        odds.mix.reshape([b * d, j]).matmul(odds.curves).reshape([b as i32, d as i32, -1]);
    let p = softmax(odds.base.unsqueeze::<3>() + mixed + log_fit, 2);
    let mean = (p.clone() * values.clone()).sum_dim(2);
    let variance = (p * (values - mean.clone()).square()).sum_dim(2);
    Tensor::cat(vec![mean.squeeze_dim::<2>(2), variance.squeeze_dim(2)], 1)
}
// ANCHOR_END: pixel_posterior

// ANCHOR: one_hot
/// One row for each image, `[B, C]`: a one in the place of its label, or zeros for the null
/// label, which is also what a label of C or above counts as.
pub fn one_hot(labels: &[Option<u8>], classes: usize, device: &Device) -> Tensor<2> {
    let row = |label: &Option<u8>| {
        let label = label.map(usize::from);
        (0..classes).map(move |class| f64::from(u8::from(label == Some(class))))
    };
    upload(labels.iter().flat_map(row), device).reshape([labels.len(), classes])
}
// ANCHOR_END: one_hot

/// A residual network that corrects the exact denoiser of independent pixels.
#[derive(Module, Debug)]
pub struct Denoiser {
    /// From the mean and the spread of each pixel on its own, `[2 d]`.
    trunk: Trunk,
    /// J numbers per pixel, `[h, J d]`; `[h, J]` behind a U-Net.
    output: Linear,
    /// The curves over the grey levels that these numbers mix, `[J, V]`.
    curves: Param<Tensor<2>>,
    /// What is added to the logits of every image, `[d, V]`.
    bias: Param<Tensor<2>>,
    /// Log probability of each grey level of each pixel in the training set, `[d, V]`.
    /// Saved with the weights, never trained.
    log_marginals: Param<Tensor<2>>,
    /// What each of C labels adds to the features of the noise level, `[C, 17]`, if the
    /// network takes labels.
    labels: Option<Param<Tensor<2>>>,
    #[module(skip)]
    values: Vec<f64>,
    #[module(skip)]
    config: TrunkConfig,
}

impl Denoiser {
    /// A network with fresh weights for images like those of `train`: it knows the values
    /// of their grey levels, and how often each occurs at each pixel.
    pub fn for_images(
        train: &Images,
        trunk: TrunkConfig,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let log_marginals = Marginals::fit(train, PSEUDO_COUNT).log_probs;
        Self::new(train.grey_values(), log_marginals, trunk, rng, device)
    }

    /// A network with fresh weights for pixels with these values x_k, V of them, ascending,
    /// and these log probabilities of each grey level of each pixel, d V, pixel after
    /// pixel. Its output layers start at zero, so an untrained network is the exact
    /// denoiser of independent pixels, and training starts where the independent baseline
    /// ends.
    pub fn new(
        values: Vec<f64>,
        log_marginals: Vec<f64>,
        config: TrunkConfig,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let (v, d) = (values.len(), log_marginals.len() / values.len());
        // One curve rises with the grey level, one singles out the lowest: half of all
        // pixels are blank.
        let blank = (0..v).map(|k| if k == 0 { 2.0 } else { 0.0 });
        let curves =
            upload(values.iter().copied().chain(blank), device).reshape([CURVES, v]);
        let log_marginals =
            Param::from_tensor(upload(log_marginals, device).reshape([d, v]));
        Self {
            trunk: Trunk::new(config, 2, d, rng, device),
            output: config.output(CURVES, d, rng, device),
            curves: Param::from_tensor(curves),
            bias: Param::from_data(TensorData::zeros::<f32, _>([d, v]), device),
            log_marginals: log_marginals.set_require_grad(false),
            labels: None,
            values,
            config,
        }
    }

    /// The same network with C labels as a further input. What each label adds starts at
    /// zero, so an untrained network does not look at it.
    pub fn with_labels(self, classes: usize, device: &Device) -> Self {
        let zeros = TensorData::zeros::<f32, _>([classes, TIME_FEATURES]);
        Self { labels: Some(Param::from_data(zeros, device)), ..self }
    }

    /// Estimates x without a label: [`Self::denoise_given`] for every image's null label.
    pub fn denoise(
        &self,
        z: Tensor<2>,
        gamma: Tensor<1>,
        dropout: Option<&mut ChaCha8Rng>,
    ) -> Tensor<2> {
        self.denoise_given(z, gamma, None, dropout)
    }

    // ANCHOR: denoise
    /// x_hat_i = sum_k p_ik x_k: estimates x from z_t, `[B, d]`, and gamma_t, `[B]`, and,
    /// from chapter 9 on, from the labels of [`one_hot`].
    ///
    /// p_ik is proportional to exp(f_ik) m_ik N(z_i; sqrt(abar) x_k, 1 - abar). The network
    /// only says, through f, how the other pixels change the odds of a grey level. With a
    /// generator, units are dropped out (training).
    pub fn denoise_given(
        &self,
        z: Tensor<2>,
        gamma: Tensor<1>,
        label: Option<Tensor<2>>,
        dropout: Option<&mut ChaCha8Rng>,
    ) -> Tensor<2> {
        let ([batch, d], device) = (z.dims(), z.device());
        let (log_m, curves) = (self.log_marginals.val(), self.curves.val());
        // First each pixel alone, with nothing of the curves mixed in...
        let alone = GreyOdds {
            // As a function of x_k, the Gaussian is exp(-SNR / 2 (z_i / sqrt(abar) -
            // x_k)^2).
            seen: z / sigmoid(-gamma.clone()).sqrt().unsqueeze_dim(1),
            precision: (-gamma.clone()).exp() * 0.5,
            base: log_m.clone(),
            mix: Tensor::zeros([batch, d, CURVES], &device),
            curves: curves.clone().detach(),
            values: upload(self.values.iter().copied(), &device),
        };
        // ... then with what the other pixels say.
        let told = self.conditioning(gamma, label);
        let mix = self.correction(level_moments(alone.clone()), told, dropout);
        let together =
            level_moments(GreyOdds { base: log_m + self.bias.val(), mix, curves, ..alone });
        together.narrow(1, 0, d)
    }
    // ANCHOR_END: denoise

    // ANCHOR: conditioning
    /// What the network is told beside the pixels, `[B, 17]`: the features of the noise
    /// level gamma, `[B]`, and what the label adds to them, `[B, C]` times `[C, 17]`. The
    /// null label, a row of zeros, adds nothing.
    fn conditioning(&self, gamma: Tensor<1>, label: Option<Tensor<2>>) -> Tensor<2> {
        let time = self.config.time_features(gamma);
        match (label, &self.labels) {
            (Some(label), Some(embedding)) => time + label.matmul(embedding.val()),
            _ => time,
        }
    }
    // ANCHOR_END: conditioning

    // ANCHOR: correction
    /// How much of each curve is in f, `[B, d, J]`, from the mean and the variance of each
    /// pixel alone, `[B, 2 d]`, and what else the network is told, `[B, 17]`.
    fn correction(
        &self,
        alone: Tensor<2>,
        told: Tensor<2>,
        dropout: Option<&mut ChaCha8Rng>,
    ) -> Tensor<3> {
        let [batch, d] = [alone.dims()[0], alone.dims()[1] / 2];
        // A root has no slope at zero; a pixel that is certain need not have one.
        let deviation = alone.clone().narrow(1, d, d).clamp_min(1e-20).sqrt() * 2.0;
        let features = Tensor::cat(vec![alone.narrow(1, 0, d), deviation], 1);
        let mix = self.output.forward(self.trunk.forward(features, told, dropout));
        mix.reshape([batch, d, CURVES])
    }
    // ANCHOR_END: correction
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        data::digits::digits,
        error::Result,
        host::download,
        network::Layers,
        random::{Stream, normal, rng},
    };

    fn network() -> Result<Denoiser> {
        let trunk = TrunkConfig {
            gamma_min: -8.0,
            gamma_max: 5.0,
            layers: Layers::Dense,
            hidden: 16,
            blocks: 1,
            dropout: 0.0,
        };
        let init = &mut rng(0, Stream::Initialisation, 0);
        let device = &Device::flex();
        let mut network = Denoiser::for_images(&digits()?.train, trunk, init, device);
        // As if it were trained: the output and the labels say something.
        network.output = crate::network::layers::linear(16, CURVES * 64, 1.0, init, device);
        let mut network = network.with_labels(3, device);
        network.labels = Some(Param::from_tensor(normal([3, TIME_FEATURES], init, device)));
        Ok(network)
    }

    #[test]
    fn the_null_label_is_no_label_and_another_one_tells() -> Result<()> {
        let (network, device) = (network()?, Device::flex());
        let z = normal([4, 64], &mut rng(0, Stream::Evaluation, 0), &device);
        let gamma = upload([-2.0, 0.0, 1.0, 3.0], &device);
        let given = |labels: &[Option<u8>]| {
            let labels = one_hot(labels, 3, &device);
            download(network.denoise_given(z.clone(), gamma.clone(), Some(labels), None))
        };
        let none = download(network.denoise(z.clone(), gamma.clone(), None))?;
        assert_eq!(given(&[None; 4])?, none);
        // A label that there is not counts as none.
        let mixed = given(&[None, Some(2), Some(3), None])?;
        assert_eq!((&mixed[..64], &mixed[128..]), (&none[..64], &none[128..]));
        let told = (64..128).map(|i| (mixed[i] - none[i]).abs()).fold(0.0, f64::max);
        assert!(told > 1e-3, "{told}");
        assert_ne!(given(&[Some(0); 4])?, given(&[Some(1); 4])?);
        Ok(())
    }
}
