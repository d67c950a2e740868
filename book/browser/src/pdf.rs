//! Prints the whole book to a PDF with a Chromium that is installed already.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::chromium::{FLAGS, NAMES, find};

/// Prints `site/print.html` to `pdf`.
///
/// # Errors
/// Where no Chromium is installed or it fails.
pub fn print(site: &Path, pdf: &Path) -> Result<()> {
    let browser = find(&NAMES)?;
    let page = fs::canonicalize(site.join("print.html"))
        .context("there is no built site; build it with cargo run -p book -- build")?;
    let folder = tempfile::tempdir()?;
    let fresh = folder.path().join("book.pdf");
    let output = Command::new(&browser)
        .args(FLAGS)
        .args(["--no-pdf-header-footer", "--generate-pdf-document-outline"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("--print-to-pdf={}", fresh.display()))
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} cannot be started", browser.display()))?;
    if !output.status.success() || !fresh.is_file() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} printed nothing: {}",
            browser.display(),
            said.lines().last().unwrap_or("no message")
        );
    }
    fs::copy(&fresh, pdf)
        .with_context(|| format!("{} cannot be written", pdf.display()))?;
    Ok(())
}
