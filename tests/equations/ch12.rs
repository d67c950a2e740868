//! Chapter 12: masked diffusion, by enumeration of masks, paths and orders.

use elbo_to_diffusion::{
    masks::{MaskSchedule, reveal_probability},
    oracle::{MaskedModel, PixelTable, Rule, masking::orders},
};
use rand::RngExt;

use crate::support::{Outcome, assert_close, assert_relative, random_table, rng};
use crate::tex::{Values, digest, tex};

/// Pixels and levels of the images that are enumerated.
const PIXELS: usize = 3;
const LEVELS: usize = 3;

/// A network that says anything: for each pixel and all that may be seen, some
/// distribution, and these fit to no common one.
fn any_network(
    pixels: usize,
    seed: u64,
) -> MaskedModel<impl Fn(&[Option<usize>], usize) -> Vec<f64>> {
    let states = (LEVELS + 1).pow(pixels as u32);
    let mut rng = rng(seed);
    let tables: Vec<Vec<f64>> =
        (0..states * pixels).map(|_| random_table(&mut rng, LEVELS)).collect();
    let predict = move |seen: &[Option<usize>], i: usize| {
        let digit = |n: usize, k: &Option<usize>| n * (LEVELS + 1) + k.map_or(0, |k| k + 1);
        tables[seen.iter().fold(0, digit) * pixels + i].clone()
    };
    MaskedModel { pixels, levels: LEVELS, predict }
}

/// abar_0 = 1 > ... > abar_T = 0, at random places.
fn any_chain(steps: usize, seed: u64) -> Vec<f64> {
    let mut rng = rng(seed);
    let mut abar: Vec<f64> = (1..steps).map(|_| rng.random_range(0.02..0.98)).collect();
    abar.sort_by(|a, b| b.total_cmp(a));
    [vec![1.0], abar, vec![0.0]].concat()
}

/// The transition of one pixel, [seen, masked] by [seen, masked].
fn step(alpha: f64) -> [[f64; 2]; 2] {
    [[alpha, 1.0 - alpha], [0.0, 1.0]]
}

fn product(a: [[f64; 2]; 2], b: [[f64; 2]; 2]) -> [[f64; 2]; 2] {
    [0, 1].map(|i| [0, 1].map(|j| a[i][0] * b[0][j] + a[i][1] * b[1][j]))
}

/// The products of the transition matrices of ten random steps, against prod alpha and its
/// complement. Kind: closed form.
#[test]
fn mask_marginal() {
    digest("mask-marginal", "d302287a59bc");
    const TOLERANCE: f64 = 1e-14;
    let mut rng = rng(1201);
    let (mut chain, mut abar) = ([[1.0, 0.0], [0.0, 1.0]], 1.0);
    for _ in 0..10 {
        let alpha = rng.random_range(0.5..1.0);
        chain = product(chain, step(alpha));
        abar *= alpha;
        assert_close(chain[0][0], abar, TOLERANCE);
        assert_close(chain[0][1], 1.0 - abar, TOLERANCE);
    }
}

/// Both fractions of the page, and the library's function, against Bayes' rule with the
/// joint probabilities of the transition matrices: q(seen, masked) over q(masked).
/// Kind: closed form.
#[test]
fn mask_posterior() {
    const TOLERANCE: f64 = 1e-12;
    let page = tex("mask-posterior");
    let mut rng = rng(1202);
    for _ in 0..20 {
        let (before, alpha) = (rng.random_range(0.1..1.0), rng.random_range(0.1..0.9));
        let (to_s, to_t) = (step(before), product(step(before), step(alpha)));
        let posterior = to_s[0][0] * step(alpha)[0][1] / to_t[0][1];
        let values = Values::default()
            .number(r"q(z_{t-1,i} = x_i \mid z_{t,i} = \mathsf{m}, x)", posterior)
            .number(r"\alpha_t", alpha)
            .number(r"\abar_{t-1}", before)
            .number(r"\abar_t", before * alpha);
        for side in page.sides(&values) {
            assert_relative(side, posterior, TOLERANCE);
        }
        assert_relative(reveal_probability(before, before * alpha), posterior, TOLERANCE);
    }
}

