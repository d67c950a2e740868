//! The same computation on the CPU and on a GPU through wgpu, from the same host
//! randomness.
//!
//! Every network of the chapters goes forward and backward once, and a short run of each
//! kind (training, bound, samples) is repeated on the GPU. `.ci/run` does this on software
//! Vulkan, which is slow: hence small batches and few steps.

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::{Device, DeviceKind, Tensor},
};
use elbo_to_diffusion::{
    autoencoder::{Fit, HvaeConfig, Size, Vae},
    data::{Dataset, digits::digits},
    error::Result,
    evaluation::{Bound, Draws},
    host::{download, upload},
    kernels::{GreyOdds, level_moments, silu, softmax},
    network::{Layers, Regressor, TrunkConfig},
    random::{Stream, normal, rng},
    training::{SHARDS, Shard, Trained, Training},
    vdm::{
        Denoiser, Learned, Linear, NoiseLevels, Parameterization, Schedule, ancestral,
        decode, denoising_term, diffuse, terms::denoising_kl,
    },
};

const SCHEDULE: Linear = Linear { gamma_min: -8.0, gamma_max: 5.0 };

fn gpu() -> Device {
    Device::wgpu(DeviceKind::DefaultDevice)
}

fn trunk(layers: Layers) -> TrunkConfig {
    let Linear { gamma_min, gamma_max } = SCHEDULE;
    TrunkConfig { gamma_min, gamma_max, layers, hidden: 16, blocks: 1, dropout: 0.2 }
}

/// Computes on both devices and compares: |gpu - cpu| <= tolerance * (r + |cpu|) for every
/// number, where r is the root of the mean square of all of them.
fn compare(what: &str, tolerance: f64, compute: impl Fn(&Device) -> Result<Vec<f64>>) {
    let (cpu, gpu) = (compute(&Device::flex()), compute(&gpu()));
    let (cpu, gpu) = (cpu.expect("the CPU's numbers"), gpu.expect("the GPU's numbers"));
    assert!(
        !cpu.is_empty() && cpu.iter().any(|v| *v != 0.0),
        "{what}: nothing was computed"
    );
    assert_eq!(cpu.len(), gpu.len(), "{what}");
    let typical = (cpu.iter().map(|v| v * v).sum::<f64>() / cpu.len() as f64).sqrt();
    let apart = |(cpu, gpu): (&f64, &f64)| (gpu - cpu).abs() / (typical + cpu.abs());
    let worst = cpu.iter().zip(&gpu).map(apart).fold(0.0, f64::max);
    println!(
        "{what}: {} numbers, at most {worst:.1e} apart (tolerance {tolerance:.0e})",
        cpu.len()
    );
    assert!(worst <= tolerance, "{what}: {worst:.1e} apart");
    assert!(gpu.iter().all(|v| v.is_finite()), "{what}: not all numbers are finite");
}

/// The loss, and the gradient of every weight, as numbers.
fn forward_and_backward<M: Module>(model: &M, loss: Tensor<1>) -> Result<Vec<f64>> {
    struct Flatten(GradientsParams, Result<Vec<f64>>);
    impl ModuleVisitor for Flatten {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let (Some(gradient), Ok(numbers)) =
                (self.0.remove::<D>(param.id), &mut self.1)
            {
                match download(gradient) {
                    Ok(values) => numbers.extend(values),
                    Err(error) => self.1 = Err(error),
                }
            }
        }
    }
    let value = download(loss.clone().inner());
    let mut flatten = Flatten(GradientsParams::from_grads(loss.backward(), model), value);
    model.visit(&mut flatten);
    flatten.1
}

/// x, z and gamma for a few training digits at spread noise levels.
fn batch(data: &Dataset, device: &Device) -> (Tensor<2>, Tensor<2>, Tensor<1>) {
    let gamma = upload((0..8).map(|i| -8.0 + 13.0 * f64::from(i) / 7.0), device);
    let x = data.train.range(0, 8).values(device);
    let z = diffuse(
        x.clone(),
        gamma.clone(),
        normal([8, 64], &mut rng(0, Stream::Training, 0), device),
    );
    (x, z, gamma)
}

/// Weights away from their start, where many are zero and hide the gradients of others.
fn stirred<M: Module>(model: M) -> M {
    use burn::module::ModuleMapper;
    struct Stir(u64);
    impl ModuleMapper for Stir {
        fn map_float<const D: usize>(
            &mut self,
            param: Param<Tensor<D>>,
        ) -> Param<Tensor<D>> {
            self.0 += 1;
            let noise = &mut rng(7, Stream::Initialisation, self.0);
            if !param.is_require_grad() {
                return param;
            }
            param.map(|w| {
                let (shape, device) = (w.dims(), w.device().without_autodiff());
                let stirred = w.inner() + normal(shape, noise, &device) * 0.1;
                Tensor::from_inner(stirred).require_grad()
            })
        }
    }
    model.map(&mut Stir(0))
}

