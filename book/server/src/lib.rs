//! A server of the files of one folder, to this machine alone.
//!
//! Each connection has a thread of its own and carries one answer. A browser opens several
//! connections at once and keeps some of them idle; none of them may have to wait for
//! another.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};

/// A browser's request is far shorter.
const LONGEST_REQUEST: u64 = 64 * 1024;
/// An idle connection is closed after this time.
const IDLE: Duration = Duration::from_secs(30);

/// Answers on `port` (any free one, where it is 0) with the files of `site`, on threads of
/// its own, for as long as the program runs. The site also answers under `prefix`, where it
/// will be published: the 404 page names its files from there. Returns the port.
///
/// # Errors
/// Where the port is taken.
pub fn serve(port: u16, site: PathBuf, prefix: String) -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", port)).map_err(|error| {
        anyhow!("port {port} cannot be opened ({error}); choose another with --port")
    })?;
    let port = listener.local_addr()?.port();
    let place = Arc::new((site, prefix));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let place = Arc::clone(&place);
            // A reader who closes the connection early is no fault of the server.
            thread::spawn(move || answer(&stream, &place.0, &place.1).ok());
        }
    });
    Ok(port)
}

/// Reads one request and answers it.
fn answer(stream: &TcpStream, site: &Path, prefix: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    let mut request = BufReader::new(stream.take(LONGEST_REQUEST));
    let mut first = String::new();
    request.read_line(&mut first)?;
    let mut line = String::new();
    while request.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut words = first.split(' ');
    let (status, bytes, kind) = match (words.next(), words.next()) {
        (Some("GET"), Some(url)) => match file(site, url, prefix) {
            Some((bytes, kind)) => ("200 OK", bytes, kind),
            None => {
                ("404 Not Found", fs::read(site.join("404.html")).unwrap_or_default(), HTML)
            }
        },
        _ => ("405 Method Not Allowed", Vec::new(), HTML),
    };
    let length = bytes.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nCache-Control: no-cache\r\nConnection: close\r\n\r\n"
    );
    let mut stream = stream;
    stream.write_all(head.as_bytes())?;
    stream.write_all(&bytes)
}

const HTML: &str = "text/html; charset=utf-8";

/// The bytes and type of what is asked for; nothing outside the site.
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
        Some("html") => HTML,
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
        for url in ["/", "/?q=1", "/index.html#top", "/published/", "/published/index.html"]
        {
            assert_eq!(served(url), home, "{url}");
        }
        for url in ["/../secret", "/published/../secret", "/missing.html"] {
            assert_eq!(served(url), None, "{url}");
        }
    }

    #[test]
    fn many_connections_are_answered_while_others_stay_idle() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("index.html"), "home").expect("a file");
        fs::write(folder.path().join("404.html"), "lost").expect("a file");
        let port = serve(0, folder.path().to_owned(), "/published/".to_owned())
            .expect("a free port");
        let connect = || TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        let idle: Vec<TcpStream> = (0..20).map(|_| connect()).collect();
        let ask = |request: &str| {
            let mut stream = connect();
            stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
            stream.write_all(request.as_bytes()).expect("a request");
            let mut said = String::new();
            stream.read_to_string(&mut said).expect("an answer");
            said
        };
        for _ in 0..20 {
            let said = ask("GET /published/ HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(
                said.starts_with("HTTP/1.1 200 ") && said.ends_with("\r\n\r\nhome"),
                "{said}"
            );
        }
        assert!(ask("GET /no.html HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
        assert!(ask("POST / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
        assert!(ask("\r\n\r\n").starts_with("HTTP/1.1 405 "));
        drop(idle);
        assert!(
            serve(port, folder.path().to_owned(), "/".to_owned()).is_err(),
            "the port is taken"
        );
    }
}
