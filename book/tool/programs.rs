//! Runs the chapters for their figures, and keeps what they wrote.
//!
//! A run is kept under the SHA-256 of the compiled program and its arguments. Whatever
//! changes what a chapter does changes that program, so an edited chapter (or an edited
//! library) is run again and nothing else is.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

/// A compiled chapter.
#[derive(Debug, Clone)]
pub struct Program {
    /// The file that decides whether a kept run is still right.
    pub file: PathBuf,
    /// The command that runs it, to which `--out FOLDER` is added.
    pub command: Vec<OsString>,
}

/// Compiles chapters.
pub trait Programs {
    /// The programs of the named chapters.
    ///
    /// # Errors
    /// A sentence, where one cannot be compiled.
    fn compile(
        &self,
        chapters: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Program>, String>;
}

/// Compiles chapters with the cargo that runs this tool.
pub struct Cargo {
    /// The repository.
    pub root: PathBuf,
}

impl Programs for Cargo {
    fn compile(
        &self,
        chapters: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Program>, String> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .current_dir(&self.root)
            .args(["build", "--message-format=json-render-diagnostics"]);
        for chapter in chapters {
            command.args(["--example", chapter]);
        }
        let output =
            command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().map_err(|error| {
                format!("cargo cannot be started ({error}); run this tool through cargo run -p book")
            })?;
        if !output.status.success() {
            return Err(
                "the chapters do not compile; the compiler says above what to mend"
                    .to_owned(),
            );
        }
        let mut programs = BTreeMap::new();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else {
                continue;
            };
            if let (Some(name), Some(file)) =
                (message["target"]["name"].as_str(), message["executable"].as_str())
            {
                let program = Program { file: file.into(), command: vec![file.into()] };
                programs.insert(name.to_owned(), program);
            }
        }
        Ok(programs)
    }
}

/// Where runs are kept.
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The cache of the repository at `root`: `book-cache` in cargo's target folder.
    pub fn of(root: &Path) -> Self {
        let target = env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |folder| root.join(folder));
        Self { folder: target.join("book-cache") }
    }

    /// A cache in `folder`.
    #[cfg(test)]
    pub fn in_folder(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The folder with everything that `chapter` writes, running `program` only if it never
    /// ran before.
    ///
    /// # Errors
    /// A sentence, with the end of what the program printed, where the run fails. A failed
    /// run is not kept.
    pub fn run(
        &self,
        root: &Path,
        chapter: &str,
        program: &Program,
    ) -> Result<PathBuf, String> {
        let bytes = fs::read(&program.file).map_err(|error| {
            format!("{} cannot be read ({error})", program.file.display())
        })?;
        let mut digest = Sha256::new();
        digest.update(&bytes);
        for argument in program.command.iter().skip(1) {
            digest.update(argument.as_encoded_bytes());
            digest.update([0]);
        }
        let mut name = format!("{chapter}-");
        for byte in digest.finalize().iter().take(16) {
            // Writing to a String cannot fail.
            let _ = write!(name, "{byte:02x}");
        }
        let kept = self.folder.join(name);
        if kept.is_dir() {
            return Ok(kept);
        }
        let io = |error: std::io::Error| {
            format!("the cache {} cannot be written ({error})", self.folder.display())
        };
        fs::create_dir_all(&self.folder).map_err(io)?;
        let fresh =
            tempfile::Builder::new().prefix("run-").tempdir_in(&self.folder).map_err(io)?;
        eprintln!("running {chapter} for its figures");
        let [command, arguments @ ..] = &program.command[..] else {
            return Err(format!("{chapter} has no command to run"));
        };
        let output = Command::new(command)
            .args(arguments)
            .arg("--out")
            .arg(fresh.path())
            .current_dir(root)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{chapter} cannot be started ({error})"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let lines: Vec<&str> = said.lines().collect();
            let tail = lines[lines.len().saturating_sub(15)..].join("\n    ");
            return Err(format!(
                "the run of {chapter} failed ({}); mend it until cargo run --example {chapter} succeeds. It printed:\n    {tail}",
                output.status
            ));
        }
        let finished = fresh.keep();
        match fs::rename(&finished, &kept) {
            Ok(()) => Ok(kept),
            // Another build finished the same run first.
            Err(_) if kept.is_dir() => {
                fs::remove_dir_all(&finished).map_err(io)?;
                Ok(kept)
            }
            Err(error) => Err(io(error)),
        }
    }
}

