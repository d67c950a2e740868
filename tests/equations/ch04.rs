//! Chapter 4: hierarchical variational autoencoders.

use std::f64::consts::TAU;

use elbo_to_diffusion::oracle::{
    Chain, Error, Gaussian, LinearConditional, Matrix, Rule, Vector, vector,
};
use rand_chacha::ChaCha8Rng;

use crate::support::{
    Outcome, assert_close, assert_relative, normal_matrix, normals, random_covariance,
    random_gaussian, rng,
};
use crate::tex::{Values, digest, tex};

/// The sizes of x, z_1, z_2, z_3.
const SIZES: [usize; 4] = [4, 3, 2, 2];

fn random_conditional(
    rng: &mut ChaCha8Rng,
    output: usize,
    input: usize,
) -> Result<LinearConditional, Error> {
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
    let steps =
        steps.into_iter().map(|(output, input)| random_conditional(rng, output, input));
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

/// E_q log [p(z_T) p(x|z_1) prod_{t=2}^T p(z_{t-1}|z_t) / (q(z_1|x) prod_{t=2}^T
/// q(z_t|z_{t-1}))], term by term, from the means and covariances that q passes from level
/// to level.
fn elbo_by_terms(model: &Chain, encoder: &Chain, x: &Vector) -> f64 {
    let (decoder, upper) = model.steps().split_last().expect("a decoder");
    let (mut m, mut s) =
        (encoder.first().mean().clone(), encoder.first().covariance().clone());
    // E log p(x|z_1) - E log q(z_1|x).
    let a = decoder.matrix();
    let mut elbo = expected_log(
        &(x - a * &m - decoder.noise().mean()),
        &(a * &s * a.transpose()),
        decoder.noise().covariance(),
    ) - own_expected_log(&s);
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

/// The Markovian ELBO term by term against E_q log p(x, z_{1:T}) + H(q) from the covariance
/// of the whole joint law: three levels, random linear Gaussians. Kind: closed form.
#[test]
fn mhvae_elbo() -> Outcome {
    digest("mhvae-elbo", "3a23d73e6406");
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

/// log p(x) - ELBO, the ELBO term by term, against KL(q(z_{1:T}|x) || p(z_{1:T}|x)) with
/// the joint posterior by conditioning. Kind: closed form.
#[test]
fn mhvae_gap() -> Outcome {
    const TOLERANCE: f64 = 1e-11;
    let page = tex("mhvae-gap");
    let mut rng = rng(402);
    for _ in 0..20 {
        let (model, encoder) = (random_model(&mut rng)?, random_encoder(&mut rng)?);
        let x = normals(&mut rng, SIZES[0]);
        let solved = model.latent_model()?;
        let kl = encoder.joint()?.kl(&solved.posterior(&x)?)?;
        let values = Values::default()
            .number(r"p_\theta(x)", solved.log_prob(&x)?.exp())
            .number(r"\ELBO", elbo_by_terms(&model, &encoder, &x))
            .number(r"\KL{q_\phi(z_{1:T} \mid x)}{p_\theta(z_{1:T} \mid x)}", kl);
        let sides = page.sides(&values);
        assert_relative(sides[0], sides[1], TOLERANCE);
    }
    Ok(())
}

/// The bottom-up Markov encoder of the model's own conditionals, q(z_1|x) = p(z_1|x) and
/// q(z_t|z_{t-1}) = p(z_t|z_{t-1}): its ELBO against log p(x), gap zero. Also p(z_2|z_1, x)
/// does not depend on x, which is why. Kind: closed form.
#[test]
fn markov_encoder() -> Outcome {
    digest("markov-encoder", "a3c2b0300309");
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
        let (z_2, z_1_and_x): (Vec<usize>, Vec<usize>) =
            ((2..4).collect(), (4..11).collect());
        let regression = model.joint()?.regression(&z_2, &z_1_and_x)?;
        assert_close(regression.matrix().columns(3, 4).amax(), 0.0, TOLERANCE);
    }
    Ok(())
}

/// With T = 1 the Markovian ELBO, term by term in closed form, against E_q log p(x|z_1) -
/// KL(q(z_1|x) || N(0, I)), both means by a product Gauss-Hermite rule over the densities
/// themselves; and against log p(x) - KL(q || p(z_1|x)). Kind: closed form, quadrature.
#[test]
fn mhvae_one_level() -> Outcome {
    digest("mhvae-one-level", "c308b1fc99ca");
    const TOLERANCE: f64 = 1e-12;
    let (mut rng, prior) = (rng(404), Gaussian::standard(2)?);
    // The integrands are quadratic in z, so four nodes a side leave only rounding.
    let rule = Rule::gauss_hermite(4);
    for _ in 0..20 {
        let decoder = random_conditional(&mut rng, 4, 2)?;
        let model = Chain::new(prior.clone(), vec![decoder.clone()])?;
        let (x, q) = (normals(&mut rng, 4), random_gaussian(&mut rng, 2)?);
        let factor = q.cholesky_factor();
        let mean_of = |f: &dyn Fn(&Vector) -> Result<f64, Error>| {
            rule.integrate_2d(|e1, e2| {
                f(&(q.mean() + &factor * vector(&[e1, e2]))).unwrap_or(f64::NAN)
            })
        };
        let log_likelihood = mean_of(&|z| decoder.given(z)?.log_prob(&x));
        let kl = mean_of(&|z| Ok(q.log_prob(z)? - prior.log_prob(z)?));
        let by_terms = elbo_by_terms(&model, &Chain::new(q.clone(), Vec::new())?, &x);
        assert_relative(by_terms, log_likelihood - kl, TOLERANCE);
        let solved = model.latent_model()?;
        let below = solved.log_prob(&x)? - q.kl(&solved.posterior(&x)?)?;
        assert_relative(by_terms, below, TOLERANCE);
    }
    Ok(())
}

/// E KL(N(A z + a, C) || N(B z + b, D)) over a Gaussian z.
fn expected_kl(
    q: &LinearConditional,
    p: &LinearConditional,
    z: &Gaussian,
) -> Result<f64, Error> {
    let shift = (q.matrix() - p.matrix()) * z.mean() + q.noise().mean() - p.noise().mean();
    let slope = q.matrix() - p.matrix();
    let inverse = p.noise().covariance().clone().try_inverse().expect("a covariance");
    let centred = |law: &LinearConditional| {
        Gaussian::new(
            Vector::zeros(law.output_dimension()),
            law.noise().covariance().clone(),
        )
    };
    let spread = &slope * z.covariance() * slope.transpose() + &shift * shift.transpose();
    Ok(centred(q)?.kl(&centred(p)?)? + 0.5 * (inverse * spread).trace())
}

/// Both ways to divide KL(q(z_{1:T}|x) || p(z_{1:T})) over the levels, z_T first: by
/// divergences, with the encoder's chain turned round, and by the log-ratio terms of the
/// ELBO.
fn divided(prior: &Chain, encoder: &Chain) -> Result<(Vec<f64>, Vec<f64>), Error> {
    let downwards = encoder.reversed()?;
    let (laws, joint, blocks) =
        (downwards.marginals()?, downwards.joint()?, downwards.blocks());
    let mut divergences = vec![downwards.first().kl(prior.first())?];
    let mut log_p =
        vec![prior.first().expected_log_prob(laws[0].mean(), laws[0].covariance())?];
    for (t, (q, p)) in downwards.steps().iter().zip(prior.steps()).enumerate() {
        divergences.push(expected_kl(q, p, &laws[t])?);
        log_p.push(p.expected_log_prob(
            &joint,
            blocks[t + 1].clone(),
            blocks[t].clone(),
        )?);
    }
    let mut log_q: Vec<f64> = encoder
        .steps()
        .iter()
        .rev()
        .map(|step| own_expected_log(step.noise().covariance()))
        .collect();
    log_q.push(own_expected_log(encoder.first().covariance()));
    Ok((divergences, log_q.iter().zip(&log_p).map(|(q, p)| q - p).collect()))
}

/// KL(q(z_{1:T}|x) || p(z_{1:T})) between the two joint laws, against the sum over levels
/// KL(q(z_T|x) || p(z_T)) + sum_t E KL(q(z_t|z_{t+1}, x) || p(z_t|z_{t+1})). The log-ratio
/// terms of the ELBO have the same sum, but are other numbers: where a level almost copies
/// the one below, a term is negative, which no divergence is. Kind: closed form.
#[test]
fn mhvae_levels() -> Outcome {
    digest("mhvae-levels", "75621de84021");
    const TOLERANCE: f64 = 1e-11;
    let mut rng = rng(405);
    for _ in 0..20 {
        let (model, encoder) = (random_model(&mut rng)?, random_encoder(&mut rng)?);
        let prior = Chain::new(model.first().clone(), model.steps()[..2].to_vec())?;
        let joint_kl = encoder.reversed()?.joint()?.kl(&prior.joint()?)?;
        let (divergences, terms) = divided(&prior, &encoder)?;
        assert_relative(divergences.iter().sum(), joint_kl, TOLERANCE);
        assert_relative(terms.iter().sum(), joint_kl, TOLERANCE);
        assert!(divergences.iter().all(|kl| *kl >= 0.0));
        assert!(terms.iter().zip(&divergences).all(|(term, kl)| (term - kl).abs() > 1e-3));
    }
    let copy = || LinearConditional::scalar(1.0, 0.0, 0.01);
    let prior = Chain::new(Gaussian::standard(1)?, vec![copy()?])?;
    let encoder = Chain::new(Gaussian::scalar(0.5, 0.5)?, vec![copy()?])?;
    let (divergences, terms) = divided(&prior, &encoder)?;
    assert_close(divergences.iter().sum(), terms.iter().sum(), TOLERANCE);
    assert!(divergences[1] >= 0.0 && terms[1] < -1.0, "a log-ratio term of {}", terms[1]);
    Ok(())
}
