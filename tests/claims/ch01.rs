//! Chapter 1: latent variables.

use std::io::Read;

use elbo_to_diffusion::{
    data::{Images, Marginals, digits::digits},
    oracle::{Matrix, Rule, log_sum_exp},
    random::{Stream, rng as stream},
};
use flate2::read::GzDecoder;
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use crate::{
    class_mixture::ClassMixture,
    meters::Thermometers,
    scalar_latent::ScalarLatent,
    support::{Outcome, assert_close, log_normal, normal, random_table, rng},
};

const THERMOMETERS: Thermometers =
    Thermometers { w: [1.0, 0.5], noise: 0.25, x: [1.2, 0.3] };

/// The mean, the variance and the density of p(z|x) by quadrature of p(x, z), against
/// N(0.9, 1/6).
#[test]
fn thermometers_posterior() {
    const TOLERANCE: f64 = 1e-12;
    let z = Rule::gauss_legendre(200, -10.0, 10.0);
    let moment =
        |f: &dyn Fn(f64) -> f64| z.integrate(|z| THERMOMETERS.log_joint(z).exp() * f(z));
    let evidence = moment(&|_| 1.0);
    let mean = moment(&|z| z) / evidence;
    assert_close(mean, 0.9, TOLERANCE);
    assert_close(moment(&|z| (z - mean).powi(2)) / evidence, 1.0 / 6.0, TOLERANCE);
    for z in [-2.0, 0.4, 0.9, 3.0] {
        let log_posterior = THERMOMETERS.log_joint(z) - evidence.ln();
        assert_close(log_posterior, log_normal(z, 0.9, 1.0 / 6.0), TOLERANCE);
    }
}

/// The law of the missed photons z - x given x, by Bayes' rule from Poisson(5) photons of
/// which each is caught with probability 0.4, against Poisson(3), for every x from 0 to 8.
#[test]
fn missed_photons() {
    const TOLERANCE: f64 = 1e-14;
    let poisson =
        |n: u32, mean: f64| (1..=n).fold((-mean).exp(), |p, i| p * mean / f64::from(i));
    let binomial = |n: u32, k: u32| {
        let ways: f64 = (1..=k).map(|i| f64::from(n - k + i) / f64::from(i)).product();
        ways * 0.4_f64.powi(k as i32) * 0.6_f64.powi((n - k) as i32)
    };
    for x in 0..=8 {
        let joint: Vec<f64> =
            (x..x + 60).map(|z| poisson(z, 5.0) * binomial(z, x)).collect();
        let evidence: f64 = joint.iter().sum();
        for (missed, joint) in (0..).zip(&joint) {
            assert_close(joint / evidence, poisson(missed, 3.0), TOLERANCE);
        }
    }
}

/// log p(x) of the thermometers by quadrature, against both curves of the figure: between
/// them where |z - 0.9| < 0.81, above both beyond.
#[test]
fn flat_line_between_the_curves() {
    const HALF_WIDTH: f64 = 0.81;
    const TOLERANCE: f64 = 0.005;
    let log_evidence = THERMOMETERS.log_prob(&Rule::gauss_legendre(200, -10.0, 10.0));
    for step in -300..=300 {
        let away = f64::from(step) / 100.0;
        let log_joint = THERMOMETERS.log_joint(0.9 + away);
        let log_posterior = log_normal(0.9 + away, 0.9, 1.0 / 6.0);
        assert!(log_joint < log_evidence);
        if away.abs() < HALF_WIDTH - TOLERANCE {
            assert!(log_posterior > log_evidence, "{away}");
        } else if away.abs() > HALF_WIDTH + TOLERANCE {
            assert!(log_posterior < log_evidence, "{away}");
        }
    }
}

