//! The discretised decoder p(x|z_1).

use std::f64::consts::{LN_2, TAU};

use elbo_to_diffusion::oracle::decoder::reconstruction_cost as oracle_cost;
use elbo_to_diffusion::oracle::process::sigmoid;
use elbo_to_diffusion::oracle::{Rule, ScalarMixture};

use crate::support::{Outcome, assert_close, log_normal, normal, rng};
use crate::tex::{Values, digest, tex};

/// The grey levels x_k = 2 (k + 1/2)/V - 1.
fn levels(count: usize) -> Vec<f64> {
    (0..count).map(|k| 2.0 * (k as f64 + 0.5) / count as f64 - 1.0).collect()
}

/// log p(x_k|z) for every level: the log-softmax of -(1/2) e^-gamma (z/sqrt(abar) - x_k)^2.
fn log_decoder(z: f64, gamma: f64, levels: &[f64]) -> Vec<f64> {
    let scaled = z / sigmoid(-gamma).sqrt();
    let logits: Vec<f64> =
        levels.iter().map(|x| -0.5 * (-gamma).exp() * (scaled - x).powi(2)).collect();
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let normalizer = logits.iter().map(|l| (l - largest).exp()).sum::<f64>().ln() + largest;
    logits.iter().map(|l| l - normalizer).collect()
}

/// p(x_i|z_{1,i}) over the levels: it sums to 1, and is q(z_1|x) divided by its sum over
/// the levels, with q(z_1|x) as a density. Kind: closed form.
#[test]
fn decoder_normalised() {
    const TOLERANCE: f64 = 1e-12;
    let page = tex("decoder-normalised");
    let mut rng = rng(531);
    for (count, gamma) in [(17, -8.0), (17, -3.0), (256, -13.3), (256, -10.0)] {
        let levels = levels(count);
        for _ in 0..20 {
            let (abar, noise) = (sigmoid(-gamma), sigmoid(gamma));
            let z = abar.sqrt() * levels[count / 3] + noise.sqrt() * 2.0 * normal(&mut rng);
            let p: Vec<f64> =
                log_decoder(z, gamma, &levels).iter().map(|l| l.exp()).collect();
            assert_close(p.iter().sum(), 1.0, TOLERANCE);
            for k in (0..count).step_by(count / 4) {
                let values = Values::default()
                    .function(r"\mathcal{N}", |a| log_normal(a[0], a[1], a[2]).exp())
                    .number("z_{1,i}", z)
                    .number(r"\abar_1", abar)
                    .function("x", |index| levels[index[0] as usize])
                    .number("k", k as f64)
                    .range("j", 0, count as i32 - 1)
                    .number(r"p(x_i = x_k \mid z_1)", p[k]);
                let sides = page.sides(&values);
                assert_close(sides[0], sides[1], TOLERANCE);
            }
        }
    }
}

/// The reconstruction cost E -log2 p(x|z_1) of a pixel that is uniform over its levels, by
/// quadrature over the noise, against log2 V minus the mutual information of x and z_1 from
/// the entropy of the mixture q(z_1); and against a table of two digits. Kind: quadrature.
#[test]
fn reconstruction_cost() -> Outcome {
    digest("reconstruction-cost", "f3393a6771c1");
    const TOLERANCE: f64 = 1e-11;
    // Published with two digits; quadrature gives 0.0052, 0.0087, 0.184, 0.760, 0.0104,
    // 0.417, 1.108.
    const PRINTED: f64 = 0.01;
    let table = [
        (17, -8.0, 0.0051),
        (17, -7.9, 0.0094),
        (17, -7.0, 0.19),
        (17, -6.0, 0.76),
        (256, -13.3, 0.0117),
        (256, -12.0, 0.42),
        (256, -11.0, 1.11),
    ];
    for (count, gamma, printed) in table {
        let levels = levels(count);
        let (signal, deviation) = (sigmoid(-gamma).sqrt(), sigmoid(gamma).sqrt());
        let eps_rule = Rule::gauss_legendre(if count == 17 { 300 } else { 200 }, -9.0, 9.0);
        let mut cost = 0.0;
        for (k, x) in levels.iter().enumerate() {
            cost -= eps_rule.integrate(|eps| {
                let z = signal * x + deviation * eps;
                log_normal(eps, 0.0, 1.0).exp() * log_decoder(z, gamma, &levels)[k]
            }) / (count as f64 * LN_2);
        }
        assert_close(cost, printed, PRINTED);

        // H(x|z) = H(x) - (h(z) - h(z|x)); one panel of the integral per level.
        let weights = vec![1.0 / count as f64; count];
        let means: Vec<f64> = levels.iter().map(|x| signal * x).collect();
        let mixture =
            ScalarMixture::new(&weights, &means, &vec![deviation * deviation; count])?;
        let half = signal / count as f64;
        let mut entropy = 0.0;
        let negative_log = |z: f64| {
            let log_p = mixture.log_prob(z);
            -log_p * log_p.exp()
        };
        for mean in &means {
            entropy +=
                Rule::gauss_legendre(80, mean - half, mean + half).integrate(negative_log);
        }
        for (edge, sign) in [(means[0] - half, -1.0), (means[count - 1] + half, 1.0)] {
            let tail = Rule::gauss_legendre(100, 0.0, 9.0 * deviation);
            entropy += tail.integrate(|offset| negative_log(edge + sign * offset));
        }
        let noise_entropy = 0.5 * (TAU * deviation * deviation).ln() + 0.5;
        let conditional = (count as f64).ln() - (entropy - noise_entropy);
        assert_close(cost, conditional / LN_2, TOLERANCE);
        assert_close(oracle_cost(count, gamma), conditional, TOLERANCE);
    }
    Ok(())
}
