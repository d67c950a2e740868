//! Training steps of the full preset on images of 28 x 28 pixels with 256 levels, on any
//! device.
//!
//! `cargo bench --bench unet --features wgpu -- --device wgpu`. Options: `--device NAME`
//! (auto), `--steps N` (100), `--batch N` (128), `--channels N` (32), `--images N` (64) and
//! `--sampling-steps N` (50). Prints one JSON line; `peers/unet_torch.py` does the same
//! work in PyTorch and prints the same. The images are noise: only the time is measured.

use std::{error::Error, time::Instant};

use burn::tensor::{Device, Tensor};
use clap::ValueEnum;
use elbo_to_diffusion::{
    chapter::{DeviceChoice, select_device},
    evaluation::on_all_threads,
    host::download,
    network::{Layers, TrunkConfig},
    random::{Stream, normal, rng},
    training::{SHARDS, Shard, Training},
    vdm::{Denoiser, Linear, NoiseLevels, Schedule, ancestral, denoising_term},
};
use serde_json::json;

const DIM: usize = 784;
const LEVELS: usize = 256;
const SCHEDULE: Linear = Linear { gamma_min: -13.3, gamma_max: 5.0 };

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str, default: usize| -> Result<usize, std::num::ParseIntError> {
        let place = arguments.iter().position(|a| a == name);
        place.and_then(|i| arguments.get(i + 1)).map_or(Ok(default), |value| value.parse())
    };
    let name =
        arguments.iter().position(|a| a == "--device").and_then(|i| arguments.get(i + 1));
    let choice =
        name.map_or(Ok(DeviceChoice::Auto), |name| DeviceChoice::from_str(name, true))?;
    let (device, device_name) = select_device(choice)?;
    let (steps, batch, channels) =
        (option("--steps", 100)?, option("--batch", 128)?, option("--channels", 32)?);
    let (images, sampling_steps) =
        (option("--images", 64)?, option("--sampling-steps", 50)?);

    let values: Vec<f64> =
        (0..LEVELS).map(|k| 2.0 * (k as f64 + 0.5) / LEVELS as f64 - 1.0).collect();
    let Linear { gamma_min, gamma_max } = SCHEDULE;
    let trunk = TrunkConfig {
        gamma_min,
        gamma_max,
        layers: Layers::UNet(3),
        hidden: channels,
        blocks: 2,
        dropout: 0.0,
    };
    let log_marginals = vec![-(LEVELS as f64).ln(); DIM * LEVELS];
    let tape = device.clone().autodiff();
    let model = Denoiser::new(
        values,
        log_marginals,
        trunk,
        &mut rng(0, Stream::Initialisation, 0),
        &tape,
    );

    let n = batch / SHARDS;
    let loss = |model: &Denoiser, shard: Shard| {
        let x = normal([n, DIM], &mut shard.rng(0, Stream::Batch), &tape).tanh();
        let at = NoiseLevels::at(&SCHEDULE, &shard.times(n, 0), &tape);
        let eps = normal([n, DIM], &mut shard.rng(0, Stream::Training), &tape);
        denoising_term(x, at, eps, |z, gamma| model.denoise(z, gamma, None)).mean()
            / DIM as f64
    };
    let training = Training::new(steps);
    let (warm, mut start) = ((steps / 4).max(1), Instant::now());
    let trained = training.run(training.begin(&model), &[], loss, |state| {
        if state.step == warm {
            wait(&device)?;
            start = Instant::now();
        }
        Ok(())
    })?;
    wait(&device)?;
    let rate = (steps - warm) as f64 / start.elapsed().as_secs_f64();

    let sample = |steps: usize| -> Result<(), elbo_to_diffusion::error::Error> {
        let denoise = on_all_threads(|z, gamma| trained.model.denoise(z, gamma, None));
        let noise = &mut rng(0, Stream::Sampling, 0);
        let z = ancestral(
            [images, DIM],
            &SCHEDULE.grid(steps + 1),
            denoise,
            noise,
            &device,
            |_, _, _| {},
        );
        download(z.sum()).map(|_| ())
    };
    sample(3)?;
    let start = Instant::now();
    sample(sampling_steps)?;
    let sampled = images as f64 / start.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({
            "peer": "here", "device": device_name, "batch": batch, "channels": channels,
            "train_steps_per_second": rate, "train_images_per_second": rate * batch as f64,
            "sample_images_per_second": sampled, "sampling_steps": sampling_steps,
        })
    );
    Ok(())
}

/// Waits until the device has done all that was asked of it.
fn wait(device: &Device) -> Result<(), elbo_to_diffusion::error::Error> {
    download(Tensor::<1>::ones([1], device)).map(|_| ())
}
