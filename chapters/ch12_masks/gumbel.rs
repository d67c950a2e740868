//! Draws by Gumbel noise in 32-bit floats, counted out.

/// The uniform numbers that generators of 32-bit floats return are multiples of 2^-24.
const GRID: u32 = 1 << 24;

// ANCHOR: gumbel
/// Gumbel noise from the uniform number j / 2^24, in f32, as one would write it.
fn gumbel(j: u32) -> f32 {
    let uniform = j as f32 / GRID as f32;
    -(-uniform.ln()).ln()
}

/// How often the first of two outcomes, of probability `p`, has the larger log probability
/// plus Gumbel noise, in f32: every pair of uniform numbers is counted. Those that are zero,
/// of which the logarithm is infinite, are left out.
pub fn drawn_in_f32(p: f64) -> f64 {
    let (rare, common) = (p.ln() as f32, (-p).ln_1p() as f32);
    let mut pairs = 0.0;
    // From the largest number on down, until the rare outcome wins against none.
    for j in (1..GRID).rev() {
        let score = rare + gumbel(j);
        // The first number with which the common outcome reaches this score.
        let (mut low, mut high) = (1, GRID);
        while low < high {
            let middle = low + (high - low) / 2;
            if common + gumbel(middle) < score {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low == 1 {
            break;
        }
        pairs += f64::from(low - 1);
    }
    pairs / f64::from(GRID - 1).powi(2)
}
// ANCHOR_END: gumbel

/// What the formula says of the same, as a share of `p`. Equation `gumbel-bias`.
pub fn share(p: f64) -> f64 {
    let a = 1.0 / (p * f64::from(GRID));
    if a > 700.0 { 0.0 } else { a / a.exp_m1() }
}
