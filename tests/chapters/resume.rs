//! Interrupted runs go on to the report of the run that was not interrupted, and nothing
//! but their own end removes them.
//!
//! The runs here have one thread. The undisturbed ones, with which they are compared, have
//! two, or as many as the machine.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::Duration,
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::program::{STEPS_3, chapter_3, chapter_5, programs, run};

const CHAPTER: &str = "ch05_vdm";
/// More steps than any test waits for.
const MANY: &str = "100000";

fn start(arguments: &[&str]) -> Child {
    let mut command = Command::new(programs().join(CHAPTER));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the chapter can be started")
}

/// The names of the checkpoints in the folder of a run.
fn checkpoints(out: &str) -> BTreeSet<String> {
    let Ok(files) = fs::read_dir(Path::new(out).join("checkpoints")) else {
        return BTreeSet::new();
    };
    let names = files.flatten().map(|file| file.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".checkpoint") && !name.starts_with('.')).collect()
}

/// Waits until `happened` is true, while the chapter runs.
fn wait_until(child: &mut Child, happened: impl Fn() -> bool) {
    while !happened() {
        assert!(
            child.try_wait().expect("the chapter was started").is_none(),
            "the chapter ended too early"
        );
        sleep(Duration::from_millis(5));
    }
}

/// A run that was killed after its first checkpoint, when it had done few of its many
/// steps.
fn killed(out: &str) {
    let mut child = start(&["--steps", MANY, "--out", out]);
    wait_until(&mut child, || !checkpoints(out).is_empty());
    child.kill().expect("the chapter can be killed");
    child.wait().expect("the chapter was started");
}

/// Sends what Ctrl-C sends, twice at once as `timeout` does, and waits for the end.
#[cfg(unix)]
fn interrupt(child: Child) -> Output {
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id, &id]).status().expect("kill");
    assert!(sent.success());
    child.wait_with_output().expect("the chapter was started")
}

/// The last line on stderr.
fn last_line(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_string()
}

/// The arguments that go on with the run in `out`, or begin it where it has no checkpoint
/// yet.
fn arguments(out: &str) -> [&str; 4] {
    let folder = if checkpoints(out).is_empty() { "--out" } else { "--resume" };
    ["--threads", "1", folder, out]
}

/// The same for a run of so many steps.
fn of_steps<'a>(steps: &'a str, out: &'a str) -> Vec<&'a str> {
    [&["--steps", steps][..], &arguments(out)].concat()
}

#[test]
fn a_run_that_is_killed_twenty_times_ends_with_the_same_report() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("killed").to_string_lossy().into_owned();
    let mut rng = ChaCha8Rng::seed_from_u64(20);
    for _ in 0..20 {
        let mut child = start(&arguments(&out));
        // Nearly always in its training, which takes seconds.
        sleep(Duration::from_millis(rng.random_range(50..600)));
        // SIGKILL: nothing in the program can prepare for it. It may also have ended by
        // itself.
        child.kill().expect("the chapter can be killed");
        let output = child.wait_with_output().expect("the chapter was started");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("error"), "{stderr}");
    }
    let output = run(CHAPTER, &arguments(&out));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), chapter_5().report);
    assert!(
        !Path::new(&out).join("checkpoints").exists(),
        "a finished run leaves no checkpoints"
    );
}

#[cfg(unix)]
#[test]
fn control_c_writes_a_checkpoint_and_says_how_to_go_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("interrupted").to_string_lossy().into_owned();
    // Twice, once from the beginning and once from there on.
    let mut before = 0;
    for _ in 0..2 {
        let mut child = start(&of_steps(MANY, &out));
        // It is training as soon as there is a new checkpoint.
        let seen = checkpoints(&out);
        wait_until(&mut child, || checkpoints(&out) != seen);
        let output = interrupt(child);
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        let last = last_line(&output);
        let step = last
            .strip_prefix("error: interrupted in step ")
            .and_then(|rest| rest.split(' ').next());
        let step: usize = step
            .and_then(|step| step.parse().ok())
            .expect("the step in which it was interrupted");
        assert!(last.contains(&format!("--resume {out}")), "{last}");
        assert!(
            checkpoints(&out).contains(&format!("training-{step:08}.checkpoint")),
            "{last}"
        );
        assert!(step > before, "{step} after {before}");
        before = step;
    }
}

#[cfg(unix)]
#[test]
fn control_c_ends_what_comes_after_training_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("evaluated").to_string_lossy().into_owned();
    let mut child = start(&["--steps", "1", "--out", &out]);
    let stderr = BufReader::new(child.stderr.take().expect("its stderr"));
    let mut said = stderr.lines().map(|line| line.expect("a line"));
    assert!(
        said.any(|line| line.starts_with("train steps per second")),
        "training has no end"
    );
    let output = interrupt(child);
    assert_eq!(output.status.code(), Some(130));
    assert!(
        !String::from_utf8_lossy(&output.stdout)
            .contains("## How much the estimators vary"),
        "it went on"
    );
    assert_eq!(checkpoints(&out).len(), 1, "the trained model is kept");
}

