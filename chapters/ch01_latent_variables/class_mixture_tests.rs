//! Tests of the mixture of classes.

use elbo_to_diffusion::data::digits::digits;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;

fn fit(classes: usize, rounds: usize) -> (Images, ClassMixture) {
    let images = digits().unwrap().train.range(0, 300);
    let sorting = &mut ChaCha8Rng::seed_from_u64(1);
    (images.clone(), ClassMixture::fit(&images, classes, 2.0, rounds, sorting))
}

#[test]
fn every_table_is_a_distribution() {
    let (images, model) = fit(4, 5);
    let sums_to_one =
        |p: &mut dyn Iterator<Item = f64>| assert!((p.sum::<f64>() - 1.0).abs() < 1e-12);
    sums_to_one(&mut model.log_prior.iter().map(|l| l.exp()));
    for pixel in model.log_likelihood.chunks(17 * 4) {
        (0..4).for_each(|c| sums_to_one(&mut (0..17).map(|v| pixel[v * 4 + c].exp())));
    }
    images.iter().for_each(|x| sums_to_one(&mut model.posterior(x).into_iter()));
}

#[test]
fn one_class_without_imaginary_images_is_the_model_of_independent_pixels() {
    let images = digits().unwrap().train;
    let model = ClassMixture::fit(&images, 1, 0.0, 1, &mut ChaCha8Rng::seed_from_u64(2));
    assert!(
        (model.nats(&images) - Marginals::fit(&images, 0.0).nats(&images)).abs() < 1e-9
    );
}

#[test]
fn no_round_lowers_what_it_climbs() {
    let average = Marginals::fit(&digits().unwrap().train.range(0, 300), 0.1);
    let climbed = |rounds| {
        let (images, model) = fit(6, rounds);
        // The log likelihood, and the log density of the imaginary images under the
        // tables.
        let imaginary = average.log_probs.iter().zip(model.log_likelihood.chunks(6));
        let pull: f64 =
            imaginary.map(|(l, row)| 2.0 * l.exp() * row.iter().sum::<f64>()).sum();
        pull + model.log_prior.iter().sum::<f64>()
            - images.len() as f64 * model.nats(&images)
    };
    let values: Vec<f64> = (0..12).map(climbed).collect();
    assert!(values.windows(2).all(|pair| pair[1] >= pair[0]), "{values:?}");
    assert!(values[11] - values[0] > 100.0, "{values:?}");
}

#[test]
fn draws_have_the_mean_grey_levels_of_their_class() {
    let (_, model) = fit(3, 5);
    let noise = &mut ChaCha8Rng::seed_from_u64(3);
    let mut sum = [0.0; 64];
    for _ in 0..4000 {
        sum.iter_mut()
            .zip(model.sample(1, noise))
            .for_each(|(sum, v)| *sum += f64::from(v));
    }
    for (sum, mean) in sum.iter().zip(model.mean_grey_levels(1)) {
        // Grey levels lie in 0..=16, so a deviation is at most 8 and five standard
        // errors at most 0.64.
        assert!((sum / 4000.0 - mean).abs() < 0.64, "{} {mean}", sum / 4000.0);
    }
}
