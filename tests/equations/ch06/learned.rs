//! The learned schedule: monotone by construction, and trained for a lower variance.

use elbo_to_diffusion::oracle::process::sigmoid;
use elbo_to_diffusion::oracle::{Estimate, NoiseLevel, Rule, ScalarMixture};
use elbo_to_diffusion::vdm::{Monotone, Schedule};
use rand::RngExt;

use super::{GAMMA_MAX, GAMMA_MIN, SCHEDULES, data, mmse};
use crate::support::{
    Outcome, assert_close, assert_estimates, assert_relative, derivative, normal, rng,
};
use crate::tex::{Values, digest, tex};

/// gamma'(t) of the monotone network as the page writes it, against central differences of
/// gamma(t), for random parameters of every sign; above zero on 2001 points; and gamma(0),
/// gamma(1) are the end points bit for bit. Kind: finite differences.
#[test]
fn monotone_derivative() -> Outcome {
    const TOLERANCE: f64 = 1e-8;
    let page = tex("monotone-derivative");
    let mut rng = rng(611);
    for gammas in [(-13.3, 5.0), (-8.0, 5.0), (0.1, 0.3)] {
        for _ in 0..5 {
            let mut draw = |scale: f64| -> Vec<f64> {
                (0..8).map(|_| scale * normal(&mut rng)).collect()
            };
            let (a, b, c, w) = (draw(1.0), draw(5.0), draw(3.0), -0.4_f64);
            let network = Monotone {
                gamma_min: gammas.0,
                gamma_max: gammas.1,
                slope: w,
                heights: a.clone(),
                rates: b.clone(),
                offsets: c.clone(),
            };
            let hidden = |f: &dyn Fn(f64) -> f64, t: f64, power: i32| -> f64 {
                (0..8)
                    .map(|j| a[j].abs() * b[j].abs().powi(power) * f(b[j].abs() * t + c[j]))
                    .sum()
            };
            let g = |t: f64| w.abs() * t + hidden(&sigmoid, t, 0);
            let slope = |t: f64| {
                let bell = |s: f64| sigmoid(s) * (1.0 - sigmoid(s));
                (gammas.1 - gammas.0) / (g(1.0) - g(0.0)) * (w.abs() + hidden(&bell, t, 1))
            };
            for i in 0..=2000 {
                let t = f64::from(i) / 2000.0;
                assert!(slope(t) > 0.0, "gamma is not increasing at {t}");
                assert!(network.gamma(t) <= network.gamma(t + 1.0 / 2000.0));
                if i % 100 == 50 {
                    let values = Values::default()
                        .number(r"\gamma_\eta'(t)", derivative(|t| network.gamma(t), t))
                        .number(r"\gmin", gammas.0)
                        .number(r"\gmax", gammas.1)
                        .function("g", |t| g(t[0]))
                        .number("w", w)
                        .function("a", |j| a[j[0] as usize])
                        .function("b", |j| b[j[0] as usize])
                        .function("s", |j| {
                            sigmoid(b[j[0] as usize].abs() * t + c[j[0] as usize])
                        })
                        .function("c", |j| c[j[0] as usize])
                        .number("t", t)
                        .number("j", 3.0)
                        .range("j", 0, 7);
                    let step = page.part(1, &values);
                    assert_relative(step[1], step[0], TOLERANCE);
                    let [exact, formula, zero] = page.part(0, &values)[..] else {
                        panic!("three sides")
                    };
                    assert_relative(formula, exact, TOLERANCE);
                    assert_eq!(zero, 0.0);
                    assert_relative(network.slope(t), slope(t), TOLERANCE);
                }
            }
            assert_eq!((network.gamma(0.0), network.gamma(1.0)), gammas);
        }
    }
    Ok(())
}

/// E |eps - eps_hat|^4 of the ideal denoiser at this gamma: SNR^2 times the fourth central
/// moment of q(x|z), averaged over z.
fn fourth_moment(data: &ScalarMixture, gamma: f64, rule: &Rule) -> f64 {
    let level = NoiseLevel::new(gamma);
    let moment = |z: f64| data.posterior(z, level).central_moments().1;
    let average: f64 = data
        .marginal(level)
        .components()
        .map(|(w, m, v)| w * rule.normal(m, v.sqrt(), moment))
        .sum();
    level.snr().powi(2) * average
}

