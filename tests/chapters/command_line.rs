//! Bad input: one sentence that says what is wrong and what to do, the right exit code, and nothing half-written.

use std::{
    fs,
    process::{Command, Output},
};

use super::program::{programs, run};

/// Asserts that the run is refused with this exit code, in one line that contains all of `words`.
fn refused(arguments: &[&str], code: i32, words: &[&str]) {
    refused_by("ch05_vdm", arguments, code, words);
}

fn refused_by(chapter: &str, arguments: &[&str], code: i32, words: &[&str]) {
    let output = run(chapter, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let complaint = stderr.lines().last().unwrap_or_default();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    assert!(complaint.starts_with("error: "), "{arguments:?}: {stderr}");
    for word in words {
        assert!(complaint.contains(word), "{arguments:?}: `{word}` is not in `{complaint}`");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn unknown_flags_and_values_are_usage_errors() {
    refused(&["--colour", "red"], 2, &["--colour", "--help"]);
    refused(&["--device", "abacus"], 2, &["abacus", "possible values", "cpu"]);
    refused(&["--steps", "many"], 2, &["many", "--steps"]);
    refused(&["--seed", "-1"], 2, &["-1"]);
    refused(&["surplus"], 2, &["surplus"]);
}

#[test]
fn chapters_without_a_network_refuse_its_flags() {
    for chapter in ["ch01_latent_variables", "ch02_elbo"] {
        refused_by(chapter, &["--device", "cpu"], 2, &[chapter, "leave out --device"]);
        refused_by(chapter, &["--steps", "3"], 2, &[chapter, "leave out --steps"]);
        refused_by(chapter, &["--preset", "full"], 2, &[chapter, "leave out --preset full"]);
        refused_by(chapter, &["--save", "weights"], 2, &[chapter, "leave out --save and --load"]);
        refused_by(chapter, &["--data", "mnist"], 2, &[chapter, "leave out --data mnist"]);
    }
}

#[test]
fn autoencoders_have_one_preset_for_the_digits() {
    for chapter in ["ch03_vae", "ch04_hvae"] {
        refused_by(chapter, &["--preset", "full"], 2, &["--data mnist", "leave out --preset full"]);
    }
}

#[test]
fn chapters_with_a_network_take_mnist_and_say_where_they_looked_for_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (out, nowhere) = (path("out"), path("nowhere"));
    let common = ["--data", "mnist", "--data-dir", &nowhere, "--out", &out];
    for preset in ["quick", "full"] {
        let arguments = [&common[..], &["--preset", preset]].concat();
        for chapter in ["ch03_vae", "ch04_hvae", "ch05_vdm", "ch06_learned_snr", "ch07_three_parameterizations"] {
            refused_by(chapter, &arguments, 1, &["cannot read train-images-idx3-ubyte", "nowhere", "--data-dir"]);
        }
    }
}

#[test]
fn values_that_make_no_sense_are_usage_errors() {
    refused(&["--steps", "0"], 2, &["--steps 0", "1 or more"]);
    refused(&["--threads", "0"], 2, &["--threads 0", "1 or more"]);
    refused(&["--data-dir", "somewhere"], 2, &["--data-dir", "--data mnist"]);
}

#[cfg(not(feature = "wgpu"))]
#[test]
fn a_device_that_was_not_compiled_in_is_a_usage_error() {
    refused(&["--device", "wgpu"], 2, &["without wgpu", "--features wgpu", "--device cpu"]);
    refused(&["--device", "cuda"], 2, &["without cuda", "--features cuda"]);
}

#[cfg(not(feature = "ndarray"))]
#[test]
fn ndarray_is_offered_with_its_feature() {
    refused(&["--device", "ndarray"], 2, &["without ndarray", "--features ndarray"]);
}

#[test]
fn an_output_folder_that_cannot_be_written_is_a_failure() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    fs::write(&file, "precious").expect("a file");
    let below = file.join("below");
    refused(&["--out", &file.to_string_lossy()], 1, &["cannot", "--out"]);
    refused(&["--out", &below.to_string_lossy()], 1, &["cannot create the folder", "--out"]);
    assert_eq!(fs::read_to_string(&file).expect("the file"), "precious");
}

#[test]
fn weights_that_cannot_be_read_are_a_failure() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let out = path("out");
    refused(&["--out", &out, "--load", &path("missing")], 1, &["cannot read", "missing"]);

    fs::write(path("foreign"), "this is no safetensors file").expect("a file");
    refused(&["--out", &out, "--load", &path("foreign")], 1, &["foreign", "--save"]);

    // A file of the right kind from another program.
    let other = safetensors::serialize([("w", view(&[0; 4]))], None).expect("a safetensors file");
    fs::write(path("other"), other).expect("a file");
    refused(&["--out", &out, "--load", &path("other")], 1, &["other", "--save"]);
}

#[test]
fn truncated_weights_are_a_failure_and_whole_ones_are_read() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (out, weights) = (path("out"), path("weights.safetensors"));
    let trained = run("ch05_vdm", &["--out", &out, "--steps", "2", "--save", &weights]);
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    super::weights::check_layout("ch05", weights.as_ref());
    let loaded = run("ch05_vdm", &["--out", &out, "--load", &weights]);
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    let bound = |output: &Output| {
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        report.split("## ").find(|section| section.starts_with("The bound")).map(str::to_string)
    };
    assert!(bound(&trained).is_some());
    assert_eq!(bound(&trained), bound(&loaded), "the loaded model is not the saved one");

    let whole = fs::read(&weights).expect("the weights");
    for length in [0, 7, whole.len() / 2, whole.len() - 1] {
        fs::write(path("cut"), &whole[..length]).expect("a file");
        refused(&["--out", &out, "--load", &path("cut")], 1, &["cut"]);
    }
}

#[test]
fn weights_are_not_trained_for_a_place_that_cannot_be_written() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out").to_string_lossy().into_owned();
    let nowhere = folder.path().join("no/such/folder/weights").to_string_lossy().into_owned();
    refused(&["--out", &out, "--save", &nowhere], 1, &["cannot write", "another file"]);
    refused(&["--out", &out, "--save", &folder.path().to_string_lossy()], 1, &["cannot write", "folder"]);
}

#[test]
fn a_reader_who_stops_reading_is_no_error() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().to_string_lossy();
    let command = format!("{} --out {out} --steps 1 | head -n 1", programs().join("ch05_vdm").display());
    let output = Command::new("sh").args(["-c", &command]).output();
    let output = output.expect("a shell");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "## Baselines\n");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
    assert!(folder.path().join("metrics.json").exists(), "the run ends as if it had been read");
}

fn view(bytes: &[u8; 4]) -> safetensors::tensor::TensorView<'_> {
    safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], bytes).expect("one number")
}
