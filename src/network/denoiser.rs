//! The weights of the denoiser, and what its layers say of a noisy image. How x is
//! estimated with them stands in the room of the model.

use std::f64::consts::PI;

use burn::{
    module::{Module, Param},
    tensor::{Device, Tensor, TensorData},
};
use rand_chacha::ChaCha8Rng;

use super::{
    layers::{Linear, TIME_FEATURES},
    trunk::{Trunk, TrunkConfig},
};
use crate::{
    data::{Images, Marginals},
    host::upload,
    random::{Stream, rng},
};

/// Number of curves over the grey levels that the network mixes for each pixel, J, where
/// [`Denoiser::with_curves`] does not choose another.
const CURVES: usize = 2;
/// What each count of a grey level is raised by, so that none is impossible.
const PSEUDO_COUNT: f64 = 0.1;

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

// ANCHOR: features
/// What a network is told of each pixel, `[B, 2 d]`: its mean and twice its standard
/// deviation, from the mean and the variance of each pixel alone, `[B, 2 d]`.
pub fn mean_and_spread(alone: Tensor<2>) -> Tensor<2> {
    let d = alone.dims()[1] / 2;
    // A root has no slope at zero; a pixel that is certain need not have one.
    let deviation = alone.clone().narrow(1, d, d).clamp_min(1e-20).sqrt() * 2.0;
    Tensor::cat(vec![alone.narrow(1, 0, d), deviation], 1)
}
// ANCHOR_END: features

/// A residual network that corrects the exact denoiser of independent pixels.
#[derive(Module, Debug)]
pub struct Denoiser {
    /// From the mean and the spread of each pixel on its own, `[2 d]`.
    trunk: Trunk,
    /// J numbers per pixel, `[h, J d]`; `[h, J]` behind a U-Net.
    output: Linear,
    /// The curves over the grey levels that these numbers mix, `[J, V]`.
    pub(crate) curves: Param<Tensor<2>>,
    /// What is added to the logits of every image, `[d, V]`.
    pub(crate) bias: Param<Tensor<2>>,
    /// Log probability of each grey level of each pixel in the training set, `[d, V]`.
    /// Saved with the weights, never trained.
    pub(crate) log_marginals: Param<Tensor<2>>,
    /// What each of C labels adds to the features of the noise level, `[C, 17]`, if the
    /// network takes labels.
    labels: Option<Param<Tensor<2>>>,
    /// The values x_k of the grey levels, V of them.
    #[module(skip)]
    pub(crate) values: Vec<f64>,
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
        let log_marginals =
            Param::from_tensor(upload(log_marginals, device).reshape([d, v]));
        Self {
            trunk: Trunk::new(config, 2, d, rng, device),
            output: config.output(CURVES, d, rng, device),
            curves: curves(&values, CURVES, device),
            bias: Param::from_data(TensorData::zeros::<f32, _>([d, v]), device),
            log_marginals: log_marginals.set_require_grad(false),
            labels: None,
            values,
            config,
        }
    }

    /// The same network with J curves in the place of two, before it is trained: on images
    /// with many grey levels the odds of a level have more shapes.
    pub fn with_curves(self, count: usize, device: &Device) -> Self {
        let d = self.log_marginals.dims()[0];
        // The layer starts at zero, whatever is drawn for it.
        let rng = &mut rng(0, Stream::Initialisation, 0);
        Self {
            output: self.config.output(count, d, rng, device),
            curves: curves(&self.values, count, device),
            ..self
        }
    }

    /// The same network with C labels as a further input. What each label adds starts at
    /// zero, so an untrained network does not look at it.
    pub fn with_labels(self, classes: usize, device: &Device) -> Self {
        let zeros = TensorData::zeros::<f32, _>([classes, TIME_FEATURES]);
        Self { labels: Some(Param::from_data(zeros, device)), ..self }
    }

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
    /// How much of each curve is in f, `[B, d, J]`: from the mean and the variance of each
    /// pixel alone, `[B, 2 d]`, gamma, `[B]`, and the labels of [`one_hot`], `[B, C]`. With
    /// a generator, units are dropped out (training).
    pub(crate) fn correction(
        &self,
        alone: Tensor<2>,
        gamma: Tensor<1>,
        label: Option<Tensor<2>>,
        dropout: Option<&mut ChaCha8Rng>,
    ) -> Tensor<3> {
        let [batch, d] = [alone.dims()[0], alone.dims()[1] / 2];
        let told = self.conditioning(gamma, label);
        let hidden = self.trunk.forward(mean_and_spread(alone), told, dropout);
        self.output.forward(hidden).reshape([batch, d, self.curves.dims()[0]])
    }
    // ANCHOR_END: correction
}

