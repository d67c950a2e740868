//! Linear-Gaussian hierarchies, which can be solved: what an encoder loses by its form.

use elbo_to_diffusion::{
    chapter::{Chapter, Number},
    error::Result,
    oracle::{Chain, Gaussian, LinearConditional, Matrix, Vector},
    random::{Stream, rng},
};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

const DATA: usize = 4;
const LATENT: usize = 3;

// ANCHOR: chains
/// For hierarchies of 1, 2, 3 and 5 levels: log p(x), and how far below it the ELBO of three encoders stays.
pub fn chains(chapter: &mut Chapter) -> Result<()> {
    let noise = &mut rng(chapter.seed(), Stream::Evaluation, 1000);
    let mut rows = Vec::new();
    for levels in [1, 2, 3, 5] {
        let model = hierarchy(levels, noise)?;
        let x = Vector::from_fn(DATA, |_, _| StandardNormal.sample(noise));
        let solved = model.latent_model()?;
        let evidence = solved.log_prob(&x)?;
        // The model's own conditionals, read from the data upwards: p(z_1|x), p(z_2|z_1), ...
        let upwards = model.reversed()?;
        let markov = Chain::new(upwards.steps()[0].given(&x)?, upwards.steps()[1..].to_vec())?;
        let diagonal =
            Chain::new(diagonal(markov.first())?, markov.steps().iter().map(diagonal_step).collect::<Result<_>>()?)?;
        // Levels independent of each other given x: the best has the blocks of the posterior's precision.
        let independent = blocks(&solved.posterior(&x)?, LATENT)?;
        let gap = |q: &Gaussian| Ok::<_, elbo_to_diffusion::error::Error>(evidence - solved.elbo(&x, q)?);
        let gaps = [gap(&markov.joint()?)?, gap(&diagonal.joint()?)?, gap(&independent)?];
        let mut row = vec![Number::exact(evidence, 4)];
        row.extend(gaps.map(|gap| Number::exact(gap, 4)));
        rows.push((levels.to_string(), row));
    }
    chapter.report.section("An exact hierarchy");
    let header = ["levels T", "log p(x)", "gap, Markov", "gap, Markov with diagonal noise", "gap, levels independent"];
    chapter.report.table(&header, &rows);
    Ok(())
}
// ANCHOR_END: chains

/// p(z_T) = N(0, I), then random linear steps down to x.
fn hierarchy(levels: usize, rng: &mut ChaCha8Rng) -> Result<Chain> {
    let mut steps = Vec::new();
    for level in (0..levels).rev() {
        let outputs = if level == 0 { DATA } else { LATENT };
        let mut normal = || -> f64 { StandardNormal.sample(rng) };
        let mut random = |rows, columns, scale: f64| Matrix::from_fn(rows, columns, |_, _| scale * normal());
        let (matrix, root) = (random(outputs, LATENT, 0.6), random(outputs, outputs, 0.4));
        let covariance = &root * root.transpose() + Matrix::identity(outputs, outputs) * 0.2;
        steps.push(LinearConditional::new(matrix, Vector::zeros(outputs), covariance)?);
    }
    Ok(Chain::new(Gaussian::standard(LATENT)?, steps)?)
}

/// The closest Gaussian with independent dimensions: the same mean, and the diagonal of the precision.
fn diagonal(law: &Gaussian) -> Result<Gaussian> {
    blocks(law, 1)
}

/// The same for a conditional law.
fn diagonal_step(step: &LinearConditional) -> Result<LinearConditional> {
    let noise = diagonal(step.noise())?;
    Ok(LinearConditional::new(step.matrix().clone(), noise.mean().clone(), noise.covariance().clone())?)
}

/// The Gaussian q with independent blocks of this size that has the least KL(q || law): the mean of the law, and the
/// blocks on the diagonal of its precision. Bishop (2006), section 10.1.2.
fn blocks(law: &Gaussian, size: usize) -> Result<Gaussian> {
    let n = law.dimension();
    let precision = law.precision();
    let same_block = |i: usize, j: usize| i / size == j / size;
    let kept = Matrix::from_fn(n, n, |i, j| if same_block(i, j) { precision[(i, j)] } else { 0.0 });
    let covariance = Gaussian::new(Vector::zeros(n), kept)?.precision();
    Ok(Gaussian::new(law.mean().clone(), covariance)?)
}
