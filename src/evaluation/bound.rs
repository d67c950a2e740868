//! The variational bound of a diffusion model, estimated on a set of images.

use burn::tensor::{Device, Tensor};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{
    groups::{Draws, in_groups},
    totals::{Difference, Totals},
};
use crate::{
    data::Images,
    error::Result,
    host::{download, upload},
    random::normal,
    vdm::{
        NoiseLevels, Schedule, denoising_term, diffuse,
        process::{denoising_weight, diffusion_weight},
        terms::{decoder_log_probs, prior_kl, reconstruction},
    },
};

/// The three terms of the bound in nats per image; their sum bounds -log p(x) from above.
/// Equation `elbo-denoising`.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// -E log p(x | z) at the least noise.
    pub reconstruction: f64,
    /// KL(q(z | x) || p(z)) at the most noise.
    pub prior: f64,
    /// The denoising term, in parts: one for each t = 2, ..., T, or one for each of equal
    /// intervals of `[0, 1]`.
    pub denoising: Vec<f64>,
    /// Standard error of the total that comes from the finite number of noise draws.
    pub noise_error: f64,
    /// Standard error of the total that comes from the finite number of images.
    pub set_error: f64,
    /// Variance of the denoising term as estimated from one image, one uniform t and one
    /// noise draw, nats^2.
    pub draw_variance: f64,
    /// What `draw_variance` would be if t were drawn as often from each part as is best,
    /// nats^2. In continuous time, no schedule between the same end points can do better,
    /// up to the width of a part. Equation `schedule-variance`.
    pub least_variance: f64,
    /// The total of each image in each pass.
    totals: Totals,
}

impl Bound {
    // ANCHOR: discrete
    /// The bound of the chain gamma_1, ..., gamma_T: every t, with one noise draw per
    /// image, t and pass.
    ///
    /// `denoise(z_t, gamma_t)` returns x_hat for z_t, `[B, d]`, and gamma_t, `[B]`.
    pub fn discrete(
        images: &Images,
        gammas: &[f64],
        denoise: impl Fn(Tensor<2>, Tensor<1>) -> Tensor<2> + Sync,
        draws: Draws,
        device: &Device,
    ) -> Result<Self> {
        let ends = (gammas[0], gammas[gammas.len() - 1]);
        let term = |i: usize, _: &mut _| {
            (gammas[i + 1], denoising_weight(gammas[i], gammas[i + 1]))
        };
        let denoise = |z, gamma, _: &Images| denoise(z, gamma);
        Self::estimate(images, ends, gammas.len() - 1, term, denoise, draws, device)
    }
    // ANCHOR_END: discrete

    // ANCHOR: continuous
    /// The bound in continuous time: per image and pass, one t from each of `strata` equal
    /// intervals of `[0, 1]`. Equation `continuous-loss`; Kingma et al. (2021), eq. 17.
    pub fn continuous(
        images: &Images,
        schedule: &(impl Schedule + Sync + ?Sized),
        strata: usize,
        denoise: impl Fn(Tensor<2>, Tensor<1>) -> Tensor<2> + Sync,
        draws: Draws,
        device: &Device,
    ) -> Result<Self> {
        let told = |z, gamma, _: &Images| denoise(z, gamma);
        Self::continuous_given(images, schedule, strata, told, draws, device)
    }

    /// The same, of -log p(x | y): `denoise(z_t, gamma_t, images)` also gets the images
    /// that z_t was made of, with their labels. The same seed means the same noise, with
    /// labels and without, so that the two can be compared in pairs.
    pub fn continuous_given(
        images: &Images,
        schedule: &(impl Schedule + Sync + ?Sized),
        strata: usize,
        denoise: impl Fn(Tensor<2>, Tensor<1>, &Images) -> Tensor<2> + Sync,
        draws: Draws,
        device: &Device,
    ) -> Result<Self> {
        let term = |i: usize, noise: &mut ChaCha8Rng| {
            let t = (i as f64 + noise.random::<f64>()) / strata as f64;
            (schedule.gamma(t), diffusion_weight(schedule, t) / strata as f64)
        };
        let ends = (schedule.gamma(0.0), schedule.gamma(1.0));
        Self::estimate(images, ends, strata, term, denoise, draws, device)
    }
    // ANCHOR_END: continuous

