//! Flows in the plane: learned from pairs, followed, and learned again from their own ends.

use burn::{module::Module, tensor::Tensor};
use elbo_to_diffusion::{
    chapter::Chapter,
    error::{Error, Result},
    flow::runge_kutta_4,
    host::{download, upload},
    network::{Layers, Regressor, TrunkConfig},
    random::{Stream, normal, rng},
    training::{SHARDS, Shard, Training},
};
use rand_chacha::ChaCha8Rng;

use super::{blobs, pairs::Pairs};

/// Steps of Runge-Kutta that stand for the flow itself.
const STEPS: usize = 40;
/// Pairs in a batch.
const BATCH: usize = 256;
/// Pairs from the ends of a flow.
const ENDS: usize = 8192;

/// The networks of the plane, each u_hat of one set of pairs.
#[derive(Module, Debug)]
pub struct Plane {
    /// Independent pairs.
    pub independent: Regressor,
    /// Pairs at the least cost within each batch.
    pub nearest: Regressor,
    /// Independent pairs, a thirtieth of the steps.
    pub rough: Regressor,
    /// The ends of the exact flow of independent pairs.
    pub of_exact: Regressor,
    /// The ends of `independent`.
    pub of_independent: Regressor,
    /// The ends of `rough`.
    pub of_rough: Regressor,
}

impl Plane {
    /// Networks with fresh weights.
    pub fn fresh(chapter: &Chapter) -> Self {
        let network = |seed| {
            let init = &mut rng(chapter.seed(), Stream::Initialisation, seed);
            let trunk = TrunkConfig {
                // Its time is t.
                gamma_min: 0.0,
                gamma_max: 1.0,
                layers: Layers::Dense,
                hidden: 64,
                blocks: 2,
                dropout: 0.0,
            };
            Regressor::new(trunk, 2, init, &chapter.device.clone().autodiff())
        };
        Self {
            independent: network(2),
            nearest: network(3),
            rough: network(2),
            of_exact: network(4),
            of_independent: network(4),
            of_rough: network(4),
        }
    }

    /// Trains each on its pairs.
    pub fn train(self, chapter: &mut Chapter, steps: usize) -> Result<Self> {
        let device = chapter.device.clone().autodiff();
        let fresh = |n, rng: &mut ChaCha8Rng| Ok(Pairs::independent(n, rng, &device));
        let near = |n, rng: &mut ChaCha8Rng| Pairs::independent(n, rng, &device).nearest();
        let short = steps.div_ceil(30);
        let independent = train(chapter, "plane", &self.independent, steps, fresh)?;
        let nearest = train(chapter, "nearest pairs", &self.nearest, steps, near)?;
        let rough = train(chapter, "rough", &self.rough, short, fresh)?;
        // ANCHOR: reflow
        let mut reflow = |name, fresh: &Regressor, velocity: &Velocity| {
            let noise = &mut rng(chapter.seed(), Stream::Exact, 7);
            let eps = normal([ENDS, 2], noise, &chapter.device);
            // Where the flow carries each noise is its partner from now on.
            let x = Path::follow(velocity, eps.clone())?.end();
            let ends = Pairs { x, eps };
            let pairs = |n, rng: &mut ChaCha8Rng| Ok(ends.sample(n, rng, &device));
            train(chapter, name, fresh, steps, pairs)
        };
        // ANCHOR_END: reflow
        let of_exact = reflow("reflow, exact", &self.of_exact, &blobs::velocity)?;
        let of_independent = reflow("reflow", &self.of_independent, &read(&independent))?;
        let of_rough = reflow("reflow, rough", &self.of_rough, &read(&rough))?;
        Ok(Self { independent, nearest, rough, of_exact, of_independent, of_rough })
    }
}

/// u(z, t) for points z, `[n, 2]`, all at one t.
pub type Velocity<'a> = dyn Fn(Tensor<2>, f64) -> Tensor<2> + Sync + 'a;

