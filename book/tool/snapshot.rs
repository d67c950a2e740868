//! The chapters' reports, as tests/snapshots keeps them: sections of text, rows of numbers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::LazyLock;

use regex::{Captures, Regex};

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
    /// `ch05_vdm_full` is what `ch05_vdm` prints with its full preset: of the weights that
    /// it learned, where the tests keep these.
    pub fn command(&self, report: &str) -> Option<String> {
        let chapters = self.folder.ancestors().nth(2)?.join("chapters");
        let is_program = |name: &str| chapters.join(format!("{name}.rs")).is_file();
        if is_program(report) {
            return Some(format!("cargo run --example {report}"));
        }
        let program = report.strip_suffix("_full").filter(|name| is_program(name))?;
        let run = format!("cargo run --example {program} -- --preset full");
        let weights = format!("weights/{report}.safetensors");
        match self.folder.with_file_name(&weights).is_file() {
            true => Some(format!("{run} --load tests/{weights}")),
            false => Some(run),
        }
    }

    fn sections(&self, chapter: &str) -> Result<Rc<Vec<Section>>, String> {
        if let Some(sections) = self.read.borrow().get(chapter) {
            return Ok(Rc::clone(sections));
        }
        let path = self.folder.join(format!("{chapter}.snap"));
        let plain_name = !chapter.is_empty()
            && chapter.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
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
    pub fn section<T>(
        &self,
        chapter: &str,
        heading: &str,
        use_it: impl FnOnce(&Section) -> T,
    ) -> Result<T, String> {
        let sections = self.sections(chapter)?;
        let mut named = sections.iter().filter(|section| section.heading == heading);
        match (named.next(), named.next()) {
            (Some(section), None) => Ok(use_it(section)),
            (Some(_), Some(_)) => Err(format!(
                "the report of {chapter} has two sections \"{heading}\"; give its sections different headings"
            )),
            (None, _) => {
                let headings: Vec<_> = sections
                    .iter()
                    .map(|section| format!("\"{}\"", section.heading))
                    .collect();
                Err(format!(
                    "the report of {chapter} has no section \"{heading}\"; it has {}",
                    if headings.is_empty() {
                        "no sections at all".to_owned()
                    } else {
                        headings.join(", ")
                    }
                ))
            }
        }
    }

    /// The number that `chapter:section:row[:column][|form]` names, and the words that say
    /// where it comes from.
    ///
    /// # Errors
    /// Where the address leads to no number, or to more than one.
    pub fn value(&self, address: &str) -> Result<(String, String), String> {
        let (path, form) = match address.rsplit_once('|') {
            None => (address, Form::Number),
            Some((path, "pm")) => (path, Form::WithTolerance),
            Some((path, "unit")) => (path, Form::WithUnit),
            Some((_, other)) => {
                return Err(format!(
                    "a value has no form \"{other}\"; use |pm (with tolerance) or |unit (with unit)"
                ));
            }
        };
        let Address { chapter, heading, row, column } = Address::read(path)?;
        let cell =
            self.section(chapter, heading, |section| section.cell(row, column))??;
        let found = printed(&cell, row)?;
        let mut value = found["number"].to_owned();
        if let Form::WithTolerance | Form::WithUnit = form {
            match (found.name("tolerance"), form) {
                (Some(tolerance), _) => value = format!("{value} ± {}", tolerance.as_str()),
                (None, Form::WithTolerance) => {
                    return Err(format!(
                        "row \"{row}\" prints no ± tolerance; leave |pm out"
                    ));
                }
                (None, _) => {}
            }
        }
        if form == Form::WithUnit {
            let unit = found
                .name("unit")
                .ok_or_else(|| format!("row \"{row}\" prints no unit; leave |unit out"))?;
            value = format!("{value} {}", unit.as_str());
        }
        let from = self
            .command(chapter)
            .unwrap_or_else(|| format!("tests/snapshots/{chapter}.snap"));
        Ok((value, format!("{from}, section {heading}, row {row}")))
    }

    /// The number that `chapter:section:row[:column]` names.
    ///
    /// # Errors
    /// Where the address leads to no number, or to more than one.
    pub fn number(&self, address: &str) -> Result<Number, String> {
        let Address { chapter, heading, row, column } = Address::read(address)?;
        let cell =
            self.section(chapter, heading, |section| section.cell(row, column))??;
        Number::read(row, column, &cell)
    }

    /// The numbers of several rows from the top down: `chapter:section:*[:column]` names
    /// those of all rows, `chapter:section:first..last[:column]` those of the rows between
    /// two, which belong to them.
    ///
    /// # Errors
    /// Where the address leads to less than two numbers, or not to the rows of one table.
    pub fn numbers(&self, address: &str) -> Result<Vec<Number>, String> {
        let Address { chapter, heading, row, column } = Address::read(address)?;
        let cells =
            self.section(chapter, heading, |section| section.cells(row, column))??;
        let numbers: Vec<Number> = cells
            .iter()
            .map(|(row, cell)| Number::read(row, column, cell))
            .collect::<Result<_, _>>()?;
        if numbers.len() < 2 {
            return Err(format!(
                "[{address}] names {} row; name at least two",
                numbers.len()
            ));
        }
        Ok(numbers)
    }
}