#[test]
fn the_functions_agree() {
    let inputs = |device: &Device| {
        normal([6, 5, 17], &mut rng(1, Stream::Evaluation, 0), device) * 10.0
    };
    compare("silu", 1e-5, |device| download(silu(inputs(device))));
    compare("softmax", 1e-5, |device| download(softmax(inputs(device))));
    compare("gradients of silu and softmax", 1e-4, |device| {
        let x = inputs(&device.clone().autodiff()).require_grad();
        let loss = (softmax(silu(x.clone())) * inputs(&device.clone().autodiff())).sum();
        x.grad(&loss.backward()).map_or(Ok(Vec::new()), download)
    });
    compare("moments of the levels and their gradients", 1e-4, |device| {
        let (noise, device) =
            (&mut rng(1, Stream::Evaluation, 1), device.clone().autodiff());
        let [seen, base, curves] = [[4, 6], [6, 17], [2, 17]]
            .map(|shape| normal(shape, noise, &device).require_grad());
        let mix = normal([4, 6, 2], noise, &device).require_grad();
        let precision = upload([0.1, 1.0, 10.0, 100.0], &device).require_grad();
        let odds = GreyOdds {
            seen: seen.clone(),
            precision: precision.clone(),
            base: base.clone(),
            mix: mix.clone(),
            curves: curves.clone(),
            values: upload(digits()?.train.grey_values(), &device),
        };
        let moments = level_moments(odds);
        let gradients =
            (moments.clone() * normal([4, 12], noise, &device)).sum().backward();
        let gradients = [
            seen.grad(&gradients),
            base.grad(&gradients),
            curves.grad(&gradients),
            mix.grad(&gradients).map(|mix| mix.reshape([4, 12])),
            precision.grad(&gradients).map(Tensor::unsqueeze),
        ];
        let numbers =
            gradients.into_iter().flatten().chain([moments.inner()]).map(download);
        Ok(numbers.collect::<Result<Vec<_>>>()?.concat())
    });
    compare("conversions of chapter 7", 1e-4, |device| {
        let (x, z, gamma) = batch(&digits()?, device);
        let all = [
            Parameterization::X,
            Parameterization::Eps,
            Parameterization::Score,
            Parameterization::V,
        ];
        let there_and_back = all.map(|p| {
            p.to_x(p.from_x(x.clone(), z.clone(), gamma.clone()), z.clone(), gamma.clone())
        });
        download(Tensor::cat(there_and_back.to_vec(), 0))
    });
}

#[test]
fn the_denoisers_agree_forward_and_backward() {
    for (what, layers) in
        [("dense denoiser", Layers::Dense), ("U-Net denoiser", Layers::UNet(2))]
    {
        compare(what, 1e-3, |device| {
            let (data, device) = (digits()?, device.clone().autodiff());
            let init = &mut rng(0, Stream::Initialisation, 0);
            let model =
                stirred(Denoiser::for_images(&data.train, trunk(layers), init, &device));
            let (x, z, gamma) = batch(&data, &device);
            let x_hat =
                model.denoise(z, gamma.clone(), Some(&mut rng(0, Stream::Dropout, 0)));
            forward_and_backward(
                &model,
                denoising_kl(x, x_hat, gamma.exp().recip()).mean() / 64.0,
            )
        });
    }
}

#[test]
fn the_heads_of_chapter_7_agree_forward_and_backward() {
    for head in [
        Parameterization::X,
        Parameterization::Eps,
        Parameterization::Score,
        Parameterization::V,
    ] {
        compare(&format!("{head:?} head"), 1e-3, |device| {
            let (data, device) = (digits()?, device.clone().autodiff());
            let init = &mut rng(0, Stream::Initialisation, 0);
            let model = stirred(Regressor::new(trunk(Layers::Dense), 64, init, &device));
            let (x, z, gamma) = batch(&data, &device);
            let x_hat =
                head.to_x(model.forward(z.clone(), gamma.clone(), None), z, gamma.clone());
            forward_and_backward(
                &model,
                denoising_kl(x, x_hat, gamma.exp().recip()).mean() / 64.0,
            )
        });
    }
}

/// The loss of the shard that a training run takes last, when the KL term has its full
/// weight.
#[test]
fn the_vae_agrees_forward_and_backward() {
    compare("VAE", 1e-3, |device| {
        let (data, tape) = (digits()?, device.clone().autodiff());
        let size = Size { hidden: 16, blocks: 0, dropout: 0.2 };
        let model = stirred(Vae::new(
            &data.train,
            4,
            [size, size],
            &mut rng(0, Stream::Initialisation, 0),
            &tape,
        ));
        let fit = Fit::new(4, 0.3);
        let loss = fit.loss(&data.train, 0, device);
        forward_and_backward(
            &model,
            loss(&model, Shard { step: 4, index: 0, count: SHARDS }),
        )
    });
}