/// E w^2 with w = p(x|z)/p(x) and z from the prior, by quadrature of its definition in one
/// dimension: above 1 for 200 random noise levels and x.
#[test]
fn every_dimension_multiplies() {
    const LEAST: f64 = 1.0;
    let mut rng = rng(1101);
    for _ in 0..200 {
        let (deviation, x) = ((0.7 * normal(&mut rng)).exp(), 2.0 * normal(&mut rng));
        let s2 = deviation * deviation;
        let z = Rule::gauss_legendre(400, -12.0, 12.0);
        let log_weight = |z: f64| log_normal(x, z, s2) - log_normal(x, 0.0, 1.0 + s2);
        let moment = z.integrate(|z| (log_normal(z, 0.0, 1.0) + 2.0 * log_weight(z)).exp());
        let mean = z.integrate(|z| (log_normal(z, 0.0, 1.0) + log_weight(z)).exp());
        assert_close(mean, 1.0, 1e-10);
        assert!(moment > LEAST, "{moment} for s2 = {s2}, x = {x}");
    }
}

/// (sum w)^2 / sum w^2, for 1000 random sets of weights, against its bounds 1 and K, and at
/// both against the cases in which it attains them.
#[test]
fn effective_sample_size_limits() {
    const TOLERANCE: f64 = 1e-12;
    let size =
        |w: &[f64]| w.iter().sum::<f64>().powi(2) / w.iter().map(|w| w * w).sum::<f64>();
    let mut rng = rng(1102);
    for _ in 0..1000 {
        let weights: Vec<f64> =
            (0..rng.random_range(2..50)).map(|_| (3.0 * normal(&mut rng)).exp()).collect();
        assert!((1.0..=weights.len() as f64).contains(&size(&weights)));
    }
    assert_close(size(&[0.3; 20]), 20.0, TOLERANCE);
    assert_close(size(&[0.0, 0.0, 7.0, 0.0]), 1.0, TOLERANCE);
}

/// Expectation-maximisation from nine random sortings with 2, 4 and 7 classes, five rounds
/// each, by tables that are read off the models' answers: each round raises the sum of
/// log-likelihood and imaginary images, by exactly what the bound gains and
/// the sum of KL divergences between old and new posteriors, and the new tables are counts
/// in proportion to the old posteriors, which 108 nudges do not improve.
#[test]
fn rounds_never_worsen_the_fit() -> elbo_to_diffusion::error::Result<()> {
    const TOLERANCE: f64 = 1e-7;
    const STRENGTH: f64 = 16.0;
    let train = digits()?.train.range(0, 120);
    let average: Vec<f64> =
        Marginals::fit(&train, 0.1).log_probs.iter().map(|log_p| log_p.exp()).collect();
    let mut nudges = rng(1104);
    for (classes, start) in [2, 4, 7].into_iter().flat_map(|c| [(c, 0), (c, 1), (c, 2)]) {
        let fit = |rounds: usize| {
            let sorted = &mut stream(1103, Stream::Initialisation, start);
            let model = ClassMixture::fit(&train, classes, STRENGTH, rounds, sorted);
            Tables::read(&model, &train)
        };
        let mut before = fit(0);
        for round in 1..=5 {
            let after = fit(round);
            let shares = before.posteriors(&train);
            // One imaginary image without pixels in each class, and STRENGTH without prior.
            let penalty = |tables: &Tables| {
                let imaginary = tables.log_rows.iter().zip(average.iter().cycle());
                tables.log_prior.iter().sum::<f64>()
                    + STRENGTH * imaginary.map(|(log_p, q)| q * log_p).sum::<f64>()
            };
            let bound = |tables: &Tables| {
                let joint = train.iter().map(|x| tables.log_joint(x));
                let terms = joint.zip(&shares).flat_map(|(joint, share)| {
                    joint.into_iter().zip(share).map(|(l, r)| r * l)
                });
                terms.sum::<f64>() + penalty(tables)
            };
            let objective = |tables: &Tables| {
                let log_probs = train.iter().map(|x| log_sum_exp(&tables.log_joint(x)));
                log_probs.sum::<f64>() + penalty(tables)
            };
            let moved: f64 = shares
                .iter()
                .flatten()
                .zip(after.posteriors(&train).iter().flatten())
                .filter(|(old, _)| **old > 0.0)
                .map(|(old, new)| old * (old / new).ln())
                .sum();
            let rise = objective(&after) - objective(&before);
            assert!(rise > TOLERANCE, "{classes} classes, round {round}: {rise}");
            assert_close(rise, bound(&after) - bound(&before) + moved, TOLERANCE);
            let counted = Tables::counted(&train, &shares, &average, STRENGTH);
            for (printed, counted) in after.all().zip(counted.all()) {
                assert_close(printed, counted, TOLERANCE);
            }
            let best = bound(&after);
            for _ in 0..if round == 1 { 12 } else { 0 } {
                let nudged = after.nudged(0.05, &mut nudges);
                assert!(bound(&nudged) < best, "a nudge improves round {round}");
            }
            before = after;
        }
    }
    Ok(())
}

