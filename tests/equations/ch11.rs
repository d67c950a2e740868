//! Chapter 11: straight lines from data to noise, and the velocity along them.

use elbo_to_diffusion::{
    flow::Solver,
    oracle::{Error, Estimate, NoiseLevel, Rule, ScalarMixture},
};

use crate::support::{
    Outcome, assert_close, assert_estimates, assert_relative, derivative, normal, rng,
};
use crate::tex::{Values, digest, tex};

/// Places on the line.
const TIMES: [f64; 5] = [0.05, 0.3, 0.5, 0.75, 0.95];

/// Two bumps on the line, of different widths.
fn bumps() -> Result<ScalarMixture, Error> {
    ScalarMixture::new(&[0.35, 0.65], &[-0.8, 0.9], &[0.09, 0.16])
}

/// The joint law of x and eps given the point (1 - t) x + t eps = z, by Bayes' rule on a
/// grid of eps: E[f(x, eps) | z]. Needs 0 < t < 1.
fn given(data: &ScalarMixture, z: f64, t: f64, f: impl Fn(f64, f64) -> f64) -> f64 {
    let (mut total, mut sum) = (0.0, 0.0);
    let step = 1e-3 / t;
    for i in -20_000..=20_000 {
        let eps = z / t * 0.5 + step * f64::from(i);
        let x = (z - t * eps) / (1.0 - t);
        let density = (data.log_prob(x) - 0.5 * eps * eps).exp();
        total += density;
        sum += density * f(x, eps);
    }
    sum / total
}

/// The law of (1 - t) x + t eps.
fn law(data: &ScalarMixture, t: f64) -> ScalarMixture {
    data.affine(1.0 - t, t * t)
}

/// u(z, t), from the score.
fn velocity(data: &ScalarMixture, z: f64, t: f64) -> f64 {
    -(z + t * law(data, t).score(z)) / (1.0 - t)
}

/// The law of the noise.
fn noise() -> Result<ScalarMixture, Error> {
    ScalarMixture::new(&[1.0], &[0.0], &[1.0])
}