/// The network as a velocity.
pub fn read(network: &Regressor) -> impl Fn(Tensor<2>, f64) -> Tensor<2> + Sync {
    move |z, t| {
        let t = Tensor::full([z.dims()[0]], t, &z.device());
        network.forward(z, t, None)
    }
}

// ANCHOR: flow_matching
/// Trains a velocity on such pairs: at a random place of each line, the network is to say
/// where the line goes. Equation `conditional-flow-matching`, left.
fn train(
    chapter: &mut Chapter,
    name: &str,
    fresh: &Regressor,
    steps: usize,
    pairs: impl Fn(usize, &mut ChaCha8Rng) -> Result<Pairs> + Sync,
) -> Result<Regressor> {
    let (seed, device) = (chapter.seed(), chapter.device.clone().autodiff());
    let loss = |network: &Regressor, shard: Shard| {
        let n = BATCH / SHARDS;
        let t = upload(shard.times(n, seed), &device);
        let pairs = pairs(n, &mut shard.rng(seed, Stream::Training));
        let Ok(Pairs { x, eps }) = pairs else {
            return Tensor::full([1], f64::NAN, &device);
        };
        let share = t.clone().unsqueeze_dim::<2>(1);
        let z = x.clone() * (-share.clone() + 1.0) + eps.clone() * share;
        (network.forward(z, t, None) - (eps - x)).square().sum_dim(1).mean()
    };
    Ok(chapter.stage(name, &Training::new(steps)).train(fresh, loss)?.model)
}
// ANCHOR_END: flow_matching

/// Points on their way from noise, t = 1, to data, t = 0.
pub struct Path {
    /// The points at each of the times, `[n, 2]`.
    pub points: Vec<Tensor<2>>,
    /// Their velocities there.
    velocities: Vec<Tensor<2>>,
}

impl Path {
    /// The flow itself, by many small steps from this noise.
    pub fn follow(velocity: &Velocity, eps: Tensor<2>) -> Result<Self> {
        let time = |i: usize| 1.0 - i as f64 / STEPS as f64;
        let slope = |z: &Tensor<2>, t: f64| Ok::<_, Error>(velocity(z.clone(), t));
        let mut points = vec![eps];
        for i in 0..STEPS {
            let here = points[i].clone();
            points.push(runge_kutta_4(&[time(i), time(i + 1)], here, slope)?);
        }
        let velocities =
            points.iter().enumerate().map(|(i, z)| velocity(z.clone(), time(i))).collect();
        Ok(Self { points, velocities })
    }

    /// Where they arrive, `[n, 2]`.
    pub fn end(&self) -> Tensor<2> {
        self.points[STEPS].clone()
    }

    // ANCHOR: bend
    /// The mean over points and times of |eps - x - u|^2, where eps and x are the ends of
    /// the path: nothing for straight paths at constant speed. Equation `bend`.
    pub fn bend(&self) -> Result<f64> {
        let whole = self.points[0].clone() - self.end();
        let off = |u: &Tensor<2>| (whole.clone() - u.clone()).square().sum_dim(1).mean();
        let squares = download(Tensor::cat(self.velocities.iter().map(off).collect(), 0))?;
        // The trapezium rule.
        let ends = 0.5 * (squares[0] + squares[STEPS]);
        Ok((squares[1..STEPS].iter().sum::<f64>() + ends) / STEPS as f64)
    }
    // ANCHOR_END: bend
}

// ANCHOR: euler
/// Where these equal steps of Euler's method lead from noise, `[n, 2]`.
pub fn euler(velocity: &Velocity, eps: Tensor<2>, steps: usize) -> Tensor<2> {
    let step = 1.0 / steps as f64;
    (0..steps).fold(eps, |z, i| z.clone() - velocity(z, 1.0 - i as f64 * step) * step)
}
// ANCHOR_END: euler
