//! Chapter 10: the bound as a file.
#[path = "ch10_bits_back/models.rs"]
mod models;

use std::time::Instant;
use burn::tensor::Device;
use elbo_to_diffusion::{chapter::Preset, codec::*, data::{Marginals, digits::digits}, evaluation::{Bound, Draws}};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let latents: usize = args[1].parse().unwrap();
    let n: usize = args[2].parse().unwrap();
    let preset = if args.len() > 3 { Preset::Full } else { Preset::Quick };
    let device = Device::flex();
    let data = digits().unwrap();
    let vdm = models::Vdm::load(&data, preset, latents, &device).unwrap();
    let test = data.test.first(n);
    let denoise = |z, g| vdm.denoiser.denoise(z, g, None);
    let b = Bound::discrete(&test, &vdm.gammas, denoise, Draws { passes: 2, seed: 0 }, &device).unwrap();
    println!("bound {:.4} +- {:.4} bytes {:.0}", data.bits_per_dim(b.total()), data.bits_per_dim(b.noise_error), b.total() / 2f64.ln() / 8.0 * n as f64);
    let marginals = Marginals::fit(&data.train, 0.1);
    let chain = Diffusion::new(denoise, vdm.gammas.clone(), data.train.level_values(), 64, &device);
    let codec = Codec::new(chain, 0, [0; 4], &marginals, 153.0);
    let plan = codec.plan(n, false);
    println!("{plan:?}");
    let d = Digits { levels: test.iter().flatten().copied().collect(), labels: None };
    // depth of one image
    let mut s = Stack::new(true);
    let rnd: Vec<usize> = (0..500).map(|i| (i * 7919) % 4096).collect();
    let u = Categorical::uniform(4096);
    s.push(&rnd, &vec![&u; 500]).unwrap();
    for i in 0..5 {
        let mut low = f64::MAX;
        let start = s.bits();
        push_images(&mut s, codec.chain(), test.image(i), |s| low = low.min(s.bits())).unwrap();
        println!("image {i}: start {start} low {} net {}", start - low, s.bits() - start);
    }
    for pads in [true, false] {
    let mut s = Stack::new(pads);
    s.push(&rnd.repeat(60), &vec![&u; 30000]).unwrap();
    let start = s.bits();
    for c in d.levels.chunks(64 * 16) { push_images(&mut s, codec.chain(), c, |_| {}).unwrap(); }
    println!("pads {pads}: net bits/dim {:.4}", (s.bits() - start) / (64 * n) as f64);
    }
    let mut low = f64::MAX;
    codec.stack(&d, |s| low = low.min(s.bits())).unwrap();
    let t = Instant::now();
    let file = codec.encode(&d, Format::Csv).unwrap();
    let e = t.elapsed().as_secs_f64();
    let t = Instant::now();
    let (back, _) = codec.decode(&file).unwrap();
    let f = t.elapsed().as_secs_f64();
    assert!(back == d);
    println!("file {} bytes {:.4} bits/dim encode {:.1}/s decode {:.1}/s", file.len(), file.len() as f64 * 8.0 / (64 * n) as f64, n as f64 / e, n as f64 / f);
}