/// One draw of L_MC = (1/2) gamma'(t) |eps - eps_hat(z_t)|^2 at a uniform t.
fn draw(
    data: &ScalarMixture,
    gamma: impl Fn(f64) -> f64,
    slope: impl Fn(f64) -> f64,
    rng: &mut rand_chacha::ChaCha8Rng,
) -> f64 {
    let t: f64 = rng.random();
    let (x, eps, level) = (data.sample(rng), normal(rng), NoiseLevel::new(gamma(t)));
    let z = level.noised(x, eps);
    let x_hat = data.posterior(z, level).mean();
    0.5 * slope(t) * level.snr() * (x - x_hat).powi(2)
}

/// The variance of one draw, (1/4) int gamma'(t)^2 E|eps - eps_hat|^4 dt - L_inf^2, against
/// the sample variance for three schedules: the mean is one number, the variance is not. A
/// monotone network trained by gradient descent on the variance keeps the mean and comes
/// within 10 % of the least second moment, ((1/2) int sqrt(E|eps - eps_hat|^4) dgamma)^2,
/// which it cannot pass. Kind: Monte Carlo, quadrature, gradient descent.
#[test]
fn schedule_variance() -> Outcome {
    digest("schedule-variance", "eb292dad422b");
    const STANDARD_ERRORS: f64 = 5.0;
    const TRAINED_TOLERANCE: f64 = 0.1;
    let (data, hermite, mut rng) = (data()?, Rule::gauss_hermite(80), rng(612));
    let gamma_rule = Rule::gauss_legendre(200, GAMMA_MIN, GAMMA_MAX);
    let mean = 0.5 * gamma_rule.integrate(|g| (-g).exp() * mmse(&data, g, &hermite));
    let unit = Rule::gauss_legendre(100, 0.0, 1.0);
    let second_moment = |gamma: &dyn Fn(f64) -> f64, slope: &dyn Fn(f64) -> f64| -> f64 {
        0.25 * unit
            .integrate(|t| slope(t).powi(2) * fourth_moment(&data, gamma(t), &hermite))
    };
    let mut variances = Vec::new();
    for (gamma, slope) in SCHEDULES {
        let variance = second_moment(&gamma, &slope) - mean * mean;
        let mut squares = Estimate::default();
        let losses = Estimate::of(40_000, || {
            let loss = draw(&data, gamma, slope, &mut rng);
            squares.push((loss - mean).powi(2));
            loss
        });
        assert_estimates(&losses, mean, STANDARD_ERRORS);
        assert_estimates(&squares, variance, STANDARD_ERRORS);
        variances.push(variance);
    }

    // Training reads the fourth moment from a table, 0.02 apart in gamma.
    let table: Vec<f64> = (0..=650)
        .map(|i| fourth_moment(&data, GAMMA_MIN + 0.02 * f64::from(i), &hermite))
        .collect();
    let lookup = |gamma: f64| {
        let place = ((gamma - GAMMA_MIN) / 0.02).clamp(0.0, 649.999);
        let (i, part) = (place as usize, place.fract());
        table[i] * (1.0 - part) + table[i + 1] * part
    };
    let network = |p: &[f64]| {
        let [heights, rates, offsets] = [1, 7, 13].map(|i| p[i..i + 6].to_vec());
        Monotone {
            gamma_min: GAMMA_MIN,
            gamma_max: GAMMA_MAX,
            slope: p[0],
            heights,
            rates,
            offsets,
        }
    };
    let coarse = Rule::gauss_legendre(60, 0.0, 1.0);
    let objective = |p: &[f64]| -> f64 {
        let network = network(p);
        let squares =
            coarse.integrate(|t| network.slope(t).powi(2) * lookup(network.gamma(t)));
        (0.25 * squares).ln()
    };
    let mut parameters = vec![1.0];
    parameters.extend([0.3; 6]);
    parameters.extend([8.0; 6]);
    parameters.extend((0..6).map(|j| -8.0 * (f64::from(j) + 0.5) / 6.0));
    for _ in 0..1000 {
        let gradient: Vec<f64> = (0..parameters.len())
            .map(|i| {
                let moved = |by: f64| {
                    let mut moved = parameters.clone();
                    moved[i] += by;
                    objective(&moved)
                };
                (moved(1e-4) - moved(-1e-4)) / 2e-4
            })
            .collect();
        for (p, g) in parameters.iter_mut().zip(gradient) {
            *p -= g;
        }
    }
    let trained = network(&parameters);
    let (gamma, slope) = (|t| trained.gamma(t), |t| trained.slope(t));
    let least =
        (0.5 * gamma_rule.integrate(|g| fourth_moment(&data, g, &hermite).sqrt())).powi(2);
    let reached = second_moment(&gamma, &slope);
    assert!(reached > least * (1.0 - 1e-6));
    assert_relative(reached, least, TRAINED_TOLERANCE);
    assert!(variances.iter().all(|variance| reached - mean * mean < 0.8 * variance));
    let losses = Estimate::of(40_000, || draw(&data, gamma, slope, &mut rng));
    assert_estimates(&losses, mean, STANDARD_ERRORS);
    assert!(losses.variance() < 0.9 * variances[0]);
    Ok(())
}

