//! Checkpoints: files from which an interrupted run goes on as if nothing had happened.
//!
//! A file holds named parts and, at its end, their SHA-256. It is written beside its place
//! and then renamed, so a run that is killed at any moment leaves whole checkpoints only.
//! The newest two of each stage are kept: should the newest be damaged all the same, the
//! one before it is used.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{
    error::{Error, Result},
    files::{is_unfinished, write_atomically},
};

const MAGIC: &[u8] = b"elbo-to-diffusion checkpoint 1\n";
const KEPT: usize = 2;

/// The checkpoints of one run in one folder.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    /// What makes the run what it is, a line each; a checkpoint of another run is refused.
    run: String,
}

impl Checkpoints {
    /// The checkpoints in `folder` of the run that `run` describes: program, data, seed, a
    /// line each.
    pub fn new(folder: PathBuf, run: String) -> Self {
        Self { folder, run }
    }

    /// Writes the state of a stage with these settings after `step` steps, and removes all
    /// but the newest two checkpoints of the stage. Fails with a sentence; the checkpoints
    /// that were there before are still there then.
    pub fn write(
        &self,
        stage: &str,
        settings: &str,
        step: usize,
        parts: &[&[u8]],
    ) -> Result<()> {
        fs::create_dir_all(&self.folder).map_err(|e| {
            Error::failure(format!(
                "cannot create {}: {e}; name another folder with --out",
                self.folder.display()
            ))
        })?;
        let mut contents = MAGIC.to_vec();
        let run = format!("{}{settings}", self.run);
        for part in [run.as_bytes(), stage.as_bytes()].iter().chain(parts) {
            contents.extend((part.len() as u64).to_le_bytes());
            contents.extend(*part);
        }
        contents.extend(Sha256::digest(&contents));
        write_atomically(
            &self.folder.join(format!("{stage}-{step:08}.checkpoint")),
            &contents,
        )?;
        let files = self.files(stage)?;
        for old in files.iter().rev().skip(KEPT) {
            // One checkpoint too many does no harm; it is removed after the next one.
            drop(fs::remove_file(old));
        }
        Ok(())
    }

    /// The parts of the newest checkpoint of the stage that is whole, or `None` if the
    /// stage has none.
    ///
    /// Tells `say` of a damaged one that is passed over. Fails with a sentence if all of
    /// them are damaged, or if one belongs to another run or to other settings.
    pub fn latest(
        &self,
        stage: &str,
        settings: &str,
        say: impl Fn(&str),
    ) -> Result<Option<Vec<Vec<u8>>>> {
        let files = self.files(stage)?;
        let mut damaged = None;
        for file in files.iter().rev() {
            match self.read(stage, settings, file) {
                Ok(parts) => return Ok(Some(parts)),
                Err(Unusable::Foreign(error)) => return Err(error),
                Err(Unusable::Damaged(why)) => {
                    say(&format!(
                        "{} is {why}; using the checkpoint before it",
                        file.display()
                    ));
                    damaged = Some((file, why));
                }
            }
        }
        match damaged {
            None => Ok(None),
            Some((file, why)) => Err(Error::failure(format!(
                "{} is {why} and there is no checkpoint before it; remove {} and start the run anew without --resume",
                file.display(),
                self.folder.display()
            ))),
        }
    }

    /// True if the folder holds any checkpoint.
    pub fn exist(&self) -> bool {
        self.files("").is_ok_and(|files| !files.is_empty())
    }

    /// Removes all checkpoints, after the run has ended.
    pub fn clear(&self) -> Result<()> {
        for file in self.files("")? {
            fs::remove_file(&file).map_err(|e| {
                Error::failure(format!(
                    "cannot remove {}: {e}; remove it by hand",
                    file.display()
                ))
            })?;
        }
        // What a run that was killed left behind is of no use to anybody, and if it cannot
        // be removed, of no harm either.
        let unfinished = |path: &PathBuf| {
            path.file_name().is_some_and(|name| is_unfinished(&name.to_string_lossy()))
        };
        for file in fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
        {
            if unfinished(&file) {
                drop(fs::remove_file(file));
            }
        }
        // The folder may hold files that are not ours; then it stays.
        drop(fs::remove_dir(&self.folder));
        Ok(())
    }

