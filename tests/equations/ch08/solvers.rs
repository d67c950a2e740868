//! Steps of the solvers, each against the form in which its authors print it, or against
//! what it must leave unchanged.

use elbo_to_diffusion::{
    flow::{EtaStep, Solver},
    oracle::{NoiseLevel, ScalarMixture, Step},
};

use super::{eps_hat, line};
use crate::support::{Outcome, assert_close};
use crate::tex::digest;

/// Steps between levels, of all sizes.
const STEPS: [[f64; 2]; 5] =
    [[5.0, 1.0], [2.0, 1.8], [0.5, -1.0], [-1.0, -4.0], [-5.0, -8.0]];

/// z after one step of a solver, or after more of them along these levels.
fn solved(solver: Solver, data: &ScalarMixture, gammas: &[f64], z: f64) -> f64 {
    let denoise = |z, gamma| data.posterior(z, NoiseLevel::new(gamma)).mean();
    solver.solve(gammas, z, denoise)
}

/// sqrt(abar), sqrt(1 - abar) and lambda = log of their ratio.
fn level(gamma: f64) -> (f64, f64, f64) {
    let level = NoiseLevel::new(gamma);
    let (alpha, sigma) = (level.abar().sqrt(), level.noise().sqrt());
    (alpha, sigma, (alpha / sigma).ln())
}

/// The printed step against Euler's step in y and rho, and both against the solver.
/// Kind: closed form.
#[test]
fn ddim_step() -> Outcome {
    digest("ddim-step", "f72f7e638a8a");
    const TOLERANCE: f64 = 1e-12;
    let data = line()?;
    for [t, s] in STEPS {
        for z in [-1.3, 0.2, 1.1] {
            let ((alpha_t, sigma_t, _), (alpha_s, sigma_s, _)) = (level(t), level(s));
            let eps = eps_hat(&data, t, z);
            let x_hat = data.posterior(z, NoiseLevel::new(t)).mean();
            let printed = alpha_s * x_hat + sigma_s * eps;
            let euler = z / alpha_t + (sigma_s / alpha_s - sigma_t / alpha_t) * eps;
            assert_close(printed, alpha_s * euler, TOLERANCE);
            assert_close(solved(Solver::Ddim, &data, &[t, s], z), printed, TOLERANCE);
        }
    }
    Ok(())
}

/// With the true x and eps, mean and variance of z_s given x are those of q(z_s|x), for
/// every eta; with eta = 1, z_s given z_t and x has the coefficients and the variance of
/// the forward posterior. Kind: closed form.
#[test]
fn eta_step() -> Outcome {
    digest("eta-step", "6cb6dfe1de2e");
    const TOLERANCE: f64 = 1e-14;
    for [t, s] in STEPS {
        let step = Step::new(s, t);
        for eta in [0.0, 0.3, 0.8, 1.0] {
            let coefficients = EtaStep::between(s, t, eta);
            assert_close(coefficients.x, step.s.abar().sqrt(), TOLERANCE);
            let variance = coefficients.eps.powi(2) + coefficients.noise.powi(2);
            assert_close(variance, step.s.noise(), TOLERANCE);
            let fresh = eta * eta * step.posterior_variance();
            assert_close(coefficients.noise.powi(2), fresh, TOLERANCE);
        }
        // eps = (z_t - sqrt(abar_t) x) / sqrt(1 - abar_t).
        let ancestral = EtaStep::between(s, t, 1.0);
        let of_z = ancestral.eps / step.t.noise().sqrt();
        let (a, b) = step.posterior_coefficients();
        assert_close(of_z, a, TOLERANCE);
        assert_close(ancestral.x - of_z * step.t.abar().sqrt(), b, TOLERANCE);
    }
    Ok(())
}

/// The solver against Heun's rule written out for dz/dsigma' in the coordinates of Karras
/// et al. (2022), algorithm 1: x' = z/alpha, sigma' = sigma/alpha, slope (x' - D)/sigma'.
/// Kind: closed form.
#[test]
fn heun_step() -> Outcome {
    digest("heun-step", "ea15dfd13336");
    const TOLERANCE: f64 = 1e-12;
    let data = line()?;
    for [t, s] in STEPS {
        for z in [-1.3, 0.2, 1.1] {
            let ((alpha_t, sigma_t, _), (alpha_s, sigma_s, _)) = (level(t), level(s));
            let (hot, cold) = (sigma_t / alpha_t, sigma_s / alpha_s);
            // The denoiser of x + noise of deviation sigma', by the exploding marginal.
            let denoised = |x: f64, sigma: f64| {
                x + sigma * sigma * data.affine(1.0, sigma * sigma).score(x)
            };
            let x = z / alpha_t;
            let first = (x - denoised(x, hot)) / hot;
            let guess = x + (cold - hot) * first;
            let second = (guess - denoised(guess, cold)) / cold;
            let heun = x + (cold - hot) * 0.5 * (first + second);
            assert_close(
                solved(Solver::Heun, &data, &[t, s], z),
                alpha_s * heun,
                TOLERANCE,
            );
        }
    }
    Ok(())
}

/// The solver against Lu et al. (2022a), algorithm 1: exponentials of h = lambda_s -
/// lambda_t, with eps_hat. Kind: closed form.
#[test]
fn dpm_solver_2() -> Outcome {
    digest("dpm-solver-2", "a0014e51dde1");
    const TOLERANCE: f64 = 1e-12;
    let data = line()?;
    for [t, s] in STEPS {
        for z in [-1.3, 0.2, 1.1] {
            let middle = 0.5 * (t + s);
            let ((a_t, _, l_t), (a_m, s_m, _), (a_s, s_s, l_s)) =
                (level(t), level(middle), level(s));
            let h = l_s - l_t;
            let u = a_m / a_t * z - s_m * (0.5 * h).exp_m1() * eps_hat(&data, t, z);
            let end = a_s / a_t * z - s_s * h.exp_m1() * eps_hat(&data, middle, u);
            assert_close(solved(Solver::Dpm2, &data, &[t, s], z), end, TOLERANCE);
        }
    }
    Ok(())
}

/// The solver over two steps against Lu et al. (2022b), algorithm 2: exponentials of -h,
/// with x_hat extrapolated by r = h_1/h_2. Kind: closed form.
#[test]
fn dpm_solver_multistep() -> Outcome {
    digest("dpm-solver-multistep", "841a7b6f61c5");
    const TOLERANCE: f64 = 1e-12;
    let data = line()?;
    let x_hat = |z: f64, gamma: f64| data.posterior(z, NoiseLevel::new(gamma)).mean();
    for [u, t, s] in [[5.0, 3.0, 0.0], [1.0, 0.8, 0.7], [-1.0, -3.0, -4.0]] {
        for z in [-1.3, 0.2, 1.1] {
            let ((_, s_u, l_u), (a_t, s_t, l_t), (a_s, s_s, l_s)) =
                (level(u), level(t), level(s));
            let (h_1, h_2) = (l_t - l_u, l_s - l_t);
            let first = s_t / s_u * z - a_t * (-h_1).exp_m1() * x_hat(z, u);
            let r = h_1 / h_2;
            let towards = (1.0 + 0.5 / r) * x_hat(first, t) - 0.5 / r * x_hat(z, u);
            let end = s_s / s_t * first - a_s * (-h_2).exp_m1() * towards;
            assert_close(solved(Solver::Multistep, &data, &[u, t, s], z), end, TOLERANCE);
        }
    }
    Ok(())
}
