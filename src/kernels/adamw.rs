//! What a step of AdamW takes.

/// A weight and what is kept of its past: tensors of one shape.
#[derive(Clone, Debug)]
pub struct AdamWState<T> {
    /// The weight.
    pub weight: T,
    /// Running mean of its gradients.
    pub first: T,
    /// Running mean of their squares.
    pub second: T,
    /// Running mean of the weight.
    pub average: T,
}

impl<T> AdamWState<T> {
    pub(super) fn map<U>(self, f: impl Fn(T) -> U) -> AdamWState<U> {
        let Self { weight, first, second, average } = self;
        AdamWState {
            weight: f(weight),
            first: f(first),
            second: f(second),
            average: f(average),
        }
    }
}

/// The numbers of one step of [`super::adamw`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWStep {
    /// Decay of the mean of the gradients.
    pub beta_1: f32,
    /// Decay of the mean of their squares.
    pub beta_2: f32,
    /// 1 / (1 - beta_1^t): the mean starts at zero, and this makes up for it.
    pub correction_1: f32,
    /// 1 / (1 - beta_2^t).
    pub correction_2: f32,
    /// Added to the root of the mean square.
    pub epsilon: f32,
    /// The learning rate.
    pub rate: f32,
    /// What weight decay leaves of each weight.
    pub keep: f32,
    /// Decay of the average of the weights.
    pub average_decay: f32,
}
