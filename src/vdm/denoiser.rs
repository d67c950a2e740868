//! The denoiser: the exact posterior of each pixel on its own, and how a network corrects
//! it. The network's weights and layers stand in [`crate::network::denoiser`].

use burn::tensor::{
    Tensor,
    activation::{sigmoid, softmax},
};
use rand_chacha::ChaCha8Rng;

pub use crate::network::Denoiser;
use crate::{
    host::upload,
    kernels::{GreyOdds, level_moments},
};

// ANCHOR: pixel_odds
/// What z_t, `[B, d]`, says at gamma_t, `[B]`, of the grey level of each pixel on its own:
/// the odds are log m_ik, `[d, V]`, plus the log of N(z_i; sqrt(abar) x_k, 1 - abar), which
/// as a function of x_k is -SNR / 2 (z_i / sqrt(abar) - x_k)^2.
pub fn pixel_odds(
    z: Tensor<2>,
    gamma: Tensor<1>,
    log_marginals: Tensor<2>,
    values: &[f64],
) -> GreyOdds {
    let ([batch, d], device) = (z.dims(), z.device());
    GreyOdds {
        seen: z / sigmoid(-gamma.clone()).sqrt().unsqueeze_dim(1),
        precision: (-gamma).exp() * 0.5,
        base: log_marginals,
        // Nothing, of a curve that says nothing.
        mix: Tensor::zeros([batch, d, 1], &device),
        curves: Tensor::zeros([1, values.len()], &device),
        values: upload(values.iter().copied(), &device),
    }
}
// ANCHOR_END: pixel_odds

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

impl Denoiser {
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
    /// from chapter 9 on, from the labels of [`one_hot`](crate::network::one_hot).
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
        let (d, log_m) = (z.dims()[1], self.log_marginals.val());
        // First each pixel alone ...
        let alone = pixel_odds(z, gamma.clone(), log_m.clone(), &self.values);
        // ... then with what the other pixels say.
        let mix = self.correction(level_moments(alone.clone()), gamma, label, dropout);
        let (base, curves) = (log_m + self.bias.val(), self.curves.val());
        level_moments(GreyOdds { base, mix, curves, ..alone }).narrow(1, 0, d)
    }
    // ANCHOR_END: denoise
}