#[cfg(unix)]
#[test]
fn after_control_c_the_folder_with_the_checkpoints_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (first, second) = (path("first"), path("second"));
    killed(&first);
    let before = checkpoints(&first);
    let mut child = start(&["--steps", MANY, "--resume", &first, "--out", &second]);
    wait_until(&mut child, || checkpoints(&first) != before);
    let output = interrupt(child);
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let last = last_line(&output);
    assert!(
        last.contains(&format!("--resume {first}")) && !last.contains(&second),
        "{last}"
    );
    assert!(checkpoints(&second).is_empty());
}

/// Chapter 3 draws what it observed during training, so a run that goes on must remember
/// it.
#[cfg(unix)]
#[test]
fn figures_of_the_training_survive_an_interruption() {
    let figures = |folder: &Path| {
        let figure = |name: &str| fs::read(folder.join(name)).expect("a figure");
        [figure("terms_16_latents.svg"), figure("terms_2_latents.svg")]
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("interrupted").to_string_lossy().into_owned();
    let mut command = Command::new(programs().join("ch03_vae"));
    command.args(of_steps(STEPS_3, &out)).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the chapter can be started");
    // The second model was in training for a while, so both have observed something.
    let observed = |name: &String| {
        let step = name
            .strip_prefix("2_latents-")
            .and_then(|name| name.strip_suffix(".checkpoint"));
        step.and_then(|step| step.parse::<usize>().ok()).is_some_and(|step| step > 40)
    };
    wait_until(&mut child, || checkpoints(&out).iter().any(observed));
    assert_eq!(interrupt(child).status.code(), Some(130));
    let output = run("ch03_vae", &of_steps(STEPS_3, &out));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), chapter_3().report);
    assert!(
        figures(Path::new(&out)) == figures(&chapter_3().folder),
        "a figure has changed"
    );
}

#[test]
fn a_start_that_is_refused_leaves_an_interrupted_run_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (out, nowhere) = (path("run"), path("no/such/folder/weights"));
    killed(&out);
    let before = checkpoints(&out);
    let refused = |arguments: &[&str], code: i32, words: &[&str]| {
        let output = run(CHAPTER, arguments);
        let last = last_line(&output);
        assert_eq!(output.status.code(), Some(code), "{last}");
        assert!(words.iter().all(|word| last.contains(word)), "{last}");
        assert_eq!(checkpoints(&out), before);
    };
    // Without a word about it, nobody begins anew where a run could go on.
    let to_go_on = format!("--resume {out}");
    refused(
        &["--steps", MANY, "--out", &out],
        2,
        &["interrupted", &to_go_on, &format!("remove {out}/checkpoints"), "--out"],
    );
    refused(&["--out", &out, "--load", &path("weights")], 2, &["interrupted", &to_go_on]);
    refused(&["--steps", MANY, "--resume", &out, "--save", &nowhere], 1, &["cannot write"]);
    #[cfg(not(feature = "wgpu"))]
    for flag in ["--out", "--resume"] {
        refused(&["--steps", MANY, flag, &out, "--device", "wgpu"], 2, &["without wgpu"]);
    }
    refused(
        &["--resume", &out, "--data", "mnist", "--data-dir", &path("empty")],
        1,
        &["cannot read"],
    );
}

#[test]
fn what_is_no_interrupted_run_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let refused = |arguments: &[&str], word: &str| {
        let output = run(CHAPTER, arguments);
        let last = last_line(&output);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(
            last.starts_with("error: ") && last.contains(word),
            "`{word}` is not in {last}"
        );
    };
    let (empty, out) = (path("empty"), path("run"));
    refused(&["--resume", &empty], "there is no checkpoint");
    assert!(!Path::new(&empty).exists(), "a run that cannot begin makes no folder");

    killed(&out);
    refused(
        &["--resume", &out, "--steps", MANY, "--seed", "7"],
        "another run (seed: 0, not seed: 7)",
    );
    refused(
        &["--resume", &out, "--steps", "99"],
        "another run (steps: 100000, not steps: 99)",
    );
    for name in checkpoints(&out) {
        let file = Path::new(&out).join("checkpoints").join(name);
        let contents = fs::read(&file).expect("a checkpoint");
        fs::write(&file, &contents[..contents.len() / 2]).expect("a checkpoint");
    }
    refused(&["--resume", &out, "--steps", MANY], "without --resume");
}
