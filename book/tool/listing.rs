//! Code on a page: cut by anchor from a file that is compiled, never typed.

use std::fs;
use std::path::{Component, Path};
use std::sync::LazyLock;

use regex::Regex;

use crate::markdown::pattern;

/// How many characters of code or output fit their column on a desk, 1280 pixels wide, in a
/// solution as well. The sizes in theme/pages.css decide that; `cargo run -p book-browser
/// -- check` sees whether every line fits.
pub const COLUMNS: usize = 92;

/// The lines of a file between an anchor and its end.
#[derive(Debug, PartialEq, Eq)]
pub struct Listing {
    /// The code, dedented, without anchor comments.
    pub code: String,
    /// First and last line in the file, counted from 1.
    pub lines: (usize, usize),
    /// The lines that do not fit their column: where they stand in the file, and how long
    /// they are.
    pub long: Vec<Long>,
}

/// A line that does not fit its column: its number in the file, counted from 1, and its
/// characters.
pub type Long = (usize, usize);

/// `line`, where it does not fit its column.
pub fn long(number: usize, line: &str) -> Option<Long> {
    let columns = line.chars().count();
    (columns > COLUMNS).then_some((number, columns))
}

/// What is wrong with a listing or an output of `file` with lines that do not fit.
pub fn cut_off(file: &str, long: &[Long]) -> String {
    let places: Vec<String> =
        long.iter().map(|(line, columns)| format!("{file}:{line} ({columns})")).collect();
    format!(
        "more than the {COLUMNS} characters that fit the column stand in {}; break {}",
        places.join(", "),
        if long.len() == 1 { "that line" } else { "these lines" }
    )
}

static ANCHOR: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^\s*(?://|#|%|--)\s*ANCHOR(_END)?:\s*(\S+)\s*$"));

/// Cuts `file:anchor` out of the repository at `root`.
///
/// # Errors
/// Where the file or the anchor is missing, the anchor is not closed or doubled, or nothing
/// stands in it.
pub fn cut(root: &Path, address: &str) -> Result<(String, Listing), String> {
    let (file, anchor) = address.rsplit_once(':').ok_or(
        "a listing names a file and an anchor: {{#listing chapters/ch05_vdm.rs:forward}}",
    )?;
    let inside =
        Path::new(file).components().all(|part| matches!(part, Component::Normal(_)));
    if !inside {
        return Err(format!(
            "{file} is no path inside the repository; name the file from the repository's root"
        ));
    }
    let text = fs::read_to_string(root.join(file)).map_err(|error| {
        format!(
            "the file {file} cannot be read ({error}); name it from the repository's root"
        )
    })?;
    let listing = between(&text, anchor).map_err(|message| format!("{file}: {message}"))?;
    Ok((file.to_owned(), listing))
}

fn between(text: &str, anchor: &str) -> Result<Listing, String> {
    let mut begins = None;
    let mut ends = None;
    let mut kept: Vec<(usize, &str)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mark = ANCHOR
            .captures(line)
            .map(|found| (found.get(1).is_some(), found[2].to_owned()));
        match mark {
            Some((end, name)) if name == anchor => {
                let place = if end { &mut ends } else { &mut begins };
                if place.replace(index).is_some() {
                    return Err(format!(
                        "the anchor \"{anchor}\" stands there twice; rename one"
                    ));
                }
            }
            Some(_) => {}
            None if begins.is_some() && ends.is_none() => kept.push((index + 1, line)),
            None => {}
        }
    }
    let (begin, end) = match (begins, ends) {
        (Some(begin), Some(end)) if begin < end => (begin, end),
        (Some(_), _) => {
            return Err(format!(
                "the anchor \"{anchor}\" never ends; add // ANCHOR_END: {anchor} below it"
            ));
        }
        (None, _) => {
            return Err(format!(
                "there is no anchor \"{anchor}\"; put // ANCHOR: {anchor} and // ANCHOR_END: {anchor} around the lines"
            ));
        }
    };
    while kept.first().is_some_and(|(_, line)| line.trim().is_empty()) {
        kept.remove(0);
    }
    while kept.last().is_some_and(|(_, line)| line.trim().is_empty()) {
        kept.pop();
    }
    if kept.is_empty() {
        return Err(format!(
            "nothing stands between the anchors \"{anchor}\"; move them around the lines to show"
        ));
    }
    let indent = kept
        .iter()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(_, line)| line.len() - line.trim_start().len())
        .min()
        .unwrap_or(0);
    for (_, line) in &mut kept {
        *line = line.get(indent..).unwrap_or("").trim_end();
    }
    let long = kept.iter().filter_map(|&(number, line)| long(number, line)).collect();
    let code = kept.into_iter().map(|(_, line)| line).collect::<Vec<_>>().join("\n");
    Ok(Listing { code, lines: (begin + 2, end), long })
}

