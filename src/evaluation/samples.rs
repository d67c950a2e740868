//! How far samples are from images, in numbers that a test can hold: what a picture of
//! samples shows, measured.
//!
//! Distances are Euclidean, in grey levels: sqrt(sum_i (k_i - l_i)^2).

use rayon::prelude::*;

use crate::{
    data::Images,
    error::{Error, Result},
};

/// An estimate with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The estimate.
    pub value: f64,
    /// Its standard error from the finite number of samples, with the images held fixed.
    pub standard_error: f64,
}

fn distance(a: &[u8], b: &[u8]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
        .sum::<f64>()
        .sqrt()
}

/// Fails unless both hold images of one size, at least `least` each.
fn check(samples: &Images, images: &Images, least: usize) -> Result<()> {
    if samples.dim() != images.dim() || samples.len().min(images.len()) < least {
        return Err(Error::failure(format!(
            "{} samples of {} pixels cannot be compared with {} images of {}; give at least {least} of one size",
            samples.len(),
            samples.dim(),
            images.len(),
            images.dim(),
        )));
    }
    Ok(())
}

// ANCHOR: energy_distance
/// The energy distance of the laws of samples X and images Y: twice the mean |X - Y|, less
/// the mean distance of two samples and that of two images, which estimates it without
/// bias. It is zero for one law, else above. Szekely and Rizzo (2013), eq. 5.
///
/// Fails with a sentence for images of different sizes, and for fewer than two.
pub fn energy_distance(samples: &Images, images: &Images) -> Result<Measured> {
    let (value, parts) = energy(samples, images)?;
    Ok(Measured { value, standard_error: error_of_mean(&parts) })
}

/// The energy distance of samples X and images Y, and what each sample adds to it.
fn energy(samples: &Images, images: &Images) -> Result<(f64, Vec<f64>)> {
    check(samples, images, 2)?;
    let (n, m) = (samples.len() as f64, images.len() as f64);
    let sum =
        |from: &[u8], to: &Images| to.iter().map(|to| distance(from, to)).sum::<f64>();
    let sums = |from: &Images, to: &Images| -> Vec<f64> {
        (0..from.len()).into_par_iter().map(|i| sum(from.image(i), to)).collect()
    };
    let (across, within) = (sums(samples, images), sums(samples, samples));
    let among = sums(images, images).iter().sum::<f64>() / (m * (m - 1.0));
    let value = 2.0 * across.iter().sum::<f64>() / (n * m)
        - within.iter().sum::<f64>() / (n * (n - 1.0))
        - among;
    // Both means depend on a sample, the second twice.
    let parts = across
        .iter()
        .zip(&within)
        .map(|(a, w)| 2.0 * a / m - 2.0 * w / (n - 1.0))
        .collect();
    Ok((value, parts))
}
// ANCHOR_END: energy_distance

/// The energy distance of some samples to the images, less that of as many others, of which
/// each began at the same noise as its partner: what pairs have in common takes no part in
/// the standard error.
///
/// Fails with a sentence for images of different sizes or numbers, and for fewer than two.
pub fn energy_difference(
    samples: &Images,
    others: &Images,
    images: &Images,
) -> Result<Measured> {
    if samples.len() != others.len() {
        let (a, b) = (samples.len(), others.len());
        return Err(Error::failure(format!(
            "{a} samples cannot be compared in pairs with {b} others; draw as many of both"
        )));
    }
    let ((value, parts), (other, others)) =
        (energy(samples, images)?, energy(others, images)?);
    let pairs: Vec<f64> = parts.iter().zip(&others).map(|(a, b)| a - b).collect();
    Ok(Measured { value: value - other, standard_error: error_of_mean(&pairs) })
}

/// The standard error of the mean of these numbers.
fn error_of_mean(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance =
        values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    (variance / n).sqrt()
}

/// The mean distance of a sample to the image that is nearest to it. A model that has
/// learned its training images by heart draws samples nearer to them than new images are.
///
/// Fails with a sentence for images of different sizes, and for none.
pub fn nearest_distance(samples: &Images, images: &Images) -> Result<Measured> {
    check(samples, images, 1)?;
    Ok(mean(nearest(samples, images, false)))
}

/// The mean distance of an image to the nearest of the others.
///
/// Fails with a sentence for fewer than two images.
pub fn nearest_other(images: &Images) -> Result<Measured> {
    check(images, images, 2)?;
    Ok(mean(nearest(images, images, true)))
}

/// The share of the samples that fall to each class, where a sample falls to that of the
/// nearest image.
///
/// Fails with a sentence for images of different sizes, for none, and for images without
/// labels.
pub fn class_shares(samples: &Images, images: &Images) -> Result<Vec<f64>> {
    check(samples, images, 1)?;
    let labels = images.labels().ok_or_else(|| {
        Error::failure("images without labels give samples no class; read them with labels")
    })?;
    let classes = labels.iter().max().map_or(0, |&last| usize::from(last) + 1);
    let mut shares = vec![0.0; classes];
    for (i, _) in nearest(samples, images, false) {
        shares[usize::from(labels[i])] += 1.0 / samples.len() as f64;
    }
    Ok(shares)
}

