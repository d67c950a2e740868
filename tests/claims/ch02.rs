//! Chapter 2: the evidence lower bound.

use elbo_to_diffusion::oracle::{FiniteLatent, Rule, ScalarMixture};
use rand::RngExt;

use crate::meters::{PowerMeter, Thermometers};
use crate::scalar_latent::{ScalarLatent, ScalarNormal};
use crate::support::{
    Outcome, assert_close, assert_relative, derivative, log_normal, random_table, rng,
};

/// The meter of the program: a reading of 2 with a noise of 0.5.
const METER: PowerMeter = PowerMeter { x: 2.0, sigma: 0.5 };

fn normal(mean: f64, std: f64) -> ScalarNormal {
    ScalarNormal { mean, log_std: std.ln() }
}

/// The ELBO by its definition, E_q log p(x, z)/q(z), by quadrature. Exact for the
/// polynomials of the meter.
fn elbo(model: &impl ScalarLatent, q: ScalarNormal, rule: &Rule) -> f64 {
    rule.normal(q.mean, q.log_std.exp(), |z| model.log_joint(z) - q.log_prob(z))
}

/// The second derivatives of the ELBO in m and log s, by finite differences of its
/// definition: [mm, ms, ss].
fn hessian(model: &impl ScalarLatent, q: ScalarNormal) -> [f64; 3] {
    const H: f64 = 1e-3;
    let rule = Rule::gauss_hermite(12);
    let at = |m: f64, s: f64| {
        elbo(
            model,
            ScalarNormal { mean: q.mean + m * H, log_std: q.log_std + s * H },
            &rule,
        ) / (H * H)
    };
    [
        at(1.0, 0.0) - 2.0 * at(0.0, 0.0) + at(-1.0, 0.0),
        0.25 * (at(1.0, 1.0) - at(1.0, -1.0) - at(-1.0, 1.0) + at(-1.0, -1.0)),
        at(0.0, 1.0) - 2.0 * at(0.0, 0.0) + at(0.0, -1.0),
    ]
}

/// The slopes of the ELBO in m and log s, by finite differences of its definition.
fn slopes(model: &impl ScalarLatent, q: ScalarNormal) -> [f64; 2] {
    let rule = Rule::gauss_hermite(12);
    [
        derivative(|mean| elbo(model, ScalarNormal { mean, ..q }, &rule), q.mean),
        derivative(|log_std| elbo(model, ScalarNormal { log_std, ..q }, &rule), q.log_std),
    ]
}

/// The ELBO of a q that is zero at some z with p(x, z) > 0, against the log of the sum of
/// p(x, z) over the z that q can draw, and that against log p(x): both times below, for 200
/// random tables.
#[test]
fn bound_where_q_vanishes() -> Outcome {
    const LEAST_LOSS: f64 = 1e-3;
    let mut rng = rng(1201);
    for _ in 0..200 {
        let prior = random_table(&mut rng, 5);
        let likelihood: Vec<Vec<f64>> = (0..5).map(|_| random_table(&mut rng, 3)).collect();
        let model = FiniteLatent::new(&prior, &likelihood)?;
        let mut q = random_table(&mut rng, 4);
        q.push(0.0);
        let drawn: f64 = model.joint(1)?[..4].iter().sum();
        assert!(model.elbo(1, &q)? <= drawn.ln());
        assert!(drawn.ln() < model.log_prob(1)? - LEAST_LOSS);
    }
    Ok(())
}

/// The normal q with the least KL(q || p) to a mixture of two normals at -a and a, searched
/// on a grid by quadrature, against its two modes: on one of them for a = 3, in the middle
/// for a = 0.8.
#[test]
fn one_mode_is_preferred() -> Outcome {
    const TOLERANCE: f64 = 0.05;
    let rule = Rule::gauss_hermite(60);
    for (a, expected) in [(3.0, 3.0), (0.8, 0.0)] {
        let p = ScalarMixture::new(&[0.5, 0.5], &[-a, a], &[1.0, 1.0])?;
        let kl = |mean: f64, std: f64| {
            let q = normal(mean, std);
            rule.normal(mean, std, |z| q.log_prob(z) - p.log_prob(z))
        };
        let places = (0..=80).flat_map(|i| {
            (0..=40).map(move |j| (0.05 * f64::from(i), 0.5 + 0.05 * f64::from(j)))
        });
        let best = places.min_by(|l, r| kl(l.0, l.1).total_cmp(&kl(r.0, r.1)));
        assert_close(best.map_or(f64::NAN, |best| best.0), expected, TOLERANCE);
    }
    Ok(())
}

