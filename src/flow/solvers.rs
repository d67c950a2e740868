//! Solvers of the flow.
//!
//! In y = z / sqrt(abar) and rho = sqrt((1 - abar) / abar) = exp(gamma / 2) the flow is
//! dy/drho = eps_hat = (y - x_hat) / rho. Equation `flow-in-y`.

use super::{State, alpha_sigma};
use crate::vdm::Schedule;

/// A way to follow the flow from one noise level to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Solver {
    /// Euler's method in y and rho, which is DDIM without noise. Order 1, one call of the
    /// denoiser in each step. Song, Meng and Ermon (2021).
    Ddim,
    /// Heun's method in y and rho. Order 2, two calls. Karras et al. (2022), algorithm 1.
    Heun,
    /// DPM-Solver-2: the midpoint in log SNR. Order 2, two calls. Lu et al. (2022a),
    /// algorithm 1.
    Dpm2,
    /// DPM-Solver++(2M): extrapolates x_hat from the last two. Order 2, one call. Lu et
    /// al. (2022b), algorithm 2.
    Multistep,
}

impl Solver {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ddim, Self::Heun, Self::Dpm2, Self::Multistep];

    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ddim => "DDIM",
            Self::Heun => "Heun",
            Self::Dpm2 => "DPM-Solver-2",
            Self::Multistep => "DPM-Solver++(2M)",
        }
    }

    /// Calls of the denoiser in each step.
    pub fn calls_per_step(self) -> usize {
        match self {
            Self::Ddim | Self::Multistep => 1,
            Self::Heun | Self::Dpm2 => 2,
        }
    }

    // ANCHOR: solve
    /// z at the last of these noise levels, from z at the first: down to sample, up to
    /// encode. `denoise(z, gamma)` returns x_hat.
    pub fn solve<Z: State>(
        self,
        gammas: &[f64],
        z: Z,
        mut denoise: impl FnMut(Z, f64) -> Z,
    ) -> Z {
        let Some(&first) = gammas.first() else { return z };
        let mut x_hat =
            |y: &Z, gamma: f64| denoise(y.clone() * alpha_sigma(gamma).0, gamma);
        let mut y = z * (1.0 / alpha_sigma(first).0);
        let mut last: Option<(Z, f64)> = None;
        for pair in gammas.windows(2) {
            let (rho, end) = ((0.5 * pair[0]).exp(), (0.5 * pair[1]).exp());
            let x = x_hat(&y, pair[0]);
            y = match self {
                // Keep x_hat, and shrink what is left of the noise.
                Self::Ddim => between(&x, &y, end / rho),
                Self::Heun => {
                    let there = between(&x, &y, end / rho);
                    let next = slope(&there, x_hat(&there, pair[1]), end);
                    y.clone() + (slope(&y, x, rho) + next) * (0.5 * (end - rho))
                }
                Self::Dpm2 => {
                    let (gamma, middle) = (0.5 * (pair[0] + pair[1]), (rho * end).sqrt());
                    let there = between(&x, &y, middle / rho);
                    let next = slope(&there, x_hat(&there, gamma), middle);
                    y.clone() + next * (end - rho)
                }
                Self::Multistep => {
                    // x_hat at the middle of the step, on a line in gamma through the last
                    // two. There is no second one at first: that step is DDIM's.
                    let towards = match last.replace((x.clone(), pair[0])) {
                        Some((before, gamma)) => {
                            let ahead = 0.5 * (pair[1] - pair[0]) / (pair[0] - gamma);
                            x * (1.0 + ahead) + before * -ahead
                        }
                        None => x,
                    };
                    between(&towards, &y, end / rho)
                }
            };
        }
        y * gammas.last().map_or(1.0, |&gamma| alpha_sigma(gamma).0)
    }
    // ANCHOR_END: solve

    /// The same along a schedule, from its most noise to its least, with so many calls of
    /// the denoiser. A step for which only one of two calls is left is DDIM's.
    pub fn sample<Z: State>(
        self,
        calls: usize,
        schedule: &(impl Schedule + ?Sized),
        z: Z,
        mut denoise: impl FnMut(Z, f64) -> Z,
    ) -> Z {
        let gammas = descending(schedule, calls.div_ceil(self.calls_per_step()));
        let whole = calls / self.calls_per_step();
        let z = self.solve(&gammas[..=whole], z, &mut denoise);
        Self::Ddim.solve(&gammas[whole..], z, denoise)
    }
}

