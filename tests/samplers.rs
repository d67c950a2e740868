//! Samples against the law that they must have: not only their look, but their means,
//! covariances and quantiles, at every step.
//!
//! The reverse chain with an exact denoiser has an exact law of its own, which for few
//! steps is not the law of the data. For Gaussian data it follows by linear recursion, for
//! a mixture by quadrature on a grid.

use burn::tensor::{Device, Tensor};
use elbo_to_diffusion::{
    autoencoder::{CategoricalDecoder, HvaeConfig, Size},
    data::digits::digits,
    evaluation::on_all_threads,
    host::{download, upload},
    oracle::{Gaussian, NoiseLevel, ScalarMixture, Vector, matrix, vector},
    random::{Stream, normal, rng},
    vdm::{ForwardPosterior, Linear, Schedule, ancestral, decode, diffuse, signal_power},
};

/// How many standard errors a statistic of the samples may be away from its exact value.
/// Some 400 are compared.
const STANDARD_ERRORS: f64 = 4.5;
const SCHEDULE: Linear = Linear { gamma_min: -4.0, gamma_max: 3.0 };

/// z_T, ..., z_1 as the sampler draws them, n rows each.
fn walk(
    shape: [usize; 2],
    gammas: &[f64],
    denoise: impl Fn(Tensor<2>, Tensor<1>) -> Tensor<2> + Sync,
) -> Vec<Vec<f64>> {
    let (device, noise) = (Device::flex(), &mut rng(3, Stream::Sampling, 0));
    let mut latents = Vec::new();
    let last =
        ancestral(shape, gammas, on_all_threads(denoise), noise, &device, |t, z, _| {
            assert_eq!(t, gammas.len() - latents.len(), "the times go down one by one");
            latents.push(z.clone());
        });
    latents
        .into_iter()
        .chain([last])
        .map(|z| download(z).expect("the CPU delivers"))
        .collect()
}

/// The number gamma that all rows share.
fn shared(gamma: &Tensor<1>) -> f64 {
    download(gamma.clone().narrow(0, 0, 1)).expect("the CPU delivers")[0]
}

#[track_caller]
fn assert_within(what: &str, found: f64, exact: f64, standard_error: f64) {
    let away = (found - exact).abs() / standard_error;
    assert!(
        away < STANDARD_ERRORS,
        "{what}: {found} instead of {exact}, {away:.1} standard errors away"
    );
}

/// For Gaussian data the exact denoiser is linear, and so every latent is Gaussian: means,
/// variances and the covariance of two dimensions, and the share below some quantiles, at
/// every step.
#[test]
fn every_latent_of_gaussian_data_has_the_law_of_the_chain() {
    const N: usize = 40_000;
    let data = Gaussian::new(
        vector(&[0.3, -0.5]),
        matrix(&[&[0.5, 0.25], &[0.25, 0.2]]).expect("a matrix"),
    );
    let data = data.expect("a covariance");
    let gammas = SCHEDULE.grid(8);
    // x_hat = offset + gain z.
    let coefficients = |gamma: f64| {
        let (signal, noise) = (signal_power(gamma).sqrt(), signal_power(-gamma));
        let seen =
            data.covariance() * signal.powi(2) + nalgebra::DMatrix::identity(2, 2) * noise;
        let gain = data.covariance() * seen.try_inverse().expect("positive") * signal;
        (data.mean() - &gain * data.mean() * signal, gain)
    };
    let denoise = |z: Tensor<2>, gamma: Tensor<1>| {
        let (offset, gain) = coefficients(shared(&gamma));
        // nalgebra stores columns, and a row of z takes the transposed gain: the same
        // numbers.
        let gain = upload(gain.iter().copied(), &z.device()).reshape([2, 2]);
        z.matmul(gain) + upload(offset.iter().copied(), &Device::flex()).unsqueeze::<2>()
    };
    let latents = walk([N, 2], &gammas, denoise);

    let (mut mean, mut covariance) =
        (Vector::zeros(2), nalgebra::DMatrix::<f64>::identity(2, 2));
    for (i, z) in latents.iter().enumerate() {
        let t = gammas.len() - i;
        if i > 0 {
            let posterior = ForwardPosterior::between(gammas[t - 1], gammas[t]);
            let (offset, gain) = coefficients(gammas[t]);
            let step = nalgebra::DMatrix::identity(2, 2) * posterior.a + gain * posterior.b;
            mean = &step * mean + offset * posterior.b;
            covariance = &step * covariance * step.transpose()
                + nalgebra::DMatrix::identity(2, 2) * posterior.variance;
        }
        let n = N as f64;
        let found: Vec<f64> =
            (0..2).map(|j| z.iter().skip(j).step_by(2).sum::<f64>() / n).collect();
        for j in 0..2 {
            assert_within(
                &format!("mean {j} of z_{t}"),
                found[j],
                mean[j],
                (covariance[(j, j)] / n).sqrt(),
            );
            for k in 0..=j {
                let products = z.chunks(2).map(|z| (z[j] - mean[j]) * (z[k] - mean[k]));
                let (both, cross) =
                    (covariance[(j, j)] * covariance[(k, k)], covariance[(j, k)]);
                let error = ((both + cross * cross) / n).sqrt();
                assert_within(
                    &format!("covariance {j}, {k} of z_{t}"),
                    products.sum::<f64>() / n,
                    cross,
                    error,
                );
            }
            // 10, 50 and 90 % of a Gaussian lie below these.
            for (share, place) in
                [(0.1, -1.281_551_565_544_6), (0.5, 0.0), (0.9, 1.281_551_565_544_6)]
            {
                let quantile = mean[j] + place * covariance[(j, j)].sqrt();
                let below = z.iter().skip(j).step_by(2).filter(|&&z| z < quantile).count();
                let error = (share * (1.0 - share) / n).sqrt();
                assert_within(
                    &format!("share of z_{t} below its {share} quantile"),
                    below as f64 / n,
                    share,
                    error,
                );
            }
        }
    }
    // The chain of so few steps is not yet that of the data, so that a wrong variance of
    // the step would be seen.
    let marginal = data.covariance() * signal_power(gammas[0]);
    assert!(
        (marginal - covariance).amax() > 0.005,
        "this chain cannot tell its own law from that of the data"
    );
}

