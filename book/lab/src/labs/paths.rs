//! Chapter 11: pairs of noise and data, the flow that comes of them, and where few steps of
//! it lead.

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use elbo_to_diffusion::{
    error::Result,
    host::download,
    network::Regressor,
    random::{Stream, rng},
};
use serde_json::{Value, json};

use super::{Files, Lab, drawn, read_part, training, whole};
use crate::chapters::ch11_flow_matching::{
    blobs,
    pairs::Pairs,
    plane::{Path, Plane, Velocity, read},
};

/// Pairs that are drawn.
const POINTS: usize = 40;
const NAMES: [&str; 3] = ["Random pairs", "Nearest pairs", "Reflow"];

/// The pairs of one kind, and the flow learned from them.
struct Flow {
    of: [usize; 2],
    pairs: Pairs,
    cost: f64,
    path: Path,
    /// |eps - x|^2 of the ends of the flow, and how bent its paths are.
    straight: [f64; 2],
}

/// Networks that were trained on nearest pairs, and on the ends of the exact flow.
pub struct Paths {
    nearest: Regressor,
    of_exact: Regressor,
    flow: Option<Flow>,
}

impl Paths {
    /// With the shipped weights. Fails if they are not there or damaged.
    pub fn new(files: &Files) -> Result<Self> {
        let (chapter, ..) = training::chapter_5(0, None)?;
        let Plane { nearest, of_exact, .. } = Plane::fresh(&chapter);
        let read = |fresh: Regressor, part: &str| {
            read_part(fresh, files, "ch11_flow_matching", &format!("plane.{part}"))
        };
        Ok(Self {
            nearest: read(nearest, "nearest")?.valid(),
            of_exact: read(of_exact, "of_exact")?.valid(),
            flow: None,
        })
    }

    /// Calls `with` with the velocity of one kind of pairs. Independent ones have an exact
    /// one.
    fn velocity<R>(&self, kind: usize, with: impl FnOnce(&Velocity) -> R) -> R {
        match kind {
            0 => with(&blobs::velocity),
            1 => with(&read(&self.nearest)),
            _ => with(&read(&self.of_exact)),
        }
    }

    fn follow(&self, of: [usize; 2]) -> Result<Flow> {
        let [kind, seed] = of;
        let draws = &mut rng(seed as u64, Stream::Exact, 4);
        let random = Pairs::independent(POINTS, draws, &Device::flex());
        let pairs = match kind {
            0 => random,
            1 => random.nearest()?,
            // The ends of the exact flow of random pairs.
            _ => {
                let x = Path::follow(&blobs::velocity, random.eps.clone())?.end();
                Pairs { x, eps: random.eps }
            }
        };
        let path = self.velocity(kind, |u| Path::follow(u, pairs.eps.clone()))?;
        let ends = Pairs { x: path.end(), eps: pairs.eps.clone() };
        let straight = [ends.cost()?, path.bend()?];
        Ok(Flow { of, cost: pairs.cost()?, pairs, path, straight })
    }

    /// Equal steps of Euler's method from noise, with all points between.
    fn euler(&self, kind: usize, eps: &Tensor<2>, steps: usize) -> Vec<Tensor<2>> {
        self.velocity(kind, |u| {
            let step = 1.0 / steps as f64;
            let mut points = vec![eps.clone()];
            for i in 0..steps {
                let z = points[i].clone();
                points.push(z.clone() - u(z, 1.0 - i as f64 * step) * step);
            }
            points
        })
    }
}

/// For each point its way through these places, `[n, 2]` each.
fn ways(places: &[Tensor<2>]) -> Result<Vec<Vec<Vec<f64>>>> {
    let places: Vec<Vec<f64>> =
        places.iter().map(|z| download(z.clone())).collect::<Result<_>>()?;
    let way = |i: usize| places.iter().map(|z| drawn([z[2 * i], z[2 * i + 1]])).collect();
    Ok((0..POINTS).map(way).collect())
}

impl Lab for Paths {
    fn answer(&mut self, request: &Value) -> Result<Value> {
        let of =
            [whole(request, "pairs", 0, [0, 2]), whole(request, "seed", 0, [0, 1_000_000])];
        let steps = whole(request, "steps", 2, [1, 40]);
        let flow = match self.flow.take() {
            Some(flow) if flow.of == of => flow,
            _ => self.follow(of)?,
        };
        let taken = self.euler(of[0], &flow.pairs.eps, steps);
        let off = taken[steps].clone() - flow.path.end();
        let off = download(off.square().sum_dim(1).mean())?[0].sqrt();
        let (cost, [flowing, bend]) = (flow.cost, flow.straight);
        let answer = json!({
            "says": format!(
                "{}: the mean squared length of the {POINTS} lines is {cost:.3}; that of their flow {flowing:.3}, with \
                 bend {bend:.3}. {steps} {} of Euler end {off:.3} from where the flow ends, root mean square.",
                NAMES[of[0]], if steps == 1 { "step" } else { "steps" },
            ),
            "lines": ways(&[flow.pairs.eps.clone(), flow.pairs.x.clone()])?,
            "flow": ways(&flow.path.points)?,
            "taken": ways(&taken)?,
            "cost": cost, "bend": bend, "off": off,
        });
        self.flow = Some(flow);
        Ok(answer)
    }
}
