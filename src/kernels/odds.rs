//! What belongs to [`super::GreyOdds`], as the tensors of one backend.

/// What the posterior of each pixel's grey level depends on, with the names and shapes of
/// [`super::GreyOdds`].
#[derive(Clone, Debug)]
pub(super) struct Odds<T> {
    pub(super) seen: T,
    pub(super) precision: T,
    pub(super) base: T,
    pub(super) mix: T,
    pub(super) curves: T,
    pub(super) values: T,
}

impl<T> Odds<T> {
    pub(super) fn map<U>(self, f: impl Fn(T) -> U) -> Odds<U> {
        let Self { seen, precision, base, mix, curves, values } = self;
        Odds {
            seen: f(seen),
            precision: f(precision),
            base: f(base),
            mix: f(mix),
            curves: f(curves),
            values: f(values),
        }
    }

    /// All six.
    pub(super) fn all(&self) -> [&T; 6] {
        let Self { seen, precision, base, mix, curves, values } = self;
        [seen, precision, base, mix, curves, values]
    }
}

/// The gradient of each of them; the values are constants.
pub(super) struct OddsGradients<T> {
    pub(super) seen: T,
    pub(super) precision: T,
    pub(super) base: T,
    pub(super) mix: T,
    pub(super) curves: T,
}
