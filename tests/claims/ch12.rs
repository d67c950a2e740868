//! Chapter 12: masked diffusion.

use elbo_to_diffusion::{
    data::digits::digits,
    oracle::{Estimate, PixelTable, Rule, discrete::kl},
};

use crate::{
    estimators::Estimator,
    pixels::Pixels,
    recorded::{block, line, rows},
    support::{Outcome, assert_close, assert_estimates, random_table, rng},
};

/// KL(q(z_T | x) || p(z_T)) of two pixels over their four masks, where q shows each pixel
/// with probability abar_T and p none: zero at abar_T = 0, infinite at abar_T = 0.001.
#[test]
fn a_prior_without_a_visible_pixel() -> Outcome {
    let prior = [0.0, 0.0, 0.0, 1.0];
    let q = |abar: f64| {
        let hidden = 1.0 - abar;
        [abar * abar, abar * hidden, hidden * abar, hidden * hidden]
    };
    assert_eq!(kl(&q(0.0), &prior)?, 0.0);
    assert_eq!(kl(&q(1e-3), &prior)?, f64::INFINITY);
    Ok(())
}

/// c_n of the ideal network of ten random tables of four pixels, by enumeration of all sets
/// of n pixels: it never falls as more are masked.
#[test]
fn seeing_more_never_costs_more() -> Outcome {
    const ROUNDING: f64 = 1e-12;
    let (d, mut rng) = (4, rng(1251));
    for _ in 0..10 {
        let data = PixelTable::new(d, 2, &random_table(&mut rng, 16))?;
        let model = data.ideal();
        let c = |n: usize| {
            let sets: Vec<usize> =
                (1..1 << d).filter(|set: &usize| set.count_ones() as usize == n).collect();
            let cost = |x: &[usize]| {
                let of = |set: usize| {
                    let pixels = (0..d).filter(move |i| set >> i & 1 == 1);
                    pixels.map(|i| model.cost(x, set, i)).sum::<f64>()
                };
                Ok(sets.iter().map(|set| of(*set)).sum::<f64>() / (n * sets.len()) as f64)
            };
            data.mean(cost)
        };
        let costs = (1..=d).map(c).collect::<Result<Vec<_>, _>>()?;
        assert!(costs.windows(2).all(|pair| pair[0] <= pair[1] + ROUNDING), "{costs:?}");
    }
    Ok(())
}

/// The mean squares of three estimates of one bound, by enumeration of masks and quadrature
/// over the time from 0.0001 on, for random tables whose conditionals are put to work on
/// other images: coins with the weight 1/t above the same with its mean given the number of
/// masked pixels, (d + 1)/n, and that above counts with the weight d/n. All have one mean.
#[test]
fn counts_vary_less_than_coins() -> Outcome {
    const MEANS: f64 = 1e-3;
    const FIRST: f64 = 1e-4;
    let (d, mut rng) = (4_usize, rng(1252));
    let times = Rule::gauss_legendre(60, FIRST.ln(), 0.0);
    for round in 0..5 {
        let data = PixelTable::new(d, 2, &random_table(&mut rng, 16))?;
        let (model, x) = (data.ideal(), data.image(3 * round));
        let sets = (1..1_usize << d).map(|set| {
            let pixels = (0..d).filter(|i| set >> i & 1 == 1);
            (set.count_ones(), pixels.map(|i| model.cost(&x, set, i)).sum::<f64>())
        });
        let sets: Vec<(u32, f64)> = sets.collect();
        let same_size = |n: u32| sets.iter().filter(|(m, _)| *m == n).count() as f64;
        let power = |p: i32| {
            let coins = times.integrate(|log_t| {
                let t = log_t.exp();
                let of = |(n, s): &(u32, f64)| {
                    let rest = d as i32 - *n as i32;
                    t.powi(*n as i32) * (1.0 - t).powi(rest) * (s / t).powi(p)
                };
                t * sets.iter().map(of).sum::<f64>()
            });
            // Each number of masked pixels from 0 to d, or from 1 to d, is as likely.
            let counts = |numbers: f64| {
                let of = |(n, s): &(u32, f64)| {
                    (numbers / f64::from(*n) * s).powi(p) / same_size(*n) / numbers
                };
                sets.iter().map(of).sum::<f64>()
            };
            [coins, counts(d as f64 + 1.0), counts(d as f64)]
        };
        let (means, squares) = (power(1), power(2));
        assert_close(means[0], means[2], MEANS);
        assert_close(means[1], means[2], 1e-12);
        assert!(squares[0] > squares[1] && squares[1] > squares[2], "{squares:?}");
    }
    Ok(())
}

/// Gumbel noise of the largest 32-bit uniform number below one: 16.6.
#[test]
fn the_largest_gumbel_noise() {
    const TOLERANCE: f64 = 0.01;
    let largest = 1.0 - f32::EPSILON / 2.0;
    assert_eq!(f64::from(largest), 1.0 - 2f64.powi(-24));
    assert_close(f64::from(-(-largest.ln()).ln()), 16.64, TOLERANCE);
}

