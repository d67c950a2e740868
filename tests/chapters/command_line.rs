//! Bad input: one sentence that says what is wrong and what to do, the right exit code, and
//! nothing half-written.

use std::{
    collections::HashMap,
    fs,
    io::pipe,
    process::{Command, Stdio},
};

use safetensors::SafeTensors;

use super::program::{chapter_5, programs, run};

/// Asserts that the run is refused with this exit code, in one line that contains all of
/// `words`.
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
        assert!(
            complaint.contains(word),
            "{arguments:?}: `{word}` is not in `{complaint}`"
        );
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn unknown_flags_and_values_are_usage_errors() {
    refused(&["--colour", "red"], 2, &["--colour", "--help"]);
    refused(&["--device", "abacus"], 2, &["abacus", "possible values", "cpu"]);
    refused(&["--steps", "many"], 2, &["many", "--steps"]);
    refused(
        &["--seed", "-1"],
        2,
        &["--seed", "-1", "a seed is a whole number from 0 to 18446744073709551615"],
    );
    refused(&["--steps", "-1"], 2, &["--steps", "-1", "a whole number, 1 or more"]);
    refused(&["surplus"], 2, &["surplus"]);
}

#[test]
fn chapters_without_a_network_refuse_its_flags() {
    for chapter in ["ch01_latent_variables", "ch02_elbo"] {
        refused_by(chapter, &["--device", "cpu"], 2, &[chapter, "leave out --device"]);
        refused_by(chapter, &["--steps", "3"], 2, &[chapter, "leave out --steps"]);
        refused_by(
            chapter,
            &["--preset", "full"],
            2,
            &[chapter, "leave out --preset full"],
        );
        refused_by(
            chapter,
            &["--save", "weights"],
            2,
            &[chapter, "leave out --save and --load"],
        );
        refused_by(chapter, &["--data", "mnist"], 2, &[chapter, "leave out --data mnist"]);
    }
}

