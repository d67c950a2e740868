//! The appendices: errata in the oracle, and what the pages say of runs that were recorded.

use std::process::Command;

use elbo_to_diffusion::oracle::{
    Chain, DiffusionBound, Error, Estimate, Gaussian, LinearConditional, Process, Rule,
    ScalarMixture, Step, vector,
};
use rand::RngExt;

use crate::{
    recorded::{block, line, numbers, numbers_in},
    support::{Outcome, assert_close, normal, rng},
};

/// The printed form of a model with a negative coefficient, against its ELBO, both from the
/// oracle: above it. With the right coefficient it is below.
#[test]
fn printed_form_above_the_elbo() -> Outcome {
    const LEAST: f64 = 0.05;
    let process = Process::linear_gamma(-3.0, 3.0, 4)?;
    let excess = |sign: f64| {
        let steps = process.steps().into_iter().rev();
        let steps = steps
            .map(|s| LinearConditional::scalar(sign * s.alpha().sqrt(), 0.0, s.beta()));
        let reverse = Chain::new(Gaussian::standard(1)?, steps.collect::<Result<_, _>>()?)?;
        let bound = DiffusionBound::new(&process, &reverse, &vector(&[0.8]))?;
        Ok::<_, elbo_to_diffusion::oracle::Error>(
            bound.printed_elbo() - bound.consistency_elbo(),
        )
    };
    assert!(excess(-1.0)? > LEAST && excess(1.0)? < -LEAST);
    Ok(())
}

/// The variance of z_t given z_{t+1} that the printed form asks for, from the covariance of
/// the fresh pair for data from N(0, 1), over that of the true step: three, to the size of
/// a step.
#[test]
fn three_times_the_variance() {
    const TOLERANCE: f64 = 0.05;
    for gamma in [-2.0, 0.0, 2.0] {
        let (first, second) =
            (Step::new(gamma, gamma + 0.01), Step::new(gamma + 0.01, gamma + 0.02));
        // All variances are 1. A fresh z_t shares z_{t-1} alone with z_{t+1}.
        let with_own = second.alpha().sqrt();
        let with_fresh = first.alpha() * second.alpha().sqrt();
        let left = |covariance: f64| 1.0 - covariance * covariance;
        assert_close(left(with_fresh) / left(with_own), 3.0, TOLERANCE);
    }
}

/// Langevin steps with the score of a mixture of two bumps, from one point: after many
/// steps the share of walkers on the heavier bump and their variance are those of the
/// mixture within standard errors, and nothing has come to rest.
#[test]
fn langevin_converges_in_law() -> Outcome {
    const STANDARD_ERRORS: f64 = 4.5;
    const STEP: f64 = 0.02;
    let target = ScalarMixture::new(&[0.3, 0.7], &[-1.0, 1.0], &[0.3, 0.3])?;
    let mut rng = rng(1801);
    let (mut right, mut square, mut moved) =
        (Estimate::default(), Estimate::default(), Estimate::default());
    for _ in 0..4000 {
        let mut z = -1.0;
        let mut before = z;
        for _ in 0..1000 {
            before = z;
            z += 0.5 * STEP * target.score(z) + STEP.sqrt() * normal(&mut rng);
        }
        right.push(f64::from(u8::from(z > 0.0)));
        square.push((z - target.mean()).powi(2));
        moved.push((z - before).abs());
    }
    // P(z > 0) by the normal distribution function of each bump, from a sum of its density.
    let grid = (0..100_000).map(|i| (f64::from(i) + 0.5) * 1e-4);
    let share: f64 = grid.map(|z| target.log_prob(z).exp() * 1e-4).sum();
    assert!(right.z_score(share).abs() < STANDARD_ERRORS, "{} {share}", right.mean());
    assert!(square.z_score(target.variance()).abs() < STANDARD_ERRORS, "{}", square.mean());
    assert!(moved.mean() > 0.1);
    Ok(())
}

