//! Runs every chapter as its reader does, and compares what it prints with
//! `tests/snapshots`.

mod agreement;
mod codec;
mod command_line;
mod comparator;
mod figures;
mod program;
mod resume;
mod threads;
mod weights;

use std::path::Path;

use comparator::WithinTolerance;
use figures::Drawn;
use program::run;

/// Runs the chapter, checks its exit code and compares its report with the snapshot of its
/// name.
fn check(chapter: &str, arguments: &[&str]) {
    check_as(chapter, chapter, arguments);
}

fn check_as(snapshot: &str, chapter: &str, arguments: &[&str]) {
    let out = tempfile::tempdir().expect("a temporary folder");
    let folder = out.path().to_string_lossy().into_owned();
    let output = run(chapter, &[&["--out", &folder], arguments].concat());
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{chapter} {arguments:?} failed:\n{complaints}");
    let report = String::from_utf8(output.stdout).expect("a report is UTF-8");
    insta::with_settings!({
        comparator => Box::new(WithinTolerance),
        snapshot_path => "../snapshots",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(snapshot, report);
    });
    insta::with_settings!({
        comparator => Box::new(Drawn),
        snapshot_path => "../snapshots/figures",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(snapshot, figures::collect(out.path()));
    });
    let metrics = std::fs::read_to_string(out.path().join("metrics.json"))
        .expect("metrics.json was written");
    let metrics: serde_json::Value =
        serde_json::from_str(&metrics).expect("metrics.json is JSON");
    assert_eq!(metrics["chapter"], chapter);
}

/// The same for a run that also saves its weights, whose layout a page documents.
fn check_with_weights(chapter: &str, layout: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("weights.safetensors");
    check(chapter, &["--save", &file.to_string_lossy()]);
    weights::check_layout(layout, &file);
}

#[test]
fn ch01_latent_variables() {
    check("ch01_latent_variables", &[]);
}

#[test]
fn ch02_elbo() {
    check("ch02_elbo", &[]);
}

#[test]
fn ch03_vae() {
    check_with_weights("ch03_vae", "ch03");
}

#[test]
fn ch04_hvae() {
    check_with_weights("ch04_hvae", "ch04");
}

#[test]
fn ch05_vdm() {
    check("ch05_vdm", &[]);
}

/// What `--preset full --save` wrote is loaded, because to train it takes minutes.
#[test]
fn ch05_vdm_full() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/weights/ch05_vdm_full.safetensors");
    check_as(
        "ch05_vdm_full",
        "ch05_vdm",
        &["--preset", "full", "--load", &file.to_string_lossy()],
    );
    weights::check_layout("ch05_full", &file);
}

#[cfg(feature = "ndarray")]
#[test]
fn ch05_vdm_on_ndarray() {
    check("ch05_vdm", &["--device", "ndarray"]);
}

#[test]
fn ch06_learned_snr() {
    check_with_weights("ch06_learned_snr", "ch06");
}

#[test]
fn ch07_three_parameterizations() {
    check("ch07_three_parameterizations", &[]);
}

#[test]
fn ch07_separate() {
    check("ch07_separate", &[]);
}

#[test]
fn ch08_flow() {
    check("ch08_flow", &[]);
}

#[test]
fn ch09_guidance() {
    check("ch09_guidance", &[]);
}

#[test]
fn ch09_weights() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("chapters/weights/ch09_guidance.safetensors");
    weights::check_layout("ch09", &file);
}

#[test]
fn ch10_bits_back() {
    check("ch10_bits_back", &[]);
}

/// The test images as a file of the network with convolutions.
#[test]
fn ch10_bits_back_full() {
    check_as("ch10_bits_back_full", "ch10_bits_back", &["--preset", "full"]);
}

#[test]
fn ch11_flow_matching() {
    check("ch11_flow_matching", &[]);
}

#[test]
fn ch12_masks() {
    check("ch12_masks", &[]);
}

/// The layout of the weights that it saves; the default run reads a file of it.
#[test]
fn ch12_masks_weights() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("chapters/weights/ch12_masks.safetensors");
    weights::check_layout("ch12", &file);
}

#[test]
fn appendix_errata() {
    check("appendix_errata", &[]);
}

#[test]
fn drawings() {
    check("drawings", &[]);
}
