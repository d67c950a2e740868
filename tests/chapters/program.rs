//! Runs the chapter programs.

use std::{
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

/// The folder of the chapter programs, built once. `cargo test --test chapters` alone does not build examples.
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
        let profile = test.parent().and_then(Path::parent).expect("tests live in target/<profile>/deps");
        profile.join("examples")
    })
}

/// Runs one chapter with these arguments.
pub fn run(chapter: &str, arguments: &[&str]) -> Output {
    Command::new(programs().join(chapter)).args(arguments).output().expect("the chapter can be started")
}
