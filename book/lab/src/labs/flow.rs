//! Chapter 8: a solver and a number of calls, on the line where the flow is known exactly.

use elbo_to_diffusion::{
    error::Result,
    flow::Solver,
    oracle::{NoiseLevel, ScalarMixture},
    vdm::Schedule,
};
use serde_json::{Value, json};

use super::{Lab, drawn, whole};
use crate::chapters::ch08_flow::line::{SCHEDULE, line, quantile};

/// Quantiles whose error is measured: those of the chapter.
const QUANTILES: usize = 20;
/// Noise levels at which an exact path is drawn.
const DRAWN: usize = 53;

/// The chapter's data on the line, and its exact flow.
pub struct Flow {
    data: ScalarMixture,
    /// Quantiles of q(z_1), and those of q(z_0) to which the flow carries them.
    pairs: Vec<[f64; 2]>,
    /// The path of every other one: (gamma, z).
    paths: Vec<Vec<(f64, f64)>>,
}

impl Flow {
    pub fn new() -> Result<Self> {
        let data = line()?;
        let levels: Vec<(f64, ScalarMixture)> = SCHEDULE
            .grid(DRAWN)
            .into_iter()
            .map(|gamma| (gamma, data.marginal(NoiseLevel::new(gamma))))
            .collect();
        let share = |i: usize| (i as f64 + 0.5) / QUANTILES as f64;
        let path = |i: usize| -> Vec<(f64, f64)> {
            levels.iter().map(|(gamma, law)| (*gamma, quantile(law, share(i)))).collect()
        };
        let [start, end] =
            [1.0, 0.0].map(|t| data.marginal(NoiseLevel::new(SCHEDULE.gamma(t))));
        let pairs =
            (0..QUANTILES).map(|i| [&start, &end].map(|law| quantile(law, share(i))));
        let (pairs, paths) =
            (pairs.collect(), (0..QUANTILES).step_by(2).map(path).collect());
        Ok(Self { data, pairs, paths })
    }

    fn denoise(&self, z: f64, gamma: f64) -> f64 {
        self.data.denoise(z, NoiseLevel::new(gamma)).0
    }

    /// The root of the mean squared error of z_0.
    fn error(&self, solver: Solver, calls: usize) -> f64 {
        let square = |[z, exact]: &[f64; 2]| {
            let end =
                solver.sample(calls, &SCHEDULE, *z, |z, gamma| self.denoise(z, gamma));
            (end - exact).powi(2)
        };
        (self.pairs.iter().map(square).sum::<f64>() / self.pairs.len() as f64).sqrt()
    }

    /// The path from z that the solver takes: (gamma, z) at the ends of its steps.
    fn path(&self, solver: Solver, calls: usize, z: f64) -> Vec<(f64, f64)> {
        let mut asked = Vec::new();
        let end = solver.sample(calls, &SCHEDULE, z, |z, gamma| {
            asked.push((gamma, z));
            self.denoise(z, gamma)
        });
        // The first call of each step is where it begins.
        let begins = asked.into_iter().step_by(solver.calls_per_step());
        begins.chain([(SCHEDULE.gamma_min, end)]).collect()
    }
}

fn points(path: &[(f64, f64)]) -> Vec<Vec<f64>> {
    path.iter().map(|(x, y)| drawn([*x, *y])).collect()
}

impl Lab for Flow {
    fn answer(&mut self, request: &Value) -> Result<Value> {
        let solver = Solver::ALL[whole(request, "solver", 0, [0, Solver::ALL.len() - 1])];
        let calls = whole(request, "calls", 10, [1, 100]);
        let (error, twice) = (self.error(solver, calls), self.error(solver, 2 * calls));
        let taken = self
            .pairs
            .iter()
            .step_by(2)
            .map(|[z, _]| points(&self.path(solver, calls, *z)))
            .collect::<Vec<_>>();
        let exact: Vec<_> = self.paths.iter().map(|path| points(path)).collect();
        let arrive = self.pairs.iter().step_by(2).map(|[_, end]| *end);
        Ok(json!({
            "says": format!(
                "{} with {calls} {}: z_0 is off by {:.3} thousandths, root mean square over {QUANTILES} \
                 quantiles; with twice as many by {:.3}.",
                solver.name(), if calls == 1 { "call" } else { "calls" }, 1e3 * error, 1e3 * twice,
            ),
            "exact": exact, "taken": taken, "arrive": drawn(arrive),
            "off": error, "off_by_twice": twice,
        }))
    }
}
