//! The labs: models that run in the page.
//!
//! `{{#lab name}}` is the place of a lab, and `{{#run chapter}}` of the button that runs a
//! chapter's program. [`build`] compiles `book/lab` to WebAssembly and puts it beside the
//! pages. What a lab needs is loaded when the reader asks for it.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use wasm_bindgen_cli_support::Bindgen;

use crate::layout::Layout;
use crate::order;
use crate::slots::escape;

/// What the labs are compiled for.
const TARGET: &str = "wasm32-unknown-unknown";
/// The profile of every build, and that of the published site, which is smaller and takes
/// half an hour.
const PROFILES: [&str; 2] = ["lab", "published"];
/// The most bytes, in gzip, that the published code of the labs may take on its way to the
/// reader.
const LARGEST: usize = 900_000;

/// The trained weights that labs load, and with which names those begin that they need;
/// all, where no name is given.
const WEIGHTS: [(&str, &[&str]); 6] = [
    ("ch03_plane", &[]),
    ("ch03_vae", &[]),
    ("ch04_hvae", &[]),
    ("ch05_vdm", &[]),
    ("ch11_flow_matching", &["plane.nearest.", "plane.of_exact."]),
    ("ch12_masks", &["masked."]),
];

/// The digits, which are embedded in the programs and given to a page.
const DIGITS: &str = "src/data/digits.csv.gz";

/// Each lab with what it is about.
const LABS: [(&str, &str); 15] = [
    (
        "ch01-monte-carlo",
        "Draw from the prior yourself: choose how many dimensions and how many draws.",
    ),
    (
        "ch02-gap",
        "Drag the mean and the width of q, and watch the ELBO and the KL divergence share out log p(x).",
    ),
    (
        "ch03-latents",
        "A test digit and its sixteen latents: move one of them, and see what the decoder makes of it.",
    ),
    (
        "ch04-levels",
        "Hold the upper levels of latents and draw the lower ones anew: what do the upper ones decide?",
    ),
    (
        "ch05-digit",
        "One digit and a slider for t: what is left of it, what the trained network makes of that, and what the error costs.",
    ),
    ("ch05-training", "Train this chapter's network from nothing, in your browser."),
    (
        "ch06-schedule",
        "Bend gamma(t) between its ends: the loss in continuous time stays, the variance of its estimate and the loss with T latents do not.",
    ),
    (
        "ch07-readings",
        "One estimate of a trained network, read as x, as the noise, as the score and as v.",
    ),
    (
        "ch03-plane",
        "Draw a digit: where does the encoder put it on a plane of two latents, and what does the decoder make of it? With three weights of the KL.",
    ),
    (
        "ch07-walks",
        "Start anywhere on the score field of three blobs, and walk: along the flow, by ancestral sampling, or with Langevin's steps.",
    ),
    (
        "ch08-flow",
        "Choose a solver and a number of calls, and see how far it ends from the exact flow.",
    ),
    (
        "ch09-guidance",
        "Turn up the guidance: what it draws, beside the tilted distribution that it is often said to draw from.",
    ),
    (
        "ch10-stack",
        "Code a message move by move: each pop shortens the stack of bits, and each push lengthens it.",
    ),
    (
        "ch11-paths",
        "Pair noise and data at random, nearest to each other, or by a flow: how straight is what is learned, and what do few steps make of it?",
    ),
    (
        "ch12-unmask",
        "Unmask a digit, in one step or in sixty-four: how many pixels are drawn at once, and what do they cost together?",
    ),
];

/// The labs of a site.
#[derive(Debug)]
pub struct Labs {
    /// The folder with their code, below the site's.
    folder: String,
    /// Where that folder is made.
    made: TempDir,
}

impl Labs {
    /// Copies what the pages load into the site.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn copy(&self, site: &Path) -> Result<()> {
        let to = site.join(&self.folder);
        fs::create_dir_all(&to)?;
        for entry in fs::read_dir(self.made.path().join(&self.folder))? {
            let entry = entry?;
            fs::copy(entry.path(), to.join(entry.file_name()))
                .with_context(|| format!("{} cannot be written", to.display()))?;
        }
        Ok(())
    }
}