/// The divergence of the two distributions of z_(t-1), pixel by pixel over all outcomes,
/// against the weight times the cost of the masked pixels, for all sets of masked pixels
/// and any network. Kind: enumeration.
#[test]
fn mask_kl() {
    digest("mask-kl", "3003327a4258");
    const TOLERANCE: f64 = 1e-12;
    let (model, x) = (any_network(PIXELS, 1203), [2, 0, 1]);
    let (before, now) = (0.7, 0.25);
    for hidden in 0..1_usize << PIXELS {
        let seen = elbo_to_diffusion::oracle::masking::seen(&x, hidden);
        let mut divergence = 0.0;
        for i in (0..PIXELS).filter(|i| hidden >> i & 1 == 1) {
            // Outcomes: each level, and masked.
            let shown = (1.0 - now / before) * before / (1.0 - now);
            let p = (model.predict)(&seen, i).into_iter().map(|p| shown * p);
            let q = (0..LEVELS).map(|k| if k == x[i] { shown } else { 0.0 });
            let outcomes = q.chain([1.0 - shown]).zip(p.chain([1.0 - shown]));
            divergence += outcomes
                .filter(|(q, _)| *q > 0.0)
                .map(|(q, p): (f64, f64)| q * (q / p).ln())
                .sum::<f64>();
        }
        let cost: f64 = (0..PIXELS)
            .filter(|i| hidden >> i & 1 == 1)
            .map(|i| model.cost(&x, hidden, i))
            .sum();
        assert_close(divergence, (before - now) / (1.0 - now) * cost, TOLERANCE);
    }
}

/// The weighted cross-entropy against -E log p(x, z_1..z_T) / q(z_1..z_T | x), added up
/// over all paths of masks with the one-step transitions of both chains, for any network,
/// any chain and all images; and both against -log of what the chain draws, which they
/// bound. Kind: enumeration, inequality.
#[test]
fn mask_bound() -> Outcome {
    digest("mask-bound", "9f84dafe2e84");
    const TOLERANCE: f64 = 1e-10;
    let model = any_network(PIXELS, 1204);
    for steps in 1..=4 {
        let abar = any_chain(steps, 1205);
        let drawn = model.sampled(&abar)?;
        assert_close(drawn.iter().sum(), 1.0, TOLERANCE);
        for (index, p) in drawn.iter().enumerate() {
            let x = [index % 3, index / 3 % 3, index / 9];
            let paths = model.path_bound(&x, &abar)?;
            assert_close(model.discrete_bound(&x, &abar)?, paths, TOLERANCE);
            assert!(-p.ln() < paths + TOLERANCE, "{x:?} in {steps} steps");
        }
    }
    Ok(())
}

/// The integral over t for the linear and the cosine schedule and one of the third power,
/// each against the integral of C(m)/m; and the bound of chains of 1,000 and 2,000 steps,
/// extrapolated, against the same. Kind: quadrature, enumeration.
#[test]
fn mask_limit() -> Outcome {
    digest("mask-limit", "d9fb3784280f");
    const TOLERANCE: f64 = 1e-10;
    const EXTRAPOLATED: f64 = 1e-6;
    use std::f64::consts::FRAC_PI_2;
    let (model, x) = (any_network(PIXELS, 1206), [1, 1, 2]);
    let unit = Rule::gauss_legendre(60, 0.0, 1.0);
    let limit = unit.integrate(|m| model.masked_cost(&x, m) / m);
    let schedules: [fn(f64) -> [f64; 2]; 3] = [
        |t| [1.0 - t, -1.0],
        |t| [1.0 - (FRAC_PI_2 * t).sin(), -FRAC_PI_2 * (FRAC_PI_2 * t).cos()],
        |t| [1.0 - t.powi(3), -3.0 * t * t],
    ];
    for schedule in schedules {
        assert_close(model.continuous_bound(&x, schedule, &unit), limit, TOLERANCE);
    }
    for schedule in [MaskSchedule::Linear, MaskSchedule::Cosine] {
        let bound = |steps| model.discrete_bound(&x, &schedule.grid(steps));
        let (coarse, fine) = (bound(1000)?, bound(2000)?);
        assert_close(2.0 * fine - coarse, limit, EXTRAPOLATED);
    }
    Ok(())
}

