//! Figures on pages: numbered, run, described, inlined.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::markdown::{Fragment, Kind, scan};
use crate::numbers;
use crate::page::Page;
use crate::problem::Problems;
use crate::programs::{Cache, Programs};
use crate::snapshot::Snapshots;

/// A numbered figure.
#[derive(Debug)]
pub struct Figure {
    /// `5.2`
    pub number: String,
    /// The index of its page.
    pub page: usize,
    /// Its line on the page.
    pub line: usize,
}

/// Numbers the figures of all pages, by their paths.
pub fn number(pages: &[Page], problems: &mut Problems) -> BTreeMap<String, Figure> {
    let mut figures: BTreeMap<String, Figure> = BTreeMap::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, page) in pages.iter().enumerate() {
        for item in &page.scan.items {
            let Kind::Figure { path, .. } = &item.kind else {
                continue;
            };
            if let Some(first) = figures.get(path) {
                let place = format!("{}:{}", pages[first.page].file, first.line);
                problems.add(
                    &page.file,
                    item.line,
                    format!("the figure {path} already stands at {place}; refer to it with {{{{figref {path}}}}}"),
                );
                continue;
            }
            let count = counts.entry(page.prefix.as_str()).or_default();
            *count += 1;
            figures.insert(
                path.clone(),
                Figure { number: page.numbered(*count), page: index, line: item.line },
            );
        }
    }
    figures
}

/// Runs every chapter whose figures the pages show: the folder of each, or why there is
/// none.
pub fn run_chapters(
    root: &Path,
    pages: &[Page],
    figures: &BTreeMap<String, Figure>,
    programs: &dyn Programs,
    cache: &Cache,
    problems: &mut Problems,
) -> BTreeMap<String, PathBuf> {
    let mut wanted: BTreeMap<String, &Figure> = BTreeMap::new();
    for (path, figure) in figures {
        if let Some((chapter, _)) = path.split_once('/') {
            // A chapter that fails is reported once, at its first figure.
            let first = wanted.entry(chapter.to_owned()).or_insert(figure);
            if (figure.page, figure.line) < (first.page, first.line) {
                *first = figure;
            }
        }
    }
    let mut runs = BTreeMap::new();
    if wanted.is_empty() {
        return runs;
    }
    let known: BTreeSet<String> = wanted
        .keys()
        .filter(|chapter| root.join("chapters").join(format!("{chapter}.rs")).is_file())
        .cloned()
        .collect();
    let compiled =
        if known.is_empty() { Ok(BTreeMap::new()) } else { programs.compile(&known) };
    for (chapter, figure) in &wanted {
        let run = match &compiled {
            Err(message) => Err(message.clone()),
            Ok(programs) => match programs.get(chapter) {
                Some(program) => cache.run(root, chapter, program),
                None => Err(format!(
                    "the figure is to come from chapters/{chapter}.rs, which is no chapter program; name the chapter that writes it"
                )),
            },
        };
        match run {
            Ok(folder) => {
                runs.insert(chapter.clone(), folder);
            }
            Err(message) => problems.add(&pages[figure.page].file, figure.line, message),
        }
    }
    runs
}

/// What the chapter drew; nothing, where it could not be run, which is reported once, by
/// the run.
///
/// # Errors
/// Where the path names no figure, or the chapter wrote none of that name.
pub fn drawn(
    runs: &BTreeMap<String, PathBuf>,
    path: &str,
) -> Result<Option<String>, String> {
    let chapter_and_file = path.split_once('/').filter(|(_, file)| {
        file.ends_with(".svg")
            && file.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    });
    let (chapter, file) = chapter_and_file.ok_or_else(|| {
        format!("figure:{path} names no figure; write figure:chapter/name.svg")
    })?;
    let Some(folder) = runs.get(chapter) else {
        return Ok(None);
    };
    if let Ok(svg) = fs::read_to_string(folder.join(file)) {
        return Ok(Some(svg));
    }
    let mut names: Vec<String> = fs::read_dir(folder)
        .map(|entries| {
            entries.filter_map(|entry| {
                Some(entry.ok()?.file_name().to_string_lossy().into_owned())
            })
        })
        .map(|names| names.filter(|name| name.ends_with(".svg")).collect())
        .unwrap_or_default();
    names.sort();
    let wrote = if names.is_empty() { "no figures".to_owned() } else { names.join(", ") };
    Err(format!("the run of {chapter} wrote no {file}; it wrote {wrote}"))
}

/// Alt text of a figure on a page of `file`: plain words, in which only values are
/// replaced.
///
/// Returns the text, and how many values it holds.
///
/// # Errors
/// The line and a sentence, where it holds anything else, or says too little.
pub fn alt_text(
    alt: &Fragment,
    file: &str,
    snapshots: &Snapshots,
    problems: &mut Problems,
) -> Result<(String, usize), (usize, String)> {
    let scan = scan(alt, file, problems);
    numbers::lint(alt, &scan, file, problems);
    let mut text = String::new();
    let mut from = 0;
    let mut values = 0;
    for item in &scan.items {
        text.push_str(&alt.text[from..item.range.start]);
        from = item.range.end;
        match &item.kind {
            Kind::Directive { name, argument, .. } if name == "value" => {
                let value =
                    snapshots.value(argument).map_err(|message| (item.line, message))?;
                text.push_str(&value.0);
                values += 1;
            }
            Kind::Directive { name, argument, .. } if name == "given" => {
                text.push_str(argument)
            }
            _ => {
                let message = "alt text is read aloud: it holds words and {{value …}} alone; say the maths in words";
                return Err((item.line, message.to_owned()));
            }
        }
    }
    text.push_str(&alt.text[from..]);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() < 20 {
        let message = format!(
            "the alt text \"{text}\" is too short; say in a sentence what the figure shows"
        );
        return Err((alt.line, message));
    }
    Ok((text, values))
}