/// Whether the target is installed for the compiler that this tool would call.
fn target_is_installed(root: &Path) -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .current_dir(root)
        .args(["--print", "target-libdir", "--target", TARGET])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    output.is_ok_and(|output| {
        output.status.success()
            && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir()
    })
}

/// Compiles the labs and says how large they are. `None`, and a sentence how to install it, where the target is missing.
///
/// # Errors
/// Where the labs do not compile or their files cannot be written.
pub fn build(layout: &Layout, published: bool) -> Result<Option<Labs>> {
    if !target_is_installed(&layout.root) {
        eprintln!(
            "the labs are left out: `rustup target add {TARGET}` installs what they need"
        );
        return Ok(None);
    }
    let module = compile(&layout.root, PROFILES[usize::from(published)])?;
    let bytes = fs::read(&module)
        .with_context(|| format!("{} cannot be read", module.display()))?;
    let scripts = scripts(layout)?;
    // What changes has another name, so that no browser mixes two versions.
    let mut digest = Sha256::new();
    digest.update(&bytes);
    scripts.iter().for_each(|(_, contents)| digest.update(contents));
    let version: String =
        digest.finalize()[..6].iter().map(|b| format!("{b:02x}")).collect();
    let name = format!("labs/{version}/");
    let place = tempfile::tempdir()?;
    let folder = place.path().join(&name);
    fs::create_dir_all(&folder)?;
    Bindgen::new()
        .input_path(&module)
        .web(true)?
        .typescript(false)
        .remove_producers_section(true)
        .generate(&folder)
        .context("the JavaScript around the labs cannot be written")?;
    let code = folder.join("book_lab_bg.wasm");
    fs::write(&code, order::by_name(&fs::read(&code)?)?)?;
    for (name, contents) in &scripts {
        fs::write(folder.join(name), contents)?;
    }
    let code = |name: &OsString| name.to_string_lossy().ends_with(".js");
    let names = scripts.iter().map(|(name, _)| name).filter(|name| code(name));
    let made: [OsString; 2] = ["book_lab_bg.wasm".into(), "book_lab.js".into()];
    let parts = names.chain(&made).map(|name| fs::read(folder.join(name)));
    let size = Size::of(&parts.collect::<Result<Vec<_>, _>>()?)?;
    println!(
        "the labs' code takes {} kB, {} kB in gzip",
        size.plain / 1000,
        size.sent / 1000
    );
    if published {
        size.allowed()?;
    }
    Ok(Some(Labs { folder: name, made: place }))
}

/// How large code is that a reader loads.
struct Size {
    plain: usize,
    /// In gzip.
    sent: usize,
}

impl Size {
    fn of(parts: &[Vec<u8>]) -> Result<Self> {
        let (mut plain, mut sent) = (0, 0);
        for part in parts {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
            gzip.write_all(part)?;
            plain += part.len();
            sent += gzip.finish()?.len();
        }
        Ok(Self { plain, sent })
    }

    /// Fails with a sentence where it is more than a reader should wait for.
    fn allowed(&self) -> Result<()> {
        ensure!(
            self.sent <= LARGEST,
            "the labs' code takes {} kB in gzip, more than {} kB; make it smaller: CONTRIBUTING.md says what it is made of",
            self.sent.div_ceil(1000),
            LARGEST / 1000
        );
        Ok(())
    }
}

/// The scripts, the weights and the digits that lie beside the module.
fn scripts(layout: &Layout) -> Result<Vec<(OsString, Vec<u8>)>> {
    let theme = layout.book.join("theme/labs");
    let mut files: Vec<PathBuf> = fs::read_dir(&theme)
        .with_context(|| format!("{} cannot be read", layout.name(&theme)))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    for (program, _) in WEIGHTS {
        let weights = format!("chapters/weights/{program}.safetensors");
        files.push(layout.root.join(weights));
    }
    files.sort();
    let read = |file: PathBuf| {
        let contents = fs::read(&file)
            .with_context(|| format!("{} cannot be read", layout.name(&file)))?;
        let name = file.file_name().unwrap_or_default().to_owned();
        let parts =
            WEIGHTS.iter().find(|(program, _)| file.file_stem() == Some(program.as_ref()));
        match parts {
            Some((_, parts)) if !parts.is_empty() => {
                let part = part_of(&contents, parts)
                    .with_context(|| format!("{} is damaged", layout.name(&file)))?;
                Ok((name, part))
            }
            _ => Ok((name, contents)),
        }
    };
    let digits = layout.root.join(DIGITS);
    let contents = fs::read(&digits)
        .with_context(|| format!("{} cannot be read", layout.name(&digits)))?;
    // Under a name that no server takes for a file to unpack on the way.
    let digits = ("digits.bin".into(), contents);
    files.into_iter().map(read).chain([Ok(digits)]).collect()
}