const UNET: &str = include_str!("../../benches/recorded/unet_h100.txt");
const MNIST: &str = include_str!("../../benches/recorded/mnist.txt");
const FULL: &str = include_str!("../../benches/recorded/full.txt");
const PEERS: &str = include_str!("../../benches/recorded/peers.txt");
const TEST_SET: &str = include_str!("../../benches/recorded/test_set.txt");
const PROFILE: &str = include_str!("../../benches/recorded/profile.txt");
const MANY_CORES: &str = include_str!("../../benches/recorded/many_cores.txt");
const CARGO: &str = include_str!("../../Cargo.toml");
const CHAPTER_7: &str = include_str!("../snapshots/ch07_three_parameterizations.snap");

/// Training steps and sampling calls per second of the record, here over PyTorch without
/// compilation: a fifth and three fifths.
#[test]
fn burn_and_pytorch_on_one_card() {
    const TOLERANCE: f64 = 0.03;
    let (here, peer) = (line(UNET, "here, wgpu (Vulkan)"), line(UNET, "PyTorch 2.11"));
    assert_close(here[0] / peer[0], 0.2, TOLERANCE);
    assert_close(here[1] / peer[1], 0.6, TOLERANCE);
}

/// The recorded test bounds of the two autoencoders of MNIST, in nats: five apart, two in
/// the KL and three in the reconstruction.
#[test]
fn mnist_hierarchy_leads() {
    const TOLERANCE: f64 = 0.15;
    let (vae, hvae) = (line(MNIST, "VAE, test"), line(MNIST, "HVAE, test"));
    for (column, lead) in [(0, 3.0), (1, 2.0), (2, 5.0)] {
        assert_close(vae[column] - hvae[column], lead, TOLERANCE);
    }
}

/// The recorded bounds of the three schedules on MNIST: within one standard error of the
/// cosine's, the largest; and the variances of one draw, learned over linear, a quarter.
#[test]
fn mnist_schedules_agree() {
    const TOLERANCE: f64 = 0.03;
    let [linear, cosine, learned] =
        ["linear", "cosine", "learned"].map(|name| line(MNIST, name));
    assert!(
        (cosine[0] - linear[0]).abs() < cosine[1]
            && (learned[0] - linear[0]).abs() < 3.0 * linear[1]
    );
    assert_close(learned[2] / linear[2], 0.25, TOLERANCE);
    assert!(cosine[2] > 30.0 * linear[2]);
}

/// What the learning rate and the number of curves changed, on validation images.
#[test]
fn mnist_choices_on_validation() {
    let row = |name: &str| line(MNIST, name);
    let at =
        |rate: &str, curves: usize| row(&format!("learning rate {rate}, {curves} curves"));
    assert!(at("2e-3", 8)[0] - at("5e-3", 8)[0] > 0.02);
    assert!(at("1.2e-2", 8)[0] < at("5e-3", 8)[0]);
    // Two runs with 8 curves at the slow rate are on record; the second is the longer one.
    let after = |name: &str| {
        let longer = MNIST.split_once("after 1500 steps").expect("longer runs").1;
        line(longer, name)[0]
    };
    let saved =
        after("learning rate 2e-3, 2 curves") - after("learning rate 2e-3, 8 curves");
    assert!(0.008 < saved && saved < 0.01, "{saved}");
    assert!((at("5e-3", 16)[0] - at("5e-3", 8)[0]).abs() < at("5e-3", 8)[1]);
}

/// The recorded bounds with the settings chosen so, against those before.
#[test]
fn mnist_tuned() {
    let tuned = |name: &str| line(block(MNIST, "vdm_tuned"), name)[0];
    let before = |name: &str| line(block(MNIST, "vdm"), name)[0];
    let validation = before("learned, validation") - tuned("500 of the validation images");
    let all = before("learned, all test images") - tuned("every test image");
    let first = before("learned") - tuned("first 500 of the test images");
    for less in [validation, all, first] {
        assert!((0.03..0.06).contains(&less), "{less}");
    }
}

