//! `ch10_bits_back compress` and `decompress`, as a reader calls them.

use std::{fs, path::Path};

use crate::program::run;

/// The first lines of the embedded digits.
fn digits(lines: usize) -> String {
    use std::io::Read;
    let file: &[u8] = include_bytes!("../../src/data/digits.csv.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("the digits");
    text.lines().take(lines).fold(String::new(), |all, line| all + line + "\n")
}

/// Exit code and stderr of one call.
fn call(arguments: &[&str]) -> (i32, String) {
    let output = run("ch10_bits_back", arguments);
    let said = String::from_utf8(output.stderr).expect("stderr is UTF-8");
    (output.status.code().expect("an exit code"), said)
}

/// Compresses a file of these contents and decompresses it again.
fn round_trip(folder: &Path, contents: &[u8], flags: &[&str]) -> (Vec<u8>, Vec<u8>) {
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (images, coded, back) = (path("images"), path("coded"), path("back"));
    fs::write(&images, contents).expect("a file");
    let compress = [&["compress", &images, &coded], flags].concat();
    let (code, said) = call(&compress);
    assert_eq!(code, 0, "{said}");
    let (code, said) = call(&["decompress", &coded, &back]);
    assert_eq!(code, 0, "{said}");
    (fs::read(coded).expect("the coded file"), fs::read(back).expect("the images"))
}

#[test]
fn csv_with_labels_comes_back_byte_for_byte() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = digits(60);
    let (coded, back) = round_trip(folder.path(), text.as_bytes(), &[]);
    assert_eq!(back, text.as_bytes());
    assert!(coded.len() < text.len() / 6, "{} bytes", coded.len());
    // Spaces and the missing line feed at the end are no part of the images.
    let loose = text.replace(',', ", ");
    assert_eq!(round_trip(folder.path(), loose.trim_end().as_bytes(), &[]), (coded, back));
}

#[test]
fn csv_as_gzip_and_idx_come_back() {
    use std::io::Write;
    let folder = tempfile::tempdir().expect("a folder");
    let text = digits(3);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(text.as_bytes()).expect("gzip");
    let (_, back) =
        round_trip(folder.path(), &gzip.finish().expect("gzip"), &["--preset", "full"]);
    assert_eq!(back, text.as_bytes());

    let levels = text.lines().flat_map(|line| line.split(',').take(64));
    let levels = levels.map(|level| level.parse::<u8>().expect("a level"));
    let header = [0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 8, 0, 0, 0, 8];
    let idx: Vec<u8> = header.into_iter().chain(levels).collect();
    assert_eq!(round_trip(folder.path(), &idx, &[]).1, idx);
    // No images at all.
    assert_eq!(round_trip(folder.path(), b"", &[]).1, b"");
}

#[test]
fn what_cannot_be_read_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (images, coded, out) = (path("images"), path("coded"), path("out"));
    fs::write(&images, digits(8)).expect("a file");
    assert_eq!(call(&["compress", &images, &coded]).0, 0);
    let whole = fs::read(&coded).expect("the coded file");
    let refused = |contents: &[u8], command: &str, why: &str| {
        fs::write(&images, contents).expect("a file");
        let (code, said) = call(&[command, &images, &out]);
        assert_eq!(code, 1, "{said}");
        assert!(said.starts_with("error: ") && said.contains(why), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    };
    let row = |n: usize, value: &str| [value].repeat(n).join(",");
    refused(row(63, "1").as_bytes(), "compress", "63 numbers in line 1");
    refused(row(64, "17").as_bytes(), "compress", "a level above 16");
    refused(format!("{},10", row(64, "1")).as_bytes(), "compress", "a label above 9");
    let mixed = format!("{}\n{}", row(64, "1"), row(65, "1"));
    refused(mixed.as_bytes(), "compress", "a label in 1 of its 2 lines");
    refused(b"digits", "compress", "no row of numbers in line 1");
    refused(&[0xff, 0xfe, 0x80], "compress", "neither CSV nor IDX");
    refused(&[0, 0, 8, 3, 0, 0], "compress", "ends within its header");
    refused(&whole, "compress", "neither CSV nor IDX");
    refused(&whole[..whole.len() - 1], "decompress", "damaged or cut off");
    refused(&whole[..20], "decompress", "cut off after 20 bytes");
    refused(b"", "decompress", "no file that `compress` wrote");
    refused(digits(8).as_bytes(), "decompress", "no file that `compress` wrote");
    let mut other = whole.clone();
    other[4] = 9;
    refused(&other, "decompress", "of version 9");
    assert!(!Path::new(&out).exists());
    let left = fs::read_dir(folder.path()).expect("the folder").count();
    assert_eq!(left, 2, "a refusal left a file behind");
    let (code, said) = call(&["decompress", &path("nowhere"), &out]);
    assert!(code == 1 && said.contains("cannot read"), "{said}");
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    for (line, why) in [
        (&["compress", "a"][..], "<OUT>"),
        (&["compress", "a", "b", "--seed", "3"], "--seed"),
        (&["decompress", "a", "b", "--preset", "full"], "--preset"),
        (&["compress", "a", "b", "--preset", "best"], "best"),
    ] {
        let (code, said) = call(line);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(why) && said.contains("--help"), "{said}");
    }
    assert_eq!(call(&["compress", "--help"]).0, 0);
}
