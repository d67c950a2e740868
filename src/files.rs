//! Files that are written whole or not at all.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use crate::error::{Error, Result};

fn cannot(what: &str, path: &Path, error: &io::Error, remedy: &str) -> Error {
    Error::failure(format!("cannot {what} {}: {error}; {remedy}", path.display()))
}

/// Creates the folder and makes sure that files can be written to it, before any work is
/// done.
pub(crate) fn prepare_folder(folder: &Path) -> Result<()> {
    let remedy = "name another folder with --out";
    fs::create_dir_all(folder)
        .map_err(|e| cannot("create the folder", folder, &e, remedy))?;
    let probe = folder.join(format!(".probe-{}", std::process::id()));
    fs::write(&probe, b"")
        .and_then(|()| fs::remove_file(&probe))
        .map_err(|e| cannot("write to", folder, &e, remedy))
}

/// Makes sure that a file can be created at this path, before any work is done.
pub(crate) fn check_writable(file: &Path) -> Result<()> {
    let probe = temporary(file);
    fs::write(&probe, b"")
        .and_then(|()| fs::remove_file(&probe))
        .map_err(|e| cannot("write", file, &e, "name another file"))?;
    if file.is_dir() {
        return Err(Error::failure(format!(
            "cannot write {}: it is a folder; name a file",
            file.display()
        )));
    }
    Ok(())
}

/// A name beside `file` for its unfinished contents.
fn temporary(file: &Path) -> PathBuf {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!(".{name}.{}.tmp", std::process::id()))
}

/// True for the name of unfinished contents, which a run that was killed while it wrote a
/// file leaves behind.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".tmp")
}

/// Writes a file by way of a temporary one, so that a crash or a full disk never leaves
/// half a file in the place of a whole one. Fails with the path and the reason.
pub fn write_atomically(file: &Path, contents: &[u8]) -> Result<()> {
    let unfinished = temporary(file);
    let written = fs::File::create(&unfinished)
        .and_then(|mut f| f.write_all(contents).and_then(|()| f.sync_all()))
        .and_then(|()| fs::rename(&unfinished, file));
    written.map_err(|e| {
        // The half-written file must not stay; if it cannot be removed either, the first
        // error is the one to report.
        drop(fs::remove_file(&unfinished));
        cannot("write", file, &e, "make room or name another place")
    })
}
