//! What a label is worth in bits, and classifying by bounds.

use burn::tensor::Device;
use elbo_to_diffusion::{
    data::Images,
    error::Result,
    evaluation::{Bound, Difference, Draws},
    network::one_hot,
    oracle::log_sum_exp,
    vdm::{Denoiser, Linear},
};

use crate::{measure::share, train::CLASSES};

/// Bounds of images with and without their labels, in nats per image.
pub struct Worth {
    /// Of -log p(x | y).
    pub given: Bound,
    /// Of -log p(x), by the same network with the null label.
    pub without: Bound,
    /// The second less the first.
    pub gain: Difference,
}

// ANCHOR: worth
/// Bounds the images with their labels and without.
pub fn worth(
    images: &Images,
    denoiser: &Denoiser,
    schedule: &Linear,
    draws: Draws,
    device: &Device,
) -> Result<Worth> {
    let told = |z, gamma, images: &Images| {
        let known = |labels: &[u8]| labels.iter().copied().map(Some).collect::<Vec<_>>();
        let label = images.labels().map(|l| one_hot(&known(l), CLASSES, device));
        denoiser.denoise_given(z, gamma, label, None)
    };
    let untold = |z, gamma| denoiser.denoise(z, gamma, None);
    images.known_labels()?;
    let given = Bound::continuous_given(images, schedule, 32, told, draws, device)?;
    let without = Bound::continuous(images, schedule, 32, untold, draws, device)?;
    Ok(Worth { gain: without.less(&given)?, given, without })
}
// ANCHOR_END: worth

/// The bounds of each image with each of the labels, in nats: `[labels, passes, images]`.
pub struct ByLabel(pub Vec<Vec<Vec<f64>>>);

impl ByLabel {
    // ANCHOR: by_label
    /// With one time from each of `strata` parts and one noise for each: the same for all
    /// labels if `paired`, otherwise drawn afresh for each label.
    pub fn of(
        images: &Images,
        denoiser: &Denoiser,
        schedule: &Linear,
        (strata, paired): (usize, bool),
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        let bound = |label: u8| {
            let told = |z, gamma, images: &Images| {
                let label = one_hot(&vec![Some(label); images.len()], CLASSES, device);
                denoiser.denoise_given(z, gamma, Some(label), None)
            };
            let own = if paired { 0 } else { 1 + u64::from(label) };
            let draws = Draws { passes: 2, seed: seed.wrapping_add(own) };
            let bound =
                Bound::continuous_given(images, schedule, strata, told, draws, device)?;
            Ok(bound.totals().passes().to_vec())
        };
        Ok(Self((0..CLASSES as u8).map(bound).collect::<Result<_>>()?))
    }
    // ANCHOR_END: by_label

    /// log p(y | x) of each image, by the bounds of one pass: Bayes' rule for equally
    /// likely labels, equation `bound-classifier`.
    fn log_posterior(&self, pass: usize, image: usize) -> Vec<f64> {
        let logits: Vec<f64> = self.0.iter().map(|bounds| -bounds[pass][image]).collect();
        let total = log_sum_exp(&logits);
        logits.iter().map(|logit| logit - total).collect()
    }

    /// The share of the images whose label has the lowest bound: by one pass, on average,
    /// and by the mean of both.
    pub fn accuracy(&self, labels: &[u8]) -> [f64; 2] {
        let accuracy = |bound: &dyn Fn(usize, usize) -> f64| {
            let lowest = |image: usize| {
                let better =
                    |a: &usize, b: &usize| bound(*a, image).total_cmp(&bound(*b, image));
                (0..CLASSES).min_by(better).unwrap_or_default() as u8
            };
            share(&(0..labels.len()).map(lowest).collect::<Vec<_>>(), labels)
        };
        let of_pass = |pass: usize| accuracy(&|label, image| self.0[label][pass][image]);
        let both =
            accuracy(&|label, image| self.0[label].iter().map(|pass| pass[image]).sum());
        [0.5 * (of_pass(0) + of_pass(1)), both]
    }

