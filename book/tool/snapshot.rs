//! The chapters' reports, as tests/snapshots keeps them: sections of text, rows of numbers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::LazyLock;

use regex::Regex;

use crate::markdown::pattern;

/// One section of a report.
#[derive(Debug)]
pub struct Section {
    /// The heading, without its `##`.
    pub heading: String,
    /// The line of the file that holds the heading, from 1.
    pub line: usize,
    /// The line of the file that holds the first of `lines`.
    pub first: usize,
    /// The lines below the heading, without the blank ones at both ends.
    pub lines: Vec<String>,
}

/// Reads reports, each once.
pub struct Snapshots {
    folder: PathBuf,
    read: RefCell<BTreeMap<String, Rc<Vec<Section>>>>,
}

/// Which form of a number the page wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Number,
    WithTolerance,
    WithUnit,
}

static CELL: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"^(?P<number>[+-−]?\d[\d,_]*(?:\.\d+)?(?:[eE][+-]?\d+)?)(?:\s*±\s*(?P<tolerance>\d[\d,_]*(?:\.\d+)?(?:[eE][+-]?\d+)?))?(?:\s*(?P<unit>[^\s\d].*))?$",
    )
});
static GAP: LazyLock<Regex> = LazyLock::new(|| pattern(r"\s{2,}"));

impl Snapshots {
    /// Reports in `folder`, named `chapter.snap`.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, read: RefCell::default() }
    }

    /// The reports of the repository at `root`.
    pub fn of(root: &Path) -> Self {
        Self::new(root.join("tests/snapshots"))
    }

    /// What prints the report, as one would type it; `None` where a test wrote it down.
    ///
    /// `ch05_vdm_full` is what `ch05_vdm` prints of the weights that its full preset learned.
    pub fn command(&self, report: &str) -> Option<String> {
        let chapters = self.folder.ancestors().nth(2)?.join("chapters");
        let is_program = |name: &str| chapters.join(format!("{name}.rs")).is_file();
        if is_program(report) {
            return Some(format!("cargo run --example {report}"));
        }
        let program = report.strip_suffix("_full").filter(|name| is_program(name))?;
        Some(format!("cargo run --example {program} -- --preset full --load tests/weights/{report}.safetensors"))
    }

    fn sections(&self, chapter: &str) -> Result<Rc<Vec<Section>>, String> {
        if let Some(sections) = self.read.borrow().get(chapter) {
            return Ok(Rc::clone(sections));
        }
        let path = self.folder.join(format!("{chapter}.snap"));
        let plain_name = !chapter.is_empty() && chapter.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let text = plain_name.then(|| fs::read_to_string(&path).ok()).flatten().ok_or_else(|| {
            format!("there is no report tests/snapshots/{chapter}.snap; name a chapter program whose snapshot exists")
        })?;
        let sections = Rc::new(parse(&text));
        self.read.borrow_mut().insert(chapter.to_owned(), Rc::clone(&sections));
        Ok(sections)
    }

    /// The section `heading` of a chapter's report, passed to `use_it`.
    ///
    /// # Errors
    /// Where the report or the section is missing.
    pub fn section<T>(&self, chapter: &str, heading: &str, use_it: impl FnOnce(&Section) -> T) -> Result<T, String> {
        let sections = self.sections(chapter)?;
        let mut named = sections.iter().filter(|section| section.heading == heading);
        match (named.next(), named.next()) {
            (Some(section), None) => Ok(use_it(section)),
            (Some(_), Some(_)) => Err(format!(
                "the report of {chapter} has two sections \"{heading}\"; give its sections different headings"
            )),
            (None, _) => {
                let headings: Vec<_> = sections.iter().map(|section| format!("\"{}\"", section.heading)).collect();
                Err(format!(
                    "the report of {chapter} has no section \"{heading}\"; it has {}",
                    if headings.is_empty() { "no sections at all".to_owned() } else { headings.join(", ") }
                ))
            }
        }
    }

    /// The number that `chapter:section:row[:column][|form]` names, and the words that say where it comes from.
    ///
    /// # Errors
    /// Where the address leads to no number, or to more than one.
    pub fn value(&self, address: &str) -> Result<(String, String), String> {
        let (path, form) = match address.rsplit_once('|') {
            None => (address, Form::Number),
            Some((path, "pm")) => (path, Form::WithTolerance),
            Some((path, "unit")) => (path, Form::WithUnit),
            Some((_, other)) => {
                return Err(format!("a value has no form \"{other}\"; use |pm (with tolerance) or |unit (with unit)"));
            }
        };
        let parts: Vec<&str> = path.split(':').map(str::trim).collect();
        let (chapter, heading, row, column) = match parts[..] {
            [chapter, heading, row] => (chapter, heading, row, None),
            [chapter, heading, row, column] => (chapter, heading, row, Some(column)),
            _ => {
                return Err("a value is named chapter:section:row or chapter:section:row:column".to_owned());
            }
        };
        let cell = self.section(chapter, heading, |section| section.cell(row, column))??;
        let found = CELL
            .captures(&cell)
            .ok_or_else(|| format!("\"{cell}\" in row \"{row}\" is no number; name another row or column"))?;
        let mut value = found["number"].to_owned();
        if let Form::WithTolerance | Form::WithUnit = form {
            match (found.name("tolerance"), form) {
                (Some(tolerance), _) => value = format!("{value} ± {}", tolerance.as_str()),
                (None, Form::WithTolerance) => {
                    return Err(format!("row \"{row}\" prints no ± tolerance; leave |pm out"));
                }
                (None, _) => {}
            }
        }
        if form == Form::WithUnit {
            let unit = found.name("unit").ok_or_else(|| format!("row \"{row}\" prints no unit; leave |unit out"))?;
            value = format!("{value} {}", unit.as_str());
        }
        let from = self.command(chapter).unwrap_or_else(|| format!("tests/snapshots/{chapter}.snap"));
        Ok((value, format!("{from}, section {heading}, row {row}")))
    }
}

