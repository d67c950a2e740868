//! Chapter 4.

use elbo_to_diffusion::oracle::{
    Chain, Error, Gaussian, LinearConditional, Matrix, Vector, matrix, vector,
};

// ANCHOR: copy
/// E log q(z_1|x) - E log p(z_1|z_2), the term of z_1, for q(z_1|x) = N(0, v),
/// q(z_2|z_1) = N(z_1, r) and p(z_1|z_2) = N(z_2, r): z_2 copies z_1, up to noise of
/// variance r.
fn term_of_z_1(v: f64, r: f64) -> f64 {
    // Under q, z_1 - z_2 has mean 0 and variance r, so both are means of a log density
    // under its own law.
    let own = |variance: f64| -0.5 * (std::f64::consts::TAU * variance).ln() - 0.5;
    own(v) - own(r)
}

#[test]
fn a_level_that_is_copied_has_a_negative_term() -> Result<(), Error> {
    let (v, r) = (0.5, 0.01);
    let copy = vec![LinearConditional::scalar(1.0, 0.0, r)?];
    let q = Chain::new(Gaussian::scalar(0.0, v)?, copy.clone())?;
    let p = Chain::new(Gaussian::standard(1)?, copy)?;
    // The same term from the joint law of (z_1, z_2) under q.
    let joint = q.joint()?;
    let log_p = p.steps()[0].expected_log_prob(&joint, 0..1, 1..2)?;
    let exact = -q.first().entropy() - log_p;
    assert!((term_of_z_1(v, r) - exact).abs() < 1e-12);
    assert!(exact < -1.9);
    // The whole is a divergence, and not negative: the term of z_2,
    // KL(q(z_2|z_1) || p(z_2)) on average, makes up.
    let second_moment = v + r;
    let top = 0.5 * (second_moment - 1.0 - r.ln());
    assert!(exact + top > 0.0);
    let whole = q.reversed()?.joint()?.kl(&p.joint()?)?;
    assert!((exact + top - whole).abs() < 1e-12);
    Ok(())
}
// ANCHOR_END: copy

/// p(z) = N(0, I_2), p(x|z) = N(W z, I_3 / 4), and one x.
fn one_level() -> Result<(LinearConditional, Vector), Error> {
    let w = matrix(&[&[1.0, 0.3], &[-0.5, 0.8], &[0.2, 0.7]])?;
    Ok((
        LinearConditional::new(w, Vector::zeros(3), Matrix::identity(3, 3) * 0.25)?,
        vector(&[0.9, -0.2, 0.6]),
    ))
}

// ANCHOR: ignored
/// The best ELBO at x of a hierarchy z_2 -> z_1 -> x of two dimensions each, that of
/// the model's own conditionals, read upwards.
fn best_elbo(
    between: LinearConditional, // p(z_1|z_2)
    decoder: LinearConditional, // p(x|z_1)
    x: &Vector,
) -> Result<f64, Error> {
    let model = Chain::new(Gaussian::standard(2)?, vec![between, decoder])?;
    let upwards = model.reversed()?;
    let (bottom, above) = (upwards.steps()[0].given(x)?, upwards.steps()[1..].to_vec());
    let encoder = Chain::new(bottom, above)?;
    model.latent_model()?.elbo(x, &encoder.joint()?)
}

#[test]
fn a_level_that_the_decoder_ignores_costs_nothing() -> Result<(), Error> {
    let (decoder, x) = one_level()?;
    let shallow = Chain::new(Gaussian::standard(2)?, vec![decoder.clone()])?;
    let shallow = shallow.latent_model()?.log_prob(&x)?;
    // p(z_1 | z_2) = N(0, I), whatever z_2 is.
    let (none, all) = (Matrix::zeros(2, 2), Matrix::identity(2, 2));
    let deaf = LinearConditional::new(none, Vector::zeros(2), all.clone())?;
    assert!((best_elbo(deaf, decoder.clone(), &x)? - shallow).abs() < 1e-12);
    // A level that listens makes another prior of z_1, here a correlated one, and
    // another evidence.
    let weights = matrix(&[&[0.8, 0.0], &[0.7, 0.3]])?;
    let listening = LinearConditional::new(weights, Vector::zeros(2), all * 0.4)?;
    let deeper = best_elbo(listening, decoder, &x)?;
    assert!((deeper - shallow).abs() > 0.05);
    Ok(())
}
// ANCHOR_END: ignored

// ANCHOR: mean_field
/// How far the best q with independent blocks of this size stays from a Gaussian
/// posterior with this precision.
fn price_of_independence(precision: &Matrix, size: usize) -> f64 {
    let log_det = |i: usize| precision.view((i, i), (size, size)).determinant().ln();
    let logs: f64 = (0..precision.nrows()).step_by(size).map(log_det).sum();
    0.5 * (logs - precision.determinant().ln())
}

#[test]
fn independent_levels_pay_for_the_correlation_between_them() -> Result<(), Error> {
    let (decoder, x) = one_level()?;
    let weights = matrix(&[&[0.8, 0.0], &[0.7, 0.3]])?;
    let rest = Matrix::identity(2, 2) * 0.4;
    let between = LinearConditional::new(weights, Vector::zeros(2), rest)?;
    let model = Chain::new(Gaussian::standard(2)?, vec![between, decoder])?;
    let model = model.latent_model()?;
    let posterior = model.posterior(&x)?;
    let precision = posterior.precision();
    let blocks = |full: &Matrix| {
        let kept = |i: usize, j: usize| i / 2 == j / 2;
        Matrix::from_fn(4, 4, |i, j| if kept(i, j) { full[(i, j)] } else { 0.0 })
    };
    let covariance = blocks(&precision).try_inverse().expect("invertible blocks");
    let mean = posterior.mean();
    let q = Gaussian::new(mean.clone(), covariance)?;
    let gap = model.log_prob(&x)? - model.elbo(&x, &q)?;
    assert!((gap - price_of_independence(&precision, 2)).abs() < 1e-12);
    assert!(gap > 0.1);
    // The marginals of the posterior are independent blocks too, and worse.
    let wider = Gaussian::new(mean.clone(), blocks(posterior.covariance()))?;
    assert!(model.log_prob(&x)? - model.elbo(&x, &wider)? > gap);
    Ok(())
}
// ANCHOR_END: mean_field
