//! Where things lie: on this machine, and in the public repository.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::problem;

/// Where the parts of the book lie.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The repository.
    pub root: PathBuf,
    /// The folder with book.toml.
    pub book: PathBuf,
}

impl Layout {
    /// Finds the repository that holds `folder`: the nearest folder above it with
    /// book/book.toml.
    ///
    /// # Errors
    /// Where there is none.
    pub fn find(folder: &Path) -> Result<Self> {
        for root in folder.ancestors() {
            let book = root.join("book");
            if book.join("book.toml").is_file() {
                return Ok(Self { root: root.to_owned(), book });
            }
        }
        bail!(
            "no book/book.toml here or above {}; run this inside the repository",
            folder.display()
        )
    }

    /// The finished site.
    pub fn site(&self) -> PathBuf {
        self.book.join("book")
    }

    /// `path` as a problem names it.
    pub fn name(&self, path: &Path) -> String {
        problem::display(&self.root, path)
    }
}

/// The public repository, for links to source lines.
#[derive(Debug, Clone, Default)]
pub struct Repository(Option<String>);

impl Repository {
    /// The repository at `url`.
    pub fn new(url: Option<&str>) -> Self {
        Self(
            url.map(|url| url.trim_end_matches('/').to_owned())
                .filter(|url| !url.is_empty()),
        )
    }

    /// The address of some lines of a file.
    pub fn lines(&self, file: &str, (first, last): (usize, usize)) -> Option<String> {
        let url = self.0.as_ref()?;
        let end = if last > first { format!("-L{last}") } else { String::new() };
        Some(format!("{url}/blob/main/{file}#L{first}{end}"))
    }
}
