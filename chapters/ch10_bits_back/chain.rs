//! What coding does to the stack, and the two choices behind a chain: its steps and its
//! bins.

use burn::tensor::Device;
use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    codec::{Categorical, Chain, Stack, push_images},
    data::{Dataset, Images},
    error::Result,
    evaluation::{Bound, Draws},
    figure::{Plot, Series, Style},
    vdm::{Linear, Schedule},
};

use super::models::{FINENESS, LATENTS, Placed, Vdm};

/// Images that are coded side by side where the stack can lend to so many.
const SIDE_BY_SIDE: usize = 16;
/// Images on which bins and steps are compared.
const COMPARED: usize = 96;

/// A stack with plenty of bits to borrow, all bytes the same: another byte, other latents.
fn full_stack(byte: usize) -> Result<Stack> {
    let (mut stack, uniform) = (Stack::new(true), Categorical::uniform(256));
    stack.push(&[byte; 4000], &vec![&uniform; 4000])?;
    Ok(stack)
}

/// The byte that most stacks are filled with.
const FILLED: usize = 0x5a;

/// The grey levels of all images.
pub fn levels(images: &Images) -> Vec<u8> {
    images.iter().flatten().copied().collect()
}

/// What coding images did to a stack.
pub struct Effect {
    /// How much longer it is, in bits per dimension.
    pub net: f64,
    /// How much of it was borrowed at most, in bits an image.
    pub borrowed: f64,
}

impl Effect {
    /// On a stack that is filled with this byte.
    pub fn of(chain: &impl Chain, images: &Images, byte: usize) -> Result<Self> {
        let (mut stack, levels) = (full_stack(byte)?, levels(images));
        let (start, mut borrowed) = (stack.bits(), 0.0_f64);
        for batch in levels.chunks(SIDE_BY_SIDE * images.dim()) {
            let (before, n) = (stack.bits(), (batch.len() / images.dim()) as f64);
            push_images(&mut stack, chain, batch, |stack| {
                borrowed = borrowed.max((before - stack.bits()) / n);
            })?;
        }
        Ok(Self { net: (stack.bits() - start) / levels.len() as f64, borrowed })
    }
}

/// The length of the stack after every step, for one image.
pub struct Walk {
    bits: Vec<f64>,
}

pub fn walk(data: &Dataset, vdm: &Vdm, device: &Device) -> Result<Walk> {
    let (mut stack, chain) =
        (full_stack(FILLED)?, vdm.chain(data, LATENTS, FINENESS, device));
    let start = stack.bits();
    let mut bits = vec![0.0];
    let image = levels(&data.test.first(1));
    push_images(&mut stack, &chain, &image, |stack| bits.push(stack.bits() - start))?;
    Ok(Walk { bits })
}

pub fn report_walk(chapter: &mut Chapter, walk: &Walk) -> Result<()> {
    let bits = &walk.bits;
    let lowest = bits.iter().copied().fold(0.0, f64::min);
    let report = &mut chapter.report;
    report.section("One image");
    // Half a dozen standard errors: every machine draws other latents.
    report.row("borrowed for z_1", &Number::within(-bits[1], 20.0, 0), "bits");
    report.row("borrowed at most", &Number::within(-lowest, 60.0, 0), "bits");
    report.row("left in the end", &Number::within(bits[bits.len() - 1], 45.0, 0), "bits");
    // The step from z_{t-1} to z_t borrows at place 2 t - 1 and pays at 2 t.
    let points = (0..).zip(bits).map(|(i, bits)| (f64::from(i) / 2.0, *bits));
    let series = vec![Series::new("", Style::Line, points)];
    let plot = Plot {
        series,
        ..Plot::curve("layer t of latents", "bits on the stack, against before", [])
    };
    chapter.figure("stack", &plot.draw()?)
}

/// Lengths with bins of several widths, and bounds with steps in several places.
pub struct Choices {
    /// The bound of the chain that files are coded with, on the images of `bins`.
    bound: f64,
    bins: Vec<(f64, Effect)>,
    steps: Vec<(usize, [f64; 2])>,
}

pub fn choices(
    chapter: &Chapter,
    data: &Dataset,
    vdm: &Vdm,
    device: &Device,
) -> Result<Choices> {
    let images = data.validation.first(COMPARED);
    let draws = Draws { passes: 2, seed: chapter.seed() };
    let bound = |gammas: Vec<f64>| -> Result<f64> {
        let denoise = |z, gamma| vdm.denoise(z, gamma);
        let bound = Bound::discrete(&images, &gammas, denoise, draws, device)?;
        Ok(data.bits_per_dim(bound.total()))
    };
    let linear = Linear { gamma_min: Placed.gamma(0.0), gamma_max: Placed.gamma(1.0) };
    let steps = [50, LATENTS, 2 * LATENTS].into_iter().map(|latents| {
        Ok((latents, [bound(linear.grid(latents))?, bound(Placed.grid(latents))?]))
    });
    let steps = steps.collect::<Result<Vec<_>>>()?;
    let bins = [1.0, 2.0, 4.0, 8.0].into_iter().map(|fineness| {
        let chain = vdm.chain(data, LATENTS, fineness, device);
        Ok((fineness, Effect::of(&chain, &images, FILLED)?))
    });
    Ok(Choices { bound: steps[1].1[1], bins: bins.collect::<Result<_>>()?, steps })
}

/// How often a latent is popped that belongs to nobody: two units for each bin.
fn report_precision(chapter: &mut Chapter, data: &Dataset) {
    let latents = (data.test.len() * data.test.dim() * LATENTS) as f64;
    let row = |(units, bins): (i32, i32)| {
        let share = 2_f64.powi(1 + bins - units);
        let numbers = vec![
            Number::scientific(share, 1),
            Number::exact(share * latents, if share * latents < 1.0 { 4 } else { 0 }),
        ];
        (format!("2^{units} units, 2^{bins} bins"), numbers)
    };
    let rows = [(24, 16), (32, 16), (32, 12), (48, 12)].map(row);
    chapter.report.section("Latents of nobody");
    chapter.report.table(&["precision", "share", "in the test set"], &rows);
}

pub fn report_choices(chapter: &mut Chapter, data: &Dataset, choices: &Choices) {
    report_precision(chapter, data);
    let report = &mut chapter.report;
    report.section("Where the steps go");
    let bits = |value| Number::within(value, 0.02, 3);
    let rows: Vec<_> = choices
        .steps
        .iter()
        .map(|(latents, bounds)| (latents.to_string(), bounds.map(bits).to_vec()))
        .collect();
    report.table(&["latents T", "linear (bits/dim)", "placed (bits/dim)"], &rows);

    report.section("How fine the bins are");
    let row = |(fineness, effect): &(f64, Effect)| {
        let numbers = vec![
            Number::within(effect.net, 0.04, 3),
            Number::within(effect.borrowed, 30.0, 0),
        ];
        (fineness.to_string(), numbers)
    };
    let rows: Vec<_> = choices.bins.iter().map(row).collect();
    report.table(&["bins in a deviation", "length (bits/dim)", "borrowed (bits)"], &rows);
    report.row("bound of this chain", &bits(choices.bound), "bits/dim");
}
