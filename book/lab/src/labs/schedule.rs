//! Chapter 6: bend gamma(t) between fixed ends. The bound in continuous time stays, its
//! estimator's variance and the bound with T latents do not.

use burn::tensor::{Device, Tensor};
use elbo_to_diffusion::{
    error::Result,
    host::download,
    random::{Stream, normal, rng},
    vdm::{
        Denoiser, NoiseLevels, Schedule, denoising_term,
        process::{denoising_weight, diffusion_weight},
    },
};
use serde_json::{Value, json};

use super::{Files, Lab, chapter_5_model, drawn, number, whole};

/// Test digits whose squared errors are averaged.
const IMAGES: usize = 48;
/// Noise levels at which the network is asked.
const LEVELS: usize = 105;
/// Steps of which each gets a rectangle.
const OUTLINED: usize = 100;
/// Parts of [0, 1] for integrals over t.
const PARTS: usize = 2000;

/// gamma(t), straight between five points.
struct Bent([f64; 5]);

impl Bent {
    fn part(t: f64) -> usize {
        ((t * 4.0) as usize).min(3)
    }
}

impl Schedule for Bent {
    fn gamma(&self, t: f64) -> f64 {
        let part = Self::part(t);
        self.0[part] + (self.0[part + 1] - self.0[part]) * (4.0 * t - part as f64)
    }

    fn slope(&self, t: f64) -> f64 {
        let part = Self::part(t);
        4.0 * (self.0[part + 1] - self.0[part])
    }
}

/// The mean and the mean square over images of |x - x_hat|^2, at each noise level.
pub struct Bend {
    ends: [f64; 2],
    bits: f64,
    errors: Vec<[f64; 2]>,
}

impl Bend {
    /// With the weights of chapter 5. Fails if they are not there or damaged.
    pub fn new(files: &Files) -> Result<Self> {
        let (data, setting, denoiser) = chapter_5_model(files)?;
        let device = &Device::flex();
        let images = data.test.first(IMAGES);
        let x = images.values(device);
        let noise = &mut rng(0, Stream::Evaluation, 0);
        let schedule = setting.linear();
        let error = |gamma: f64, denoiser: &Denoiser, noise: &mut _| -> Result<[f64; 2]> {
            let at = NoiseLevels::new((0..images.len()).map(|_| (gamma, 1.0)), device);
            let eps = normal([images.len(), images.dim()], noise, device);
            let denoise = |z: Tensor<2>, gamma| denoiser.denoise(z, gamma, None);
            let errors = download(denoising_term(x.clone(), at, eps, denoise))?;
            let n = errors.len() as f64;
            Ok([
                errors.iter().sum::<f64>() / n,
                errors.iter().map(|e| e * e).sum::<f64>() / n,
            ])
        };
        let errors = schedule
            .grid(LEVELS)
            .into_iter()
            .map(|gamma| error(gamma, &denoiser, noise))
            .collect::<Result<_>>()?;
        let ends = [schedule.gamma_min, schedule.gamma_max];
        Ok(Self { ends, bits: data.bits_per_dim(1.0), errors })
    }

    /// What was measured, on a straight line between the levels.
    fn error(&self, gamma: f64) -> [f64; 2] {
        let [low, high] = self.ends;
        let place = ((gamma - low) / (high - low)).clamp(0.0, 1.0) * (LEVELS - 1) as f64;
        let below = (place as usize).min(LEVELS - 2);
        [0, 1].map(|k| {
            let [a, b] = [self.errors[below][k], self.errors[below + 1][k]];
            a + (b - a) * (place - below as f64)
        })
    }
}

impl Lab for Bend {
    fn answer(&mut self, request: &Value) -> Result<Value> {
        let [low, high] = self.ends;
        let mut points = [low, 0.0, 0.0, 0.0, high];
        for (i, key) in ["quarter", "half", "three_quarters"].into_iter().enumerate() {
            let straight = low + (high - low) * (i + 1) as f64 / 4.0;
            // It may not fall.
            points[i + 1] =
                number(request, key, straight, [low, high]).max(points[i] + 1e-3);
        }
        for i in (1..4).rev() {
            points[i] = points[i].min(points[i + 1] - 1e-3);
        }
        let latents = whole(request, "latents", 50, [2, 1000]);
        let schedule = Bent(points);
        let (mut mean, mut square) = (0.0, 0.0);
        for i in 0..PARTS {
            let t = (i as f64 + 0.5) / PARTS as f64;
            let weight = diffusion_weight(&schedule, t);
            let [error, squared] = self.error(schedule.gamma(t));
            mean += weight * error / PARTS as f64;
            square += weight * weight * squared / PARTS as f64;
        }
        let gammas = schedule.grid(latents);
        let cost = |s: &[f64]| denoising_weight(s[0], s[1]) * self.error(s[1])[0];
        let discrete: f64 = gammas.windows(2).map(cost).sum();
        // Areas over the log SNR: the loss per unit of it, and each step spread over its own.
        let area: Vec<_> = (0..=260)
            .map(|i| f64::from(i) / 260.0)
            .map(|t| {
                let weight = diffusion_weight(&schedule, t) / schedule.slope(t);
                let gamma = schedule.gamma(t);
                drawn([-gamma, weight * self.error(gamma)[0] * self.bits])
            })
            .collect();
        // Each a rectangle; of many, which are narrower than a line, the outline.
        let mut steps: Vec<Vec<Vec<f64>>> = Vec::new();
        for s in gammas.windows(2) {
            let height = cost(s) * self.bits / (s[1] - s[0]);
            let [foot, top] = [0.0, height].map(|y| [-s[1], -s[0]].map(|x| drawn([x, y])));
            let ([left, right], [up, over]) = (foot, top);
            match steps.last_mut() {
                Some(outline) if latents > OUTLINED => outline.extend([up, over]),
                None if latents > OUTLINED => steps.push(vec![left, up, over]),
                _ => steps.push(vec![left, up, over, right]),
            }
        }
        let variance = (square - mean * mean) * self.bits * self.bits;
        let (mean, discrete) = (mean * self.bits, discrete * self.bits);
        let grid: Vec<f64> = (0..=100).map(|i| f64::from(i) / 100.0).collect();
        let loss = grid.iter().map(|&t| {
            diffusion_weight(&schedule, t) * self.error(schedule.gamma(t))[0] * self.bits
        });
        Ok(json!({
            "says": format!(
                "On {IMAGES} test digits the diffusion loss is {mean:.3} bits per dimension in continuous time, and \
                 {discrete:.3} with {latents} latents, of which {:.3} stick out; one draw at a random time has variance \
                 {variance:.2}.",
                discrete - mean,
            ),
            "grid": grid,
            "gamma": drawn(grid.iter().map(|&t| schedule.gamma(t))),
            "loss": drawn(loss),
            "area": area,
            "steps": steps,
            "points": points,
            "mean": mean, "discrete": discrete, "variance": variance,
        }))
    }
}