/// Programs that are shell scripts, for the tests of this tool.
#[cfg(test)]
pub struct Scripts(pub PathBuf);

#[cfg(test)]
impl Programs for Scripts {
    fn compile(
        &self,
        chapters: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Program>, String> {
        let scripts = chapters
            .iter()
            .map(|chapter| (chapter.clone(), self.0.join(format!("{chapter}.sh"))));
        let existing = scripts.filter(|(_, script)| script.exists());
        Ok(existing
            .map(|(chapter, file)| {
                let command = vec!["sh".into(), file.clone().into_os_string()];
                (chapter, Program { file, command })
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        folder: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().expect("a temporary folder") }
        }

        /// Runs a chapter whose program is `script`, with `$OUT` for the output folder and
        /// `$LOG` for a log.
        fn run(&self, script: &str) -> Result<PathBuf, String> {
            let file = self.folder.path().join("ch01.sh");
            let log = self.log();
            fs::write(&file, format!("OUT=$2\nLOG={}\n{script}", log.display()))
                .expect("a file");
            let programs = Scripts(self.folder.path().to_owned())
                .compile(&BTreeSet::from(["ch01".to_owned()]));
            let program = programs.expect("scripts need no compiler")["ch01"].clone();
            Cache::in_folder(self.folder.path().join("cache")).run(
                self.folder.path(),
                "ch01",
                &program,
            )
        }

        fn log(&self) -> PathBuf {
            self.folder.path().join("log")
        }

        fn runs(&self) -> usize {
            fs::read_to_string(self.log()).map_or(0, |text| text.lines().count())
        }
    }

    #[test]
    fn an_unedited_chapter_runs_once_and_an_edited_one_again() {
        let bench = Bench::new();
        let first =
            bench.run("echo ran >> $LOG; echo one > $OUT/a.svg").expect("the run succeeds");
        assert_eq!(fs::read_to_string(first.join("a.svg")).expect("the figure"), "one\n");
        assert_eq!(bench.run("echo ran >> $LOG; echo one > $OUT/a.svg"), Ok(first.clone()));
        assert_eq!(bench.runs(), 1);
        let second =
            bench.run("echo ran >> $LOG; echo two > $OUT/a.svg").expect("the run succeeds");
        assert_eq!(bench.runs(), 2);
        assert_eq!(fs::read_to_string(second.join("a.svg")).expect("the figure"), "two\n");
        assert_eq!(bench.run("echo ran >> $LOG; echo one > $OUT/a.svg"), Ok(first));
        assert_eq!(bench.runs(), 2);
    }

    #[test]
    fn a_failed_run_is_not_kept_and_shows_the_end_of_what_it_printed() {
        let bench = Bench::new();
        let script = "echo ran >> $LOG; echo half > $OUT/a.svg; test -e go && exit 0; echo no data >&2; exit 3";
        let error = bench.run(script).expect_err("the program fails");
        assert!(error.contains("no data") && error.contains("3"), "{error}");
        fs::write(bench.folder.path().join("go"), "").expect("a file");
        assert!(bench.run(script).is_ok(), "the same program is run again after a failure");
        assert_eq!(bench.runs(), 2);
        let left: Vec<_> =
            fs::read_dir(bench.folder.path().join("cache")).expect("the cache").collect();
        assert_eq!(left.len(), 1, "the failed run left nothing behind: {left:?}");
    }
}
