//! The one error type: a sentence that says what is wrong and what to do.

use std::fmt;

/// Why a program stops, and with which exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The command line asks for something that cannot be done (exit code 2).
    Usage(String),
    /// Something failed on the way (exit code 1).
    Failure(String),
    /// Ctrl-C ended the run (exit code 130).
    Interrupted(String),
}

/// A result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A mistake on the command line.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self::Usage(sentence.into())
    }

    /// A failure of the run.
    pub fn failure(sentence: impl Into<String>) -> Self {
        Self::Failure(sentence.into())
    }

    /// 2 for a usage error, 1 for a failure, 130 after Ctrl-C.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failure(_) => 1,
            Self::Interrupted(_) => 130,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(sentence) | Self::Failure(sentence) | Self::Interrupted(sentence)) =
            self;
        f.write_str(sentence)
    }
}

impl std::error::Error for Error {}

impl From<crate::oracle::Error> for Error {
    fn from(error: crate::oracle::Error) -> Self {
        Self::failure(error.to_string())
    }
}