/// Where a number stands.
struct Address<'a> {
    chapter: &'a str,
    heading: &'a str,
    row: &'a str,
    column: Option<&'a str>,
}

impl<'a> Address<'a> {
    fn read(address: &'a str) -> Result<Self, String> {
        let parts: Vec<&str> = address.split(':').map(str::trim).collect();
        match parts[..] {
            [chapter, heading, row] => Ok(Self { chapter, heading, row, column: None }),
            [chapter, heading, row, column] => {
                Ok(Self { chapter, heading, row, column: Some(column) })
            }
            _ => Err("a value is named chapter:section:row or chapter:section:row:column"
                .to_owned()),
        }
    }
}

/// Whether an address in brackets names several rows.
pub fn names_several(address: &str) -> bool {
    Address::read(address)
        .is_ok_and(|address| address.row == "*" || address.row.contains(".."))
}

/// A number of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Number {
    /// The number.
    pub value: f64,
    /// How far it may differ from machine to machine; 0, where it may not.
    pub tolerance: f64,
    /// As the report prints it: `2.098 ± 0.020`.
    pub text: String,
    /// The names of its row and column: `linear, validation`.
    pub name: String,
}

impl Number {
    fn read(row: &str, column: Option<&str>, cell: &str) -> Result<Self, String> {
        let found = printed(cell, row)?;
        let plain =
            |text: &str| text.replace([',', '_'], "").replace('−', "-").parse::<f64>();
        let number = &found["number"];
        let tolerance = found.name("tolerance").map(|part| part.as_str());
        // The pattern lets nothing else through.
        let value = plain(number)
            .map_err(|error| format!("\"{number}\" cannot be read ({error})"))?;
        Ok(Self {
            value,
            tolerance: tolerance.and_then(|text| plain(text).ok()).unwrap_or(0.0),
            text: tolerance.map_or_else(
                || number.to_owned(),
                |tolerance| format!("{number} ± {tolerance}"),
            ),
            name: column
                .map_or_else(|| row.to_owned(), |column| format!("{row}, {column}")),
        })
    }
}

/// The number, tolerance and unit of a cell.
fn printed<'a>(cell: &'a str, row: &str) -> Result<Captures<'a>, String> {
    CELL.captures(cell).ok_or_else(|| {
        format!("\"{cell}\" in row \"{row}\" is no number; name another row or column")
    })
}

/// The cells of a line, two or more spaces apart.
fn split(line: &str) -> Vec<String> {
    GAP.split(line.trim()).map(str::to_owned).collect()
}

/// The name of the row that begins with this cell.
fn label(cells: &[String]) -> &str {
    cells.first().map_or("", |first| first.trim_end_matches(':'))
}

impl Section {
    /// The text of a cell: the only one of its row, or the one below the header `column`.
    fn cell(&self, row: &str, column: Option<&str>) -> Result<String, String> {
        self.cell_at(self.row(row)?, column)
    }

    /// The rows from `first..last`, or all of a table (`*`), each with its cell.
    fn cells(
        &self,
        rows: &str,
        column: Option<&str>,
    ) -> Result<Vec<(String, String)>, String> {
        let (first, last) = match rows.split_once("..") {
            Some((first, last)) => (self.row(first.trim())?, self.row(last.trim())?),
            None if rows == "*" => (0, self.lines.len().saturating_sub(1)),
            None => {
                return Err(format!(
                    "\"{rows}\" is one row; name several as * or first..last"
                ));
            }
        };
        if first > last {
            return Err(format!(
                "the rows {rows} stand in the other order; name the upper one first"
            ));
        }
        let mut header = None;
        let mut cells = Vec::new();
        for index in first..=last {
            let line = split(&self.lines[index]);
            // What is no row of the table: text, blank lines, headers, and other tables of
            // the section.
            let is_row = line.len() > 1
                && match column {
                    Some(column) => {
                        !line.iter().any(|name| name == column)
                            && self.header(index, column).is_some()
                    }
                    None => line.len() == 2,
                };
            if !is_row {
                continue;
            }
            if let Some(column) = column
                && let Some((at, _)) = self.header(index, column)
                && header.replace(at).is_some_and(|other| other != at)
            {
                return Err(format!(
                    "two tables of section \"{}\" have a column \"{column}\"; name the rows as first..last",
                    self.heading
                ));
            }
            cells.push((label(&line).to_owned(), self.cell_at(index, column)?));
        }
        if cells.is_empty() {
            let column = column.unwrap_or_default();
            return Err(format!(
                "section \"{}\" has no rows with a column \"{column}\"",
                self.heading
            ));
        }
        Ok(cells)
    }