/// The runs with three recorded seeds: the causal network's likelihood is lower than the
/// masked network's bound by more than a tenth in each, and each of both varies by less
/// than two hundredths.
#[test]
fn masks_with_every_seed() {
    let rows = rows("ch12");
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row[2] < row[1] - 0.1), "{rows:?}");
    for column in [1, 2] {
        let values = rows.iter().map(|row| row[column]);
        let (low, high) = (values.clone().fold(9.0, f64::min), values.fold(0.0, f64::max));
        assert!(high - low < 0.02, "{rows:?}");
    }
}

/// 20,000 estimates by each of the chapter's ways to draw masks, of four calls, for a
/// network that is known exactly, against the mean over all orders of its pixels.
#[test]
fn estimates_of_one_mean() -> Outcome {
    const STANDARD_ERRORS: f64 = 4.0;
    let data = PixelTable::new(4, 2, &random_table(&mut rng(1253), 16))?;
    let (model, x) = (data.ideal(), [1, 0, 1, 1]);
    let exact = model.mean_order_cost(&x);
    for (_, estimator) in Estimator::ALL {
        let mut rng = rng(1254);
        let draw = || {
            let masks = estimator.masks(4, 4, &mut rng);
            let cost = |(hidden, weight): &(Vec<usize>, f64)| {
                let set = hidden.iter().map(|i| 1 << i).sum();
                weight * hidden.iter().map(|i| model.cost(&x, set, *i)).sum::<f64>()
            };
            masks.iter().map(cost).sum::<f64>() / masks.len() as f64
        };
        let estimate = Estimate::of(20_000, draw);
        // What the times left out cost: a thousandth of what single pixels do.
        let cut = if estimator == Estimator::Coins { 1.0 - 1e-3 } else { 1.0 };
        assert_estimates(&estimate, exact * cut, STANDARD_ERRORS);
    }
    Ok(())
}

/// The mean over pixels of a cost that differs from pixel to pixel, against the mean of the
/// weighted cost of 200,000 pixels drawn unevenly, of which some are drawn five times as
/// often as others.
#[test]
fn drawn_unevenly_counted_alike() -> Outcome {
    const STANDARD_ERRORS: f64 = 4.0;
    let images = digits().expect("the embedded digits").train;
    let d = images.dim();
    let cost = |pixel: usize| 1.0 + (pixel % 8) as f64;
    let (pixels, mut rng, mut drawn) =
        (Pixels::by_entropy(&images, 0.25), rng(1255), vec![0.0_f64; d]);
    let estimate = Estimate::of(200_000, || {
        let (pixel, weight) = pixels.draw(&mut rng);
        drawn[pixel] += 1.0;
        weight * cost(pixel)
    });
    let mean = (0..d).map(cost).sum::<f64>() / d as f64;
    assert_estimates(&estimate, mean, STANDARD_ERRORS);
    let (least, most) = (
        drawn.iter().copied().fold(f64::MAX, f64::min),
        drawn.iter().fold(0.0, |a, b| b.max(a)),
    );
    assert!(most > 5.0 * least, "{least} {most}");
    Ok(())
}

/// The recorded runs on MNIST. Trials: the better learning rate and the draws by entropy gain
/// about as much, a hundredth. The whole run on all test images: almost three hundredths
/// above the bound of chapter 6's model, and level with the other network on neighbours.
#[test]
fn mnist_by_neighbours() {
    const MNIST: &str = include_str!("../../benches/recorded/mnist.txt");
    const OTHERS: &str = include_str!("../../benches/recorded/compressors_mnist.txt");
    let trials = block(MNIST, "causal_trials");
    let [slow, fast, entropy] = [
        "learning rate 2e-3, pixels drawn alike",
        "learning rate 5e-3, pixels drawn alike",
        "learning rate 5e-3, pixels drawn by entropy",
    ]
    .map(|name| line(trials, name)[0]);
    assert_close(slow - fast, 0.01, 0.005);
    assert_close(fast - entropy, 0.01, 0.005);
    let all = line(block(MNIST, "causal"), "all test images")[0];
    let bound = line(block(MNIST, "vdm_hour"), "every test image")[0];
    assert!((0.025..0.03).contains(&(all - bound)), "{bound}");
    assert_close(all, line(OTHERS, "neighbours before a pixel")[0], 0.001);
}

/// The recorded full preset: the masked network's bound against that of chapter 5's full
/// preset in its report, on test and on validation images; its likelihood in rows against the causal network's, and that against the report
/// of the default run.
#[test]
fn masks_with_convolutions() {
    const RECORD: &str = include_str!("../../benches/recorded/full.txt");
    const GAUSSIAN: &str = include_str!("../snapshots/ch05_vdm_full.snap");
    const REPORT: &str = include_str!("../snapshots/ch12_masks.snap");
    let of = |name: &str| line(block(RECORD, "ch12"), name)[0];
    let gaussian = |name: &str| line(GAUSSIAN, name)[0] - 0.02;
    let test = of("masked network, test");
    assert!(test < gaussian("test bound"));
    assert!(of("masked network, validation") < gaussian("validation bound"));
    assert!(of("masked network in rows, test") < of("causal network, test") - 0.02);
    let quick = line(REPORT, "causal network, test")[0];
    assert!((0.0..0.01).contains(&(quick - of("causal network, test"))));
}