/// The recorded short runs: two changes save more than two standard errors, together a
/// hundredth; two save three thousandths, with AdamW a faster rate costs as much; the others
/// change a part in a thousand at most.
#[test]
fn mnist_leads() {
    let leads = block(MNIST, "vdm_leads");
    let row = |name: &str| line(leads, name);
    let bound = |name: &str| row(name)[0];
    let (before, muon) = (bound("as before"), bound("Muon"));
    let schedule = bound("S: a schedule from 2 images of each batch");
    let ends = bound("S, end points -15 and 7.5");
    let both = bound("M: S, end points -14.5 and 7, Muon");
    let error = row("as before")[1];
    assert!(before - muon > 2.0 * error && schedule - ends > 2.0 * error);
    assert_close(schedule - both, 0.011, 0.001);
    // The two terms nearly vanish, and not all that they cost is won: the network pays.
    let terms = |ends: &str| line(block(MNIST, "vdm_ends"), ends).iter().sum::<f64>();
    let fallen = terms("-13.3 and 5") - terms("-15 and 7.5");
    assert!(terms("-15 and 7.5") < 0.05 * fallen && schedule - ends < fallen);
    let warm = bound("M, a warm-up of 5 % in the place of 15 %");
    for saved in [
        warm - bound("M, this, a learning rate of 1e-2"),
        schedule - bound("S, half the batch, twice the steps"),
        bound("learning rate 1.2e-2") - before,
    ] {
        assert!((0.0025..2.0 * error).contains(&saved), "{saved}");
    }
    let channels = bound("S, these, one block of 24 channels for two of 16");
    let long = bound("S, Muon, its steps twice as long");
    for (a, b) in [(before, schedule), (muon, long), (ends, channels), (both, warm)] {
        assert!((a / b - 1.0).abs() < 0.001, "{a} {b}");
    }
}

/// The recorded hour: its minutes, eight hundredths below the run of ten thousand steps, and
/// a hundredth above the best flow.
#[test]
fn mnist_hour() {
    const BEST_FLOW: f64 = 0.97;
    let hour = |name: &str| line(block(MNIST, "vdm_hour"), name)[0];
    let before = |name: &str| line(block(MNIST, "vdm_tuned"), name)[0];
    assert!(hour("minutes, with the bounds above") < 60.0);
    let all = hour("every test image");
    assert_close(before("every test image") - all, 0.08, 0.005);
    let validation = hour("first 500 validation images, learned schedule");
    assert_close(before("500 of the validation images") - validation, 0.08, 0.005);
    assert_close(all - BEST_FLOW, 0.01, 0.003);
}

/// The recorded bounds of chapter 7 with convolutions, against those of the dense network
/// in its report and against independent pixels at 2.396.
#[test]
fn convolutions_help_every_output() {
    const INDEPENDENT: f64 = 2.396;
    let names = [
        "softmax x, bound",
        "softmax x, simple",
        "eps, bound, clipped",
        "eps, bound",
        "v, bound",
        "v, simple",
        "eps, simple, cosine times",
        "x, bound",
        "score, bound",
        "score, simple",
        "x, simple",
    ];
    let bounds = names.map(|name| line(FULL, name)[0]);
    for (name, bound) in names.into_iter().zip(bounds) {
        assert!(bound < line(CHAPTER_7, name)[0], "{name}");
    }
    // The list is in their order, but for eps and v with the weights of the bound, which
    // are near each other.
    let [odds, simple_odds, _, eps, v, ..] = bounds;
    assert!(odds < simple_odds && simple_odds < eps.min(v) && eps.max(v) < INDEPENDENT);
    assert!((eps - v).abs() < 0.01);
    assert!(bounds.iter().all(|bound| *bound <= bounds[10]));
}