    /// The index of the line that is this row.
    fn row(&self, row: &str) -> Result<usize, String> {
        let rows = self.lines.iter().enumerate().map(|(index, line)| (index, split(line)));
        let rows: Vec<(usize, Vec<String>)> =
            rows.filter(|(_, cells)| cells.len() > 1).collect();
        let named: Vec<usize> = rows
            .iter()
            .filter(|(_, cells)| label(cells) == row)
            .map(|(index, _)| *index)
            .collect();
        match named[..] {
            [only] => Ok(only),
            [] => {
                let known: Vec<_> =
                    rows.iter().map(|(_, cells)| format!("\"{}\"", label(cells))).collect();
                Err(format!(
                    "section \"{}\" has no row \"{row}\"; it has {}",
                    self.heading,
                    if known.is_empty() { "no rows".to_owned() } else { known.join(", ") }
                ))
            }
            _ => Err(format!(
                "section \"{}\" has {} rows \"{row}\"; give the rows different names in the report",
                self.heading,
                named.len()
            )),
        }
    }

    /// The line of the header that names `column` above the row at `index`, and its names.
    fn header(&self, index: usize, column: &str) -> Option<(usize, Vec<String>)> {
        let above = (0..index).rev().take_while(|&at| !self.lines[at].trim().is_empty());
        above
            .map(|at| (at, split(&self.lines[at])))
            .find(|(_, names)| names.iter().any(|name| name == column))
    }

    fn cell_at(&self, index: usize, column: Option<&str>) -> Result<String, String> {
        let cells = split(&self.lines[index]);
        let row = label(&cells);
        let Some(column) = column else {
            return match &cells[..] {
                [_, only] => Ok(only.clone()),
                _ => Err(format!(
                    "row \"{row}\" has several cells; name the column as well: section:{row}:column"
                )),
            };
        };
        let (_, header) = self.header(index, column).ok_or_else(|| {
            format!("no header line above row \"{row}\" has a column \"{column}\"")
        })?;
        let position = header.iter().position(|name| name == column).unwrap_or_default();
        // The row labels may or may not have a header of their own.
        let shift = match cells.len().checked_sub(header.len()) {
            Some(shift @ (0 | 1)) => shift,
            _ => {
                return Err(format!(
                    "row \"{row}\" has {} cells, but its header has {}; print every cell of the table",
                    cells.len(),
                    header.len()
                ));
            }
        };
        Ok(cells[position + shift].clone())
    }
}

