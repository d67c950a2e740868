//! What a network may be asked to predict, and how one prediction turns into another.
//!
//! Given z_t and its noise level, x, eps, the score and v determine each other: one linear
//! equation, z_t = sqrt(abar) x + sqrt(1 - abar) eps, ties them together. So a network that
//! predicts one of them predicts all.

use burn::tensor::{Tensor, activation::sigmoid};

/// The quantity that a network outputs. All are `[B, d]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameterization {
    /// The clean image x.
    X,
    /// The noise eps in z_t. Ho et al. (2020).
    Eps,
    /// The score, grad_z log q(z_t | x) = -eps / sqrt(1 - abar). Song and Ermon (2019).
    Score,
    /// v = sqrt(abar) eps - sqrt(1 - abar) x. Salimans and Ho (2022).
    V,
}

impl Parameterization {
    // ANCHOR: coefficients
    /// skip and scale, both `[B, 1]`, with x = skip z_t + scale output, for gamma of shape
    /// `[B]`. Equation `eps-from-x`.
    pub fn coefficients(self, gamma: Tensor<1>) -> (Tensor<2>, Tensor<2>) {
        let gamma = gamma.unsqueeze_dim::<2>(1);
        let (signal, noise) = (sigmoid(-gamma.clone()).sqrt(), sigmoid(gamma).sqrt());
        match self {
            Self::X => (signal.zeros_like(), signal.ones_like()),
            Self::Eps => (signal.clone().recip(), -noise / signal),
            Self::Score => (signal.clone().recip(), noise.square() / signal),
            Self::V => (signal, -noise),
        }
    }

    /// x from the output and z_t, both `[B, d]`, and gamma, `[B]`.
    pub fn to_x(self, output: Tensor<2>, z: Tensor<2>, gamma: Tensor<1>) -> Tensor<2> {
        let (skip, scale) = self.coefficients(gamma);
        z * skip + output * scale
    }

    /// The output that stands for this x, `[B, d]`. For the true x this is the target of a
    /// regression.
    pub fn from_x(self, x: Tensor<2>, z: Tensor<2>, gamma: Tensor<1>) -> Tensor<2> {
        let (skip, scale) = self.coefficients(gamma);
        (x - z * skip) / scale
    }
    // ANCHOR_END: coefficients
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::{
        host::{download, upload},
        vdm::process::diffuse,
    };

    /// x, eps, z and gamma of a few noise levels, one dimension each.
    fn draws() -> [Tensor<1>; 4] {
        let device = Device::flex();
        let column = |values: [f64; 4]| upload(values, &device);
        let (x, eps, gamma) = (
            column([0.3, -0.9, 1.0, 0.5]),
            column([0.7, -1.2, 0.1, 2.0]),
            column([-4.0, -1.0, 0.5, 3.0]),
        );
        let z = diffuse(
            x.clone().unsqueeze_dim(1),
            gamma.clone(),
            eps.clone().unsqueeze_dim(1),
        )
        .squeeze_dim(1);
        [x, eps, z, gamma]
    }

    fn assert_close(a: Tensor<2>, b: Tensor<1>) {
        let (a, b) = (download(a).unwrap(), download(b).unwrap());
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(&b) {
            assert!((a - b).abs() < 1e-4 * (1.0 + b.abs()), "{a} {b}");
        }
    }

    /// Each target, computed from x, z and gamma, is what its definition says of x and eps.
    #[test]
    fn targets_are_what_their_definitions_say() {
        let [x, eps, z, gamma] = draws();
        let (signal, noise) =
            (sigmoid(-gamma.clone()).sqrt(), sigmoid(gamma.clone()).sqrt());
        let expected = [
            x.clone(),
            eps.clone(),
            -eps.clone() / noise.clone(),
            signal * eps - noise * x.clone(),
        ];
        use Parameterization::{Eps, Score, V, X};
        for (head, expected) in [X, Eps, Score, V].into_iter().zip(expected) {
            let target = head.from_x(
                x.clone().unsqueeze_dim(1),
                z.clone().unsqueeze_dim(1),
                gamma.clone(),
            );
            assert_close(target.clone(), expected);
            assert_close(
                head.to_x(target, z.clone().unsqueeze_dim(1), gamma.clone()),
                x.clone(),
            );
        }
    }
}
