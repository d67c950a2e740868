//! Chapter 5.

use elbo_to_diffusion::oracle::{
    Chain, DiffusionBound, Error, Estimate, Gaussian, LinearConditional, Process, vector,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

// ANCHOR: walk
#[test]
fn walking_and_jumping_end_in_the_same_place() -> Result<(), Error> {
    const WALKERS: usize = 10_000;
    let mut noise = StandardNormal.sample_iter(ChaCha8Rng::seed_from_u64(5));
    let process = Process::linear_gamma(-8.0, 5.0, 50)?;
    let (x, mut z, mut abar) = (0.8, vec![0.8; WALKERS], 1.0);
    for step in process.steps() {
        let (alpha, beta): (f64, f64) = (step.alpha(), step.beta());
        for (z, eps) in z.iter_mut().zip(&mut noise) {
            let eps: f64 = eps;
            *z = alpha.sqrt() * *z + beta.sqrt() * eps;
        }
        abar *= alpha;
        let mut walked = Estimate::default();
        z.iter().for_each(|&z| walked.push(z));
        assert!(walked.z_score(abar.sqrt() * x).abs() < 4.5);
        // The variance of n Gaussian draws has a relative standard error of sqrt(2 / n).
        let relative = walked.variance() / (1.0 - abar) - 1.0;
        assert!(relative.abs() < 4.5 * (2.0 / WALKERS as f64).sqrt());
    }
    Ok(())
}
// ANCHOR_END: walk

// ANCHOR: shared_variance
/// The mean log density of N(0, 1) data less the mean ELBO of the model: as measured, and
/// as the formula says.
fn cost_of_sharing(steps: usize) -> Result<(f64, f64), Error> {
    let process = Process::linear_gamma(-8.0, 5.0, steps)?;
    let (mut model, mut formula) = (Vec::new(), 0.0);
    for (t, step) in (1..).zip(process.steps()) {
        // At t = 1 the decoder is exact: sigma_q^2 is 0 there.
        let variance = if t == 1 { step.beta() } else { step.posterior_variance() };
        let r = step.beta() / variance;
        formula += 0.5 * (r - 1.0 - r.ln());
        model.push(LinearConditional::scalar(step.alpha().sqrt(), 0.0, variance)?);
    }
    model.reverse();
    let model = Chain::new(Gaussian::standard(1)?, model)?;
    // Log density and ELBO are quadratic in x: their mean over N(0, 1) is their mean at -1
    // and 1.
    let mut measured = 0.0;
    for x in [-1.0, 1.0].map(|x| vector(&[x])) {
        let elbo = DiffusionBound::new(&process, &model, &x)?.denoising_elbo();
        measured += 0.5 * (Gaussian::standard(1)?.log_prob(&x)? - elbo);
    }
    Ok((measured, formula))
}

#[test]
fn a_shared_variance_costs_about_one_over_the_number_of_latents() -> Result<(), Error> {
    let mut before = f64::NAN;
    for steps in [50, 100, 200, 400, 800] {
        let (measured, formula) = cost_of_sharing(steps)?;
        assert!((measured - formula).abs() < 1e-10);
        // Each doubling of T halves the cost, more and more exactly.
        assert!(steps == 50 || (before / measured - 2.0).abs() < 12.0 / steps as f64);
        before = measured;
    }
    Ok(())
}
// ANCHOR_END: shared_variance
