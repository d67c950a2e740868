//! Chapter 2.

use elbo_to_diffusion::oracle::{Error, FiniteLatent, Rule, ScalarNormal};

// ANCHOR: em
/// One round of expectation-maximisation on readings 0..M that were seen `counts` times, and the ELBO before it,
/// between its two halves, and after it, summed over the readings.
fn round(
    model: &FiniteLatent,
    q: &[Vec<f64>],
    counts: &[f64],
) -> Result<(FiniteLatent, Vec<Vec<f64>>, [f64; 3]), Error> {
    let elbo = |model: &FiniteLatent, q: &[Vec<f64>]| -> Result<f64, Error> {
        let terms = counts.iter().enumerate().map(|(x, n)| Ok(n * model.elbo(x, &q[x])?));
        terms.sum()
    };
    // Phi: each q becomes the posterior.
    let posterior: Vec<Vec<f64>> = (0..counts.len()).map(|x| model.posterior(x)).collect::<Result<_, _>>()?;
    // Theta: every state keeps its share of the readings.
    let share = |z: usize, x: usize| counts[x] * posterior[x][z];
    let mass: Vec<f64> = (0..model.states()).map(|z| (0..counts.len()).map(|x| share(z, x)).sum()).collect();
    let prior: Vec<f64> = mass.iter().map(|m| m / counts.iter().sum::<f64>()).collect();
    let row = |z: usize| (0..counts.len()).map(|x| share(z, x) / mass[z]).collect();
    let refitted = FiniteLatent::new(&prior, &(0..model.states()).map(row).collect::<Vec<_>>())?;
    let elbos = [elbo(model, q)?, elbo(model, &posterior)?, elbo(&refitted, &posterior)?];
    Ok((refitted, posterior, elbos))
}

#[test]
fn both_halves_of_a_round_raise_the_elbo() -> Result<(), Error> {
    let counts = [8.0, 1.0, 5.0, 2.0];
    let tables = [vec![0.4, 0.3, 0.2, 0.1], vec![0.1, 0.2, 0.3, 0.4]];
    let mut model = FiniteLatent::new(&[0.6, 0.4], &tables)?;
    let mut q = vec![vec![0.5, 0.5]; 4];
    let mut previous = f64::NEG_INFINITY;
    for _ in 0..30 {
        let log_prob = (0..4).map(|x| Ok(counts[x] * model.log_prob(x)?)).sum::<Result<f64, Error>>()?;
        let (refitted, posterior, [before, between, after]) = round(&model, &q, &counts)?;
        assert!(before >= previous - 1e-12 && between >= before && after >= between - 1e-12);
        // After the first half the bound touches the evidence; the second half lifts the bound, and the evidence at least as much.
        assert!((between - log_prob).abs() < 1e-12);
        (model, q, previous) = (refitted, posterior, after);
    }
    // A free table over four values can fit the counts exactly, and here it does.
    let entropy: f64 = counts.iter().map(|n| n * (n / 16.0).ln()).sum();
    assert!((previous - entropy).abs() < 1e-9);
    Ok(())
}
// ANCHOR_END: em

// ANCHOR: narrow
/// E_q w^2 for a normal posterior of variance p and a q of variance s2 with the same mean; infinite where it is too narrow.
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
        assert!((by_quadrature(s2, 8.0) / second_moment(1.0 / 6.0, s2) - 1.0).abs() < 1e-10);
    }
    // At 0.08 the integral does not end: every step outwards adds more than the one before.
    let [near, middle, far] = [4.0, 8.0, 12.0].map(|reach| by_quadrature(0.08, reach));
    assert!(second_moment(1.0 / 6.0, 0.08).is_infinite() && far - middle > middle - near);
}
// ANCHOR_END: narrow
