//! How the KL divides over the levels of latents.

use elbo_to_diffusion::{
    autoencoder::{Batch, Hvae},
    chapter::{Chapter, Number},
    data::Images,
    error::Result,
    gaussian::DiagonalGaussian,
    host::download,
    oracle::log_sum_exp,
    random::{Stream, normal, rng},
};
use rand_chacha::ChaCha8Rng;

use super::mean::mean;

/// Draws of z_{t-1} given x alone, for the density q(z_t | x).
const DRAWS: usize = 64;

/// What lies between two estimates: one that is too low in expectation, and one that is too
/// high.
#[derive(Clone, Copy, Default)]
struct Bracket {
    low: f64,
    high: f64,
}

/// Means over images of log densities in nats, at one draw of z_1, ..., z_T for each image.
/// Index t - 1 is z_t.
struct Path {
    /// E log q(z_t | z_{t-1}).
    q: Vec<f64>,
    /// E log p(z_t | z_{t+1}).
    p: Vec<f64>,
    /// E log q(z_t | x).
    marginal: Vec<Bracket>,
}

impl Path {
    // ANCHOR: path
    fn draw(model: &Hvae, batch: &Batch, noise: &mut ChaCha8Rng) -> Result<Self> {
        let device = batch.x.device();
        let draw = |q: &DiagonalGaussian, noise: &mut _| {
            let eps = normal(q.mean.dims(), noise, &device);
            q.rsample(eps)
        };
        let bottom = model.encoders[0].given(batch.x.clone(), None);
        let (mut q, mut z) = (vec![bottom.clone()], vec![draw(&bottom, noise)]);
        for (t, encoder) in model.encoders[1..].iter().enumerate() {
            q.push(encoder.given(z[t].clone(), None));
            z.push(draw(&q[t + 1], noise));
        }
        let prior = |t: usize| match model.priors.get(t) {
            Some(prior) => prior.given(z[t + 1].clone(), None),
            None => DiagonalGaussian::standard(&z[t]),
        };
        let (mut log_q, mut log_p) = (Vec::new(), Vec::new());
        for (t, z_t) in z.iter().enumerate() {
            log_q.push(download(q[t].log_prob(z_t.clone()))?);
            log_p.push(download(prior(t).log_prob(z_t.clone()))?);
        }

        // q(z_t | x) is the mean of q(z_t | z_{t-1}) over z_{t-1} given x.
        // `given_others[t][n]` lists its logarithms for image n.
        let mut given_others = vec![vec![Vec::new(); log_q[0].len()]; z.len()];
        for _ in 0..DRAWS {
            let mut below = draw(&bottom, noise);
            for t in 1..z.len() {
                let law = model.encoders[t].given(below, None);
                let log_probs = download(law.log_prob(z[t].clone()))?;
                for (list, log_prob) in given_others[t].iter_mut().zip(log_probs) {
                    list.push(log_prob);
                }
                below = draw(&law, noise);
            }
        }
        // q(z_1 | x) is known.
        let known = mean(&log_q[0]);
        let mut marginal = vec![Bracket { low: known, high: known }];
        for t in 1..z.len() {
            let (n, mut bracket) = (log_q[t].len() as f64, Bracket::default());
            for (others, &own) in given_others[t].iter().zip(&log_q[t]) {
                // The log of a mean of independent draws is too low (Jensen); counting
                // the z_{t-1} that z_t came from among them makes it too high.
                let sum = log_sum_exp(others);
                bracket.low += (sum - (DRAWS as f64).ln()) / n;
                bracket.high += (log_sum_exp(&[sum, own]) - (DRAWS as f64 + 1.0).ln()) / n;
            }
            marginal.push(bracket);
        }
        let means = |rows: Vec<Vec<f64>>| rows.iter().map(|row| mean(row)).collect();
        Ok(Self { q: means(log_q), p: means(log_p), marginal })
    }
    // ANCHOR_END: path

    // ANCHOR: kl
    /// E KL(q(z_t | z_{t+1}, x) || p(z_t | z_{t+1})). By Bayes' rule q(z_t | z_{t+1}, x)
    /// = q(z_t | x) q(z_{t+1} | z_t) / q(z_{t+1} | x). Equation `mhvae-levels`.
    fn kl(&self, t: usize) -> Bracket {
        let here = self.marginal[t];
        let mut above = Bracket::default();
        if let Some(marginal) = self.marginal.get(t + 1) {
            above.low = self.q[t + 1] - marginal.high;
            above.high = self.q[t + 1] - marginal.low;
        }
        let (low, high) = (here.low + above.low, here.high + above.high);
        Bracket { low: low - self.p[t], high: high - self.p[t] }
    }
    // ANCHOR_END: kl
}

/// What one level of latents costs, in nats per image.
#[derive(Clone, Copy, Default)]
pub struct Cost {
    elbo_term: f64,
    kl: Bracket,
}

/// Each level's term of the ELBO, and the bounds between which its KL divergence lies; z_1
/// first.
pub fn level_by_level(
    chapter: &Chapter,
    images: &Images,
    model: &Hvae,
) -> Result<Vec<Cost>> {
    const PASSES: usize = 4;
    let noise = &mut rng(chapter.seed(), Stream::Posterior, 0);
    let batch = Batch::new(&images.range(0, 256), &chapter.device);
    let mut costs = vec![Cost::default(); model.encoders.len()];
    for _ in 0..PASSES {
        let path = Path::draw(model, &batch, noise)?;
        for (t, cost) in costs.iter_mut().enumerate() {
            let kl = path.kl(t);
            cost.elbo_term += (path.q[t] - path.p[t]) / PASSES as f64;
            cost.kl.low += kl.low / PASSES as f64;
            cost.kl.high += kl.high / PASSES as f64;
        }
    }
    Ok(costs)
}

/// Prints the costs, and their sum.
pub fn report(chapter: &mut Chapter, costs: &[Cost]) {
    let columns: [fn(&Cost) -> f64; 3] =
        [|cost| cost.elbo_term, |cost| cost.kl.low, |cost| cost.kl.high];
    let number = |nats| Number::within(nats, 0.1, 2);
    let row = |(cost, t): (&Cost, usize)| {
        (format!("z_{t}"), columns.map(|column| number(column(cost))).to_vec())
    };
    let mut rows: Vec<(String, Vec<Number>)> = costs.iter().zip(1..).map(row).collect();
    let sum = columns.map(|column| number(costs.iter().map(column).sum()));
    rows.push(("sum".into(), sum.to_vec()));
    chapter.report.section("Level by level (nats)");
    chapter
        .report
        .table(&["level", "term of the ELBO", "KL, at least", "KL, at most"], &rows);
}
