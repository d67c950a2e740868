//! Which noise goes with which data.

use burn::tensor::{Device, Int, Tensor, TensorData};
use elbo_to_diffusion::{
    error::{Error, Result},
    host::download,
    random::normal,
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::blobs;

/// Pairs of data and noise, both `[n, 2]`, row by row.
#[derive(Clone, Debug)]
pub struct Pairs {
    pub x: Tensor<2>,
    pub eps: Tensor<2>,
}

impl Pairs {
    /// n independent pairs.
    pub fn independent(n: usize, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let x = blobs::draw(n, rng, device);
        Self { x, eps: normal([n, 2], rng, device) }
    }

    // ANCHOR: nearest
    /// The same points in the pairs that make the sum of |x - eps|^2 least: optimal
    /// transport within this batch. Tong et al. (2024), section 3.2.
    pub fn nearest(self) -> Result<Self> {
        let [n, _] = self.x.dims();
        let (x, eps) = (download(self.x.clone())?, download(self.eps)?);
        let square = |(i, j): (usize, usize)| {
            (x[2 * i] - eps[2 * j]).powi(2) + (x[2 * i + 1] - eps[2 * j + 1]).powi(2)
        };
        let costs: Vec<f64> = (0..n * n).map(|k| square((k / n, k % n))).collect();
        let (_, partner) = lsap::solve(n, n, &costs, false).map_err(|e| {
            Error::failure(format!(
                "cannot pair {n} points with as many: {e:?}; give finite points"
            ))
        })?;
        let eps: Vec<f64> =
            partner.iter().flat_map(|&j| [eps[2 * j], eps[2 * j + 1]]).collect();
        let eps = Tensor::from_data(TensorData::new(eps, [n, 2]), &self.x.device());
        Ok(Self { x: self.x, eps })
    }
    // ANCHOR_END: nearest

    /// n of these pairs, drawn with replacement.
    pub fn sample(&self, n: usize, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let all = self.x.dims()[0] as i64;
        let rows: Vec<i64> = (0..n).map(|_| rng.random_range(0..all)).collect();
        let rows =
            Tensor::<1, Int>::from_data(TensorData::new(rows, [n]), &self.x.device());
        let pick =
            |points: &Tensor<2>| points.clone().select(0, rows.clone()).to_device(device);
        Self { x: pick(&self.x), eps: pick(&self.eps) }
    }

    /// The mean of |x - eps|^2.
    pub fn cost(&self) -> Result<f64> {
        let squares = (self.x.clone() - self.eps.clone()).square().sum_dim(1);
        Ok(download(squares.mean())?[0])
    }
}
