//! Damage to files, for tests of this crate and of the claims in tests/.

use elbo_to_diffusion::codec::Header;
use rand::{Rng, RngExt};
use sha2::{Digest, Sha256};

/// Overwrites some bytes, cuts some off, or adds some.
pub fn damage(file: &[u8], rng: &mut impl Rng) -> Vec<u8> {
    let mut file = file.to_vec();
    match rng.random_range(0..4) {
        0 => file.truncate(rng.random_range(0..file.len())),
        1 => file.extend((0..rng.random_range(1..20)).map(|_| rng.random::<u8>())),
        _ => {
            for _ in 0..rng.random_range(1..30) {
                let at = rng.random_range(0..file.len());
                file[at] = rng.random();
            }
        }
    }
    file
}

/// Makes the digest of all bytes right again, so that damage reaches what lies behind it.
/// The file has a whole header.
pub fn with_good_checksum(mut file: Vec<u8>) -> Vec<u8> {
    let (before, after) = (28, Header::LENGTH);
    let sum = Sha256::new().chain_update(&file[..before]).chain_update(&file[after..]);
    let digest = sum.finalize();
    file[before..after].copy_from_slice(&digest[..after - before]);
    file
}