#[test]
fn the_hierarchy_agrees_forward_and_backward() {
    compare("HVAE", 1e-3, |device| {
        let (data, tape) = (digits()?, device.clone().autodiff());
        let size = Size { hidden: 8, blocks: 1, dropout: 0.0 };
        let config =
            HvaeConfig { latents: vec![3, 2], encoder: size, between: size, decoder: size };
        let model = stirred(config.init(
            &data.train,
            &mut rng(0, Stream::Initialisation, 0),
            &tape,
        ));
        let fit = Fit::new(4, 0.3);
        let loss = fit.loss(&data.train, 0, device);
        forward_and_backward(
            &model,
            loss(&model, Shard { step: 4, index: 0, count: SHARDS }),
        )
    });
}

#[test]
fn the_learned_schedule_agrees_forward_and_backward() {
    compare("learned schedule", 1e-3, |device| {
        let device = device.clone().autodiff();
        let model = stirred(Learned::new(-8.0, 5.0, &device));
        let t = upload((0..16).map(|i| f64::from(i) / 15.0), &device);
        let (gamma, slope) = model.gamma_and_slope(t);
        forward_and_backward(&model, (gamma.square() + slope).mean())
    });
}

/// A dozen steps of chapter 5 on small batches.
fn trained(data: &Dataset, device: &Device) -> Result<Trained<Denoiser>> {
    let tape = device.clone().autodiff();
    let init = &mut rng(0, Stream::Initialisation, 0);
    let model = Denoiser::for_images(&data.train, trunk(Layers::Dense), init, &tape);
    let training = Training::new(12);
    let loss = |model: &Denoiser, shard: Shard| {
        let at = NoiseLevels::at(&SCHEDULE, &shard.times(16 / SHARDS, 0), &tape);
        let (x, eps) = shard.images_and_noise(&data.train, 16 / SHARDS, 0.0, 0, &tape);
        let dropout = &mut shard.rng(0, Stream::Dropout);
        let denoise = |z, gamma| model.denoise(z, gamma, Some(dropout));
        denoising_term(x, at, eps, denoise).mean() * data.bits_per_dim(1.0)
    };
    training.run(training.begin(&model), &[], loss, |_| Ok(()))
}

/// Chapter 5 in short: the losses of a few steps, the bound on a few images, and samples.
#[test]
fn a_short_run_of_chapter_5_agrees() {
    let run = |device: &Device| -> Result<(Vec<f64>, Vec<f64>, Vec<u8>)> {
        let data = digits()?;
        let trained = trained(&data, device)?;
        let denoise = |z, gamma| trained.model.denoise(z, gamma, None);
        let gammas = SCHEDULE.grid(6);
        let few = data.test.first(32);
        let bound =
            Bound::discrete(&few, &gammas, &denoise, Draws { passes: 2, seed: 0 }, device)?;
        let z = ancestral(
            [8, 64],
            &gammas,
            denoise,
            &mut rng(0, Stream::Sampling, 0),
            device,
            |_, _, _| {},
        );
        let mut terms = vec![bound.reconstruction, bound.prior, bound.noise_error];
        terms.extend(&bound.denoising);
        Ok((trained.losses, terms, decode(z, -8.0, &data.train.grey_values())?))
    };
    let (cpu, gpu) =
        (run(&Device::flex()).expect("the CPU's run"), run(&gpu()).expect("the GPU's run"));
    compare("losses of 12 training steps", 1e-3, |device| Ok(pick(device, &cpu.0, &gpu.0)));
    compare("terms of the bound", 1e-3, |device| Ok(pick(device, &cpu.1, &gpu.1)));
    let same = cpu.2.iter().zip(&gpu.2).filter(|(a, b)| a == b).count();
    println!("samples: {same} of {} pixels the same", cpu.2.len());
    // A pixel on the edge between two levels may fall to either side.
    assert!(
        same * 100 >= cpu.2.len() * 98,
        "only {same} of {} pixels are the same",
        cpu.2.len()
    );
}

/// The same steps on the GPU, again and again: each time the same losses.
#[test]
fn a_training_repeats_itself() {
    const RUNS: usize = 20;
    const TOLERANCE: f64 = 1e-5;
    let data = digits().expect("the digits");
    let losses = || trained(&data, &gpu()).expect("a run").losses;
    let first = losses();
    for run in 1..RUNS {
        for (step, (a, b)) in first.iter().zip(losses()).enumerate() {
            assert!((a / b - 1.0).abs() < TOLERANCE, "run {run}, step {step}: {a} {b}");
        }
    }
}

fn pick(device: &Device, cpu: &[f64], gpu: &[f64]) -> Vec<f64> {
    if *device == Device::flex() { cpu.to_vec() } else { gpu.to_vec() }
}
