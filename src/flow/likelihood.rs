//! How the log density changes along the flow. Chen et al. (2018), "Neural ordinary
//! differential equations", theorem 1.

use std::ops::{Add, Mul};

use super::{State, alpha_sigma, runge_kutta_4, velocity};

/// A point on its way, and by how much the flow has stretched the volume around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point<Z, L> {
    /// Where it is.
    pub z: Z,
    /// The integral of the divergence so far, in nats: log p(start) = log p(z) + this.
    pub log_volume: L,
}

impl<Z: Add<Output = Z>, L: Add<Output = L>> Add for Point<Z, L> {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { z: self.z + other.z, log_volume: self.log_volume + other.log_volume }
    }
}

impl<Z: Mul<f64, Output = Z>, L: Mul<f64, Output = L>> Mul<f64> for Point<Z, L> {
    type Output = Self;

    fn mul(self, factor: f64) -> Self {
        Self { z: self.z * factor, log_volume: self.log_volume * factor }
    }
}

// ANCHOR: transport
/// The point at the last of these noise levels, from `start` at the first, along the flow,
/// by Runge-Kutta of order 4.
///
/// `denoise(z, gamma)` returns x_hat and the trace of its Jacobian by z, one for each row;
/// `zero` is a trace of zero, `d` the number of dimensions. Equation `log-density-along`.
///
/// # Errors
/// Those of `denoise`.
pub fn transport<Z: State, L: State + Add<f64, Output = L>, E>(
    gammas: &[f64],
    start: Z,
    zero: L,
    d: usize,
    mut denoise: impl FnMut(&Z, f64) -> Result<(Z, L), E>,
) -> Result<Point<Z, L>, E> {
    let start = Point { z: start, log_volume: zero };
    runge_kutta_4(gammas, start, |point, gamma| {
        let (x_hat, trace) = denoise(&point.z, gamma)?;
        let (alpha, _) = alpha_sigma(gamma);
        Ok(Point {
            z: velocity(point.z.clone(), x_hat, gamma),
            // The divergence of the velocity: abar d / 2 - sqrt(abar) / 2 tr(dx_hat/dz).
            log_volume: trace * (-0.5 * alpha) + 0.5 * alpha * alpha * d as f64,
        })
    })
}
// ANCHOR_END: transport
