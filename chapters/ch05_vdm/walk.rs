//! The forward process and the reverse chain, step by step, on one digit each.

use burn::tensor::Tensor;
use elbo_to_diffusion::{
    chapter::Chapter,
    data::Dataset,
    error::Result,
    figure::{ImageRow, image_rows},
    host::download,
    random::{Stream, normal, rng},
    vdm::{Schedule, ancestral, diffuse},
};

use super::{LATENTS, Model};

pub fn step_by_step(chapter: &Chapter, data: &Dataset, model: &Model) -> Result<()> {
    let (gammas, device, d) =
        (model.schedule.grid(LATENTS), &chapter.device, data.train.dim());
    let denoise = |z, gamma| model.denoiser.denoise(z, gamma, None);
    let at = |t: usize| Tensor::full([1], gammas[t - 1], device);
    let noise = &mut rng(chapter.seed(), Stream::Sampling, 1);
    // z_t and x_hat of one walk down the reverse chain, from t = T to 1.
    let mut walk = Vec::new();
    let z = ancestral([1, d], &gammas, denoise, noise, device, |_, z, x_hat| {
        walk.push([z.clone(), x_hat.clone()])
    });
    walk.push([z.clone(), denoise(z, at(1))]);

    let x = data.test.range(0, 1).values(device);
    let mut rows: [Vec<Tensor<2>>; 4] = Default::default();
    for t in (0..10).map(|i| 1 + i * (LATENTS - 1) / 9) {
        let z = diffuse(x.clone(), at(t), normal([1, d], noise, device));
        let seen =
            [z.clone(), denoise(z, at(t))].into_iter().chain(walk[LATENTS - t].clone());
        rows.iter_mut().zip(seen).for_each(|(row, image)| row.push(image));
    }
    let labels = [
        "A test digit diffused: z_t from little noise (left) to all noise (right)",
        "What the network makes of each z_t above",
        "Sampling: z_t on the way from noise (right) to a digit (left)",
        "What the network expects the digit to be at each of these steps",
    ];
    let row =
        |(label, row)| Ok(ImageRow::from_values(label, &download(Tensor::cat(row, 0))?, d));
    let rows =
        labels.into_iter().zip(rows.to_vec()).map(row).collect::<Result<Vec<_>>>()?;
    chapter.figure("step_by_step", &image_rows(&rows, data.train.side())?)
}
