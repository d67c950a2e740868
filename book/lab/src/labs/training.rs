//! Chapter 5: the chapter's network, trained from nothing, a few steps at a time.

use std::sync::Arc;

use burn::tensor::Device;
use elbo_to_diffusion::{
    chapter::{Args, Chapter, Outlet, Setting},
    data::Dataset,
    error::{Error, Result},
    evaluation::{Bound, Draws},
    figure::Figure,
    random::{Stream, rng},
    training::{Shards, State},
    vdm::{Denoiser, Schedule, ancestral, decode},
};
use serde_json::{Value, json};
use web_time::Instant;

use super::{Lab, drawn, whole};
use crate::chapters::ch05_vdm::{LATENTS, SPEC, STEPS, fresh, loss};

/// Nobody reads the report of a lab.
struct Nowhere;

impl Outlet for Nowhere {
    fn line(&self, _line: &str) -> bool {
        false
    }

    fn figure(&self, _name: &str, _figure: &Figure) -> Result<()> {
        Ok(())
    }

    fn say(&self, _line: &str) {}
}

/// Chapter 5 with its data and its setting.
pub fn chapter_5(seed: u64, steps: Option<usize>) -> Result<(Chapter, Dataset, Setting)> {
    let args = Args { seed: Some(seed), steps, ..Args::default() };
    let mut chapter = Chapter::in_page(SPEC, args, Arc::new(Nowhere))?;
    let (data, setting) = (chapter.dataset()?, chapter.setting(STEPS));
    Ok((chapter, data, setting))
}

/// A run of training.
pub struct Train {
    data: Dataset,
    setting: Setting,
    seed: u64,
    /// `None` while a step is taken, and after one that failed.
    state: Option<State<Denoiser>>,
    seconds: f64,
}

/// Images whose bound is estimated on the way, and images that are drawn.
const BOUNDED: usize = 64;
const SAMPLES: usize = 8;

impl Train {
    /// Before the first step.
    pub fn new() -> Result<Self> {
        Self::start(0, STEPS)
    }

    fn start(seed: u64, steps: usize) -> Result<Self> {
        let (chapter, data, setting) = chapter_5(seed, Some(steps))?;
        let state = setting.training.begin(&fresh(&chapter, &data, &setting));
        Ok(Self { data, setting, seed, state: Some(state), seconds: 0.0 })
    }

    /// So many steps more.
    fn step(&mut self, count: usize) -> Result<Value> {
        let device = Device::flex().autodiff();
        let loss = loss(&self.data, &self.setting, self.seed, device);
        let training = &self.setting.training;
        let mut state = self.state.take().ok_or_else(stopped)?;
        let (start, first) = (Instant::now(), state.step);
        while state.step < training.steps.min(first + count) {
            state = training.step(state, &Shards::on(&[]), &loss)?;
        }
        state.read_losses()?;
        let taken = state.step - first;
        let seconds = start.elapsed().as_secs_f64();
        self.seconds += seconds;
        let recent = &state.losses[state.losses.len().saturating_sub(20)..];
        let mean = recent.iter().sum::<f64>() / recent.len().max(1) as f64;
        let answer = json!({
            "says": format!(
                "Step {} of {}: training loss {mean:.3} bits per dimension.",
                state.step, training.steps,
            ),
            "step": state.step,
            "steps": training.steps,
            "loss": mean,
            "losses": drawn(state.losses[first..].iter().copied()),
            "steps_per_second": taken as f64 / seconds.max(1e-9),
        });
        self.state = Some(state);
        Ok(answer)
    }

    /// The bound on some validation images, and samples, of the average of the weights.
    fn measure(&self) -> Result<Value> {
        let (device, state) = (&Device::flex(), self.state.as_ref().ok_or_else(stopped)?);
        let denoiser = state.average();
        let denoise = |z, gamma| denoiser.denoise(z, gamma, None);
        // A fifth of the chapter's latents, so that the reader does not wait.
        let latents = LATENTS / 4;
        let gammas = self.setting.linear().grid(latents);
        let images = self.data.validation.first(BOUNDED);
        let draws = Draws { passes: 2, seed: self.seed };
        let bound = Bound::discrete(&images, &gammas, denoise, draws, device)?;
        let (bits, error) = (
            self.data.bits_per_dim(bound.total()),
            self.data.bits_per_dim(bound.noise_error),
        );
        let shape = [SAMPLES, self.data.train.dim()];
        let noise = &mut rng(self.seed, Stream::Sampling, 0);
        let z = ancestral(shape, &gammas, denoise, noise, device, |_, _, _| {});
        let values = self.data.train.grey_values();
        let levels = decode(z, self.setting.trunk.gamma_min, &values)?;
        let pixels: Vec<f64> = levels.iter().map(|&k| values[usize::from(k)]).collect();
        let pictures: Vec<Value> = pixels
            .chunks(self.data.train.dim())
            .map(|values| json!({"name": "", "values": drawn(values.iter().copied())}))
            .collect();
        Ok(json!({
            "says": format!(
                "After {} steps the bound on {BOUNDED} validation digits, with {latents} latents, is \
                 {bits:.3} bits per dimension, standard error {error:.3}.",
                state.step
            ),
            "bound": bits,
            "step": state.step,
            "pictures": pictures,
        }))
    }
}

fn stopped() -> Error {
    Error::failure("the training broke off; begin it again")
}

impl Lab for Train {
    fn answer(&mut self, request: &Value) -> Result<Value> {
        match request["do"].as_str() {
            Some("measure") => self.measure(),
            Some("begin") => {
                let seed = whole(request, "seed", 0, [0, 1_000_000]) as u64;
                *self = Self::start(seed, whole(request, "steps", STEPS, [20, 20_000]))?;
                self.step(0)
            }
            _ => self.step(whole(request, "count", 1, [1, 200])),
        }
    }
}