    /// The checkpoint files of a stage, oldest first; of all stages for the empty name.
    fn files(&self, stage: &str) -> Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => {
                let folder = self.folder.display();
                return Err(Error::failure(format!(
                    "cannot read the checkpoints in {folder}: {e}; check the folder"
                )));
            }
        };
        let ours = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let step =
                name.strip_suffix(".checkpoint").and_then(|name| name.rsplit_once('-'));
            step.is_some_and(|(of, step)| {
                (stage.is_empty() || of == stage) && step.parse::<usize>().is_ok()
            })
        };
        let mut files: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(ours).collect();
        files.sort();
        Ok(files)
    }

    fn read(
        &self,
        stage: &str,
        settings: &str,
        file: &Path,
    ) -> std::result::Result<Vec<Vec<u8>>, Unusable> {
        let contents =
            fs::read(file).map_err(|e| Unusable::Damaged(format!("unreadable ({e})")))?;
        if !contents.starts_with(&MAGIC[..MAGIC.len().min(contents.len())]) {
            let name = file.display();
            return Err(Unusable::Foreign(Error::failure(format!(
                "{name} is no checkpoint of this program; remove it"
            ))));
        }
        let truncated = || Unusable::Damaged("cut off or damaged".into());
        let body = contents
            .len()
            .checked_sub(32)
            .filter(|&n| n >= MAGIC.len())
            .ok_or_else(truncated)?;
        let (body, checksum) = contents.split_at(body);
        if Sha256::digest(body)[..] != *checksum {
            return Err(truncated());
        }
        let mut parts = Vec::new();
        let mut rest = &body[MAGIC.len()..];
        while !rest.is_empty() {
            let (length, after) = rest.split_at_checked(8).ok_or_else(truncated)?;
            let length =
                length.iter().rev().fold(0_usize, |n, &byte| (n << 8) | usize::from(byte));
            let (part, after) = after.split_at_checked(length).ok_or_else(truncated)?;
            parts.push(part.to_vec());
            rest = after;
        }
        if parts.len() < 2 || parts[1] != stage.as_bytes() {
            return Err(truncated());
        }
        let run = format!("{}{settings}", self.run);
        if parts[0] != run.as_bytes() {
            let (theirs, ours) = difference(&String::from_utf8_lossy(&parts[0]), &run);
            return Err(Unusable::Foreign(Error::failure(format!(
                "{} belongs to another run ({theirs}, not {ours}); repeat that run's flags and settings, or name another folder",
                file.display()
            ))));
        }
        Ok(parts.split_off(2))
    }
}

/// The first line in which two descriptions differ.
fn difference(theirs: &str, ours: &str) -> (String, String) {
    let line = |text: &str, i: usize| {
        text.lines().nth(i).unwrap_or("nothing").trim_matches([' ', ',']).to_string()
    };
    let lines = theirs.lines().count().max(ours.lines().count());
    let pairs = (0..lines).map(|i| (line(theirs, i), line(ours, i)));
    pairs.into_iter().find(|(theirs, ours)| theirs != ours).unwrap_or_default()
}

/// Why a checkpoint cannot be used.
enum Unusable {
    /// It is not whole: the one before it may be.
    Damaged(String),
    /// It is whole, but of something else: nothing in this folder can be trusted to belong
    /// to this run.
    Foreign(Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn latest(
        checkpoints: &Checkpoints,
        stage: &str,
        settings: &str,
    ) -> Result<Option<Vec<Vec<u8>>>> {
        checkpoints.latest(stage, settings, |line| assert!(line.contains("damaged")))
    }

    #[test]
    fn the_newest_checkpoint_is_read_and_two_are_kept() {
        let folder = folder();
        let checkpoints = Checkpoints::new(folder.path().join("c"), "run".into());
        assert_eq!(latest(&checkpoints, "a", "").unwrap(), None);
        for step in [5, 10, 100] {
            checkpoints.write("a", "", step, &[&[step as u8], b""]).unwrap();
        }
        checkpoints.write("b", "", 7, &[b"other"]).unwrap();
        assert_eq!(latest(&checkpoints, "a", "").unwrap(), Some(vec![vec![100], vec![]]));
        assert_eq!(latest(&checkpoints, "b", "").unwrap(), Some(vec![b"other".to_vec()]));
        assert_eq!(checkpoints.files("a").unwrap().len(), 2);
        checkpoints.clear().unwrap();
        assert!(!checkpoints.exist() && !folder.path().join("c").exists());
    }

    #[test]
    fn what_a_killed_run_left_half_written_is_cleared_away() {
        let folder = folder();
        let checkpoints = Checkpoints::new(folder.path().join("c"), "run".into());
        checkpoints.write("a", "", 1, &[b"state"]).unwrap();
        fs::write(folder.path().join("c/.a-00000002.checkpoint.4321.tmp"), "half a sta")
            .unwrap();
        assert_eq!(
            checkpoints.latest("a", "", |_| ()).unwrap(),
            Some(vec![b"state".to_vec()])
        );
        checkpoints.clear().unwrap();
        assert!(!folder.path().join("c").exists());
    }

    #[test]
    fn a_damaged_checkpoint_gives_way_to_the_one_before_it() {
        let folder = folder();
        let checkpoints = Checkpoints::new(folder.path().into(), "run".into());
        checkpoints.write("a", "", 1, &[b"old state"]).unwrap();
        checkpoints.write("a", "", 2, &[b"new state"]).unwrap();
        let newest = checkpoints.files("a").unwrap().pop().unwrap();
        let whole = fs::read(&newest).unwrap();
        for length in 0..whole.len() {
            fs::write(&newest, &whole[..length]).unwrap();
            assert_eq!(
                latest(&checkpoints, "a", "").unwrap(),
                Some(vec![b"old state".to_vec()]),
                "cut to {length}"
            );
        }
        for place in MAGIC.len()..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 0x10;
            fs::write(&newest, &changed).unwrap();
            assert_eq!(
                latest(&checkpoints, "a", "").unwrap(),
                Some(vec![b"old state".to_vec()]),
                "byte {place}"
            );
        }
    }