/// The noise levels of this many steps at equal distances in t, from the most noise down.
pub fn descending(schedule: &(impl Schedule + ?Sized), steps: usize) -> Vec<f64> {
    if steps == 0 {
        return vec![schedule.gamma(1.0)];
    }
    (0..=steps).rev().map(|i| schedule.gamma(i as f64 / steps as f64)).collect()
}

/// x + share (y - x).
fn between<Z: State>(x: &Z, y: &Z, share: f64) -> Z {
    x.clone() * (1.0 - share) + y.clone() * share
}

/// dy/drho = (y - x_hat) / rho.
fn slope<Z: State>(y: &Z, x_hat: Z, rho: f64) -> Z {
    (y.clone() + x_hat * -1.0) * (1.0 / rho)
}

// ANCHOR: runge_kutta
/// The state at the last of these times, from that at the first, by the classical method
/// of order 4, with four calls of `slope(state, time)` in each step.
///
/// # Errors
/// Those of `slope`.
pub fn runge_kutta_4<S: State, E>(
    times: &[f64],
    start: S,
    mut slope: impl FnMut(&S, f64) -> Result<S, E>,
) -> Result<S, E> {
    times.windows(2).try_fold(start, |state, pair| {
        let (step, middle) = (pair[1] - pair[0], 0.5 * (pair[0] + pair[1]));
        let mut at = |ahead: f64, slopes: &S, time: f64| {
            slope(&(state.clone() + slopes.clone() * (ahead * step)), time)
        };
        let first = at(0.0, &state, pair[0])?;
        let second = at(0.5, &first, middle)?;
        let third = at(0.5, &second, middle)?;
        let fourth = at(1.0, &third, pair[1])?;
        let sum = first + second * 2.0 + third * 2.0 + fourth;
        Ok(state + sum * (step / 6.0))
    })
}
// ANCHOR_END: runge_kutta

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::*;
    use crate::{
        error::Result,
        host::{download, upload},
        vdm::Linear,
    };

    const SCHEDULE: Linear = Linear { gamma_min: -6.0, gamma_max: 4.0 };

    #[test]
    fn a_solver_makes_as_many_calls_as_it_is_given() {
        for solver in Solver::ALL {
            for calls in [0, 1, 2, 5, 10, 11] {
                let (mut made, mut last) = (0, f64::INFINITY);
                solver.sample(calls, &SCHEDULE, 1.0, |z: f64, gamma| {
                    assert!(gamma <= last, "levels fall");
                    (made, last) = (made + 1, gamma);
                    0.5 * z
                });
                assert_eq!(made, calls, "{}", solver.name());
            }
        }
    }

    #[test]
    fn tensors_and_numbers_go_the_same_way() -> Result<()> {
        let device = Device::flex();
        for solver in Solver::ALL {
            let starts = [-1.0, 0.3, 2.0];
            let z: Tensor<2> = upload(starts, &device).reshape([3, 1]);
            let ends = solver.sample(9, &SCHEDULE, z, |z, gamma| z.tanh() * (0.1 * gamma));
            for (start, end) in starts.into_iter().zip(download(ends)?) {
                let number = |z: f64, gamma: f64| z.tanh() * (0.1 * gamma);
                let exact = solver.sample(9, &SCHEDULE, start, number);
                assert!((end - exact).abs() < 1e-4 * (1.0 + exact.abs()), "{end} {exact}");
            }
        }
        Ok(())
    }
}