impl Section {
    /// The text of a cell: the only one of its row, or the one below the header `column`.
    fn cell(&self, row: &str, column: Option<&str>) -> Result<String, String> {
        let cells = |line: &str| -> Vec<String> { GAP.split(line.trim()).map(str::to_owned).collect() };
        let label = |cells: &[String]| cells.first().map(|first| first.trim_end_matches(':').to_owned());
        let rows: Vec<(usize, Vec<String>)> = self
            .lines
            .iter()
            .enumerate()
            .map(|(index, line)| (index, cells(line)))
            .filter(|(_, cells)| cells.len() > 1 && label(cells).as_deref() == Some(row))
            .collect();
        let (index, cells_of_row) = match &rows[..] {
            [only] => only,
            [] => {
                let known: Vec<_> = self
                    .lines
                    .iter()
                    .map(|line| cells(line))
                    .filter(|cells| cells.len() > 1)
                    .filter_map(|cells| label(&cells))
                    .map(|label| format!("\"{label}\""))
                    .collect();
                return Err(format!(
                    "section \"{}\" has no row \"{row}\"; it has {}",
                    self.heading,
                    if known.is_empty() { "no rows".to_owned() } else { known.join(", ") }
                ));
            }
            _ => {
                return Err(format!(
                    "section \"{}\" has {} rows \"{row}\"; give the rows different names in the report",
                    self.heading,
                    rows.len()
                ));
            }
        };
        let Some(column) = column else {
            return match &cells_of_row[..] {
                [_, only] => Ok(only.clone()),
                _ => Err(format!("row \"{row}\" has several cells; name the column as well: section:{row}:column")),
            };
        };
        let header = self.lines[..*index]
            .iter()
            .rev()
            .take_while(|line| !line.trim().is_empty())
            .map(|line| cells(line))
            .find(|header| header.iter().any(|name| name == column))
            .ok_or_else(|| format!("no header line above row \"{row}\" has a column \"{column}\""))?;
        let position = header.iter().position(|name| name == column).unwrap_or_default();
        // The row labels may or may not have a header of their own.
        let shift = match cells_of_row.len().checked_sub(header.len()) {
            Some(shift @ (0 | 1)) => shift,
            _ => {
                return Err(format!(
                    "row \"{row}\" has {} cells, but its header has {}; print every cell of the table",
                    cells_of_row.len(),
                    header.len()
                ));
            }
        };
        Ok(cells_of_row[position + shift].clone())
    }
}

