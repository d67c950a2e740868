//! Runs the reference workload W1 here, in PyTorch and in JAX, one after the other and
//! again, and prints the ratios.
//!
//! `cargo bench --bench peers -- --linear` prints instead how the time of each part grows
//! with the work, here alone.
//!
//! `cargo bench --bench peers` (needs `pip install torch jax numpy`; a peer that is not
//! installed is left out, and the output says so). Options after `--`: `--rounds N` (5),
//! `--steps N` (400), `--threads N` (2; all programs are held to as many cores),
//! `--python PROGRAM` (python3), `--scripts FOLDER` (benches/peers). The machines at hand
//! are noisy: read the ratios, which pair runs that follow each other, and their spread.
//! `benches/many_cores.sh` runs it for several numbers of threads.

mod w1;

use std::{path::Path, process::Command, time::Instant};

use burn::{module::Module, tensor::Device};
use elbo_to_diffusion::{
    data::digits::digits,
    evaluation::{Bound, Draws, on_all_threads},
    host::download,
    random::{Stream, rng},
    vdm::{Schedule, ancestral},
};
use serde_json::{Value, json};

const FIGURES: [(&str, &str); 4] = [
    ("train_steps_per_second", "training steps/s"),
    ("sample_images_per_second", "sampled images/s"),
    ("peak_memory_mb", "peak memory (MB)"),
    ("test_bits_per_dim", "test bound (bits/dim)"),
];

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let option = |name: &str, default: &str| {
        let arguments: Vec<String> = std::env::args().collect();
        let place = arguments.iter().position(|a| a == name);
        place.and_then(|i| arguments.get(i + 1)).cloned().unwrap_or_else(|| default.into())
    };
    let (rounds, steps, threads) =
        (option("--rounds", "5"), option("--steps", "400"), option("--threads", "2"));
    let asked = |name: &str| std::env::args().any(|a| a == name);
    if asked("--ours") || asked("--linear") {
        rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build_global()?;
        if asked("--linear") {
            return linear();
        }
        println!("{}", ours(steps.parse()?)?);
        return Ok(());
    }

    let python = option("--python", "python3");
    let folder = option("--scripts", concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers"));
    let script = |name: &str| {
        vec![
            python.clone(),
            Path::new(&folder).join(name).display().to_string(),
            "--steps".into(),
            steps.clone(),
        ]
    };
    let cores = on_cores(threads.parse()?);
    let this = std::env::current_exe()?.display().to_string();
    let ours = ["--ours", "--steps", &steps, "--threads", &threads].map(String::from);
    let torch =
        [script("digits_vdm_torch.py"), vec!["--threads".into(), threads.clone()]].concat();
    let peer = |name, command| Peer {
        name,
        command: [cores.clone(), command].concat(),
        results: Vec::new(),
    };
    let mut peers = vec![
        peer("here", [vec![this], ours.to_vec()].concat()),
        peer("PyTorch", torch),
        peer("JAX", script("digits_vdm_jax.py")),
    ];

    for round in 1..=rounds.parse::<usize>()? {
        peers.retain_mut(|peer| match run(&peer.command) {
            Ok(result) => {
                println!("round {round}, {}: {result}", peer.name);
                peer.results.push(result);
                true
            }
            Err(why) => {
                println!("{} is left out: {why}", peer.name);
                false
            }
        });
    }
    for (figure, name) in FIGURES {
        let values = |peer: &Peer| {
            peer.results.iter().filter_map(|r| r[figure].as_f64()).collect::<Vec<f64>>()
        };
        for peer in &peers {
            println!("{name}, {}: {}", peer.name, spread(values(peer)));
        }
        if let Some((here, others)) = peers.split_first() {
            for other in others {
                let ratios = values(here)
                    .iter()
                    .zip(values(other))
                    .map(|(ours, theirs)| ours / theirs)
                    .collect();
                println!("{name}, here over {}: {}", other.name, spread(ratios));
            }
        }
    }
    Ok(())
}

/// A program that computes W1.
struct Peer {
    name: &'static str,
    command: Vec<String>,
    /// What it printed, one object for each round.
    results: Vec<Value>,
}

/// What holds a program to the first of the cores, where there are more: JAX has no option
/// for it.
fn on_cores(count: usize) -> Vec<String> {
    let all = std::thread::available_parallelism().map_or(count, usize::from);
    if count == 0 || count >= all {
        return Vec::new();
    }
    ["taskset", "-c", &format!("0-{}", count - 1)].map(String::from).to_vec()
}