/// The tensors of a safetensors file whose names begin with one of these, as such a file.
/// The format: the length of a header in JSON, the header, and the numbers behind it.
fn part_of(contents: &[u8], parts: &[&str]) -> Option<Vec<u8>> {
    let length = u64::from_le_bytes(contents.get(..8)?.try_into().ok()?) as usize;
    let header = serde_json::from_slice(contents.get(8..8 + length)?).ok()?;
    let serde_json::Value::Object(header) = header else { return None };
    let (mut kept, mut numbers) = (serde_json::Map::new(), Vec::new());
    for (name, mut tensor) in header {
        if name == "__metadata__" {
            kept.insert(name, tensor);
        } else if parts.iter().any(|part| name.starts_with(part)) {
            let place =
                |i: usize| Some(8 + length + tensor["data_offsets"][i].as_u64()? as usize);
            let start = numbers.len();
            numbers.extend(contents.get(place(0)?..place(1)?)?);
            tensor["data_offsets"] = serde_json::json!([start, numbers.len()]);
            kept.insert(name, tensor);
        }
    }
    let mut header = serde_json::to_vec(&kept).ok()?;
    header.resize(header.len().next_multiple_of(8), b' ');
    let length = (header.len() as u64).to_le_bytes();
    Some([&length[..], &header, &numbers].concat())
}

/// The compiled module.
fn compile(root: &Path, profile: &str) -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root)
        .args(["build", "-p", "book-lab", "--target", TARGET, "--profile", profile])
        .arg("--message-format=json-render-diagnostics")
        // Every browser of the last years has these vector instructions.
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS", "-Ctarget-feature=+simd128")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cargo cannot be started; run this tool through cargo run -p book")?;
    if !output.status.success() {
        bail!("the labs do not compile; the compiler says above what to mend");
    }
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else {
            continue;
        };
        let files = message["filenames"].as_array().into_iter().flatten();
        let module =
            files.filter_map(|file| file.as_str()).find(|file| file.ends_with(".wasm"));
        if let (Some("book_lab"), Some(file)) = (message["target"]["name"].as_str(), module)
        {
            return Ok(file.into());
        }
    }
    bail!("cargo does not say where the module of the labs is")
}

/// The place of the lab `name` on a page; nothing where there are no labs.
///
/// # Errors
/// A sentence, where there is no such lab.
pub fn lab(labs: Option<&Labs>, name: &str) -> Result<String, String> {
    let Some((_, about)) = LABS.iter().find(|(lab, _)| *lab == name) else {
        let names: Vec<&str> = LABS.iter().map(|(name, _)| *name).collect();
        return Err(format!("there is no lab {name}; there are {}", names.join(", ")));
    };
    Ok(place(labs, name, "Try it", about, "Start the lab"))
}

/// The place of the button that runs the program of a chapter.
pub fn run(labs: Option<&Labs>, chapter: &str) -> String {
    let about = "The program of this chapter, the same code, in your browser. At its own settings its numbers are compared with those of the book.";
    place(labs, &format!("run-{chapter}"), "Run this chapter", about, "Load the program")
}