/// J curves over grey levels with these values, `[J, V]`, to begin with: one rises with the
/// level, one singles out the lowest, for half of all pixels are blank, one the highest
/// 64th, and the others swing ever faster.
fn curves(values: &[f64], count: usize, device: &Device) -> Param<Tensor<2>> {
    let v = values.len();
    let curve = |j: usize| {
        values.iter().enumerate().map(move |(k, x)| match j {
            0 => *x,
            1 => 2.0 * f64::from(k == 0),
            2 => 2.0 * f64::from(k + v.div_ceil(64) >= v),
            _ => (0.5 * PI * (j - 1) as f64 * (x + 1.0)).cos(),
        })
    };
    Param::from_tensor(upload((0..count).flat_map(curve), device).reshape([count, v]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        data::digits::digits,
        error::Result,
        host::download,
        network::{Layers, layers::linear},
        random::normal,
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
        network.output = linear(16, CURVES * 64, 1.0, init, device);
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

    #[test]
    fn more_curves_change_nothing_before_training_and_reach_the_odds_after_it() -> Result<()>
    {
        let (device, draws) = (Device::flex(), &mut rng(1, Stream::Evaluation, 0));
        let mut trained = network()?;
        let z = normal([2, 64], draws, &device);
        let gamma = upload([-2.0, 0.5], &device);
        let denoise =
            |network: &Denoiser| download(network.denoise(z.clone(), gamma.clone(), None));
        let two = trained.clone().with_curves(2, &device);
        assert_eq!(two.curves.val().into_data(), trained.curves.val().into_data());
        // All of them start with odds of one, whatever their number.
        let mut eight = trained.clone().with_curves(8, &device);
        assert_eq!(eight.curves.dims(), [8, 17]);
        let curves = download(eight.curves.val())?;
        let rows: Vec<&[f64]> = curves.chunks(17).collect();
        assert_eq!(rows[2].iter().position(|c| *c > 0.0), Some(16));
        // From the fourth on, each crosses zero once more than the one before.
        let crossings = |row: &[f64]| row.windows(2).filter(|c| c[0] * c[1] < 0.0).count();
        let crossings: Vec<_> = rows[3..].iter().map(|row| crossings(row)).collect();
        assert_eq!(crossings, [2, 3, 4, 5, 6]);
        assert_eq!(denoise(&eight)?, denoise(&two)?);
        // With two weights that say the same as the old output, and six that say nothing,
        // so does the network; with another it does not.
        let spread = |weights: Tensor<2>, j: usize| {
            let rows = weights.dims()[0];
            let of_pixels = weights.reshape([rows, 64, 2]);
            let others = Tensor::zeros([rows, 64, j - 2], &device);
            Tensor::cat(vec![of_pixels, others], 2).reshape([rows, 64 * j])
        };
        trained.output.bias = trained.output.bias.map(|b| b * 0.0);
        eight.output.weight = Param::from_tensor(spread(trained.output.weight.val(), 8));
        let (old, new) = (denoise(&trained)?, denoise(&eight)?);
        assert!(old.iter().zip(&new).all(|(a, b)| (a - b).abs() < 1e-5));
        eight.output.weight = eight.output.weight.map(|w| w + 0.5);
        assert_ne!(denoise(&eight)?, new);
        Ok(())
    }
}
