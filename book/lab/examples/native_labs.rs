//! Prints, as JSON, what each lab says on this machine, for the requests of
//! `book/lab/operated.json`: what `book/browser` expects of the same labs in a page.

use std::path::Path;

use book_lab::Labs;
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut labs = Labs::default();
    for program in [
        "ch03_plane",
        "ch03_vae",
        "ch04_hvae",
        "ch05_vdm",
        "ch11_flow_matching",
        "ch12_masks",
    ] {
        let file = format!("{program}.safetensors");
        let contents = std::fs::read(root.join("../../chapters/weights").join(&file))?;
        labs.give(&file, contents);
    }
    let operated = std::fs::read_to_string(root.join("operated.json"))?;
    let operated: Value = serde_json::from_str(&operated)?;
    let mut said = Vec::new();
    for lab in operated.as_array().into_iter().flatten() {
        let name = lab["lab"].as_str().unwrap_or_default();
        let mut sentences = Vec::new();
        for step in lab["steps"].as_array().into_iter().flatten() {
            // A step may take several requests; the last one is what is heard.
            let (mut answer, mut loss) = (Value::Null, Value::Null);
            for request in step["requests"].as_array().into_iter().flatten() {
                answer = labs.answer(name, request)?;
                if !answer["loss"].is_null() {
                    loss = answer["loss"].clone();
                }
            }
            sentences.push(json!({"says": answer["says"], "loss": loss}));
        }
        let speed = speed(name, &mut labs)?;
        said.push(json!({"lab": name, "says": sentences, "steps_per_second": speed}));
    }
    println!("{:#}", Value::from(said));
    Ok(())
}

/// Steps of training in a second, on one thread as in a page, after some that warm up.
fn speed(name: &str, labs: &mut Labs) -> Result<Option<f64>, Box<dyn std::error::Error>> {
    if name != "ch05-training" {
        return Ok(None);
    }
    labs.answer(name, &json!({"do": "begin", "steps": 1200}))?;
    labs.answer(name, &json!({"do": "step", "count": 40}))?;
    let answer = labs.answer(name, &json!({"do": "step", "count": 100}))?;
    Ok(answer["steps_per_second"].as_f64())
}
