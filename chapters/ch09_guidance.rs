//! Chapter 9: conditions. A denoiser that takes a label, what the label is worth, and
//! guidance.

#[path = "ch09_guidance/classifier.rs"]
mod classifier;
#[path = "ch09_guidance/train.rs"]
mod train;

use std::process::ExitCode;

use elbo_to_diffusion::{
    chapter::{self, Chapter, Flag, Spec},
    error::Result,
    evaluation::{Bound, Draws},
    host::download,
    vdm::one_hot,
};
use train::{CLASSES, Networks};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What `--steps 2000 --save chapters/weights/ch09_guidance.safetensors` wrote.
const WEIGHTS: &[u8] = include_bytes!("weights/ch09_guidance.safetensors");

fn main() -> ExitCode {
    let spec = Spec {
        name: "ch09_guidance",
        about: "Chapter 9: tell a diffusion model the label, and guide its samples",
        flags: &[Flag::Device, Flag::Steps, Flag::Weights, Flag::Resume, Flag::Guidance],
    };
    chapter::main(spec, run)
}

fn run(chapter: &mut Chapter) -> Result<()> {
    let data = chapter.labelled_dataset()?;
    let setting = chapter.setting(2000);
    let device = chapter.device.clone().autodiff();
    let fresh = Networks::new(&data, &setting, chapter.seed(), &device);
    let networks = match chapter.load_or_shipped(&fresh, WEIGHTS)? {
        Some(networks) => networks,
        None => train::train(chapter, &data, &setting, fresh)?,
    };
    chapter.save_weights(&networks)?;
    for (name, images) in
        [("train", &data.train), ("validation", &data.validation), ("test", &data.test)]
    {
        let lab = images.labels().unwrap();
        let dev = &chapter.device;
        let acc = |lp: burn::tensor::Tensor<2>| -> Result<f64> {
            let p = download(lp.argmax(1).float())?;
            Ok(p.iter().zip(lab).filter(|(p, l)| **p as u8 == **l).count() as f64
                / lab.len() as f64)
        };
        let x = images.values(dev);
        let n = images.len();
        let j = acc(networks.judge.log_probs(x.clone(), None))?;
        let c = acc(networks.noisy.log_probs(
            x.clone(),
            burn::tensor::Tensor::full([n], -8.0, dev),
            None,
        ))?;
        let known: Vec<_> = lab.iter().copied().map(Some).collect();
        let _ = known;
        let draws = Draws { passes: 2, seed: chapter.seed() };
        let null = Bound::continuous(
            images,
            &setting.linear(),
            32,
            |z, g| networks.denoiser.denoise(z, g, None),
            draws,
            dev,
        )?;
        eprintln!(
            "{name}: judge {j:.4} noisy {c:.4} null {:.4}",
            data.bits_per_dim(null.total())
        );
        let mut cond = 0.0;
        for y in 0..CLASSES as u8 {
            let idx: Vec<usize> = (0..n).filter(|i| lab[*i] == y).collect();
            let px: Vec<u8> = idx.iter().flat_map(|i| images.image(*i).to_vec()).collect();
            let sub = images.with_pixels(px);
            let b = Bound::continuous(
                &sub,
                &setting.linear(),
                32,
                |z: burn::tensor::Tensor<2>, g| {
                    let m = z.dims()[0];
                    let l = one_hot(&vec![Some(y); m], CLASSES, dev);
                    networks.denoiser.denoise_given(z, g, Some(l), None)
                },
                draws,
                dev,
            )?;
            cond += b.total() * idx.len() as f64 / n as f64;
        }
        eprintln!("   cond {:.4}", data.bits_per_dim(cond));
    }
    Ok(())
}
