//! Chapter 10: bits back.

use std::f64::consts::LN_2;

use constriction::stream::model::EncoderModel;
use elbo_to_diffusion::codec::{Bins, Categorical, Cumulative, Normal, PRECISION};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::support::{Outcome, assert_close, assert_relative, random_table, rng};
use crate::tex::{Values, digest, tex};

/// A push as the page prints it.
fn push(s: u128, f: u128, from: u128, r: u32) -> u128 {
    ((s / f) << r) + from + s % f
}

/// A table of so many rows, each a distribution.
fn conditional(rng: &mut ChaCha8Rng, rows: usize, columns: usize) -> Vec<Vec<f64>> {
    (0..rows).map(|_| random_table(rng, columns)).collect()
}

/// The mean length of a code for p under P, summed symbol by symbol, against the entropy of
/// P and the divergence from a formula of its own, sum P (log P - log p). Kind: enumeration.
#[test]
fn cross_entropy() {
    const TOLERANCE: f64 = 1e-12;
    let page = tex("cross-entropy");
    let mut rng = rng(1001);
    for count in 2..12 {
        let (truth, model) = (random_table(&mut rng, count), random_table(&mut rng, count));
        let sum = |f: &dyn Fn(f64, f64) -> f64| {
            truth.iter().zip(&model).map(|(t, m)| f(*t, *m)).sum::<f64>()
        };
        let values = Values::default()
            .number(r"\E{P}{\ell(x)}", sum(&|t, m| t * (1.0 / m).log2()))
            .number("H(P)", sum(&|t, _| -t * t.ln()))
            .number(r"\KL{P}{p}", sum(&|t, m| t * (t / m).ln()));
        let sides = page.sides(&values);
        assert_close(sides[0], sides[1], TOLERANCE);
    }
}

/// Pops every push of every symbol of a model with 16 units, for all stacks below 2000, and
/// finds the symbol by its units. Kind: enumeration.
#[test]
fn ans_pop() {
    digest("ans-pop", "b907ceb06e9f");
    const TOLERANCE: f64 = 0.0;
    let (units, r) = ([10_u128, 5, 1], 4);
    for s in 0..2000_u128 {
        let mut from = 0;
        for f in units {
            let pushed = push(s, f, from, r);
            let u = pushed % (1 << r);
            assert!((from..from + f).contains(&u), "the last bits name the symbol");
            let popped = f * (pushed >> r) + u - from;
            assert_close(popped as f64, s as f64, TOLERANCE);
            from += f;
        }
    }
}

/// The growth of log2 s over a push against the length of the symbol's code, for large
/// stacks: they differ by what a quotient of s / f loses by rounding, and no more. Kind:
/// Monte Carlo over stacks, with a bound on every draw.
#[test]
fn ans_length() {
    digest("ans-length", "ff27cafaeec1");
    let mut rng = rng(1002);
    for _ in 0..10_000 {
        let (r, s) = (12, rng.random_range(1_u128 << 40..1 << 60));
        let f = rng.random_range(1..1_u128 << r);
        let from = rng.random_range(0..=(1 << r) - f);
        let growth = (push(s, f, from, r) as f64).log2() - (s as f64).log2();
        let length = f64::from(r) - (f as f64).log2();
        // A part in s / f of the number, in bits.
        let tolerance = 2.0 * f as f64 / s as f64 / LN_2 + 1e-13;
        assert_close(growth, length, tolerance);
    }
}

/// A random model of a latent with four values and a symbol with five: p(z), p(x|z), q(z|x).
type Model = (Vec<f64>, Vec<Vec<f64>>, Vec<Vec<f64>>);

fn model(rng: &mut ChaCha8Rng) -> Model {
    (random_table(rng, 4), conditional(rng, 4, 5), conditional(rng, 5, 4))
}

/// The mean over q of the bits pushed less those popped, against the ELBO from the evidence
/// and the gap to the posterior, log p(x) - KL(q, p(z|x)). Kind: enumeration.
#[test]
fn bits_back_mean() {
    const TOLERANCE: f64 = 1e-12;
    let page = tex("bits-back-mean");
    let mut rng = rng(1003);
    for _ in 0..20 {
        let (prior, likelihood, q) = model(&mut rng);
        for (x, q) in q.iter().enumerate() {
            let joint: Vec<f64> = (0..4).map(|z| prior[z] * likelihood[z][x]).collect();
            let evidence: f64 = joint.iter().sum();
            let gap: f64 = (0..4).map(|z| q[z] * (q[z] * evidence / joint[z]).ln()).sum();
            let length =
                |z: usize| -likelihood[z][x].log2() - prior[z].log2() + q[z].log2();
            let mean: f64 = (0..4).map(|z| q[z] * length(z)).sum();
            let values = Values::default()
                .number(r"\E{q(z \mid x)}{\ell(x, z)}", mean)
                .number(r"\ELBO", evidence.ln() - gap);
            let sides = page.sides(&values);
            assert_close(sides[0], sides[1], TOLERANCE);
        }
    }
}

/// The length with the posterior as q, of every symbol with every latent, against the
/// evidence; and not so for another q. Kind: enumeration.
#[test]
fn bits_back_exact() {
    digest("bits-back-exact", "ac36eb78d9ff");
    const TOLERANCE: f64 = 1e-12;
    let mut rng = rng(1004);
    let (prior, likelihood, other) = model(&mut rng);
    let mut largest: f64 = 0.0;
    for x in 0..5 {
        let evidence: f64 = (0..4).map(|z| prior[z] * likelihood[z][x]).sum();
        for z in 0..4 {
            let length = |q: f64| -likelihood[z][x].log2() - prior[z].log2() + q.log2();
            let posterior = prior[z] * likelihood[z][x] / evidence;
            assert_close(length(posterior), -evidence.log2(), TOLERANCE);
            largest = largest.max((length(other[x][z]) + evidence.log2()).abs());
        }
    }
    assert!(largest > 0.1, "with another q, the latent matters");
}

