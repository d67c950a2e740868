//! Chapter 4: hierarchies of latents.

use elbo_to_diffusion::oracle::{
    Chain, Estimate, Gaussian, LinearConditional, LinearGaussian, Matrix, Rule,
    ScalarMixture, Vector, log_sum_exp, matrix, vector,
};
use rand_chacha::ChaCha8Rng;

use crate::meters::PowerMeter;
use crate::recorded::rows;
use crate::scalar_latent::{ScalarLatent, ScalarNormal};
use crate::support::{
    Outcome, assert_close, log_normal, normal, normal_matrix, normals, random_covariance,
    rng,
};

/// p(z_t|z_{t-1}), by Bayes' rule, where p(z_{t-1}|z_t) is Gaussian with independent
/// dimensions: with two summits for a step whose mean is a square (by quadrature, against
/// the density at its mean), with a covariance that is not diagonal for a linear step.
#[test]
fn upward_steps() -> Outcome {
    const LEAST: f64 = 0.05;
    let square = PowerMeter { x: 2.0, sigma: 0.5 };
    let z = Rule::gauss_legendre(800, -8.0, 8.0);
    let mean = z.integrate(|z| {
        z * (square.log_joint(z) - square.log_prob(&Rule::gauss_legendre(100, -8.0, 8.0)))
            .exp()
    });
    assert_close(mean, 0.0, 1e-9);
    let [low, high] = [0.0, 1.3].map(|z| {
        (square.log_joint(z) - square.log_prob(&Rule::gauss_legendre(100, -8.0, 8.0))).exp()
    });
    assert!(low < LEAST && high > 10.0 * low);
    let linear = LinearGaussian::standard(
        matrix(&[&[1.0, 0.5], &[0.2, 1.0]])?,
        vector(&[0.0, 0.0]),
        0.3,
    )?;
    assert!(linear.posterior(&vector(&[0.5, -0.5]))?.covariance()[(0, 1)].abs() > LEAST);
    Ok(())
}

/// Both estimates of log q(z_2|x) from K draws of z_1, for q(z_1|x) = N(0, 1) and
/// q(z_2|z_1) = N(z_1, r), against the exact marginal N(0, 1 + r): the mean without z_1's
/// own is below, the mean with it above, within standard errors, and their distance shrinks
/// with K.
#[test]
fn caught_from_two_sides() {
    const STANDARD_ERRORS: f64 = 4.0;
    const DRAWS: usize = 40_000;
    let (noise, mut rng) = (0.3, rng(1401));
    let mut distances = Vec::new();
    for draws in [4, 16, 64] {
        let (mut low, mut high) = (Estimate::default(), Estimate::default());
        for _ in 0..DRAWS {
            let below = normal(&mut rng);
            let z = below + f64::sqrt(noise) * normal(&mut rng);
            let exact = log_normal(z, 0.0, 1.0 + noise);
            let others: Vec<f64> =
                (0..draws).map(|_| log_normal(z, normal(&mut rng), noise)).collect();
            let sum = log_sum_exp(&others);
            low.push(sum - f64::from(draws).ln() - exact);
            high.push(
                log_sum_exp(&[sum, log_normal(z, below, noise)])
                    - f64::from(draws + 1).ln()
                    - exact,
            );
        }
        assert!(low.z_score(0.0) < -STANDARD_ERRORS && high.z_score(0.0) > STANDARD_ERRORS);
        distances.push(high.mean() - low.mean());
    }
    assert!(
        distances[1] < distances[0] / 2.0 && distances[2] < distances[1] / 2.0,
        "{distances:?}"
    );
}

/// A linear Gaussian chain downwards from N(0, I): three levels of two latents above three
/// dimensions of data.
fn hierarchy(rng: &mut ChaCha8Rng) -> Result<Chain, elbo_to_diffusion::oracle::Error> {
    let mut steps = Vec::new();
    for outputs in [2, 2, 3] {
        let matrix = normal_matrix(rng, outputs, 2);
        steps.push(LinearConditional::new(
            matrix,
            normals(rng, outputs),
            random_covariance(rng, outputs),
        )?);
    }
    Chain::new(Gaussian::standard(2)?, steps)
}

