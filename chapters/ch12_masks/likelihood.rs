//! Exact likelihoods: of the causal network, and of the masked network in one order.

use elbo_to_diffusion::{
    data::{Dataset, Images},
    error::Result,
    evaluation::in_groups,
    host::download,
    masks::{CausalNetwork, Masked, MaskedNetwork},
};

use crate::{Model, REPORTED};

/// -log p(x), in nats, of each image.
pub struct Likelihoods {
    /// Of the causal network.
    pub validation: Vec<f64>,
    pub test: Vec<f64>,
    /// On all test images, if these are more.
    pub all: Option<Vec<f64>>,
    /// Of the masked network, row after row, on the test images.
    pub in_rows: Option<Vec<f64>>,
}

impl Likelihoods {
    pub fn of(data: &Dataset, model: &Model) -> Result<Self> {
        let test = data.test.first(REPORTED);
        let more = data.test.len() > REPORTED;
        let rows: Vec<usize> = (0..test.dim()).collect();
        let masked = model.masked.as_ref();
        Ok(Self {
            validation: causal(&data.validation.first(REPORTED), &model.causal)?,
            test: causal(&test, &model.causal)?,
            all: more.then(|| causal(&data.test, &model.causal)).transpose()?,
            in_rows: masked.map(|network| in_order(&test, network, &rows)).transpose()?,
        })
    }
}

// ANCHOR: causal
/// -log p(x) of each image: the sum of what its pixels cost, given those before them.
pub fn causal(images: &Images, network: &CausalNetwork) -> Result<Vec<f64>> {
    /// Pixels that are evaluated together.
    const TOGETHER: usize = 4096;
    let d = images.dim();
    let groups = in_groups(images, 0, |images, _| {
        let pixels = |image| (0..d).map(move |pixel| (image, pixel));
        let places: Vec<_> = images.iter().flat_map(pixels).collect();
        let mut costs = Vec::with_capacity(places.len());
        for places in places.chunks(TOGETHER) {
            costs.extend(download(network.cost(places, None))?);
        }
        Ok(costs.chunks(d).map(|x| x.iter().sum()).collect::<Vec<f64>>())
    })?;
    Ok(groups.concat())
}
// ANCHOR_END: causal

// ANCHOR: in_order
/// -log p(x) of each image by the masked network, pixel by pixel in this order.
pub fn in_order(
    images: &Images,
    network: &MaskedNetwork,
    order: &[usize],
) -> Result<Vec<f64>> {
    let groups = in_groups(images, 0, |images, _| {
        let mut totals = vec![0.0; images.len()];
        for (first, &pixel) in order.iter().enumerate() {
            let mut masked = Masked::default();
            images.iter().for_each(|image| masked.push(image, &order[first..]));
            let log_probs = network.log_probs(&masked.seen(), None).narrow(1, pixel, 1);
            let levels = log_probs.dims()[2];
            let log_probs = download(log_probs)?;
            let of_image = images.iter().zip(log_probs.chunks(levels));
            for (total, (image, log_probs)) in totals.iter_mut().zip(of_image) {
                *total -= log_probs[usize::from(image[pixel])];
            }
        }
        Ok(totals)
    })?;
    Ok(groups.concat())
}
// ANCHOR_END: in_order
