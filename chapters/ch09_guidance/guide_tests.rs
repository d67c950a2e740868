//! The formulas of guidance on the trained networks.

use elbo_to_diffusion::{
    chapter::Setting,
    data::digits::digits,
    host::{download, upload},
    network::{Layers, TrunkConfig},
    random::normal,
    training::Training,
    weights,
};

use super::*;

/// Calls `check` with the shipped networks, and z, gamma and labels of three images.
fn with_networks(
    check: impl Fn(&Sampler, Tensor<2>, Tensor<1>, Tensor<2>) -> Result<()>,
) -> Result<()> {
    let (data, device) = (digits()?, &Device::flex());
    let trunk = TrunkConfig {
        gamma_min: -8.0,
        gamma_max: 5.0,
        layers: Layers::Dense,
        hidden: 192,
        blocks: 2,
        dropout: 0.4,
    };
    let training = Training::new(1);
    let setting =
        Setting { trunk, training, batch: 2, schedule_batch: 2, shifted: 0.0, curves: 2 };
    let file =
        concat!(env!("CARGO_MANIFEST_DIR"), "/chapters/weights/ch09_guidance.safetensors");
    let fresh = Networks::new(&data, &setting, 0, device);
    let networks = weights::load(fresh, "ch09_guidance", file.as_ref())?;
    let (networks, schedule) = (&networks, setting.linear());
    let sampler = Sampler { networks, schedule, data: &data, seed: 0, device };
    let z = normal([3, 64], &mut rng(0, Stream::Evaluation, 0), device);
    let gamma = upload([-1.0, 0.5, 2.0], device);
    check(&sampler, z, gamma, one_hot(&[Some(3), Some(0), Some(8)], CLASSES, device))
}

#[test]
fn guidance_goes_from_one_estimate_to_the_other_and_beyond() -> Result<()> {
    with_networks(|sampler, z, gamma, label| {
        let free = |w: f64, levels: [f64; 2]| {
            download(sampler.free(z.clone(), gamma.clone(), label.clone(), (w, levels)))
        };
        let denoiser = &sampler.networks.denoiser;
        let without = download(denoiser.denoise(z.clone(), gamma.clone(), None))?;
        let told = Some(label.clone());
        let given = download(denoiser.denoise_given(z.clone(), gamma.clone(), told, None))?;
        let (all, part) = (free(3.0, EVERYWHERE)?, free(3.0, [0.0, 1.0])?);
        assert_eq!(free(1.0, EVERYWHERE)?, given);
        for i in 0..3 * 64 {
            let guided = without[i] + 3.0 * (given[i] - without[i]);
            assert!((all[i] - guided).abs() < 1e-5, "{} {guided}", all[i]);
            // Only the second image is within the interval.
            let expected = if i / 64 == 1 { guided } else { given[i] };
            assert!((part[i] - expected).abs() < 1e-5, "{} {expected}", part[i]);
        }
        Ok(())
    })
}

#[test]
fn a_classifier_guides_along_its_slope() -> Result<()> {
    with_networks(|sampler, z, gamma, label| {
        let noisy = &sampler.networks.noisy;
        let taped = noisy.clone().train().no_grad();
        let guided = |w: f64| {
            let told = (w, &taped);
            download(sampler.classified(z.clone(), gamma.clone(), label.clone(), told))
        };
        let (plain, guided) = (guided(0.0)?, guided(2.0)?);
        // The slope in a direction, by a difference.
        let direction = normal([3, 64], &mut rng(1, Stream::Evaluation, 0), &z.device());
        let log_prob = |h: f64| {
            let z = z.clone() + direction.clone() * h;
            let log_probs = noisy.log_probs(z, gamma.clone(), None) * label.clone();
            download(log_probs.sum_dim(1))
        };
        let (above, below) = (log_prob(0.01)?, log_prob(-0.01)?);
        let (direction, gamma) = (download(direction.clone())?, download(gamma.clone())?);
        for image in 0..3 {
            let added: f64 = (image * 64..(image + 1) * 64)
                .map(|i| (guided[i] - plain[i]) * direction[i])
                .sum();
            let level = elbo_to_diffusion::oracle::NoiseLevel::new(gamma[image]);
            let scale = 2.0 * level.noise() / level.abar().sqrt();
            let slope = scale * (above[image] - below[image]) / 0.02;
            assert!((added - slope).abs() < 0.02 * slope.abs() + 0.01, "{added} {slope}");
        }
        Ok(())
    })
}