#[test]
fn a_chapter_that_starts_from_other_weights_trains_and_saves_none() {
    let chapter = "ch08_flow";
    refused_by(chapter, &["--save", "weights"], 2, &[chapter, "leave out --save"]);
    refused_by(chapter, &["--steps", "3"], 2, &[chapter, "leave out --steps"]);
    refused_by(chapter, &["--data", "mnist"], 2, &[chapter, "leave out --data mnist"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().to_string_lossy().into_owned();
    // Weights of chapter 5 are those of another program.
    let weights = chapter_5().weights();
    for preset in ["quick", "full"] {
        refused_by(
            chapter,
            &["--out", &out, "--preset", preset, "--load", &weights.to_string_lossy()],
            1,
            &["holds weights of ch05_vdm", "ch06_learned_snr", "--save"],
        );
    }
}

#[test]
fn flow_matching_takes_the_digits_and_its_own_weights() {
    let chapter = "ch11_flow_matching";
    refused_by(chapter, &["--data", "mnist"], 2, &[chapter, "leave out --data mnist"]);
    refused_by(chapter, &["--preset", "full"], 2, &[chapter, "leave out --preset full"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().to_string_lossy().into_owned();
    let weights = chapter_5().weights();
    refused_by(
        chapter,
        &["--out", &out, "--load", &weights.to_string_lossy()],
        1,
        &["holds weights of ch05_vdm", chapter, "--save"],
    );
}

#[test]
fn the_later_chapters_refuse_what_they_cannot_use() {
    for (chapter, flag, value) in [
        ("ch08_flow", "--resume", "folder"),
        ("ch08_flow", "--guidance", "2"),
        ("ch09_guidance", "--preset", "full"),
        ("ch09_guidance", "--data-dir", "folder"),
        ("ch10_bits_back", "--device", "cpu"),
        ("ch10_bits_back", "--data", "mnist"),
        ("ch10_bits_back", "--steps", "3"),
        ("ch10_bits_back", "--save", "weights"),
        ("ch10_bits_back", "--load", "weights"),
        ("ch10_bits_back", "--resume", "folder"),
        ("ch10_bits_back", "--label", "3"),
        ("ch11_flow_matching", "--guidance", "2"),
        ("ch12_masks", "--label", "3"),
    ] {
        refused_by(chapter, &[flag, value], 2, &[chapter, "leave out", flag]);
    }
}

#[test]
fn autoencoders_have_one_preset_for_the_digits() {
    for chapter in ["ch03_vae", "ch04_hvae"] {
        refused_by(
            chapter,
            &["--preset", "full"],
            2,
            &["--data mnist", "leave out --preset full"],
        );
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
        for chapter in [
            "ch03_vae",
            "ch04_hvae",
            "ch05_vdm",
            "ch06_learned_snr",
            "ch07_three_parameterizations",
        ] {
            refused_by(
                chapter,
                &arguments,
                1,
                &["cannot read train-images-idx3-ubyte", "nowhere", "--data-dir"],
            );
        }
    }
}

#[test]
fn values_that_make_no_sense_are_usage_errors() {
    refused(&["--steps", "0"], 2, &["--steps 0", "1 or more"]);
    refused(&["--threads", "0"], 2, &["--threads 0", "1 or more"]);
    refused(
        &["--threads", "100000"],
        2,
        &["--threads 100000", "more than this machine can use", "at most"],
    );
    refused(&["--data-dir", "somewhere"], 2, &["--data-dir", "--data mnist"]);
}

#[test]
fn guidance_and_labels_that_make_no_sense_are_usage_errors() {
    let refused = |arguments: &[&str], words: &[&str]| {
        refused_by("ch09_guidance", arguments, 2, words);
    };
    for strength in ["-1", "NaN", "inf", "1e9", "much"] {
        refused(
            &["--guidance", strength],
            &["--guidance", strength, "a number from 0 to 100", "--help"],
        );
    }
    for label in ["10", "-1", "256", "7.5", "seven"] {
        refused(
            &["--label", label],
            &["--label", label, "a whole number from 0 to 9", "--help"],
        );
    }
    refused(&["--data", "mnist"], &["ch09_guidance", "leave out --data mnist"]);
    refused_by("ch05_vdm", &["--guidance", "3"], 2, &["ch05_vdm", "leave out --guidance"]);
    refused_by("ch01_latent_variables", &["--label", "3"], 2, &["leave out --guidance"]);
}

#[test]
fn samples_of_one_label_are_drawn_on_request() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().to_string_lossy();
    let output =
        run("ch09_guidance", &["--label", "7", "--guidance", "2.5", "--out", &out]);
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(report.starts_with("## Samples on request\n"), "{report}");
    let cell = |name: &str| {
        let line = report.lines().find(|line| line.starts_with(name)).expect("a row");
        let number = line[name.len()..].split_whitespace().next().expect("a number");
        number.parse::<f64>().expect("a number")
    };
    assert_eq!((cell("strength of guidance"), cell("samples")), (2.5, 50.0));
    assert!(cell("recognised") > 90.0, "{report}");
    assert!(folder.path().join("on_request.svg").exists());
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
    refused(
        &["--out", &below.to_string_lossy()],
        1,
        &["cannot create the folder", "--out"],
    );
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
    let other = safetensors::serialize([("w", view(&[1], &[0; 4]))], None)
        .expect("a safetensors file");
    fs::write(path("other"), other).expect("a file");
    refused(&["--out", &out, "--load", &path("other")], 1, &["other", "--save"]);
}

#[test]
fn saved_weights_are_the_trained_ones() {
    let (trained, folder) = (chapter_5(), tempfile::tempdir().expect("a temporary folder"));
    let out = folder.path().to_string_lossy();
    let loaded =
        run("ch05_vdm", &["--out", &out, "--load", &trained.weights().to_string_lossy()]);
    assert!(loaded.status.success(), "{}", String::from_utf8_lossy(&loaded.stderr));
    assert_eq!(String::from_utf8_lossy(&loaded.stdout), trained.report);
}

#[test]
fn truncated_weights_are_a_failure() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let whole = fs::read(chapter_5().weights()).expect("the weights");
    for length in [0, 7, whole.len() / 2, whole.len() - 1] {
        fs::write(path("cut"), &whole[..length]).expect("a file");
        refused(&["--out", &path("out"), "--load", &path("cut")], 1, &["cut"]);
    }
}

#[test]
fn weights_that_are_no_finite_numbers_are_a_failure() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let whole = fs::read(chapter_5().weights()).expect("the weights");
    let (_, header) = SafeTensors::read_metadata(&whole).expect("a safetensors file");
    let metadata: HashMap<String, String> =
        header.metadata().clone().expect("the program's name");
    let tensors = SafeTensors::deserialize(&whole).expect("a safetensors file");
    for (number, word) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let mut bias = tensors.tensor("output.bias").expect("a bias").data().to_vec();
        bias[8..12].copy_from_slice(&number.to_le_bytes());
        let changed = tensors.iter().map(|(name, tensor)| {
            let data = if name == "output.bias" { &bias } else { tensor.data() };
            (name, view(tensor.shape(), data))
        });
        let file = safetensors::serialize(changed, Some(metadata.clone()))
            .expect("a safetensors file");
        fs::write(path("weights"), file).expect("a file");
        refused(
            &["--out", &path("out"), "--load", &path("weights")],
            1,
            &[word, "output.bias", "no finite number"],
        );
    }
}

