//! Blobs in the plane, whose flow along straight lines is known exactly.

use burn::tensor::{Device, Tensor, activation::softmax};
use elbo_to_diffusion::host::upload;
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

/// The middles of the blobs.
pub const MIDDLES: [[f64; 2]; 5] =
    [[-1.6, 1.1], [-1.6, -1.1], [0.2, -1.7], [1.8, 0.0], [0.2, 1.7]];
/// The variance of each blob.
pub const VARIANCE: f64 = 0.02;

/// n points of the blobs, `[n, 2]`.
pub fn draw(n: usize, rng: &mut impl Rng, device: &Device) -> Tensor<2> {
    let mut values = Vec::with_capacity(2 * n);
    for _ in 0..n {
        let middle = MIDDLES[rng.random_range(0..MIDDLES.len())];
        for place in middle {
            let noise: f64 = StandardNormal.sample(rng);
            values.push(place + VARIANCE.sqrt() * noise);
        }
    }
    upload(values, device).reshape([n, 2])
}

// ANCHOR: exact_velocity
/// u(z, t) = E[eps - x | z] for points z, `[n, 2]`, of the lines between independent noise
/// and blobs. Equation `line-velocity`.
pub fn velocity(z: Tensor<2>, t: f64) -> Tensor<2> {
    let (device, k) = (z.device(), MIDDLES.len());
    let middles = upload(MIDDLES.iter().flatten().copied(), &device).reshape([1, k, 2]);
    // Around each middle, z has this variance...
    let variance = (1.0 - t).powi(2) * VARIANCE + t * t;
    let off = z.unsqueeze_dim::<3>(1) - middles.clone() * (1.0 - t);
    let log_fit = off.clone().square().sum_dim(2) * (-0.5 / variance);
    // ... and eps - x is normal with it.
    let of_blob = off * ((t - (1.0 - t) * VARIANCE) / variance) - middles;
    (softmax(log_fit, 1) * of_blob).sum_dim(1).squeeze_dim(1)
}
// ANCHOR_END: exact_velocity