    // ANCHOR: end_point_slopes
    /// The derivatives of the bound in continuous time with respect to gamma_min and
    /// gamma_max, in nats per image, from one noise draw per image. Equation
    /// `end-point-slopes`.
    pub fn end_point_slopes(
        images: &Images,
        [gamma_min, gamma_max]: [f64; 2],
        denoise: impl Fn(Tensor<2>, Tensor<1>) -> Tensor<2>,
        noise: &mut ChaCha8Rng,
        device: &Device,
    ) -> Result<[f64; 2]> {
        let n = images.len();
        let (x, eps) = (images.values(device), normal([n, images.dim()], noise, device));
        let values = upload(images.grey_values(), device);
        let z = |gamma| diffuse(x.clone(), Tensor::full([n], gamma, device), eps.clone());
        // h(gamma) = SNR |x - x_hat|^2 / 2, of which the diffusion loss is the integral
        // over gamma.
        let h = |gamma: f64| {
            let at =
                NoiseLevels::new((0..n).map(|_| (gamma, 0.5 * (-gamma).exp())), device);
            denoising_term(x.clone(), at, eps.clone(), &denoise)
        };
        let decode = |gamma| {
            reconstruction(
                images.grey_levels(device),
                decoder_log_probs(z(gamma), gamma, values.clone()),
            )
        };
        let prior = |gamma| prior_kl(x.clone(), gamma);
        let slope = |f: &dyn Fn(f64) -> Tensor<1>, gamma: f64| {
            (f(gamma + 0.05) - f(gamma - 0.05)) / 0.1
        };
        let at_min = slope(&decode, gamma_min) - h(gamma_min);
        let at_max = slope(&prior, gamma_max) + h(gamma_max);
        Ok([download(at_min.mean())?[0], download(at_max.mean())?[0]])
    }
    // ANCHOR_END: end_point_slopes

    /// Estimates reconstruction, prior and `terms` denoising terms, of which `term(i, rng)`
    /// draws gamma and the weight of
    /// |x - x_hat|^2.
    fn estimate(
        images: &Images,
        (gamma_min, gamma_max): (f64, f64),
        terms: usize,
        term: impl Fn(usize, &mut ChaCha8Rng) -> (f64, f64) + Sync,
        denoise: impl Fn(Tensor<2>, Tensor<1>, &Images) -> Tensor<2> + Sync,
        draws: Draws,
        device: &Device,
    ) -> Result<Self> {
        let Draws { passes, seed } = draws.check()?;
        let groups = in_groups(images, seed, |images, noise| {
            let (x, n) = (images.values(device), images.len());
            let values = upload(images.grey_values(), device);
            let prior = prior_kl(x.clone(), gamma_max);
            let mut rows = Vec::with_capacity(passes * (terms + 1));
            for _ in 0..passes {
                let gamma = Tensor::full([n], gamma_min, device);
                let z = diffuse(x.clone(), gamma, normal([n, images.dim()], noise, device));
                let log_probs = decoder_log_probs(z, gamma_min, values.clone());
                rows.push(reconstruction(images.grey_levels(device), log_probs));
                for i in 0..terms {
                    let at = NoiseLevels::new((0..n).map(|_| term(i, noise)), device);
                    let eps = normal([n, images.dim()], noise, device);
                    let denoise = |z, gamma| denoise(z, gamma, images);
                    rows.push(denoising_term(x.clone(), at, eps, denoise));
                }
            }
            Ok(Group { prior: download(prior)?, rows: download(Tensor::cat(rows, 0))? })
        })?;
        Ok(Self::average(&groups, terms, passes))
    }

    /// Averages the terms of all groups.
    fn average(groups: &[Group], terms: usize, passes: usize) -> Self {
        let images: usize = groups.iter().map(|group| group.prior.len()).sum();
        let draws = (images * passes) as f64;
        let mut per_row = vec![0.0; terms + 1];
        let mut squares = vec![0.0; terms + 1];
        let mut totals = Totals(vec![Vec::with_capacity(images); passes]);
        for group in groups {
            let n = group.prior.len();
            let mut sums = group.prior.repeat(passes);
            for (row, values) in group.rows.chunks(n).enumerate() {
                let (pass, term) = (row / (terms + 1), row % (terms + 1));
                per_row[term] += values.iter().sum::<f64>() / draws;
                squares[term] += values.iter().map(|v| v * v).sum::<f64>() / draws;
                sums[pass * n..][..n]
                    .iter_mut()
                    .zip(values)
                    .for_each(|(total, value)| *total += value);
            }
            totals
                .0
                .iter_mut()
                .zip(sums.chunks(n))
                .for_each(|(pass, sums)| pass.extend(sums));
        }
        let denoising = per_row[1..].to_vec();
        let squared_mean = denoising.iter().sum::<f64>().powi(2);
        Self {
            reconstruction: per_row[0],
            prior: groups.iter().flat_map(|group| &group.prior).sum::<f64>()
                / images as f64,
            // A t from part i, drawn with probability p_i, estimates the sum of the terms
            // by term i / p_i. The mean square of that is the sum of square i / p_i: p_i =
            // 1 / terms for a uniform t, least for p_i ~ sqrt(square i).
            draw_variance: squares[1..].iter().sum::<f64>() * terms as f64 - squared_mean,
            least_variance: squares[1..].iter().map(|s| s.sqrt()).sum::<f64>().powi(2)
                - squared_mean,
            denoising,
            noise_error: totals.noise_error(),
            set_error: totals.set_error(),
            totals,
        }
    }

