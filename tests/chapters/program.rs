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
    /// Its figures, and its weights as `weights.safetensors`.
    pub folder: PathBuf,
}

impl Finished {
    /// Runs the chapter for some steps on two threads, with the folder for figures and
    /// weights kept between runs of the tests.
    fn run(chapter: &str, steps: &str) -> Self {
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{chapter}_{steps}_steps"));
        // What an earlier run of the tests left would be in the way; there may be nothing.
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).expect("a folder");
        let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
        let weights = path("weights.safetensors");
        let arguments =
            ["--steps", steps, "--threads", "2", "--out", &path(""), "--save", &weights];
        let output = run(chapter, &arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self {
            report: String::from_utf8(output.stdout).expect("a report is UTF-8"),
            folder,
        }
    }

    /// The weights it saved.
    pub fn weights(&self) -> PathBuf {
        self.folder.join("weights.safetensors")
    }
}

/// The number of steps of [`chapter_3`].
pub const STEPS_3: &str = "80";

/// A short run of chapter 3 that nothing disturbs, done once for all tests that look at it.
pub fn chapter_3() -> &'static Finished {
    static RUN: OnceLock<Finished> = OnceLock::new();
    RUN.get_or_init(|| Finished::run("ch03_vae", STEPS_3))
}

/// The number of steps of [`chapter_5`].
pub const STEPS_5: &str = "120";

/// A short run of chapter 5 that nothing disturbs, done once for all tests that look at it.
pub fn chapter_5() -> &'static Finished {
    static RUN: OnceLock<Finished> = OnceLock::new();
    RUN.get_or_init(|| Finished::run("ch05_vdm", STEPS_5))
}