/// The sections of a snapshot file; insta's header (between two lines `---`) is no part of them.
fn parse(text: &str) -> Vec<Section> {
    let mut lines = text.lines().enumerate().peekable();
    if lines.peek().is_some_and(|(_, line)| *line == "---") {
        lines.next();
        for (_, line) in lines.by_ref() {
            if line == "---" {
                break;
            }
        }
    }
    let mut sections: Vec<Section> = Vec::new();
    for (index, line) in lines {
        if let Some(heading) = line.strip_prefix("## ") {
            sections.push(Section {
                heading: heading.trim().to_owned(),
                line: index + 1,
                first: index + 2,
                lines: Vec::new(),
            });
        } else if let Some(section) = sections.last_mut() {
            section.lines.push(line.trim_end().to_owned());
        }
    }
    for section in &mut sections {
        while section.lines.last().is_some_and(String::is_empty) {
            section.lines.pop();
        }
        let blank = section.lines.iter().take_while(|line| line.is_empty()).count();
        section.lines.drain(..blank);
        section.first += blank;
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "---\nsource: tests/chapters.rs\nexpression: report\n---\n# Chapter\n\n## The bound\n\n\
        test bound            2.098 ± 0.020 bits/dim\nsteps                 3000\nrate                  -1.5e-3\n\
        twice                 1\ntwice                 2\nname                  linear\n\n\
        schedule    mean     s.e.\nlinear      2.10     0.01 nats\ncosine      2.20\n\n\
             a     b\nrow  0.1   0.2\n\n## Empty\n\n## Again\n\na  1\n\n## Again\n\na  2\n";

    fn snapshots() -> (tempfile::TempDir, Snapshots) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("ch05_vdm.snap"), REPORT).expect("a file");
        let snapshots = Snapshots::new(folder.path().to_owned());
        (folder, snapshots)
    }

    #[test]
    fn only_a_report_of_a_program_has_a_command() {
        let root = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(root.path().join("chapters")).expect("a folder");
        fs::write(root.path().join("chapters/ch05_vdm.rs"), "fn main() {}").expect("a file");
        let snapshots = Snapshots::of(root.path());
        assert_eq!(snapshots.command("ch05_vdm").as_deref(), Some("cargo run --example ch05_vdm"));
        let full = "cargo run --example ch05_vdm -- --preset full --load tests/weights/ch05_vdm_full.safetensors";
        assert_eq!(snapshots.command("ch05_vdm_full").as_deref(), Some(full));
        assert_eq!(snapshots.command("weights_ch05"), None);
        assert_eq!(snapshots.command("weights_full"), None);
    }

    #[test]
    fn a_section_has_no_header_of_insta() {
        let (_folder, snapshots) = snapshots();
        let (line, first) = snapshots
            .section("ch05_vdm", "The bound", |section| (section.line, section.lines[0].clone()))
            .expect("the section exists");
        assert_eq!(line, 7);
        assert_eq!(first, "test bound            2.098 ± 0.020 bits/dim");
        let error = snapshots.section("ch05_vdm", "The bond", |_| ()).expect_err("misspelled");
        assert!(error.contains("\"The bound\""), "{error}");
        assert!(snapshots.section("../ch05_vdm", "The bound", |_| ()).is_err());
    }

    #[test]
    fn a_value_comes_as_number_with_tolerance_or_with_unit() {
        let (_folder, snapshots) = snapshots();
        let value = |address: &str| snapshots.value(address).map(|(value, _)| value);
        assert_eq!(value("ch05_vdm:The bound:test bound").as_deref(), Ok("2.098"));
        assert_eq!(value("ch05_vdm:The bound:test bound|pm").as_deref(), Ok("2.098 ± 0.020"));
        assert_eq!(value("ch05_vdm:The bound:test bound|unit").as_deref(), Ok("2.098 ± 0.020 bits/dim"));
        assert_eq!(value("ch05_vdm:The bound:steps").as_deref(), Ok("3000"));
        assert_eq!(value("ch05_vdm:The bound:rate").as_deref(), Ok("-1.5e-3"));
        assert_eq!(value("ch05_vdm:The bound:linear:mean").as_deref(), Ok("2.10"));
        assert_eq!(value("ch05_vdm:The bound:linear:s.e.").as_deref(), Ok("0.01"));
        assert_eq!(value("ch05_vdm:The bound:row:b").as_deref(), Ok("0.2"));
    }

    #[test]
    fn a_wrong_address_is_refused() {
        let (_folder, snapshots) = snapshots();
        for (address, says) in [
            ("ch09:The bound:test bound", "no report"),
            ("ch05_vdm:The bond:test bound", "no section"),
            ("ch05_vdm:The bound:tets bound", "no row"),
            ("ch05_vdm:Again:a", "two sections"),
            ("ch05_vdm:The bound:twice", "2 rows"),
            ("ch05_vdm:The bound:name", "no number"),
            ("ch05_vdm:The bound:linear", "several cells"),
            ("ch05_vdm:The bound:linear:median", "no header line"),
            ("ch05_vdm:The bound:cosine:mean", "2 cells"),
            ("ch05_vdm:The bound:steps|pm", "no ± tolerance"),
            ("ch05_vdm:The bound:steps|unit", "no unit"),
            ("ch05_vdm:The bound:steps|bold", "no form"),
            ("ch05_vdm", "chapter:section:row"),
        ] {
            let error = snapshots.value(address).expect_err(address);
            assert!(error.contains(says), "{address}: {error}");
        }
    }
}