/// log p(c), `[C]`, and log p(x_i = v|c), `[C][d V]`, of a mixture of classes.
#[derive(Clone)]
struct Tables {
    log_prior: Vec<f64>,
    log_rows: Vec<f64>,
    levels: usize,
}

impl Tables {
    /// From what the model answers to images that differ from a blank one in one pixel.
    fn read(model: &ClassMixture, images: &Images) -> Self {
        let (dim, levels) = (images.dim(), images.grey_level_count());
        let mut image = vec![0; dim];
        let blank = model.log_joint(&image);
        let (mut log_prior, mut log_rows) = (blank.clone(), vec![Vec::new(); blank.len()]);
        for pixel in 0..dim {
            let mut rows = Vec::new();
            for level in 0..levels {
                image[pixel] = level as u8;
                rows.push(model.log_joint(&image));
            }
            image[pixel] = 0;
            for (class, blank) in blank.iter().enumerate() {
                // p(x_i = v|c) / p(x_i = 0|c) for all v adds up to 1 / p(x_i = 0|c).
                let ratios: Vec<f64> = rows.iter().map(|row| row[class] - blank).collect();
                let log_sum = log_sum_exp(&ratios);
                log_prior[class] += log_sum;
                log_rows[class].extend(ratios.iter().map(|ratio| ratio - log_sum));
            }
        }
        Self { log_prior, log_rows: log_rows.concat(), levels }
    }

    /// Counts of the images in proportion to their shares `[N][C]` in the classes.
    fn counted(
        images: &Images,
        shares: &[Vec<f64>],
        average: &[f64],
        strength: f64,
    ) -> Self {
        let (levels, classes) = (images.grey_level_count(), shares[0].len());
        let (mut log_prior, mut log_rows) = (Vec::new(), Vec::new());
        for class in 0..classes {
            let size: f64 = shares.iter().map(|share| share[class]).sum();
            log_prior.push(((size + 1.0) / (images.len() + classes) as f64).ln());
            for (cell, average) in average.iter().enumerate() {
                let (pixel, level) = (cell / levels, cell % levels);
                let in_cell = |x: &[u8]| f64::from(usize::from(x[pixel]) == level);
                let shares = images.iter().zip(shares);
                let count: f64 = shares.map(|(x, share)| in_cell(x) * share[class]).sum();
                let count = count + strength * average;
                log_rows.push((count / (size + strength)).ln());
            }
        }
        Self { log_prior, log_rows, levels }
    }

    fn all(&self) -> impl Iterator<Item = f64> {
        self.log_prior.iter().chain(&self.log_rows).copied()
    }

    fn log_joint(&self, x: &[u8]) -> Vec<f64> {
        let classes = self.log_rows.chunks(x.len() * self.levels);
        let cell = |(pixel, level): (usize, &u8)| pixel * self.levels + usize::from(*level);
        self.log_prior
            .iter()
            .zip(classes)
            .map(|(prior, row)| {
                prior + x.iter().enumerate().map(|at| row[cell(at)]).sum::<f64>()
            })
            .collect()
    }

