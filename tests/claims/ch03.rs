//! Chapter 3: variational autoencoders.

use burn::tensor::Device;
use elbo_to_diffusion::{
    autoencoder::Vae,
    data::{Marginals, digits::digits},
    oracle::{Estimate, LinearGaussian, Matrix, Rule, ScalarMixture, Vector},
    random::{Stream, normal as standard, rng as stream},
};

use crate::recorded::{block, line};
use crate::support::{
    Outcome, assert_close, log_normal, normal, normal_matrix, normals, rng,
};

/// E_q log p(x|z) for 200 random q, by quadrature, against the largest log p(x|z) over a
/// grid of z: never above. As q shrinks to a point at the best z, the mean comes to that
/// value.
#[test]
fn reconstruction_prefers_a_point() -> Outcome {
    const TOLERANCE: f64 = 1e-3;
    // p(x|z) as a function of z: two bumps of different heights.
    let bumps = ScalarMixture::new(&[0.3, 0.7], &[-1.0, 1.5], &[0.1, 0.4])?;
    let log_likelihood = |z: f64| bumps.log_prob(z);
    let grid = (-4000..=4000).map(|i| f64::from(i) * 1e-3);
    let (best, largest) = grid
        .map(|z| (z, log_likelihood(z)))
        .max_by(|l, r| l.1.total_cmp(&r.1))
        .unwrap_or((f64::NAN, f64::NAN));
    let rule = Rule::gauss_hermite(60);
    let mut rng = rng(1301);
    for _ in 0..200 {
        let (mean, std) = (1.5 * normal(&mut rng), (0.8 * normal(&mut rng)).exp());
        assert!(rule.normal(mean, std, log_likelihood) < largest);
    }
    assert_close(rule.normal(best, 0.01, log_likelihood), largest, TOLERANCE);
    Ok(())
}

/// A mixture of two bumps as a function of a standard Gaussian: the function by inverting
/// the mixture's distribution function (a sum of its density), its moments under the
/// Gaussian by quadrature, against those of the mixture.
#[test]
fn gaussian_can_be_bent() -> Outcome {
    const TOLERANCE: f64 = 1e-4;
    let target = ScalarMixture::new(&[0.3, 0.7], &[-2.0, 1.0], &[0.2, 0.5])?;
    let step = 1e-4;
    // The distribution functions of the target from -8 and of N(0, 1) from -8, by the
    // midpoint rule.
    let cumulative = |density: &dyn Fn(f64) -> f64| {
        let mut sum = 0.0;
        let mut places = Vec::new();
        for i in 0..160_000 {
            let x = -8.0 + (f64::from(i) + 0.5) * step;
            let mass = density(x) * step;
            places.push((x, sum + 0.5 * mass, mass));
            sum += mass;
        }
        places
    };
    let bumps = cumulative(&|x| target.log_prob(x).exp());
    let mut moments = [0.0; 3];
    for (_, below, mass) in
        cumulative(&|z| log_normal(z, 0.0, 1.0).exp()).into_iter().step_by(10)
    {
        let at = bumps.partition_point(|(_, share, _)| *share < below).min(bumps.len() - 1);
        let x = bumps[at].0;
        for (power, moment) in (0..).zip(&mut moments) {
            *moment += 10.0 * mass * x.powi(power);
        }
    }
    assert_close(moments[0], 1.0, TOLERANCE);
    assert_close(moments[1], target.mean(), 10.0 * TOLERANCE);
    assert_close(moments[2] - moments[1].powi(2), target.variance(), 10.0 * TOLERANCE);
    Ok(())
}

/// The share of blank pixels in the training images, against a half: just below.
#[test]
fn blank_pixels() -> elbo_to_diffusion::error::Result<()> {
    const SHARE: std::ops::Range<f64> = 0.47..0.5;
    let train = digits()?.train;
    let blank = train.iter().flatten().filter(|&&level| level == 0).count();
    let share = blank as f64 / (train.len() * train.dim()) as f64;
    assert!(SHARE.contains(&share), "{share}");
    Ok(())
}

