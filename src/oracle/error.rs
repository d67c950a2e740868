//! Why an exact answer cannot be given.

use std::fmt;

/// Why an exact answer cannot be given. Each message says what is wrong and what to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// Two sizes that must agree do not.
    Dimension {
        /// What has the size.
        what: &'static str,
        /// The size it needs.
        expected: usize,
        /// The size it has.
        found: usize,
    },
    /// An index points outside its vector, or appears twice.
    Index {
        /// The index.
        index: usize,
        /// The length of the vector.
        length: usize,
    },
    /// A covariance that is not symmetric and positive definite.
    NotPositiveDefinite,
    /// Probabilities that are negative, not finite, or do not sum to one.
    NotProbabilities {
        /// What should be a distribution.
        what: &'static str,
    },
    /// A number outside the range that the formula needs.
    OutOfRange {
        /// What is out of range, and the range.
        what: &'static str,
        /// The number.
        found: f64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dimension { what, expected, found } => {
                write!(
                    formatter,
                    "{what} is {found} but must be {expected}; give arguments of matching size"
                )
            }
            Self::Index { index, length } => write!(
                formatter,
                "index {index} is repeated or outside a vector of length {length}; \
                 give distinct indices below the length"
            ),
            Self::NotPositiveDefinite => write!(
                formatter,
                "the covariance is not symmetric and positive definite; \
                 symmetrise it and add variance to its diagonal"
            ),
            Self::NotProbabilities { what } => write!(
                formatter,
                "{what} is not a probability distribution; \
                 give non-negative finite numbers that sum to one"
            ),
            Self::OutOfRange { what, found } => {
                write!(formatter, "{found} is out of range; give {what}")
            }
        }
    }
}

impl std::error::Error for Error {}

/// `Ok` where the two sizes agree.
pub(super) fn same(what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::Dimension { what, expected, found }) }
}

/// `Ok` where `weights` is a probability distribution, to within rounding.
pub(super) fn probabilities(what: &'static str, weights: &[f64]) -> Result<(), Error> {
    let proper = weights.iter().all(|w| w.is_finite() && *w >= 0.0);
    if proper && (weights.iter().sum::<f64>() - 1.0).abs() <= 1e-9 {
        Ok(())
    } else {
        Err(Error::NotProbabilities { what })
    }
}

/// `Ok` where `number` is finite and above zero.
pub(super) fn positive(what: &'static str, number: f64) -> Result<(), Error> {
    if number.is_finite() && number > 0.0 {
        Ok(())
    } else {
        Err(Error::OutOfRange { what, found: number })
    }
}
