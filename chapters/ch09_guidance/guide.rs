//! Samples that are guided to a label: without a classifier, in an interval of noise levels
//! only, and by a classifier.

use burn::{
    module::Module,
    tensor::{Device, Tensor, activation::sigmoid},
};
use elbo_to_diffusion::{
    data::{Dataset, Images},
    error::Result,
    network::one_hot,
    progress,
    random::{Stream, rng},
    vdm::{Linear, Schedule, ancestral, decode},
};
use rayon::prelude::*;

use crate::{
    classifier::NoisyClassifier,
    train::{CLASSES, Networks},
};

/// Latents of the chain that is sampled.
const LATENTS: usize = 50;
/// Noise levels that are all there are.
pub const EVERYWHERE: [f64; 2] = [f64::NEG_INFINITY, f64::INFINITY];

/// Who says where the label is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Guide {
    /// The denoiser itself, with and without the label; in the place of w stands 1 unless
    /// gamma is between these two.
    Free([f64; 2]),
    /// A classifier of noisy images, for the denoiser without the label.
    Classifier,
}

/// Samples of all classes, one class after the other.
pub struct Samples {
    pub images: Images,
    /// What each should show.
    pub labels: Vec<u8>,
}

/// What it takes to sample.
pub struct Sampler<'a> {
    pub networks: &'a Networks,
    pub schedule: Linear,
    pub data: &'a Dataset,
    pub seed: u64,
    pub device: &'a Device,
}

impl Sampler<'_> {
    /// So many samples of each of these classes, with guidance of strength w. All start
    /// from the same noise, and add the same noise, whatever w and the guide.
    pub fn draw(
        &self,
        classes: &[u8],
        each: usize,
        w: f64,
        guide: Guide,
    ) -> Result<Samples> {
        let gammas = self.schedule.grid(LATENTS);
        let work = progress::work("samples", classes.len());
        let classifier = self.networks.noisy.clone().train().no_grad();
        let class = |&class: &u8| {
            let label = one_hot(&vec![Some(class); each], CLASSES, self.device);
            let denoise = |z, gamma| match guide {
                Guide::Free(levels) => self.free(z, gamma, label.clone(), (w, levels)),
                Guide::Classifier => {
                    self.classified(z, gamma, label.clone(), (w, &classifier))
                }
            };
            let noise = &mut rng(self.seed, Stream::Sampling, u64::from(class));
            let shape = [each, self.data.train.dim()];
            let z = ancestral(shape, &gammas, denoise, noise, self.device, |_, _, _| {});
            work.advance();
            decode(z, self.schedule.gamma_min, &self.data.train.grey_values())
        };
        let pixels: Result<Vec<Vec<u8>>> = classes.par_iter().map(class).collect();
        Ok(Samples {
            images: self.data.train.with_pixels(pixels?.concat()),
            labels: classes.iter().flat_map(|&class| vec![class; each]).collect(),
        })
    }

    // ANCHOR: free
    /// x_hat(z) + w (x_hat(z, y) - x_hat(z)), equation `classifier-free`, for z, `[n, d]`,
    /// gamma, `[n]`, and labels y, `[n, C]`.
    fn free(
        &self,
        z: Tensor<2>,
        gamma: Tensor<1>,
        label: Tensor<2>,
        (w, [low, high]): (f64, [f64; 2]),
    ) -> Tensor<2> {
        let denoiser = &self.networks.denoiser;
        let given = denoiser.denoise_given(z.clone(), gamma.clone(), Some(label), None);
        let inside = gamma.clone().greater_elem(low).float()
            * gamma.clone().lower_elem(high).float();
        let extra = inside.unsqueeze_dim::<2>(1) * (w - 1.0);
        let without = denoiser.denoise(z, gamma, None);
        given.clone() + (given - without) * extra
    }
    // ANCHOR_END: free

    // ANCHOR: classified
    /// x_hat(z) + w (1 - abar) / sqrt(abar) grad_z log q(y|z), equation
    /// `classifier-guidance`. The gradient is that of a classifier.
    fn classified(
        &self,
        z: Tensor<2>,
        gamma: Tensor<1>,
        label: Tensor<2>,
        (w, classifier): (f64, &NoisyClassifier),
    ) -> Tensor<2> {
        let at = Tensor::from_inner(z.clone()).require_grad();
        let log_probs =
            classifier.log_probs(at.clone(), Tensor::from_inner(gamma.clone()), None);
        let chosen = (log_probs * Tensor::from_inner(label)).sum();
        // A sum over images, of which each depends on its own z alone.
        let gradient = at.grad(&chosen.backward()).unwrap_or_else(|| z.zeros_like());
        let noise = sigmoid(gamma.clone()) / sigmoid(-gamma.clone()).sqrt();
        self.networks.denoiser.denoise(z, gamma, None)
            + gradient * noise.unsqueeze_dim::<2>(1) * w
    }
    // ANCHOR_END: classified
}

#[cfg(test)]
#[path = "guide_tests.rs"]
mod tests;