/// Gauss-Legendre, which is exact for polynomials, against 1 / (n binom(d, n)) with the
/// binomial coefficient by counting subsets. Kind: quadrature.
#[test]
fn mask_count() {
    digest("mask-count", "25e9b9c41ae9");
    const TOLERANCE: f64 = 1e-14;
    let unit = Rule::gauss_legendre(20, 0.0, 1.0);
    for d in 1..=8_i32 {
        for n in 1..=d {
            let integral = unit.integrate(|m| m.powi(n - 1) * (1.0 - m).powi(d - n));
            let subsets =
                (0..1_u32 << d).filter(|set| set.count_ones() == n as u32).count();
            assert_close(integral, 1.0 / (f64::from(n) * subsets as f64), TOLERANCE);
        }
    }
}

/// c_n, the mean over sets of n pixels and over the pixels in them, against the integral of
/// C(m)/m and against the bound of a chain. Kind: quadrature, enumeration.
#[test]
fn mask_profile() -> Outcome {
    digest("mask-profile", "579e1dfe34e8");
    const TOLERANCE: f64 = 1e-12;
    let (d, x) = (PIXELS, [0, 2, 1]);
    let model = any_network(d, 1207);
    let sets =
        |n: usize| (0..1_usize << d).filter(move |set| set.count_ones() as usize == n);
    let c = |n: usize| {
        let of_set = |set: usize| {
            (0..d)
                .filter(|i| set >> i & 1 == 1)
                .map(|i| model.cost(&x, set, i))
                .sum::<f64>()
        };
        sets(n).map(of_set).sum::<f64>() / (n * sets(n).count()) as f64
    };
    let limit =
        Rule::gauss_legendre(40, 0.0, 1.0).integrate(|m| model.masked_cost(&x, m) / m);
    assert_close((1..=d).map(c).sum(), limit, TOLERANCE);
    let abar = any_chain(4, 1208);
    let term = |step: &[f64]| {
        let of_n = |n: usize| {
            sets(n).count() as f64
                * (1.0 - step[1]).powi(n as i32)
                * step[1].powi((d - n) as i32)
                * n as f64
                * c(n)
        };
        (step[0] - step[1]) / (1.0 - step[1]) * (1..=d).map(of_n).sum::<f64>()
    };
    let bound: f64 = abar.windows(2).map(term).sum();
    assert_close(bound, model.discrete_bound(&x, &abar)?, TOLERANCE);
    Ok(())
}

/// The mean over all orders, pixel by pixel, against the integral of C(m)/m, for networks
/// of up to five pixels that say anything. Kind: quadrature, enumeration.
#[test]
fn any_order() {
    digest("any-order", "06d1031373b2");
    const TOLERANCE: f64 = 1e-10;
    let unit = Rule::gauss_legendre(40, 0.0, 1.0);
    for d in 1..=5 {
        let model = any_network(d, 1209 + d as u64);
        let x: Vec<usize> = (0..d).map(|i| (2 * i + 1) % LEVELS).collect();
        let limit = unit.integrate(|m| model.masked_cost(&x, m) / m);
        let costs: Vec<f64> =
            orders(d).iter().map(|order| model.order_cost(&x, order)).collect();
        assert_close(costs.iter().sum::<f64>() / costs.len() as f64, limit, TOLERANCE);
        assert_close(model.mean_order_cost(&x), limit, TOLERANCE);
    }
}

