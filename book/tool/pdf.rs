//! Prints the whole book to a PDF with a Chromium that is installed already.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Names under which Chromium and its kin are installed.
const NAMES: [&str; 6] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge"];

/// Prints `site/print.html` to `pdf`.
///
/// # Errors
/// Where no Chromium is installed or it fails.
pub fn print(site: &Path, pdf: &Path) -> Result<()> {
    let Some(browser) = find(&NAMES) else {
        bail!(
            "no Chromium is installed (looked for {}); install one, or print book/book/print.html from a browser",
            NAMES.join(", ")
        );
    };
    let page = fs::canonicalize(site.join("print.html")).context("the site has no print.html")?;
    let folder = tempfile::tempdir()?;
    let fresh = folder.path().join("book.pdf");
    let output = Command::new(&browser)
        // The page is our own and local, and the sandbox does not start for root or inside containers.
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"])
        .args(["--disable-component-update", "--disable-sync", "--no-pdf-header-footer"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .arg(format!("--print-to-pdf={}", fresh.display()))
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} cannot be started", browser.display()))?;
    if !output.status.success() || !fresh.is_file() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} printed nothing: {}", browser.display(), said.lines().last().unwrap_or("no message"));
    }
    fs::copy(&fresh, pdf).with_context(|| format!("{} cannot be written", pdf.display()))?;
    Ok(())
}

/// The first of `names` in the PATH.
fn find(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    names.iter().find_map(|name| env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_in_the_path() {
        assert!(find(&["no-such-browser", "sh"]).is_some());
        assert!(find(&["no-such-browser"]).is_none());
    }
}
