//! The size of a network.

/// The size of the hidden layers of a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    /// Width of the hidden layers, h.
    pub hidden: usize,
    /// Number of residual blocks.
    pub blocks: usize,
    /// Probability that dropout sets an activation to zero.
    pub dropout: f64,
}
