//! The noise of the meter, theta, learned from many readings.

use std::iter::successors;

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    error::Result,
    figure::{Axis, Plot, Series, Style},
    oracle::Rule,
    random::{Stream, rng},
};
use rand_distr::{Distribution, StandardNormal};

use super::{meters::PowerMeter, scalar_latent::ScalarLatent};

/// Rounds of learning.
const ROUNDS: usize = 60;

/// What was learned.
pub struct Theta {
    from_above: Learned,
    from_below: Learned,
    /// The sigma of the highest evidence.
    most_likely: f64,
    /// The evidence and the highest ELBO over a range of sigma.
    curve: Vec<At>,
}

/// Sigma, round after round.
struct Learned {
    /// The first sigma.
    start: f64,
    /// The last sigma.
    end: f64,
    rounds: Vec<Round>,
    /// sigma and the ELBO of every round.
    path: Vec<(f64, f64)>,
}

/// Where learning stands after some rounds.
struct Round {
    round: usize,
    at: At,
    kl: f64,
}

/// Means over the readings at one sigma, in nats.
struct At {
    sigma: f64,
    elbo: f64,
    evidence: f64,
}

/// 200 readings of a meter with sigma = 1/2.
pub fn readings(seed: u64) -> Vec<f64> {
    let noise = &mut rng(seed, Stream::Batch, 0);
    let mut normal = || -> f64 { StandardNormal.sample(&mut *noise) };
    (0..200).map(|_| normal().powi(2) + 0.5 * normal()).collect()
}

// ANCHOR: learn
/// The readings, and the nodes over which z is integrated.
struct Readings<'a> {
    x: &'a [f64],
    z: Rule,
}

impl Readings<'_> {
    fn mean(&self, sigma: f64, f: impl Fn(PowerMeter) -> f64) -> f64 {
        let sum: f64 = self.x.iter().map(|&x| f(PowerMeter { x, sigma })).sum();
        sum / self.x.len() as f64
    }

    fn evidence(&self, sigma: f64) -> f64 {
        self.mean(sigma, |meter| meter.log_prob(&self.z))
    }

    fn elbo(&self, sigma: f64) -> f64 {
        self.mean(sigma, |meter| meter.elbo(meter.best()))
    }

    fn kl(&self, sigma: f64) -> f64 {
        self.mean(sigma, |meter| meter.kl_to_posterior(meter.best(), &self.z))
    }

    /// One round. Phi: the best q of every reading at this sigma.
    /// Theta: the best sigma for these q, from dELBO/dsigma = 0.
    fn round(&self, sigma: f64) -> f64 {
        self.mean(sigma, |meter| meter.expected_misfit(meter.best())).sqrt()
    }

    /// Expectation-maximisation: the same with the model's posterior in the place of q.
    fn exact_round(&self, sigma: f64) -> f64 {
        let misfit = |meter: PowerMeter| {
            let log_prob = meter.log_prob(&self.z);
            let posterior = |z| (meter.log_joint(z) - log_prob).exp();
            self.z.integrate(|z| posterior(z) * (meter.x - z * z).powi(2))
        };
        self.mean(sigma, misfit).sqrt()
    }
}

/// All sigma on the way from the first.
fn learn(start: f64, round: impl Fn(f64) -> f64) -> Vec<f64> {
    successors(Some(start), |&sigma| Some(round(sigma))).take(ROUNDS + 1).collect()
}
// ANCHOR_END: learn

/// Learns sigma with the best q from two starts, and with the posterior.
pub fn learn_from(readings: &[f64]) -> Theta {
    let readings = Readings { x: readings, z: Rule::gauss_legendre(1200, -14.0, 14.0) };
    let at = |sigma| At {
        sigma,
        elbo: readings.elbo(sigma),
        evidence: readings.evidence(sigma),
    };
    let from = |start| {
        let sigmas = learn(start, |sigma| readings.round(sigma));
        let round = |round: usize| Round {
            round,
            at: at(sigmas[round]),
            kl: readings.kl(sigmas[round]),
        };
        Learned {
            start,
            end: sigmas[ROUNDS],
            rounds: [0, 1, 2, 4, 8, 16, 32, ROUNDS].map(round).into(),
            path: sigmas.iter().map(|&sigma| (sigma, readings.elbo(sigma))).collect(),
        }
    };
    Theta {
        from_above: from(3.0),
        from_below: from(0.2),
        most_likely: learn(1.0, |sigma| readings.exact_round(sigma))[ROUNDS],
        curve: (0..=70).map(|i| at(0.2 + 0.04 * f64::from(i))).collect(),
    }
}

/// Prints the rounds, and draws both summits.
pub fn report(chapter: &mut Chapter, theta: &Theta) -> Result<()> {
    let report = &mut chapter.report;
    for learned in [&theta.from_above, &theta.from_below] {
        report.section(&format!("Learning theta from sigma = {}", learned.start));
        let row = |Round { round, at, kl }: &Round| {
            (round.to_string(), [at.sigma, at.elbo, *kl, at.evidence])
        };
        report.exact_table(
            &["round", "sigma", "ELBO", "KL", "log p(x)"],
            4,
            learned.rounds.iter().map(row),
        );
    }
    report.section("Two maxima");
    report.row("sigma that made the readings", &Number::exact(0.5, 4), "");
    report.row("sigma of the highest log p(x)", &Number::exact(theta.most_likely, 4), "");
    report.row("sigma of the highest ELBO", &Number::exact(theta.from_above.end, 4), "");
    chapter.metric("most_likely_sigma", theta.most_likely);
    chapter.metric("highest_elbo_sigma", theta.from_above.end);

    let line = |name: &str, value: fn(&At) -> f64| {
        Series::new(name, Style::Line, theta.curve.iter().map(|at| (at.sigma, value(at))))
    };
    let dots = |name: &str, learned: &Learned| {
        Series::new(name, Style::Dots, learned.path.iter().copied())
    };
    let series = vec![
        line("log p(x)", |at| at.evidence),
        line("highest ELBO", |at| at.elbo),
        dots("learned from 3", &theta.from_above),
        dots("learned from 0.2", &theta.from_below),
    ];
    let plot = Plot {
        x: Axis::linear("sigma, the noise of the meter"),
        y: Axis::linear("nats per reading"),
        series,
    };
    chapter.figure("two_maxima", &plot.draw()?)
}