/// For 500 pairs of random tables: q is the posterior of the first, and the second raises
/// or lowers its ELBO by some amount, against the change of log p(x), which is never less.
#[test]
fn lift_after_a_touch() -> Outcome {
    const TOLERANCE: f64 = 1e-12;
    let mut rng = rng(1202);
    let mut raised = 0;
    for _ in 0..500 {
        let mut model = || {
            let prior = random_table(&mut rng, 4);
            let likelihood: Vec<Vec<f64>> =
                (0..4).map(|_| random_table(&mut rng, 3)).collect();
            FiniteLatent::new(&prior, &likelihood)
        };
        let (before, after) = (model()?, model()?);
        let q = before.posterior(0)?;
        let gain = after.elbo(0, &q)? - before.elbo(0, &q)?;
        raised += usize::from(gain > 0.0);
        assert!(after.log_prob(0)? - before.log_prob(0)? >= gain - TOLERANCE);
    }
    assert!(raised > 50);
    Ok(())
}

/// How many maxima log p(x, z) has on a fine grid, against two for x > sigma^2 / 2 and one
/// otherwise.
#[test]
fn when_there_are_two_modes() {
    const MARGIN: f64 = 0.02;
    let grid: Vec<f64> = (-6000..=6000).map(|i| f64::from(i) * 1e-3).collect();
    for sigma in [0.2, 0.5, 1.0, 3.0] {
        let threshold = sigma * sigma / 2.0;
        for (x, expected) in [
            (threshold - 1.0, 1),
            (threshold - MARGIN, 1),
            (threshold + MARGIN, 2),
            (threshold + 2.0, 2),
        ] {
            let meter = PowerMeter { x, sigma };
            let values: Vec<f64> = grid.iter().map(|z| meter.log_joint(*z)).collect();
            let summits = values.windows(3).filter(|w| w[1] > w[0] && w[1] >= w[2]).count();
            assert_eq!(summits, expected, "x = {x}, sigma = {sigma}");
        }
    }
}

/// The ELBO of q by quadrature of its definition, against that of its mirror image, for
/// readings and q of all kinds.
#[test]
fn mirror_images() {
    const TOLERANCE: f64 = 1e-12;
    let rule = Rule::gauss_hermite(12);
    let mut rng = rng(1203);
    for _ in 0..100 {
        let meter = PowerMeter { x: rng.random_range(-1.0..5.0), sigma: 0.2 };
        let q = normal(rng.random_range(0.1..2.0), rng.random_range(0.1..1.0));
        let mirror = ScalarNormal { mean: -q.mean, ..q };
        assert_relative(elbo(&meter, q, &rule), elbo(&meter, mirror, &rule), TOLERANCE);
    }
}

/// The second derivatives of the ELBO of the thermometers at the posterior, by finite
/// differences of its definition, against -6 in the mean, -2 in the log of the standard
/// deviation, and 0 across.
#[test]
fn curvatures_at_the_summit() {
    const TOLERANCE: f64 = 1e-4;
    let model = Thermometers { w: [1.0, 0.5], noise: 0.25, x: [1.2, 0.3] };
    let found = hessian(&model, normal(0.9, (1.0_f64 / 6.0).sqrt()));
    for (found, expected) in found.into_iter().zip([-6.0, 0.0, -2.0]) {
        assert_close(found, expected, TOLERANCE);
    }
}

/// The gap of the best q on one mode of the meter, less log 2, against the divergence of
/// that q from the posterior cut off at zero, by quadrature over positive z.
#[test]
fn rest_of_the_gap() {
    const TOLERANCE: f64 = 1e-6;
    let q = METER.best();
    let (all, right) =
        (Rule::gauss_legendre(1200, -14.0, 14.0), Rule::gauss_legendre(1200, 0.0, 14.0));
    let gap = METER.log_prob(&all) - METER.elbo(q);
    let log_mass = METER.log_prob(&right);
    let from_its_mode = right.integrate(|z| {
        q.log_prob(z).exp() * (q.log_prob(z) - METER.log_joint(z) + log_mass)
    });
    assert_close(gap - 2.0_f64.ln(), from_its_mode, TOLERANCE);
    assert!(from_its_mode > 0.01);
}