/// The medians of the recorded rounds of the reference workload, here over PyTorch and JAX.
#[test]
fn here_and_elsewhere() {
    let of = |name: &str| numbers_in(PEERS, name);
    // Median, least, greatest.
    let peer = of("training steps/s, here over PyTorch: median");
    assert!(peer[1] > 1.9 && peer[2] < 2.3, "{peer:?}");
    assert!(of("sampled images/s, here over PyTorch: median")[1] > 1.5);
    assert_close(of("peak memory (MB), here over PyTorch: median")[0], 0.1, 0.01);
    let jax = of("training steps/s, here over JAX: median");
    assert!(jax[1] > 1.3, "{jax:?}");
    let sampling = of("sampled images/s, here over JAX: median");
    assert!(sampling[1] > 4.0 / 3.0, "{sampling:?}");
    let [here, peer] = ["here", "PyTorch"]
        .map(|name| of(&format!("test bound (bits/dim), {name}: median"))[0]);
    assert!((here - peer).abs() < 0.01);
}

/// The recorded time of a training step over that of its matrix products at the rate of two
/// cores: between 2 and 2.5.
#[test]
fn a_step_and_its_products() {
    const RATIO: std::ops::Range<f64> = 2.0..2.5;
    let products = numbers_in(PROFILE, "these at the rate of two cores")[0];
    let step = *numbers_in(PROFILE, "a training step of W1, two threads")
        .last()
        .unwrap_or(&f64::NAN);
    assert!(RATIO.contains(&(step / products)));
}

/// The recorded times of the products of a training step, with the threshold of gemm and
/// with ours: none longer, and the gradients of inputs a sixth to a fifth shorter.
#[test]
fn a_factor_where_it_lies() {
    const SAVED: std::ops::Range<f64> = 1.0 / 6.0..0.21;
    let times = |name| match numbers_in(PROFILE, name)[..] {
        [.., before, after] => (before, after),
        _ => (f64::NAN, f64::NAN),
    };
    for name in ["a hidden layer, 256", "gradient of its weights", "the output layer, 256"]
    {
        let (before, after) = times(name);
        assert!(after <= before, "{name}");
    }
    for name in ["gradient of its inputs", "gradient of the output's inputs"] {
        let (before, after) = times(name);
        assert!(SAVED.contains(&(1.0 - after / before)), "{name}");
    }
}

/// The recorded times of a layer forward, with gemm's threshold for the left-hand factor
/// and with ours.
#[test]
fn the_other_factor() {
    const SAVED: std::ops::Range<f64> = 0.065..0.08;
    for name in ["the input layer", "a hidden layer, 256 to 256", "the output layer, 256"] {
        let found = block(PROFILE, "packing_left");
        let times = numbers_in(found, name);
        let [.., before, after] = times[..] else { panic!("{name}: {times:?}") };
        assert!(SAVED.contains(&(1.0 - after / before)), "{name}");
    }
}

/// The recorded profiles of a step: a tenth of its time on the thread that began it before,
/// next to nothing after, and more of the two cores is at work.
#[test]
fn one_core_at_work() {
    const TOLERANCE: f64 = 0.5;
    let of = |name: &str| match line(PROFILE, name)[..] {
        [before, after] => (before, after),
        _ => (f64::NAN, f64::NAN),
    };
    let (before, after) = of("of all this, on the thread that began the step");
    assert_close(before, 10.0, TOLERANCE);
    assert!(after < 1.0);
    let (before, after) = of("cores at work");
    assert!(before < after && after < 2.0);
}

/// The recorded speeds before and after the loop over the levels: three fifths of the time
/// for a sample, a quarter more training steps on MNIST.
#[test]
fn the_loop_over_the_levels() {
    const TOLERANCE: f64 = 0.03;
    let samples = line(PROFILE, "chapter 5, sampled images/s");
    assert_close(samples[0] / samples[1], 0.6, TOLERANCE);
    let steps = line(PROFILE, "chapter 6 on MNIST, training steps in 25 s");
    assert_close(steps[1] / steps[0], 1.25, TOLERANCE);
}

