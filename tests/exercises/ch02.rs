//! Chapter 2.

use elbo_to_diffusion::oracle::{Error, FiniteLatent, Rule};

use crate::scalar_latent::ScalarNormal;

// ANCHOR: em
/// How often each reading was seen.
const COUNTS: [f64; 4] = [8.0, 1.0, 5.0, 2.0];
/// q(z|x), one row for each reading.
type Table = Vec<Vec<f64>>;

/// The ELBO, summed over all that was seen.
fn elbo(model: &FiniteLatent, q: &Table) -> Result<f64, Error> {
    (0..4).map(|x| Ok(COUNTS[x] * model.elbo(x, &q[x])?)).sum()
}

/// Phi: each q becomes the posterior.
fn fit_q(model: &FiniteLatent) -> Result<Table, Error> {
    (0..4).map(|x| model.posterior(x)).collect()
}

/// Theta: each state gets its share of the readings.
fn fit_model(q: &Table) -> Result<FiniteLatent, Error> {
    let share = |z: usize, x: usize| COUNTS[x] * q[x][z];
    let mass = [0, 1].map(|z| (0..4).map(|x| share(z, x)).sum::<f64>());
    let prior = mass.map(|m| m / COUNTS.iter().sum::<f64>());
    let row = |z: usize| (0..4).map(|x| share(z, x) / mass[z]).collect();
    FiniteLatent::new(&prior, &[row(0), row(1)])
}

#[test]
fn both_halves_of_a_round_raise_the_elbo() -> Result<(), Error> {
    let tables = [vec![0.4, 0.3, 0.2, 0.1], vec![0.1, 0.2, 0.3, 0.4]];
    let mut model = FiniteLatent::new(&[0.6, 0.4], &tables)?;
    let mut previous = elbo(&model, &vec![vec![0.5, 0.5]; 4])?;
    for _ in 0..30 {
        let log_prob = |x: usize| Ok(COUNTS[x] * model.log_prob(x)?);
        let evidence = (0..4).map(log_prob).sum::<Result<f64, Error>>()?;
        let q = fit_q(&model)?;
        let between = elbo(&model, &q)?;
        assert!(between >= previous - 1e-12 && (between - evidence).abs() < 1e-12);
        model = fit_model(&q)?;
        previous = elbo(&model, &q)?;
        assert!(previous >= between - 1e-12);
    }
    // Two free tables can fit the counts of a single reading exactly, and here they do.
    let highest: f64 = COUNTS.iter().map(|n| n * (n / 16.0).ln()).sum();
    assert!((previous - highest).abs() < 1e-9);
    Ok(())
}
// ANCHOR_END: em

// ANCHOR: narrow
/// E_q w^2 for a normal posterior of variance p and a q of variance s2 with its mean.
fn second_moment(p: f64, s2: f64) -> f64 {
    if s2 <= 0.5 * p { f64::INFINITY } else { s2 / (p * (2.0 * s2 - p)).sqrt() }
}

#[test]
fn a_proposal_of_less_than_half_the_variance_has_weights_without_a_variance() {
    let posterior = ScalarNormal { mean: 0.9, log_std: -0.5 * 6.0_f64.ln() };
    let by_quadrature = |s2: f64, reach: f64| {
        let q = ScalarNormal { mean: 0.9, log_std: 0.5 * s2.ln() };
        let z = Rule::gauss_legendre(2000, 0.9 - reach, 0.9 + reach);
        z.integrate(|z| (2.0 * posterior.log_prob(z) - q.log_prob(z)).exp())
    };
    for s2 in [0.1, 1.0 / 6.0, 0.5, 2.0] {
        let ratio = by_quadrature(s2, 8.0) / second_moment(1.0 / 6.0, s2);
        assert!((ratio - 1.0).abs() < 1e-10);
    }
    // Below 1/12 the integral does not end: each step outwards adds more than the last.
    assert!(second_moment(1.0 / 6.0, 0.08).is_infinite());
    let [near, middle, far] = [4.0, 8.0, 12.0].map(|reach| by_quadrature(0.08, reach));
    assert!(far - middle > middle - near);
}
// ANCHOR_END: narrow
