//! Where a run puts what it makes: on a terminal and in a folder, or in a page.

use std::{io::Write, path::PathBuf};

use super::terminal::say;
use crate::{error::Result, figure::Figure, files::write_atomically};

/// Takes what a run makes, as it makes it.
pub trait Outlet: Send + Sync {
    /// A line of the report. False once nobody reads it any more.
    fn line(&self, line: &str) -> bool;
    /// A figure. Fails with a sentence if it cannot be kept.
    fn figure(&self, name: &str, figure: &Figure) -> Result<()>;
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

    fn figure(&self, name: &str, figure: &Figure) -> Result<()> {
        let write = |extension: &str, text: &str| {
            let file = self.0.join(format!("{name}.{extension}"));
            write_atomically(&file, text.as_bytes())
        };
        write("csv", &figure.data)?;
        write("svg", &figure.svg)
    }

    fn say(&self, line: &str) {
        say(line);
    }
}