/// The name under which highlight.js knows the language of `file`.
pub fn language(file: &str) -> &'static str {
    match Path::new(file).extension().and_then(|extension| extension.to_str()) {
        Some("rs") => "rust",
        Some("toml") => "toml",
        Some("py") => "python",
        Some("sh") => "bash",
        _ => "text",
    }
}

/// A fence longer than any run of backticks in `code`.
pub fn fence(code: &str) -> String {
    let mut longest = 0;
    let mut run = 0;
    for c in code.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    "`".repeat(3.max(longest + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = "fn main() {\n    // ANCHOR: outer\n\n    let a = 1;\n    // ANCHOR: inner\n    if a > 0 {\n        run();\n    }\n    // ANCHOR_END: inner\n    // ANCHOR_END: outer\n    // ANCHOR: empty\n\n    // ANCHOR_END: empty\n    // ANCHOR: open\n}\n";

    #[test]
    fn a_listing_is_dedented_and_free_of_other_anchors() {
        let outer = between(PROGRAM, "outer").expect("the anchor exists");
        assert_eq!(outer.code, "let a = 1;\nif a > 0 {\n    run();\n}");
        assert_eq!(outer.lines, (3, 9));
        assert_eq!(between(PROGRAM, "inner").map(|listing| listing.lines), Ok((6, 8)));
    }

    #[test]
    fn a_line_that_does_not_fit_is_told_with_its_place() {
        let line = |length: usize| format!("    {}\n", "x".repeat(length));
        let text = format!(
            "// ANCHOR: a\n{}    // ANCHOR: b\n{}    // ANCHOR_END: b\n{}// ANCHOR_END: a\n",
            line(COLUMNS),
            line(COLUMNS + 1),
            line(COLUMNS + 20)
        );
        let listing = between(&text, "a").expect("the anchor exists");
        assert_eq!(listing.long, [(4, COLUMNS + 1), (6, COLUMNS + 20)]);
        let says = cut_off("src/a.rs", &listing.long);
        assert!(says.contains("src/a.rs:4 (93), src/a.rs:6 (112)"), "{says}");
        assert_eq!(long(1, &"é".repeat(COLUMNS)), None, "characters count, not bytes");
    }

    #[test]
    fn a_missing_empty_open_or_doubled_anchor_is_refused() {
        for (anchor, says) in
            [("none", "no anchor"), ("empty", "nothing stands"), ("open", "never ends")]
        {
            let error = between(PROGRAM, anchor).expect_err(anchor);
            assert!(error.contains(says), "{error}");
        }
        let doubled = format!("{PROGRAM}{PROGRAM}");
        assert!(between(&doubled, "outer").expect_err("doubled").contains("twice"));
    }

    #[test]
    fn a_file_outside_the_repository_is_refused() {
        for address in ["../a.rs:x", "/etc/passwd:x", "nowhere.rs:x", "nothing"] {
            assert!(cut(Path::new("."), address).is_err(), "{address}");
        }
    }

    #[test]
    fn a_fence_is_longer_than_the_backticks_inside() {
        assert_eq!(fence("a ```` b"), "`````");
        assert_eq!(fence("a"), "```");
    }
}
