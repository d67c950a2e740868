//! Chapter 7: three parameterizations of one denoiser, and Tweedie's formula.

use elbo_to_diffusion::oracle::{
    Error, Estimate, Gaussian, Matrix, Mixture, NoiseLevel, Process, Rule, ScalarMixture,
    Step, Vector, matrix, vector,
};

use crate::support::{
    Outcome, assert_close, assert_estimates, assert_relative, assert_vectors_close,
    derivative, log_normal, normal, normals, rng,
};
use crate::tex::{Formula, Values, digest, tex};

/// The levels on which the tests run.
const GAMMAS: [f64; 6] = [-8.0, -4.0, -1.0, 0.5, 3.0, 5.0];

/// Three steps of a process through which KL terms are found by conditioning.
fn process() -> Result<Process, Error> {
    Process::linear_gamma(-8.0, 5.0, 20)
}

/// q(z_{t-1}|z_t, x) from conditioning the covariance of (z_{t-1}, z_t) given x; t >= 2.
fn posterior(
    process: &Process,
    t: usize,
    z: &Vector,
    x: &Vector,
) -> Result<Gaussian, Error> {
    let chain = process.forward(x)?;
    let pair = chain.steps()[t - 2].joint(&chain.marginals()?[t - 2])?;
    let d = x.len();
    pair.condition(&(d..2 * d).collect::<Vec<_>>(), z)
}

/// A mixture with full covariances in two dimensions.
fn mixture_2d() -> Result<Mixture, Error> {
    Mixture::new(
        &[0.35, 0.45, 0.2],
        vec![
            Gaussian::new(vector(&[-1.0, 0.3]), matrix(&[&[0.2, 0.05], &[0.05, 0.1]])?)?,
            Gaussian::new(vector(&[0.8, 0.9]), matrix(&[&[0.1, -0.06], &[-0.06, 0.3]])?)?,
            Gaussian::new(vector(&[0.4, -1.2]), matrix(&[&[0.4, 0.0], &[0.0, 0.05]])?)?,
        ],
    )
}

/// Two bumps on the line.
fn mixture_1d() -> Result<ScalarMixture, Error> {
    ScalarMixture::new(&[0.4, 0.6], &[-0.9, 0.6], &[0.1, 0.2])
}

