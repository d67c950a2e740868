//! Puts a finished site in the place of the old one.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Error, Result};
use tempfile::TempDir;

use crate::book;
use crate::labs::Labs;
use crate::layout::Layout;
use crate::problem::Problem;
use crate::programs::{Cache, Programs};

/// Builds the site in `book/book`, replacing the old one only when everything is right.
///
/// # Errors
/// Where the book cannot be read or written.
pub fn publish(
    layout: &Layout,
    programs: &dyn Programs,
    cache: &Cache,
    labs: Option<&Labs>,
) -> Result<Vec<Problem>> {
    let folder = tempfile::Builder::new().prefix(".site-").tempdir_in(&layout.book)?;
    let fresh = folder.path().join("book");
    let problems = book::build(layout, programs, cache, labs, &fresh)?;
    if problems.is_empty() {
        replace(&layout.site(), &fresh, folder)?;
    }
    Ok(problems)
}

/// Moves `fresh`, which lies in `folder`, to `site`; what was there is deleted with
/// `folder`.
///
/// # Errors
/// Where a folder cannot be moved. The old site is then back in its place, or its new place
/// is named.
fn replace(site: &Path, fresh: &Path, folder: TempDir) -> Result<()> {
    let old = folder.path().join("old");
    let had_one = site.exists();
    if had_one {
        fs::rename(site, &old).with_context(|| {
            format!("the old site in {} cannot be moved away", site.display())
        })?;
    }
    let Err(error) = fs::rename(fresh, site) else {
        return Ok(());
    };
    let error = Error::new(error)
        .context(format!("the new site cannot be moved to {}", site.display()));
    if had_one && fs::rename(&old, site).is_err() {
        let kept = folder.keep().join("old");
        return Err(error.context(format!(
            "the old site lies in {} now; move it back",
            kept.display()
        )));
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A site with one page, and a folder for a new one.
    fn site() -> (TempDir, TempDir) {
        let book = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(book.path().join("book")).expect("a folder");
        fs::write(book.path().join("book/index.html"), "old").expect("a page");
        let folder = tempfile::tempdir_in(book.path()).expect("a temporary folder");
        (book, folder)
    }

    fn page(book: &TempDir) -> String {
        fs::read_to_string(book.path().join("book/index.html")).expect("a page")
    }

    #[test]
    fn the_new_site_takes_the_place_of_the_old_one() {
        let (book, folder) = site();
        let fresh = folder.path().join("book");
        fs::create_dir(&fresh).expect("a folder");
        fs::write(fresh.join("index.html"), "new").expect("a page");
        replace(&book.path().join("book"), &fresh, folder)
            .expect("the sites change places");
        assert_eq!(page(&book), "new");
        assert_eq!(
            fs::read_dir(book.path()).expect("the book").count(),
            1,
            "nothing else is left"
        );
    }

    #[test]
    fn a_new_site_that_cannot_be_moved_leaves_the_old_one_in_its_place() {
        let (book, folder) = site();
        let missing = folder.path().join("book");
        assert!(replace(&book.path().join("book"), &missing, folder).is_err());
        assert_eq!(page(&book), "old");
    }
}
