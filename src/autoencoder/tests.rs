use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::{
    data::{Dataset, digits::digits},
    evaluation::Draws,
    gaussian::DiagonalGaussian,
    host::{download, upload},
    oracle::{Estimate, Gaussian, Matrix, Vector, log_sum_exp},
    random::{Stream, normal, rng},
    training::{SHARDS, Shard},
};

const SMALL: Size = Size { hidden: 8, blocks: 1, dropout: 0.0 };

fn data() -> Dataset {
    digits().expect("the embedded digits")
}

fn generator(step: u64) -> ChaCha8Rng {
    rng(7, Stream::Evaluation, step)
}

fn small_hvae(latents: &[usize]) -> Hvae {
    let config = HvaeConfig {
        latents: latents.to_vec(),
        encoder: SMALL,
        between: SMALL,
        decoder: SMALL,
    };
    config.init(&data().train, &mut generator(0), &Device::flex())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    download(tensor).expect("a tensor on the CPU")
}

#[test]
fn the_diagonal_gaussian_agrees_with_the_oracle() {
    let device = Device::flex();
    let rows = |values: [f32; 6]| {
        Tensor::<2>::from_data(TensorData::new(values.to_vec(), [2, 3]), &device)
    };
    let (mean, log_var) =
        ([0.3, -1.2, 0.7, 0.0, 2.0, -0.4], [0.1, -1.5, 0.8, -0.2, 0.4, 0.0]);
    let q = DiagonalGaussian { mean: rows(mean), log_var: rows(log_var) };
    let z = [0.9, -0.8, 0.1, -1.0, 1.5, 0.2];
    let (log_prob, kl) = (values(q.log_prob(rows(z))), values(q.kl_standard()));
    for row in 0..2 {
        let of_row = |values: [f32; 6]| {
            Vector::from_iterator(3, values[3 * row..][..3].iter().map(|&v| f64::from(v)))
        };
        let covariance = Matrix::from_diagonal(&of_row(log_var).map(f64::exp));
        let q = Gaussian::new(of_row(mean), covariance).expect("a Gaussian");
        let standard = Gaussian::standard(3).expect("a Gaussian");
        assert!(
            (log_prob[row] - q.log_prob(&of_row(z)).expect("three numbers")).abs() < 1e-5
        );
        assert!((kl[row] - q.kl(&standard).expect("three dimensions")).abs() < 1e-5);
    }
}

#[test]
fn samples_of_the_decoder_follow_its_probabilities() {
    const DRAWS: usize = 4000;
    let (data, device) = (data(), Device::flex());
    let decoder =
        CategoricalDecoder::new(2, &data.train, SMALL, &mut generator(1), &device);
    let z = upload([0.8, -1.1], &device).reshape([1, 2]);
    let probabilities: Vec<f64> =
        values(decoder.log_probs(z.clone(), None)).iter().map(|p| p.exp()).collect();
    let pixels =
        decoder.sample(z.repeat_dim(0, DRAWS), &mut generator(2)).expect("samples");
    let (d, k) = (data.train.dim(), data.train.grey_level_count());
    // The sum over levels of (count - expected)^2 / expected has mean K - 1 for each pixel.
    let mut statistic = 0.0;
    for pixel in 0..d {
        let total: f64 = probabilities[pixel * k..][..k].iter().sum();
        assert!(
            (total - 1.0).abs() < 1e-5,
            "the probabilities of pixel {pixel} sum to {total}"
        );
        for level in 0..k {
            let count = pixels
                .iter()
                .skip(pixel)
                .step_by(d)
                .filter(|&&l| usize::from(l) == level)
                .count();
            let expected = DRAWS as f64 * probabilities[pixel * k + level];
            statistic += (count as f64 - expected).powi(2) / expected;
        }
    }
    let (degrees, spread) = ((d * (k - 1)) as f64, (2.0 * (d * (k - 1)) as f64).sqrt());
    // Levels that hardly ever occur make the tails heavier than those of chi squared, hence
    // eight deviations.
    assert!(
        (statistic - degrees).abs() < 8.0 * spread,
        "chi squared {statistic} for {degrees} degrees of freedom"
    );
}

#[test]
fn the_decoder_adds_up_the_log_probabilities_of_the_levels_seen() {
    let (data, device) = (data(), Device::flex());
    let decoder =
        CategoricalDecoder::new(3, &data.train, SMALL, &mut generator(3), &device);
    let images = data.test.range(0, 4);
    let z = normal([4, 3], &mut generator(4), &device);
    let log_probs = values(decoder.log_probs(z.clone(), None));
    let sums = values(decoder.log_likelihood(images.grey_levels(&device), z, None));
    for (i, image) in images.iter().enumerate() {
        let terms = image
            .iter()
            .enumerate()
            .map(|(pixel, &level)| log_probs[(i * 64 + pixel) * 17 + usize::from(level)]);
        assert!((terms.sum::<f64>() - sums[i]).abs() < 1e-3);
    }
}