/// What T steps of the linear schedule draw of two pixels, by enumeration, against the
/// mixture of the page; and the bound by paths, averaged over the data, against entropy
/// and information from the tables. Kind: enumeration.
#[test]
fn mask_together() -> Outcome {
    digest("mask-together", "d4b32a9f2390");
    const TOLERANCE: f64 = 1e-12;
    let table = random_table(&mut rng(1215), 9);
    let pair = PixelTable::new(2, 3, &table)?;
    let model = pair.ideal();
    let alone = |i: usize, k: usize| {
        pair.images().filter(|(x, _)| x[i] == k).map(|(_, p)| p).sum::<f64>()
    };
    let information: f64 =
        pair.images().map(|(x, p)| p * (p / (alone(0, x[0]) * alone(1, x[1]))).ln()).sum();
    for steps in 1..=4 {
        let abar = MaskSchedule::Linear.grid(steps);
        let together = 1.0 / steps as f64;
        for ((x, p), drawn) in pair.images().zip(model.sampled(&abar)?) {
            let apart = alone(0, x[0]) * alone(1, x[1]);
            assert_close(drawn, (1.0 - together) * p + together * apart, TOLERANCE);
        }
        let bound = pair.mean(|x| model.path_bound(x, &abar))?;
        assert_close(bound, pair.entropy() + together * information, TOLERANCE);
    }
    Ok(())
}

/// The bound by paths less the entropy, against the sum over steps of what the pixels shown
/// in them know of each other, over all sets of seen and shown pixels, with entropies from
/// the table. Kind: enumeration.
#[test]
fn mask_excess() -> Outcome {
    digest("mask-excess", "55f62d4b0e4f");
    const TOLERANCE: f64 = 1e-12;
    let (d, table) = (3, random_table(&mut rng(1216), 8));
    let data = PixelTable::new(d, 2, &table)?;
    let model = data.ideal();
    // The entropy of the pixels of a set.
    let entropy = |set: usize| -> f64 {
        let cost = |(x, p): (Vec<usize>, f64)| {
            let seen: Vec<_> =
                (0..d).map(|i| (set >> i & 1 == 1).then_some(x[i])).collect();
            -p * data.evidence(&seen).ln()
        };
        data.images().map(cost).sum()
    };
    for steps in 1..=3 {
        let abar = any_chain(steps, 1217);
        let mut excess = 0.0;
        for step in abar.windows(2) {
            for seen in 0..1_usize << d {
                for shown in (0..1_usize << d).filter(|shown| shown & seen == 0) {
                    let known = entropy(seen);
                    let alone: f64 = (0..d)
                        .filter(|i| shown >> i & 1 == 1)
                        .map(|i| entropy(seen | 1 << i) - known)
                        .sum();
                    // Seen after the step of masking; shown: masked in it; the others:
                    // masked before.
                    let probability: f64 = (0..d)
                        .map(|i| match (seen >> i & 1, shown >> i & 1) {
                            (1, _) => step[1],
                            (_, 1) => step[0] - step[1],
                            _ => 1.0 - step[0],
                        })
                        .product();
                    excess += probability * (alone - (entropy(seen | shown) - known));
                }
            }
        }
        let bound = data.mean(|x| model.path_bound(x, &abar))?;
        assert_close(bound - data.entropy(), excess, TOLERANCE);
    }
    Ok(())
}

/// E (S/t)^2 over masks, integrated over t from eps on: what ten times smaller eps adds is
/// log 10 times the sum of squared costs of single masked pixels, ever more exactly. Kind:
/// quadrature, enumeration.
#[test]
fn mask_variance() {
    digest("mask-variance", "f1cd53e465ba");
    const TOLERANCE: f64 = 1e-4;
    let (model, x) = (any_network(PIXELS, 1218), [2, 2, 0]);
    let square = |t: f64| -> f64 {
        let of_set = |set: usize| {
            let n = set.count_ones() as i32;
            let pixels = (0..PIXELS).filter(|i| set >> i & 1 == 1);
            let cost: f64 = pixels.map(|i| model.cost(&x, set, i)).sum();
            t.powi(n) * (1.0 - t).powi(PIXELS as i32 - n) * (cost / t).powi(2)
        };
        (1..1_usize << PIXELS).map(of_set).sum()
    };
    // Over log t the integrand is smooth.
    let between = |low: f64, high: f64| {
        Rule::gauss_legendre(40, low.ln(), high.ln())
            .integrate(|log_t| log_t.exp() * square(log_t.exp()))
    };
    let single: f64 = (0..PIXELS).map(|i| model.cost(&x, 1 << i, i).powi(2)).sum();
    let added = [1e-3, 1e-5].map(|eps| between(eps / 10.0, eps) / 10f64.ln());
    assert_relative(added[1], single, TOLERANCE);
    assert!((added[1] - single).abs() < 0.1 * (added[0] - single).abs());
}

