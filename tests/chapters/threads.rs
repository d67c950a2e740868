//! The number of threads changes nothing: runs of twenty steps on one thread and on two
//! print the same report, to the last digit. `resume` compares chapters 3 and 5 in the same
//! way.

use super::program::run;

fn same_on_one_thread_and_on_two(chapter: &str) {
    let [one, two] = ["1", "2"].map(|threads| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let out = folder.path().to_string_lossy();
        let output = run(chapter, &["--steps", "20", "--threads", threads, "--out", &out]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("a report is UTF-8")
    });
    assert_eq!(one, two);
}

#[test]
fn ch04_hvae() {
    same_on_one_thread_and_on_two("ch04_hvae");
}

#[test]
fn ch06_learned_snr() {
    same_on_one_thread_and_on_two("ch06_learned_snr");
}

#[test]
fn ch07_three_parameterizations() {
    same_on_one_thread_and_on_two("ch07_three_parameterizations");
}

#[test]
fn ch11_flow_matching() {
    same_on_one_thread_and_on_two("ch11_flow_matching");
}

#[test]
fn ch12_masks() {
    same_on_one_thread_and_on_two("ch12_masks");
}
