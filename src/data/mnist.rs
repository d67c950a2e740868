//! MNIST: 28x28 handwritten digits with 256 levels, downloaded once and kept.
//!
//! Source: Y. LeCun, C. Cortes and C. Burges, "The MNIST database of handwritten digits",
//! from the mirror that most libraries use. The files are checked against the SHA-256 of
//! their uncompressed contents, so plain HTTP is enough, and a recompressed copy is as good
//! as the original.

use std::{
    fs,
    io::{self, Read},
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

/// A server that says nothing for so long is given up.
const WAIT: Duration = Duration::from_secs(30);

/// Whether the classes of the images are read as well, for which there are files of their
/// own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// The images alone.
    Without,
    /// Images and labels.
    With,
}

/// A file of the data set.
struct File {
    name: &'static str,
    /// Images have three dimensions, labels one.
    dimensions: usize,
    items: usize,
    /// SHA-256 of the uncompressed file.
    checksum: &'static str,
}

impl File {
    /// Bytes of the uncompressed file: a header, and a byte for each entry.
    fn size(&self) -> usize {
        let entries = if self.dimensions == 1 { 1 } else { SIDE * SIDE };
        4 + 4 * self.dimensions + self.items * entries
    }

    /// The most bytes that the file may have, compressed or not: what does not compress
    /// becomes a little longer.
    fn most(&self) -> usize {
        self.size() + self.size() / 100 + 1024
    }
}

const TRAIN_IMAGES: File = File {
    name: "train-images-idx3-ubyte",
    dimensions: 3,
    items: 60_000,
    checksum: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
};
const TEST_IMAGES: File = File {
    name: "t10k-images-idx3-ubyte",
    dimensions: 3,
    items: 10_000,
    checksum: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
};
const TRAIN_LABELS: File = File {
    name: "train-labels-idx1-ubyte",
    dimensions: 1,
    items: 60_000,
    checksum: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
};
const TEST_LABELS: File = File {
    name: "t10k-labels-idx1-ubyte",
    dimensions: 1,
    items: 10_000,
    checksum: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
};

/// MNIST in three parts: train [0, 50000) and validation [50000, 60000) of its training
/// images, and its 10000 test images.
///
/// With a folder, reads the files there, plain or with `.gz`. Without, takes them from the
/// cache folder of the user, and downloads those that are missing or damaged;
/// `progress(file, bytes, total)` is called on the way, without a total where the server
/// does not tell it. Fails with a sentence for a file that is missing, damaged or not
/// MNIST's, and when there is no network.
pub fn mnist(
    folder: Option<&Path>,
    labels: Labels,
    mut progress: impl FnMut(&str, usize, Option<usize>),
) -> Result<Dataset> {
    match folder {
        Some(folder) => assemble(labels, |file| from_folder(folder, file)),
        None => {
            let cache = cache_folder(|name| std::env::var_os(name).map(PathBuf::from))?;
            assemble(labels, |file| cached(MIRROR, WAIT, &cache, file, &mut progress))
        }
    }
}

/// Puts together what `read(file)` returns: the entries of each file.
fn assemble(
    labels: Labels,
    mut read: impl FnMut(&File) -> Result<Vec<u8>>,
) -> Result<Dataset> {
    let mut images = |file| read(file).map(|entries| Images::new(entries, SIDE, LEVELS));
    let (mut train, mut test) = (images(&TRAIN_IMAGES)?, images(&TEST_IMAGES)?);
    if labels == Labels::With {
        (train, test) =
            (train.labelled(read(&TRAIN_LABELS)?), test.labelled(read(&TEST_LABELS)?));
    }
    Ok(Dataset {
        validation: train.range(VALIDATION_START, train.len()),
        train: train.range(0, VALIDATION_START),
        test,
    })
}

/// The entries of a file in this folder, plain or compressed.
fn from_folder(folder: &Path, file: &File) -> Result<Vec<u8>> {
    let [plain, compressed] = places(folder, file);
    let path = if plain.exists() { plain } else { compressed };
    let contents = fs::File::open(&path)
        .and_then(|contents| read_at_most(file.most(), contents, |_| ()));
    let contents = contents.map_err(|e| {
        let (name, folder) = (file.name, folder.display());
        Error::failure(format!(
            "cannot read {name} or {name}.gz in {folder}: {e}; give --data-dir the folder of MNIST's files"
        ))
    })?;
    check(contents, file).map_err(|why| {
        Error::failure(format!(
            "{} {why}; download it anew or leave out --data-dir",
            path.display()
        ))
    })
}

