//! Guidance on the line, where densities, scores and the flow are known to as many digits
//! as one likes.

use std::f64::consts::TAU;

use elbo_to_diffusion::oracle::{Error, NoiseLevel, Rule, ScalarMixture};

#[path = "bumps.rs"]
mod bumps;

use bumps::Bumps;

/// Where the flow ends: at e^-24 of noise power for one of signal nothing is left to do.
const GAMMA_END: f64 = -24.0;

/// A law on the line, and the class in it that samples are guided to.
#[derive(Clone, Debug)]
pub struct Classes {
    /// p(x).
    pub data: ScalarMixture,
    /// p(x | y).
    pub class: ScalarMixture,
    /// p(y).
    pub share: f64,
}

/// One path of the guided flow.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// u = z / sqrt(abar).
    pub u: f64,
    /// log of du / du_T: how far paths that were neighbours at first are apart.
    pub spread: f64,
}

/// The law of the samples, or of the tilted distribution.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    pub mean: f64,
    pub variance: f64,
}

impl Classes {
    /// Two normals of this variance at -1 and 1, equally likely; y says that x is of the
    /// second.
    pub fn pair(variance: f64) -> Result<Self, Error> {
        Ok(Self {
            data: ScalarMixture::new(&[0.5, 0.5], &[-1.0, 1.0], &[variance; 2])?,
            class: ScalarMixture::new(&[1.0], &[1.0], &[variance])?,
            share: 0.5,
        })
    }

    /// log p(y | x), or at a noise level log q(y | z), by Bayes' rule.
    pub fn log_class(&self, z: f64, level: NoiseLevel) -> f64 {
        let [given, all] = [&self.class, &self.data].map(|p| p.marginal(level).log_prob(z));
        given - all + self.share.ln()
    }

    // ANCHOR: flow
    /// The guided flow of these points z_T from `gamma_max` down to no noise, in `steps`
    /// steps of Runge and Kutta's method of order 4, equal in gamma. With u = z /
    /// sqrt(abar) and w = `strength`, du/dgamma = -(1/2) e^gamma (score + w grad log
    /// q(y|z)), equation `guided-flow`.
    pub fn flow(
        &self,
        z: &[f64],
        gamma_max: f64,
        strength: f64,
        steps: usize,
    ) -> Vec<Path> {
        let stretch = (1.0 + gamma_max.exp()).sqrt();
        let mut paths: Vec<Path> =
            z.iter().map(|z| Path { u: z * stretch, spread: 0.0 }).collect();
        let h = (GAMMA_END - gamma_max) / steps as f64;
        for step in 0..steps {
            let gamma = gamma_max + h * step as f64;
            let [first, middle, last] =
                [gamma, gamma + 0.5 * h, gamma + h].map(|g| Slope::new(self, g, strength));
            for path in &mut paths {
                let k1 = first.at(*path);
                let k2 = middle.at(path.moved(k1, 0.5 * h));
                let k3 = middle.at(path.moved(k2, 0.5 * h));
                let k4 = last.at(path.moved(k3, h));
                *path = path.moved(k1, h / 6.0).moved(k2, h / 3.0);
                *path = path.moved(k3, h / 3.0).moved(k4, h / 6.0);
            }
        }
        paths
    }
    // ANCHOR_END: flow

    /// The mean and the variance of what the guided flow makes of N(0, 1).
    pub fn guided(&self, gamma_max: f64, strength: f64, steps: usize) -> Moments {
        // Equal distances: for a smooth density that vanishes at both ends no rule is better.
        let h = 0.04;
        let z: Vec<f64> = (-215..=215).map(|i| h * f64::from(i)).collect();
        let ends = self.flow(&z, gamma_max, strength, steps);
        moments(z.iter().zip(ends).map(|(z, path)| (path.u, h * normal(*z))))
    }

