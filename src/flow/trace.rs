//! The trace of the Jacobian of x_hat by z, for a denoiser of tensors.
//!
//! Reverse mode gives the product of the Jacobian with one vector in one pass, so the exact
//! trace takes d passes: each row is copied d times, and each copy asks for one dimension.

use burn::tensor::{Device, Tensor};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

use crate::{
    error::{Error, Result},
    host::upload,
};

/// The law of the random vectors of Hutchinson's estimate. Both have E v v^T = I.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Signs, +1 or -1. The diagonal of the Jacobian adds no variance.
    Rademacher,
    /// Standard normal numbers.
    Gaussian,
}

impl Probe {
    /// Random vectors, `[n, d]`.
    pub fn draw(
        self,
        [n, d]: [usize; 2],
        rng: &mut impl Rng,
        device: &Device,
    ) -> Tensor<2> {
        let values: Vec<f64> = match self {
            Self::Rademacher => {
                (0..n * d).map(|_| if rng.random() { 1.0 } else { -1.0 }).collect()
            }
            Self::Gaussian => StandardNormal.sample_iter(rng).take(n * d).collect(),
        };
        upload(values, device).reshape([n, d])
    }
}

// ANCHOR: estimated
/// x_hat, `[B, d]`, and v . (dx_hat/dz) v for each row v of `probes`, `[B]`: an unbiased
/// estimate of the trace. Equation `hutchinson`; Hutchinson (1989).
///
/// `denoise` is called with tensors on the device of z with gradients; weights that track
/// none of their own cost nothing.
///
/// # Errors
/// A sentence where x_hat does not depend on z.
pub fn estimated_trace(
    denoise: impl FnOnce(Tensor<2>, Tensor<1>) -> Tensor<2>,
    z: Tensor<2>,
    gamma: f64,
    probes: Tensor<2>,
) -> Result<(Tensor<2>, Tensor<1>)> {
    let z = z.autodiff().require_grad();
    let x_hat = denoise(z.clone(), Tensor::full([z.dims()[0]], gamma, &z.device()));
    let along = x_hat.clone() * probes.clone().autodiff();
    let none = || {
        Error::failure("x_hat does not depend on z, so it has no Jacobian; give a denoiser")
    };
    if !along.is_tracked() {
        return Err(none());
    }
    let product = z.grad(&along.sum().backward()).ok_or_else(none)?;
    Ok((x_hat.inner(), (product * probes).sum_dim(1).squeeze_dim(1)))
}
// ANCHOR_END: estimated

// ANCHOR: exact
/// x_hat, `[B, d]`, and the trace of its Jacobian for each row, `[B]`, from d copies of
/// each.
///
/// # Errors
/// A sentence where x_hat does not depend on z.
pub fn exact_trace(
    denoise: impl FnOnce(Tensor<2>, Tensor<1>) -> Tensor<2>,
    z: Tensor<2>,
    gamma: f64,
) -> Result<(Tensor<2>, Tensor<1>)> {
    let ([b, d], device) = (z.dims(), z.device());
    // Row i d + j is image i, with the j-th unit vector as its probe.
    let copies = z.unsqueeze_dim::<3>(1).repeat_dim(1, d).reshape([b * d, d]);
    let units = Tensor::<2>::eye(d, &device).repeat_dim(0, b);
    let (x_hat, diagonal) = estimated_trace(denoise, copies, gamma, units)?;
    let x_hat = x_hat.reshape([b, d, d]).narrow(1, 0, 1).squeeze_dim(1);
    Ok((x_hat, diagonal.reshape([b, d]).sum_dim(1).squeeze_dim(1)))
}
// ANCHOR_END: exact
