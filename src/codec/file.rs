//! A file of images: a header, and a stack of bits.

use sha2::{Digest, Sha256};

use super::{
    chain::{Chain, pop_images, push_images},
    plan::Plan,
    quantized::{Categorical, Cumulative, Quantized},
    stack::Stack,
};
use crate::{
    data::Marginals,
    error::{Error, Result},
};

/// The first bytes of every file.
const MAGIC: &[u8; 4] = b"ELBO";
/// The version of the format.
const VERSION: u8 = 1;
/// The most images in a file.
const MOST: usize = 1 << 20;
/// Classes that a label names.
const CLASSES: usize = 10;

/// Images as grey levels, with a label each or without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digits {
    /// The grey levels, image after image.
    pub levels: Vec<u8>,
    /// The class of each image, 0 to 9.
    pub labels: Option<Vec<u8>>,
}

/// How the images are written once they are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line of numbers for each image, its label last.
    Csv,
    /// The format of MNIST's images.
    Idx,
}

/// The first four bytes of a SHA-256, which names weights and other things.
pub fn digest(bytes: &[u8]) -> [u8; 4] {
    first(&Sha256::digest(bytes))
}

fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    std::array::from_fn(|i| bytes.get(i).copied().unwrap_or_default())
}

// ANCHOR: header
/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which model coded it.
    pub model: u8,
    /// What the decoded images are written as.
    pub format: Format,
    /// True if every image has a label.
    pub labelled: bool,
    /// Number of images.
    pub images: usize,
    /// The digest of the model's weights.
    pub weights: [u8; 4],
    /// The digest of some of the model's outputs, which tells machines apart that compute
    /// other floating-point numbers.
    pub probe: [u8; 4],
    /// The first bytes of the SHA-256 of grey levels and labels.
    pub contents: [u8; 8],
}

impl Header {
    /// Bytes before the stack: this, and the digest of all other bytes of the file.
    pub const LENGTH: usize = 34;
    // ANCHOR_END: header

    /// Its bytes, without the digest of the file.
    fn bytes(&self) -> Vec<u8> {
        let flags = u8::from(self.labelled) | u8::from(self.format == Format::Idx) << 1;
        let mut bytes = MAGIC.to_vec();
        bytes.extend([VERSION, self.model, flags, 0]);
        bytes.extend((self.images as u32).to_le_bytes());
        bytes.extend(self.weights);
        bytes.extend(self.probe);
        bytes.extend(self.contents);
        bytes
    }

    /// Reads the header of a file whose bytes are all as they were written, and the stack
    /// behind it. The error is half a sentence about the file.
    pub fn read(file: &[u8]) -> std::result::Result<(Self, Vec<u64>), String> {
        if !file.starts_with(&MAGIC[..file.len().min(4)]) || file.is_empty() {
            return Err("is no file that `compress` wrote".into());
        }
        if file.len() < Self::LENGTH {
            return Err(format!("is cut off after {} bytes; get it again", file.len()));
        }
        if file[4] != VERSION {
            return Err(format!(
                "is of version {}, and this program reads version {VERSION}; decompress it with the program that wrote it",
                file[4]
            ));
        }
        let (head, rest) = file.split_at(Self::LENGTH - 6);
        let (sum, stack) = rest.split_at(6);
        if sum != checksum(head, stack) {
            return Err("is damaged or cut off: its checksum is not that of its bytes; get it again".into());
        }
        let images = u32::from_le_bytes(first(&head[8..])) as usize;
        if images > MOST || head[6] > 3 {
            return Err("has a header that `compress` writes for no images".into());
        }
        let header = Self {
            model: head[5],
            format: if head[6] & 2 == 0 { Format::Csv } else { Format::Idx },
            labelled: head[6] & 1 == 1,
            images,
            weights: first(&head[12..]),
            probe: first(&head[16..]),
            contents: first(&head[20..]),
        };
        // What a whole number of words lacks at the end are zeros.
        let words = stack.chunks(8).map(|bytes| u64::from_le_bytes(first(bytes)));
        Ok((header, words.collect()))
    }
}

/// The digest of a file's other bytes.
fn checksum(head: &[u8], stack: &[u8]) -> [u8; 6] {
    first(&Sha256::new().chain_update(head).chain_update(stack).finalize())
}

/// The digest of what was coded.
fn contents(digits: &Digits) -> [u8; 8] {
    let hash = Sha256::new().chain_update(&digits.levels);
    first(&hash.chain_update(digits.labels.as_deref().unwrap_or_default()).finalize())
}

/// A model with its name and its weights' digest: what turns images into files and back.
pub struct Codec<C> {
    chain: C,
    model: u8,
    weights: [u8; 4],
    /// The grey level of each pixel by itself, for the first images.
    alone: Vec<Quantized<Categorical>>,
    /// The mean length of an image coded so.
    alone_bits: f64,
}

impl<C: Chain> Codec<C> {
    /// For a model of this number with weights of this digest. `alone` codes the first
    /// images of a file, at a mean length of `alone_bits`.
    pub fn new(
        chain: C,
        model: u8,
        weights: [u8; 4],
        alone: &Marginals,
        alone_bits: f64,
    ) -> Self {
        let alone = alone.pixels().map(Categorical::from_logs).collect();
        Self { chain, model, weights, alone, alone_bits }
    }

    /// The model.
    pub fn chain(&self) -> &C {
        &self.chain
    }

    fn dim(&self) -> usize {
        self.alone.len()
    }

    /// How so many images are shared out.
    pub fn plan(&self, images: usize, labelled: bool) -> Plan {
        let labels = if labelled { images as f64 * (CLASSES as f64).log2() } else { 0.0 };
        Plan::new(images, labels, self.alone_bits, self.chain.pace())
    }

