//! What reflow takes from the cost of the pairs, on the line.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    error::Result,
    flow::runge_kutta_4,
    oracle::{NoiseLevel, Rule, ScalarMixture},
};

use crate::identities::{bumps, gamma, velocity_at};

/// Steps of the flow.
const STEPS: usize = 400;

/// The parts of the cost of independent pairs. Equation `cost-split`.
struct Split {
    /// E|eps - x|^2 of the pairs.
    pairs: f64,
    /// What the velocity cannot know: the least loss of flow matching.
    least_loss: f64,
    /// How bent the paths are.
    bend: f64,
    /// E|eps - x|^2 of the ends of the flow.
    ends: f64,
}

// ANCHOR: split
fn split(data: &ScalarMixture) -> Split {
    let least_loss = Rule::gauss_legendre(60, 0.0, 1.0).integrate(|t| {
        let (level, scale) = (NoiseLevel::new(gamma(t)), (1.0 - t).hypot(t));
        let law = data.marginal(level);
        // Var(eps - x | z) is Var(x | z) / t^2.
        let at = |z: f64| law.log_prob(z).exp() * data.posterior(z, level).variance();
        let step = 0.01 / scale;
        (-1000..=1000).map(|i| step * at(step * f64::from(i))).sum::<f64>() / (t * t)
    });
    let (mut bend, mut ends) = (0.0, 0.0);
    // Over the data, of which each comes from one noise: up the flow, points that lie close
    // stay close.
    let step = 0.005;
    for i in -600..=600 {
        let x = step * f64::from(i);
        let weight = step * data.log_prob(x).exp();
        let path = follow(data, x);
        let whole = path[STEPS].0 - x;
        ends += weight * whole * whole;
        // Simpson's rule.
        let simpson = |i: usize| match i {
            0 | STEPS => 1.0,
            _ => 2.0 + 2.0 * (i % 2) as f64,
        };
        let squares = path.iter().enumerate();
        let squares = squares.map(|(i, (_, u))| simpson(i) * (whole - u).powi(2));
        bend += weight * squares.sum::<f64>() / (3.0 * STEPS as f64);
    }
    Split { pairs: 1.0 + data.variance() + data.mean().powi(2), least_loss, bend, ends }
}
// ANCHOR_END: split

/// The path of the flow from these data to noise, and its velocities.
fn follow(data: &ScalarMixture, x: f64) -> Vec<(f64, f64)> {
    let time = |i: usize| i as f64 / STEPS as f64;
    let mut z = x;
    let mut path = Vec::with_capacity(STEPS + 1);
    for i in 0..=STEPS {
        path.push((z, velocity_at(data, z, time(i))));
        if i < STEPS {
            let slope =
                |z: &f64, t| Ok::<_, std::convert::Infallible>(velocity_at(data, *z, t));
            z = match runge_kutta_4(&[time(i), time(i + 1)], z, slope) {
                Ok(z) => z,
                Err(never) => match never {},
            };
        }
    }
    path
}

pub fn what_it_takes(chapter: &mut Chapter) -> Result<()> {
    let Split { pairs, least_loss, bend, ends } = split(&bumps()?);
    let report = &mut chapter.report;
    report.section("What reflow takes away");
    for (name, number) in [
        ("squared length of the pairs", pairs),
        ("least loss", least_loss),
        ("bend of the paths", bend),
        ("squared length of the flow", ends),
        ("sum of the last three", least_loss + bend + ends),
    ] {
        report.row(name, &Number::exact(number, 6), "");
    }
    Ok(())
}
