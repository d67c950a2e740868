//! The number of threads changes nothing: what is done on one thread and on two is the same
//! to the last digit. `resume` compares chapters 3 and 5 in the same way.

use std::{
    fs,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use super::program::{chapter_11, programs, run};

/// Runs of twenty steps print the same report.
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

/// The weights that so many threads have trained in twenty steps, byte after byte. What
/// comes after training is not waited for.
fn trained(chapter: &str, threads: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("weights");
    let mut command = Command::new(programs().join(chapter));
    command.args(["--steps", "20", "--threads", threads, "--save"]).arg(&file);
    command.arg("--out").arg(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the chapter can be started");
    // The file gets its name when all of it is there.
    while !file.exists() {
        let ended = child.try_wait().expect("the chapter was started");
        assert!(ended.is_none() || file.exists(), "it ended without its weights");
        sleep(Duration::from_millis(5));
    }
    child.kill().expect("the chapter can be killed");
    child.wait().expect("the chapter was started");
    fs::read(&file).expect("the weights")
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

/// What is trained, and what is computed with the networks of the default run, which is
/// compared with that of as many threads as the machine has.
#[test]
fn ch11_flow_matching() {
    let chapter = "ch11_flow_matching";
    assert!(trained(chapter, "1") == trained(chapter, "2"), "other weights");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().to_string_lossy();
    let output = run(chapter, &["--threads", "1", "--out", &out]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), chapter_11().report);
}

#[test]
fn ch12_masks() {
    same_on_one_thread_and_on_two("ch12_masks");
}
