//! MNIST: 28x28 handwritten digits with 256 levels, downloaded once and kept.
//!
//! Source: Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten digits", from the mirror that most libraries
//! use. The files are checked against the SHA-256 of their uncompressed contents, so plain HTTP is enough, and a
//! recompressed copy is as good as the original.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::{Dataset, Images, idx};
use crate::{
    error::{Error, Result},
    files::write_atomically,
};

const MIRROR: &str = "http://storage.googleapis.com/cvdf-datasets/mnist";
const SIDE: usize = 28;
const LEVELS: usize = 256;
/// The training images from this one on are for validation.
const VALIDATION_START: usize = 50_000;

/// A file of the data set.
struct File {
    name: &'static str,
    /// Images have three dimensions, labels one.
    dimensions: usize,
    items: usize,
    /// SHA-256 of the uncompressed file.
    checksum: &'static str,
}

const FILES: [File; 4] = [
    File {
        name: "train-images-idx3-ubyte",
        dimensions: 3,
        items: 60_000,
        checksum: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    },
    File {
        name: "t10k-images-idx3-ubyte",
        dimensions: 3,
        items: 10_000,
        checksum: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    },
    File {
        name: "train-labels-idx1-ubyte",
        dimensions: 1,
        items: 60_000,
        checksum: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    },
    File {
        name: "t10k-labels-idx1-ubyte",
        dimensions: 1,
        items: 10_000,
        checksum: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
];

/// MNIST in three parts: train [0, 50000) and validation [50000, 60000) of its training images, and its 10000 test images.
///
/// With a folder, reads the files there, plain or with `.gz`. Without, takes them from the cache folder of the user, and downloads
/// those that are missing; `progress(file, bytes, total)` is called on the way. Fails with a sentence for a file that is
/// missing, damaged or not MNIST's, and when there is no network.
pub fn mnist(folder: Option<&Path>, progress: impl FnMut(&str, u64, u64)) -> Result<Dataset> {
    match folder {
        Some(folder) => assemble(|file| from_folder(folder, file)),
        None => {
            let cache = cache_folder(|name| std::env::var_os(name).map(PathBuf::from))?;
            download(MIRROR, &cache, progress)?;
            assemble(|file| from_folder(&cache, file))
        }
    }
}

/// Checks all four files and puts the images together.
fn assemble(mut read: impl FnMut(&File) -> Result<Vec<u8>>) -> Result<Dataset> {
    let [train, test, _, _] = [read(&FILES[0])?, read(&FILES[1])?, read(&FILES[2])?, read(&FILES[3])?];
    let train = Images::new(train, SIDE, LEVELS);
    Ok(Dataset {
        validation: train.range(VALIDATION_START, train.len()),
        train: train.range(0, VALIDATION_START),
        test: Images::new(test, SIDE, LEVELS),
    })
}

/// The entries of a file in this folder, plain or compressed.
fn from_folder(folder: &Path, file: &File) -> Result<Vec<u8>> {
    let plain = folder.join(file.name);
    let path = if plain.exists() { plain } else { folder.join(format!("{}.gz", file.name)) };
    let contents = fs::read(&path).map_err(|e| {
        let (name, folder) = (file.name, folder.display());
        Error::failure(format!(
            "cannot read {name} or {name}.gz in {folder}: {e}; give --data-dir the folder of MNIST's files"
        ))
    })?;
    check(contents, file)
        .map_err(|why| Error::failure(format!("{} {why}; download it anew or leave out --data-dir", path.display())))
}

/// The entries of a file's contents, if they are MNIST's; half a sentence otherwise.
fn check(contents: Vec<u8>, file: &File) -> std::result::Result<Vec<u8>, String> {
    let contents = idx::uncompress(contents)?;
    let idx = idx::parse(&contents, file.dimensions)?;
    let found: String = Sha256::digest(&contents).iter().map(|byte| format!("{byte:02x}")).collect();
    if idx.shape[0] != file.items || idx.shape[1..].iter().any(|&n| n != SIDE) || found != file.checksum {
        return Err(format!("is no file of MNIST (its SHA-256 is {found} instead of {})", file.checksum));
    }
    Ok(idx.entries)
}

/// Where downloaded files are kept; `variable` looks up an environment variable.
fn cache_folder(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf> {
    let base = variable("XDG_CACHE_HOME")
        .or_else(|| variable("LOCALAPPDATA"))
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))
        .ok_or_else(|| Error::failure("there is no home folder to keep MNIST in; give its files with --data-dir"))?;
    Ok(base.join("elbo-to-diffusion/mnist"))
}

