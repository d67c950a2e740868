//! A page of the book, as its author wrote it.

use std::path::Path;

use crate::markdown::{Fragment, Scan};

/// A page of the book.
#[derive(Debug)]
pub struct Page {
    /// The file, relative to the repository: `book/src/ch05_vdm.md`.
    pub file: String,
    /// The file, relative to the pages' folder: `ch05_vdm.md`.
    pub path: String,
    /// Its title in SUMMARY.md.
    pub title: String,
    /// What its equations, figures and exercises are numbered with: `5`, `A`, or nothing in
    /// front matter.
    pub prefix: String,
    /// The author's Markdown.
    pub source: Fragment,
    /// What this tool replaces in it.
    pub scan: Scan,
}

impl Page {
    /// `5.2`, `A.2`, or `2` in front matter.
    pub fn numbered(&self, count: usize) -> String {
        if self.prefix.is_empty() {
            count.to_string()
        } else {
            format!("{}.{count}", self.prefix)
        }
    }

    /// The page that mdBook writes: `ch05_vdm.html`.
    pub fn html(&self) -> String {
        Path::new(&self.path).with_extension("html").to_string_lossy().into_owned()
    }

    /// The address of another page (or of this one), seen from this page.
    pub fn link_to(&self, page: &Page, id: Option<&str>) -> String {
        let fragment = id.map_or_else(String::new, |id| format!("#{id}"));
        if page.path == self.path && id.is_some() {
            return fragment;
        }
        let up = "../".repeat(self.path.matches('/').count());
        format!("{up}{}{fragment}", page.html())
    }
}
