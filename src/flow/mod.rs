//! Diffusion in continuous time: the flow that carries noise to data, its solvers and its
//! likelihood. Song et al. (2021), "Score-based generative modeling through stochastic
//! differential equations".
//!
//! | module | holds |
//! |---|---|
//! | [`process`] | drift and velocity, with gamma as the time |
//! | [`solvers`] | Euler (DDIM), Heun, DPM-Solver-2, DPM-Solver++(2M), Runge-Kutta of order 4 |
//! | [`stochastic`] | the eta family: from the flow to the ancestral sampler |
//! | [`likelihood`] | how the log density changes along the flow |
//! | [`trace`] | the trace of the denoiser's Jacobian, exact or estimated |
//!
//! Everything is written for any denoiser, a closure `(z, gamma) -> x_hat`, and most of it
//! for any [`State`]: an `f64` or a vector for exact answers, a tensor `[B, d]` for
//! images. Whoever has eps_hat or a velocity turns it into x_hat first: x_hat = (z -
//! sqrt(1 - abar) eps_hat) / sqrt(abar).
//!
//! The time of this module is gamma itself. A schedule only says how fast one walks along
//! it, and where a solver makes its steps.

pub mod likelihood;
pub mod process;
pub mod solvers;
pub mod stochastic;
pub mod trace;

pub use self::{
    likelihood::{Point, transport},
    process::{alpha_sigma, velocity},
    solvers::{Solver, runge_kutta_4},
    stochastic::{EtaStep, eta_sampler},
    trace::{Probe, estimated_trace, exact_trace},
};

use std::ops::{Add, Mul};

/// What a solver moves: numbers that can be added and scaled.
pub trait State: Clone + Add<Output = Self> + Mul<f64, Output = Self> {}

impl<S: Clone + Add<Output = S> + Mul<f64, Output = S>> State for S {}
