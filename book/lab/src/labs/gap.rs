//! Chapter 2: the mean and the width of q, the ELBO and the gap below log p(x).

use elbo_to_diffusion::{error::Result, oracle::Rule};
use serde_json::{Value, json};

use super::{Lab, drawn, number, whole};
use crate::chapters::ch02_elbo::{
    meters::{PowerMeter, Thermometers},
    scalar_latent::{ScalarLatent, ScalarNormal},
};

/// The chapter's two models, with its readings.
pub struct Gap {
    thermometers: Thermometers,
    meter: PowerMeter,
    /// The chapter's rule for integrals over z.
    rule: Rule,
}

impl Gap {
    pub fn new() -> Self {
        Self {
            thermometers: Thermometers { w: [1.0, 0.5], noise: 0.25, x: [1.2, 0.3] },
            meter: PowerMeter { x: 2.0, sigma: 0.5 },
            rule: Rule::gauss_legendre(1200, -14.0, 14.0),
        }
    }

    fn of(&self, model: &impl ScalarLatent, rate: f64, request: &Value) -> Value {
        let mean = number(request, "mean", 0.5, [-3.0, 3.0]);
        let log_std = number(request, "log_std", 0.0, [-3.0, 1.0]);
        let steps = whole(request, "ascend", 0, [0, 1000]);
        let path = model.ascend(ScalarNormal { mean, log_std }, rate, steps);
        let q = path[path.len() - 1];
        let (log_prob, elbo) = (model.log_prob(&self.rule), model.elbo(q));
        let kl = model.kl_to_posterior(q, &self.rule);
        let grid: Vec<f64> = (-120..=120).map(|i| f64::from(i) / 40.0).collect();
        let posterior = grid.iter().map(|&z| (model.log_joint(z) - log_prob).exp());
        let density = grid.iter().map(|&z| q.log_prob(z).exp());
        json!({
            "says": format!(
                "q has mean {:.2} and deviation {:.3}. ELBO {elbo:.3}, KL {kl:.3}; \
                 together {:.3} nats, which is log p(x).",
                q.mean, q.log_std.exp(), elbo + kl
            ),
            "mean": q.mean, "log_std": q.log_std,
            "elbo": elbo, "kl": kl, "log_prob": log_prob,
            "grid": grid, "posterior": drawn(posterior), "q": drawn(density),
        })
    }
}

impl Lab for Gap {
    fn answer(&mut self, request: &Value) -> Result<Value> {
        // The rates are those of the chapter's ascents.
        Ok(match request["model"].as_str() {
            Some("meter") => self.of(&self.meter, 0.01, request),
            _ => self.of(&self.thermometers, 0.05, request),
        })
    }
}
