//! Exact likelihoods: of the causal network, and of the masked network in one order.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    data::{Dataset, Images},
    error::Result,
    evaluation::in_groups,
    host::download,
    masks::{CausalNetwork, Masked, MaskedNetwork},
};

use crate::{Model, REPORTED};

/// -log p(x), in nats, of each image.
pub struct Likelihoods {
    pub causal_validation: Vec<f64>,
    pub causal_test: Vec<f64>,
    /// Of the masked network, row after row.
    pub raster: Vec<f64>,
}

impl Likelihoods {
    pub fn of(chapter: &Chapter, data: &Dataset, model: &Model) -> Result<Self> {
        let (validation, test) =
            (data.validation.first(REPORTED), data.test.first(REPORTED));
        let _ = chapter;
        Ok(Self {
            causal_validation: causal(&validation, &model.causal)?,
            causal_test: causal(&test, &model.causal)?,
            raster: in_order(&test, &model.masked, &(0..test.dim()).collect::<Vec<_>>())?,
        })
    }
}

// ANCHOR: causal
/// -log p(x) of each image: the sum of what its pixels cost, given those before them.
pub fn causal(images: &Images, network: &CausalNetwork) -> Result<Vec<f64>> {
    let groups = in_groups(images, 0, |images, _| {
        let pixels = |image| (0..images.dim()).map(move |pixel| (image, pixel));
        let places: Vec<_> = images.iter().flat_map(pixels).collect();
        let costs = download(network.cost(&places, None))?;
        Ok(costs.chunks(images.dim()).map(|x| x.iter().sum()).collect::<Vec<f64>>())
    })?;
    Ok(groups.concat())
}
// ANCHOR_END: causal

/// -log p(x) of each image by the masked network, pixel by pixel in this order.
pub fn in_order(
    images: &Images,
    network: &MaskedNetwork,
    order: &[usize],
) -> Result<Vec<f64>> {
    let groups = in_groups(images, 0, |images, _| {
        let mut totals = vec![0.0; images.len()];
        for first in 0..order.len() {
            let mut masked = Masked::default();
            images.iter().for_each(|image| masked.push(image, &order[first..]));
            let log_probs = network.log_probs(&masked.seen(), None);
            let v = log_probs.dims()[2];
            let of_pixel = download(log_probs.narrow(1, order[first], 1))?;
            for ((total, image), log_probs) in
                totals.iter_mut().zip(images.iter()).zip(of_pixel.chunks(v))
            {
                *total -= log_probs[usize::from(image[order[first]])];
            }
        }
        Ok(totals)
    })?;
    Ok(groups.concat())
}

pub fn report(chapter: &mut Chapter, data: &Dataset, exact: &Likelihoods) {
    chapter.report.section("An exact likelihood");
    for (name, nats) in [
        ("causal network, validation", &exact.causal_validation),
        ("causal network, test", &exact.causal_test),
        ("masked network, row after row, test", &exact.raster),
    ] {
        let mean = nats.iter().sum::<f64>() / nats.len() as f64;
        let number = Number::within(data.bits_per_dim(mean), 0.01, 3);
        chapter.report.row(name, &number, "bits/dim");
    }
}