/// For a mixture the denoiser bends. The density of each latent is pushed through its step
/// on a grid, and the share of the samples below some points must be that of the density.
#[test]
fn every_latent_of_a_mixture_has_the_law_of_the_chain() {
    const N: usize = 40_000;
    const STEP: f64 = 0.005;
    let data =
        ScalarMixture::new(&[0.3, 0.7], &[-1.0, 0.8], &[0.01, 0.05]).expect("a mixture");
    let gammas = SCHEDULE.grid(7);
    let x_hat = |z: f64, gamma: f64| data.posterior(z, NoiseLevel::new(gamma)).mean();
    let denoise = |z: Tensor<2>, gamma: Tensor<1>| {
        let gamma = shared(&gamma);
        let estimates = download(z.clone())
            .expect("the CPU delivers")
            .into_iter()
            .map(|z| x_hat(z, gamma));
        upload(estimates, &z.device()).reshape(z.dims())
    };
    let latents = walk([N, 1], &gammas, denoise);

    let grid: Vec<f64> = (-1000..=1000).map(|i| f64::from(i) * STEP).collect();
    let bell = |x: f64, variance: f64| {
        (-0.5 * x * x / variance).exp() / (std::f64::consts::TAU * variance).sqrt()
    };
    let mut density: Vec<f64> = grid.iter().map(|&z| bell(z, 1.0)).collect();
    for (i, z) in latents.iter().enumerate() {
        let t = gammas.len() - i;
        if i > 0 {
            let posterior = ForwardPosterior::between(gammas[t - 1], gammas[t]);
            let means: Vec<f64> = grid
                .iter()
                .map(|&z| posterior.a * z + posterior.b * x_hat(z, gammas[t]))
                .collect();
            let next = |to: f64| {
                let from = means.iter().zip(&density);
                from.map(|(mean, p)| p * bell(to - mean, posterior.variance)).sum::<f64>()
                    * STEP
            };
            density = grid.iter().map(|&to| next(to)).collect();
        }
        let total: f64 = density.iter().sum::<f64>() * STEP;
        assert!((total - 1.0).abs() < 1e-6, "the grid loses probability: {total}");
        for point in [-1.5, -1.0, -0.5, 0.0, 0.5, 0.75, 1.0, 1.5] {
            let share: f64 = grid
                .iter()
                .zip(&density)
                .map(|(&z, p)| if z < point { p * STEP } else { 0.0 })
                .sum();
            // The point itself lies on the grid: half of its mass is below.
            let share =
                share + density[(1000.0 + point / STEP).round() as usize] * STEP / 2.0;
            let below = z.iter().filter(|&&z| z < point).count() as f64 / N as f64;
            let error = (share * (1.0 - share) / N as f64).sqrt();
            assert_within(&format!("share of z_{t} below {point}"), below, share, error);
        }
    }
}

/// The level that is read off z_1 is the one whose value lies nearest to z_1 /
/// sqrt(abar_1): the decoder has one variance.
#[test]
fn decoding_takes_the_nearest_level() {
    let data = digits().expect("the embedded digits");
    let (values, gamma, device) = (data.train.grey_values(), -5.0, Device::flex());
    let x = data.test.first(50).values(&device);
    let z = diffuse(
        x,
        Tensor::full([50], gamma, &device),
        normal([50, 64], &mut rng(1, Stream::Sampling, 0), &device),
    );
    let found = decode(z.clone(), gamma, &values).expect("the CPU delivers");
    let mut moved = 0;
    for ((z, &level), true_level) in download(z)
        .expect("the CPU delivers")
        .iter()
        .zip(&found)
        .zip(data.test.iter().flatten())
    {
        let distance = |k: usize| (z / signal_power(gamma).sqrt() - values[k]).abs();
        let nearest = (0..17)
            .min_by(|&a, &b| distance(a).total_cmp(&distance(b)))
            .expect("17 levels");
        assert!(
            distance(level.into()) < distance(nearest) + 1e-6,
            "{z}: {level} instead of {nearest}"
        );
        moved += usize::from(level != *true_level);
    }
    assert!(moved > 100, "noise this weak would not show which level is the nearest");
}

