//! How the KL divides over the levels.

use elbo_to_diffusion::{
    autoencoder::{Batch, Hvae},
    chapter::{Chapter, Number},
    data::Dataset,
    error::Result,
    gaussian::DiagonalGaussian,
    host::download,
    oracle::log_sum_exp,
    random::{Stream, normal, rng},
};
use rand_chacha::ChaCha8Rng;

/// Draws of z_{t-1} given x alone, for the density q(z_t | x).
const DRAWS: usize = 64;

/// Means over images of log densities in nats, at one draw of z_1, ..., z_T for each image. Index t - 1 is level t.
struct Path {
    /// E log q(z_t | z_{t-1}).
    q: Vec<f64>,
    /// E log p(z_t | z_{t+1}).
    p: Vec<f64>,
    /// E log q(z_t | x): an estimate that is too low in expectation, and one that is too high.
    marginal: Vec<[f64; 2]>,
}

impl Path {
    // ANCHOR: path
    fn draw(model: &Hvae, batch: &Batch, noise: &mut ChaCha8Rng) -> Result<Self> {
        let device = batch.x.device();
        let draw = |q: &DiagonalGaussian, noise: &mut _| q.rsample(normal(q.mean.dims(), noise, &device));
        let bottom = model.encoders[0].given(batch.x.clone(), None);
        let (mut q, mut z) = (vec![bottom.clone()], vec![draw(&bottom, noise)]);
        for (t, encoder) in model.encoders[1..].iter().enumerate() {
            q.push(encoder.given(z[t].clone(), None));
            z.push(draw(&q[t + 1], noise));
        }
        let levels = z.len();
        let prior = |t: usize| match model.priors.get(t) {
            Some(prior) => prior.given(z[t + 1].clone(), None),
            None => DiagonalGaussian::standard(&z[t]),
        };
        let log_q = (0..levels).map(|t| download(q[t].log_prob(z[t].clone()))).collect::<Result<Vec<_>>>()?;
        let log_p = (0..levels).map(|t| download(prior(t).log_prob(z[t].clone()))).collect::<Result<Vec<_>>>()?;

        // q(z_t | x) is the mean of q(z_t | z_{t-1}) over z_{t-1} given x. `given_others[t][n]` lists it for image n.
        let mut given_others = vec![vec![Vec::with_capacity(DRAWS); log_q[0].len()]; levels];
        for _ in 0..DRAWS {
            let mut below = draw(&bottom, noise);
            for t in 1..levels {
                let law = model.encoders[t].given(below, None);
                let log_probs = download(law.log_prob(z[t].clone()))?;
                given_others[t].iter_mut().zip(log_probs).for_each(|(list, value)| list.push(value));
                below = draw(&law, noise);
            }
        }
        let mut marginal = vec![[mean(&log_q[0]); 2]];
        for t in 1..levels {
            let (n, mut bounds) = (log_q[t].len() as f64, [0.0; 2]);
            for (others, &own) in given_others[t].iter().zip(&log_q[t]) {
                // The log of a mean of independent draws is too low (Jensen); counting the z_{t-1} that z_t came from
                // among them makes it too high.
                let sum = log_sum_exp(others);
                bounds[0] += (sum - (DRAWS as f64).ln()) / n;
                bounds[1] += (log_sum_exp(&[sum, own]) - (DRAWS as f64 + 1.0).ln()) / n;
            }
            marginal.push(bounds);
        }
        Ok(Self { q: log_q.iter().map(|v| mean(v)).collect(), p: log_p.iter().map(|v| mean(v)).collect(), marginal })
    }
    // ANCHOR_END: path

    // ANCHOR: kl
    /// E KL(q(z_t | z_{t+1}, x) || p(z_t | z_{t+1})): at least and at most. By Bayes' rule
    /// q(z_t | z_{t+1}, x) = q(z_t | x) q(z_{t+1} | z_t) / q(z_{t+1} | x). Equation `mhvae-levels`.
    fn kl(&self, t: usize) -> [f64; 2] {
        [0, 1].map(|side| {
            let above = self.marginal.get(t + 1).map_or(0.0, |marginal| self.q[t + 1] - marginal[1 - side]);
            self.marginal[t][side] + above - self.p[t]
        })
    }
    // ANCHOR_END: kl
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Prints each level's term of the ELBO, and the bounds between which its KL divergence lies.
pub fn level_by_level(chapter: &mut Chapter, data: &Dataset, model: &Hvae) -> Result<()> {
    const PASSES: usize = 4;
    let noise = &mut rng(chapter.seed(), Stream::Evaluation, 2000);
    let batch = Batch::new(&data.test.range(0, 256), &chapter.device);
    let mut rows = vec![[0.0; 3]; model.encoders.len()];
    for _ in 0..PASSES {
        let path = Path::draw(model, &batch, noise)?;
        for (t, row) in rows.iter_mut().enumerate() {
            let [least, most] = path.kl(t);
            let values = [path.q[t] - path.p[t], least, most];
            row.iter_mut().zip(values).for_each(|(mean, value)| *mean += value / PASSES as f64);
        }
    }
    let sum = (0..3).map(|column| rows.iter().map(|row| row[column]).sum()).collect::<Vec<f64>>();
    let numbers = |row: &[f64]| row.iter().map(|&nats| Number::within(nats, 0.1, 2)).collect::<Vec<_>>();
    let mut table: Vec<(String, Vec<Number>)> =
        rows.iter().zip(1..).map(|(row, t)| (format!("z_{t}"), numbers(row))).collect();
    table.push(("sum".into(), numbers(&sum)));
    chapter.report.section("Level by level (nats)");
    chapter.report.table(&["level", "term of the ELBO", "KL, at least", "KL, at most"], &table);
    Ok(())
}
