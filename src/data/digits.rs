//! The optical digits: 1797 images of 8x8 pixels with levels 0 to 16, embedded in the
//! crate.
//!
//! Source: the test part of "Optical Recognition of Handwritten Digits", E. Alpaydin and C.
//! Kaynak (1998), UCI
//! Machine Learning Repository, <https://doi.org/10.24432/C50P49>, licence CC BY 4.0. Each line of the embedded file
//! holds the 64 levels of one image and its label. The order of the images is that of the
//! source; they are sorted by writer, so the three parts come from different writers.

use std::io::Read;

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use super::{Dataset, Images};
use crate::error::{Error, Result};

/// The embedded file, compressed.
#[cfg(not(target_family = "wasm"))]
const FILE: &[u8] = include_bytes!("digits.csv.gz");
/// The same in a page, which is given it: what is embedded is sent with the code.
#[cfg(target_family = "wasm")]
static FILE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
/// SHA-256 of the file.
const CHECKSUM: &str = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22";
const SIDE: usize = 8;
const LEVELS: usize = 17;
const CLASSES: usize = 10;

/// The digits with their labels in three parts: train [0, 1000), validation [1000, 1350),
/// test [1350, 1797).
///
/// This is the split of J. Tomczak, "Deep Generative Modeling", whose published models use
/// the same data. Fails if the embedded file is not the one whose checksum is recorded.
pub fn digits() -> Result<Dataset> {
    let images = parse(file()?, CHECKSUM)?;
    Ok(Dataset {
        train: images.range(0, 1000),
        validation: images.range(1000, 1350),
        test: images.range(1350, images.len()),
    })
}

#[cfg(not(target_family = "wasm"))]
fn file() -> Result<&'static [u8]> {
    Ok(FILE)
}

#[cfg(target_family = "wasm")]
fn file() -> Result<&'static [u8]> {
    let missing = || Error::failure("the digits did not arrive; load the page again");
    FILE.get().map(Vec::as_slice).ok_or_else(missing)
}

/// Gives a page the compressed file; what is given again is not looked at.
#[cfg(target_family = "wasm")]
pub fn give(file: Vec<u8>) {
    FILE.get_or_init(|| file);
}

/// All images in a compressed file with this checksum, and their labels.
fn parse(file: &[u8], checksum: &str) -> Result<Images> {
    let broken = |what: String| {
        Error::failure(format!(
            "the embedded digits are damaged ({what}); build the crate anew"
        ))
    };
    let found: String =
        Sha256::digest(file).iter().map(|byte| format!("{byte:02x}")).collect();
    if found != checksum {
        return Err(broken(format!("SHA-256 {found} instead of {checksum}")));
    }
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).map_err(|e| broken(e.to_string()))?;
    let (mut pixels, mut labels) = (Vec::with_capacity(text.len() / 2), Vec::new());
    for (i, line) in text.lines().enumerate() {
        let row: std::result::Result<Vec<u8>, _> =
            line.split(',').map(str::parse).collect();
        let row = row.ok().filter(|row| row.len() == SIDE * SIDE + 1);
        match row.as_ref().and_then(|row| row.split_last()) {
            Some((&label, levels))
                if usize::from(label) < CLASSES
                    && levels.iter().all(|&k| usize::from(k) < LEVELS) =>
            {
                pixels.extend_from_slice(levels);
                labels.push(label);
            }
            _ => return Err(broken(format!("line {} is not an image", i + 1))),
        }
    }
    Ok(Images::new(pixels, SIDE, LEVELS).labelled(labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_digits_are_the_published_ones() {
        let data = digits().unwrap();
        assert_eq!(
            [data.train.len(), data.validation.len(), data.test.len()],
            [1000, 350, 447]
        );
        assert_eq!((data.train.dim(), data.train.grey_level_count()), (64, 17));
        assert_eq!(&data.train.image(0)[..8], [0, 0, 5, 13, 9, 1, 0, 0]);
        assert_eq!(data.train.iter().flatten().max(), Some(&16));
    }

    #[test]
    fn each_digit_has_its_label() {
        let data = digits().unwrap();
        // The first images of the source are 0 to 9 in order.
        assert_eq!(
            &data.train.labels().unwrap()[..12],
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
        );
        let all =
            [&data.train, &data.validation, &data.test].map(|part| part.labels().unwrap());
        assert_eq!(all.map(<[u8]>::len), [1000, 350, 447]);
        // How many there are of each digit, as the source says.
        let count = |digit| all.concat().iter().filter(|&&label| label == digit).count();
        assert_eq!(
            (0..10).map(count).collect::<Vec<_>>(),
            [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
        );
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let mut file = FILE.to_vec();
        file[2000] ^= 1;
        let error = parse(&file, CHECKSUM).unwrap_err();
        assert!(
            error.to_string().contains("the embedded digits are damaged (SHA-256"),
            "{error}"
        );
    }

    #[test]
    fn a_foreign_file_is_noticed() {
        use flate2::{Compression, write::GzEncoder};
        use std::io::Write;
        let (level, label) = ("17,".repeat(64) + "0", "16,".repeat(64) + "10");
        for (text, expected) in
            [("1,2,3\n", "line 1"), (&level, "line 1"), (&label, "line 1")]
        {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            let file = encoder.finish().unwrap();
            let sum: String =
                Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(parse(&file, &sum).unwrap_err().to_string().contains(expected));
        }
    }
}