/// -log p(x|z) of test images under an untrained decoder, at z from the prior, against the
/// independent pixels: less than five hundredths of a bit per dimension apart.
#[test]
fn untrained_decoder() -> elbo_to_diffusion::error::Result<()> {
    const TOLERANCE: f64 = 0.05;
    let (data, device) = (digits()?, Device::flex());
    let model = Vae::new(
        &data.train,
        16,
        Vae::SIZES,
        &mut stream(0, Stream::Initialisation, 16),
        &device,
    );
    let images = data.test.first(100);
    let z = standard([images.len(), 16], &mut stream(1302, Stream::Evaluation, 0), &device);
    let log_likelihood = model.decoder.log_likelihood(images.grey_levels(&device), z, None);
    let nats: f32 = -log_likelihood.mean().into_scalar::<f32>();
    let independent = Marginals::fit(&data.train, 0.1).nats(&images);
    assert_close(
        data.bits_per_dim(f64::from(nats)),
        data.bits_per_dim(independent),
        TOLERANCE,
    );
    Ok(())
}

/// KL(N(m, s^2) || N(0, 1)) by quadrature, for 200 random m and s: above zero, but for m =
/// 0 and s = 1.
#[test]
fn silent_dimension() {
    const LEAST: f64 = 1e-6;
    let rule = Rule::gauss_hermite(20);
    let kl = |mean: f64, std: f64| {
        rule.normal(mean, std, |z| log_normal(z, mean, std * std) - log_normal(z, 0.0, 1.0))
    };
    let mut rng = rng(1303);
    for _ in 0..200 {
        let (mean, std) = (normal(&mut rng), normal(&mut rng).exp());
        assert!(kl(mean, std) > LEAST);
    }
    assert_close(kl(0.0, 1.0), 0.0, 1e-12);
}

/// log p(x) of x|z ~ N(W z + b, s2 I), against the same with W R for a rotation R. With the
/// R that makes the columns of W R orthogonal, from the singular vectors, the posterior's
/// covariance (by conditioning) is diagonal.
#[test]
fn latents_can_be_rotated() -> Outcome {
    const TOLERANCE: f64 = 1e-10;
    let mut rng = rng(1304);
    for _ in 0..20 {
        let (weights, offset) = (normal_matrix(&mut rng, 5, 3), normals(&mut rng, 5));
        let rotation = weights
            .clone()
            .svd(false, true)
            .v_t
            .unwrap_or_else(|| Matrix::zeros(3, 3))
            .transpose();
        let model = LinearGaussian::standard(weights.clone(), offset.clone(), 0.4)?;
        let rotated = LinearGaussian::standard(&weights * &rotation, offset.clone(), 0.4)?;
        let x: Vector = normals(&mut rng, 5);
        assert_close(model.log_prob(&x)?, rotated.log_prob(&x)?, TOLERANCE);
        let covariance = rotated.posterior(&x)?.covariance().clone();
        for (i, j) in [(0, 1), (0, 2), (1, 2)] {
            assert_close(covariance[(i, j)], 0.0, TOLERANCE);
        }
        assert!(model.posterior(&x)?.covariance()[(0, 1)].abs() > 1e-6);
    }
    Ok(())
}

/// How many of the 13 x 13 cells of the plane's figure have no code within half a cell, if
/// 447 codes are drawn from N(0, I): the mean of 300 repetitions against 66, and the exact
/// mean, by adding the probability of each cell.
#[test]
fn empty_cells_of_the_prior() {
    const TOLERANCE: f64 = 1.0;
    const STANDARD_ERRORS: f64 = 4.0;
    let at = |i: usize| 0.4 * i as f64 - 2.4;
    let cells: Vec<[f64; 2]> = (0..13 * 13).map(|i| [at(i % 13), at(i / 13)]).collect();
    let mut rng = rng(1305);
    let empty = Estimate::of(300, || {
        let codes: Vec<[f64; 2]> =
            (0..447).map(|_| [normal(&mut rng), normal(&mut rng)]).collect();
        let near = |cell: &[f64; 2]| {
            codes.iter().any(|c| (c[0] - cell[0]).hypot(c[1] - cell[1]) < 0.2)
        };
        cells.iter().filter(|cell| !near(cell)).count() as f64
    });
    let (radius, angle) = (
        Rule::gauss_legendre(20, 0.0, 0.2),
        Rule::gauss_legendre(20, 0.0, std::f64::consts::TAU),
    );
    let probability = |cell: &[f64; 2]| {
        let density = |r: f64, a: f64| {
            let place = [cell[0] + r * a.cos(), cell[1] + r * a.sin()];
            place.iter().map(|z| log_normal(*z, 0.0, 1.0)).sum::<f64>().exp()
        };
        radius.integrate(|r| r * angle.integrate(|a| density(r, a)))
    };
    let exact: f64 = cells.iter().map(|cell| (1.0 - probability(cell)).powi(447)).sum();
    assert!(empty.z_score(exact).abs() < STANDARD_ERRORS);
    assert_close(exact, 66.0, TOLERANCE);
    // A run of the program sees one such number: its spread is four or five cells.
    assert!((3.5..5.5).contains(&empty.deviation()));
}

