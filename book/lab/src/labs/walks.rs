//! Chapter 7: walks on the score field of the chapter's three blobs.

use elbo_to_diffusion::{
    error::Result,
    flow::{Solver, alpha_sigma, eta_sampler, solvers::descending},
    oracle::{Mixture, NoiseLevel, Vector, vector},
    random::{Stream, rng},
    vdm::Linear,
};
use rand_distr::{Distribution, StandardNormal};
use serde_json::{Value, json};

use super::{Lab, drawn, number, whole};
use crate::chapters::ch07_three_parameterizations::score::blobs;

const SCHEDULE: Linear = Linear { gamma_min: -8.0, gamma_max: 5.0 };
/// The noise level at which Langevin's walk stays: that of the chapter's figure.
const LEVEL: f64 = -1.5;
/// Langevin's step, as a share of the noise power.
const STEP: f64 = 0.15;
const NAMES: [&str; 3] = ["The flow", "The ancestral sampler", "Langevin's walk"];

pub struct Walks {
    data: Mixture,
}

impl Walks {
    pub fn new() -> Result<Self> {
        Ok(Self { data: blobs()? })
    }

    fn marginal(&self, gamma: f64) -> Result<Mixture> {
        Ok(self.data.marginal(NoiseLevel::new(gamma))?)
    }

    /// The ideal x_hat by Tweedie's formula; z itself where there is none.
    fn denoise(&self, z: &Vector, gamma: f64) -> Vector {
        let (alpha, sigma) = alpha_sigma(gamma);
        let score = self.marginal(gamma).and_then(|law| Ok(law.score(z)?));
        score.map_or_else(|_| z.clone(), |score| (z + score * (sigma * sigma)) / alpha)
    }

    /// z and its noise level after each step, from z on.
    fn walk(
        &self,
        kind: usize,
        z: Vector,
        steps: usize,
        seed: u64,
    ) -> Result<Vec<(f64, Vector)>> {
        let draws = &mut rng(seed, Stream::Exact, 7);
        let mut normal =
            || vector(&[StandardNormal.sample(draws), StandardNormal.sample(draws)]);
        let denoise = |z: Vector, gamma: f64| self.denoise(&z, gamma);
        let gammas = descending(&SCHEDULE, steps);
        if kind == 2 {
            let (law, mut z) = (self.marginal(LEVEL)?, z);
            let step = STEP * NoiseLevel::new(LEVEL).noise();
            let mut walk = vec![(LEVEL, z.clone())];
            for _ in 0..steps {
                z = &z + law.score(&z)? * step + normal() * (2.0 * step).sqrt();
                walk.push((LEVEL, z.clone()));
            }
            return Ok(walk);
        }
        let mut walk = vec![(gammas[0], z)];
        for pair in gammas.windows(2) {
            let z = walk[walk.len() - 1].1.clone();
            let next = match kind {
                0 => Solver::Heun.solve(pair, z, denoise),
                _ => eta_sampler(1.0, pair, z, denoise, &mut normal),
            };
            walk.push((pair[1], next));
        }
        Ok(walk)
    }
}

impl Lab for Walks {
    fn answer(&mut self, request: &Value) -> Result<Value> {
        let kind = whole(request, "walk", 0, [0, 2]);
        let steps = whole(request, "steps", 40, [1, 100]);
        let at = whole(request, "at", steps, [0, steps]);
        let seed = whole(request, "seed", 0, [0, 1_000_000]) as u64;
        let start = ["x", "y"].map(|key| number(request, key, 1.0, [-2.8, 2.8]));
        let walk = self.walk(kind, vector(&start), steps, seed)?;
        let (gamma, z) = &walk[at];
        let law = self.marginal(*gamma)?;
        let (score, log_prob) = (law.score(z)?, law.log_prob(z)?);
        let place = |i: i32| 0.4 * f64::from(i) - 2.4;
        let mut arrows = Vec::new();
        for i in 0..169 {
            let (x, y) = (place(i / 13), place(i % 13));
            let score = law.score(&vector(&[x, y]))?;
            arrows.push(drawn([x, y, score[0], score[1]]));
        }
        let points: Vec<_> = walk.iter().map(|(_, z)| drawn([z[0], z[1]])).collect();
        Ok(json!({
            "says": format!(
                "{} after {at} of {steps} steps, at gamma {gamma:.2}: z = ({:.3}, {:.3}), the score there is \
                 ({:.3}, {:.3}), and log q(z) {log_prob:.3}.",
                NAMES[kind], z[0], z[1], score[0], score[1],
            ),
            "points": points, "arrows": arrows, "at": at,
        }))
    }
}
