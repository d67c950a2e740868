//! Serves the site to this machine and builds it again when one of its sources changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Result, anyhow};
use tiny_http::{Header, Response, Server};

use crate::book::{self, Layout};
use crate::programs::{Cache, Cargo};

/// How often the sources are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Builds, serves on `port` of this machine alone, and goes on until the program is stopped.
///
/// # Errors
/// Where the port is taken or the book cannot be read.
pub fn serve(layout: &Layout, port: u16) -> Result<()> {
    let server = Server::http(("127.0.0.1", port))
        .map_err(|error| anyhow!("port {port} cannot be opened ({error}); choose another with --port"))?;
    let mut seen = sources(layout);
    rebuild(layout)?;
    println!("the book is at http://127.0.0.1:{port}/ (stop with Ctrl-C)");
    let site = layout.site();
    let prefix = book::site_url(layout)?;
    thread::spawn(move || {
        for request in server.incoming_requests() {
            // A reader who closes the connection early is no fault of the server.
            let _ = match file(&site, request.url(), &prefix) {
                Some((bytes, kind)) => request.respond(with_type(Response::from_data(bytes), kind)),
                None => {
                    let page = fs::read(site.join("404.html")).unwrap_or_default();
                    request
                        .respond(with_type(Response::from_data(page), "text/html; charset=utf-8").with_status_code(404))
                }
            };
        }
    });
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
    let problems = book::publish(layout, &programs, &Cache::of(&layout.root))?;
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
        ["src", "theme", "book.toml", "macros.tex", "references.bib"].map(|name| layout.book.join(name)).into();
    open.extend(["chapters", "src", "tests"].map(|name| layout.root.join(name)));
    while let Some(path) = open.pop() {
        if let Ok(entries) = fs::read_dir(&path) {
            open.extend(entries.filter_map(|entry| entry.ok().map(|entry| entry.path())));
        } else if let Ok(changed) = fs::metadata(&path).and_then(|metadata| metadata.modified()) {
            times.insert(path, changed);
        }
    }
    times
}

/// The bytes and type of what is asked for; nothing outside the site. The site also answers under `prefix`, where
/// it will be published: the 404 page names its files from there.
fn file(site: &Path, url: &str, prefix: &str) -> Option<(Vec<u8>, &'static str)> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let path = path.strip_prefix(prefix).unwrap_or(path);
    let mut file = site.to_owned();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        if part == ".." || part.contains(['\\', ':']) {
            return None;
        }
        file.push(part);
    }
    if file.is_dir() {
        file.push("index.html");
    }
    let kind = match file.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        _ => "application/octet-stream",
    };
    fs::read(file).ok().map(|bytes| (bytes, kind))
}

fn with_type(response: Response<std::io::Cursor<Vec<u8>>>, kind: &str) -> Response<std::io::Cursor<Vec<u8>>> {
    match Header::from_bytes("Content-Type", kind) {
        Ok(header) => response.with_header(header),
        Err(()) => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_the_site_is_served() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let site = folder.path().join("site");
        fs::create_dir(&site).expect("a folder");
        fs::write(folder.path().join("secret"), "x").expect("a file");
        fs::write(site.join("index.html"), "home").expect("a file");
        let served = |url: &str| file(&site, url, "/published/");
        let home = Some((b"home".to_vec(), "text/html; charset=utf-8"));
        for url in ["/", "/?q=1", "/index.html#top", "/published/", "/published/index.html"] {
            assert_eq!(served(url), home, "{url}");
        }
        for url in ["/../secret", "/published/../secret", "/missing.html"] {
            assert_eq!(served(url), None, "{url}");
        }
    }
}
