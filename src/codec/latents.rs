//! The autoencoders of chapters 3 and 4 as chains.

use burn::tensor::{Device, Tensor, TensorData};

use super::{
    chain::{Chain, Normal, Pace},
    quantized::{Bins, Categorical, Quantized},
};
use crate::{
    autoencoder::{CategoricalDecoder, GaussianNetwork, Hvae, Vae},
    error::Result,
    host::download,
};

/// log2 of the number of bins.
const BIN_BITS: u32 = 9;
/// Rows that a network sees at once. Always as many, because the order in which a product
/// of matrices is summed may depend on its shape, and decoding needs the very same numbers.
const BLOCK: usize = 16;

/// `f` for blocks of rows, the last one filled up with zeros; its results one after the
/// other. `values` holds rows of this width.
pub(super) fn in_blocks(
    values: &[f64],
    width: usize,
    device: &Device,
    f: impl Fn(Tensor<2>) -> Result<Vec<f64>>,
) -> Result<Vec<f64>> {
    let mut results = Vec::new();
    for rows in values.chunks(BLOCK * width) {
        let mut block: Vec<f32> = rows.iter().map(|&v| v as f32).collect();
        block.resize(BLOCK * width, 0.0);
        let result = f(Tensor::from_data(TensorData::new(block, [BLOCK, width]), device))?;
        results.extend_from_slice(&result[..result.len() / BLOCK * (rows.len() / width)]);
    }
    Ok(results)
}

/// An autoencoder with one layer of latents or several.
pub struct Latents<'a> {
    encoders: Vec<&'a GaussianNetwork>,
    priors: Vec<&'a GaussianNetwork>,
    decoder: &'a CategoricalDecoder,
    widths: Vec<usize>,
    values: Vec<f64>,
    dim: usize,
    bins: Vec<Bins>,
    pace: Pace,
    device: Device,
}

/// The images that an autoencoder is for.
#[derive(Clone, Debug)]
pub struct Kind {
    /// The values x_k of the grey levels.
    pub values: Vec<f64>,
    /// Pixels of an image.
    pub dim: usize,
}

impl<'a> Latents<'a> {
    /// A VAE with this many latents.
    pub fn vae(vae: &'a Vae, width: usize, kind: Kind, device: &Device) -> Self {
        Self {
            encoders: vec![&vae.encoder],
            priors: Vec::new(),
            decoder: &vae.decoder,
            widths: vec![width],
            values: kind.values,
            dim: kind.dim,
            bins: vec![Bins::new(BIN_BITS)],
            pace: Pace { borrowed: 130.0, net: 105.0 },
            device: device.clone(),
        }
    }

    /// A hierarchy with so many latents in z_1, ..., z_T.
    pub fn hierarchy(
        hvae: &'a Hvae,
        widths: &[usize],
        kind: Kind,
        device: &Device,
    ) -> Self {
        Self {
            encoders: hvae.encoders.iter().collect(),
            priors: hvae.priors.iter().collect(),
            decoder: &hvae.decoder,
            widths: widths.to_vec(),
            values: kind.values,
            dim: kind.dim,
            bins: vec![Bins::new(BIN_BITS); widths.len()],
            pace: Pace { borrowed: 180.0, net: 105.0 },
            device: device.clone(),
        }
    }

    fn gaussians(
        &self,
        network: &GaussianNetwork,
        rows: &[f64],
        width: usize,
    ) -> Result<Vec<Normal>> {
        // Means and log variances side by side: [rows, 2 k].
        let both = in_blocks(rows, width, &self.device, |u| {
            let q = network.given(u, None);
            download(Tensor::cat(vec![q.mean, q.log_var], 1))
        })?;
        let k = both.len() / (rows.len() / width).max(1) / 2;
        let row = |row: &[f64]| {
            let pairs = row[..k].iter().zip(&row[k..]);
            let normal = |(&mean, log_var): (&f64, &f64)| Normal {
                mean,
                deviation: libm::exp(0.5 * log_var),
            };
            pairs.map(normal).collect::<Vec<_>>()
        };
        Ok(both.chunks(2 * k.max(1)).flat_map(row).collect())
    }
}

impl Chain for Latents<'_> {
    fn layers(&self) -> usize {
        self.widths.len()
    }

    fn width(&self, t: usize) -> usize {
        self.widths[t - 1]
    }

    fn bins(&self, t: usize) -> &Bins {
        &self.bins[t - 1]
    }

    fn pace(&self) -> Pace {
        self.pace
    }

    fn first(&self, levels: &[u8]) -> Result<Vec<Normal>> {
        let value = |&k: &u8| self.values[usize::from(k).min(self.values.len() - 1)];
        let x: Vec<f64> = levels.iter().map(value).collect();
        self.gaussians(self.encoders[0], &x, self.dim)
    }

    fn up(&self, t: usize, below: &[f64]) -> Result<Vec<Normal>> {
        self.gaussians(self.encoders[t - 1], below, self.width(t - 1))
    }

    fn down(&self, t: usize, above: &[f64]) -> Result<Vec<Normal>> {
        self.gaussians(self.priors[t - 2], above, self.width(t))
    }

    fn pixels(&self, bottom: &[f64]) -> Result<Vec<Quantized<Categorical>>> {
        let logs = in_blocks(bottom, self.width(1), &self.device, |z| {
            download(self.decoder.log_probs(z, None))
        })?;
        Ok(logs.chunks(self.values.len()).map(Categorical::from_logs).collect())
    }
}
