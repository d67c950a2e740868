//! The bound of the flow of a diffusion model on discrete data, estimated on a set of
//! images.

use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;

use super::{
    bound::Bound,
    groups::{Draws, in_groups_of},
    totals::{Difference, Totals},
};
use crate::{
    data::Images,
    error::{Error, Result},
    flow::{Probe, alpha_sigma, estimated_trace, exact_trace, transport},
    gaussian::DiagonalGaussian,
    host::{download, upload},
    random::normal,
    vdm::{
        diffuse,
        terms::{decoder_log_probs, reconstruction},
    },
};

/// How the trace of the denoiser's Jacobian is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Dimension by dimension.
    Exact,
    /// From a random vector of this law, a fresh one at each call of the denoiser.
    Fresh(Probe),
    /// From a random vector of this law, the same one all along the way. Grathwohl et al.
    /// (2019), section 3.1.
    Fixed(Probe),
}

impl Trace {
    /// Images that are evaluated together: the exact trace copies each d times.
    fn group(self) -> usize {
        match self {
            Self::Exact => 2,
            Self::Fresh(_) | Self::Fixed(_) => 64,
        }
    }

    /// `find(z, gamma)` for x_hat, `[B, d]`, and the trace, `[B]`, on the way of some
    /// images.
    fn along<'a>(
        self,
        denoise: &'a impl Fn(Tensor<2>, Tensor<1>) -> Tensor<2>,
        shape: [usize; 2],
        noise: &'a mut ChaCha8Rng,
        device: &'a Device,
    ) -> impl FnMut(&Tensor<2>, f64) -> Result<(Tensor<2>, Tensor<1>)> + 'a {
        let fixed = match self {
            Self::Fixed(probe) => Some(probe.draw(shape, noise, device)),
            Self::Exact | Self::Fresh(_) => None,
        };
        move |z, gamma| {
            let probes = match (self, &fixed) {
                (Self::Fresh(probe), _) => probe.draw(shape, noise, device),
                (_, Some(probes)) => probes.clone(),
                (_, None) => return exact_trace(denoise, z.clone(), gamma),
            };
            estimated_trace(denoise, z.clone(), gamma, probes)
        }
    }
}

/// A bound on -log P(x) of grey levels x under the flow, in nats per image: the parts add
/// up to it. Equation `ode-bound`.
#[derive(Clone, Debug, PartialEq)]
pub struct OdeBound {
    /// -E log P(x | z_0).
    pub reconstruction: f64,
    /// E log q(z_0 | x).
    pub log_encoder: f64,
    /// -E log p(z_0) of the flow.
    pub flow: f64,
    /// Standard error of the total that comes from the finite number of draws of z_0 and of
    /// the random vectors.
    pub noise_error: f64,
    /// Standard error of the total that comes from the finite number of images.
    pub set_error: f64,
    /// The total of each image in each pass.
    totals: Totals,
}

impl OdeBound {
    // ANCHOR: ode_bound
    /// The bound along these rising noise levels, with one draw of z_0 for each image and
    /// pass.
    ///
    /// `denoise(z, gamma)` returns x_hat, `[B, d]`, and is called with gradients. Two
    /// estimates with one seed begin at the same z_0, whatever their traces and levels.
    ///
    /// # Errors
    /// A sentence for fewer than two levels or passes, and where the device fails.
    pub fn estimate(
        images: &Images,
        gammas: &[f64],
        denoise: impl Fn(Tensor<2>, Tensor<1>) -> Tensor<2> + Sync,
        trace: Trace,
        draws: Draws,
        device: &Device,
    ) -> Result<Self> {
        let Draws { passes, seed } = draws.check()?;
        let &[gamma_min, _, ..] = gammas else {
            return Err(Error::usage("a flow needs two noise levels or more; give them"));
        };
        let parts = in_groups_of(trace.group(), images, seed, |images, noise| {
            let (x, [n, d]) = (images.values(device), [images.len(), images.dim()]);
            let values = upload(images.level_values(), device);
            let draws: Vec<_> =
                (0..passes).map(|_| normal([n, d], noise, device)).collect();
            let mut rows = Vec::with_capacity(3 * passes);
            for eps in draws {
                let z =
                    diffuse(x.clone(), Tensor::full([n], gamma_min, device), eps.clone());
                let log_probs = decoder_log_probs(z.clone(), gamma_min, values.clone());
                rows.push(reconstruction(images.levels(device), log_probs));
                // log N(z_0; sqrt(abar) x, (1 - abar) I).
                let log_sigma = alpha_sigma(gamma_min).1.ln();
                rows.push(
                    DiagonalGaussian::standard(&eps).log_prob(eps) - d as f64 * log_sigma,
                );
                let trace = trace.along(&denoise, [n, d], noise, device);
                let end = transport(gammas, z, Tensor::zeros([n], device), d, trace)?;
                let base = DiagonalGaussian::standard(&end.z).log_prob(end.z);
                rows.push(-(base + end.log_volume));
            }
            download(Tensor::cat(rows, 0))
        })?;
        Ok(Self::average(&parts, passes))
    }
    // ANCHOR_END: ode_bound

    /// Averages what the groups found: for each pass the three parts, of each image.
    fn average(groups: &[Vec<f64>], passes: usize) -> Self {
        let mut parts = [0.0; 3];
        let mut totals = Totals(vec![Vec::new(); passes]);
        for group in groups {
            let n = group.len() / (3 * passes);
            for (pass, rows) in totals.0.iter_mut().zip(group.chunks(3 * n)) {
                for (part, row) in parts.iter_mut().zip(rows.chunks(n)) {
                    *part += row.iter().sum::<f64>();
                }
                pass.extend((0..n).map(|i| rows[i] + rows[n + i] + rows[2 * n + i]));
            }
        }
        let draws: usize = totals.0.iter().map(Vec::len).sum();
        let [reconstruction, log_encoder, flow] = parts.map(|sum| sum / draws as f64);
        Self {
            reconstruction,
            log_encoder,
            flow,
            noise_error: totals.noise_error(),
            set_error: totals.set_error(),
            totals,
        }
    }

    /// Reconstruction + log encoder + flow.
    pub fn total(&self) -> f64 {
        self.reconstruction + self.log_encoder + self.flow
    }

    /// This bound less another on the same images, image by image and pass by pass.
    ///
    /// Fails with a sentence if the other is of another number of images or passes.
    pub fn less(&self, other: &Self) -> Result<Difference> {
        self.totals.less(&other.totals)
    }

    /// This bound less that of the chain in as many passes on the same images. The noise of
    /// the two is not shared.
    ///
    /// Fails with a sentence if the other is of another number of images or passes.
    pub fn less_chain(&self, chain: &Bound) -> Result<Difference> {
        self.totals.less(chain.totals())
    }

    /// The standard deviation of one draw's difference to another estimate from the same
    /// z_0: with exact traces there, what the estimate of the trace adds.
    ///
    /// Fails with a sentence if the other is of another number of images or passes.
    pub fn deviation_from(&self, other: &Self) -> Result<f64> {
        let difference = self.less(other)?;
        let pairs = self.totals.0.iter().flatten().zip(other.totals.0.iter().flatten());
        let squares: Vec<f64> =
            pairs.map(|(a, b)| (a - b - difference.mean).powi(2)).collect();
        Ok((squares.iter().sum::<f64>() / (squares.len() as f64 - 1.0)).sqrt())
    }
}
