//! How a file grows: small files, and the stack as image after image comes onto it.

use burn::tensor::Device;
use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    codec::{Digits, Format},
    data::Dataset,
    error::Result,
    figure::{Plot, Series, Style},
};

use super::{
    models::Vdm,
    test_set::{Coded, without_labels},
};

/// Images at which the picture of the growth ends.
const SHOWN: usize = 100;

/// Draws the stack over the images on it.
pub fn draw(chapter: &Chapter, data: &Dataset, coded: &Coded) -> Result<()> {
    let dim = data.test.dim() as f64;
    let shown = coded.growth.iter().filter(|(n, _)| *n <= SHOWN);
    let points = shown.map(|&(n, bits)| (n as f64, bits / n as f64 / dim));
    let points: Vec<_> = points.collect();
    let bound = [(0.0, coded.bound), (SHOWN as f64, coded.bound)];
    let series = vec![
        Series::new("bits on the stack", Style::LineAndDots, points),
        Series::new("the bound", Style::Reference, bound),
    ];
    let plot = Plot { series, ..Plot::curve("images on the stack", "bits/dim so far", []) };
    chapter.figure("growth", &plot.draw()?)
}

/// Small files, and one with labels.
pub struct Small {
    rows: Vec<(String, usize, usize)>,
}

pub fn small(data: &Dataset, vdm: &Vdm, device: &Device) -> Result<Small> {
    let codec = vdm.codec(data, device);
    let mut rows = Vec::new();
    for n in [1, 10, 100] {
        let images = data.test.first(n);
        let file = codec.encode(&without_labels(&images), Format::Csv, |_| {})?;
        rows.push((n.to_string(), n, file.len()));
    }
    let images = data.test.first(100);
    let digits =
        Digits { labels: images.labels().map(<[u8]>::to_vec), ..without_labels(&images) };
    let file = codec.encode(&digits, Format::Csv, |_| {})?;
    rows.push(("100, with labels".into(), 100, file.len()));
    Ok(Small { rows })
}

pub fn report_small(chapter: &mut Chapter, data: &Dataset, small: &Small) {
    let row = |(name, n, bytes): &(String, usize, usize)| {
        let bits = 8.0 * *bytes as f64 / (n * data.test.dim()) as f64;
        let slack = 12.0 * (*n as f64).sqrt().ceil() / 3.0;
        let tolerance = 8.0 * slack / (n * data.test.dim()) as f64;
        let bytes = Number::within(*bytes as f64, slack.ceil(), 0);
        (name.clone(), vec![bytes, Number::within(bits, tolerance.max(0.01), 2)])
    };
    let rows: Vec<_> = small.rows.iter().map(row).collect();
    chapter.report.section("Small files");
    chapter.report.table(&["images", "bytes", "bits/dim"], &rows);
}