#[test]
fn weights_are_not_trained_for_a_place_that_cannot_be_written() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out").to_string_lossy().into_owned();
    let nowhere =
        folder.path().join("no/such/folder/weights").to_string_lossy().into_owned();
    refused(&["--out", &out, "--save", &nowhere], 1, &["cannot write", "another file"]);
    refused(
        &["--out", &out, "--save", &folder.path().to_string_lossy()],
        1,
        &["cannot write", "folder"],
    );
}

#[test]
fn a_reader_who_stops_reading_is_no_error() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().to_string_lossy();
    let command = format!(
        "{} --out {out} | head -n 1",
        programs().join("ch01_latent_variables").display()
    );
    let output = Command::new("sh").args(["-c", &command]).output();
    let output = output.expect("a shell");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "## Two thermometers\n");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
    assert!(
        folder.path().join("metrics.json").exists(),
        "the run ends as if it had been read"
    );
}

/// The end of a pipe whose other end is closed.
fn nobody_reads() -> Stdio {
    pipe().expect("a pipe").1.into()
}

#[test]
fn help_and_complaints_that_nobody_reads_are_no_error() {
    let program = || Command::new(programs().join("appendix_errata"));
    let output = program().arg("--help").stdout(nobody_reads()).output().expect("a run");
    assert_eq!(
        (output.status.code(), String::from_utf8_lossy(&output.stderr)),
        (Some(0), "".into())
    );
    let status = program().arg("--surplus").stderr(nobody_reads()).status().expect("a run");
    assert_eq!(status.code(), Some(2));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = program()
        .arg("--out")
        .arg(folder.path())
        .stderr(nobody_reads())
        .output()
        .expect("a run");
    assert!(output.status.success() && !output.stdout.is_empty());
}

fn view<'a>(shape: &[usize], bytes: &'a [u8]) -> safetensors::tensor::TensorView<'a> {
    safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.to_vec(), bytes)
        .expect("numbers of this shape")
}

/// The same seed gives the same report to the letter, and another seed another one.
#[test]
fn a_seed_is_a_run_of_its_own() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().to_string_lossy();
    let report = |seed: &str| {
        let output = run("ch02_elbo", &["--seed", seed, "--out", &out]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let one = report("1");
    assert_eq!(one, report("1"));
    assert_ne!(one, report("2"));
}