/// The Hessian of the ELBO of the meter at m = 0, s = 0.828, by finite differences of its
/// definition: both eigenvalues are negative, the slopes are zero, and the ELBO is far
/// below that on a mode.
#[test]
fn third_summit() {
    const TOLERANCE: f64 = 1e-3;
    let summit = normal(0.0, 0.828_106_18);
    assert!(slopes(&METER, summit).iter().all(|slope| slope.abs() < 1e-5));
    let [mm, ms, ss] = hessian(&METER, summit);
    assert_close(ms, 0.0, TOLERANCE);
    assert_close(mm, -1.458, TOLERANCE);
    assert_close(ss, -24.573, TOLERANCE);
    // The value all around it, further out than any finite difference.
    for angle in (0..32).map(|i| f64::from(i) * std::f64::consts::TAU / 32.0) {
        let q = ScalarNormal {
            mean: 0.05 * angle.cos(),
            log_std: summit.log_std + 0.05 * angle.sin(),
        };
        assert!(METER.elbo(q) < METER.elbo(summit) - 1e-4);
    }
    assert!(METER.elbo(METER.best()) > METER.elbo(summit) + 2.0);
}

/// The slopes at m = 0.326, s = 0.768 and at its mirror image: zero. The Hessian there has
/// one positive and one negative eigenvalue, and the ELBO is 0.038 nats below the summit
/// between them.
#[test]
fn saddles_beside_the_summit() {
    const TOLERANCE: f64 = 0.0005;
    for mean in [0.325_563_48, -0.325_563_48] {
        let saddle = normal(mean, 0.767_899_38);
        assert!(slopes(&METER, saddle).iter().all(|slope| slope.abs() < 1e-5));
        let [mm, ms, ss] = hessian(&METER, saddle);
        assert!(mm * ss - ms * ms < -1.0);
        assert_close(
            METER.elbo(normal(0.0, 0.828_106_18)) - METER.elbo(saddle),
            0.038,
            TOLERANCE,
        );
    }
}

/// Where ascents from standard deviation 1 end: at mean 0 from 0.01, 0.1, ... 0.4, on a
/// mode from 0.45, with slopes from finite differences of the ELBO's definition.
#[test]
fn starts_that_end_between() {
    const TOLERANCE: f64 = 1e-3;
    for (start, end) in
        [(0.01, 0.0), (0.1, 0.0), (0.2, 0.0), (0.3, 0.0), (0.4, 0.0), (0.45, 1.33)]
    {
        let mut q = normal(start, 1.0);
        for _ in 0..1500 {
            let [by_mean, by_log_std] = slopes(&METER, q);
            q = ScalarNormal {
                mean: q.mean + 0.01 * by_mean,
                log_std: q.log_std + 0.01 * by_log_std,
            };
        }
        assert_close(q.mean, end, TOLERANCE);
    }
}

/// p(x) of the meter with noise sigma, by quadrature over z.
fn density(x: f64, sigma: f64, z: &Rule) -> f64 {
    PowerMeter { x, sigma }.log_prob(z).exp()
}

/// The standard error of maximum likelihood from 200 readings at sigma = 0.5, from the
/// Fisher information by quadrature, against the distance 0.0498 of the program's answer:
/// between a half and one and a half of it.
#[test]
fn error_of_maximum_likelihood() {
    const STANDARD_ERRORS: std::ops::Range<f64> = 0.5..1.5;
    let (z, x) =
        (Rule::gauss_legendre(400, -7.0, 7.0), Rule::gauss_legendre(400, -3.0, 25.0));
    let information = x.integrate(|x| {
        let score = derivative(|sigma| density(x, sigma, &z).ln(), 0.5);
        density(x, 0.5, &z) * score * score
    });
    let standard_error = 1.0 / (200.0 * information).sqrt();
    assert!(
        STANDARD_ERRORS.contains(&((0.5 - 0.4502) / standard_error)),
        "{standard_error}"
    );
}