/// The sixteen cells of the page's table of conversions, by the name of their row and column.
fn conversions() -> Vec<(usize, usize, Formula)> {
    let page =
        concat!(env!("CARGO_MANIFEST_DIR"), "/book/src/ch07_three_parameterizations.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let rows = page
        .lines()
        .skip_while(|line| !line.starts_with("| given $z$ and |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let mut cells = Vec::new();
    for (row, line) in rows.enumerate() {
        for (column, cell) in line.trim_matches('|').split('|').skip(1).enumerate() {
            cells.push((row, column, Formula::parse(cell.trim().trim_matches('$'))));
        }
    }
    cells
}

/// x, eps, the score of q(z|x) and v, each recovered from z and each of the others by the
/// equation and by each of the sixteen entries of the table below it, all as they are
/// printed, against the values that z was made from. Kind: closed form.
#[test]
fn eps_from_x() {
    const TOLERANCE: f64 = 1e-11;
    let (page, conversions) = (tex("eps-from-x"), conversions());
    assert_eq!(conversions.len(), 16);
    let mut rng = rng(701);
    for gamma in GAMMAS {
        let level = NoiseLevel::new(gamma);
        let (abar, noise) = (level.abar(), level.noise());
        let (x, eps) = (normal(&mut rng), normal(&mut rng));
        let z = abar.sqrt() * x + noise.sqrt() * eps;
        let score = (abar.sqrt() * x - z) / noise;
        let v = abar.sqrt() * eps - noise.sqrt() * x;
        let values = Values::default()
            .number("x", x)
            .number("z", z)
            .number(r"\eps", eps)
            .number("s", score)
            .number("v", v)
            .number(r"\abar", abar);
        for side in page.sides(&values) {
            assert_close(side, x, TOLERANCE);
        }
        // Dividing by the noise magnifies what rounding left of z - sqrt(abar) x.
        let exact = [x, eps, score, v];
        let tolerances =
            [1.0, noise.sqrt(), noise, noise.sqrt()].map(|noise| TOLERANCE / noise);
        for (_, column, cell) in &conversions {
            let found = cell.sides(&values)[0];
            assert_close(found, exact[*column], tolerances[*column]);
        }
    }
}

/// How far the x that a wrong output means lies from x, for outputs read as x, eps, score
/// and v with the conversions as the page prints them, against |scale| times the output's
/// error; and scale^2 times the x weight against the weight of each reading found from its
/// own formula in alpha. Kind: closed form.
#[test]
fn error_scale() -> Outcome {
    const TOLERANCE: f64 = 1e-10;
    let page = tex("error-scale");
    let (process, mut rng) = (process()?, rng(712));
    for step in process.steps().iter().skip(1) {
        let (signal, noise) = (step.t.abar().sqrt(), step.t.noise().sqrt());
        let (x, eps, error) = (normal(&mut rng), normal(&mut rng), normal(&mut rng));
        let z = signal * x + noise * eps;
        let read = [
            x + error,
            (z - noise * (eps + error)) / signal,
            (z + noise * noise * (-eps / noise + error)) / signal,
            signal * z - noise * (signal * eps - noise * x + error),
        ];
        let (alpha, beta) = (step.alpha(), 1.0 - step.alpha());
        let x_weight =
            step.s.abar() * beta.powi(2) / (2.0 * sigma_q2(step) * noise.powi(4));
        let weights = [
            x_weight,
            beta.powi(2) / (2.0 * sigma_q2(step) * noise.powi(2) * alpha),
            beta.powi(2) / (2.0 * sigma_q2(step) * alpha),
            x_weight * noise.powi(2),
        ];
        let scales = [1.0, -noise / signal, noise.powi(2) / signal, -noise];
        for ((x_hat, weight), scale) in read.iter().zip(weights).zip(scales) {
            assert_relative(weight, scale.powi(2) * step.x_weight(), TOLERANCE);
            let values = Values::default()
                .number("x", x)
                .number(r"\xhat", *x_hat)
                .number(r"\text{scale}", scale)
                .number(r"\text{target}", 0.0)
                .number(r"\text{output}", error)
                .number(r"w_{\text{output}}", weight)
                .number("w_x", x_weight);
            let sides = page.part(0, &values);
            assert_relative(sides[0], sides[1], TOLERANCE / noise);
            let sides = page.part(1, &values);
            assert_relative(sides[0], sides[1], TOLERANCE);
        }
    }
    Ok(())
}

/// The mean of q(z_{t-1}|z_t, x) in its x, eps and score forms, against conditioning the
/// joint covariance. Kind: closed form.
#[test]
fn mu_forms() -> Outcome {
    const TOLERANCE: f64 = 1e-12;
    let page = tex("mu-forms");
    let (process, mut rng) = (process()?, rng(702));
    for (i, step) in process.steps().iter().enumerate().skip(1) {
        let (alpha, abar, before) = (step.alpha(), step.t.abar(), step.s.abar());
        let (x, eps) = (normals(&mut rng, 2), normals(&mut rng, 2));
        let z = &x * abar.sqrt() + &eps * (1.0 - abar).sqrt();
        let score = -&eps / (1.0 - abar).sqrt();
        let x_form = &z * (alpha.sqrt() * (1.0 - before) / (1.0 - abar))
            + &x * (before.sqrt() * (1.0 - alpha) / (1.0 - abar));
        let exact = posterior(&process, i + 1, &z, &x)?;
        assert_vectors_close(&x_form, exact.mean(), TOLERANCE);
        for j in 0..2 {
            let values = Values::default()
                .number(r"\mu_q", exact.mean()[j])
                .number(r"\alpha_t", alpha)
                .number(r"\abar_t", abar)
                .number("z_t", z[j])
                .number(r"\eps", eps[j])
                .number("s", score[j]);
            for side in page.sides(&values) {
                assert_close(side, exact.mean()[j], TOLERANCE);
            }
        }
    }
    Ok(())
}

/// The weight times the squared difference of two outputs, against the KL of the posteriors
/// that conditioning gives for the two x they mean at one z_t.
fn weighted_difference_is_kl(
    seed: u64,
    tolerance: f64,
    weighted: impl Fn(&Step, &Vector, [&Vector; 2]) -> f64,
) -> Outcome {
    let (process, mut rng) = (process()?, rng(seed));
    for (i, step) in process.steps().iter().enumerate().skip(1) {
        let (x, x_hat, eps) =
            (normals(&mut rng, 3), normals(&mut rng, 3), normals(&mut rng, 3));
        let z = &x * step.t.abar().sqrt() + &eps * step.t.noise().sqrt();
        let kl = posterior(&process, i + 1, &z, &x)?.kl(&posterior(
            &process,
            i + 1,
            &z,
            &x_hat,
        )?)?;
        assert_relative(weighted(step, &z, [&x, &x_hat]), kl, tolerance);
    }
    Ok(())
}

/// sigma_q^2 = (1 - alpha_t)(1 - abar_{t-1})/(1 - abar_t).
fn sigma_q2(step: &Step) -> f64 {
    (1.0 - step.alpha()) * step.s.noise() / step.t.noise()
}

/// What the pages call the quantities of a step.
fn of_step(step: &Step) -> Values<'_> {
    let snr = |t: &[f64]| if t[0] == 7.0 { step.t.snr() } else { step.s.snr() };
    Values::default()
        .number("t", 7.0)
        .function(r"\snr", snr)
        .number(r"\alpha_t", step.alpha())
        .number(r"\abar_t", step.t.abar())
        .number(r"\sigma_q^2(t)", sigma_q2(step))
        .number(r"\gamma_t", step.t.gamma)
        .number(r"\gamma_{t-1}", step.s.gamma)
}

/// (1-alpha_t)^2/(2 sigma_q^2 (1-abar_t) alpha_t) against (SNR(t-1)/SNR(t) - 1)/2 and
/// expm1(gamma_t - gamma_{t-1})/2; times |eps - eps_hat|^2, against the KL of conditioned
/// posteriors. Kind: closed form.
#[test]
fn eps_weight() -> Outcome {
    const TOLERANCE: f64 = 1e-12;
    let page = tex("eps-weight");
    const CONDITIONING_TOLERANCE: f64 = 1e-9;
    weighted_difference_is_kl(703, CONDITIONING_TOLERANCE, |step, z, outputs| {
        let (alpha, noise) = (step.alpha(), step.t.noise());
        let weight = (1.0 - alpha).powi(2) / (2.0 * sigma_q2(step) * noise * alpha);
        for side in page.sides(&of_step(step).number(r"w_\eps", weight)) {
            assert_relative(side, weight, TOLERANCE);
        }
        assert_relative(step.eps_weight(), weight, TOLERANCE);
        let [eps, eps_hat] = outputs.map(|x| (z - x * step.t.abar().sqrt()) / noise.sqrt());
        weight * (eps - eps_hat).norm_squared()
    })
}

/// (1-alpha_t)^2/(2 sigma_q^2 alpha_t) against (1-abar_t) expm1(gamma_t - gamma_{t-1})/2;
/// times the squared difference of the scores of q(z_t|x), against the KL of conditioned
/// posteriors. Kind: closed form.
#[test]
fn score_weight() -> Outcome {
    const TOLERANCE: f64 = 1e-12;
    let page = tex("score-weight");
    const CONDITIONING_TOLERANCE: f64 = 1e-9;
    weighted_difference_is_kl(704, CONDITIONING_TOLERANCE, |step, z, outputs| {
        let (alpha, noise) = (step.alpha(), step.t.noise());
        let weight = (1.0 - alpha).powi(2) / (2.0 * sigma_q2(step) * alpha);
        for side in page.sides(&of_step(step).number("w_s", weight)) {
            assert_relative(side, weight, TOLERANCE);
        }
        assert_relative(step.score_weight(), weight, TOLERANCE);
        let [score, score_hat] = outputs.map(|x| (x * step.t.abar().sqrt() - z) / noise);
        weight * (score - score_hat).norm_squared()
    })
}

/// (1-abar_t) times the x weight; |v - v_hat|^2 against (1 + SNR)|x - x_hat|^2; weight
/// times
/// |v - v_hat|^2 against the KL of conditioned posteriors.
/// Kind: closed form.
#[test]
fn v_weight() -> Outcome {
    const TOLERANCE: f64 = 1e-12;
    let page = tex("v-weight");
    const CONDITIONING_TOLERANCE: f64 = 1e-9;
    weighted_difference_is_kl(705, CONDITIONING_TOLERANCE, |step, z, outputs| {
        let (abar, noise) = (step.t.abar(), step.t.noise());
        let weight = 0.5 * noise * (step.s.snr() - step.t.snr());
        assert_relative(step.v_weight(), weight, TOLERANCE);
        let [v, v_hat] = outputs.map(|x| {
            let eps = (z - x * abar.sqrt()) / noise.sqrt();
            eps * abar.sqrt() - x * noise.sqrt()
        });
        let difference = (&v - &v_hat).norm_squared();
        let values = of_step(step)
            .number("w_v", weight)
            .number("w_x", step.x_weight())
            .vector("v", v.as_slice())
            .vector(r"\vhat", v_hat.as_slice())
            .vector("x", outputs[0].as_slice())
            .vector(r"\xhat", outputs[1].as_slice());
        for side in page.part(0, &values) {
            assert_relative(side, weight, TOLERANCE);
        }
        for side in page.part(1, &values) {
            assert_relative(side, difference, TOLERANCE);
        }
        weight * difference
    })
}

/// One random network output read as x_hat, as eps_hat, as a score and as v_hat: for each
/// reading the four weighted losses (the other three converted), against the KL of
/// conditioned posteriors. Kind: closed form.
#[test]
fn four_losses() -> Outcome {
    const TOLERANCE: f64 = 1e-9;
    let page = tex("four-losses");
    let (process, mut rng) = (process()?, rng(706));
    for (i, step) in process.steps().iter().enumerate().skip(1) {
        let (signal, noise) = (step.t.abar().sqrt(), step.t.noise());
        let (x, eps, output) =
            (normals(&mut rng, 3), normals(&mut rng, 3), normals(&mut rng, 3));
        let z = &x * signal + &eps * noise.sqrt();
        let (score, v) = (-&eps / noise.sqrt(), &eps * signal - &x * noise.sqrt());
        let readings = [
            output.clone(),
            (&z - &output * noise.sqrt()) / signal,
            (&z + &output * noise) / signal,
            &z * signal - &output * noise.sqrt(),
        ];
        for x_hat in readings {
            let eps_hat = (&z - &x_hat * signal) / noise.sqrt();
            let score_hat = -&eps_hat / noise.sqrt();
            let v_hat = &eps_hat * signal - &x_hat * noise.sqrt();
            let growth = 0.5 * (step.s.snr() - step.t.snr());
            let ratio = 0.5 * (step.t.gamma - step.s.gamma).exp_m1();
            let q = posterior(&process, i + 1, &z, &x)?;
            let kl = q.kl(&posterior(&process, i + 1, &z, &x_hat)?)?;
            let values = Values::default()
                .number("w_x", growth)
                .number(r"w_\eps", ratio)
                .number("w_s", noise * ratio)
                .number("w_v", noise * growth)
                .vector("x", x.as_slice())
                .vector(r"\xhat", x_hat.as_slice())
                .vector(r"\eps", eps.as_slice())
                .vector(r"\epshat", eps_hat.as_slice())
                .vector("s", score.as_slice())
                .vector(r"\shat", score_hat.as_slice())
                .vector("v", v.as_slice())
                .vector(r"\vhat", v_hat.as_slice())
                .number(r"\KL{q(z_{t-1} \mid z_t, x)}{p_\theta(z_{t-1} \mid z_t)}", kl);
            for side in page.sides(&values) {
                assert_relative(side, kl, TOLERANCE);
            }
        }
    }
    Ok(())
}

/// (z, v) against the rotation of (x, eps) by phi = atan(sqrt(1-abar)/sqrt(abar)), and x,
/// eps from z, v against the rotation back. Kind: closed form.
#[test]
fn v_rotation() {
    digest("v-rotation", "4843c3595a5b");
    const TOLERANCE: f64 = 1e-14;
    let mut rng = rng(707);
    for gamma in GAMMAS {
        let level = NoiseLevel::new(gamma);
        let (signal, noise) = (level.abar().sqrt(), level.noise().sqrt());
        let (x, eps) = (normal(&mut rng), normal(&mut rng));
        let (z, v) = (signal * x + noise * eps, signal * eps - noise * x);
        let (sin, cos) = noise.atan2(signal).sin_cos();
        assert_close(z, cos * x + sin * eps, TOLERANCE);
        assert_close(v, cos * eps - sin * x, TOLERANCE);
        assert_close(signal * z - noise * v, x, TOLERANCE);
        assert_close(noise * z + signal * v, eps, TOLERANCE);
    }
}

/// E[mu|z] = z + S grad log p(z) for z ~ N(mu, S) with a mixture prior on mu, p(z) the
/// MARGINAL: the left side by quadrature over mu in two dimensions, S full. Kind:
/// quadrature.
#[test]
fn tweedie() -> Outcome {
    digest("tweedie", "179952c3ae7f");
    const TOLERANCE: f64 = 1e-10;
    let prior = mixture_2d()?;
    let noise = matrix(&[&[0.3, 0.1], &[0.1, 0.2]])?;
    // mu and noise are independent, so the covariance of each component of p(z) is a sum.
    let summed = prior
        .components()
        .iter()
        .map(|c| Gaussian::new(c.mean().clone(), c.covariance() + &noise));
    let marginal = Mixture::new(prior.weights(), summed.collect::<Result<_, _>>()?)?;
    let rule = Rule::gauss_legendre(120, -4.5, 4.5);
    for z in [vector(&[0.3, -0.4]), vector(&[-1.2, 1.0])] {
        let likelihood = Gaussian::new(z.clone(), noise.clone())?;
        let (mut total, mut sum) = (0.0, Vector::zeros(2));
        for (first, first_weight) in rule.points() {
            for (second, second_weight) in rule.points() {
                let mu = vector(&[first, second]);
                let density = (prior.log_prob(&mu)? + likelihood.log_prob(&mu)?).exp();
                total += first_weight * second_weight * density;
                sum += mu * (first_weight * second_weight * density);
            }
        }
        let tweedie = &z + &noise * marginal.score(&z)?;
        assert_vectors_close(&tweedie, &(sum / total), TOLERANCE);
    }
    Ok(())
}

/// (z + (1-abar) grad log q(z)) / sqrt(abar) against E[x|z] by the responsibilities of the
/// mixture and the posterior of each component; the score against differences of log q(z).
/// Kind: closed form, finite differences.
#[test]
fn tweedie_diffusion() -> Outcome {
    const TOLERANCE: f64 = 1e-12;
    let page = tex("tweedie-diffusion");
    const SLOPE_TOLERANCE: f64 = 1e-6;
    let (data, mut rng) = (mixture_2d()?, rng(708));
    for gamma in GAMMAS {
        let level = NoiseLevel::new(gamma);
        let marginal = data.marginal(level)?;
        for _ in 0..10 {
            let z = marginal.sample(&mut rng);
            let score = marginal.score(&z)?;
            let mean = data.posterior(&z, level)?.mean();
            for i in 0..2 {
                let values = Values::default()
                    .number(r"\E{}{x \mid z}", mean[i])
                    .number("z", z[i])
                    .number(r"\nabla \log q(z)", score[i])
                    .number(r"\abar", level.abar());
                let sides = page.sides(&values);
                assert_close(sides[0], sides[1], TOLERANCE);
            }
            for i in 0..2 {
                let along = |value: f64| {
                    let mut moved = z.clone();
                    moved[i] = value;
                    marginal.log_prob(&moved).unwrap_or(f64::NAN)
                };
                assert_close(score[i], derivative(along, z[i]), SLOPE_TOLERANCE);
            }
        }
    }
    Ok(())
}

/// ((1-abar)/abar)(I + (1-abar) Hess log q(z)) against the covariance of the mixture
/// q(x|z). Kind: closed form.
#[test]
fn tweedie_covariance() -> Outcome {
    const TOLERANCE: f64 = 1e-11;
    let page = tex("tweedie-covariance");
    let (data, mut rng) = (mixture_2d()?, rng(709));
    for gamma in GAMMAS {
        let level = NoiseLevel::new(gamma);
        let marginal = data.marginal(level)?;
        for _ in 0..10 {
            let z = marginal.sample(&mut rng);
            let (identity, hessian) = (Matrix::identity(2, 2), marginal.hessian(&z)?);
            let covariance = data.posterior(&z, level)?.covariance();
            for entry in [(0, 0), (0, 1), (1, 1)] {
                let values = Values::default()
                    .number(r"\operatorname{Cov}(x \mid z)", covariance[entry])
                    .number(r"\I", identity[entry])
                    .number(r"\nabla^2 \log q(z)", hessian[entry])
                    .number(r"\abar", level.abar());
                let sides = page.sides(&values);
                assert_close(sides[0], sides[1], TOLERANCE);
            }
        }
    }
    Ok(())
}

/// -eps/sqrt(1-abar) against the gradient of log q(z|x), from the oracle's Gaussian and
/// from finite differences of the log density, at z = sqrt(abar) x + sqrt(1-abar) eps.
/// Kind: closed form, finite differences.
#[test]
fn conditional_score() -> Outcome {
    const TOLERANCE: f64 = 1e-10;
    let page = tex("conditional-score");
    let mut rng = rng(710);
    for gamma in GAMMAS {
        let level = NoiseLevel::new(gamma);
        let (x, eps) = (normals(&mut rng, 2), normals(&mut rng, 2));
        let z = &x * level.abar().sqrt() + &eps * level.noise().sqrt();
        let score = level.given(&x)?.score(&z)?;
        for i in 0..2 {
            let values = Values::default()
                .number(r"\nabla_z \log q(z \mid x)", score[i])
                .number("z", z[i])
                .number("x", x[i])
                .number(r"\eps", eps[i])
                .number(r"\abar", level.abar());
            let mean = level.abar().sqrt() * x[i];
            let slope = derivative(|z| log_normal(z, mean, level.noise()), z[i]);
            for side in page.sides(&values) {
                assert_close(side, score[i], TOLERANCE);
                assert_close(side, slope, TOLERANCE / level.noise());
            }
        }
    }
    Ok(())
}

/// E of f(x, eps) over q(x|z), by quadrature over x of p(x) q(z|x), with eps the noise that
/// takes x to z.
fn given_z(
    data: &ScalarMixture,
    level: NoiseLevel,
    z: f64,
    f: impl Fn(f64, f64) -> f64,
) -> f64 {
    // q(z|x) as a function of x is centred on z/sqrt(abar) with deviation 1/sqrt(SNR).
    let (centre, reach) = (z / level.abar().sqrt(), 10.0 / level.snr().sqrt());
    let rule =
        Rule::gauss_legendre(600, (centre - reach).max(-7.0), (centre + reach).min(7.0));
    let eps = |x: f64| (z - level.abar().sqrt() * x) / level.noise().sqrt();
    let weight = |x: f64| (data.log_prob(x) - 0.5 * eps(x).powi(2)).exp();
    rule.integrate(|x| weight(x) * f(x, eps(x))) / rule.integrate(weight)
}

/// The score of q(z) against E[score of q(z|x) | z] = -E[eps|z]/sqrt(1-abar), the
/// expectation by quadrature over x. Kind: quadrature.
#[test]
fn marginal_score() -> Outcome {
    const TOLERANCE: f64 = 1e-10;
    let page = tex("marginal-score");
    let data = mixture_1d()?;
    for gamma in GAMMAS {
        let level = NoiseLevel::new(gamma);
        let marginal = data.marginal(level);
        for z in [-1.4, -0.3, 0.2, 0.9] {
            let score = marginal.score(z);
            let conditional = given_z(&data, level, z, |x, _| {
                (level.abar().sqrt() * x - z) / level.noise()
            });
            let eps_mean = given_z(&data, level, z, |_, eps| eps);
            let values = Values::default()
                .number(r"\nabla \log q(z)", score)
                .number(r"\E{q(x \mid z)}{\nabla_z \log q(z \mid x)}", conditional)
                .number(r"\E{}{\eps \mid z}", eps_mean)
                .number(r"\abar", level.abar());
            for side in page.sides(&values) {
                assert_close(side, score, TOLERANCE);
            }
        }
    }
    Ok(())
}

/// The marginal score is NOT -eps/sqrt(1-abar) point by point: for draws of (x, eps) the
/// two differ by more than 0.01 in at least nine draws of ten, and their mean squared
/// difference is SNR/(1-abar) mmse, which is not zero: Monte Carlo against quadrature.
/// Kind: negative, Monte Carlo.
#[test]
fn marginal_score_pointwise() -> Outcome {
    digest("marginal-score-pointwise", "04dea13cad34");
    const STANDARD_ERRORS: f64 = 5.0;
    const LEAST_DIFFERENCE: f64 = 0.01;
    let (data, hermite, mut rng) = (mixture_1d()?, Rule::gauss_hermite(120), rng(711));
    for gamma in [-4.0, -1.0, 0.5, 3.0] {
        let level = NoiseLevel::new(gamma);
        let marginal = data.marginal(level);
        let (mut apart, draws) = (0, 20_000);
        let squares = Estimate::of(draws, || {
            let (x, eps) = (data.sample(&mut rng), normal(&mut rng));
            let score = marginal.score(level.noised(x, eps));
            let difference = score + eps / level.noise().sqrt();
            apart += usize::from(difference.abs() > LEAST_DIFFERENCE);
            difference * difference
        });
        assert!(apart * 10 >= draws * 9, "only {apart} of {draws} differ");
        let excess = level.snr() / level.noise() * data.mmse(level, &hermite);
        assert_estimates(&squares, excess, STANDARD_ERRORS);
    }
    Ok(())
}

/// E over (x, eps) of f(z, x, eps), by Gauss-Hermite over the noise and each component of
/// the data.
fn over_pairs(
    data: &ScalarMixture,
    level: NoiseLevel,
    rule: &Rule,
    f: impl Fn(f64, f64, f64) -> f64,
) -> f64 {
    let average = |m: f64, v: f64| {
        rule.normal(m, v.sqrt(), |x| rule.integrate(|eps| f(level.noised(x, eps), x, eps)))
    };
    data.components().map(|(w, m, v)| w * average(m, v)).sum()
}

/// E|s(z) - grad log q(z|x)|^2 against E|s(z) - grad log q(z)|^2 + C for three functions s,
/// with one C: the mean squared conditional score less the mean squared marginal score.
/// Kind: quadrature.
#[test]
fn denoising_score_matching() -> Outcome {
    digest("denoising-score-matching", "f40beb671f94");
    const TOLERANCE: f64 = 1e-9;
    let (data, pairs, line) =
        (mixture_1d()?, Rule::gauss_hermite(80), Rule::gauss_legendre(400, -8.0, 8.0));
    for gamma in [-2.0, 0.0, 3.0] {
        let level = NoiseLevel::new(gamma);
        let marginal = data.marginal(level);
        let over_z =
            |f: &dyn Fn(f64) -> f64| line.integrate(|z| marginal.log_prob(z).exp() * f(z));
        // E|grad log q(z|x)|^2 = E eps^2/(1 - abar) = 1/(1 - abar).
        let constant = 1.0 / level.noise() - over_z(&|z| marginal.score(z).powi(2));
        let networks: [&dyn Fn(f64) -> f64; 3] =
            [&|z| marginal.score(z), &|z| -z, &|z| (2.0 * z).sin() - 0.3 * z * z];
        for s in networks {
            let denoising = over_pairs(&data, level, &pairs, |z, _, eps| {
                (s(z) + eps / level.noise().sqrt()).powi(2)
            });
            let explicit = over_z(&|z| (s(z) - marginal.score(z)).powi(2));
            assert_close(denoising, explicit + constant, TOLERANCE);
        }
    }
    Ok(())
}

/// The score weight times C_t = E|grad log q(z|x) - grad log q(z)|^2, by quadrature over
/// (x, eps), against (SNR(t-1) - SNR(t))/2 mmse(t) from the posterior variance: what even
/// the perfect score leaves of the KL. Kind: quadrature.
#[test]
fn score_excess() -> Outcome {
    const TOLERANCE: f64 = 1e-9;
    let page = tex("score-excess");
    let (data, pairs, hermite) =
        (mixture_1d()?, Rule::gauss_hermite(80), Rule::gauss_hermite(120));
    for (gamma_s, gamma_t) in [(-2.0, -1.5), (-0.5, 0.4), (2.0, 3.0)] {
        let step = Step::new(gamma_s, gamma_t);
        let marginal = data.marginal(step.t);
        let c = over_pairs(&data, step.t, &pairs, |z, _, eps| {
            (-eps / step.t.noise().sqrt() - marginal.score(z)).powi(2)
        });
        let weight = (1.0 - step.alpha()).powi(2) / (2.0 * sigma_q2(&step) * step.alpha());
        let mmse = data.mmse(step.t, &hermite);
        // E[x|z] from the score of q(z).
        let error = over_pairs(&data, step.t, &pairs, |z, x, _| {
            let mean = z + step.t.noise() * marginal.score(z);
            (x - mean / step.t.abar().sqrt()).powi(2)
        });
        let values = of_step(&step)
            .number("w_s", weight)
            .number("C", c)
            .number(r"\mmse(t)", mmse)
            .number(r"\E{}{\norm{x - \E{}{x \mid z_t}}^2}", error);
        for part in 0..2 {
            let sides = page.part(part, &values);
            assert_close(sides[0], sides[1], TOLERANCE);
        }
    }
    Ok(())
}