fn place(labs: Option<&Labs>, name: &str, title: &str, about: &str, start: &str) -> String {
    let Some(Labs { folder, .. }) = labs else {
        return String::new();
    };
    let (title, about) = (escape(title), escape(about));
    format!(
        "<section class=\"lab\" data-lab=\"{name}\" data-folder=\"{folder}\" aria-label=\"{title}: {name}\">\
         <p><strong>{title}.</strong> {about}</p>\
         <p class=\"lab-says\" aria-hidden=\"true\"></p>\
         <p class=\"lab-spoken\" role=\"status\"></p>\
         <button type=\"button\" hidden>{start}</button>\
         <noscript><p>This needs scripts; the text is complete without it.</p></noscript></section>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_has_a_place_where_there_are_labs_and_none_where_there_are_not() {
        let made = tempfile::tempdir().expect("a temporary folder");
        let name = "labs/0123/".to_owned();
        fs::create_dir_all(made.path().join(&name)).expect("a folder");
        fs::write(made.path().join(&name).join("worker.js"), "1").expect("a file");
        let labs = Labs { folder: name, made };
        let place = lab(Some(&labs), "ch02-gap").expect("a place");
        for part in
            ["data-lab=\"ch02-gap\"", "data-folder=\"labs/0123/\"", "role=\"status\""]
        {
            assert!(place.contains(part), "{place}");
        }
        assert!(run(Some(&labs), "ch05_vdm").contains("data-lab=\"run-ch05_vdm\""));
        assert_eq!(lab(None, "ch02-gap"), Ok(String::new()));
        assert_eq!(run(None, "ch05_vdm"), "");
        for labs in [None, Some(&labs)] {
            let error = lab(labs, "ch02-gape").expect_err("there is none");
            assert!(
                error.contains("there is no lab ch02-gape; there are ch01-"),
                "{error}"
            );
        }
        let site = tempfile::tempdir().expect("a temporary folder");
        labs.copy(site.path()).expect("a site that can be written");
        assert!(site.path().join("labs/0123/worker.js").is_file());
    }

    #[test]
    fn a_part_of_the_weights_is_such_a_file_with_the_tensors_that_were_asked_for() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../chapters/weights");
        let whole = fs::read(root.join("ch12_masks.safetensors")).expect("weights");
        let part = part_of(&whole, &["masked."]).expect("a part");
        assert!(part.len() < whole.len() && part.len() > 100_000, "{}", part.len());
        let read = |file: &[u8]| {
            let length = u64::from_le_bytes(file[..8].try_into().expect("eight")) as usize;
            let header: serde_json::Value =
                serde_json::from_slice(&file[8..8 + length]).expect("a header");
            (header, file[8 + length..].to_vec())
        };
        let ((old, all), (new, some)) = (read(&whole), read(&part));
        let names = new.as_object().expect("tensors");
        assert_eq!(new["__metadata__"], old["__metadata__"]);
        assert!(
            names.keys().all(|name| name == "__metadata__" || name.starts_with("masked."))
        );
        assert!(names.len() > 5);
        for (name, tensor) in names.iter().filter(|(name, _)| *name != "__metadata__") {
            let place = |tensor: &serde_json::Value| {
                [0, 1]
                    .map(|i| tensor["data_offsets"][i].as_u64().expect("a place") as usize)
            };
            let ([a, b], [c, d]) = (place(tensor), place(&old[name]));
            assert_eq!(some[a..b], all[c..d], "{name}");
        }
        for damaged in [&whole[..5], &whole[..100], b"not at all a file of weights"] {
            assert!(part_of(damaged, &["masked."]).is_none());
        }
    }

    #[test]
    fn more_code_than_a_reader_should_wait_for_is_refused() {
        let noise = |length: usize| {
            let mut x = 1_u32;
            let mut byte = || {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (x >> 24) as u8
            };
            (0..length).map(|_| byte()).collect::<Vec<u8>>()
        };
        let fine = Size::of(&[noise(LARGEST - 10_000), vec![0; 1_000_000]]).expect("sizes");
        assert!(fine.plain > LARGEST && fine.allowed().is_ok(), "{}", fine.sent);
        let large = Size::of(&[noise(LARGEST / 2), noise(LARGEST / 2)]).expect("sizes");
        let error = large.allowed().expect_err("it is too large").to_string();
        assert!(error.contains("takes 901 kB in gzip, more than 900 kB"), "{error}");
    }

    /// Each lab of the pages is known to the page's scripts and to book/lab.
    #[test]
    fn every_lab_has_its_widget_and_its_functions() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let read = |file: &str| fs::read_to_string(root.join(file)).expect("a source");
        let (widgets, labs) = (read("theme/labs/widgets.js"), read("lab/src/labs/mod.rs"));
        let operated = read("lab/operated.json");
        for (name, _) in LABS {
            let quoted = format!("\"{name}\"");
            for source in [&widgets, &labs, &operated] {
                assert!(source.contains(&quoted), "{name} is missing");
            }
        }
    }
}
