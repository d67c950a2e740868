//! The labs and the programs, natively: what the browser compares with, and what a page may
//! ask by mistake.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use book_lab::{Labs, programs};
use serde_json::{Value, json};

const ALL: [&str; 15] = [
    "ch01-monte-carlo",
    "ch02-gap",
    "ch03-latents",
    "ch03-plane",
    "ch04-levels",
    "ch05-digit",
    "ch05-training",
    "ch06-schedule",
    "ch07-readings",
    "ch07-walks",
    "ch08-flow",
    "ch09-guidance",
    "ch10-stack",
    "ch11-paths",
    "ch12-unmask",
];

fn labs() -> Labs {
    let mut labs = Labs::default();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../chapters/weights");
    for program in [
        "ch03_plane",
        "ch03_vae",
        "ch04_hvae",
        "ch05_vdm",
        "ch11_flow_matching",
        "ch12_masks",
    ] {
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
            // The page takes an answer with this key for a failure.
            assert!(answer.get("error").is_none(), "{lab}");
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
    for lab in [
        "ch03-latents",
        "ch03-plane",
        "ch04-levels",
        "ch05-digit",
        "ch06-schedule",
        "ch07-readings",
        "ch11-paths",
        "ch12-unmask",
    ] {
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

/// What a lab answers to a request, and a number of it.
fn ask(labs: &mut Labs, lab: &str, request: &Value) -> Value {
    labs.answer(lab, request).expect("an answer")
}

fn value(answer: &Value, key: &str) -> f64 {
    answer[key].as_f64().expect("a number")
}

/// A drawn digit is read as a test digit is, and a heavy KL keeps q nearer to the prior.
#[test]
fn the_plane_lab_reads_what_is_drawn_and_the_kl_has_its_weight() {
    let mut labs = labs();
    let whole = ask(&mut labs, "ch03-plane", &json!({"digit": 3}));
    let drawn = json!({"digit": 5, "pixels": whole["pixels"]});
    let drawn = ask(&mut labs, "ch03-plane", &drawn);
    assert_eq!(drawn["says"], whole["says"]);
    let mut kl = |weight: u32| {
        let of = |i: u32| {
            value(
                &ask(&mut labs, "ch03-plane", &json!({"digit": i, "weight": weight})),
                "kl",
            )
        };
        (0..20).map(of).sum::<f64>()
    };
    let [light, plain, heavy] = [0, 1, 2].map(&mut kl);
    assert!(light > plain && plain > heavy && heavy > 0.0, "{light} {plain} {heavy}");
}

/// A walk begins where the reader says, and the flow and the ancestral sampler end in a
/// blob: the middles are at least 1.2 apart, and a deviation is 0.22.
#[test]
fn the_walks_begin_where_they_are_told_and_end_in_a_blob() {
    let mut labs = labs();
    for walk in [0, 1] {
        for (x, y) in [(1.5, 1.5), (-2.0, 0.3), (0.1, -2.8)] {
            let request = json!({"walk": walk, "x": x, "y": y, "steps": 100});
            let answer = ask(&mut labs, "ch07-walks", &request);
            let points = answer["points"].as_array().expect("points");
            assert_eq!((points.len(), &points[0]), (101, &json!([x, y])));
            let place = |i: usize| points[100][i].as_f64().expect("a number");
            let blobs = [(-1.0, -0.6), (1.0, -0.4), (0.1, 1.0)];
            let distances = blobs.map(|(a, b)| (place(0) - a).hypot(place(1) - b));
            assert!(distances.iter().any(|d| *d < 0.9), "{distances:?}");
        }
    }
}

/// Twice the calls make a solver of order 1 err half as much, one of order 2 a quarter.
#[test]
fn the_flow_lab_shows_the_orders_of_the_solvers() {
    let mut labs = labs();
    for (solver, least) in [(0, 1.8), (1, 3.0), (2, 3.0), (3, 3.0)] {
        let answer = ask(&mut labs, "ch08-flow", &json!({"solver": solver, "calls": 100}));
        let factor = value(&answer, "off") / value(&answer, "off_by_twice");
        assert!(factor > least, "{answer:.0}: {factor}");
    }
}

/// Without guidance the flow draws the data, with strength 1 the class, and in between and
/// beyond not what is tilted; a quick answer is close to the full one.
#[test]
fn the_guidance_lab_is_right_where_the_answer_is_known() {
    let mut labs = labs();
    let mut moments = |w: f64| {
        let answer = ask(&mut labs, "ch09-guidance", &json!({"w": w}));
        [0, 1].map(|i| answer["guided"][i].as_f64().expect("a number"))
    };
    let near =
        |a: [f64; 2], b: [f64; 2]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 2e-3);
    assert!(near(moments(0.0), [0.0, 1.25]));
    assert!(near(moments(1.0), [1.0, 0.25]));
    let mut peak = |w: f64, quick: bool| {
        let answer = ask(&mut labs, "ch09-guidance", &json!({"w": w, "quick": quick}));
        assert_eq!(answer["guided"].is_null(), quick);
        let curve = answer["curves"][3].as_array().expect("a curve");
        curve.iter().filter_map(|point| point[1].as_f64()).fold(0.0, f64::max)
    };
    for w in [0.5, 3.0, 8.0] {
        assert!((peak(w, true) / peak(w, false) - 1.0).abs() < 0.02, "{w}");
    }
}

/// Whatever the encoder and whatever lies below, every symbol comes back; with the
/// posterior the stack grows by what the bound says, to within the bits of its top.
#[test]
fn the_stack_lab_gives_all_symbols_back() {
    let mut labs = labs();
    for (half, others) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        for moves in [0, 1, 2, 3, 59, 60, 61, 120] {
            let request = json!({"move": moves, "half": half, "others": others, "seed": 4});
            let answer = ask(&mut labs, "ch10-stack", &request);
            assert_eq!(answer["right"], true, "{answer}");
            if moves == 120 && others == 1 && half == 0 {
                let gap = value(&answer, "bits") - value(&answer, "elbo");
                assert!(gap.abs() < 6.0, "{gap}");
            }
        }
    }
}

/// Nearest pairs are shorter than random ones, and their flow and that of reflow are
/// straighter.
#[test]
fn the_paths_lab_ranks_the_pairs_as_the_chapter_does() {
    let mut labs = labs();
    let mut of = |pairs: u32| ask(&mut labs, "ch11-paths", &json!({"pairs": pairs}));
    let [random, nearest, reflow] = [0, 1, 2].map(&mut of);
    assert!(value(&nearest, "cost") < value(&random, "cost"));
    for straight in [nearest, reflow] {
        assert!(value(&straight, "bend") < 0.5 * value(&random, "bend"), "{straight}");
        assert!(value(&straight, "off") < value(&random, "off"));
    }
}

/// Every pixel is drawn once, in the order that was asked for.
#[test]
fn the_unmasking_lab_draws_every_pixel() {
    let mut labs = labs();
    for order in 0..3 {
        for steps in [1, 8, 64] {
            let mut before = 0.0;
            for at in 0..=steps {
                let request = json!({"steps": steps, "order": order, "at": at});
                let answer = ask(&mut labs, "ch12-unmask", &request);
                let seen = value(&answer, "seen");
                assert!(seen >= before && (at > 0 || seen == 0.0), "{seen} after {before}");
                assert!(order < 2 || seen == f64::from(64 * at / steps));
                before = seen;
            }
            assert_eq!(before, 64.0);
        }
    }
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