    // ANCHOR: summed_out
    /// The mean bound of -log p(x), in nats, by equation `label-summed-out`: r(y) from the
    /// bounds of one pass, and what it weighs from the other, so that the noise of the one
    /// does not choose among the noise of the other.
    pub fn summed_out(&self) -> f64 {
        let images = self.0[0][0].len();
        let image = |pass: usize, image: usize| {
            let log_r = self.log_posterior(pass, image);
            let term = |(label, log_r): (usize, f64)| {
                let bound = self.0[label][1 - pass][image];
                log_r.exp() * (bound + log_r + (CLASSES as f64).ln())
            };
            // What is as unlikely adds nothing.
            let likely = log_r.into_iter().enumerate().filter(|(_, log_r)| *log_r > -100.0);
            likely.map(term).sum::<f64>()
        };
        let all = (0..images).map(|i| 0.5 * (image(0, i) + image(1, i)));
        all.sum::<f64>() / images as f64
    }
    // ANCHOR_END: summed_out

    /// The mean bound of -log p(x | y) for the labels that the images have, in nats.
    pub fn told(&self, labels: &[u8]) -> f64 {
        let own = |(image, label): (usize, &u8)| {
            let passes = &self.0[usize::from(*label)];
            passes.iter().map(|pass| pass[image]).sum::<f64>() / passes.len() as f64
        };
        labels.iter().enumerate().map(own).sum::<f64>() / labels.len() as f64
    }

    /// The variance of the difference between the bound of the right label and that of
    /// another, over the noise, in nats^2: the mean over images and labels.
    pub fn noise_of_difference(&self, labels: &[u8]) -> f64 {
        let (mut sum, mut count) = (0.0, 0.0_f64);
        for (image, &right) in labels.iter().enumerate() {
            let right = &self.0[usize::from(right)];
            for other in &self.0 {
                let difference = |pass: usize| other[pass][image] - right[pass][image];
                // Two draws estimate a variance by half their squared distance.
                sum += 0.5 * (difference(0) - difference(1)).powi(2);
                count += 1.0;
            }
        }
        // The right label less itself has none.
        sum / (count - labels.len() as f64).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two images in two passes: the first is of label 3 by a wide margin, the second of
    /// label 0 or 1.
    fn bounds() -> ByLabel {
        let bound = |label: usize, pass: usize| {
            let first = if label == 3 { 80.0 } else { 200.0 };
            // In the first pass label 0 is ahead, in the second label 1.
            let second = if label < 2 { 90.0 + ((label + pass) % 2) as f64 } else { 300.0 };
            vec![first, second]
        };
        ByLabel((0..CLASSES).map(|label| vec![bound(label, 0), bound(label, 1)]).collect())
    }

    #[test]
    fn the_lowest_bound_chooses() {
        // The first image is always right; the second is 0 in the first pass alone.
        let [one, both] = bounds().accuracy(&[3, 0]);
        assert_eq!((one, both), (0.75, 1.0));
        assert_eq!(bounds().accuracy(&[4, 7]), [0.0, 0.0]);
        assert_eq!(bounds().told(&[3, 0]), 0.5 * (80.0 + 90.5));
    }

    #[test]
    fn the_label_is_summed_out_by_the_other_pass() {
        // The first image: certain of its label, 80 + log 10. The second: r from one pass
        // is (p, 1 - p) with odds e, and weighs 91 and 90 of the other.
        let p = 1.0 / (1.0 + (-1.0_f64).exp());
        let entropy = -p * p.ln() - (1.0 - p) * (1.0 - p).ln();
        let second = p * 91.0 + (1.0 - p) * 90.0 - entropy;
        let expected = 0.5 * (80.0 + second) + 10.0_f64.ln();
        assert!((bounds().summed_out() - expected).abs() < 1e-9);
    }

    #[test]
    fn the_noise_of_a_difference_is_that_between_passes() {
        // Of label 0, label 1 goes from 1 to -1, all others from 210 to 209; the first
        // image has no noise.
        let expected = (0.5 * 4.0 + 8.0 * 0.5) / 18.0;
        assert!((bounds().noise_of_difference(&[3, 0]) - expected).abs() < 1e-9);
    }
}
