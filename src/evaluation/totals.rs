//! A number for each image in each pass, its errors, and comparisons in pairs.

use crate::error::{Error, Result};

/// One number for each image in each pass; `[passes, images]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Totals(pub(super) Vec<Vec<f64>>);

impl Totals {
    /// The numbers, `[passes, images]`.
    pub fn passes(&self) -> &[Vec<f64>] {
        &self.0
    }

    /// The mean over the passes, and the variance between them, of each image.
    fn moments(&self) -> impl Iterator<Item = (f64, f64)> {
        let passes = self.0.len() as f64;
        (0..self.0.first().map_or(0, Vec::len)).map(move |i| {
            let mean = self.0.iter().map(|pass| pass[i]).sum::<f64>() / passes;
            let squares = self.0.iter().map(|pass| (pass[i] - mean).powi(2)).sum::<f64>();
            (mean, squares / (passes - 1.0))
        })
    }

    /// Standard error of the mean over images and passes that comes from the noise.
    pub fn noise_error(&self) -> f64 {
        let (images, variances) = self
            .moments()
            .fold((0.0, 0.0), |(n, sum), (_, variance)| (n + 1.0, sum + variance));
        (variances / self.0.len() as f64).sqrt() / images
    }

    /// Standard error of the mean that comes from the images: their spread, less what the
    /// noise adds to it.
    pub fn set_error(&self) -> f64 {
        let (means, variances): (Vec<f64>, Vec<f64>) = self.moments().unzip();
        let images = means.len() as f64;
        let mean = means.iter().sum::<f64>() / images;
        let spread = means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / (images - 1.0);
        let noise = variances.iter().sum::<f64>() / images / self.0.len() as f64;
        ((spread - noise).max(0.0) / images).sqrt()
    }

    /// The mean over images and passes.
    pub fn mean(&self) -> f64 {
        let (images, sum) =
            self.moments().fold((0.0, 0.0), |(n, sum), (mean, _)| (n + 1.0, sum + mean));
        sum / images
    }

    /// These numbers less others of the same images, image by image and pass by pass.
    ///
    /// Fails with a sentence if the others are of another number of images or passes.
    pub fn less(&self, other: &Self) -> Result<Difference> {
        let size = |totals: &Self| totals.0.iter().map(Vec::len).collect::<Vec<_>>();
        if size(self) != size(other) {
            return Err(Error::failure(
                "two bounds can be compared in pairs on the same images and passes only; estimate both alike",
            ));
        }
        let pairs = self.0.iter().zip(&other.0);
        let differences = Self(
            pairs.map(|(a, b)| a.iter().zip(b).map(|(a, b)| a - b).collect()).collect(),
        );
        Ok(Difference {
            mean: self.mean() - other.mean(),
            noise_error: differences.noise_error(),
            set_error: differences.set_error(),
        })
    }
}

/// A difference of two bounds on the same images, in nats per image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// The mean over images and passes.
    pub mean: f64,
    /// Its standard error that comes from the finite number of noise draws.
    pub noise_error: f64,
    /// Its standard error that comes from the finite number of images.
    pub set_error: f64,
}

impl Difference {
    /// How many standard errors of the noise it is away from zero.
    pub fn standard_errors(&self) -> f64 {
        self.mean.abs() / self.noise_error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_and_its_errors_are_those_of_the_pairs() {
        let [a, b] =
            [[[3.0, 5.0, 9.0], [5.0, 5.0, 6.0]], [[1.0, 2.0, 3.0], [2.0, 4.0, 5.0]]]
                .map(|passes| Totals(passes.map(Vec::from).to_vec()));
        // The differences are 2, 3, 6 and 3, 1, 1: means 2.5, 2, 3.5 with the variances 0.5,
        // 2 and 12.5 between the passes.
        let difference = a.less(&b).unwrap();
        let (mean, noise) = (8.0 / 3.0, (15.0_f64 / 2.0).sqrt() / 3.0);
        assert!((difference.mean - mean).abs() < 1e-12);
        assert!((difference.noise_error - noise).abs() < 1e-12);
        assert!((difference.standard_errors() - mean / noise).abs() < 1e-12);
        // The spread of the means is less than what the noise makes of it.
        assert_eq!(difference.set_error, 0.0);
        let apart = Totals(vec![vec![0.0, 10.0], vec![2.0, 12.0]]);
        // Means 1 and 11 with the variance 50, of which the noise makes 2 / 2.
        assert!((apart.set_error() - 24.5_f64.sqrt()).abs() < 1e-12);
        assert!(a.less(&Totals(vec![vec![1.0; 3]])).is_err());
    }
}
