//! Diagonal Gaussians, in nats.

use std::f32::consts::TAU;

use burn::tensor::Tensor;

/// N(mean, diag(exp(log_var))), one for each row of a batch.
#[derive(Clone, Debug)]
pub struct DiagonalGaussian {
    /// Means, `[B, d]`.
    pub mean: Tensor<2>,
    /// Log variances, `[B, d]`.
    pub log_var: Tensor<2>,
}

impl DiagonalGaussian {
    /// N(0, I), of the shape of `like`. Equation `standard-prior`.
    pub fn standard(like: &Tensor<2>) -> Self {
        Self { mean: like.zeros_like(), log_var: like.zeros_like() }
    }

    /// log N(x; mean, exp(log_var)), summed over dimensions. x is `[B, d]`, the result
    /// `[B]`.
    pub fn log_prob(&self, x: Tensor<2>) -> Tensor<1> {
        let scaled = (x - self.mean.clone()).square() * self.log_var.clone().neg().exp();
        ((scaled + self.log_var.clone() + TAU.ln()) * -0.5).sum_dim(1).squeeze_dim(1)
    }

    // ANCHOR: rsample
    /// A sample as a differentiable function of the parameters:
    /// mean + exp(log_var / 2) eps, with eps ~ N(0, I) of shape `[B, d]`. Equation
    /// `reparameterization`; Kingma and Welling (2014), section 2.4.
    pub fn rsample(&self, eps: Tensor<2>) -> Tensor<2> {
        self.mean.clone() + (self.log_var.clone() * 0.5).exp() * eps
    }
    // ANCHOR_END: rsample

    // ANCHOR: kl_standard
    /// KL(self || N(0, I)), summed over dimensions, `[B]`. Equation `gaussian-kl`;
    /// Kingma and Welling (2014), appendix B.
    pub fn kl_standard(&self) -> Tensor<1> {
        let (mean, log_var) = (self.mean.clone(), self.log_var.clone());
        let terms = mean.square() + log_var.clone().exp() - log_var - 1.0;
        (terms * 0.5).sum_dim(1).squeeze_dim(1)
    }
    // ANCHOR_END: kl_standard
}