/// E[2 L_MC dL_MC/deta] along each path (t, x, eps), by quadrature, against the slope of
/// Var L_MC in eta, by finite differences of the fourth moment of the posterior:
/// multiplying the gradient by 2 L trains the variance. And E[dL_MC/deta] = 0: the mean
/// does not depend on eta. Kind: quadrature, finite differences.
#[test]
fn variance_gradient() -> Outcome {
    digest("variance-gradient", "97e327da4f82");
    const TOLERANCE: f64 = 1e-7;
    let data = ScalarMixture::new(&[0.4, 0.6], &[-0.6, 0.7], &[0.3, 0.4])?;
    let (gamma_min, gamma_max, eta) = (-3.0, 3.0, 0.3);
    // gamma_eta(t) = gamma_min + (gamma_max - gamma_min)(t + eta t (1 - t)).
    let range = gamma_max - gamma_min;
    let gamma = |eta: f64, t: f64| gamma_min + range * (t + eta * t * (1.0 - t));
    let slope = |eta: f64, t: f64| range * (1.0 + eta * (1.0 - 2.0 * t));
    let (unit, hermite) = (Rule::gauss_legendre(30, 0.0, 1.0), Rule::gauss_hermite(40));
    let loss = |eta: f64, t: f64, x: f64, eps: f64| {
        let level = NoiseLevel::new(gamma(eta, t));
        let x_hat = data.posterior(level.noised(x, eps), level).mean();
        0.5 * slope(eta, t) * level.snr() * (x - x_hat).powi(2)
    };
    let (mut pathwise, mut drift) = (0.0, 0.0);
    for (t, t_weight) in unit.points() {
        for (w, m, v) in data.components() {
            for (node, x_weight) in hermite.points() {
                let x = m + v.sqrt() * node;
                for (eps, eps_weight) in hermite.points() {
                    let weight = t_weight * w * x_weight * eps_weight;
                    if weight > 1e-18 {
                        let change = derivative(|eta| loss(eta, t, x, eps), eta);
                        pathwise += weight * 2.0 * loss(eta, t, x, eps) * change;
                        drift += weight * change;
                    }
                }
            }
        }
    }
    let fine = Rule::gauss_hermite(80);
    let variance = |eta: f64| -> f64 {
        let mean = 0.5
            * unit.integrate(|t| {
                slope(eta, t) * (-gamma(eta, t)).exp() * mmse(&data, gamma(eta, t), &fine)
            });
        0.25 * unit.integrate(|t| {
            slope(eta, t).powi(2) * fourth_moment(&data, gamma(eta, t), &fine)
        }) - mean * mean
    };
    assert_close(drift, 0.0, TOLERANCE);
    assert_close(pathwise, derivative(variance, eta), TOLERANCE);
    Ok(())
}
