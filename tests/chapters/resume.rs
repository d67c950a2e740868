//! Interrupted runs go on to the report of the run that was not interrupted.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::program::{programs, run};

const CHAPTER: &str = "ch05_vdm";
const STEPS: &str = "120";

fn start(arguments: &[&str]) -> Child {
    let mut command = Command::new(programs().join(CHAPTER));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the chapter can be started")
}

/// The report of a run that nothing disturbs.
fn undisturbed(folder: &Path) -> String {
    let out = folder.join("undisturbed").to_string_lossy().into_owned();
    let output = run(CHAPTER, &["--steps", STEPS, "--out", &out]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The arguments that go on with the run in `out`, or begin it where it has no checkpoint yet.
fn arguments(out: &str) -> Vec<&str> {
    let begun = fs::read_dir(Path::new(out).join("checkpoints"))
        .is_ok_and(|files| files.flatten().any(|file| file.path().extension().is_some_and(|e| e == "checkpoint")));
    [["--steps", STEPS, if begun { "--resume" } else { "--out" }].as_slice(), &[out]].concat()
}

#[test]
fn a_run_that_is_killed_twenty_times_ends_with_the_same_report() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let expected = undisturbed(folder.path());
    let out = folder.path().join("killed").to_string_lossy().into_owned();
    let mut rng = ChaCha8Rng::seed_from_u64(20);
    for _ in 0..20 {
        let mut child = start(&arguments(&out));
        sleep(Duration::from_millis(rng.random_range(50..1200)));
        // SIGKILL: nothing in the program can prepare for it. It may also have ended by itself.
        child.kill().expect("the chapter can be killed");
        let output = child.wait_with_output().expect("the chapter was started");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("error"), "{stderr}");
    }
    let output = run(CHAPTER, &arguments(&out));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    assert!(!Path::new(&out).join("checkpoints").exists(), "a finished run leaves no checkpoints");
}

#[cfg(unix)]
#[test]
fn control_c_writes_a_checkpoint_and_says_how_to_go_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let expected = undisturbed(folder.path());
    let out = folder.path().join("interrupted").to_string_lossy().into_owned();
    let child = start(&arguments(&out));
    // It is training as soon as there is a checkpoint.
    while arguments(&out)[2] != "--resume" {
        sleep(Duration::from_millis(20));
    }
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(interrupted.success());
    let output = child.wait_with_output().expect("the chapter was started");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    let last = stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: interrupted in step") && last.contains("--resume"), "{stderr}");

    let output = run(CHAPTER, &arguments(&out));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

/// Chapter 3 draws what it observed during training, so a run that goes on must remember it.
#[cfg(unix)]
#[test]
fn figures_of_the_training_survive_an_interruption() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let run_in = |flag: &str, out: &str| {
        let output = run("ch03_vae", &["--steps", "800", flag, out]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let figure = |name: &str| fs::read(Path::new(out).join(name)).expect("a figure");
        (output.stdout, [figure("terms_16_latents.svg"), figure("terms_2_latents.svg")])
    };
    let expected = run_in("--out", &path("undisturbed"));

    let out = path("interrupted");
    let mut command = Command::new(programs().join("ch03_vae"));
    command.args(["--steps", "800", "--out", &out]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the chapter can be started");
    // The second model is in training, and both have observed something.
    let observed = |file: fs::DirEntry| {
        let name = file.file_name().to_string_lossy().into_owned();
        let step = name.strip_prefix("2_latents-").and_then(|name| name.strip_suffix(".checkpoint"));
        step.and_then(|step| step.parse::<usize>().ok()).is_some_and(|step| step >= 40)
    };
    while !fs::read_dir(Path::new(&out).join("checkpoints")).is_ok_and(|files| files.flatten().any(observed)) {
        assert!(child.try_wait().expect("the chapter was started").is_none(), "the chapter ended too early");
        sleep(Duration::from_millis(5));
    }
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(interrupted.success());
    assert_eq!(child.wait().expect("the chapter was started").code(), Some(130));
    assert!(expected == run_in("--resume", &out), "the report or a figure has changed");
}

#[test]
fn what_is_no_interrupted_run_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let refused = |arguments: &[&str], word: &str| {
        let output = run(CHAPTER, arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let last = stderr.lines().last().unwrap_or_default();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(last.starts_with("error: ") && last.contains(word), "`{word}` is not in {stderr}");
    };
    refused(&["--resume", &path("empty")], "there is no checkpoint");

    let mut child = start(&arguments(&path("run")));
    while arguments(&path("run"))[2] != "--resume" {
        sleep(Duration::from_millis(20));
    }
    child.kill().expect("the chapter can be killed");
    child.wait().expect("the chapter was started");
    refused(&["--resume", &path("run"), "--steps", STEPS, "--seed", "7"], "another run");

    for file in fs::read_dir(Path::new(&path("run")).join("checkpoints")).expect("checkpoints").flatten() {
        if file.path().extension().is_some_and(|e| e == "checkpoint") {
            let contents = fs::read(file.path()).expect("a checkpoint");
            fs::write(file.path(), &contents[..contents.len() / 2]).expect("a checkpoint");
        }
    }
    refused(&["--resume", &path("run"), "--steps", STEPS], "without --resume");
}