/// p(x | z) of the autoencoders: each grey level of each pixel is drawn as often as its
/// probability says.
#[test]
fn pixels_are_drawn_with_their_probabilities() {
    const N: usize = 4000;
    let (data, device) = (digits().expect("the embedded digits"), Device::flex());
    let init = &mut rng(5, Stream::Initialisation, 0);
    let size = Size { hidden: 16, blocks: 1, dropout: 0.0 };
    let decoder = CategoricalDecoder::new(3, &data.train, size, init, &device);
    let z = normal::<2>([1, 3], init, &device) * 2.0;
    let log_probs = download(decoder.log_probs(z.clone(), None)).expect("the CPU delivers");
    let drawn = decoder
        .sample(z.expand([N, 3]), &mut rng(6, Stream::Sampling, 0))
        .expect("the CPU delivers");
    assert_eq!(drawn.len(), N * 64);
    for pixel in [0, 2, 3, 20, 35, 60] {
        for level in 0..17 {
            let p = log_probs[pixel * 17 + level].exp();
            let count =
                drawn.chunks(64).filter(|image| usize::from(image[pixel]) == level).count();
            let error = (p * (1.0 - p) / N as f64).sqrt().max(1.0 / N as f64);
            assert_within(
                &format!("level {level} of pixel {pixel}"),
                count as f64 / N as f64,
                p,
                error,
            );
        }
    }
}

/// The hierarchy's sampler: given z_3, what `descend` draws has the mean and the variance
/// of p(z_2 | z_3), and for z_1, those of the mixture over all z_2.
#[test]
fn the_hierarchy_descends_by_its_priors() {
    const N: usize = 20_000;
    let (data, device) = (digits().expect("the embedded digits"), Device::flex());
    let size = Size { hidden: 12, blocks: 1, dropout: 0.0 };
    let config =
        HvaeConfig { latents: vec![4, 3, 2], encoder: size, between: size, decoder: size };
    let hvae = config.init(&data.train, &mut rng(7, Stream::Initialisation, 0), &device);
    let top = normal::<2>([1, 2], &mut rng(8, Stream::Sampling, 0), &device).expand([N, 2]);
    let noise = &mut rng(9, Stream::Sampling, 0);

    let read = |tensor: Tensor<2>| download(tensor).expect("the CPU delivers");
    let check = |what: &str, drawn: Tensor<2>, mean: Tensor<2>, log_var: Tensor<2>| {
        // Each row has its own Gaussian: in units of its deviation, draws are standard
        // normal.
        let units = read((drawn - mean) / (log_var * 0.5).exp());
        let n = units.len() as f64;
        assert_within(
            &format!("mean of {what}"),
            units.iter().sum::<f64>() / n,
            0.0,
            n.sqrt().recip(),
        );
        let square = units.iter().map(|u| u * u).sum::<f64>() / n;
        assert_within(&format!("variance of {what}"), square, 1.0, (2.0 / n).sqrt());
        let fourth = units.iter().map(|u| u.powi(4)).sum::<f64>() / n;
        assert_within(&format!("fourth moment of {what}"), fourth, 3.0, (96.0 / n).sqrt());
    };
    let second = hvae.descend(3, 2, top.clone(), noise);
    let p = hvae.priors[1].given(top.clone(), None);
    check("z_2", second.clone(), p.mean, p.log_var);
    let first = hvae.descend(2, 1, second.clone(), noise);
    let p = hvae.priors[0].given(second, None);
    check("z_1", first, p.mean.clone(), p.log_var.clone());

    // Two steps at once: by the laws of total mean and variance over the z_2 drawn before.
    let both = read(hvae.descend(3, 1, top.clone(), noise));
    let (means, variances) = (read(p.mean), read(p.log_var.exp()));
    for j in 0..4 {
        let column =
            |values: &[f64]| values.iter().skip(j).step_by(4).copied().collect::<Vec<_>>();
        let average = |values: &[f64]| values.iter().sum::<f64>() / N as f64;
        let (means, variances, both) = (column(&means), column(&variances), column(&both));
        let mean = average(&means);
        let variance = average(&variances)
            + average(&means.iter().map(|m| (m - mean).powi(2)).collect::<Vec<_>>());
        // Both sides are estimated from as many draws.
        assert_within(
            "mean of z_1 after two steps",
            average(&both),
            mean,
            (2.0 * variance / N as f64).sqrt(),
        );
        let spread = average(&both.iter().map(|z| (z - mean).powi(2)).collect::<Vec<_>>());
        let error = variance * (2.0 * 2.0 / N as f64).sqrt();
        assert_within("variance of z_1 after two steps", spread, variance, error);
    }
    assert_eq!(
        read(hvae.descend(2, 2, top.clone(), noise)),
        read(top),
        "without a step, z comes back"
    );
}