    #[test]
    fn without_a_whole_checkpoint_the_run_is_refused() {
        let folder = folder();
        let checkpoints = Checkpoints::new(folder.path().into(), "run".into());
        checkpoints.write("a", "", 1, &[b"state"]).unwrap();
        let file = checkpoints.files("a").unwrap().pop().unwrap();
        let whole = fs::read(&file).unwrap();
        fs::write(&file, &whole[..whole.len() - 1]).unwrap();
        let error = latest(&checkpoints, "a", "").unwrap_err().to_string();
        assert!(error.contains("cut off") && error.contains("without --resume"), "{error}");
    }

    #[test]
    fn checkpoints_of_another_run_or_program_are_refused() {
        let folder = folder();
        let run = |run: &str| Checkpoints::new(folder.path().into(), run.into());
        run("program\nseed 1\n").write("a", "batch: 64,\n}", 1, &[b"state"]).unwrap();
        for (other, settings, difference) in [
            ("program\nseed 2\n", "batch: 64,\n}", "another run (seed 1, not seed 2)"),
            (
                "program\nseed 1\n",
                "batch: 32,\n}",
                "another run (batch: 64, not batch: 32)",
            ),
            ("program\nseed 1\n", "", "another run (batch: 64, not nothing)"),
        ] {
            let error = latest(&run(other), "a", settings).unwrap_err().to_string();
            assert!(error.contains(difference), "{error}");
        }
        assert!(latest(&run("program\nseed 1\n"), "a", "batch: 64,\n}").unwrap().is_some());
        fs::write(
            folder.path().join("b-00000001.checkpoint"),
            "a text about something else entirely, long enough",
        )
        .unwrap();
        let error = latest(&run("seed 1"), "b", "").unwrap_err().to_string();
        assert!(error.contains("no checkpoint of this program"), "{error}");
    }

    #[test]
    fn stages_do_not_count_each_others_checkpoints() {
        let folder = folder();
        let checkpoints = Checkpoints::new(folder.path().into(), "run".into());
        for step in 1..=3 {
            for stage in ["a", "b"] {
                checkpoints.write(stage, "", step, &[&[step as u8]]).unwrap();
            }
        }
        let names = |stage| {
            let files = checkpoints.files(stage).unwrap();
            let name = |file: &PathBuf| {
                file.file_name().unwrap().to_string_lossy()[..1].to_owned()
            };
            files.iter().map(name).collect::<String>()
        };
        assert_eq!([names("a"), names("b"), names("")], ["aa", "bb", "aabb"]);
        fs::write(folder.path().join("a-notes.checkpoint"), "not ours").unwrap();
        assert_eq!(names("a"), "aa");
    }

    #[test]
    fn a_folder_that_cannot_be_read_is_no_folder_without_checkpoints() {
        let folder = folder();
        let path = folder.path().join("c");
        fs::write(&path, "a file").unwrap();
        let error = latest(&Checkpoints::new(path, "run".into()), "a", "").unwrap_err();
        assert!(error.to_string().contains("cannot read the checkpoints"), "{error}");
    }
}
