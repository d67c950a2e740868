//! The bound of the flow of a diffusion model on discrete data, estimated on a set of
//! images.

use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{
    bound::Bound,
    groups::{Draws, in_groups},
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
    /// `find(z, gamma)` for x_hat, `[B, d]`, and the trace, `[B]`, on the way of some
    /// images.
    fn along<'a>(
        self,
        denoise: &'a (impl Fn(Tensor<2>, Tensor<1>) -> Tensor<2> + Sync),
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
                (_, None) => return exact_on_all_threads(denoise, z, gamma),
            };
            estimated_trace(denoise, z.clone(), gamma, probes)
        }
    }
}

/// The exact trace, two images at a time: each is copied d times.
fn exact_on_all_threads(
    denoise: &(impl Fn(Tensor<2>, Tensor<1>) -> Tensor<2> + Sync),
    z: &Tensor<2>,
    gamma: f64,
) -> Result<(Tensor<2>, Tensor<1>)> {
    let n = z.dims()[0];
    let pair = |i| exact_trace(denoise, z.clone().narrow(0, i, 2.min(n - i)), gamma);
    let starts = (0..n.div_ceil(2)).into_par_iter().map(|i| 2 * i);
    let (x_hat, traces) = starts.map(pair).collect::<Result<Vec<_>>>()?.into_iter().unzip();
    Ok((Tensor::cat(x_hat, 0), Tensor::cat(traces, 0)))
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
        let parts = in_groups(images, seed, |images, noise| {
            let (x, [n, d]) = (images.values(device), [images.len(), images.dim()]);
            let values = upload(images.grey_values(), device);
            let draws: Vec<_> =
                (0..passes).map(|_| normal([n, d], noise, device)).collect();
            let mut rows = Vec::with_capacity(3 * passes);
            for eps in draws {
                let z =
                    diffuse(x.clone(), Tensor::full([n], gamma_min, device), eps.clone());
                let log_probs = decoder_log_probs(z.clone(), gamma_min, values.clone());
                rows.push(reconstruction(images.grey_levels(device), log_probs));
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

#[cfg(test)]
mod tests {
    use burn::module::Module;

    use super::*;
    use crate::{
        data::digits::digits,
        network::{Layers, TrunkConfig},
        oracle::{NoiseLevel, ScalarMixture},
        random::{Stream, rng},
        vdm::{Denoiser, Linear, Schedule},
    };

    const SCHEDULE: Linear = Linear { gamma_min: -8.0, gamma_max: 5.0 };

    /// Four digits, their denoiser as independent pixels, and -log P of each of them as such,
    /// with log P(k) of each pixel.
    fn independent() -> (Images, Denoiser, Vec<f64>) {
        let (data, device) = (digits().unwrap(), Device::flex().autodiff());
        let trunk = TrunkConfig {
            gamma_min: -8.0,
            gamma_max: 5.0,
            layers: Layers::Dense,
            hidden: 8,
            blocks: 0,
            dropout: 0.0,
        };
        let draws = &mut rng(0, Stream::Batch, 0);
        let denoiser = Denoiser::for_images(&data.train, trunk, draws, &device).no_grad();
        let marginals = crate::data::Marginals::fit(&data.train, 0.1).log_probs;
        (data.test.first(4), denoiser, marginals)
    }

    fn bound(steps: usize, trace: Trace) -> OdeBound {
        let (images, denoiser, _) = independent();
        let denoise = |z, gamma| denoiser.denoise(z, gamma, None);
        let draws = Draws { passes: 2, seed: 5 };
        let gammas = SCHEDULE.grid(steps + 1);
        OdeBound::estimate(&images, &gammas, denoise, trace, draws, &Device::flex())
            .unwrap()
    }

    /// The Jacobian of independent pixels is diagonal, so random signs find its trace
    /// exactly, image by image from the same z_0, and normal numbers do not. The flow of an
    /// image is that of 64 numbers: the same bound from the oracle, pixel by pixel in f64.
    #[test]
    fn independent_pixels_have_the_bound_of_their_flows_on_the_line() {
        let exact = bound(40, Trace::Exact);
        for law in [Trace::Fresh, Trace::Fixed] {
            let signs = bound(40, law(Probe::Rademacher)).less(&exact).unwrap();
            assert!(signs.mean.abs() < 0.01 && signs.noise_error < 0.01, "{signs:?}");
            let normal = bound(40, law(Probe::Gaussian)).deviation_from(&exact).unwrap();
            assert!(normal > 0.3, "{normal}");
        }
        let (images, _, marginals) = independent();
        let (values, gammas) = (images.grey_values(), SCHEDULE.grid(41));
        let low = NoiseLevel::new(-8.0);
        let mut total = 0.0;
        for image in images.iter() {
            for (&grey, log_probs) in image.iter().zip(marginals.chunks(values.len())) {
                let weights: Vec<f64> = log_probs.iter().map(|log_p| log_p.exp()).collect();
                let sum: f64 = weights.iter().sum();
                let weights: Vec<f64> = weights.iter().map(|w| w / sum).collect();
                let points = vec![0.0; values.len()];
                let pixel = ScalarMixture::new(&weights, &values, &points).unwrap();
                // In the middle of the cloud -log p(z_0) is less than its mean, by 1/2, which
                // is also what log q(z_0|x) loses.
                let denoise = |&z: &f64, gamma| {
                    Ok::<_, crate::error::Error>(pixel.denoise(z, NoiseLevel::new(gamma)))
                };
                let z = low.abar().sqrt() * values[usize::from(grey)];
                let end = transport(&gammas, z, 0.0, 1, denoise).unwrap();
                let log_p =
                    -0.5 * (std::f64::consts::TAU.ln() + end.z * end.z) + end.log_volume;
                total +=
                    -log_p + 0.5 - 0.5 * (std::f64::consts::TAU * low.noise()).ln() - 0.5;
            }
        }
        let per_image = total / images.len() as f64;
        let found = exact.total() - exact.reconstruction;
        // 64 pixels: two thousandths of a bit per dimension, and the noise.
        let tolerance = 0.1 + 4.0 * exact.noise_error;
        assert!((found - per_image).abs() < tolerance, "{found} {per_image}");
    }

    #[test]
    fn too_few_levels_are_refused() {
        let (images, denoiser, _) = independent();
        let denoise = |z, gamma| denoiser.denoise(z, gamma, None);
        let draws = Draws { passes: 2, seed: 5 };
        let device = Device::flex();
        let error =
            OdeBound::estimate(&images, &[1.0], denoise, Trace::Exact, draws, &device);
        assert!(error.unwrap_err().to_string().contains("two noise levels"));
    }
}
