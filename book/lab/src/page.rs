//! What JavaScript calls, in a worker.

use std::cell::RefCell;

use elbo_to_diffusion::{
    data::digits,
    progress::{self, Listener},
};
use serde_json::{Value, json};
use wasm_bindgen::prelude::wasm_bindgen;

use crate::{labs::Labs, programs};

#[wasm_bindgen]
extern "C" {
    /// Posts a message in JSON to the page.
    #[wasm_bindgen(js_name = labHears)]
    fn hears(message: &str);
}

thread_local! {
    static LABS: RefCell<Labs> = RefCell::default();
}

/// Before anything else: whatever works for long, or panics, says so to the page.
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|panic| {
        let what = panic.payload_as_str().unwrap_or("something went wrong");
        let place =
            panic.location().map(|at| format!(" ({}, line {})", at.file(), at.line()));
        let sentence = format!("{what}{}", place.unwrap_or_default());
        hears(&json!({"panic": sentence}).to_string());
    }));
    progress::listen(|what| Box::new(Progress(what.into())));
}

/// Gives labs and programs the digits, the file beside the module.
#[wasm_bindgen]
pub fn give_digits(contents: Vec<u8>) {
    digits::give(contents);
}

/// Gives a lab the contents of a file, such as weights.
#[wasm_bindgen]
pub fn give(file: &str, contents: Vec<u8>) {
    LABS.with_borrow_mut(|labs| labs.give(file, contents));
}

/// The answer of a lab to a request, both JSON; `{"error": …}` where there is none.
#[wasm_bindgen]
pub fn answer(lab: &str, request: &str) -> String {
    let answer = serde_json::from_str(request)
        .map_err(|e| format!("the page asks in broken JSON: {e}"))
        .and_then(|request: Value| {
            LABS.with_borrow_mut(|labs| labs.answer(lab, &request))
                .map_err(|e| e.to_string())
        });
    text(answer)
}

/// Runs a chapter's program; a seed or a number of steps below zero is that of the book.
#[wasm_bindgen]
pub fn run(name: &str, seed: f64, steps: f64) -> String {
    let seed = (seed >= 0.0).then_some(seed as u64);
    let steps = (steps >= 0.0).then_some(steps as usize);
    let hear = |message: &Value| hears(&message.to_string());
    text(programs::run(name, seed, steps, hear).map_err(|e| e.to_string()))
}

/// Breaks, so that the browser test sees what a page says then: by a trap, or by asking for
/// memory until there is none.
#[wasm_bindgen]
pub fn break_for_a_test(how: &str) {
    assert!(how == "memory", "the lab was told to break");
    loop {
        std::mem::forget(std::hint::black_box(Vec::<u8>::with_capacity(1 << 26)));
    }
}

fn text(answer: Result<Value, String>) -> String {
    answer.unwrap_or_else(|error| json!({ "error": error })).to_string()
}

/// Tells the page how far a piece of work is.
struct Progress(String);

impl Listener for Progress {
    fn hear(&self, done: usize, total: usize) {
        hears(&json!({"work": self.0, "done": done, "total": total}).to_string());
    }

    fn note(&self, note: &str) {
        hears(&json!({"work": self.0, "detail": note}).to_string());
    }
}