/// The sections of a snapshot file; insta's header (between two lines `---`) is no part of
/// them.
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
        fs::write(root.path().join("chapters/ch05_vdm.rs"), "fn main() {}")
            .expect("a file");
        let snapshots = Snapshots::of(root.path());
        assert_eq!(
            snapshots.command("ch05_vdm").as_deref(),
            Some("cargo run --example ch05_vdm")
        );
        let full = "cargo run --example ch05_vdm -- --preset full";
        assert_eq!(snapshots.command("ch05_vdm_full").as_deref(), Some(full));
        let weights = root.path().join("tests/weights");
        fs::create_dir_all(&weights).expect("a folder");
        fs::write(weights.join("ch05_vdm_full.safetensors"), "").expect("a file");
        let full = "cargo run --example ch05_vdm -- --preset full --load tests/weights/ch05_vdm_full.safetensors";
        assert_eq!(snapshots.command("ch05_vdm_full").as_deref(), Some(full));
        assert_eq!(snapshots.command("weights_ch05"), None);
        assert_eq!(snapshots.command("weights_full"), None);
    }

    #[test]
    fn a_section_has_no_header_of_insta() {
        let (_folder, snapshots) = snapshots();
        let (line, first) = snapshots
            .section("ch05_vdm", "The bound", |section| {
                (section.line, section.lines[0].clone())
            })
            .expect("the section exists");
        assert_eq!(line, 7);
        assert_eq!(first, "test bound            2.098 ± 0.020 bits/dim");
        let error =
            snapshots.section("ch05_vdm", "The bond", |_| ()).expect_err("misspelled");
        assert!(error.contains("\"The bound\""), "{error}");
        assert!(snapshots.section("../ch05_vdm", "The bound", |_| ()).is_err());
    }

    #[test]
    fn a_value_comes_as_number_with_tolerance_or_with_unit() {
        let (_folder, snapshots) = snapshots();
        let value = |address: &str| snapshots.value(address).map(|(value, _)| value);
        assert_eq!(value("ch05_vdm:The bound:test bound").as_deref(), Ok("2.098"));
        assert_eq!(
            value("ch05_vdm:The bound:test bound|pm").as_deref(),
            Ok("2.098 ± 0.020")
        );
        assert_eq!(
            value("ch05_vdm:The bound:test bound|unit").as_deref(),
            Ok("2.098 ± 0.020 bits/dim")
        );
        assert_eq!(value("ch05_vdm:The bound:steps").as_deref(), Ok("3000"));
        assert_eq!(value("ch05_vdm:The bound:rate").as_deref(), Ok("-1.5e-3"));
        assert_eq!(value("ch05_vdm:The bound:linear:mean").as_deref(), Ok("2.10"));
        assert_eq!(value("ch05_vdm:The bound:linear:s.e.").as_deref(), Ok("0.01"));
        assert_eq!(value("ch05_vdm:The bound:row:b").as_deref(), Ok("0.2"));
    }

    #[test]
    fn a_number_comes_with_its_tolerance_and_name() {
        let (_folder, snapshots) = snapshots();
        let number = snapshots.number("ch05_vdm:The bound:test bound").expect("a number");
        assert_eq!((number.value, number.tolerance), (2.098, 0.02));
        assert_eq!(
            (number.text.as_str(), number.name.as_str()),
            ("2.098 ± 0.020", "test bound")
        );
        let number = snapshots.number("ch05_vdm:The bound:row:b").expect("a number");
        assert_eq!(
            (number.value, number.tolerance, number.name.as_str()),
            (0.2, 0.0, "row, b")
        );
        assert_eq!(
            snapshots.number("ch05_vdm:The bound:rate").map(|number| number.value),
            Ok(-1.5e-3)
        );
        let number = Number::read("a", None, "−12,345 ± 1_000 steps").expect("a number");
        assert_eq!((number.value, number.tolerance), (-12345.0, 1000.0));
    }

    #[test]
    fn the_rows_of_a_column_come_in_their_order() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let report = "## Steps\n\nWords about it  all\n\nsteps  bound          gap\n10     2.30 ± 0.01    0.3\n50     2.20 ± 0.01    0.2\n200    2.10           0.1\n\n\
            none   bound\nx      1.0\n\n## List\n\na   1\n  b  2\nc   3\n";
        fs::write(folder.path().join("ch05_vdm.snap"), report).expect("a file");
        let snapshots = Snapshots::new(folder.path().to_owned());
        let values = |address: &str| -> Result<Vec<f64>, String> {
            Ok(snapshots.numbers(address)?.iter().map(|number| number.value).collect())
        };
        assert_eq!(values("ch05_vdm:Steps:*:gap"), Ok(vec![0.3, 0.2, 0.1]));
        assert_eq!(values("ch05_vdm:Steps:10..50:bound"), Ok(vec![2.3, 2.2]));
        assert_eq!(values("ch05_vdm:List:*"), Ok(vec![1.0, 2.0, 3.0]));
        assert_eq!(values("ch05_vdm:List:b..c"), Ok(vec![2.0, 3.0]));
        for (address, says) in [
            ("ch05_vdm:Steps:*:bound", "two tables"),
            ("ch05_vdm:Steps:10..x:bound", "two tables"),
            ("ch05_vdm:Steps:*:lost", "no rows with a column \"lost\""),
            ("ch05_vdm:Steps:10..60:bound", "no row \"60\""),
            ("ch05_vdm:Steps:200..10:bound", "the other order"),
            ("ch05_vdm:Steps:10..10:bound", "at least two"),
            ("ch05_vdm:Steps:10:bound", "is one row"),
        ] {
            let error = values(address).expect_err(address);
            assert!(error.contains(says), "{address}: {error}");
        }
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
