//! Chapter 12.

use elbo_to_diffusion::{
    masks::{MaskSchedule, draw_level, process::random_order, reveal_probability},
    oracle::{MaskedModel, PixelTable, Rule},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Two pixels, black or white, that mostly agree.
const TABLE: [f64; 4] = [0.5, 0.1, 0.1, 0.3];

// ANCHOR: one_in_t
#[test]
fn step_t_shows_one_masked_pixel_in_t() {
    let abar = MaskSchedule::Linear.grid(8);
    for t in 1..=8 {
        let shown = reveal_probability(abar[t - 1], abar[t]);
        assert!((shown - 1.0 / t as f64).abs() < 1e-12, "{shown} at {t}");
    }
}
// ANCHOR_END: one_in_t

// ANCHOR: by_hand
fn entropy(p: &[f64]) -> f64 {
    -p.iter().map(|p| p * p.ln()).sum::<f64>()
}

#[test]
fn the_bound_by_hand_is_that_of_all_paths() {
    let both = entropy(&TABLE);
    let information = 2.0 * entropy(&[0.6, 0.4]) - both;
    let pair = PixelTable::new(2, 2, &TABLE).unwrap();
    for (steps, expected) in [(1, 1.346), (2, 1.257), (4, 1.213)] {
        let by_hand = both + information / steps as f64;
        assert!((by_hand - expected).abs() < 5e-4, "{by_hand} is not {expected}");
        let chain = MaskSchedule::Linear.grid(steps);
        let paths = pair.mean(|x| pair.ideal().path_bound(x, &chain)).unwrap();
        assert!((paths - by_hand).abs() < 1e-12, "{paths} is not {by_hand}");
    }
}
// ANCHOR_END: by_hand

// ANCHOR: best_middle
#[test]
fn two_steps_lose_least_if_each_shows_a_half() {
    let pair = PixelTable::new(2, 2, &TABLE).unwrap();
    let bound = |middle: f64| {
        pair.mean(|x| pair.ideal().path_bound(x, &[1.0, middle, 0.0])).unwrap()
    };
    let grid = (1..100).map(|i| f64::from(i) / 100.0);
    let best = grid.min_by(|a, b| bound(*a).total_cmp(&bound(*b))).unwrap();
    assert_eq!(best, 0.5);
    // What is lost: the information, as often as both are shown in the same step.
    let information = 2.0 * entropy(&[0.6, 0.4]) - entropy(&TABLE);
    for middle in [0.2_f64, 0.5, 0.9] {
        let together = middle.powi(2) + (1.0 - middle).powi(2);
        let lost = bound(middle) - entropy(&TABLE);
        assert!((lost - together * information).abs() < 1e-12);
    }
}
// ANCHOR_END: best_middle

// ANCHOR: empty_mask
#[test]
fn every_number_of_masked_pixels_is_as_likely_as_any_other() {
    let d = 5;
    for n in 0..=d {
        let sets = (0..1_u32 << d).filter(|set| set.count_ones() == n).count() as f64;
        let (n, rest) = (n as i32, (d - n) as i32);
        let likely = Rule::gauss_legendre(10, 0.0, 1.0)
            .integrate(|t| sets * t.powi(n) * (1.0 - t).powi(rest));
        assert!((likely - 1.0 / f64::from(d + 1)).abs() < 1e-12, "{likely} for {n}");
    }
}
// ANCHOR_END: empty_mask

// ANCHOR: first_hitting
/// An image, and the times at which its pixels were shown, latest (nearest to 1) first.
fn first_hitting(
    d: usize,
    predict: impl Fn(&[Option<usize>], usize) -> Vec<f64>,
    rng: &mut ChaCha8Rng,
) -> (Vec<usize>, Vec<f64>) {
    let (mut seen, mut t, mut times) = (vec![None; d], 1.0, Vec::new());
    for (shown, i) in random_order(d, rng).into_iter().enumerate() {
        t *= rng.random::<f64>().powf(1.0 / (d - shown) as f64);
        times.push(t);
        let log_probs: Vec<f64> = predict(&seen, i).into_iter().map(f64::ln).collect();
        seen[i] = Some(usize::from(draw_level(&log_probs, rng)));
    }
    (seen.into_iter().flatten().collect(), times)
}

#[test]
fn jumping_from_pixel_to_pixel_draws_the_law_of_the_ideal_network() {
    const N: usize = 40_000;
    let pair = PixelTable::new(2, 2, &TABLE).unwrap();
    let rng = &mut ChaCha8Rng::seed_from_u64(12);
    let (mut counts, mut mean_times) = ([0.0; 4], [0.0; 2]);
    for _ in 0..N {
        let (x, times) = first_hitting(2, |seen, i| pair.conditional(seen, i), rng);
        counts[x[0] + 2 * x[1]] += 1.0 / N as f64;
        mean_times.iter_mut().zip(times).for_each(|(mean, t)| *mean += t / N as f64);
    }
    for (count, p) in counts.iter().zip(TABLE) {
        assert!((count - p).abs() < 0.01, "{count} is not {p}");
    }
    // The larger of two uniform numbers, and the smaller.
    for (mean, exact) in mean_times.iter().zip([2.0 / 3.0, 1.0 / 3.0]) {
        assert!((mean - exact).abs() < 0.005, "{mean} is not {exact}");
    }
}
// ANCHOR_END: first_hitting

// ANCHOR: orders_disagree
#[test]
fn two_orders_are_two_distributions_and_their_mixture_costs_less_than_the_bound() {
    // A network that says whatever it likes: the second pixel follows the first, but the
    // first does not care for the second.
    let model = MaskedModel {
        pixels: 2,
        levels: 2,
        predict: |seen: &[Option<usize>], i: usize| match (i, seen[0]) {
            (1, Some(0)) => vec![0.9, 0.1],
            (1, Some(_)) => vec![0.2, 0.8],
            _ => vec![0.5, 0.5],
        },
    };
    let images = [[0, 0], [1, 0], [0, 1], [1, 1]];
    let of = |order: [usize; 2]| images.map(|x| (-model.order_cost(&x, &order)).exp());
    let (first, second) = (of([0, 1]), of([1, 0]));
    for p in [first, second] {
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
    assert!((first[0] - second[0]).abs() > 0.1, "{first:?} {second:?}");
    for (x, (p, q)) in images.iter().zip(first.iter().zip(second)) {
        assert!(-(0.5 * (p + q)).ln() <= model.mean_order_cost(x) + 1e-12);
    }
}
// ANCHOR_END: orders_disagree
