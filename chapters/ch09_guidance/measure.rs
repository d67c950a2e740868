//! What samples are worth: how many show what they should, and how much of the digits'
//! variety they have.

use burn::tensor::Device;
use elbo_to_diffusion::{data::Images, error::Result, host::download};
use rayon::prelude::*;

use crate::{classifier::Judge, guide::Samples, train::CLASSES};

/// Which neighbour says how far the region around an image reaches.
const NEIGHBOUR: usize = 3;

/// What is reported of a set of samples. Shares are of one.
#[derive(Clone, Copy, Debug)]
pub struct Quality {
    /// Samples in which the judge sees what they should show.
    pub recognised: f64,
    /// Samples that lie among the test images.
    pub precision: f64,
    /// Test images that lie among the samples.
    pub recall: f64,
    /// The entropy of a pixel's grey level within a class, in bits.
    pub entropy: f64,
}

impl Quality {
    pub fn of(
        samples: &Samples,
        test: &Images,
        judge: &Judge,
        device: &Device,
    ) -> Result<Self> {
        let shown = seen(&samples.images, judge, device)?;
        Ok(Self {
            recognised: share(&shown, &samples.labels),
            precision: covered(&samples.images, test),
            recall: covered(test, &samples.images),
            entropy: entropy_within(&samples.images, &samples.labels),
        })
    }
}

/// Which digit the judge sees in each image.
pub fn seen(images: &Images, judge: &Judge, device: &Device) -> Result<Vec<u8>> {
    let seen = judge.log_probs(images.values(device), None).argmax(1).float();
    Ok(download(seen)?.into_iter().map(|class| class as u8).collect())
}

/// The share of the places in which both have the same.
pub fn share(found: &[u8], labels: &[u8]) -> f64 {
    let same = found.iter().zip(labels).filter(|(found, label)| found == label).count();
    same as f64 / labels.len().max(1) as f64
}

/// The squared distance of two images, in grey levels.
pub fn squared_distance(a: &[u8], b: &[u8]) -> u32 {
    a.iter().zip(b).map(|(&a, &b)| u32::from(a.abs_diff(b)).pow(2)).sum()
}

// ANCHOR: covered
/// The share of `images` that lie among `others`: no farther from one of these than its
/// third neighbour among themselves is. Kynkaanniemi et al. (2019), in the space of pixels.
pub fn covered(images: &Images, others: &Images) -> f64 {
    let reach = |i: usize| {
        let from = others.image(i);
        let mut distances: Vec<u32> =
            others.iter().map(|other| squared_distance(from, other)).collect();
        // The nearest is the image itself.
        let last = NEIGHBOUR.min(distances.len() - 1);
        *distances.select_nth_unstable(last).1
    };
    let reaches: Vec<u32> = (0..others.len()).into_par_iter().map(reach).collect();
    let inside = |i: &usize| {
        let mut balls = others.iter().zip(&reaches);
        balls.any(|(other, reach)| squared_distance(images.image(*i), other) <= *reach)
    };
    let count = (0..images.len()).into_par_iter().filter(inside).count();
    count as f64 / images.len().max(1) as f64
}
// ANCHOR_END: covered

// ANCHOR: entropy
/// The entropy of a pixel's grey level among the images of one class, in bits: the mean
/// over pixels and classes.
pub fn entropy_within(images: &Images, labels: &[u8]) -> f64 {
    let (d, levels) = (images.dim(), images.grey_level_count());
    let class = |class: u8| {
        let members: Vec<&[u8]> = images
            .iter()
            .zip(labels)
            .filter(|(_, l)| **l == class)
            .map(|(x, _)| x)
            .collect();
        let mut counts = vec![0.0_f64; d * levels];
        for (pixel, &level) in members.iter().flat_map(|x| x.iter().enumerate()) {
            counts[pixel * levels + usize::from(level)] += 1.0 / members.len() as f64;
        }
        counts.iter().filter(|p| **p > 0.0).map(|p| -p * p.log2()).sum::<f64>()
    };
    let present: Vec<u8> =
        (0..CLASSES as u8).filter(|class| labels.contains(class)).collect();
    present.iter().map(|c| class(*c)).sum::<f64>() / (d * present.len().max(1)) as f64
}
// ANCHOR_END: entropy

/// The first `each` images of each class.
pub fn first_of_each(images: &Images, each: usize) -> Result<Samples> {
    let labels = images.known_labels()?;
    let of = |class: u8| (0..labels.len()).filter(move |i| labels[*i] == class).take(each);
    let chosen: Vec<usize> = (0..CLASSES as u8).flat_map(of).collect();
    let pixels = chosen.iter().flat_map(|&i| images.image(i)).copied().collect();
    Ok(Samples {
        images: images.with_pixels(pixels),
        labels: chosen.iter().map(|&i| labels[i]).collect(),
    })
}

#[cfg(test)]
mod tests {
    use elbo_to_diffusion::data::digits::digits;

    use super::*;

    /// Images of one grey pixel each, and blank otherwise.
    fn dots(levels: &[u8]) -> Images {
        let image = |level: &u8| [vec![*level], vec![0; 63]].concat();
        let pixels = levels.iter().flat_map(image).collect();
        digits().expect("the embedded digits").test.with_pixels(pixels)
    }

    #[test]
    fn an_image_is_covered_within_the_third_neighbour() {
        // Of 0, 1, 2, 3 the third neighbours are 3, 2, 2 and 3 away; that of 10 is 9.
        let others = dots(&[0, 1, 2, 3, 10]);
        assert_eq!(covered(&dots(&[6, 7]), &others), 1.0);
        assert_eq!(covered(&dots(&[16]), &dots(&[0, 1, 2, 3])), 0.0);
        // 6 is as far from 3 as 0 is; 7 is farther.
        assert_eq!(covered(&dots(&[6, 7]), &dots(&[0, 1, 2, 3])), 0.5);
    }

    #[test]
    fn entropy_is_that_within_the_classes() {
        // One class of two equally frequent levels, one that is all alike: half a bit in
        // one pixel of 64.
        let found = entropy_within(&dots(&[3, 5, 7, 7]), &[0, 0, 1, 1]);
        assert!((found - 0.5 / 64.0).abs() < 1e-12, "{found}");
        assert_eq!(share(&[1, 2, 3, 4], &[1, 2, 0, 0]), 0.5);
    }
}