/// The mean over t and masks of the cost of the masked pixels divided by their number,
/// where that is not zero, by quadrature, against the mean over orders / (d + 1).
/// Kind: quadrature, enumeration.
#[test]
fn mask_empty() {
    digest("mask-empty", "335d453ad7ff");
    const TOLERANCE: f64 = 1e-12;
    for d in 1..=4 {
        let model = any_network(d, 1219);
        let x: Vec<usize> = (0..d).map(|i| i % LEVELS).collect();
        let at = |t: f64| -> f64 {
            let of_set = |set: usize| {
                let n = set.count_ones() as i32;
                let pixels = (0..d).filter(|i| set >> i & 1 == 1);
                let cost: f64 = pixels.map(|i| model.cost(&x, set, i)).sum();
                t.powi(n) * (1.0 - t).powi(d as i32 - n) * cost / f64::from(n)
            };
            (1..1_usize << d).map(of_set).sum()
        };
        let mean = Rule::gauss_legendre(20, 0.0, 1.0).integrate(at);
        assert_close(mean, model.mean_order_cost(&x) / (d + 1) as f64, TOLERANCE);
    }
}

/// P(outcome j has the largest log p + G), as the integral over its noise g of the density
/// exp(-g - exp(-g)) times the chance that all others stay below, against p_j. Kind:
/// quadrature.
#[test]
fn gumbel_max() {
    digest("gumbel-max", "e44a89fbc042");
    const TOLERANCE: f64 = 1e-10;
    let p = random_table(&mut rng(1220), 5);
    let line = Rule::gauss_legendre(400, -8.0, 40.0);
    for j in 0..5 {
        let wins = line.integrate(|g| {
            let score = p[j].ln() + g;
            let below = |k: usize| (-(p[k].ln() - score).exp()).exp();
            let others: f64 = (0..5).filter(|k| *k != j).map(below).product();
            (-g - (-g).exp()).exp() * others
        });
        assert_close(wins, p[j], TOLERANCE);
    }
}

/// How often the rare one of two outcomes wins if uniform numbers are multiples of 2^-24:
/// its number 1 - m 2^-24 costs it m 2^-24 / p in the exponent of the other one. The sum
/// over m by hand in f64, and the count of pairs in f32 of the chapter's program, against
/// the page. Kind: closed form, enumeration.
#[test]
fn gumbel_bias() {
    const TOLERANCE: f64 = 0.002;
    let page = tex("gumbel-bias");
    for p in [1e-5, 1e-6, 1e-7, 3e-8] {
        let counted = crate::gumbel::drawn_in_f32(p) / p;
        let grid = 2f64.powi(-24);
        let values = Values::default()
            .number(r"\text{drawn}", counted * p)
            .number("p", p)
            .number("a", grid / p)
            .number("e", std::f64::consts::E);
        let sides = page.part(0, &values);
        let a = page.part(1, &values);
        assert_relative(a[0], a[1], TOLERANCE);
        assert_close(sides[0], sides[1], TOLERANCE);
        // The other outcome has the exponential -ln u, the rare one at least m grid.
        let by_hand: f64 = (1..2_000_000)
            .map(|m| grid * (-f64::from(m) * grid / p * (1.0 - p)).exp())
            .sum();
        assert_close(by_hand / p, sides[1], TOLERANCE);
        assert_close(crate::gumbel::share(p), sides[1], TOLERANCE);
    }
}
