//! The labs and the programs, natively: what the browser compares with, and what a page may
//! ask by mistake.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use book_lab::{Labs, programs};
use serde_json::{Value, json};

const ALL: [&str; 8] = [
    "ch01-monte-carlo",
    "ch02-gap",
    "ch03-latents",
    "ch04-levels",
    "ch05-digit",
    "ch05-training",
    "ch06-schedule",
    "ch07-readings",
];

fn labs() -> Labs {
    let mut labs = Labs::default();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../chapters/weights");
    for program in ["ch03_vae", "ch04_hvae", "ch05_vdm"] {
        let file = format!("{program}.safetensors");
        let contents =
            fs::read(folder.join(&file)).expect("the weights are in the repository");
        labs.give(&file, contents);
    }
    labs
}

/// The numbers of an answer, at any depth.
fn numbers(value: &Value, found: &mut Vec<f64>) {
    match value {
        Value::Number(number) => found.extend(number.as_f64()),
        Value::Array(values) => values.iter().for_each(|value| numbers(value, found)),
        Value::Object(values) => values.values().for_each(|value| numbers(value, found)),
        // serde_json writes what is no finite number as null.
        _ => {}
    }
}

#[test]
fn every_lab_answers_whatever_it_is_asked() {
    let mut labs = labs();
    let wrong = [
        json!({}),
        json!(null),
        json!({"t": -5, "digit": 1e18, "seed": -1, "dimensions": 0, "draws": 0, "latents": 0}),
        json!({"t": "x", "mean": 1e300, "log_std": -1e300, "latent": 99, "to": 1e9, "hold": 77}),
        json!({"view": "sample", "t": 1e9, "quarter": 5, "half": -8, "gamma": 1e9}),
    ];
    for lab in ALL {
        for request in &wrong {
            let answer = labs.answer(lab, request).expect("a lab mends what it is asked");
            let says = answer["says"].as_str().expect("a lab says something");
            assert!(
                says.ends_with('.') && !says.contains("NaN") && !says.contains("inf"),
                "{lab}: {says}"
            );
            let mut found = Vec::new();
            numbers(&answer, &mut found);
            assert!(!found.is_empty() && found.iter().all(|v| v.is_finite()), "{lab}");
        }
    }
}

#[test]
fn a_lab_that_is_unknown_or_has_no_weights_says_so() {
    let mut labs = Labs::default();
    let error = labs.answer("ch99", &json!({})).expect_err("there is none").to_string();
    assert!(error.contains("there is no lab ch99"), "{error}");
    for lab in
        ["ch03-latents", "ch04-levels", "ch05-digit", "ch06-schedule", "ch07-readings"]
    {
        let error = labs.answer(lab, &json!({})).expect_err("no weights").to_string();
        assert!(error.contains("did not arrive"), "{error}");
    }
    labs.give("ch05_vdm.safetensors", vec![1, 2, 3]);
    let error = labs.answer("ch05-digit", &json!({})).expect_err("damaged").to_string();
    assert!(error.contains("is damaged"), "{error}");
}

/// ELBO and KL always end at log p(x).
#[test]
fn the_gap_lab_shares_out_one_number() {
    let mut labs = labs();
    for (model, mean, log_std) in
        [("thermometers", -1.0, 0.5), ("meter", 0.3, -1.0), ("meter", -1.3, -1.5)]
    {
        let request = json!({"model": model, "mean": mean, "log_std": log_std});
        let answer = labs.answer("ch02-gap", &request).expect("an answer");
        let value = |key: &str| answer[key].as_f64().expect("a number");
        assert!((value("elbo") + value("kl") - value("log_prob")).abs() < 1e-9, "{answer}");
        assert!(value("kl") >= 0.0);
    }
}

/// The continuous bound does not know the schedule, other than by the error of its own sum.
#[test]
fn the_schedule_lab_moves_the_variance_and_not_the_bound() {
    let mut labs = labs();
    let mut ask = |half: f64, latents: usize| {
        labs.answer("ch06-schedule", &json!({"half": half, "latents": latents}))
            .expect("an answer")
    };
    let (straight, bent) = (ask(-1.5, 1000), ask(-4.0, 20));
    let value = |answer: &Value, key: &str| answer[key].as_f64().expect("a number");
    assert!((value(&straight, "mean") - value(&bent, "mean")).abs() < 2e-3);
    assert!((value(&straight, "variance") - value(&bent, "variance")).abs() > 0.1);
    assert!(value(&bent, "discrete") > value(&straight, "discrete") + 0.05);
    assert!((value(&straight, "discrete") - value(&straight, "mean")).abs() < 0.03);
}

/// The training of the lab is that of the chapter.
#[test]
fn training_goes_on_where_it_was_and_begins_anew_where_asked() {
    let mut labs = labs();
    let mut ask =
        |request: Value| labs.answer("ch05-training", &request).expect("an answer");
    ask(json!({"do": "begin", "seed": 3, "steps": 40}));
    ask(json!({"do": "step", "count": 8}));
    let in_parts = ask(json!({"do": "step", "count": 12}));
    ask(json!({"do": "begin", "seed": 3, "steps": 40}));
    let at_once = ask(json!({"do": "step", "count": 20}));
    assert_eq!((&in_parts["step"], &in_parts["loss"]), (&json!(20), &at_once["loss"]));
    let beyond = ask(json!({"do": "step", "count": 200}));
    assert_eq!(beyond["step"], 40);
    assert!(beyond["loss"].as_f64() < at_once["loss"].as_f64());
}

static HEARD: Mutex<Vec<Value>> = Mutex::new(Vec::new());

#[test]
fn a_program_runs_as_in_the_book_and_another_seed_is_not_compared() {
    let hear = |message: &Value| HEARD.lock().expect("one thread").push(message.clone());
    let answer = programs::run("ch02_elbo", None, None, hear).expect("the program runs");
    let says = answer["says"].as_str().expect("a sentence");
    assert!(says.starts_with("Agrees with the book: "), "{says}");
    assert!(answer["all"].as_u64() > Some(100), "{answer}");
    assert_eq!(answer["agree"], answer["all"]);
    let heard = HEARD.lock().expect("one thread");
    assert!(heard.iter().any(|message| message["line"] == "## Climbing the bound"));
    let svg = |message: &Value| {
        message["svg"].as_str().is_some_and(|svg| svg.starts_with("<svg"))
    };
    assert!(heard.iter().any(|message| message["figure"] == "climb" && svg(message)));
    drop(heard);

    let answer =
        programs::run("ch02_elbo", Some(1), None, |_| {}).expect("the program runs");
    assert!(
        answer["says"].as_str().expect("a sentence").starts_with("Done in"),
        "{answer}"
    );
    let error = programs::run("ch02_elbo", None, Some(5), |_| {}).expect_err("no steps");
    assert!(error.to_string().contains("leave out --steps"), "{error}");
    assert!(programs::run("ch99", None, None, |_| {}).is_err());
}
