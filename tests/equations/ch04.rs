//! Chapter 4: hierarchical variational autoencoders.

use std::f64::consts::TAU;

use elbo_to_diffusion::oracle::{Chain, Error, Gaussian, LinearConditional, Matrix, Vector};
use rand_chacha::ChaCha8Rng;

use crate::support::{
    Outcome, assert_close, assert_relative, normal_matrix, normals, random_covariance, random_gaussian, rng,
};

/// The sizes of x, z_1, z_2, z_3.
const SIZES: [usize; 4] = [4, 3, 2, 2];

fn random_conditional(rng: &mut ChaCha8Rng, output: usize, input: usize) -> Result<LinearConditional, Error> {
    LinearConditional::new(
        normal_matrix(rng, output, input) * 0.7,
        normals(rng, output),
        random_covariance(rng, output),
    )
}

/// p(z_3) p(z_2|z_3) p(z_1|z_2) p(x|z_1), with p(z_3) = N(0, I).
fn random_model(rng: &mut ChaCha8Rng) -> Result<Chain, Error> {
    let mut steps = Vec::new();
    for level in (0..3).rev() {
        steps.push(random_conditional(rng, SIZES[level], SIZES[level + 1])?);
    }
    Chain::new(Gaussian::standard(SIZES[3])?, steps)
}

/// q(z_1|x) q(z_2|z_1) q(z_3|z_2) at one x, each factor arbitrary.
fn random_encoder(rng: &mut ChaCha8Rng) -> Result<Chain, Error> {
    let first = random_gaussian(rng, SIZES[1])?;
    let steps = [(SIZES[2], SIZES[1]), (SIZES[3], SIZES[2])];
    let steps = steps.into_iter().map(|(output, input)| random_conditional(rng, output, input));
    Chain::new(first, steps.collect::<Result<_, _>>()?)
}

/// E log N(r; 0, C) for a residual r with this mean and covariance.
fn expected_log(mean: &Vector, spread: &Matrix, c: &Matrix) -> f64 {
    let inverse = c.clone().try_inverse().expect("a covariance");
    let quadratic = (&inverse * (spread + mean * mean.transpose())).trace();
    -0.5 * (mean.len() as f64 * TAU.ln() + c.determinant().ln() + quadratic)
}

/// E log N(z; b, C) over z ~ N(b, C): minus an entropy.
fn own_expected_log(c: &Matrix) -> f64 {
    expected_log(&Vector::zeros(c.nrows()), c, c)
}

/// E_q log [p(z_T) p(x|z_1) prod_{t=2}^T p(z_{t-1}|z_t) / (q(z_1|x) prod_{t=2}^T q(z_t|z_{t-1}))],
/// term by term, from the means and covariances that q passes from level to level.
fn elbo_by_terms(model: &Chain, encoder: &Chain, x: &Vector) -> f64 {
    let (decoder, upper) = model.steps().split_last().expect("a decoder");
    let (mut m, mut s) = (encoder.first().mean().clone(), encoder.first().covariance().clone());
    // E log p(x|z_1) - E log q(z_1|x).
    let a = decoder.matrix();
    let mut elbo =
        expected_log(&(x - a * &m - decoder.noise().mean()), &(a * &s * a.transpose()), decoder.noise().covariance())
            - own_expected_log(&s);
    for (q, p) in encoder.steps().iter().zip(upper.iter().rev()) {
        let (g, a) = (q.matrix(), p.matrix());
        let next_m = g * &m + q.noise().mean();
        let next_s = g * &s * g.transpose() + q.noise().covariance();
        let cross = a * g * &s;
        // E log p(z_{t-1}|z_t) - E log q(z_t|z_{t-1}).
        elbo += expected_log(
            &(&m - a * &next_m - p.noise().mean()),
            &(&s - &cross - cross.transpose() + a * &next_s * a.transpose()),
            p.noise().covariance(),
        ) - own_expected_log(q.noise().covariance());
        (m, s) = (next_m, next_s);
    }
    // E log p(z_T).
    elbo + expected_log(&(&m - model.first().mean()), &s, model.first().covariance())
}

