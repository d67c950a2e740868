//! A monotone network gamma(t) with exact end points, in f64.
//!
//! The simplified form of the schedule network of VDM (Kingma et al. 2021, appendix H): one hidden
//! layer whose weights are made positive by their absolute value, plus a straight line; then eq 59
//! of that paper moves the end points to where they should be.

use super::error::{Error, same};
use super::process::sigmoid;

/// gamma(t) = (1 - u) gamma_min + u gamma_max, u = (g(t) - g(0)) / (g(1) - g(0)),
/// g(t) = |w| t + sum_j |a_j| sigmoid(|b_j| t + c_j), for t in [0, 1].
#[derive(Clone, Debug, PartialEq)]
pub struct MonotoneNetwork {
    gamma_min: f64,
    gamma_max: f64,
    slope: f64,
    outputs: Vec<f64>,
    inputs: Vec<f64>,
    biases: Vec<f64>,
}

impl MonotoneNetwork {
    /// The network with these end points, slope w, output weights a, input weights b and biases c.
    ///
    /// # Errors
    /// [`Error::Dimension`] where a, b and c differ in length; [`Error::OutOfRange`] where w is 0
    /// (g would not have to increase), a weight is not finite, or gamma_min is not below gamma_max.
    pub fn new(gammas: (f64, f64), slope: f64, outputs: &[f64], inputs: &[f64], biases: &[f64]) -> Result<Self, Error> {
        same("the number of input weights", outputs.len(), inputs.len())?;
        same("the number of biases", outputs.len(), biases.len())?;
        let (gamma_min, gamma_max) = gammas;
        if !(gamma_min.is_finite() && gamma_max.is_finite() && gamma_min < gamma_max) {
            return Err(Error::OutOfRange { what: "a finite gamma_max above gamma_min", found: gamma_max });
        }
        let finite = [outputs, inputs, biases].iter().all(|w| w.iter().all(|w| w.is_finite()));
        if !(finite && slope.is_finite() && slope != 0.0) {
            return Err(Error::OutOfRange { what: "finite weights and a slope that is not zero", found: slope });
        }
        Ok(Self {
            gamma_min,
            gamma_max,
            slope,
            outputs: outputs.to_vec(),
            inputs: inputs.to_vec(),
            biases: biases.to_vec(),
        })
    }

    /// gamma(t). Exactly gamma_min at t = 0 and gamma_max at t = 1.
    pub fn gamma(&self, t: f64) -> f64 {
        let start = self.raw(0.0);
        let u = (self.raw(t) - start) / (self.raw(1.0) - start);
        // Not gamma_min + u (gamma_max - gamma_min): that misses gamma_max by rounding at u = 1.
        (1.0 - u) * self.gamma_min + u * self.gamma_max
    }

    /// d gamma / dt, above zero for every t.
    pub fn derivative(&self, t: f64) -> f64 {
        let hidden: f64 = self
            .units()
            .map(|(a, b, c)| {
                let s = b.abs() * t + c;
                a.abs() * b.abs() * sigmoid(s) * sigmoid(-s)
            })
            .sum();
        let scale = (self.gamma_max - self.gamma_min) / (self.raw(1.0) - self.raw(0.0));
        scale * (self.slope.abs() + hidden)
    }

    fn raw(&self, t: f64) -> f64 {
        let hidden: f64 = self.units().map(|(a, b, c)| a.abs() * sigmoid(b.abs() * t + c)).sum();
        self.slope.abs() * t + hidden
    }

    fn units(&self) -> impl Iterator<Item = (f64, f64, f64)> + '_ {
        self.outputs.iter().zip(&self.inputs).zip(&self.biases).map(|((a, b), c)| (*a, *b, *c))
    }
}

#[cfg(test)]
mod tests {
    use super::MonotoneNetwork;

    #[test]
    fn a_network_that_need_not_increase_is_refused() {
        let one = [1.0];
        assert!(MonotoneNetwork::new((-8.0, 5.0), 0.0, &one, &one, &one).is_err());
        assert!(MonotoneNetwork::new((5.0, 5.0), 1.0, &one, &one, &one).is_err());
        assert!(MonotoneNetwork::new((-8.0, 5.0), 1.0, &one, &[], &one).is_err());
        assert!(MonotoneNetwork::new((-8.0, 5.0), 1.0, &[f64::NAN], &one, &one).is_err());
        assert!(MonotoneNetwork::new((-8.0, 5.0), -1.0, &[], &[], &[]).is_ok());
    }
}
