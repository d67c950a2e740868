//! Chapter 1: naive Monte Carlo with one's own number of draws and dimensions.

use elbo_to_diffusion::{
    error::Result,
    random::{Stream, rng},
};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{Lab, drawn, whole};
use crate::chapters::ch01_latent_variables::monte_carlo::{
    add_dimension, effective_size, log_mean, log_p,
};

/// Bars that are drawn: the largest weights.
const BARS: usize = 40;

/// Log weights of draws in one dimension, in two, and so on, and the noise of the next: to
/// change the dimension asks for no draw anew.
struct Kept {
    of: (usize, u64),
    log_weights: Vec<Vec<f64>>,
    noise: ChaCha8Rng,
}

impl Kept {
    fn new(draws: usize, seed: u64) -> Self {
        let (of, noise) = ((draws, seed), rng(seed, Stream::Evaluation, 0));
        Self { of, log_weights: vec![vec![0.0; draws]], noise }
    }

    fn in_dimensions(&mut self, d: usize) -> &[f64] {
        while self.log_weights.len() <= d {
            let mut next = self.log_weights[self.log_weights.len() - 1].clone();
            add_dimension(&mut next, &mut self.noise);
            self.log_weights.push(next);
        }
        &self.log_weights[d]
    }
}

#[derive(Default)]
pub struct MonteCarlo {
    kept: Option<Kept>,
}

impl Lab for MonteCarlo {
    fn answer(&mut self, request: &Value) -> Result<Value> {
        let d = whole(request, "dimensions", 4, [1, 64]);
        let draws = whole(request, "draws", 200, [1, 10_000]);
        let seed = whole(request, "seed", 0, [0, 1_000_000]) as u64;
        let kept = match self.kept.take() {
            Some(kept) if kept.of == (draws, seed) => kept,
            _ => Kept::new(draws, seed),
        };
        let log_weights = self.kept.insert(kept).in_dimensions(d);
        let size = effective_size(log_weights);
        let log_error = log_mean(log_weights);
        let mut shares: Vec<f64> =
            log_weights.iter().map(|w| (w - log_error).exp() / draws as f64).collect();
        shares.sort_unstable_by(|a, b| b.total_cmp(a));
        let largest = shares[0];
        shares.truncate(BARS);
        let log_p = d as f64 * log_p();
        Ok(json!({
            "says": format!(
                "{draws} draws in {d} {}: log p(x) is {log_p:.3}, the estimate {:.3}. \
                 The largest weight has {:.1} % of the sum; the effective sample size is {size:.1}.",
                if d == 1 { "dimension" } else { "dimensions" },
                log_p + log_error, 100.0 * largest
            ),
            "shares": drawn(shares.iter().map(|s| 100.0 * s)),
            "effective": size,
            "log_error": log_error,
        }))
    }
}