/// The recorded bounds of four models by the program and by the independent one: apart by
/// less than two standard errors of their difference. The standard error of the test set
/// lies near an eightieth of a bit per dimension for each.
#[test]
fn errors_of_the_test_set() {
    const STANDARD_ERRORS: f64 = 2.0;
    const TOLERANCE: f64 = 0.001;
    for name in ["chapter 4, hierarchy", "chapter 5", "chapter 5, full preset", "chapter 6"]
    {
        let numbers = line(TEST_SET, name);
        let [program, independent, noise, test_set] = [0, 1, 2, 3].map(|i| numbers[i]);
        assert!(
            (program - independent).abs() < STANDARD_ERRORS * noise * f64::sqrt(2.0),
            "{name}"
        );
        assert_close(test_set, 1.0 / 80.0, TOLERANCE);
        assert!(test_set > 3.5 * noise);
    }
}

/// Training steps in the record of the other processor, here and in PyTorch: a third as it was, and
/// with subnormal numbers flushed about twice as many.
#[test]
fn another_processor() {
    const RECORD: &str = include_str!("../../benches/recorded/subnormals.txt");
    let row = |name: &str| -> Vec<f64> {
        let line = RECORD.lines().find(|line| line.starts_with(name)).expect("a row");
        line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
    };
    let (as_it_was, flushed) = (row("as it was"), row("flushed"));
    let ratio = as_it_was[0] / as_it_was[1];
    assert!((ratio - 1.0 / 3.0).abs() < 0.02, "{ratio}");
    // The least of one over the greatest of the other, and the other way round.
    let [least, greatest] = [flushed[0] / flushed[3], flushed[1] / flushed[2]];
    assert!(least > 1.6 && greatest < 2.4 && least * greatest > 3.0, "{least} {greatest}");
}

/// The recorded rounds of W1 and the U-Net on one thread and on two: the least ratio is
/// above one. And what the second thread brings to W1's training.
#[test]
fn on_one_thread_and_on_two() {
    const TOLERANCE: f64 = 0.03;
    let [one, two] = ["threads_1", "threads_2"].map(|anchor| block(MANY_CORES, anchor));
    for threads in [one, two] {
        for work in ["training steps/s", "sampled images/s"] {
            let [w1, unet] =
                ["W1", "U-Net"].map(|model| line(threads, &format!("{model}, {work}")));
            // Here, PyTorch, JAX, and two ratios with their least; without JAX three fewer.
            assert!(w1[4] > 1.0 && w1[6] > 1.0 && unet[3] > 1.0, "{w1:?} {unet:?}");
        }
    }
    let [one, two] = [one, two].map(|threads| line(threads, "W1, training steps/s"));
    for (who, gain) in [1.6, 1.25, 1.4].into_iter().enumerate() {
        assert_close(two[who] / one[who], gain, TOLERANCE);
    }
}

/// `cargo tree` lists what the CPU backend is built on. Nothing of it is among the crates
/// that Cargo.toml does not optimize.
#[test]
fn no_crate_beneath_the_backend() {
    let tree = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--offline", "--locked", "--package", "burn-flex"])
        .args(["--edges", "normal", "--prefix", "none"])
        .output()
        .expect("cargo tree");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let tree = String::from_utf8(tree.stdout).expect("names of crates");
    let beneath: Vec<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(beneath.contains(&"burn-std"), "{tree}");
    let profile = CARGO.split("[profile.dev.package]\n").nth(1).expect("the levels");
    let levels = profile.lines().take_while(|line| !line.is_empty());
    let none: Vec<_> =
        levels.filter_map(|line| line.strip_suffix(" = { opt-level = 0 }")).collect();
    assert!(!none.is_empty());
    for name in none {
        assert!(!beneath.contains(&name), "{name}");
    }
}