#[test]
fn a_hierarchy_of_one_level_is_the_vae() {
    let (data, device) = (data(), Device::flex());
    let vae = Vae::new(&data.train, 3, [SMALL, SMALL], &mut generator(0), &device);
    let hvae = small_hvae(&[3]);
    let batch = Batch::new(&data.test.range(0, 5), &device);
    let (one, other) = (
        vae.terms(&batch, &mut generator(5), None),
        hvae.terms(&batch, &mut generator(5), None),
    );
    assert_eq!(other.kl.len(), 1);
    assert_eq!(values(one.log_likelihood), values(other.log_likelihood));
    assert_eq!(values(one.kl[0].clone()), values(other.kl[0].clone()));
    let log_weights = |model: &dyn Fn(&mut ChaCha8Rng) -> Vec<Tensor<1>>| {
        values(model(&mut generator(6)).remove(0))
    };
    assert_eq!(
        log_weights(&|noise| vae.log_weights(&batch, 1, noise)),
        log_weights(&|noise| hvae.log_weights(&batch, 1, noise))
    );
}

/// The terms use closed forms where there are any, the log weights never do; their means
/// must agree.
#[test]
fn the_mean_log_weight_is_the_elbo() {
    let (data, device) = (data(), Device::flex());
    let model = small_hvae(&[3, 2, 2]);
    let batch = Batch::new(&data.test.range(0, 1), &device);
    let noise = &mut generator(8);
    let mut elbo = Estimate::default();
    let mut log_weight = Estimate::default();
    for _ in 0..3000 {
        let terms = model.terms(&batch, noise, None);
        let kl: f64 = terms.kl.into_iter().flat_map(values).sum();
        elbo.push(values(terms.log_likelihood)[0] - kl);
        log_weight.push(values(model.log_weights(&batch, 1, noise).remove(0))[0]);
    }
    let error = elbo.standard_error().hypot(log_weight.standard_error());
    assert!(
        (elbo.mean() - log_weight.mean()).abs() < 4.0 * error,
        "{} and {}",
        elbo.mean(),
        log_weight.mean()
    );
}

/// With two latents p(x) is an integral over a plane: the bounds lie below it, and L_K
/// comes close.
#[test]
fn the_bounds_lie_in_order_below_the_evidence() {
    let (data, device) = (data(), Device::flex());
    let model = Vae::new(&data.train, 2, [SMALL, SMALL], &mut generator(9), &device);
    let images = data.test.range(0, 3);
    let axis: Vec<f64> = (0..120).map(|i| -6.0 + (i as f64 + 0.5) * 0.1).collect();
    let plane: Vec<f64> =
        axis.iter().flat_map(|&a| axis.iter().flat_map(move |&b| [a, b])).collect();
    let z = upload(plane.iter().copied(), &device).reshape([axis.len() * axis.len(), 2]);
    let log_prior: Vec<f64> = plane
        .chunks(2)
        .map(|z| -0.5 * (z[0] * z[0] + z[1] * z[1]) - std::f64::consts::TAU.ln())
        .collect();
    let mut log_p = 0.0;
    for i in 0..images.len() {
        let level =
            images.range(i, i + 1).grey_levels(&device).repeat_dim(0, log_prior.len());
        let log_likelihood = values(model.decoder.log_likelihood(level, z.clone(), None));
        let terms: Vec<f64> = log_likelihood
            .iter()
            .zip(&log_prior)
            .map(|(a, b)| a + b + 0.01_f64.ln())
            .collect();
        log_p += log_sum_exp(&terms) / images.len() as f64;
    }
    let elbo =
        NegativeElbo::estimate(&model, &images, Draws { passes: 400, seed: 1 }, &device)
            .expect("an estimate");
    let tight = ImportanceWeighted::estimate(
        &model,
        &images,
        Importance { draws: 2000, seed: 2 },
        &device,
    )
    .expect("one");
    assert!(
        elbo.total() > -log_p + 4.0 * elbo.noise_error,
        "-ELBO {} and -log p {}",
        elbo.total(),
        -log_p
    );
    assert!(tight.nats < elbo.total());
    assert!(
        (tight.nats + log_p).abs() < 4.0 * tight.noise_error,
        "-L_2000 {} and -log p {}",
        tight.nats,
        -log_p
    );
    assert!(tight.effective_draws > 1.0 && tight.effective_draws <= 2000.0);
}

#[test]
fn an_estimate_does_not_depend_on_the_grouping_of_the_noise_between_threads() {
    let (data, device) = (data(), Device::flex());
    let model = small_hvae(&[3, 2]);
    let draws = Draws { passes: 3, seed: 5 };
    let estimate = || {
        NegativeElbo::estimate(&model, &data.validation, draws, &device)
            .expect("an estimate")
    };
    let pool = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads")
    };
    assert_eq!(pool(1).install(estimate), pool(3).install(estimate));
}

