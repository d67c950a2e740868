//! The pictures of README.md, in `book/pictures`: figures of the book on white, for a page
//! that has no theme.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use anyhow::{Context as _, Result, anyhow};
use regex::{Captures, Regex};

use crate::ladder::{self, Ladder};
use crate::layout::Layout;
use crate::markdown::pattern;
use crate::problem::Problems;
use crate::programs::{Cache, Programs};
use crate::snapshot::Snapshots;

const LADDER: &str = "book/pictures/ladder.svg";
const SAMPLES: &str = "book/pictures/samples.svg";
/// The chapter whose samples README.md shows.
const CHAPTER: &str = "ch05_vdm";

/// White space around a picture.
const MARGIN: f64 = 12.0;

static SIZE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r#"\b(width|height|viewBox)="([0-9. ]+)""#));

/// Draws the pictures anew, running the chapter if it was not run before.
///
/// # Errors
/// Where the ladder cannot be drawn, the chapter fails or a file cannot be written.
pub fn write(layout: &Layout, programs: &dyn Programs, cache: &Cache) -> Result<()> {
    let ladder = drawn_ladder(&layout.root)
        .map_err(|(line, message)| anyhow!("{}:{line}: {message}", ladder::FILE))?;
    let compiled = programs
        .compile(&BTreeSet::from([CHAPTER.to_owned()]))
        .map_err(|message| anyhow!(message))?;
    let program = compiled
        .get(CHAPTER)
        .with_context(|| format!("there is no chapter program {CHAPTER}"))?;
    let run =
        cache.run(&layout.root, CHAPTER, program).map_err(|message| anyhow!(message))?;
    let samples = fs::read_to_string(run.join("samples.svg"))
        .with_context(|| format!("{CHAPTER} wrote no samples.svg"))?;
    for (file, svg) in [(LADDER, ladder), (SAMPLES, on_white(&samples))] {
        let path = layout.root.join(file);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, svg).with_context(|| format!("{file} cannot be written"))?;
        println!("{file}");
    }
    Ok(())
}

/// Reports a ladder of README.md that does not show the numbers of the reports. (Samples
/// may differ from machine to machine.)
pub fn check(root: &Path, problems: &mut Problems) {
    // A ladder that cannot be read is a fault of its own.
    if let (true, Ok(fresh)) = (root.join(ladder::FILE).is_file(), drawn_ladder(root))
        && fs::read_to_string(root.join(LADDER)).ok().as_ref() != Some(&fresh)
    {
        problems.add(LADDER, 1, "the picture is older than the reports; draw it with cargo run -p book -- pictures");
    }
}

/// The ladder as README.md shows it.
///
/// # Errors
/// The line of the plan and a sentence, where it cannot be drawn.
pub fn drawn_ladder(root: &Path) -> Result<String, (usize, String)> {
    let plan = fs::read_to_string(root.join(ladder::FILE))
        .map_err(|error| (1, format!("the ladder cannot be read ({error})")))?;
    Ok(on_white(&Ladder::read(&plan, &Snapshots::of(root))?.svg()))
}

/// `svg` with its colours as they are, on white, with a margin.
fn on_white(svg: &str) -> String {
    let Some(end) = svg.find('>') else {
        return svg.to_owned();
    };
    let (open, rest) = svg.split_at(end + 1);
    let wider = SIZE.replace_all(open, |found: &Captures<'_>| {
        let numbers: Vec<f64> =
            found[2].split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let numbers = match numbers[..] {
            [length] => vec![length + 2.0 * MARGIN],
            [x, y, width, height] => {
                vec![x - MARGIN, y - MARGIN, width + 2.0 * MARGIN, height + 2.0 * MARGIN]
            }
            _ => numbers,
        };
        let numbers: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        format!("{}=\"{}\"", &found[1], numbers.join(" "))
    });
    format!(
        "{wider}\n<rect x=\"-{MARGIN}\" y=\"-{MARGIN}\" width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>{rest}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_gets_a_white_ground_and_a_margin() {
        assert_eq!(
            on_white("<svg width=\"480\" height=\"10\" viewBox=\"0 0 480 10\"><g/></svg>"),
            "<svg width=\"504\" height=\"34\" viewBox=\"-12 -12 504 34\">\n<rect x=\"-12\" y=\"-12\" width=\"100%\" height=\"100%\" fill=\"#ffffff\"/><g/></svg>"
        );
    }
}
