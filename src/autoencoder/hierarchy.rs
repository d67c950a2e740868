//! The Markovian hierarchical variational autoencoder: a chain of latents z_1, ..., z_T
//! above the data.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{
    model::{Autoencoder, Batch, Terms},
    network::{CategoricalDecoder, GaussianNetwork},
    size::Size,
};
use crate::{data::Images, gaussian::DiagonalGaussian, random::normal};

// ANCHOR: hvae
/// p(z_T) = N(0, I), p(z_{t-1}|z_t) and p(x|z_1) by decoders; q(z_1|x) and
/// q(z_t|z_{t-1}) by encoders. Every step sees its neighbour alone. Equations
/// `mhvae-joint` and `mhvae-posterior`; Luo (2022), eqs. 23 and 24.
#[derive(Module, Debug)]
pub struct Hvae {
    /// q(z_1 | x), q(z_2 | z_1), ..., q(z_T | z_{T-1}).
    pub encoders: Vec<GaussianNetwork>,
    /// p(z_1 | z_2), ..., p(z_{T-1} | z_T).
    pub priors: Vec<GaussianNetwork>,
    /// p(x | z_1).
    pub decoder: CategoricalDecoder,
}
// ANCHOR_END: hvae

/// The sizes of the networks of an [`Hvae`].
#[derive(Clone, Debug, PartialEq)]
pub struct HvaeConfig {
    /// Dimensions of z_1, ..., z_T.
    pub latents: Vec<usize>,
    /// The network of q(z_1 | x).
    pub encoder: Size,
    /// The networks between two levels of latents.
    pub between: Size,
    /// The network of p(x | z_1).
    pub decoder: Size,
}

impl HvaeConfig {
    // ANCHOR: config
    /// Three levels of 16, 8 and 4 latents above the digits. The widths are chosen so that
    /// it has no more weights than chapter 3's model.
    pub fn of_digits() -> Self {
        Self {
            latents: vec![16, 8, 4],
            encoder: Size { hidden: 128, blocks: 0, dropout: 0.0 },
            between: Size { hidden: 54, blocks: 1, dropout: 0.0 },
            decoder: Size { hidden: 128, blocks: 0, dropout: 0.1 },
        }
    }
    // ANCHOR_END: config

    /// A model of images like those of `train`, with fresh weights.
    pub fn init(&self, train: &Images, rng: &mut impl Rng, device: &Device) -> Hvae {
        let between = |from: usize, to: usize, rng: &mut _| {
            GaussianNetwork::new(from, to, self.between, rng, device)
        };
        let bottom = self.latents.first().copied().unwrap_or_default();
        let mut encoders =
            vec![GaussianNetwork::new(train.dim(), bottom, self.encoder, rng, device)];
        let decoder = CategoricalDecoder::new(bottom, train, self.decoder, rng, device);
        let pairs = || self.latents.windows(2).map(|pair| (pair[0], pair[1]));
        encoders.extend(pairs().map(|(below, above)| between(below, above, rng)));
        let priors = pairs().map(|(below, above)| between(above, below, rng)).collect();
        Hvae { encoders, priors, decoder }
    }
}

/// A level of latents for one draw: q(z_t | below), the z_t drawn from it, and p(z_t |
/// z_{t+1}).
struct LatentLevel {
    q: DiagonalGaussian,
    z: Tensor<2>,
    p: DiagonalGaussian,
}

impl Hvae {
    /// Draws z_1 from `bottom`, then z_2, ..., z_T from the encoders one after the other,
    /// and computes each level's prior.
    fn climb(
        &self,
        bottom: DiagonalGaussian,
        noise: &mut ChaCha8Rng,
        mut dropout: Option<&mut ChaCha8Rng>,
    ) -> Vec<LatentLevel> {
        let mut draw = |q: DiagonalGaussian| {
            let z = q.rsample(normal(q.mean.dims(), noise, &q.mean.device()));
            LatentLevel { p: DiagonalGaussian::standard(&z), q, z }
        };
        let mut levels = vec![draw(bottom)];
        for (t, (encoder, prior)) in self.encoders[1..].iter().zip(&self.priors).enumerate()
        {
            let above = draw(encoder.given(levels[t].z.clone(), dropout.as_deref_mut()));
            levels[t].p = prior.given(above.z.clone(), dropout.as_deref_mut());
            levels.push(above);
        }
        levels
    }

    // ANCHOR: descend
    /// Ancestral sampling from the latents z_from down to z_to: draws
    /// z_{t-1} ~ p(z_{t-1}|z_t), step after step. Without a step to take, z comes back.
    pub fn descend(
        &self,
        from: usize, // counted from 1
        to: usize,
        mut z: Tensor<2>, // z_from, [B, k_from]
        noise: &mut ChaCha8Rng,
    ) -> Tensor<2> {
        let below = self.priors.iter().take(from.saturating_sub(1));
        for prior in below.skip(to.saturating_sub(1)).rev() {
            let p = prior.given(z, None);
            z = p.rsample(normal(p.mean.dims(), noise, &p.mean.device()));
        }
        z
    }
    // ANCHOR_END: descend
}

impl Autoencoder for Hvae {
    // ANCHOR: terms
    fn terms(
        &self,
        batch: &Batch,
        noise: &mut ChaCha8Rng,
        mut dropout: Option<&mut ChaCha8Rng>, // for training
    ) -> Terms {
        let bottom = self.encoders[0].given(batch.x.clone(), dropout.as_deref_mut());
        let levels = self.climb(bottom, noise, dropout.as_deref_mut());
        let top = levels.len() - 1;
        let log_ratio = |(t, level): (usize, &LatentLevel)| match t {
            // The top alone has a closed form: below it, p depends on what was drawn.
            t if t == top => level.q.kl_standard(),
            _ => level.q.log_prob(level.z.clone()) - level.p.log_prob(level.z.clone()),
        };
        let kl = levels.iter().enumerate().map(log_ratio).collect();
        let (grey_levels, z_1) = (batch.grey_levels.clone(), levels[0].z.clone());
        let log_likelihood = self.decoder.log_likelihood(grey_levels, z_1, dropout);
        Terms { log_likelihood, kl }
    }
    // ANCHOR_END: terms

    fn log_weights(
        &self,
        batch: &Batch,
        count: usize,
        noise: &mut ChaCha8Rng,
    ) -> Vec<Tensor<1>> {
        let bottom = self.encoders[0].given(batch.x.clone(), None);
        let draw = |_| {
            let levels = self.climb(bottom.clone(), noise, None);
            let (grey_levels, z_1) = (batch.grey_levels.clone(), levels[0].z.clone());
            let log_likelihood = self.decoder.log_likelihood(grey_levels, z_1, None);
            let log_ratio = |weight, LatentLevel { q, z, p }| {
                weight + p.log_prob(z.clone()) - q.log_prob(z)
            };
            levels.into_iter().fold(log_likelihood, log_ratio)
        };
        (0..count).map(draw).collect()
    }
}