    fn posteriors(&self, images: &Images) -> Vec<Vec<f64>> {
        let posterior = |x: &[u8]| {
            let joint = self.log_joint(x);
            let log_prob = log_sum_exp(&joint);
            joint.iter().map(|l| (l - log_prob).exp()).collect()
        };
        images.iter().map(posterior).collect()
    }

    /// Every logit moved at random, and the probabilities normalised again.
    fn nudged(&self, size: f64, rng: &mut ChaCha8Rng) -> Self {
        let mut moved = self.clone();
        let classes = moved.log_prior.len();
        for row in moved
            .log_rows
            .chunks_mut(self.levels)
            .chain(moved.log_prior.chunks_mut(classes))
        {
            row.iter_mut().for_each(|logit| *logit += size * normal(rng));
            let log_sum = log_sum_exp(row);
            row.iter_mut().for_each(|logit| *logit -= log_sum);
        }
        moved
    }
}

/// The embedded file: 1797 images of 8 x 8 pixels with the levels 0 to 16, in parts of
/// 1000, 350 and 447.
#[test]
fn digits_split() -> elbo_to_diffusion::error::Result<()> {
    const PARTS: [usize; 3] = [1000, 350, 447];
    let data = digits()?;
    let parts = [&data.train, &data.validation, &data.test];
    assert_eq!(parts.map(Images::len), PARTS);
    assert_eq!(PARTS.iter().sum::<usize>(), 1797);
    let mut seen = [false; 17];
    parts
        .iter()
        .flat_map(|part| part.iter().flatten())
        .for_each(|&level| seen[usize::from(level)] = true);
    assert!(seen.iter().all(|seen| *seen));
    assert_eq!((data.train.side(), data.train.grey_level_count()), (8, 17));
    // In the order of the file.
    let rows = file();
    let level = |row: &[u8]| row[..64].to_vec();
    assert_eq!(data.train.image(0), level(&rows[0]));
    assert_eq!(data.validation.image(0), level(&rows[1000]));
    assert_eq!(data.test.image(446), level(&rows[1796]));
    Ok(())
}

/// The lines of the embedded file: 64 levels and a label.
fn file() -> Vec<Vec<u8>> {
    let mut text = String::new();
    let bytes = include_bytes!("../../src/data/digits.csv.gz");
    GzDecoder::new(&bytes[..])
        .read_to_string(&mut text)
        .expect("a gzip file of digits and commas");
    text.lines()
        .map(|line| line.split(',').map(|n| n.trim().parse().expect("a number")).collect())
        .collect()
}

/// The labels of the file against the first 128 of them: the sequence comes back, all but a
/// few labels, at the places where another form begins, some 130 images apart; and one form
/// begins and ends between the training and the test images.
#[test]
fn forms_repeat() {
    const AGREEING: usize = 100;
    let labels: Vec<u8> = file().iter().map(|row| row[64]).collect();
    let form = &labels[..128];
    let agreeing = |start: usize| {
        let end = (start + form.len()).min(labels.len());
        labels[start..end].iter().zip(form).filter(|(label, first)| label == first).count()
    };
    // By chance a tenth of the labels would agree.
    let starts: Vec<usize> =
        (0..=labels.len() - 110).filter(|&start| agreeing(start) >= AGREEING).collect();
    assert!(starts.len() >= 8, "{starts:?}");
    for pair in starts.windows(2) {
        let forms = (pair[1] - pair[0]) as f64 / 128.5;
        assert!((forms - forms.round()).abs() < 0.05, "{starts:?}");
    }
    assert!(starts.iter().any(|start| (1000..1350 - 128).contains(start)), "{starts:?}");
}

/// How many of the 28 pixels on the border are blank in more than nine of ten training
/// images, counted from the file, against 16.
#[test]
fn border_pixels() {
    const BLANK: usize = 16;
    let train = &file()[..1000];
    let on_border = |i: &usize| [0, 7].contains(&(i % 8)) || [0, 7].contains(&(i / 8));
    let border: Vec<usize> = (0..64).filter(on_border).collect();
    assert_eq!(border.len(), 28);
    let blank = |i: &&usize| train.iter().filter(|row| row[**i] == 0).count() > 900;
    assert_eq!(border.iter().filter(blank).count(), BLANK);
}

