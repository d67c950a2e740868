//! A chain of latents as its coder sees it, and how images go onto a stack and come back.

use super::{
    quantized::{Binned, Bins, Categorical, Quantized},
    stack::Stack,
};
use crate::error::Result;

/// N(mean, deviation^2), of one dimension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normal {
    /// Its mean.
    pub mean: f64,
    /// Its standard deviation.
    pub deviation: f64,
}

/// What coding an image does to the stack, roughly, in bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// How much is borrowed at most before it is paid back.
    pub borrowed: f64,
    /// How much longer the stack is afterwards.
    pub net: f64,
}

/// A model with latents z_1, ..., z_T above the data x, for n images side by side: an
/// encoder q(z_1|x), q(z_2|z_1), ..., and p(z_T) = N(0, I), p(z_{T-1}|z_T), ...,
/// p(x|z_1).
///
/// Latents are rows of numbers, image after image.
pub trait Chain {
    /// Number of layers of latents, T.
    fn layers(&self) -> usize;
    /// Dimensions of z_t, t = 1, ..., T.
    fn width(&self, t: usize) -> usize;
    /// The bins of each dimension of z_t.
    fn bins(&self, t: usize) -> &Bins;
    /// What an image does to the stack.
    fn pace(&self) -> Pace;
    /// q(z_1 | x), from grey levels.
    fn first(&self, levels: &[u8]) -> Result<Vec<Normal>>;
    /// q(z_t | z_{t-1}), t = 2, ..., T.
    fn up(&self, t: usize, below: &[f64]) -> Result<Vec<Normal>>;
    /// p(z_{t-1} | z_t), t = 2, ..., T.
    fn down(&self, t: usize, above: &[f64]) -> Result<Vec<Normal>>;
    /// p(x | z_1): a distribution of the grey level of each pixel.
    fn pixels(&self, bottom: &[f64]) -> Result<Vec<Quantized<Categorical>>>;
}

/// Each latent's distribution over its bins.
fn over(bins: &Bins, normals: Vec<Normal>) -> Vec<Quantized<Binned<'_>>> {
    normals.into_iter().map(|normal| bins.under(normal)).collect()
}

// ANCHOR: push_images
/// Codes images side by side: borrows one layer, pays with the one below, and so on up.
/// `seen` hears of the stack after every step.
pub fn push_images(
    stack: &mut Stack,
    chain: &impl Chain,
    levels: &[u8], // the grey levels of n images, n d of them
    mut seen: impl FnMut(&Stack),
) -> Result<()> {
    let mut z = stack.borrow(&over(chain.bins(1), chain.first(levels)?));
    seen(stack);
    let levels: Vec<usize> = levels.iter().map(|&k| usize::from(k)).collect();
    stack.push(&levels, &chain.pixels(&chain.bins(1).values(&z))?)?;
    seen(stack);
    for t in 2..=chain.layers() {
        let (bins, below) = (chain.bins(t), chain.bins(t - 1));
        let above = stack.borrow(&over(bins, chain.up(t, &below.values(&z))?));
        seen(stack);
        stack.push(&z, &over(below, chain.down(t, &bins.values(&above))?))?;
        seen(stack);
        z = above;
    }
    let prior = chain.bins(chain.layers()).prior();
    stack.push(&z, &vec![&prior; z.len()])?;
    seen(stack);
    Ok(())
}
// ANCHOR_END: push_images

// ANCHOR: pop_images
/// The grey levels of the n images that were coded last: every step of [`push_images`]
/// undone, from the last to the first.
pub fn pop_images(stack: &mut Stack, chain: &impl Chain, n: usize) -> Result<Vec<u8>> {
    let top = chain.layers();
    let prior = chain.bins(top).prior();
    let mut z = stack.pop(&vec![&prior; n * chain.width(top)]);
    for t in (2..=top).rev() {
        let (bins, bins_below) = (chain.bins(t), chain.bins(t - 1));
        let below = stack.pop(&over(bins_below, chain.down(t, &bins.values(&z))?));
        stack.put_back(&z, &over(bins, chain.up(t, &bins_below.values(&below))?))?;
        z = below;
    }
    let levels = stack.pop(&chain.pixels(&chain.bins(1).values(&z))?);
    let levels: Vec<u8> = levels.into_iter().map(|k| k as u8).collect();
    stack.put_back(&z, &over(chain.bins(1), chain.first(&levels)?))?;
    Ok(levels)
}
// ANCHOR_END: pop_images
