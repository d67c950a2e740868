//! Serves the site to this machine and builds it again when one of its sources changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::Result;

use crate::layout::Layout;
use crate::programs::{Cache, Cargo};
use crate::{book, labs, publish};

/// How often the sources are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Builds, serves on `port` of this machine alone, and goes on until the program is
/// stopped.
///
/// # Errors
/// Where the port is taken or the book cannot be read.
pub fn serve(layout: &Layout, port: u16) -> Result<()> {
    let port = book_server::serve(port, layout.site(), book::site_url(layout)?)?;
    let mut seen = sources(layout);
    rebuild(layout)?;
    println!("the book is at http://127.0.0.1:{port}/ (stop with Ctrl-C)");
    loop {
        thread::sleep(LOOK);
        let now = sources(layout);
        if now != seen {
            seen = now;
            rebuild(layout)?;
        }
    }
}

fn rebuild(layout: &Layout) -> Result<()> {
    let programs = Cargo { root: layout.root.clone() };
    let (labs, cache) = (labs::build(layout, false)?, Cache::of(&layout.root));
    let problems = publish::publish(layout, &programs, &cache, labs.as_ref())?;
    if problems.is_empty() {
        println!("built");
    } else {
        for problem in &problems {
            eprintln!("{problem}");
        }
        eprintln!("the last good build is still served");
    }
    Ok(())
}

/// When each source was last changed.
fn sources(layout: &Layout) -> BTreeMap<PathBuf, SystemTime> {
    let mut times = BTreeMap::new();
    let mut open: Vec<PathBuf> =
        ["src", "theme", "book.toml", "macros.tex", "references.bib"]
            .map(|name| layout.book.join(name))
            .into();
    open.extend(["chapters", "src", "tests"].map(|name| layout.root.join(name)));
    while let Some(path) = open.pop() {
        if let Ok(entries) = fs::read_dir(&path) {
            open.extend(entries.filter_map(|entry| entry.ok().map(|entry| entry.path())));
        } else if let Ok(changed) =
            fs::metadata(&path).and_then(|metadata| metadata.modified())
        {
            times.insert(path, changed);
        }
    }
    times
}