/// The covariance of five pixels under a mixture of three classes, from draws, against the
/// covariance of the class means, within standard errors off the diagonal; and the rank of
/// the latter, 2, by its eigenvalues.
#[test]
fn class_covariance() {
    const STANDARD_ERRORS: f64 = 4.5;
    const DRAWS: usize = 200_000;
    let mut rng = rng(1104);
    let prior = random_table(&mut rng, 3);
    let means: Vec<Vec<f64>> =
        (0..3).map(|_| (0..5).map(|_| 2.0 * normal(&mut rng)).collect()).collect();
    let average: Vec<f64> =
        (0..5).map(|i| (0..3).map(|c| prior[c] * means[c][i]).sum()).collect();
    let of_means = Matrix::from_fn(5, 5, |i, j| {
        (0..3)
            .map(|c| prior[c] * (means[c][i] - average[i]) * (means[c][j] - average[j]))
            .sum()
    });
    let mut pairs = vec![elbo_to_diffusion::oracle::Estimate::default(); 25];
    for _ in 0..DRAWS {
        let class = pick(&prior, &mut rng);
        let x: Vec<f64> =
            (0..5).map(|i| means[class][i] + normal(&mut rng) - average[i]).collect();
        for (k, pair) in pairs.iter_mut().enumerate() {
            pair.push(x[k / 5] * x[k % 5]);
        }
    }
    for (k, pair) in pairs.iter().enumerate().filter(|(k, _)| k / 5 != k % 5) {
        assert!(pair.z_score(of_means[(k / 5, k % 5)]).abs() < STANDARD_ERRORS);
    }
    let mut eigenvalues: Vec<f64> =
        of_means.symmetric_eigenvalues().iter().copied().collect();
    eigenvalues.sort_by(|a, b| b.total_cmp(a));
    assert!(eigenvalues[1] > 0.1 && eigenvalues[2].abs() < 1e-12, "{eigenvalues:?}");
}

/// An index with these probabilities.
fn pick(weights: &[f64], rng: &mut impl Rng) -> usize {
    let mut left: f64 = rng.random();
    let passed = weights.iter().take_while(|w| {
        left -= **w;
        left >= 0.0
    });
    passed.count().min(weights.len() - 1)
}

/// The model of three states with the joint probabilities 1/16, 1/16 and 1/8: its evidence, its
/// posterior, and the bounds of three q in bits.
#[test]
fn three_states_by_hand() -> Outcome {
    const TOLERANCE: f64 = 1e-12;
    let (prior, likelihood) = ([0.5, 0.25, 0.25], [0.125, 0.25, 0.5]);
    let joint: Vec<f64> =
        prior.iter().zip(likelihood).map(|(p, l): (&f64, f64)| p * l).collect();
    let evidence: f64 = joint.iter().sum();
    assert_close(evidence, 0.25, TOLERANCE);
    for (joint, posterior) in joint.iter().zip([0.25, 0.25, 0.5]) {
        assert_close(joint / evidence, posterior, TOLERANCE);
    }
    // With q = the prior: 2.25 bits, a quarter more than the two of log2 p(x).
    let elbo: f64 = prior.iter().zip(&joint).map(|(q, j)| q * (j / q).log2()).sum();
    assert_close(elbo, -2.25, TOLERANCE);
    assert_close(evidence.log2() - elbo, 0.25, TOLERANCE);
    let half = 0.5 * (joint[1] / 0.5_f64).log2() + 0.5 * (joint[2] / 0.5_f64).log2();
    assert_close(half, -2.5, TOLERANCE);
    assert_close(joint[2].log2(), -3.0, TOLERANCE);
    Ok(())
}
