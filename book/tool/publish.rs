//! Puts a finished site in the place of the old one.

use std::fs;

use anyhow::{Context as _, Result};

use crate::book;
use crate::layout::Layout;
use crate::problem::Problem;
use crate::programs::{Cache, Programs};

/// Builds the site in `book/book`, replacing the old one only when everything is right.
///
/// # Errors
/// Where the book cannot be read or written.
pub fn publish(layout: &Layout, programs: &dyn Programs, cache: &Cache) -> Result<Vec<Problem>> {
    let fresh = tempfile::Builder::new().prefix(".site-").tempdir_in(&layout.book)?;
    let site = fresh.path().join("book");
    let problems = book::build(layout, programs, cache, &site)?;
    if problems.is_empty() {
        let old = fresh.path().join("old");
        if layout.site().exists() {
            fs::rename(layout.site(), &old).context("the old site in book/book cannot be moved away")?;
        }
        fs::rename(&site, layout.site()).context("the new site cannot be moved to book/book")?;
    }
    Ok(problems)
}