/// Where a file may lie in a folder, plain and compressed.
fn places(folder: &Path, file: &File) -> [PathBuf; 2] {
    [folder.join(file.name), folder.join(format!("{}.gz", file.name))]
}

/// All bytes of a reader, of which there may be so many; `progress(bytes)` is called on the
/// way.
fn read_at_most(
    most: usize,
    mut reader: impl Read,
    mut progress: impl FnMut(usize),
) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    let mut chunk = vec![0; 1 << 16];
    loop {
        match reader.read(&mut chunk)? {
            0 => return Ok(contents),
            n => contents.extend_from_slice(&chunk[..n]),
        }
        if contents.len() > most {
            return Err(io::Error::other(format!(
                "it is longer than the {most} bytes that it may have"
            )));
        }
        progress(contents.len());
    }
}

/// The entries of a file's contents, if they are MNIST's; half a sentence otherwise.
fn check(contents: Vec<u8>, file: &File) -> std::result::Result<Vec<u8>, String> {
    let contents = idx::uncompress(contents, file.size())?;
    let idx = idx::parse(&contents, file.dimensions)?;
    let found: String =
        Sha256::digest(&contents).iter().map(|byte| format!("{byte:02x}")).collect();
    if idx.shape[0] != file.items
        || idx.shape[1..].iter().any(|&n| n != SIDE)
        || found != file.checksum
    {
        return Err(format!(
            "is no file of MNIST (its SHA-256 is {found} instead of {})",
            file.checksum
        ));
    }
    Ok(idx.entries)
}

/// Where downloaded files are kept; `variable` looks up an environment variable.
fn cache_folder(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf> {
    let base = variable("XDG_CACHE_HOME")
        .or_else(|| variable("LOCALAPPDATA"))
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))
        .ok_or_else(|| {
            Error::failure(
                "there is no home folder to keep MNIST in; give its files with --data-dir",
            )
        })?;
    Ok(base.join("elbo-to-diffusion/mnist"))
}