    /// The density of the guided samples, as points (x, p(x)).
    pub fn guided_density(
        &self,
        gamma_max: f64,
        strength: f64,
        steps: usize,
    ) -> Vec<(f64, f64)> {
        // Far out to the left, so that the curve reaches as far as the picture.
        let z: Vec<f64> = (0..=368).map(|i| f64::from(i) / 16.0 - 18.0).collect();
        let stretch = (1.0 + gamma_max.exp()).sqrt();
        let ends = self.flow(&z, gamma_max, strength, steps);
        let density = |z: f64, path: &Path| normal(z) / stretch / path.spread.exp();
        z.iter().zip(&ends).map(|(&z, path)| (path.u, density(z, path))).collect()
    }

    // ANCHOR: tilted
    /// p(x) p(y|x)^w, not yet normalised.
    pub fn tilted(&self, x: f64, strength: f64) -> f64 {
        let log_class = self.log_class(x, NoiseLevel::DATA);
        (self.data.log_prob(x) + strength * log_class).exp()
    }

    /// What it has to be divided by, and its mean and variance, by quadrature.
    pub fn tilted_moments(&self, strength: f64) -> (f64, Moments) {
        let rule = Rule::gauss_legendre(400, -9.0, 9.0);
        let mass = rule.integrate(|x| self.tilted(x, strength));
        let points = rule.points();
        (mass, moments(points.map(|(x, w)| (x, w * self.tilted(x, strength) / mass))))
    }
    // ANCHOR_END: tilted
}

/// The right side of the guided flow at one noise level.
struct Slope {
    half_power: f64,
    strength: f64,
    data: Bumps,
    class: Bumps,
}

impl Slope {
    fn new(classes: &Classes, gamma: f64, strength: f64) -> Self {
        // u = x + N(0, e^gamma).
        let [data, class] =
            [&classes.data, &classes.class].map(|p| Bumps::of(&p.affine(1.0, gamma.exp())));
        Self { half_power: 0.5 * gamma.exp(), strength, data, class }
    }

    /// The derivatives of u and of the logarithm of the spread in gamma.
    fn at(&self, path: Path) -> Path {
        let [all, given] = [&self.data, &self.class].map(|bumps| bumps.slopes(path.u));
        let guided =
            |i: usize| -self.half_power * (all[i] + self.strength * (given[i] - all[i]));
        Path { u: guided(0), spread: guided(1) }
    }
}

impl Path {
    fn moved(self, slope: Self, h: f64) -> Self {
        Self { u: self.u + h * slope.u, spread: self.spread + h * slope.spread }
    }
}

fn normal(z: f64) -> f64 {
    (-0.5 * z * z).exp() / TAU.sqrt()
}

/// The mean and the variance of points with these weights, which sum to one.
fn moments(points: impl Iterator<Item = (f64, f64)>) -> Moments {
    let (mean, square) =
        points.fold((0.0, 0.0), |(m, s), (x, w)| (m + w * x, s + w * x * x));
    Moments { mean, variance: square - mean * mean }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twice the steps change nothing in the ninth decimal, and without guidance and with
    /// the plain label the flow ends in p(x) and p(x|y), as nearly as N(0, 1) is q(z_T).
    #[test]
    fn the_flow_is_solved_and_ends_where_it_should() -> Result<(), Error> {
        const TOLERANCE: f64 = 1e-9;
        let classes = Classes::pair(0.25)?;
        let [coarse, fine] = [1500, 3000].map(|steps| classes.guided(12.0, 3.0, steps));
        assert!((coarse.mean - fine.mean).abs() < TOLERANCE, "{coarse:?} {fine:?}");
        assert!((coarse.variance - fine.variance).abs() < TOLERANCE, "{coarse:?} {fine:?}");
        let [all, class] = [0.0, 1.0].map(|w| classes.guided(20.0, w, 1000));
        assert!((all.mean).abs() < 1e-9 && (all.variance - 1.25).abs() < 1e-6, "{all:?}");
        assert!((class.mean - 1.0).abs() < 1e-4, "{class:?}");
        assert!((class.variance - 0.25).abs() < 1e-6, "{class:?}");
        Ok(())
    }
}