/// Downloads the files that the folder lacks. A file appears there only when it is whole and checked.
fn download(mirror: &str, folder: &Path, mut progress: impl FnMut(&str, u64, u64)) -> Result<()> {
    let remedy = format!("or put the files into {} or another folder and give it with --data-dir", folder.display());
    fs::create_dir_all(folder)
        .map_err(|e| Error::failure(format!("cannot create {}: {e}; {remedy}", folder.display())))?;
    let config = ureq::Agent::config_builder().timeout_connect(Some(Duration::from_secs(20)));
    let agent: ureq::Agent = config.timeout_recv_response(Some(Duration::from_secs(30))).build().into();
    for file in &FILES {
        let name = format!("{}.gz", file.name);
        if folder.join(&name).exists() || folder.join(file.name).exists() {
            continue;
        }
        let url = format!("{mirror}/{name}");
        let failed = |why: String| Error::failure(format!("cannot download {url}: {why}; check the network, {remedy}"));
        let mut response = agent.get(&url).call().map_err(|e| failed(e.to_string()))?;
        let total = response.body().content_length().unwrap_or(0);
        let mut contents = Vec::new();
        let mut reader = response.body_mut().as_reader();
        let mut chunk = vec![0; 1 << 16];
        loop {
            let n = reader.read(&mut chunk).map_err(|e| failed(e.to_string()))?;
            if n == 0 {
                break;
            }
            contents.extend_from_slice(&chunk[..n]);
            progress(file.name, contents.len() as u64, total);
        }
        check(contents.clone(), file).map_err(|why| failed(format!("what came {why}")))?;
        write_atomically(&folder.join(name), &contents)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        net::TcpListener,
    };

    use super::*;

    /// Serves `body` to `requests` requests, and closes the connection early if `cut` says so.
    fn server(status: &'static str, body: Vec<u8>, cut: usize) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&body[..body.len() - cut]).unwrap();
            }
        });
        address
    }

    fn refused(mirror: &str, words: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        let error = download(mirror, &cache, |_, _, _| {}).unwrap_err().to_string();
        for word in words.iter().chain(&["--data-dir", &*cache.to_string_lossy()]) {
            assert!(error.contains(word), "`{word}` is not in `{error}`");
        }
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 0, "nothing half-written stays");
    }

    #[test]
    fn without_a_network_the_url_the_cache_and_the_flag_are_named() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        refused(&format!("http://{closed}"), &["cannot download http://", "train-images", "check the network"]);
    }

    #[test]
    fn what_is_not_mnist_is_not_kept() {
        let foreign: Vec<u8> = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 7].to_vec();
        refused(&server("200 OK", foreign.clone(), 0), &["is no file of MNIST", "SHA-256"]);
        refused(&server("200 OK", b"<html>".to_vec(), 0), &["magic number"]);
        refused(&server("200 OK", foreign, 3), &["cannot download"]);
        refused(&server("404 Not Found", Vec::new(), 0), &["404"]);
    }

    #[test]
    fn a_folder_without_the_files_or_with_others_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |words: &[&str]| {
            let error = mnist(Some(folder.path()), |_, _, _| {}).unwrap_err().to_string();
            words.iter().for_each(|word| assert!(error.contains(word), "`{word}` is not in `{error}`"));
        };
        refused(&["cannot read train-images-idx3-ubyte or train-images-idx3-ubyte.gz", "--data-dir"]);
        let file = folder.path().join("train-images-idx3-ubyte");
        for (contents, word) in [
            (vec![0, 0, 8, 1, 0, 0], "magic number"),
            (vec![0, 0, 8, 3, 0, 0, 0xea, 0x60, 0, 0, 0, 28, 0, 0, 0, 28, 1, 2], "promises 60000 x 28 x 28"),
            (vec![0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 9], "is no file of MNIST"),
        ] {
            fs::write(&file, contents).unwrap();
            refused(&["train-images-idx3-ubyte", word]);
        }
    }

    #[test]
    fn the_cache_folder_follows_the_environment() {
        let folder = |set: &'static [(&str, &str)]| {
            let variable = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| PathBuf::from(v));
            cache_folder(variable).map(|path| path.display().to_string())
        };
        assert_eq!(folder(&[("HOME", "/home/a")]).unwrap(), "/home/a/.cache/elbo-to-diffusion/mnist");
        assert_eq!(folder(&[("HOME", "/a"), ("XDG_CACHE_HOME", "/c")]).unwrap(), "/c/elbo-to-diffusion/mnist");
        assert!(folder(&[]).is_err());
    }
}