/// The entries of a file in the cache, to which it is downloaded if it is missing or
/// damaged there. A downloaded file appears only when it is whole and checked.
fn cached(
    mirror: &str,
    wait: Duration,
    cache: &Path,
    file: &File,
    mut progress: impl FnMut(&str, usize, Option<usize>),
) -> Result<Vec<u8>> {
    let places = places(cache, file);
    let kept = places.iter().filter_map(|path| fs::File::open(path).ok());
    let kept = kept.filter_map(|kept| read_at_most(file.most(), kept, |_| ()).ok());
    if let Some(entries) = kept.filter_map(|contents| check(contents, file).ok()).next() {
        return Ok(entries);
    }
    let remedy = format!(
        "or put the files into {} or another folder and give it with --data-dir",
        cache.display()
    );
    fs::create_dir_all(cache).map_err(|e| {
        Error::failure(format!("cannot create {}: {e}; {remedy}", cache.display()))
    })?;
    let url = format!("{mirror}/{}.gz", file.name);
    let failed = |why: String| {
        Error::failure(format!("cannot download {url}: {why}; check the network, {remedy}"))
    };
    let config = ureq::Agent::config_builder();
    let config = config.timeout_resolve(Some(wait)).timeout_connect(Some(wait));
    let config = config.timeout_recv_response(Some(wait)).timeout_per_read(Some(wait));
    let agent: ureq::Agent = config.build().into();
    let mut response = agent.get(&url).call().map_err(|e| failed(e.to_string()))?;
    let total = response.body().content_length().and_then(|total| total.try_into().ok());
    let contents = read_at_most(file.most(), response.body_mut().as_reader(), |bytes| {
        progress(file.name, bytes, total)
    })
    .map_err(|e| failed(e.to_string()))?;
    let entries =
        check(contents.clone(), file).map_err(|why| failed(format!("what came {why}")))?;
    let [_, compressed] = places;
    write_atomically(&compressed, &contents)?;
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write},
        net::{TcpListener, TcpStream},
        thread::sleep,
        time::Instant,
    };

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    /// A server that answers every request so, until the program ends.
    fn server(
        answer: impl Fn(&mut TcpStream) -> io::Result<()> + Send + 'static,
    ) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while lines
                    .next()
                    .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
                {
                }
                // The client may have gone.
                drop(answer(&mut stream));
            }
        });
        address
    }

    /// A server of this body, of which it keeps back the last `cut` bytes.
    fn serves(status: &'static str, body: Vec<u8>, cut: usize) -> String {
        server(move |stream| {
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            )?;
            stream.write_all(&body[..length - cut])
        })
    }

    /// Two images in a file, and the file's contents, compressed.
    fn two_images() -> (File, Vec<u8>) {
        let header = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28];
        let contents: Vec<u8> =
            header.into_iter().chain((0..2 * 784).map(|i| (i % 251) as u8)).collect();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&contents).unwrap();
        let checksum: String =
            Sha256::digest(&contents).iter().map(|byte| format!("{byte:02x}")).collect();
        (
            File { name: "two", dimensions: 3, items: 2, checksum: checksum.leak() },
            encoder.finish().unwrap(),
        )
    }

    fn entries() -> Vec<u8> {
        (0..2 * 784).map(|i| (i % 251) as u8).collect()
    }

    fn refused(mirror: &str, file: &File, wait: Duration, words: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let cache = folder.path().join("cache");
        let error =
            cached(mirror, wait, &cache, file, |_, _, _| {}).unwrap_err().to_string();
        for word in words.iter().chain(&["--data-dir", &*cache.to_string_lossy()]) {
            assert!(error.contains(word), "`{word}` is not in `{error}`");
        }
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 0, "nothing half-written stays");
    }

    #[test]
    fn without_a_network_the_url_the_cache_and_the_flag_are_named() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let words = ["cannot download http://", "train-images", "check the network"];
        refused(&format!("http://{closed}"), &TRAIN_IMAGES, WAIT, &words);
    }

    #[test]
    fn what_is_not_mnist_is_not_kept() {
        let foreign: Vec<u8> = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 7].to_vec();
        let refused =
            |mirror: String, words: &[&str]| refused(&mirror, &TRAIN_IMAGES, WAIT, words);
        refused(serves("200 OK", foreign.clone(), 0), &["is no file of MNIST", "SHA-256"]);
        refused(serves("200 OK", b"<html>".to_vec(), 0), &["magic number"]);
        refused(serves("200 OK", foreign, 3), &["cannot download"]);
        refused(serves("404 Not Found", Vec::new(), 0), &["404"]);
    }

    #[test]
    fn a_server_may_keep_the_length_to_itself() {
        let (file, body) = two_images();
        let sent = body.clone();
        let mirror = server(move |stream| {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            stream.write_all(&sent)
        });
        let (folder, mut seen) = (tempfile::tempdir().unwrap(), Vec::new());
        let progress =
            |name: &str, bytes, total| seen.push((name.to_string(), bytes, total));
        assert_eq!(
            cached(&mirror, WAIT, folder.path(), &file, progress).unwrap(),
            entries()
        );
        assert_eq!(seen.last(), Some(&("two".to_string(), body.len(), None)));
    }

    #[test]
    fn a_server_that_falls_silent_is_given_up() {
        let (file, body) = two_images();
        let start = Instant::now();
        let silence = || {
            sleep(Duration::from_secs(60));
            Ok(())
        };
        let at_once = server(move |_| silence());
        refused(
            &at_once,
            &file,
            Duration::from_millis(300),
            &["cannot download", "timeout"],
        );
        let on_the_way = server(move |stream| {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len())?;
            stream.write_all(&body[..100])?;
            silence()
        });
        refused(
            &on_the_way,
            &file,
            Duration::from_millis(300),
            &["cannot download", "timeout"],
        );
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn no_more_is_taken_than_a_file_may_have() {
        let (file, _) = two_images();
        let endless = server(move |stream| {
            write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
            loop {
                stream.write_all(&[7; 1 << 16])?;
            }
        });
        refused(&endless, &file, WAIT, &["cannot download", "longer than"]);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
        refused(
            &serves("200 OK", encoder.finish().unwrap(), 0),
            &file,
            WAIT,
            &["unpacks to more than"],
        );
        // What a file of random bytes is packed to still fits.
        assert!(
            file.most() > 16 + 2 * 784 + 20
                && TEST_LABELS.most() > TEST_LABELS.size() + 100
        );
    }

    #[test]
    fn a_damaged_file_in_the_cache_is_downloaded_anew() {
        let ((file, body), folder) = (two_images(), tempfile::tempdir().unwrap());
        let kept = folder.path().join("two.gz");
        fs::write(&kept, &body[..body.len() / 2]).unwrap();
        let mirror = serves("200 OK", body.clone(), 0);
        let read = |mirror: &str| cached(mirror, WAIT, folder.path(), &file, |_, _, _| {});
        assert_eq!(read(&mirror).unwrap(), entries());
        assert_eq!(fs::read(&kept).unwrap(), body);
        // Now it is whole, so nothing is asked of the network.
        assert_eq!(read("http://nowhere.invalid").unwrap(), entries());
        // A damaged plain file does not stand before the whole one.
        fs::write(folder.path().join("two"), "damaged").unwrap();
        assert_eq!(read("http://nowhere.invalid").unwrap(), entries());
    }

    #[test]
    fn labels_are_read_on_request_alone() {
        let read = |file: &File| {
            Ok(vec![9; file.items * if file.dimensions == 1 { 1 } else { 784 }])
        };
        let images_only = |file: &File| {
            if file.dimensions == 3 {
                read(file)
            } else {
                Err(Error::failure("nobody needs the labels"))
            }
        };
        let data = assemble(Labels::Without, images_only).unwrap();
        assert_eq!(
            [data.train.len(), data.validation.len(), data.test.len()],
            [50_000, 10_000, 10_000]
        );
        assert!(data.train.labels().is_none() && data.test.labels().is_none());
        assert!(assemble(Labels::With, images_only).is_err());
        let data = assemble(Labels::With, read).unwrap();
        let labels = [&data.train, &data.validation, &data.test]
            .map(|part| part.labels().map(<[u8]>::len));
        assert_eq!(labels, [Some(50_000), Some(10_000), Some(10_000)]);
    }

    #[test]
    fn a_folder_without_the_files_or_with_others_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |words: &[&str]| {
            let error = mnist(Some(folder.path()), Labels::Without, |_, _, _| {})
                .unwrap_err()
                .to_string();
            words.iter().for_each(|word| {
                assert!(error.contains(word), "`{word}` is not in `{error}`")
            });
        };
        refused(&[
            "cannot read train-images-idx3-ubyte or train-images-idx3-ubyte.gz",
            "--data-dir",
        ]);
        let file = folder.path().join("train-images-idx3-ubyte");
        for (contents, word) in [
            (vec![0, 0, 8, 1, 0, 0], "magic number"),
            (
                vec![0, 0, 8, 3, 0, 0, 0xea, 0x60, 0, 0, 0, 28, 0, 0, 0, 28, 1, 2],
                "promises 60000 x 28 x 28",
            ),
            (
                vec![0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 9],
                "is no file of MNIST",
            ),
            (vec![0; 48_000_000], "longer than"),
        ] {
            fs::write(&file, contents).unwrap();
            refused(&["train-images-idx3-ubyte", word]);
        }
    }

    #[test]
    fn the_cache_folder_follows_the_environment() {
        let folder = |set: &'static [(&str, &str)]| {
            let variable = |name: &str| {
                set.iter().find(|(n, _)| *n == name).map(|(_, v)| PathBuf::from(v))
            };
            cache_folder(variable).map(|path| path.display().to_string())
        };
        assert_eq!(
            folder(&[("HOME", "/home/a")]).unwrap(),
            "/home/a/.cache/elbo-to-diffusion/mnist"
        );
        assert_eq!(
            folder(&[("HOME", "/a"), ("XDG_CACHE_HOME", "/c")]).unwrap(),
            "/c/elbo-to-diffusion/mnist"
        );
        assert!(folder(&[]).is_err());
    }

    #[test]
    fn a_file_that_does_not_compress_is_not_too_long() {
        // gzip adds at most 18 bytes, and 5 for each block of 65,535.
        let size = TRAIN_IMAGES.size();
        assert_eq!(size, 47_040_016);
        assert!(TRAIN_IMAGES.most() > size + 18 + 5 * size.div_ceil(65_535));
        assert!(TRAIN_IMAGES.most() < size + size / 50);
    }
}