/// Which image is nearest to each sample, and how far it is; where both are the same
/// images, which of the others.
fn nearest(samples: &Images, images: &Images, same: bool) -> Vec<(usize, f64)> {
    let nearest = |s: usize| {
        (0..images.len())
            .filter(|&i| !(same && i == s))
            .map(|i| (i, distance(samples.image(s), images.image(i))))
            .fold((0, f64::INFINITY), |best, new| if new.1 < best.1 { new } else { best })
    };
    (0..samples.len()).into_par_iter().map(nearest).collect()
}

fn mean(nearest: Vec<(usize, f64)>) -> Measured {
    let distances: Vec<f64> = nearest.into_iter().map(|(_, distance)| distance).collect();
    let mean = distances.iter().sum::<f64>() / distances.len() as f64;
    Measured { value: mean, standard_error: error_of_mean(&distances) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::digits::digits;

    #[test]
    fn the_energy_distance_of_halves_of_one_set_is_nothing_and_of_others_is_something() {
        let data = digits().unwrap();
        let same = energy_distance(&data.test, &data.test).unwrap().value;
        // Each sample has its own twin among the images, which is no distance and is
        // counted across.
        let n = data.test.len() as f64;
        let among: f64 = data
            .test
            .iter()
            .flat_map(|a| data.test.iter().map(move |b| distance(a, b)))
            .sum();
        assert!(
            (same - (2.0 * among / (n * n) - 2.0 * among / (n * (n - 1.0)))).abs() < 1e-9
        );

        let blank = data
            .test
            .range(0, 30)
            .sample(30, &mut crate::random::rng(0, crate::random::Stream::Exact, 0));
        let far = energy_distance(&blank, &data.train).unwrap();
        let near = energy_distance(&data.test, &data.train).unwrap();
        assert!(near.value < 1.0 && far.value > near.value, "{near:?} {far:?}");
    }

    /// For two points on a line against two others everything is added up by hand.
    #[test]
    fn the_energy_distance_by_hand() {
        let data = digits().unwrap();
        let image = |level: u8| [vec![level], vec![0; 63]].concat();
        let images = |levels: &[u8]| {
            data.test.with_pixels(levels.iter().flat_map(|&k| image(k)).collect())
        };
        let found = energy_distance(&images(&[0, 2]), &images(&[4, 10])).unwrap();
        // Across: 4, 10, 2, 8, on average 6; within: 2; among: 6.
        assert!((found.value - (12.0 - 2.0 - 6.0)).abs() < 1e-12, "{found:?}");
        // The parts: 2 * 7 - 2 * 2 = 10 and 2 * 5 - 2 * 2 = 6.
        assert!((found.standard_error - (8.0_f64 / 2.0).sqrt()).abs() < 1e-12, "{found:?}");
        // Others at 1 and 2, whose parts are 12 - 2 = 10 and 10 - 2 = 8: the pairs differ by
        // 0 and -2.
        let pair = energy_difference(&images(&[0, 2]), &images(&[1, 2]), &images(&[4, 10]));
        let (pair, other) =
            (pair.unwrap(), energy_distance(&images(&[1, 2]), &images(&[4, 10])).unwrap());
        assert!((pair.value - (found.value - other.value)).abs() < 1e-12, "{pair:?}");
        assert!((pair.standard_error - 1.0).abs() < 1e-12, "{pair:?}");
        assert!(
            energy_difference(&images(&[0, 2]), &images(&[1, 2, 3]), &data.test).is_err()
        );
        let nearest = nearest_distance(&images(&[0, 2]), &images(&[4, 10])).unwrap();
        assert_eq!((nearest.value, nearest.standard_error), (3.0, 1.0));
        assert_eq!(nearest_other(&images(&[0, 2, 7])).unwrap().value, 3.0);
        assert!(
            energy_distance(&images(&[1]), &images(&[1, 2]))
                .unwrap_err()
                .to_string()
                .contains("at least 2")
        );
    }

    #[test]
    fn a_sample_falls_to_the_class_of_the_nearest_image() {
        let data = digits().unwrap();
        let labels = data.test.labels().unwrap();
        let shares = class_shares(&data.test, &data.test).unwrap();
        for (class, share) in (0..).zip(shares) {
            let count = labels.iter().filter(|&&label| label == class).count();
            assert!((share - count as f64 / labels.len() as f64).abs() < 1e-9);
        }
        let without = data.test.with_pixels(vec![0; 64]);
        let error = class_shares(&data.test, &without).unwrap_err();
        assert!(error.to_string().contains("labels"));
    }
}