/// The law with the same mean and independent coordinates, each as wide as it is given the
/// others.
fn diagonal(law: &Gaussian) -> Result<Gaussian, elbo_to_diffusion::oracle::Error> {
    let variances = law.precision().diagonal().map(|precision| 1.0 / precision);
    Gaussian::new(law.mean().clone(), Matrix::from_diagonal(&variances))
}

/// log p(x) - ELBO of the chapter's three kinds of encoder, at eight x far apart, against
/// the gap at x = 0.
#[test]
fn gaps_are_the_same_for_every_x() -> Outcome {
    const TOLERANCE: f64 = 1e-9;
    let mut rng = rng(1402);
    for _ in 0..5 {
        let model = hierarchy(&mut rng)?;
        let (solved, upwards) = (model.latent_model()?, model.reversed()?);
        let step = |step: &LinearConditional| {
            let noise = diagonal(step.noise())?;
            LinearConditional::new(
                step.matrix().clone(),
                noise.mean().clone(),
                noise.covariance().clone(),
            )
        };
        let gaps = |x: &Vector| {
            let log_p = solved.log_prob(x)?;
            let between = upwards.steps()[1..].to_vec();
            let first = upwards.steps()[0].given(x)?;
            let markov = Chain::new(first.clone(), between.clone())?;
            let narrowed = between.iter().map(step).collect::<Result<_, _>>()?;
            let narrow = Chain::new(diagonal(&first)?, narrowed)?;
            let independent = diagonal(&solved.posterior(x)?)?;
            let elbos = [
                solved.elbo(x, &markov.joint()?)?,
                solved.elbo(x, &narrow.joint()?)?,
                solved.elbo(x, &independent)?,
            ];
            Ok::<_, elbo_to_diffusion::oracle::Error>(elbos.map(|elbo| log_p - elbo))
        };
        let at_zero = gaps(&vector(&[0.0; 3]))?;
        assert!(at_zero[1] > 1e-3 && at_zero[2] > at_zero[1]);
        for _ in 0..8 {
            let elsewhere = gaps(&(normals(&mut rng, 3) * 4.0))?;
            for (gap, zero) in elsewhere.into_iter().zip(at_zero) {
                assert_close(gap, zero, TOLERANCE);
            }
        }
    }
    Ok(())
}

/// The law of z_s given z_t where z_s is a mixture of two bumps and z_t has a little more
/// noise: its divergence from the Gaussian of its mean and variance, by quadrature and
/// averaged over z_t. A tenth of the noise leaves less than a tenth of the divergence,
/// three times over.
#[test]
fn small_steps_are_nearly_gaussian() -> Outcome {
    const LEAST_RATIO: f64 = 10.0;
    let bumps = ScalarMixture::new(&[0.5, 0.5], &[-0.9, 0.9], &[0.1, 0.1])?;
    let mut before = f64::INFINITY;
    for beta in [0.3, 0.03, 0.003] {
        // z_t = sqrt(1 - beta) z_s + sqrt(beta) eps: by Bayes' rule again a mixture of two
        // normals.
        let level = elbo_to_diffusion::oracle::NoiseLevel::from_abar(1.0 - beta);
        let z_t = bumps.marginal(level);
        let divergence = |z: f64| {
            let law = bumps.posterior(z, level);
            let q = ScalarNormal { mean: law.mean(), log_std: 0.5 * law.variance().ln() };
            let (mean, width) = (law.mean(), law.variance().sqrt());
            let s = Rule::gauss_legendre(60, mean - 9.0 * width, mean + 9.0 * width);
            s.integrate(|z| law.log_prob(z).exp() * (law.log_prob(z) - q.log_prob(z)))
        };
        let mean = Rule::gauss_legendre(200, -4.0, 4.0)
            .integrate(|z| z_t.log_prob(z).exp() * divergence(z));
        assert!(
            mean > 0.0 && before / mean > LEAST_RATIO,
            "beta = {beta}: {mean} after {before}"
        );
        before = mean;
    }
    Ok(())
}

