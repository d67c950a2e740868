//! A mixture of classes of images: the smallest latent-variable model of the digits, with
//! an exact likelihood.

use std::iter::repeat_n;

use elbo_to_diffusion::{
    data::{Images, Marginals},
    oracle::log_sum_exp,
};
use rand::{Rng, RngExt};

// ANCHOR: model
/// p(x) = sum_c p(c) prod_i p(x_i|c): the latent c says how likely each grey level
/// is at each pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassMixture {
    /// log p(c), `[C]`.
    log_prior: Vec<f64>,
    /// log p(x_i = v|c) at (i V + v) C + c, `[d V C]`.
    log_likelihood: Vec<f64>,
    /// The number of grey levels V.
    grey_levels: usize,
}

impl ClassMixture {
    /// log p(x, c) for every class, `[C]`, of the grey levels x `[d]`.
    pub fn log_joint(&self, x: &[u8]) -> Vec<f64> {
        let mut log_joint = self.log_prior.clone();
        for (i, &v) in x.iter().enumerate() {
            let row = row_of(i, v, self.grey_levels, self.classes());
            let row = &self.log_likelihood[row];
            log_joint.iter_mut().zip(row).for_each(|(sum, term)| *sum += term);
        }
        log_joint
    }

    /// log p(x), in nats, by adding p(x, c) over all classes.
    pub fn log_prob(&self, x: &[u8]) -> f64 {
        log_sum_exp(&self.log_joint(x))
    }

    /// The model's posterior p(c|x), `[C]`.
    pub fn posterior(&self, x: &[u8]) -> Vec<f64> {
        let log_joint = self.log_joint(x);
        let log_prob = log_sum_exp(&log_joint);
        log_joint.iter().map(|l| (l - log_prob).exp()).collect()
    }
    // ANCHOR_END: model

    /// The number of classes C.
    pub fn classes(&self) -> usize {
        self.log_prior.len()
    }

    /// Mean of -log p(x) over the images, in nats.
    pub fn nats(&self, images: &Images) -> f64 {
        -images.iter().map(|x| self.log_prob(x)).sum::<f64>() / images.len() as f64
    }

    // ANCHOR: fit
    /// Expectation-maximisation (Dempster, Laird and Rubin, 1977) from a random
    /// sorting of the images: find the posterior of each image, refit the classes to
    /// these shares, and repeat. Give at least one class.
    ///
    /// Each class also holds `strength` imaginary images of average looks, so that no
    /// grey level is impossible.
    pub fn fit(
        images: &Images,
        classes: usize,
        strength: f64,
        rounds: usize,
        rng: &mut impl Rng, // sorts the images at first
    ) -> Self {
        let average = Marginals::fit(images, 0.1);
        let mut shares = vec![vec![0.0; classes]; images.len()];
        shares.iter_mut().for_each(|share| share[rng.random_range(0..classes)] = 1.0);
        for _ in 0..rounds {
            let model = Self::refit(images, &shares, &average, strength);
            shares = images.iter().map(|x| model.posterior(x)).collect();
        }
        Self::refit(images, &shares, &average, strength)
    }

    /// The model whose class c holds the share `shares[n][c]` of image n, beside the
    /// imaginary images.
    fn refit(
        images: &Images,
        shares: &[Vec<f64>], // [N][C]
        average: &Marginals,
        strength: f64,
    ) -> Self {
        let classes = shares.first().map_or(0, Vec::len);
        let grey_levels = images.grey_level_count();
        let imaginary = |log_prob: &f64| repeat_n(strength * log_prob.exp(), classes);
        let mut counts: Vec<f64> = average.log_probs.iter().flat_map(imaginary).collect();
        let mut sizes = vec![0.0; classes];
        for (x, share) in images.iter().zip(shares) {
            sizes.iter_mut().zip(share).for_each(|(size, r)| *size += r);
            for (i, &v) in x.iter().enumerate() {
                let row = &mut counts[row_of(i, v, grey_levels, classes)];
                row.iter_mut().zip(share).for_each(|(count, r)| *count += r);
            }
        }
        let all = (images.len() + classes) as f64;
        let log_prior = sizes.iter().map(|size| ((size + 1.0) / all).ln()).collect();
        let cells = counts.chunks(classes.max(1)).flat_map(|row| row.iter().zip(&sizes));
        let log_share = |(count, size): (&f64, &f64)| (count / (size + strength)).ln();
        let log_likelihood = cells.map(log_share).collect();
        Self { log_prior, log_likelihood, grey_levels }
    }
    // ANCHOR_END: fit

    /// The mean grey level of each pixel in class `c`, `[d]`.
    pub fn mean_grey_levels(&self, c: usize) -> Vec<f64> {
        let pixels = self.log_likelihood.chunks(self.grey_levels * self.classes());
        pixels
            .map(|pixel| {
                (0..self.grey_levels)
                    .map(|v| v as f64 * pixel[v * self.classes() + c].exp())
                    .sum()
            })
            .collect()
    }

    /// One image drawn from class `c`: p(x|c), `[d]` grey levels.
    pub fn sample(&self, c: usize, rng: &mut impl Rng) -> Vec<u8> {
        let draw = |pixel: &[f64]| {
            let mut left: f64 = rng.random();
            let passed = (0..self.grey_levels).take_while(|v| {
                left -= pixel[v * self.classes() + c].exp();
                left >= 0.0
            });
            passed.count().min(self.grey_levels - 1) as u8
        };
        self.log_likelihood.chunks(self.grey_levels * self.classes()).map(draw).collect()
    }
}

/// Where the table holds log p(x_i = v|c) for all c.
fn row_of(i: usize, v: u8, grey_levels: usize, classes: usize) -> std::ops::Range<usize> {
    let start = (i * grey_levels + usize::from(v)) * classes;
    start..start + classes
}

#[cfg(test)]
#[path = "class_mixture_tests.rs"]
mod tests;
