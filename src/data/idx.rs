//! The IDX format of MNIST: a magic number, the size of each dimension, then one byte per
//! entry.

use std::io::Read;

use flate2::read::GzDecoder;

/// The bytes of an IDX file: shape and entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idx {
    /// Size of each dimension; the first counts the items.
    pub shape: Vec<usize>,
    /// The entries, row after row.
    pub entries: Vec<u8>,
}

/// Uncompresses a file if it is gzip, and returns it as it is otherwise. No more than
/// `limit` bytes are unpacked, because a small file can hold more than fits into memory.
/// The error is half a sentence about the file.
pub fn uncompress(file: Vec<u8>, limit: usize) -> Result<Vec<u8>, String> {
    if !file.starts_with(&[0x1f, 0x8b]) {
        return Ok(file);
    }
    let mut contents = Vec::new();
    let mut unpacked = GzDecoder::new(&*file).take(limit as u64 + 1);
    unpacked
        .read_to_end(&mut contents)
        .map_err(|e| format!("is a damaged gzip file ({e})"))?;
    if contents.len() > limit {
        return Err(format!("unpacks to more than the {limit} bytes that it may have"));
    }
    Ok(contents)
}

/// Reads an IDX file of unsigned bytes with this many dimensions. The error is half a
/// sentence about the file.
pub fn parse(file: &[u8], dimensions: usize) -> Result<Idx, String> {
    let expected = [0, 0, 8, dimensions as u8];
    let magic = file.get(..4).ok_or_else(|| {
        format!("ends after {} bytes, before its magic number does", file.len())
    })?;
    if magic != expected {
        return Err(format!(
            "starts with {magic:02x?} instead of {expected:02x?}, the magic number of such a file"
        ));
    }
    let header = 4 + 4 * dimensions;
    let sizes = file.get(4..header).ok_or("ends within its header")?;
    let shape: Vec<usize> = sizes
        .chunks_exact(4)
        .map(|b| b.iter().fold(0, |n, &byte| n << 8 | usize::from(byte)))
        .collect();
    let promised = shape.iter().try_fold(1_usize, |product, &n| product.checked_mul(n));
    let entries = &file[header..];
    match promised {
        Some(promised) if promised == entries.len() => {
            Ok(Idx { shape, entries: entries.to_vec() })
        }
        Some(promised) => {
            let size =
                shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(" x ");
            Err(format!(
                "promises {size} = {promised} entries in its header and holds {}",
                entries.len()
            ))
        }
        None => Err(format!("promises more entries than can be counted: {shape:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = &[0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6];

    #[test]
    fn a_whole_file_is_read_plain_and_compressed() {
        use std::io::Write;
        let mut encoder =
            flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(FILE).unwrap();
        for file in [FILE.to_vec(), encoder.finish().unwrap()] {
            let idx = parse(&uncompress(file, 18).unwrap(), 2).unwrap();
            assert_eq!((idx.shape, idx.entries), (vec![2, 3], vec![1, 2, 3, 4, 5, 6]));
        }
    }

    #[test]
    fn every_truncated_file_is_refused() {
        for length in 0..FILE.len() {
            assert!(parse(&FILE[..length], 2).is_err(), "{length}");
        }
        assert!(parse(FILE, 2).is_ok());
    }

    #[test]
    fn damage_is_named() {
        let change = |place: usize, byte: u8| {
            let mut file = FILE.to_vec();
            file[place] = byte;
            parse(&file, 2).unwrap_err()
        };
        assert!(change(2, 9).contains("magic number"));
        assert!(change(3, 3).contains("magic number"));
        assert!(change(11, 4).contains("2 x 4 = 8 entries in its header and holds 6"));
        assert!(change(4, 0xff).contains("promises"));
        assert!(
            uncompress(vec![0x1f, 0x8b, 8, 0, 1, 2], 18)
                .unwrap_err()
                .contains("damaged gzip")
        );
    }

    #[test]
    fn no_more_is_unpacked_than_a_file_may_have() {
        use std::io::Write;
        let mut encoder =
            flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        // A megabyte of zeros takes a kilobyte.
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
        let bomb = encoder.finish().unwrap();
        assert!(bomb.len() < 2000);
        assert_eq!(uncompress(bomb.clone(), 1 << 20).unwrap().len(), 1 << 20);
        assert!(uncompress(bomb, 5000).unwrap_err().contains("more than the 5000 bytes"));
    }

    #[test]
    fn a_header_cannot_overflow() {
        let file = [0, 0, 8, 4].into_iter().chain([0xff; 16]).collect::<Vec<u8>>();
        assert!(parse(&file, 4).unwrap_err().contains("promises"));
    }
}
