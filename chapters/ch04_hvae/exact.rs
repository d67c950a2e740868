//! Linear-Gaussian hierarchies, which can be solved: what an encoder loses by its form.

use elbo_to_diffusion::{
    chapter::Chapter,
    error::Result,
    oracle::{Chain, Gaussian, LinearConditional, Matrix, Vector},
    random::{Stream, rng},
};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

const DATA: usize = 4;
const LATENT: usize = 3;

/// How far the ELBO of three encoders stays below log p(x), over random hierarchies of one
/// depth; in nats.
#[derive(Default)]
pub struct Gaps {
    /// The number of levels of latents.
    latent_levels: usize,
    /// The mean of log p(x).
    evidence: f64,
    /// The largest gap of the model's own conditionals, read upwards.
    markov: f64,
    /// The mean gap where every step has independent dimensions.
    diagonal: f64,
    /// The mean gap where the levels know nothing of each other.
    independent: f64,
}

// ANCHOR: chains
/// Random hierarchies of 1, 2, 3 and 5 levels of latents.
pub fn chains(seed: u64) -> Result<Vec<Gaps>> {
    let noise = &mut rng(seed, Stream::Exact, 0);
    [1, 2, 3, 5].into_iter().map(|latent_levels| gaps(latent_levels, noise)).collect()
}

fn gaps(latent_levels: usize, noise: &mut ChaCha8Rng) -> Result<Gaps> {
    const HIERARCHIES: usize = 50;
    let mut found = Gaps { latent_levels, ..Gaps::default() };
    for _ in 0..HIERARCHIES {
        let model = hierarchy(latent_levels, noise)?;
        let x = Vector::from_fn(DATA, |_, _| StandardNormal.sample(noise));
        // The model's conditionals, from the data upwards: p(z_1|x), p(z_2|z_1), ...
        let upwards = model.reversed()?;
        let (from_x, between) = (&upwards.steps()[0], &upwards.steps()[1..]);
        let markov = Chain::new(from_x.given(&x)?, between.to_vec())?;
        // The best of those whose networks output a mean and a variance for each
        // dimension, as ours do.
        let between = between.iter().map(diagonal_step).collect::<Result<_>>()?;
        let diagonal = Chain::new(blocks(markov.first(), 1)?, between)?;

        let solved = model.latent_model()?;
        let log_p = solved.log_prob(&x)?;
        // The best of those whose levels know nothing of each other.
        let independent = blocks(&solved.posterior(&x)?, LATENT)?;
        let gap = |q: &Gaussian| -> Result<f64> { Ok(log_p - solved.elbo(&x, q)?) };
        found.evidence += log_p / HIERARCHIES as f64;
        found.markov = found.markov.max(gap(&markov.joint()?)?.abs());
        found.diagonal += gap(&diagonal.joint()?)? / HIERARCHIES as f64;
        found.independent += gap(&independent)? / HIERARCHIES as f64;
    }
    Ok(found)
}
// ANCHOR_END: chains

/// p(z_T) = N(0, I), then random linear steps down to x.
fn hierarchy(latent_levels: usize, rng: &mut ChaCha8Rng) -> Result<Chain> {
    let mut steps = Vec::new();
    for below in (0..latent_levels).rev() {
        let outputs = if below == 0 { DATA } else { LATENT };
        let mut normal = || -> f64 { StandardNormal.sample(rng) };
        let mut random = |rows, columns, scale: f64| {
            Matrix::from_fn(rows, columns, |_, _| scale * normal())
        };
        let (matrix, root) = (random(outputs, LATENT, 0.6), random(outputs, outputs, 0.4));
        let covariance =
            &root * root.transpose() + Matrix::identity(outputs, outputs) * 0.2;
        steps.push(LinearConditional::new(matrix, Vector::zeros(outputs), covariance)?);
    }
    Ok(Chain::new(Gaussian::standard(LATENT)?, steps)?)
}

/// The best conditional law with independent dimensions.
fn diagonal_step(step: &LinearConditional) -> Result<LinearConditional> {
    let noise = blocks(step.noise(), 1)?;
    Ok(LinearConditional::new(
        step.matrix().clone(),
        noise.mean().clone(),
        noise.covariance().clone(),
    )?)
}

/// The Gaussian q with independent blocks of this size that has the least KL(q || law): the
/// mean of the law, and the blocks on the diagonal of its precision. Bishop (2006), section
/// 10.1.2.
fn blocks(law: &Gaussian, size: usize) -> Result<Gaussian> {
    let n = law.dimension();
    let precision = law.precision();
    let same_block = |i: usize, j: usize| i / size == j / size;
    let kept =
        Matrix::from_fn(
            n,
            n,
            |i, j| if same_block(i, j) { precision[(i, j)] } else { 0.0 },
        );
    let covariance = Gaussian::new(Vector::zeros(n), kept)?.precision();
    Ok(Gaussian::new(law.mean().clone(), covariance)?)
}

/// Prints the gaps.
pub fn report(chapter: &mut Chapter, found: &[Gaps]) {
    chapter.report.section("Exact hierarchies (nats)");
    let header = [
        "levels",
        "log p(x)",
        "gap, Markov",
        "gap, diagonal noise",
        "gap, independent levels",
    ];
    let row = |gaps: &Gaps| {
        (
            gaps.latent_levels.to_string(),
            [gaps.evidence, gaps.markov, gaps.diagonal, gaps.independent],
        )
    };
    chapter.report.exact_table(&header, 3, found.iter().map(row));
}
