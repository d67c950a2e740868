//! Images as CSV and as IDX.

use elbo_to_diffusion::{
    codec::{Digits, Format},
    data::idx,
};

/// Pixels of an image.
const DIM: usize = 64;
/// Grey levels of a pixel.
const LEVELS: u8 = 17;
/// Classes that a label names.
const CLASSES: u8 = 10;
/// Bytes that a file may unpack to.
const LIMIT: usize = 1 << 28;

/// Reads 8x8 images with levels from 0 to 16, and labels from 0 to 9 if each line of a CSV
/// file has one. A gzip file is unpacked first. The error is half a sentence about the file.
pub fn parse(file: Vec<u8>) -> Result<(Digits, Format), String> {
    let file = idx::uncompress(file, LIMIT)?;
    if file.starts_with(&[0, 0]) {
        let images = idx::parse(&file, 3)?;
        if images.shape[1..] != [8, 8] {
            return Err(format!(
                "holds images of {:?} pixels, not 8 x 8",
                &images.shape[1..]
            ));
        }
        if let Some(level) = images.entries.iter().find(|level| **level >= LEVELS) {
            return Err(format!(
                "holds the level {level}, and the highest is {}",
                LEVELS - 1
            ));
        }
        return Ok((Digits { levels: images.entries, labels: None }, Format::Idx));
    }
    let text = String::from_utf8(file)
        .map_err(|_| "is neither CSV nor IDX, nor one of these as gzip".to_string())?;
    let (mut levels, mut labels, mut lines) = (Vec::new(), Vec::new(), 0);
    for line in text.lines() {
        lines += 1;
        let row: Result<Vec<u8>, _> =
            line.split(',').map(|field| field.trim().parse()).collect();
        let row = row.map_err(|_| format!("has no row of numbers in line {lines}"))?;
        let (image, label) = row.split_at(row.len().min(DIM));
        if image.len() < DIM || label.len() > 1 {
            return Err(format!(
                "has {} numbers in line {lines}, not {DIM} levels with or without a label",
                row.len()
            ));
        }
        if image.iter().any(|level| *level >= LEVELS) || label.iter().any(|l| *l >= CLASSES)
        {
            return Err(format!(
                "has a level above {} or a label above {} in line {lines}",
                LEVELS - 1,
                CLASSES - 1
            ));
        }
        levels.extend_from_slice(image);
        labels.extend_from_slice(label);
    }
    match labels.len() {
        0 => Ok((Digits { levels, labels: None }, Format::Csv)),
        n if n == lines => Ok((Digits { levels, labels: Some(labels) }, Format::Csv)),
        n => Err(format!("has a label in {n} of its {lines} lines; all or none need one")),
    }
}

/// The images as a file: CSV without spaces, a line feed behind each line; or IDX, which
/// has no labels.
pub fn write(digits: &Digits, format: Format) -> Vec<u8> {
    match format {
        Format::Idx => {
            let images = (digits.levels.len() / DIM) as u32;
            let header = [0x803_u32, images, 8, 8].map(u32::to_be_bytes).concat();
            [header, digits.levels.clone()].concat()
        }
        Format::Csv => {
            let mut text = String::new();
            for (i, image) in digits.levels.chunks(DIM).enumerate() {
                let label = digits.labels.as_ref().and_then(|labels| labels.get(i));
                let fields: Vec<String> =
                    image.iter().chain(label).map(ToString::to_string).collect();
                text.push_str(&fields.join(","));
                text.push('\n');
            }
            text.into_bytes()
        }
    }
}