#[test]
fn numbers_of_draws_that_say_nothing_are_refused() {
    let (data, device) = (data(), Device::flex());
    let model = small_hvae(&[3, 2]);
    let (images, none) = (data.test.range(0, 3), data.test.range(0, 0));
    let elbo = |images, passes| {
        NegativeElbo::estimate(&model, images, Draws { passes, seed: 1 }, &device)
    };
    let tight = |images, draws| {
        ImportanceWeighted::estimate(&model, images, Importance { draws, seed: 1 }, &device)
    };
    for passes in [0, 1] {
        let error = elbo(&images, passes).expect_err("too few passes").to_string();
        assert!(
            error.contains("2 or more") && error.contains(&passes.to_string()),
            "{error}"
        );
    }
    assert!(tight(&images, 0).expect_err("no draws").to_string().contains("1 or more"));
    assert!(elbo(&none, 2).is_err() && tight(&none, 1).is_err());
    // The least that is allowed gives finite numbers.
    let (elbo, tight) =
        (elbo(&images, 2).expect("an estimate"), tight(&images, 1).expect("an estimate"));
    assert!(elbo.total().is_finite() && elbo.noise_error > 0.0);
    assert!(tight.nats.is_finite() && (tight.effective_draws - 1.0).abs() < 1e-12);
    assert!((0.0..1e-6).contains(&tight.noise_error), "{}", tight.noise_error);
}

#[test]
fn descending_no_level_changes_nothing_and_uses_no_noise() {
    let model = small_hvae(&[3, 2, 2]);
    let (device, noise) = (Device::flex(), &mut generator(12));
    let z = normal([4, 2], &mut generator(13), &device);
    assert_eq!(values(model.descend(3, 3, z.clone(), noise)), values(z.clone()));
    let below = model.descend(3, 1, z.clone(), noise);
    assert_eq!(below.dims(), [4, 3]);
    // In two steps with the same noise it is the same path.
    let noise = &mut generator(14);
    let at_once = values(model.descend(3, 1, z.clone(), &mut generator(14)));
    let middle = model.descend(3, 2, z, noise);
    assert_eq!(at_once, values(model.descend(2, 1, middle, noise)));
}

#[test]
fn convolutions_lead_from_images_to_latents_and_back() {
    let (data, device) = (data(), Device::flex());
    let (draws, latents) = (&mut generator(11), 3);
    let side = data.train.side();
    let encoder = GaussianNetwork::convolutional(side, latents, SMALL, draws, &device);
    let decoder =
        CategoricalDecoder::convolutional(latents, &data.train, SMALL, draws, &device);
    let model = Vae { encoder, decoder };
    let batch = Batch::new(&data.train.range(0, 5), &device);
    let terms = model.terms(&batch, draws, None);
    let (log_likelihood, kl) = (
        values(terms.log_likelihood),
        terms.kl.into_iter().map(values).collect::<Vec<_>>(),
    );
    // Fresh weights know no more than the average image, and that no better.
    let average = -(data.train.dim() as f64) * (data.train.grey_level_count() as f64).ln();
    assert_eq!((log_likelihood.len(), kl.len(), kl[0].len()), (5, 1, 5));
    assert!(log_likelihood.iter().all(|l| (2.0 * average..0.0).contains(l)));
    assert!(kl[0].iter().all(|kl| (0.0..30.0).contains(kl)), "{kl:?}");
}

#[test]
fn the_weight_of_the_kl_rises_with_the_steps() {
    let (data, device) = (data(), Device::flex());
    let latents = 2;
    let (draws, tracked) = (&mut generator(12), device.clone().autodiff());
    let model = Vae::new(&data.train, latents, [SMALL; 2], draws, &tracked);
    let fit = Fit { batch: 8, kl_warmup: 9, kl_weight: 0.5, ..Fit::new(20, 0.0) };
    for (step, weight) in [(1, 0.05), (5, 0.25), (10, 0.5), (20, 0.5)] {
        let shard = Shard { step, index: 1, count: SHARDS };
        let images = data.train.sample(8 / SHARDS, &mut shard.rng(3, Stream::Batch));
        let noise = &mut shard.rng(3, Stream::Training);
        let terms = model.terms(&Batch::new(&images, &tracked), noise, None);
        let log_likelihood = values(terms.log_likelihood.inner());
        let kl: Vec<f64> = terms.kl.into_iter().flat_map(|kl| values(kl.inner())).collect();
        let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / numbers.len() as f64;
        let nats = weight * mean(&kl) - mean(&log_likelihood);
        let loss = values(fit.loss(&data.train, 3, &device)(&model, shard).inner());
        let expected = data.bits_per_dim(nats);
        assert!((loss[0] / expected - 1.0).abs() < 1e-5, "{step}: {loss:?} {expected}");
    }
}