    // ANCHOR: encode
    /// The stack that holds these images: labels first, then some images pixel by pixel,
    /// then all others with the bits back. `seen` hears of the stack after every batch.
    fn stack(&self, digits: &Digits, mut seen: impl FnMut(&Stack)) -> Result<Stack> {
        let (d, mut stack) = (self.dim(), Stack::new(true));
        let symbols = |bytes: &[u8]| bytes.iter().map(|&k| k.into()).collect::<Vec<_>>();
        if let Some(labels) = &digits.labels {
            let label = Categorical::uniform(CLASSES);
            stack.push(&symbols(labels), &vec![&label; labels.len()])?;
        }
        let plan = self.plan(digits.levels.len() / d, digits.labels.is_some());
        let (alone, mut rest) = digits.levels.split_at(plan.alone * d);
        for image in alone.chunks(d) {
            stack.push(&symbols(image), &self.alone)?;
            seen(&stack);
        }
        for n in plan.batches {
            let (batch, others) = rest.split_at(n * d);
            push_images(&mut stack, &self.chain, batch, |_| {})?;
            seen(&stack);
            rest = others;
        }
        Ok(stack)
    }
    // ANCHOR_END: encode

    /// The file that holds these images. `seen` hears of the stack after every batch. Fails
    /// where they are more than a file may hold.
    pub fn encode(
        &self,
        digits: &Digits,
        format: Format,
        seen: impl FnMut(&Stack),
    ) -> Result<Vec<u8>> {
        let images = digits.levels.len() / self.dim();
        if images > MOST {
            return Err(Error::failure(format!(
                "a file holds at most {MOST} images, and these are {images}; make several"
            )));
        }
        let header = Header {
            model: self.model,
            format,
            labelled: digits.labels.is_some(),
            images,
            weights: self.weights,
            probe: self.probe()?,
            contents: contents(digits),
        };
        let head = header.bytes();
        let words = self.stack(digits, seen)?.into_words();
        let mut stack: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        stack.truncate(stack.iter().rposition(|&byte| byte != 0).map_or(0, |i| i + 1));
        Ok([&head[..], &checksum(&head, &stack), &stack].concat())
    }

    /// The images of a file, and how they are to be written. The error is half a sentence
    /// about the file.
    pub fn decode(&self, file: &[u8]) -> std::result::Result<(Digits, Format), String> {
        let (header, words) = Header::read(file)?;
        if (header.model, header.weights) != (self.model, self.weights) {
            return Err("was written with other weights than this program holds; decompress it with the program that wrote it".into());
        }
        if header.probe != self.probe().map_err(|e| e.to_string())? {
            return Err("was written where floating-point results differ from those of this machine; decompress it where it was written".into());
        }
        let unreadable = |e: Error| format!("cannot be decoded: {e}");
        let digits = self.digits(&header, words).map_err(unreadable)?;
        match digits.filter(|digits| contents(digits) == header.contents) {
            Some(digits) => Ok((digits, header.format)),
            None => Err("does not decode to the images that its header names, so nothing is written; get it again, or decompress it where it was written".into()),
        }
    }

    // ANCHOR: decode
    /// Undoes [`Self::stack`], from its last step to its first. `None` if something is left
    /// over.
    fn digits(&self, header: &Header, words: Vec<u64>) -> Result<Option<Digits>> {
        let plan = self.plan(header.images, header.labelled);
        let latents: usize = (1..=self.chain.layers()).map(|t| self.chain.width(t)).sum();
        let borrowed = (plan.batches.iter().sum::<usize>() * latents) as u64;
        let mut stack = Stack::from_words(words, true, borrowed)?;
        // The last image comes first.
        let mut images = Vec::with_capacity(plan.alone + plan.batches.len());
        for &n in plan.batches.iter().rev() {
            images.push(pop_images(&mut stack, &self.chain, n)?);
        }
        let bytes =
            |symbols: Vec<usize>| symbols.iter().map(|&k| k as u8).collect::<Vec<_>>();
        for _ in 0..plan.alone {
            images.push(bytes(stack.pop(&self.alone)));
        }
        let label = Categorical::uniform(CLASSES);
        let labels = || bytes(stack.pop(&vec![&label; header.images]));
        let labels = header.labelled.then(labels);
        images.reverse();
        let digits = Digits { levels: images.concat(), labels };
        Ok(stack.is_empty().then_some(digits))
    }
    // ANCHOR_END: decode

    // ANCHOR: probe
    /// The digest of what the model says of one image and one row of latents, at some of
    /// its layers.
    fn probe(&self) -> Result<[u8; 4]> {
        let (chain, mut hash) = (&self.chain, Sha256::new());
        let image: Vec<u8> = (0..self.dim()).map(|i| (i % 7) as u8).collect();
        let mut normals = chain.first(&image)?;
        let wave = |t: usize, phase: usize| -> Vec<f64> {
            let count = chain.bins(t).count();
            let bins: Vec<usize> =
                (0..chain.width(t)).map(|i| (i * 97 + phase * 31) % count).collect();
            chain.bins(t).values(&bins)
        };
        let top = chain.layers();
        for t in (2..=top).step_by((top / 8).max(1)) {
            normals.extend(chain.up(t, &wave(t - 1, t))?);
            normals.extend(chain.down(t, &wave(t, t))?);
        }
        for normal in normals {
            hash.update(normal.mean.to_le_bytes());
            hash.update(normal.deviation.to_le_bytes());
        }
        let pixels = chain.pixels(&wave(1, 0))?;
        for pixel in pixels.iter().chain(&self.alone) {
            let count = pixel.0.count();
            (0..count).for_each(|k| hash.update(pixel.interval(k).0.to_le_bytes()));
        }
        Ok(first(&hash.finalize()))
    }
    // ANCHOR_END: probe
}
