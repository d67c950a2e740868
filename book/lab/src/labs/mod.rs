//! A lab for each idea.
//!
//! Each is asked for a change or a move, and answers with numbers to draw and with `says`:
//! the sentence that the page shows and speaks.

mod digit;
mod gap;
mod monte_carlo;
mod training;

use std::collections::BTreeMap;

use elbo_to_diffusion::error::{Error, Result};
use serde_json::Value;

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
        "ch01-monte-carlo" => Box::new(monte_carlo::MonteCarlo),
        "ch02-gap" => Box::new(gap::Gap::new()),
        "ch05-digit" => Box::new(digit::Digit::new(files)?),
        "ch05-training" => Box::new(training::Train::new()?),
        _ => return Err(unknown(name)),
    })
}

fn unknown(name: &str) -> Error {
    Error::usage(format!(
        "there is no lab {name}; the page and the labs are of two versions"
    ))
}

/// The weights of a default run, among the files.
fn weights<'a>(files: &'a Files, name: &str) -> Result<&'a [u8]> {
    files.get(name).map(Vec::as_slice).ok_or_else(|| {
        Error::failure(format!("the weights {name} did not arrive; load the page again"))
    })
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