/// The mean over all paths of the page's sum, against the ELBO of the denoising form with
/// the encoder turned round by Bayes' rule, for a chain of three latents with three values
/// each. Kind: enumeration.
#[test]
fn chain_length() {
    digest("chain-length", "b235452e137a");
    const TOLERANCE: f64 = 1e-12;
    const K: usize = 3;
    let mut rng = rng(1005);
    // One x: q(z_1), q(z_2|z_1), q(z_3|z_2); p(x|z_1), p(z_1|z_2), p(z_2|z_3), p(z_3).
    let first = random_table(&mut rng, K);
    let [up_2, up_3, down_1, down_2] = std::array::from_fn(|_| conditional(&mut rng, K, K));
    let (decoder, prior) = (random_table(&mut rng, K), random_table(&mut rng, K));
    let mut mean = 0.0;
    for a in 0..K {
        for b in 0..K {
            for c in 0..K {
                let length = (first[a] / decoder[a]).log2()
                    + (up_2[a][b] / down_1[b][a]).log2()
                    + (up_3[b][c] / down_2[c][b]).log2()
                    - prior[c].log2();
                mean += first[a] * up_2[a][b] * up_3[b][c] * length;
            }
        }
    }
    // Marginals upwards, then each step downwards given the noisier latent.
    let step = |below: &[f64], up: &[Vec<f64>]| -> Vec<f64> {
        (0..K).map(|b| (0..K).map(|a| below[a] * up[a][b]).sum()).collect()
    };
    let second = step(&first, &up_2);
    let third = step(&second, &up_3);
    let denoising = |below: &[f64], up: &[Vec<f64>], above: &[f64], down: &[Vec<f64>]| {
        let kl = |b: usize| -> f64 {
            let back = |a: usize| below[a] * up[a][b] / above[b];
            (0..K).map(|a| back(a) * (back(a) / down[b][a]).ln()).sum()
        };
        (0..K).map(|b| above[b] * kl(b)).sum::<f64>()
    };
    let reconstruction: f64 = (0..K).map(|a| first[a] * decoder[a].ln()).sum();
    let prior_kl: f64 = (0..K).map(|c| third[c] * (third[c] / prior[c]).ln()).sum();
    let elbo = reconstruction
        - prior_kl
        - denoising(&first, &up_2, &second, &down_1)
        - denoising(&second, &up_3, &third, &down_2);
    assert_relative(mean, -elbo / LN_2, TOLERANCE);
}

/// The divergence between two Gaussians in bins, from the distribution function at the edges
/// of the page, against the closed form between densities: never more, and as much in the
/// limit of fine bins. Kind: closed form.
#[test]
fn binned_kl() -> Outcome {
    digest("binned-kl", "ea0c5bc96120");
    const TOLERANCE: f64 = 1e-4;
    let mut rng = rng(1006);
    for _ in 0..20 {
        // q is the narrower of the two, as an encoder is.
        let (m, s) = (rng.random_range(-0.7..0.7), rng.random_range(0.2..0.5_f64));
        let (n, t) = (rng.random_range(-0.7..0.7), rng.random_range(0.5..1.0_f64));
        let exact = (t / s).ln() + (s * s + (m - n) * (m - n)) / (2.0 * t * t) - 0.5;
        let shares = |bits: u32, mean: f64, deviation: f64| -> Vec<f64> {
            let bins = Bins::new(bits);
            let model = bins.under(Normal { mean, deviation }).0;
            let mut below: Vec<f64> = (1..bins.count()).map(|k| model.below(k)).collect();
            below.insert(0, 0.0);
            below.push(1.0);
            below.windows(2).map(|pair| pair[1] - pair[0]).collect()
        };
        let binned = |bits| -> f64 {
            let (q, p) = (shares(bits, m, s), shares(bits, n, t));
            // Shares that rounding has made of differences of numbers near one add nothing.
            let pairs = q.iter().zip(&p).filter(|(q, _)| **q > 1e-14);
            pairs.map(|(q, p)| q * (q / p).ln()).sum()
        };
        let lengths = [2, 4, 6, 8, 12].map(binned);
        assert!(lengths.windows(2).all(|pair| pair[0] <= pair[1] + 1e-9), "{lengths:?}");
        assert!(lengths.iter().all(|length| *length <= exact + 1e-9));
        assert_close(lengths[4], exact, TOLERANCE);
    }
    Ok(())
}

/// Two units for each symbol, summed, against the share of all units; and the least share of
/// a symbol that is impossible in floating point is just these two. Kind: enumeration.
#[test]
fn leaked_share() {
    const TOLERANCE: f64 = 1e-15;
    let page = tex("leaked-share");
    for count in [2_usize, 17, 4096] {
        let impossible = (0..count).map(|k| if k == 0 { 1.0 } else { 0.0 });
        let model = Categorical::new(impossible);
        let units = |k: usize| {
            model.left_cumulative_and_probability(k).map_or(0, |(_, units)| units.get())
        };
        assert!((1..count).all(|k| units(k) == 2));
        let values =
            Values::default().number("r", PRECISION as f64).number("K", count as f64);
        let sides = page.sides(&values);
        assert_relative(sides[0], sides[1], TOLERANCE);
        let others: u64 = (1..count).map(units).sum();
        let share = (others + 2) as f64 / (1_u64 << PRECISION) as f64;
        assert_relative(sides[1], share, TOLERANCE);
    }
}
