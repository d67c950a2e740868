//! A lab for each idea.
//!
//! Each is asked for a change or a move, and answers with numbers to draw and with `says`:
//! the sentence that the page shows and speaks.

mod digit;
mod flow;
mod gap;
mod guidance;
mod latents;
mod levels;
mod monte_carlo;
mod paths;
mod plane;
mod readings;
mod schedule;
mod stack;
mod training;
mod unmask;
mod walks;

pub use self::plane::train as train_planes;

use std::collections::BTreeMap;

use burn::module::Module;
use elbo_to_diffusion::{
    chapter::Setting,
    data::Dataset,
    error::{Error, Result},
    vdm::Denoiser,
    weights,
};
use serde_json::Value;

use crate::chapters::ch05_vdm;

/// One lab of a page, with what it keeps between two requests.
pub trait Lab {
    /// The answer to a request. Fails with a sentence.
    fn answer(&mut self, request: &Value) -> Result<Value>;
}

/// The files that labs were given, such as weights.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The labs that were asked for so far.
#[derive(Default)]
pub struct Labs {
    files: Files,
    open: BTreeMap<String, Box<dyn Lab>>,
}

impl Labs {
    /// Keeps the contents of a file for the labs that need it.
    pub fn give(&mut self, file: &str, contents: Vec<u8>) {
        self.files.insert(file.into(), contents);
    }

    /// The answer of the lab with this name to a request. Fails with a sentence.
    pub fn answer(&mut self, name: &str, request: &Value) -> Result<Value> {
        if !self.open.contains_key(name) {
            let lab = open(name, &self.files)?;
            self.open.insert(name.into(), lab);
        }
        match self.open.get_mut(name) {
            Some(lab) => lab.answer(request),
            None => Err(unknown(name)),
        }
    }
}

fn open(name: &str, files: &Files) -> Result<Box<dyn Lab>> {
    Ok(match name {
        "ch01-monte-carlo" => Box::new(monte_carlo::MonteCarlo::default()),
        "ch02-gap" => Box::new(gap::Gap::new()),
        "ch03-latents" => Box::new(latents::Latents::new(files)?),
        "ch04-levels" => Box::new(levels::Levels::new(files)?),
        "ch05-digit" => Box::new(digit::Digit::new(files)?),
        "ch05-training" => Box::new(training::Train::new()?),
        "ch06-schedule" => Box::new(schedule::Bend::new(files)?),
        "ch03-plane" => Box::new(plane::Plane::new(files)?),
        "ch07-readings" => Box::new(readings::Readings::new(files)?),
        "ch07-walks" => Box::new(walks::Walks::new()?),
        "ch08-flow" => Box::new(flow::Flow::new()?),
        "ch09-guidance" => Box::new(guidance::Guidance::new()?),
        "ch10-stack" => Box::new(stack::BitsBack::default()),
        "ch11-paths" => Box::new(paths::Paths::new(files)?),
        "ch12-unmask" => Box::new(unmask::Unmask::new(files)?),
        _ => return Err(unknown(name)),
    })
}

fn unknown(name: &str) -> Error {
    Error::usage(format!(
        "there is no lab {name}; the page and the labs are of two versions"
    ))
}

/// The network with the weights of a program's default run, which are among the files.
fn read_weights<M: Module>(fresh: M, files: &Files, program: &str) -> Result<M> {
    read_part(fresh, files, program, "")
}

/// The same of one field of what the program saved.
fn read_part<M: Module>(fresh: M, files: &Files, program: &str, part: &str) -> Result<M> {
    let file = format!("{program}.safetensors");
    let contents = files.get(&file).ok_or_else(|| {
        Error::failure(format!("the weights {file} did not arrive; load the page again"))
    })?;
    weights::read_part(fresh, program, part, contents)
        .map_err(|why| Error::failure(format!("{file} {why}; load the page again")))
}

/// The data, the setting and the trained network of chapter 5.
fn chapter_5_model(files: &Files) -> Result<(Dataset, Setting, Denoiser)> {
    let (chapter, data, setting) = training::chapter_5(0, None)?;
    let fresh = ch05_vdm::fresh(&chapter, &data, &setting);
    let denoiser = read_weights(fresh, files, ch05_vdm::SPEC.name)?.valid();
    Ok((data, setting, denoiser))
}

/// A number of the request within these bounds, or `default` where there is none.
fn number(request: &Value, key: &str, default: f64, [low, high]: [f64; 2]) -> f64 {
    let given = request.get(key).and_then(Value::as_f64).filter(|v| v.is_finite());
    given.unwrap_or(default).clamp(low, high)
}

/// A whole number of the request within these bounds.
fn whole(request: &Value, key: &str, default: usize, [low, high]: [usize; 2]) -> usize {
    number(request, key, default as f64, [low as f64, high as f64]).round() as usize
}

/// Numbers that are drawn: four decimals are more than a screen shows.
fn drawn(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    values.into_iter().map(|v| (v * 1e4).round() / 1e4).collect()
}
