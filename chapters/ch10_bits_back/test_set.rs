//! The test images as files, and how a file grows.

use std::{io::Write, time::Instant};

use burn::tensor::Device;
use elbo_to_diffusion::{
    autoencoder::{Autoencoder, NegativeElbo},
    chapter::{Chapter, Number},
    codec::{Categorical, Chain, Codec, Digits, Format, Stack},
    data::{Dataset, Images},
    error::{Error, Result},
    evaluation::{Bound, Draws},
    figure::{Plot, Series, Style},
    vdm::Schedule,
};
use flate2::{Compression, write::GzEncoder};

use super::{
    bars::{Bar, bars},
    chain::levels,
    models::{Autoencoders, LATENTS, Placed, Vdm, alone},
};

/// A file of the test images.
pub struct Coded {
    name: &'static str,
    bytes: usize,
    /// The bound of the model that coded it, in bits per dimension.
    bound: f64,
    /// The stack in bits and the images on it, after every batch.
    growth: Vec<(usize, f64)>,
    /// Images a second.
    encoded: f64,
    decoded: f64,
}

fn without_labels(images: &Images) -> Digits {
    Digits { levels: levels(images), labels: None }
}

/// Codes the images, decodes the file again and compares.
fn code(
    name: &'static str,
    codec: &Codec<impl Chain>,
    images: &Images,
    bound: f64,
) -> Result<Coded> {
    let (digits, plan) = (without_labels(images), codec.plan(images.len(), false));
    let start = Instant::now();
    let file = codec.encode(&digits, Format::Csv)?;
    let encoding = start.elapsed().as_secs_f64();
    let (back, _) =
        codec.decode(&file).map_err(|why| Error::failure(format!("{name} {why}")))?;
    if back != digits {
        return Err(Error::failure(format!("the file of {name} decodes to other images")));
    }
    let decoding = start.elapsed().as_secs_f64() - encoding;
    let speed = |seconds| images.len() as f64 / seconds;
    let mut growth = Vec::new();
    let mut coded = (0..plan.alone).map(|_| 1).chain(plan.batches).scan(0, |sum, n| {
        *sum += n;
        Some(*sum)
    });
    // The lengths of the stack are not in the file; the first batches show the growth.
    let first = without_labels(&images.first(60));
    codec.stack(&first, |stack| growth.extend(coded.next().map(|n| (n, stack.bits()))))?;
    let (encoded, decoded) = (speed(encoding), speed(decoding));
    Ok(Coded { name, bytes: file.len(), bound, growth, encoded, decoded })
}

/// The file of the diffusion model.
pub fn vdm(chapter: &Chapter, data: &Dataset, vdm: &Vdm, device: &Device) -> Result<Coded> {
    let draws = Draws { passes: 2, seed: chapter.seed() };
    let denoise = |z, gamma| vdm.denoise(z, gamma);
    let gammas = Placed.grid(LATENTS);
    let bound = Bound::discrete(&data.test, &gammas, denoise, draws, device)?;
    let codec = vdm.codec(data, device);
    code("diffusion", &codec, &data.test, data.bits_per_dim(bound.total()))
}

/// The files of the autoencoders.
pub fn autoencoders(
    chapter: &Chapter,
    data: &Dataset,
    models: &Autoencoders,
    device: &Device,
) -> Result<Vec<Coded>> {
    let draws = Draws { passes: 16, seed: chapter.seed() };
    fn bound(
        model: &impl Autoencoder,
        images: &Images,
        draws: Draws,
        device: &Device,
    ) -> Result<f64> {
        let elbo = NegativeElbo::estimate(model, images, draws, device)?;
        Ok(elbo.reconstruction + elbo.kl.iter().sum::<f64>())
    }
    let bounds = [
        bound(&models.vae, &data.test, draws, device)?,
        bound(&models.hvae, &data.test, draws, device)?,
    ];
    let named =
        ["VAE", "hierarchy"].into_iter().zip(models.codecs(data, device)).zip(bounds);
    named
        .map(|((name, codec), nats)| {
            code(name, &codec, &data.test, data.bits_per_dim(nats))
        })
        .collect()
}