/// Median, least and greatest.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    match (values.first(), values.get(values.len() / 2), values.last()) {
        (Some(least), Some(median), Some(greatest)) => {
            format!("median {median:.3} ({least:.3} to {greatest:.3})")
        }
        _ => "no figures".into(),
    }
}

/// The figures that a program prints as its last line.
fn run(command: &[String]) -> Result<Value, String> {
    let output = Command::new(&command[0])
        .args(&command[1..])
        .output()
        .map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = || {
        String::from_utf8_lossy(&output.stderr)
            .lines()
            .last()
            .unwrap_or("no output")
            .to_string()
    };
    text.lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok())
        .ok_or_else(complaint)
}

/// W1 in this crate.
fn ours(steps: usize) -> Result<Value, Box<dyn std::error::Error>> {
    const IMAGES: usize = 256;
    let (data, device) = (digits()?, Device::flex());
    let training = w1::training(steps);
    let model =
        w1::W1::new(&mut rng(0, Stream::Initialisation, 0), &device.clone().autodiff());
    let (warm, mut start) = (20.min(steps / 4), Instant::now());
    let trained = training.run(
        training.begin(&model),
        &[],
        |model, shard| model.loss(&data, shard, &device.clone().autodiff()),
        |state| {
            if state.step == warm {
                start = Instant::now();
            }
            Ok(())
        },
    )?;
    let train_rate = (steps - warm) as f64 / start.elapsed().as_secs_f64();
    let model = trained.model.valid();
    let denoise = |z, gamma| model.denoise(z, gamma, None);
    let draws = Draws { passes: 2, seed: 0 };
    let bound = Bound::continuous(&data.test, &w1::SCHEDULE, 24, denoise, draws, &device)?;

    let gammas = w1::SCHEDULE.grid(101);
    let sample = |n: usize, gammas: &[f64]| {
        ancestral(
            [n, 64],
            gammas,
            on_all_threads(denoise),
            &mut rng(0, Stream::Sampling, 0),
            &device,
            |_, _, _| {},
        )
    };
    sample(16, &gammas[..4]).into_data();
    let start = Instant::now();
    sample(IMAGES, &gammas).into_data();
    let sample_rate = IMAGES as f64 / start.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .and_then(|v| v.trim().split(' ').next());
    let peak = peak
        .and_then(|kilobytes| kilobytes.parse::<u64>().ok())
        .map(|kilobytes| kilobytes / 1024);
    Ok(json!({
        "peer": "elbo-to-diffusion",
        "train_steps_per_second": train_rate,
        "sample_images_per_second": sample_rate,
        "peak_memory_mb": peak,
        "test_bits_per_dim": data.bits_per_dim(bound.total()),
        "parameters": model.num_params(),
    }))
}

/// Each part of W1 with some work and with sixteen times as much, three times each in turn;
/// prints the ratio of the median times.
fn linear() -> Result<(), Box<dyn std::error::Error>> {
    let (data, device) = (digits()?, Device::flex());
    let model =
        w1::W1::new(&mut rng(0, Stream::Initialisation, 0), &device.clone().autodiff());
    let trained = model.valid();
    let train = |steps: usize| {
        let training = w1::training(steps);
        let loss =
            |model: &w1::W1, shard| model.loss(&data, shard, &device.clone().autodiff());
        training.run(training.begin(&model), &[], loss, |_| Ok(())).map(|_| ())
    };
    let sample = |images: usize, steps: usize| {
        let denoise = on_all_threads(|z, gamma| trained.denoise(z, gamma, None));
        let noise = &mut rng(0, Stream::Sampling, 0);
        let z = ancestral(
            [images, 64],
            &w1::SCHEDULE.grid(steps + 1),
            denoise,
            noise,
            &device,
            |_, _, _| {},
        );
        download(z.sum()).map(|_| ())
    };
    type Part<'a> =
        (&'a str, [usize; 2], &'a dyn Fn(usize) -> elbo_to_diffusion::error::Result<()>);
    let parts: [Part; 3] = [
        ("training steps", [50, 800], &train),
        ("sampled images", [64, 1024], &|images| sample(images, 50)),
        ("sampling steps", [25, 400], &|steps| sample(128, steps)),
    ];
    for (name, work, run) in parts {
        let mut seconds = [Vec::new(), Vec::new()];
        for _ in 0..3 {
            for (seconds, work) in seconds.iter_mut().zip(work) {
                let start = Instant::now();
                run(work)?;
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
        let [few, many] = seconds.map(|mut seconds| {
            seconds.sort_by(f64::total_cmp);
            seconds[1]
        });
        let [least, most] = work;
        println!(
            "{least} and {most} {name}: {few:.2} s and {many:.2} s, {:.1} times as long",
            many / few
        );
    }
    Ok(())
}