    /// Reconstruction + prior + denoising.
    pub fn total(&self) -> f64 {
        self.reconstruction + self.prior + self.denoising.iter().sum::<f64>()
    }

    /// This bound less another on the same images with the same seed, image by image and
    /// pass by pass: what both have in common, the images and the noise, takes no part in
    /// the error.
    ///
    /// Fails with a sentence if the other is of another number of images or passes.
    pub fn less(&self, other: &Self) -> Result<Difference> {
        self.totals.less(&other.totals)
    }

    /// The total of each image in each pass.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }
}

/// What one group of images yields, in nats.
struct Group {
    /// The prior term of each image.
    prior: Vec<f64>,
    /// For each pass, the reconstruction and then each denoising term, of each image.
    rows: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        data::digits::digits,
        network::{Layers, TrunkConfig},
        random::{Stream, rng},
        vdm::{Denoiser, Linear},
    };

    /// The exact denoiser of independent pixels, on the CPU, and 350 digits.
    fn independent() -> (Images, Denoiser, Device) {
        let (data, device) = (digits().unwrap(), Device::flex());
        let trunk = TrunkConfig {
            gamma_min: -8.0,
            gamma_max: 5.0,
            layers: Layers::Dense,
            hidden: 8,
            blocks: 0,
            dropout: 0.0,
        };
        let denoiser = Denoiser::for_images(
            &data.train,
            trunk,
            &mut rng(0, Stream::Batch, 0),
            &device,
        );
        (data.validation, denoiser, device)
    }

    fn bound(gamma_min: f64, gamma_max: f64) -> Bound {
        let (images, denoiser, device) = independent();
        let schedule = Linear { gamma_min, gamma_max };
        let draws = Draws { passes: 2, seed: 1 };
        Bound::continuous(
            &images,
            &schedule,
            32,
            |z, gamma| denoiser.denoise(z, gamma, None),
            draws,
            &device,
        )
        .unwrap()
    }

    #[test]
    fn end_point_slopes_are_the_slopes_of_the_bound() {
        let (images, denoiser, device) = independent();
        let (ends, h) = ([-5.5, 0.5], 0.5);
        let noise = &mut rng(2, Stream::Evaluation, 0);
        let denoise = |z, gamma| denoiser.denoise(z, gamma, None);
        let [at_min, at_max] =
            Bound::end_point_slopes(&images, ends, denoise, noise, &device).unwrap();
        let difference = |above: Bound, below: Bound| {
            let error = above.noise_error.hypot(below.noise_error) / (2.0 * h);
            ((above.total() - below.total()) / (2.0 * h), error)
        };
        let (by_min, error_min) =
            difference(bound(ends[0] + h, ends[1]), bound(ends[0] - h, ends[1]));
        let (by_max, error_max) =
            difference(bound(ends[0], ends[1] + h), bound(ends[0], ends[1] - h));
        // A difference over a whole unit of gamma is the slope only to a few percent.
        assert!(
            (at_min - by_min).abs() < 0.05 * by_min.abs() + 4.0 * error_min,
            "{at_min} {by_min} {error_min}"
        );
        assert!(
            (at_max - by_max).abs() < 0.05 * by_max.abs() + 4.0 * error_max,
            "{at_max} {by_max} {error_max}"
        );
        assert!(at_min > 5.0 && at_max < -5.0, "{at_min} {at_max}");
    }

    #[test]
    fn the_least_variance_is_that_of_terms_drawn_as_often_as_they_are_large() {
        // Two images, one pass, two terms: what each image's reconstruction and terms are.
        let group =
            Group { prior: vec![0.5, 0.5], rows: vec![1.0, 1.0, 3.0, 5.0, 1.0, 1.0] };
        let bound = Bound::average(&[group], 2, 1);
        assert_eq!((bound.total(), bound.denoising.clone()), (6.5, vec![4.0, 1.0]));
        // A uniform term, times 2: 6, 10, 2, 2 with probability 1/4 each.
        assert!(
            (bound.draw_variance - ((36.0 + 100.0 + 4.0 + 4.0) / 4.0 - 25.0)).abs() < 1e-12
        );
        // Drawn in proportion to the roots of their mean squares, 17 and 1.
        let p = 17.0_f64.sqrt() / (1.0 + 17.0_f64.sqrt());
        assert!((bound.least_variance - (17.0 / p + 1.0 / (1.0 - p) - 25.0)).abs() < 1e-12);
        assert!(bound.least_variance < bound.draw_variance);
    }

    /// Totals of two images in two passes, and a shift of all of them.
    fn totals() -> Totals {
        Totals(vec![vec![1.0, 5.0, 6.0], vec![3.0, 5.0, 8.0]])
    }

    #[test]
    fn the_two_standard_errors_tell_noise_from_images() {
        // Between passes, variances 2, 0 and 2; the image means are 2, 5 and 7.
        assert!((totals().noise_error() - (4.0 / 2.0_f64).sqrt() / 3.0).abs() < 1e-12);
        let spread = (49.0 + 1.0 + 64.0) / 9.0 / 2.0;
        assert!(
            (totals().set_error() - ((spread - 4.0 / 3.0 / 2.0) / 3.0_f64).sqrt()).abs()
                < 1e-12
        );
    }

    #[test]
    fn what_two_bounds_have_in_common_takes_no_part_in_their_difference() {
        let one = bound(-5.5, 0.5);
        let same = one.less(&one).unwrap();
        assert_eq!((same.mean, same.noise_error, same.set_error), (0.0, 0.0, 0.0));
        let other = bound(-5.0, 0.5);
        let difference = other.less(&one).unwrap();
        assert!((difference.mean - (other.total() - one.total())).abs() < 1e-12);
        // The same noise at nearly the same levels: most of the error is common to both.
        assert!(
            difference.noise_error < 0.7 * one.noise_error.hypot(other.noise_error),
            "{difference:?}"
        );
        let (images, denoiser, device) = independent();
        let draws = Draws { passes: 3, seed: 1 };
        let schedule = Linear { gamma_min: -5.5, gamma_max: 0.5 };
        let third = Bound::continuous(
            &images,
            &schedule,
            4,
            |z, g| denoiser.denoise(z, g, None),
            draws,
            &device,
        );
        assert!(third.unwrap().less(&one).unwrap_err().to_string().contains("in pairs"));
    }

    #[test]
    fn each_group_of_images_comes_with_its_own_labels() {
        let (images, denoiser, device) = independent();
        let images = images.first(100);
        let schedule = Linear { gamma_min: -5.5, gamma_max: 0.5 };
        let draws = Draws { passes: 2, seed: 1 };
        let expected = images.labels().unwrap();
        let bound = Bound::continuous_given(
            &images,
            &schedule,
            1,
            |z, gamma, group| {
                // Each group is a stretch of the images.
                let labels = group.labels().unwrap();
                assert_eq!(labels.len(), z.dims()[0]);
                assert!(expected.windows(labels.len()).any(|stretch| stretch == labels));
                denoiser.denoise(z, gamma, None)
            },
            draws,
            &device,
        );
        let bound = bound.unwrap();
        let totals = bound.totals().passes();
        assert_eq!((totals.len(), totals[0].len(), totals[1].len()), (2, 100, 100));
        let mean = totals.iter().flatten().sum::<f64>() / 200.0;
        assert!((mean - bound.total()).abs() < 1e-9 * mean);
    }

    #[test]
    fn a_single_pass_is_refused() {
        let (images, denoiser, device) = independent();
        let schedule = Linear { gamma_min: -5.5, gamma_max: 0.5 };
        for passes in [0, 1] {
            let draws = Draws { passes, seed: 1 };
            let bound = Bound::continuous(
                &images,
                &schedule,
                4,
                |z, g| denoiser.denoise(z, g, None),
                draws,
                &device,
            );
            assert!(bound.unwrap_err().to_string().contains("give 2 or more"));
        }
    }
}
