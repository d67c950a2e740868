//! The number of threads changes nothing: short runs on one thread and on two print the same report, to the last digit.

use super::program::{STEPS_3, STEPS_5, chapter_3, chapter_5, run};

/// The report of a run with so many steps and threads.
fn report(chapter: &str, steps: &str, threads: &str) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().to_string_lossy();
    let output = run(chapter, &["--steps", steps, "--threads", threads, "--out", &out]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a report is UTF-8")
}

fn same_on_one_thread(chapter: &str) {
    assert_eq!(report(chapter, "20", "1"), report(chapter, "20", "2"));
}

#[test]
fn ch03_vae() {
    assert_eq!(report("ch03_vae", STEPS_3, "1"), chapter_3().report);
}

#[test]
fn ch04_hvae() {
    same_on_one_thread("ch04_hvae");
}

#[test]
fn ch05_vdm() {
    assert_eq!(report("ch05_vdm", STEPS_5, "1"), chapter_5().report);
}

#[test]
fn ch06_learned_snr() {
    same_on_one_thread("ch06_learned_snr");
}

#[test]
fn ch07_three_parameterizations() {
    same_on_one_thread("ch07_three_parameterizations");
}
