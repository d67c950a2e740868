//! The optical digits: 1797 images of 8x8 pixels with levels 0 to 16, embedded in the crate.
//!
//! Source: the test part of "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak (1998), UCI
//! Machine Learning Repository, <https://doi.org/10.24432/C50P49>, licence CC BY 4.0. Each line of the embedded file
//! holds the 64 levels of one image and its label. The order of the images is that of the source; they are sorted by
//! writer, so the three parts come from different writers.

use std::io::Read;

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use super::{Dataset, Images};
use crate::error::{Error, Result};

/// The embedded file, compressed.
const FILE: &[u8] = include_bytes!("digits.csv.gz");
/// SHA-256 of [`FILE`].
const CHECKSUM: &str = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22";
const SIDE: usize = 8;
const LEVELS: usize = 17;

/// The digits in three parts: train [0, 1000), validation [1000, 1350), test [1350, 1797).
///
/// This is the split of J. Tomczak, "Deep Generative Modeling", whose published models use the same data.
/// Fails if the embedded file is not the one whose checksum is recorded.
pub fn digits() -> Result<Dataset> {
    let pixels = parse(FILE, CHECKSUM)?;
    let images = Images::new(pixels, SIDE, LEVELS);
    Ok(Dataset {
        train: images.range(0, 1000),
        validation: images.range(1000, 1350),
        test: images.range(1350, images.len()),
    })
}

/// The levels of all images in a compressed file with this checksum.
fn parse(file: &[u8], checksum: &str) -> Result<Vec<u8>> {
    let broken =
        |what: String| Error::failure(format!("the embedded digits are damaged ({what}); build the crate anew"));
    let found: String = Sha256::digest(file).iter().map(|byte| format!("{byte:02x}")).collect();
    if found != checksum {
        return Err(broken(format!("SHA-256 {found} instead of {checksum}")));
    }
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).map_err(|e| broken(e.to_string()))?;
    let mut pixels = Vec::with_capacity(text.len() / 2);
    for (i, line) in text.lines().enumerate() {
        let row: std::result::Result<Vec<u8>, _> = line.split(',').map(str::parse).collect();
        match row {
            Ok(row) if row.len() == SIDE * SIDE + 1 && row.iter().all(|&k| usize::from(k) < LEVELS) => {
                pixels.extend_from_slice(&row[..SIDE * SIDE]);
            }
            _ => return Err(broken(format!("line {} is not an image", i + 1))),
        }
    }
    Ok(pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_digits_are_the_published_ones() {
        let data = digits().unwrap();
        assert_eq!([data.train.len(), data.validation.len(), data.test.len()], [1000, 350, 447]);
        assert_eq!((data.train.dim(), data.train.level_count()), (64, 17));
        assert_eq!(&data.train.image(0)[..8], [0, 0, 5, 13, 9, 1, 0, 0]);
        assert_eq!(data.train.iter().flatten().max(), Some(&16));
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let mut file = FILE.to_vec();
        file[2000] ^= 1;
        let error = parse(&file, CHECKSUM).unwrap_err();
        assert!(error.to_string().contains("the embedded digits are damaged (SHA-256"), "{error}");
    }

    #[test]
    fn a_foreign_file_is_noticed() {
        use flate2::{Compression, write::GzEncoder};
        use std::io::Write;
        for (text, expected) in [("1,2,3\n", "line 1"), ("17,".repeat(64).as_str(), "line 1")] {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            let file = encoder.finish().unwrap();
            let sum: String = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(parse(&file, &sum).unwrap_err().to_string().contains(expected));
        }
    }
}
