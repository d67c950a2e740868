//! A model so small that everything about it is known.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    codec::{Categorical, Quantized, Stack},
    error::Result,
    random::{Stream, rng},
};
use rand::{RngExt, rand_core::Rng};

/// Symbols that are coded.
const SYMBOLS: usize = 100_000;

// ANCHOR: small
/// p(z) of a latent with two values.
pub const PRIOR: [f64; 2] = [2.0 / 3.0, 1.0 / 3.0];
/// p(x|z) of a symbol with four.
pub const LIKELIHOOD: [[f64; 4]; 2] = [[0.55, 0.33, 0.10, 0.02], [0.02, 0.10, 0.33, 0.55]];

/// p(z|x) if the prior were this one: the posterior where it is.
pub fn posterior(prior: [f64; 2], x: usize) -> [f64; 2] {
    let joint = [0, 1].map(|z| prior[z] * LIKELIHOOD[z][x]);
    joint.map(|p| p / (joint[0] + joint[1]))
}
// ANCHOR_END: small

/// p(x).
pub fn evidence(x: usize) -> f64 {
    (0..2).map(|z| PRIOR[z] * LIKELIHOOD[z][x]).sum()
}

/// -ELBO of a symbol with this q(z|x), in bits.
pub fn negative_elbo(q: [f64; 2], x: usize) -> f64 {
    (0..2).map(|z| q[z] * (q[z] / (PRIOR[z] * LIKELIHOOD[z][x])).log2()).sum()
}

// ANCHOR: code
/// The length of these symbols on an empty stack, in bits a symbol.
pub fn net_length(
    symbols: &[usize],
    q: impl Fn(usize) -> [f64; 2],
    pads: bool,
) -> Result<f64> {
    let prior = [Categorical::new(PRIOR)];
    let likelihood = LIKELIHOOD.map(|p| [Categorical::new(p)]);
    let q: [[Quantized<Categorical>; 1]; 4] =
        std::array::from_fn(|x| [Categorical::new(q(x))]);
    let mut stack = Stack::new(pads);
    for &x in symbols {
        let z = stack.borrow(&q[x]); // shortens the stack by -log2 q(z|x)
        stack.push(&[x], &likelihood[z[0]])?; // lengthens it by -log2 p(x|z)
        stack.push(&z, &prior)?; // and by -log2 p(z)
    }
    Ok(stack.bits() / symbols.len() as f64)
}
// ANCHOR_END: code

/// Symbols drawn from the model.
pub fn draw(count: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut one = |p: &[f64]| {
        let mut left = rng.random::<f64>();
        let above = |p: &&f64| {
            left -= **p;
            left >= 0.0
        };
        p.iter().take_while(above).count().min(p.len() - 1)
    };
    (0..count)
        .map(|_| {
            let z = one(&PRIOR);
            one(&LIKELIHOOD[z])
        })
        .collect()
}

/// One encoder: -ELBO of the symbols, and their length without and with pads.
pub struct Row {
    name: &'static str,
    bits: [f64; 3],
}

pub struct Small {
    /// -log2 P(data).
    evidence: f64,
    rows: Vec<Row>,
}

pub fn measure(seed: u64) -> Result<Small> {
    let symbols = draw(SYMBOLS, &mut rng(seed, Stream::Coding, 0));
    let mean = |f: &dyn Fn(usize) -> f64| {
        symbols.iter().map(|&x| f(x)).sum::<f64>() / symbols.len() as f64
    };
    let row = |name, q: &dyn Fn(usize) -> [f64; 2]| -> Result<Row> {
        let elbo = mean(&|x| negative_elbo(q(x), x));
        let [plain, padded] = [false, true].map(|pads| net_length(&symbols, q, pads));
        Ok(Row { name, bits: [elbo, plain?, padded?] })
    };
    let swapped = [PRIOR[1], PRIOR[0]];
    let rows = vec![
        row("the posterior", &|x| posterior(PRIOR, x))?,
        row("posterior of the swapped prior", &|x| posterior(swapped, x))?,
        row("one half each", &|_| [0.5, 0.5])?,
    ];
    Ok(Small { evidence: mean(&|x| -evidence(x).log2()), rows })
}

pub fn report(chapter: &mut Chapter, small: &Small) {
    let report = &mut chapter.report;
    report.section("A small model (bits a symbol)");
    let number = |bits| Number::exact(bits, 4);
    let rows: Vec<_> = small
        .rows
        .iter()
        .map(|row| (row.name.to_string(), row.bits.map(number).to_vec()))
        .collect();
    report.table(&["encoder q(z|x)", "-ELBO", "length", "length with pads"], &rows);
    report.row("-log2 of the data's probability", &number(small.evidence), "bits");
    let [elbo, plain, _] = small.rows[2].bits;
    report.row(
        "dirty bits of the last",
        &Number::exact(100.0 * (plain / elbo - 1.0), 1),
        "%",
    );
}