/// The KL of N(1, 1/4) from N(0, 1) by quadrature: 1 + 1/(8 ln 2) bits.
#[test]
fn bits_for_a_latent() {
    const TOLERANCE: f64 = 1e-9;
    let log_normal = |z: f64, mean: f64, variance: f64| {
        -0.5 * ((z - mean).powi(2) / variance + (std::f64::consts::TAU * variance).ln())
    };
    let rule = elbo_to_diffusion::oracle::Rule::gauss_legendre(200, -5.0, 7.0);
    let nats = rule.integrate(|z| {
        let q = log_normal(z, 1.0, 0.25);
        q.exp() * (q - log_normal(z, 0.0, 1.0))
    });
    let bits = nats / std::f64::consts::LN_2;
    assert_close(bits, 1.0 + 1.0 / (8.0 * std::f64::consts::LN_2), TOLERANCE);
    assert_close(bits, 1.18, 0.005);
}

/// A recorded run of `ch03_controls`.
const CONTROLS: &str = include_str!("../../benches/recorded/controls.txt");

/// The recorded bounds and numbers of active latents with a weight that is constant or
/// rises. At weight 1 and all steps the two are within .002; a fifth of the steps costs more
/// than .03 with either. At weight 4 the rise lowers the bound by about two hundredths and
/// doubles the active latents after a fifth of the steps, and lowers it by about one
/// hundredth after all. At weight 10 both bounds are the same.
#[test]
fn what_the_slow_rise_does() {
    const TOLERANCE: f64 = 0.003;
    let table = block(CONTROLS, "weights");
    // Reconstruction, KL, -ELBO, active latents.
    let pair = |what: &str| {
        ["constant", "rising"].map(|way| {
            let row = line(table, &format!("{what} steps, {way}"));
            assert_close(row[0] + row[1], row[2], 0.0011);
            (row[2], row[3])
        })
    };
    let [short, all] = [pair("1, 480"), pair("1, 2400")];
    assert_close(all[0].0, all[1].0, 0.002);
    for (short, all) in short.iter().zip(all) {
        assert!(short.0 > all.0 + 0.03 && short.1 >= 14.0);
    }
    let [short, all] = [pair("4, 480"), pair("4, 2400")];
    assert_close(short[0].0 - short[1].0, 0.02, 1.5 * TOLERANCE);
    assert_close(all[0].0 - all[1].0, 0.01, TOLERANCE);
    assert_eq!(short[1].1, 2.0 * short[0].1);
    let [constant, rising] = pair("10, 480");
    assert_close(constant.0, rising.0, 1e-9);
}

/// The recorded gaps in the plane. The amortisation gap of the training images is an eighth
/// of that of the test images, the gap of the Gaussian family the same; each is a
/// difference of the bounds beside it.
#[test]
fn one_encoder_on_training_images() {
    const ROUNDING: f64 = 0.0011;
    let table = block(CONTROLS, "one_encoder");
    let [training, test] = ["training", "test"].map(|images| {
        let row = line(table, images);
        assert_close(row[0] - row[1], row[3], ROUNDING);
        assert_close(row[1] - row[2], row[4], ROUNDING);
        row
    });
    assert_close(test[3] / training[3], 8.0, 0.5);
    assert_close(test[4], training[4], ROUNDING);
}