/// The point below which this share of a law lies, by bisection.
fn quantile(law: &ScalarMixture, share: f64) -> f64 {
    let (mut low, mut high) = (-12.0, 12.0);
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if law.cdf(middle) < share { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// Where the flow carries noise: on a line it keeps the order, so as much lies below.
fn end(data: &ScalarMixture, noise: &ScalarMixture, eps: f64) -> f64 {
    quantile(data, noise.cdf(eps))
}

/// A point of the line, with the scale, the ratio of powers and the noise level of the page,
/// against z_t of that noise level. Kind: closed form.
#[test]
fn line_schedule() {
    const TOLERANCE: f64 = 1e-10;
    let (page, mut rng) = (tex("line-schedule"), rng(1101));
    for t in TIMES {
        let level = NoiseLevel::from_abar((1.0 - t).powi(2) / ((1.0 - t).powi(2) + t * t));
        let (x, eps) = (normal(&mut rng), normal(&mut rng));
        let values = Values::default()
            .number("t", t)
            .number(r"\tilde z_t", (1.0 - t) * x + t * eps)
            .number("z_t", level.noised(x, eps))
            .number(r"\snr", level.abar() / level.noise())
            .number(r"\gamma(t)", level.gamma);
        for part in 0..3 {
            let sides = page.part(part, &values);
            assert_close(sides[0], sides[1], TOLERANCE);
        }
    }
}

/// The slope by t of the law of the points, by finite differences of its density, against
/// that of u times the density, with u by Bayes' rule on a grid. Kind: quadrature.
#[test]
fn line_continuity() -> Outcome {
    digest("line-continuity", "70c1b7a847dc");
    const TOLERANCE: f64 = 1e-7;
    let data = bumps()?;
    for t in [0.3, 0.5, 0.75] {
        for z in [-0.9, -0.2, 0.4, 1.1] {
            let slope = derivative(|t| law(&data, t).log_prob(z).exp(), t);
            let stream = |z: f64| {
                given(&data, z, t, |x, eps| eps - x) * law(&data, t).log_prob(z).exp()
            };
            assert_close(slope, -derivative(stream, z), TOLERANCE);
        }
    }
    Ok(())
}

/// A velocity that is wrong.
fn wrong(z: f64, t: f64) -> f64 {
    0.3 - 0.4 * z + 0.8 * t * z
}

/// Value at the weights (a, b, c) of E|a + b z + c t z - target|^2: over lines with target
/// eps - x, exactly; and over points with target u.
fn objectives(data: &ScalarMixture, weights: [f64; 3]) -> [f64; 2] {
    let [a, b, c] = weights;
    let model = |z: f64, t: f64| a + b * z + c * t * z;
    let hermite = Rule::gauss_hermite(12);
    let mut sums = [0.0; 2];
    for (t, dt) in Rule::gauss_legendre(30, 0.0, 1.0).points() {
        for (w, m, v) in data.components() {
            sums[0] += dt
                * w
                * hermite.integrate_2d(|standard, eps| {
                    let x = m + v.sqrt() * standard;
                    (model((1.0 - t) * x + t * eps, t) - (eps - x)).powi(2)
                });
        }
        let (law, step) = (law(data, t), 0.01);
        sums[1] += (-900..=900)
            .map(|i| {
                let z = step * f64::from(i);
                let error = model(z, t) - velocity(data, z, t);
                dt * step * law.log_prob(z).exp() * error * error
            })
            .sum::<f64>();
    }
    sums
}

/// The two objectives of two models, over lines by Gauss-Hermite and over points on a grid:
/// they differ by the same constant, the variance of eps - x given the point, found by Bayes'
/// rule. Kind: quadrature.
#[test]
fn conditional_flow_matching() -> Outcome {
    digest("conditional-flow-matching", "e59c5646e678");
    const TOLERANCE: f64 = 1e-9;
    let data = bumps()?;
    let gap = |weights| {
        let [lines, points] = objectives(&data, weights);
        lines - points
    };
    let constant = gap([0.3, -0.4, 0.8]);
    assert_close(gap([-1.0, 0.2, 0.1]), constant, TOLERANCE);
    // Var(eps - x | z) is Var(x | z) / t^2: the posterior variance of the oracle.
    let known = Rule::gauss_legendre(30, 0.0, 1.0).integrate(|t| {
        let level = NoiseLevel::new(2.0 * (t / (1.0 - t)).ln());
        let (marginal, step) = (data.marginal(level), 0.005);
        let mean: f64 = (-1600..=1600)
            .map(|i| step * f64::from(i))
            .map(|z| {
                step * marginal.log_prob(z).exp() * data.posterior(z, level).variance()
            })
            .sum();
        mean / (t * t)
    });
    assert_close(constant, known, TOLERANCE);
    Ok(())
}

/// The slopes of the two objectives by each weight of a model, by differences: both are
/// quadratic in the weights, so that central differences are exact. Kind: quadrature.
#[test]
fn same_gradient() -> Outcome {
    digest("same-gradient", "73537ddd463c");
    const TOLERANCE: f64 = 1e-9;
    let (data, at) = (bumps()?, [0.9, 0.7, -0.2]);
    for i in 0..3 {
        let moved = |by: f64| {
            let mut weights = at;
            weights[i] += by;
            objectives(&data, weights)
        };
        let (up, down) = (moved(0.5), moved(-0.5));
        assert_close(up[0] - down[0], up[1] - down[1], TOLERANCE);
        assert!((up[0] - down[0]).abs() > 0.01, "a slope of nothing shows nothing");
    }
    Ok(())
}

/// u by Bayes' rule on a grid, against its readings from E[x|z], from E[eps|z] and from the
/// score. Kind: quadrature.
#[test]
fn velocity_readings() -> Outcome {
    digest("velocity-readings", "96522538505b");
    const TOLERANCE: f64 = 1e-9;
    let data = bumps()?;
    for t in [0.2, 0.5, 0.8] {
        for z in [-0.7, 0.1, 0.6] {
            let u = given(&data, z, t, |x, eps| eps - x);
            let level = NoiseLevel::new(2.0 * (t / (1.0 - t)).ln());
            let scale = ((1.0 - t).powi(2) + t * t).sqrt();
            let x = data.denoise(z / scale, level).0;
            let eps = given(&data, z, t, |_, eps| eps);
            assert_close(u, (z - x) / t, TOLERANCE);
            assert_close(u, (eps - z) / (1.0 - t), TOLERANCE);
            assert_close(u, -(z + t * law(&data, t).score(z)) / (1.0 - t), TOLERANCE);
        }
    }
    Ok(())
}

/// x from z, eps - x and the noise level, as the page prints it. Kind: closed form.
#[test]
fn u_from_x() {
    const TOLERANCE: f64 = 1e-12;
    let (page, mut rng) = (tex("u-from-x"), rng(1102));
    for gamma in [-8.0, -2.0, 0.0, 1.5, 5.0] {
        let level = NoiseLevel::new(gamma);
        let (x, eps) = (normal(&mut rng), normal(&mut rng));
        let values = Values::default()
            .number(r"\xhat", x)
            .number("z", level.noised(x, eps))
            .number(r"\hat u", eps - x)
            .number(r"\abar", level.abar());
        let sides = page.sides(&values);
        assert_close(sides[0], sides[1], TOLERANCE);
    }
}

/// The error of u at one point, for which x and x_hat are two guesses, against the error of
/// x; and t from signal and noise, and from gamma. Kind: closed form.
#[test]
fn velocity_error() {
    const TOLERANCE: f64 = 1e-11;
    let (page, mut rng) = (tex("velocity-error"), rng(1103));
    for t in TIMES {
        let (x, eps, x_hat) = (normal(&mut rng), normal(&mut rng), normal(&mut rng));
        let z = (1.0 - t) * x + t * eps;
        // The noise that goes with x_hat at this point.
        let eps_hat = (z - (1.0 - t) * x_hat) / t;
        let gamma = 2.0 * (t / (1.0 - t)).ln();
        let values = Values::default()
            .number("u", eps - x)
            .number(r"\hat u", eps_hat - x_hat)
            .number("x", x)
            .number(r"\xhat", x_hat)
            .number("t", t)
            .number(r"\abar", NoiseLevel::new(gamma).abar())
            .number(r"\gamma", gamma);
        let sides = page.part(0, &values);
        assert_relative(sides[0], sides[1], TOLERANCE);
        let sides = page.part(1, &values);
        assert_close(sides[0], sides[1], TOLERANCE);
        assert_close(sides[0], sides[2], TOLERANCE);
    }
}

/// The mean squared error of a wrong velocity over lines, integrated over t, against the
/// loss of the bound of the denoiser that it means, over z_t and gamma, with the factor
/// e^(gamma/2). Kind: quadrature.
#[test]
fn flow_matching_weight() -> Outcome {
    digest("flow-matching-weight", "6e385edb34c9");
    const TOLERANCE: f64 = 1e-9;
    let (data, hermite) = (bumps()?, Rule::gauss_hermite(12));
    let (low, high) = (0.1, 0.9);
    let gamma = |t: f64| 2.0 * (t / (1.0 - t)).ln();
    let over_t = Rule::gauss_legendre(60, low, high).integrate(|t| {
        let square = |(w, m, v): (f64, f64, f64)| {
            w * hermite.integrate_2d(|standard, eps| {
                let x = m + v.sqrt() * standard;
                (eps - x - wrong((1.0 - t) * x + t * eps, t)).powi(2)
            })
        };
        data.components().map(square).sum()
    });
    let over_gamma =
        Rule::gauss_legendre(120, gamma(low), gamma(high)).integrate(|gamma| {
            let (level, step) = (NoiseLevel::new(gamma), 0.01);
            let (signal, noise) = (level.abar().sqrt(), level.noise().sqrt());
            let marginal = data.marginal(level);
            let square = |z: f64| {
                // The same velocity at this z_t, read as x_hat.
                let t = noise / (signal + noise);
                let x_hat = (z - noise * wrong(z / (signal + noise), t)) / (signal + noise);
                let known = data.posterior(z, level);
                known.variance() + (known.mean() - x_hat).powi(2)
            };
            let mean: f64 = (-900..=900)
                .map(|i| step * f64::from(i))
                .map(|z| step * marginal.log_prob(z).exp() * square(z))
                .sum();
            (0.5 * gamma).exp() * 0.5 * level.snr() * mean
        });
    assert_relative(over_t, over_gamma, TOLERANCE);
    Ok(())
}

/// A step of Euler's method along the line, as the page prints it in two ways, against DDIM
/// between the two noise levels. Kind: closed form.
#[test]
fn euler_is_ddim() {
    const TOLERANCE: f64 = 1e-12;
    let page = tex("euler-is-ddim");
    let gamma = |t: f64| 2.0 * (t / (1.0 - t)).ln();
    let scale = |t: f64| ((1.0 - t).powi(2) + t * t).sqrt();
    for (s, t) in [(0.1, 0.3), (0.4, 0.9), (0.02, 0.97)] {
        let (z, x_hat) = (0.7, -0.3);
        let ddim = Solver::Ddim.solve(&[gamma(t), gamma(s)], z / scale(t), |_, _| x_hat);
        let values = Values::default()
            .number("s", s)
            .number("t", t)
            .number(r"\tilde z_t", z)
            .number(r"\tilde z_s", scale(s) * ddim)
            .number(r"\xhat", x_hat)
            .number(r"\epshat", (z - (1.0 - t) * x_hat) / t)
            .number(r"\hat u", (z - x_hat) / t);
        let sides = page.part(0, &values);
        assert_close(sides[0], sides[1], TOLERANCE);
        assert_close(sides[0], sides[2], TOLERANCE);
        let sides = page.part(1, &values);
        assert_close(sides[0], sides[1], TOLERANCE);
    }
}

/// E|eps - x|^2 of independent pairs from moments; the least loss from posterior variances;
/// the bend and the ends' cost along paths through quantiles, which need no solver. Kind:
/// quadrature.
#[test]
fn cost_split() -> Outcome {
    digest("cost-split", "0c82e3abad21");
    const TOLERANCE: f64 = 1e-7;
    let data = bumps()?;
    let pairs = 1.0 + data.variance() + data.mean().powi(2);
    let least = Rule::gauss_legendre(30, 0.0, 1.0).integrate(|t| {
        let level = NoiseLevel::new(2.0 * (t / (1.0 - t)).ln());
        let (marginal, step) = (data.marginal(level), 0.005);
        let mean: f64 = (-1600..=1600)
            .map(|i| step * f64::from(i))
            .map(|z| {
                step * marginal.log_prob(z).exp() * data.posterior(z, level).variance()
            })
            .sum();
        mean / (t * t)
    });
    // Over the data: up the flow, points that lie close stay close.
    let (times, noise) = (Rule::gauss_legendre(24, 0.0, 1.0), noise()?);
    let (mut bend, mut ends, step) = (0.0, 0.0, 0.01);
    for i in -280..=350 {
        let x = step * f64::from(i);
        let (weight, share) = (step * data.log_prob(x).exp(), data.cdf(x));
        let whole = quantile(&noise, share) - x;
        ends += weight * whole * whole;
        let off = |t: f64| {
            let z = quantile(&law(&data, t), share);
            (whole - velocity(&data, z, t)).powi(2)
        };
        bend += weight * times.integrate(off);
    }
    assert!(bend > 0.01 && least > 0.1, "{bend} {least}");
    assert_close(pairs, ends + bend + least, TOLERANCE);
    Ok(())
}

/// The cost of the ends of the flow, through quantiles, against that of independent pairs:
/// draws of both. Kind: Monte Carlo.
#[test]
fn reflow_cost() -> Outcome {
    digest("reflow-cost", "d0534caea39c");
    const STANDARD_ERRORS: f64 = 4.0;
    let (data, standard, mut rng) = (bumps()?, noise()?, rng(1104));
    let independent = Estimate::of(4000, || {
        let x = data.sample(&mut rng);
        (normal(&mut rng) - x).powi(2)
    });
    assert_estimates(
        &independent,
        1.0 + data.variance() + data.mean().powi(2),
        STANDARD_ERRORS,
    );
    let ends = Estimate::of(4000, || {
        let eps = normal(&mut rng);
        (eps - end(&data, &standard, eps)).powi(2)
    });
    let error = independent.standard_error().hypot(ends.standard_error());
    assert!(ends.mean() < independent.mean() - STANDARD_ERRORS * error);
    Ok(())
}

/// On the line: the velocity of the joined ends is that of the one line through each point,
/// found by bisection; its flow, by many small steps, arrives where one step from the noise
/// does, which is where the share below is the same. Kind: closed form.
#[test]
fn reflow_on_the_line() -> Outcome {
    digest("reflow-on-the-line", "601ec1cfb2de");
    const TOLERANCE: f64 = 1e-9;
    let (data, noise) = (bumps()?, noise()?);
    // The noise whose line passes through z at t: there is one, because the ends keep their
    // order.
    let through = |z: f64, t: f64| {
        let (mut low, mut high) = (-8.0, 8.0);
        for _ in 0..70 {
            let eps = 0.5 * (low + high);
            let there = (1.0 - t) * end(&data, &noise, eps) + t * eps;
            if there < z { low = eps } else { high = eps }
        }
        0.5 * (low + high)
    };
    let velocity = |z: f64, t: f64| {
        let eps = through(z, t);
        eps - end(&data, &noise, eps)
    };
    for eps in [-1.3, -0.2, 0.9] {
        let mut z = eps;
        for i in 0..10 {
            z -= 0.1 * velocity(z, 1.0 - 0.1 * f64::from(i));
        }
        assert_close(z, eps - velocity(eps, 1.0), TOLERANCE);
        assert_close(z, end(&data, &noise, eps), TOLERANCE);
    }
    Ok(())
}
