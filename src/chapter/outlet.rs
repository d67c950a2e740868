//! Where a run puts what it makes: on a terminal and in a folder, or in a page.

use std::{io::Write, path::PathBuf};

use super::terminal::say;
use crate::{error::Result, files::write_atomically};

/// Takes what a run makes, as it makes it.
pub trait Outlet: Send + Sync {
    /// A line of the report. False once nobody reads it any more.
    fn line(&self, line: &str) -> bool;
    /// A figure, as SVG. Fails with a sentence if it cannot be kept.
    fn figure(&self, name: &str, svg: &str) -> Result<()>;
    /// A line that is no part of the report: progress, times.
    fn say(&self, line: &str);
}

/// The report on stdout, figures in this folder, all else on stderr.
pub(super) struct Terminal(pub(super) PathBuf);

impl Outlet for Terminal {
    fn line(&self, line: &str) -> bool {
        // A reader that closes the pipe early (`| head`) is not an error of the program.
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_ok()
    }

    fn figure(&self, name: &str, svg: &str) -> Result<()> {
        write_atomically(&self.0.join(format!("{name}.svg")), svg.as_bytes())
    }

    fn say(&self, line: &str) {
        say(line);
    }
}
