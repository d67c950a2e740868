//! What is wrong with the book: collected over all pages, printed at the end.

use std::fmt;
use std::path::Path;

/// One fault of the book's sources.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, relative to the repository root, with `/` between its parts.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong; what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// All faults that were found, in no particular order.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds a fault.
    pub fn add(
        &mut self,
        file: impl Into<String>,
        line: usize,
        message: impl Into<String>,
    ) {
        self.0.push(Problem { file: file.into(), line, message: message.into() });
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a fault was found on this line.
    pub fn any_at(&self, file: &str, line: usize) -> bool {
        self.0.iter().any(|problem| problem.file == file && problem.line == line)
    }

    /// Whether a fault was found in this file.
    pub fn any_in(&self, file: &str) -> bool {
        self.0.iter().any(|problem| problem.file == file)
    }

    /// The faults by file and line, each once.
    pub fn sorted(mut self) -> Vec<Problem> {
        self.0.sort();
        self.0.dedup();
        self.0
    }
}

/// `path` as a problem names it: relative to the repository root, `/` between the parts.
pub fn display(root: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(root).unwrap_or(path);
    let parts: Vec<_> =
        relative.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}