/// The sigma with the highest mean log p(x), and the one with the highest mean of the best
/// ELBO, for readings of infinite number (quadrature over their law at sigma = 0.5), on a
/// grid: 0.5 and 0.83.
#[test]
fn more_readings_do_not_help() {
    const STEP: f64 = 0.01;
    let (z, x) =
        (Rule::gauss_legendre(800, -6.0, 6.0), Rule::gauss_legendre(600, -3.0, 25.0));
    let readings: Vec<(f64, f64)> =
        x.points().map(|(x, weight)| (x, weight * density(x, 0.5, &z))).collect();
    let highest = |value: &dyn Fn(PowerMeter) -> f64| {
        let mean = |sigma: f64| {
            readings.iter().map(|&(x, p)| p * value(PowerMeter { x, sigma })).sum::<f64>()
        };
        let means =
            (30..=110).map(|i| f64::from(i) * STEP).map(|sigma| (sigma, mean(sigma)));
        means.max_by(|l, r| l.1.total_cmp(&r.1)).map_or(f64::NAN, |(sigma, _)| sigma)
    };
    assert_close(highest(&|meter| meter.log_prob(&z)), 0.5, STEP / 2.0);
    assert_close(highest(&|meter| meter.elbo(meter.best())), 0.83, STEP / 2.0);
}

/// The share of codes below -0.5 of the encoder of best q with means that are not negative,
/// at sigma = 0.2 and averaged over the law of readings by quadrature, against one
/// fiftieth; and the share of the prior, against three tenths.
#[test]
fn codes_of_the_positive_encoder() {
    const LARGEST: f64 = 0.02;
    let (z, x) =
        (Rule::gauss_legendre(300, -6.0, 6.0), Rule::gauss_legendre(2000, -3.0, 25.0));
    let below = |q: ScalarNormal| {
        Rule::gauss_legendre(100, -8.0, -0.5).integrate(|z| q.log_prob(z).exp())
    };
    let codes =
        x.integrate(|x| density(x, 0.5, &z) * below(PowerMeter { x, sigma: 0.2 }.best()));
    assert!((0.01..LARGEST).contains(&codes), "{codes}");
    assert!((0.30..0.32).contains(&below(ScalarNormal::STANDARD)));
    // Astride zero: the best q of a reading of 0.3 has mean 0.
    assert_close(PowerMeter { x: 0.3, sigma: 0.2 }.best().mean, 0.0, 0.0);
}

/// The weights of the best q on one mode, at the median of the other mode: one draw in
/// 10^45 lies beyond it. And the weights are bounded: their logarithm falls without end on
/// both sides.
#[test]
fn draws_until_the_other_mode() {
    const TOLERANCE: f64 = 0.5;
    let q = METER.best();
    let left = |to: f64| {
        Rule::gauss_legendre(400, -5.0, to).integrate(|z| METER.log_joint(z).exp())
    };
    let half = left(0.0) / 2.0;
    let (mut low, mut high) = (-3.0, 0.0);
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if left(middle) < half { low = middle } else { high = middle }
    }
    // P(z < low) of a normal so far out, by quadrature of its density.
    let distance = (q.mean - low) / q.log_std.exp();
    let log_tail = log_normal(distance, 0.0, 1.0)
        + Rule::gauss_legendre(200, 0.0, 5.0)
            .integrate(|t| (-distance * t - 0.5 * t * t).exp())
            .ln();
    assert_close(-log_tail / 10.0_f64.ln(), 45.4, TOLERANCE);
    let log_weight = |z: f64| METER.log_joint(z) - q.log_prob(z);
    let largest =
        (-400..=400).map(|i| log_weight(f64::from(i) / 100.0)).fold(f64::MIN, f64::max);
    assert!([-8.0, -16.0, 8.0, 16.0].iter().all(|z| log_weight(*z) < largest - 1000.0));
}

/// The gap of a q on one of M equal bumps that do not overlap, by sums over a fine grid of
/// each, against log M.
#[test]
fn price_of_a_lost_mode() {
    const TOLERANCE: f64 = 1e-12;
    let bump = random_table(&mut rng(1204), 30);
    for modes in 2..=6 {
        let posterior: Vec<f64> =
            (0..modes).flat_map(|_| bump.iter().map(|p| p / f64::from(modes))).collect();
        let q: Vec<f64> = bump
            .iter()
            .copied()
            .chain(std::iter::repeat(0.0))
            .take(posterior.len())
            .collect();
        let pairs = q.iter().zip(&posterior).filter(|(q, _)| **q > 0.0);
        let gap: f64 = pairs.map(|(q, p)| q * (q / p).ln()).sum();
        assert_close(gap, f64::from(modes).ln(), TOLERANCE);
    }
}
