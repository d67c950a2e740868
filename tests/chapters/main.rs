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
use program::{Finished, WEIGHTS, chapter_5, chapter_11};

/// Runs the chapter, checks its exit code and compares its report with the snapshot of its
/// name.
fn check(chapter: &str, arguments: &[&str]) {
    check_as(chapter, chapter, arguments);
}

fn check_as(snapshot: &str, chapter: &str, arguments: &[&str]) {
    compare(snapshot, chapter, &Finished::run(snapshot, chapter, arguments));
}

/// Compares the report and the figures of a run with the snapshots of this name.
fn compare(snapshot: &str, chapter: &str, run: &Finished) {
    insta::with_settings!({
        comparator => Box::new(WithinTolerance),
        snapshot_path => "../snapshots",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(snapshot, run.report);
    });
    insta::with_settings!({
        comparator => Box::new(Drawn),
        snapshot_path => "../snapshots/figures",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(snapshot, figures::collect(&run.folder));
    });
    let metrics = std::fs::read_to_string(run.folder.join("metrics.json"))
        .expect("metrics.json was written");
    let metrics: serde_json::Value =
        serde_json::from_str(&metrics).expect("metrics.json is JSON");
    assert_eq!(metrics["chapter"], chapter);
}

/// The same for a run that also saves its weights, whose layout a page documents.
fn check_with_weights(chapter: &str, layout: &str) {
    let run = Finished::run(chapter, chapter, &["--save", WEIGHTS]);
    compare(chapter, chapter, &run);
    weights::check_layout(layout, &run.weights());
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
    compare("ch05_vdm", "ch05_vdm", chapter_5());
    weights::check_layout("ch05", &chapter_5().weights());
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
    let ndarray = ["--device", "ndarray"];
    compare("ch05_vdm", "ch05_vdm", &Finished::run("ch05_ndarray", "ch05_vdm", &ndarray));
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
    compare("ch11_flow_matching", "ch11_flow_matching", chapter_11());
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
