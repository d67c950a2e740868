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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        host::download,
        random::{Stream, normal, rng},
    };

    /// x_hat = tanh(z W) in five dimensions: its Jacobian is diag(1 - x_hat^2) W^T.
    #[test]
    fn traces_are_those_of_a_jacobian_written_down() -> Result<()> {
        let (device, draws) = (Device::flex(), &mut rng(3, Stream::Exact, 0));
        let w = normal([5, 5], draws, &device);
        let z = normal([3, 5], draws, &device);
        let denoise = |z: Tensor<2>, _: Tensor<1>| z.matmul(w.clone().autodiff()).tanh();
        let weights = download(w.clone())?;
        let exact = |x_hat: &[f64], v: &dyn Fn(usize) -> f64| -> f64 {
            let slope = |i: usize, j: usize| (1.0 - x_hat[i].powi(2)) * weights[j * 5 + i];
            let row = |i| (0..5).map(|j| v(i) * slope(i, j) * v(j)).sum::<f64>();
            (0..5).map(row).sum()
        };
        let (x_hat, traces) = exact_trace(denoise, z.clone(), 0.0)?;
        let x_hat = download(x_hat)?;
        for (x_hat, trace) in x_hat.chunks(5).zip(download(traces)?) {
            // The trace: the sum over the unit vectors.
            let unit = |k: usize| exact(x_hat, &|i| if i == k { 1.0 } else { 0.0 });
            assert!((trace - (0..5).map(unit).sum::<f64>()).abs() < 1e-5);
        }
        for probe in [Probe::Rademacher, Probe::Gaussian] {
            let v = probe.draw([3, 5], draws, &device);
            let (same, traces) = estimated_trace(denoise, z.clone(), 0.0, v.clone())?;
            assert_eq!(download(same)?, x_hat);
            let v = download(v)?;
            assert!(v.iter().all(|v| probe == Probe::Gaussian || v.abs() == 1.0));
            for ((x_hat, v), trace) in
                x_hat.chunks(5).zip(v.chunks(5)).zip(download(traces)?)
            {
                assert!((trace - exact(x_hat, &|i| v[i])).abs() < 1e-4);
            }
        }
        Ok(())
    }

    #[test]
    fn a_denoiser_that_ignores_its_input_is_refused() {
        let z = Tensor::zeros([2, 3], &Device::flex());
        let constant = |z: Tensor<2>, _: Tensor<1>| z.zeros_like().detach();
        let error = exact_trace(constant, z, 0.0).unwrap_err().to_string();
        assert!(error.contains("does not depend on z"), "{error}");
    }
}