/// The recorded builds: each lower level takes less time, of the clock and of the processor.
#[test]
fn the_level_of_the_backend() {
    let row = |levels: [&str; 3]| {
        let text = block(PROFILE, "crate_levels");
        let mut rows = text.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
        let row = rows.find(|row| row.starts_with(&levels)).expect("a row");
        let times = numbers(&row[3..].join(" "));
        let seconds: Vec<_> =
            times.chunks(2).map(|time| 60.0 * time[0] + time[1]).collect();
        let (compile, processor) = seconds.split_at(seconds.len() / 2);
        (compile.to_vec(), processor.to_vec())
    };
    for (lower, higher) in [
        (["one", "three", "none"], ["one", "three", "one"]),
        (["one", "one", "none"], ["one", "three", "none"]),
        (["three", "one", "none"], ["three", "three", "none"]),
        (["one", "three", "none"], ["three", "three", "none"]),
        (["one", "one", "none"], ["three", "one", "none"]),
    ] {
        let (lower, higher) = (row(lower), row(higher));
        for (lower, higher) in [(lower.0, higher.0), (lower.1, higher.1)] {
            assert!(
                lower.iter().all(|a| higher.iter().all(|b| a < b)),
                "{lower:?} {higher:?}"
            );
        }
    }
}

/// The recorded runs of W1, with the backend at the lower level and at the highest.
#[test]
fn what_the_backend_at_one_costs() {
    let text = block(PROFILE, "crate_levels_runs");
    for row in [
        "backend at one, and at three",
        "the same, twenty minutes later",
        "both with what is beneath at one",
    ] {
        let row = line(text, row);
        let (steps, images) = (1.0 - row[0] / row[1], 1.0 - row[2] / row[3]);
        assert!((0.0..0.04).contains(&steps), "{steps}");
        assert!((0.035..0.085).contains(&images), "{images}");
    }
}

/// The recorded training steps on MNIST: more without windows, in both rounds, and fewer than
/// before where some crates are not optimized at all.
#[test]
fn mnist_steps_by_kernel() {
    let of = |name: &str| match line(block(PROFILE, "no_windows"), name)[..] {
        [first, second] => [first, second],
        _ => panic!("{name}"),
    };
    let rows = ["without, 24 crates at level 0", "with windows", "without"].map(of);
    for pair in rows.windows(2) {
        assert!(pair[0][0] < pair[1][0] && pair[0][1] < pair[1][1], "{pair:?}");
    }
}

/// Narrow bumps at 17 grey levels: each halving of their width takes one bit off -log2 of
/// the density at a level, which soon is below zero, while the probability of a level is
/// 1/17 throughout. Uniform noise of a level's width gives log2 17 bits, half as wide
/// noise one bit less.
#[test]
fn density_of_undequantized_data() -> Outcome {
    const TOLERANCE: f64 = 1e-6;
    let values: Vec<f64> =
        (0..17).map(|k| 2.0 * (f64::from(k) + 0.5) / 17.0 - 1.0).collect();
    let density =
        |width: f64| ScalarMixture::new(&[1.0 / 17.0; 17], &values, &[width * width; 17]);
    let bits = |width: f64| -> Result<f64, Error> {
        Ok(-density(width)?.log_prob(values[8]) / 2.0_f64.ln())
    };
    for width in [1e-2, 1e-3, 1e-6] {
        assert_close(bits(width)? - bits(0.5 * width)?, 1.0, TOLERANCE);
        // The probability of a cell around the level.
        let (law, half) = (density(width)?, 1.0 / 17.0);
        let cell = law.cdf(values[8] + half) - law.cdf(values[8] - half);
        assert_close(cell, 1.0 / 17.0, TOLERANCE);
    }
    assert!(bits(0.01)? < 0.0 && bits(1e-6)? < -10.0);
    // The best density for levels with uniform noise of some share of a level's width, and
    // its bits: the mean of -log2 over draws.
    let rng = &mut rng(808);
    let mut dequantized = |width: f64| {
        let density = |x: f64| {
            let near = (0..17).filter(|&k| (x - f64::from(k)).abs() < 0.5 * width).count();
            near as f64 / (17.0 * width)
        };
        let draws = (0..1000).map(|_| {
            let level = f64::from(rng.random_range(0..17_u32));
            -density(level + width * (rng.random::<f64>() - 0.5)).log2()
        });
        draws.sum::<f64>() / 1000.0
    };
    let [whole, half] = [1.0, 0.5].map(&mut dequantized);
    assert_close(whole, 17.0_f64.log2(), TOLERANCE);
    assert_close(whole - half, 1.0, TOLERANCE);
    Ok(())
}

