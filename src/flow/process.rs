//! The process in continuous time, with gamma as the time.
//!
//! Forward, dz = -(1 - abar) z / 2 dgamma + sqrt(1 - abar) dw. With a schedule gamma(t),
//! dgamma = gamma'(t) dt.

use super::State;
use crate::vdm::signal_power;

/// sqrt(abar) and sqrt(1 - abar) at this gamma.
pub fn alpha_sigma(gamma: f64) -> (f64, f64) {
    (signal_power(gamma).sqrt(), signal_power(-gamma).sqrt())
}

// ANCHOR: velocity
/// dz/dgamma = (abar z - sqrt(abar) x_hat) / 2 along the flow, of the shape of z. Equation
/// `flow-velocity`.
pub fn velocity<Z: State>(z: Z, x_hat: Z, gamma: f64) -> Z {
    let (alpha, _) = alpha_sigma(gamma);
    z * (0.5 * alpha * alpha) + x_hat * (-0.5 * alpha)
}
// ANCHOR_END: velocity
