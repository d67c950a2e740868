//! Functions of single numbers and sums of rows, written so that a loop of them becomes
//! vector instructions: no branch, no table.
//!
//! A number below 1.2e-38 that is not zero is subnormal, and with such a number an
//! instruction takes a hundred times as long on some processors. They arise where what is
//! tiny is multiplied again and again, such as the probability of a grey level that is out
//! of the question. So what is below [`LEAST`] is made zero where it arises. Next to the
//! numbers that a network adds it to, it was lost in any case.

use super::composed::RMS_EPSILON;

/// Runs loops, compiled for the vector unit that is found at run time.
#[cfg(not(target_family = "wasm"))]
#[inline(always)]
pub(super) fn vectorized<T>(loops: impl FnOnce() -> T) -> T {
    pulp::Arch::new().dispatch(loops)
}

/// Runs loops. What a page knows of vectors is settled when it is compiled: a module with
/// instructions that a browser does not know is refused as a whole.
#[cfg(target_family = "wasm")]
#[inline(always)]
pub(super) fn vectorized<T>(loops: impl FnOnce() -> T) -> T {
    loops()
}

/// 2^-56 = 1.4e-17. The product of two such numbers, 2^-112, is far enough from the
/// subnormal ones, below 2^-126, for a factor of 6e-5 more, and the sum of such a number
/// and one above 5e-10 is the latter.
pub(super) const LEAST: f32 = 1.0 / (1_u64 << 56) as f32;

/// x, or zero if it is smaller than [`LEAST`].
#[inline(always)]
pub(super) fn flush(x: f32) -> f32 {
    if x.abs() < LEAST { 0.0 } else { x }
}

/// The logarithm of [`LEAST`].
const LOG_LEAST: f32 = -56.0 * std::f32::consts::LN_2;

/// exp(x) with a relative error of at most 2e-7; zero where that is smaller than [`LEAST`],
/// and never more than its inverse.
///
/// The method is that of Cephes' `expf` (Moshier, 1992): exp(x) = 2^n exp(r) with |r| <=
/// ln(2) / 2 and a polynomial for the rest.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// Adding this to a small number leaves its nearest integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let bounded = x.clamp(LOG_LEAST, -LOG_LEAST);
    let shifted = bounded * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, of which the first is exact in a product with n.
    let r = bounded - n * 0.693_359_4 - n * -2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let scale = f32::from_bits(
        shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23,
    );
    // A factor of zero. Were the result chosen instead, the compiler would leave out the
    // bound, and compute something subnormal that nobody chooses.
    let scale = if x < LOG_LEAST { 0.0 } else { scale };
    (p * r * r + r + 1.0) * scale
}

/// 1 / (1 + exp(-x)), or zero if that is smaller than [`LEAST`].
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    if x < LOG_LEAST { 0.0 } else { 1.0 / (1.0 + exp(-x)) }
}

/// A number below which [`sine`] knows between which quarters of a circle x lies.
pub(super) const CIRCLES: f32 = 1e5;

/// sin(x + quarters pi / 2) for |x| below [`CIRCLES`], with an error of at most .57 units in
/// the last place.
///
/// The polynomials in f64 are those of `sinf` and `cosf` in the GNU C library, from ARM's
/// optimized routines (Dijkstra, 2018). Of 24.8 million floats that were compared, all had
/// the same bits as there.
#[inline(always)]
pub(super) fn sine(x: f32, quarters: u64) -> f32 {
    /// As in [`exp`], for f64.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let x = f64::from(x);
    let shifted = x * std::f64::consts::FRAC_2_PI + ROUND;
    let (n, quarter) = (shifted - ROUND, shifted.to_bits().wrapping_add(quarters));
    // pi / 2 in two parts, of which the first is exact in a product with n.
    let r = x - n * 1.570_796_326_734_125_6 - n * 6.077_100_506_506_192e-11;
    let s = r * r;
    let sine = r
        + r * s * -0.166_666_549_437_010_84
        + r * s * s * (0.008_332_178_146_138_854 + s * -0.000_195_172_989_813_857_25);
    let cosine = 1.0
        + s * -0.499_999_997_251_082_24
        + s * s * 0.041_666_623_324_344_516
        + s * s * s * (-0.001_388_676_379_437_604 + s * 2.439_045_070_356_454_2e-5);
    let value = if quarter & 1 == 0 { sine } else { cosine };
    (if quarter & 2 == 0 { value } else { -value }) as f32
}

/// The sum of `term(a, b)` over two rows of the same length, in sixteen sums side by side,
/// for one sum would be one addition after the other.
#[inline(always)]
pub(super) fn sum(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0; 16];
    let ((a, last_a), (b, last_b)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += term(*a, *b);
        }
    }
    for ((sum, a), b) in sums.iter_mut().zip(last_a).zip(last_b) {
        *sum += term(*a, *b);
    }
    sums.iter().sum()
}

/// The sum of the products of two rows of the same length, in sixteen sums as well.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 16];
    let (a, b) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum::<f32>();
    for (a, b) in a.zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// 1 / sqrt(mean(h^2) + 1e-5).
#[inline(always)]
pub(super) fn inverse_norm(h: &[f32]) -> f32 {
    1.0 / (sum(h, h, |h, _| h * h) / h.len() as f32 + RMS_EPSILON as f32).sqrt()
}

/// [`inverse_norm`] over the channels of each of so many pixels of an image.
#[inline(always)]
pub(super) fn inverse_norms(h: &[f32], pixels: usize) -> Vec<f32> {
    let channels = (h.len() / pixels) as f32;
    let mut norms = vec![0.0; pixels];
    for channel in h.chunks_exact(pixels) {
        norms.iter_mut().zip(channel).for_each(|(sum, h)| *sum += h * h);
    }
    for norm in &mut norms {
        *norm = 1.0 / (*norm / channels + RMS_EPSILON as f32).sqrt();
    }
    norms
}