/// What general compressors make of MNIST.
const COMPRESSORS: &str = include_str!("../../benches/recorded/compressors_mnist.txt");

/// The mean of log p(x + u) over uniform u against the log of the cell's probability, by
/// quadrature: below it for a bell, equal for a density that is flat on each cell.
#[test]
fn uniform_dequantization_is_a_bound() {
    const TOLERANCE: f64 = 1e-9;
    let cell = Rule::gauss_legendre(40, 0.0, 1.0);
    let bell =
        |x: f64| (-0.5 * (x - 2.3).powi(2) / 0.49).exp() / (0.7 * 2.5066282746310002);
    for level in 0..5 {
        let x = f64::from(level);
        let bound = cell.integrate(|u| bell(x + u).ln());
        let log_cell = cell.integrate(|u| bell(x + u)).ln();
        assert!(bound < log_cell - 0.005, "{bound} {log_cell}");
        let flat = |_: f64| 0.2_f64;
        let bound = cell.integrate(|u| flat(x + u).ln());
        assert_close(bound, cell.integrate(|u| flat(x + u)).ln(), TOLERANCE);
    }
}

/// A figure of padded images per real pixel, beside the recorded stream of gzip.
#[test]
fn padded_and_compressed() {
    let real = 1.29 * 1024.0 / 784.0;
    assert_close(real, 1.68, 0.006);
    assert!(real > line(COMPRESSORS, "gzip, all images as one stream")[0]);
}

/// In the record, the model of chapter 6 on the first 500 test images of MNIST and on all.
#[test]
fn first_images_are_easier() {
    let first = line(MNIST, "learned")[0];
    let all = line(MNIST, "learned, all test images")[0];
    assert_close(first, 1.066, 1e-9);
    assert_close(all, 1.109, 1e-9);
    assert!(all - first > 0.04);
}

/// In the record, the error of the test set is about a hundredth of a bit for each model, and
/// more than three times that of the noise.
#[test]
fn two_errors_of_one_bound() {
    for name in ["chapter 4, hierarchy", "chapter 5", "chapter 5, full preset", "chapter 6"]
    {
        let cells = line(TEST_SET, name);
        let [noise, test_set] = [cells[2], cells[3]];
        assert!(0.01 < test_set && test_set < 0.015 && test_set > 3.0 * noise, "{cells:?}");
    }
}

/// In the record, one file for each image costs more than independent pixels, the whole
/// stream less, and the network of neighbours least.
#[test]
fn compressors_in_order() {
    let bits = |name: &str| line(COMPRESSORS, name)[0];
    let independent = bits("independent pixels");
    for name in [
        "PNG, each image a file",
        "WebP, each image a file",
        "JPEG XL, each of 1,000 images a file",
    ] {
        assert!(bits(name) > independent, "{name}");
    }
    let best = bits("neighbours before a pixel");
    for name in [
        "gzip, all images as one stream",
        "bz2, all images as one stream",
        "lzma, all images as one stream",
    ] {
        assert!(best < bits(name) && bits(name) < independent, "{name}");
    }
}