/// The Markovian ELBO term by term against E_q log p(x, z_{1:T}) + H(q) from the covariance of the
/// whole joint law: three levels, random linear Gaussians.
/// Identity: 13.
/// Kind: closed form.
#[test]
fn mhvae_elbo() -> Outcome {
    const TOLERANCE: f64 = 1e-11;
    let mut rng = rng(401);
    for _ in 0..20 {
        let (model, encoder) = (random_model(&mut rng)?, random_encoder(&mut rng)?);
        let x = normals(&mut rng, SIZES[0]);
        let exact = model.latent_model()?.elbo(&x, &encoder.joint()?)?;
        assert_relative(elbo_by_terms(&model, &encoder, &x), exact, TOLERANCE);
    }
    Ok(())
}

/// log p(x) - ELBO, the ELBO term by term, against KL(q(z_{1:T}|x) || p(z_{1:T}|x)) with the joint
/// posterior by conditioning.
/// Identity: 13.
/// Kind: closed form.
#[test]
fn mhvae_gap() -> Outcome {
    const TOLERANCE: f64 = 1e-11;
    let mut rng = rng(402);
    for _ in 0..20 {
        let (model, encoder) = (random_model(&mut rng)?, random_encoder(&mut rng)?);
        let x = normals(&mut rng, SIZES[0]);
        let solved = model.latent_model()?;
        let gap = solved.log_prob(&x)? - elbo_by_terms(&model, &encoder, &x);
        let kl = encoder.joint()?.kl(&solved.posterior(&x)?)?;
        assert_relative(gap, kl, TOLERANCE);
    }
    Ok(())
}

/// The bottom-up Markov encoder of the model's own conditionals, q(z_1|x) = p(z_1|x) and
/// q(z_t|z_{t-1}) = p(z_t|z_{t-1}): its ELBO against log p(x), gap zero. Also p(z_2|z_1, x) does
/// not depend on x, which is why.
/// Identity: 14.
/// Kind: closed form.
#[test]
fn markov_encoder() -> Outcome {
    const TOLERANCE: f64 = 1e-11;
    let mut rng = rng(403);
    for _ in 0..20 {
        let model = random_model(&mut rng)?;
        let x = normals(&mut rng, SIZES[0]);
        let bottom_up = model.reversed()?;
        let (from_x, upper) = bottom_up.steps().split_first().expect("three levels");
        let encoder = Chain::new(from_x.given(&x)?, upper.to_vec())?;
        let log_p_x = model.latent_model()?.log_prob(&x)?;
        assert_close(elbo_by_terms(&model, &encoder, &x), log_p_x, TOLERANCE);

        // The joint law lists z_3, z_2, z_1, x. Regress z_2 on (z_1, x).
        let (z_2, z_1_and_x): (Vec<usize>, Vec<usize>) = ((2..4).collect(), (4..11).collect());
        let regression = model.joint()?.regression(&z_2, &z_1_and_x)?;
        assert_close(regression.matrix().columns(3, 4).amax(), 0.0, TOLERANCE);
    }
    Ok(())
}

/// With T = 1 the Markovian ELBO, term by term, against the VAE's
/// E_q log p(x|z) - KL(q(z|x) || N(0, I)) written out.
/// Identity: 15.
/// Kind: closed form.
#[test]
fn mhvae_one_level() -> Outcome {
    const TOLERANCE: f64 = 1e-12;
    let mut rng = rng(404);
    let decoder = random_conditional(&mut rng, 4, 2)?;
    let model = Chain::new(Gaussian::standard(2)?, vec![decoder.clone()])?;
    for _ in 0..20 {
        let (x, q) = (normals(&mut rng, 4), random_gaussian(&mut rng, 2)?);
        let (m, s, w) = (q.mean(), q.covariance(), decoder.matrix());
        let inverse = decoder.noise().covariance().clone().try_inverse().expect("a covariance");
        let residual = &x - w * m - decoder.noise().mean();
        let log_likelihood = decoder.noise().log_prob(&(&residual + decoder.noise().mean()))?
            - 0.5 * (inverse * w * s * w.transpose()).trace();
        let kl = 0.5 * (s.trace() + m.norm_squared() - 2.0 - s.determinant().ln());
        let encoder = Chain::new(q.clone(), Vec::new())?;
        assert_close(elbo_by_terms(&model, &encoder, &x), log_likelihood - kl, TOLERANCE);
    }
    Ok(())
}