/// Bytes of what needs no model of images: as they are, by gzip, and pixel by pixel.
fn plain(data: &Dataset) -> Result<[usize; 3]> {
    let raw = levels(&data.test);
    let cannot = |e: std::io::Error| Error::failure(format!("cannot compress: {e}"));
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&raw).map_err(cannot)?;
    let mut stack = Stack::new(false);
    let pixels: Vec<_> = alone(data).pixels().map(Categorical::from_logs).collect();
    for image in data.test.iter() {
        let symbols: Vec<usize> = image.iter().map(|&k| k.into()).collect();
        stack.push(&symbols, &pixels)?;
    }
    let independent = (stack.bits() / 8.0).ceil() as usize;
    Ok([raw.len(), gzip.finish().map_err(cannot)?.len(), independent])
}

pub fn report(chapter: &mut Chapter, data: &Dataset, coded: &[Coded]) -> Result<()> {
    let dims = (data.test.len() * data.test.dim()) as f64;
    let bits = |bytes: usize| 8.0 * bytes as f64 / dims;
    let number = |value| Number::within(value, 0.02, 3);
    let bytes = |bytes: usize| Number::within(bytes as f64, 75.0, 0);
    chapter.report.section("Files without latents");
    let names = ["a byte a pixel", "gzip", "independent pixels"];
    let mut drawn = Vec::new();
    let mut rows = Vec::new();
    for (name, bytes) in names.into_iter().zip(plain(data)?) {
        rows.push((
            name.to_string(),
            vec![Number::count(bytes), Number::exact(bits(bytes), 3)],
        ));
        drawn.push(Bar { name, bytes: bytes as f64, bound: None });
    }
    chapter.report.table(&["447 test images", "bytes", "bits/dim"], &rows);

    chapter.report.section("Files with latents");
    let mut rows = Vec::new();
    for file in coded {
        let bound = file.bound * dims / 8.0;
        rows.push((
            file.name.to_string(),
            vec![
                bytes(file.bytes),
                bytes(bound.round() as usize),
                number(bits(file.bytes)),
                number(file.bound),
            ],
        ));
        drawn.push(Bar { name: file.name, bytes: file.bytes as f64, bound: Some(bound) });
    }
    let header = ["447 test images", "bytes", "bound", "bits/dim", "bound (bits/dim)"];
    chapter.report.table(&header, &rows);
    chapter.report.line("decoded again, every file is the images it was made of: yes");
    for file in coded {
        let name = file.name;
        chapter.metric(&format!("{name}_file_bits_per_dim"), bits(file.bytes));
        chapter.timing(&format!("{name}_encoded_images_per_second"), file.encoded);
        chapter.timing(&format!("{name}_decoded_images_per_second"), file.decoded);
    }
    drawn.remove(0);
    chapter.figure("files", &bars(&drawn)?)?;

    let growth = |file: &Coded| {
        let dim = data.test.dim() as f64;
        let points = file.growth.iter().map(|&(n, bits)| (n as f64, bits / n as f64 / dim));
        Series::new(file.name, Style::LineAndDots, points.collect::<Vec<_>>())
    };
    let mut series: Vec<_> = coded.iter().rev().take(1).map(growth).collect();
    if let Some(last) = coded.last() {
        let line = [(1.0, last.bound), (60.0, last.bound)];
        series.push(Series::new("its bound", Style::Reference, line));
    }
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
        let file = codec.encode(&without_labels(&images), Format::Csv)?;
        rows.push((n.to_string(), n, file.len()));
    }
    let images = data.test.first(100);
    let digits =
        Digits { labels: images.labels().map(<[u8]>::to_vec), ..without_labels(&images) };
    let file = codec.encode(&digits, Format::Csv)?;
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