/// log p(x) - ELBO of an encoder that is exact but for its second level, against the mean
/// divergence of that level alone, which is computed from the two conditionals and the law
/// of their input.
#[test]
fn gap_of_one_bad_level() -> Outcome {
    const TOLERANCE: f64 = 1e-9;
    let mut rng = rng(1403);
    for _ in 0..10 {
        let model = hierarchy(&mut rng)?;
        let (solved, upwards) = (model.latent_model()?, model.reversed()?);
        let x = normals(&mut rng, 3);
        let first = upwards.steps()[0].given(&x)?;
        let right = &upwards.steps()[1];
        let bad = LinearConditional::new(
            right.matrix() + normal_matrix(&mut rng, 2, 2) * 0.3,
            right.noise().mean() + normals(&mut rng, 2) * 0.3,
            random_covariance(&mut rng, 2),
        )?;
        let encoder =
            Chain::new(first.clone(), vec![bad.clone(), upwards.steps()[2].clone()])?;
        let gap = solved.log_prob(&x)? - solved.elbo(&x, &encoder.joint()?)?;
        // E KL(bad(z_1) || right(z_1)): the divergence at the mean of z_1, and what the
        // spread of z_1 adds to the squared distance of the means.
        let at_mean = bad.given(first.mean())?.kl(&right.given(first.mean())?)?;
        let slope = bad.matrix() - right.matrix();
        let spread = &slope * first.covariance() * slope.transpose();
        let added = 0.5 * (right.noise().precision() * spread).trace();
        assert_close(gap, at_mean + added, TOLERANCE);
        assert!(gap > 0.01);
    }
    Ok(())
}

/// The -ELBO and -L_200 of five recorded pairs of models: all hierarchies against all
/// autoencoders. The gain is the difference of its columns.
#[test]
fn depth_pays_with_every_seed() {
    const TOLERANCE: f64 = 0.0015;
    let rows = rows("ch04");
    assert_eq!(rows.len(), 5);
    for columns in [(3, 7), (4, 8)] {
        let best_vae = rows.iter().map(|row| row[columns.0]).fold(f64::MAX, f64::min);
        let worst_hvae = rows.iter().map(|row| row[columns.1]).fold(f64::MIN, f64::max);
        assert!(worst_hvae < best_vae - 0.03);
    }
    for row in &rows {
        assert_close(row[9], row[3] - row[7], TOLERANCE);
        assert_close(row[3], row[1] + row[2], TOLERANCE);
        assert!(row[6] < row[2]);
        assert!(row[1] - row[5] > row[9] / 2.0);
    }
}

/// The shares of the variance that the three levels settle, with five recorded seeds:
/// rising from the top down in each, and between a tenth and two fifths for the top.
#[test]
fn lower_levels_settle_more() {
    const TOP: std::ops::RangeInclusive<f64> = 0.1..=0.4;
    let rows = rows("ch04_levels");
    assert_eq!(rows.len(), 5);
    for row in rows {
        assert!(TOP.contains(&row[1]) && row[1] < row[2] && row[2] < row[3], "{row:?}");
    }
}

/// A tower of three Gaussians, z_2 to z_1 to x: the evidence and the posteriors by conditioning
/// the joint.
#[test]
fn tower_of_sums() -> Outcome {
    const TOLERANCE: f64 = 1e-12;
    // Of (z_2, z_1, x): sums of the same independent noises, with the variances 1, 1 and 2.
    let covariance = matrix(&[&[1.0, 1.0, 1.0], &[1.0, 2.0, 2.0], &[1.0, 2.0, 4.0]])?;
    let joint = Gaussian::new(vector(&[0.0, 0.0, 0.0]), covariance)?;
    assert_close(joint.marginal(&[2])?.covariance()[(0, 0)], 4.0, TOLERANCE);
    let x = 1.7;
    let posterior = joint.marginal(&[1, 2])?.condition(&[1], &vector(&[x]))?;
    assert_close(posterior.mean()[0], 0.5 * x, TOLERANCE);
    assert_close(posterior.covariance()[(0, 0)], 1.0, TOLERANCE);
    // Given z_1 the level above does not change with x.
    let given = |x: f64| joint.condition(&[1, 2], &vector(&[0.4, x]));
    assert_close(given(-3.0)?.mean()[0], given(5.0)?.mean()[0], TOLERANCE);
    Ok(())
}
