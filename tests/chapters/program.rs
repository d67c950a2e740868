//! Runs the chapter programs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

/// The features this test was built with; the programs get the same.
fn features() -> String {
    let all = [
        ("ndarray", cfg!(feature = "ndarray")),
        ("wgpu", cfg!(feature = "wgpu")),
        ("vulkan", cfg!(feature = "vulkan")),
        ("cuda", cfg!(feature = "cuda")),
        ("remote", cfg!(feature = "remote")),
    ];
    all.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect::<Vec<_>>().join(",")
}

/// The folder of the chapter programs, built once. `cargo test --test chapters` alone does
/// not build examples.
pub fn programs() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--examples", "--features", &features()])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo can be started");
        assert!(built.success(), "the chapters do not compile");
        let test = std::env::current_exe().expect("the test knows its own path");
        let profile = test
            .parent()
            .and_then(Path::parent)
            .expect("tests live in target/<profile>/deps");
        profile.join("examples")
    })
}

/// Runs one chapter with these arguments.
pub fn run(chapter: &str, arguments: &[&str]) -> Output {
    Command::new(programs().join(chapter))
        .args(arguments)
        .output()
        .expect("the chapter can be started")
}

/// What a run left behind.
pub struct Finished {
    /// What it printed.
    pub report: String,
    /// Its figures, and its weights as `weights.safetensors`, if it was to save them.
    pub folder: PathBuf,
}

impl Finished {
    /// Runs the chapter with these arguments, to the end, with a folder of this name for
    /// figures and weights that is kept between runs of the tests.
    pub fn run(name: &str, chapter: &str, arguments: &[&str]) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // What an earlier run of the tests left would be in the way; there may be nothing.
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).expect("a folder");
        let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let (out, weights) = (path(""), path(WEIGHTS));
        let place = |argument: &&str| match *argument {
            WEIGHTS => weights.clone(),
            other => other.to_string(),
        };
        let arguments: Vec<String> = arguments.iter().map(place).collect();
        let mut all: Vec<&str> = arguments.iter().map(String::as_str).collect();
        all.extend(["--out", &out]);
        let output = run(chapter, &all);
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{chapter} {all:?} failed:\n{complaints}");
        let report = String::from_utf8(output.stdout).expect("a report is UTF-8");
        Self { report, folder }
    }

    /// The weights it saved.
    pub fn weights(&self) -> PathBuf {
        self.folder.join(WEIGHTS)
    }
}

/// Stands for a file of this name in the folder of a run.
pub const WEIGHTS: &str = "weights.safetensors";

/// The number of steps of [`chapter_3`].
pub const STEPS_3: &str = "80";

/// A short run of chapter 3 that nothing disturbs.
pub fn chapter_3() -> &'static Finished {
    static RUN: OnceLock<Finished> = OnceLock::new();
    let short = ["--steps", STEPS_3, "--threads", "2"];
    RUN.get_or_init(|| Finished::run("ch03_short", "ch03_vae", &short))
}

/// The run of chapter 5 that a reader does, done once for all tests that look at it.
pub fn chapter_5() -> &'static Finished {
    static RUN: OnceLock<Finished> = OnceLock::new();
    RUN.get_or_init(|| Finished::run("ch05_vdm", "ch05_vdm", &["--save", WEIGHTS]))
}

/// The same of chapter 11.
pub fn chapter_11() -> &'static Finished {
    static RUN: OnceLock<Finished> = OnceLock::new();
    RUN.get_or_init(|| Finished::run("ch11_flow_matching", "ch11_flow_matching", &[]))
}
