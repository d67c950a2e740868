//! What a page folds away until it is asked for, what it frames, and how long it takes to
//! read.

use crate::markdown::{Kind, Scan};
use crate::page::Page;

/// Words of plain text that a reader of mathematics takes in a minute.
const WORDS_A_MINUTE: usize = 150;
/// A displayed formula takes the time of so many words.
const WORDS_OF_A_FORMULA: usize = 25;

/// The folds, hints and boxes that are open at the current place of a page.
#[derive(Debug, Default)]
pub struct Folds {
    /// The name of each and the line on which it was opened, the innermost last.
    open: Vec<(&'static str, usize)>,
}

impl Folds {
    /// Follows one directive; `title` is its argument, already written.
    ///
    /// # Errors
    /// Where it has no title, or closes what is not open.
    pub fn step(&mut self, name: &str, title: &str, line: usize) -> Result<String, String> {
        let (kind, html) = match name {
            "#fold" => {
                ("fold", format!("<details class=\"fold\"><summary>{title}</summary>\n"))
            }
            "#hint" => (
                "hint",
                "<details class=\"solution hint\"><summary>Hint</summary>\n".to_owned(),
            ),
            "#box" => (
                "box",
                format!("<div class=\"box\">\n\n<p class=\"box-title\">{title}</p>\n"),
            ),
            _ => return self.close(name.trim_start_matches('/')),
        };
        if kind != "hint" && title.trim().is_empty() {
            return Err(format!("a {kind} has a title: {{{{#{kind} What it holds}}}}"));
        }
        self.open.push((kind, line));
        Ok(html)
    }

    fn close(&mut self, name: &str) -> Result<String, String> {
        match self.open.pop() {
            Some((open, _)) if open == name => {
                Ok(if name == "box" { "</div>\n" } else { "</details>\n" }.to_owned())
            }
            Some((open, line)) => {
                self.open.push((open, line));
                Err(format!(
                    "the {open} of line {line} is still open; close it with {{{{/{open}}}}} first"
                ))
            }
            None => Err(format!(
                "{{{{/{name}}}}} has nothing to close; open it with {{{{#{name}}}}}"
            )),
        }
    }

    /// What would be torn apart by a directive of an exercise that was begun on line
    /// `exercise`: whatever was opened inside it. An exercise itself may stand in a fold.
    pub fn torn(&self, name: &str, exercise: Option<usize>) -> Option<String> {
        let (open, line) = self.open.last()?;
        let inside = match exercise {
            Some(exercise) => *line > exercise,
            None => *open != "fold",
        };
        inside.then(|| {
            format!(
                "the {open} of line {line} is still open at {{{{{name}}}}}; close it with {{{{/{open}}}}} first"
            )
        })
    }

    /// What the page left open, if anything: its line, and what to do.
    pub fn end_of_page(&mut self) -> Option<(usize, String)> {
        let (name, line) = self.open.drain(..).next_back()?;
        Some((line, format!("this {name} is never closed; end it with {{{{/{name}}}}}")))
    }
}

/// The minutes that the open text of a page takes, to five: what is folded, code, exercises
/// and whatever stands behind them are not counted.
pub fn minutes(page: &Page) -> usize {
    let words = open_words(&page.source.text, &page.scan);
    (words as f64 / (5 * WORDS_A_MINUTE) as f64).round().max(1.0) as usize * 5
}

/// The words and formulas before the first exercise that no fold holds.
fn open_words(text: &str, scan: &Scan) -> usize {
    let (mut words, mut from, mut depth) = (0, 0, 0_usize);
    for item in &scan.items {
        if depth == 0 {
            words += text[from..item.range.start].split_whitespace().count();
        }
        from = item.range.end;
        match &item.kind {
            Kind::Directive { name, .. } if name == "#exercise" => return words,
            Kind::Directive { name, .. } if name == "#fold" => depth += 1,
            Kind::Directive { name, .. } if name == "/fold" => {
                depth = depth.saturating_sub(1)
            }
            Kind::Display { .. } if depth == 0 => words += WORDS_OF_A_FORMULA,
            Kind::Inline(_) if depth == 0 => words += 1,
            _ => {}
        }
    }
    words + text[from..].split_whitespace().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::markdown::{Fragment, scan};
    use crate::problem::Problems;

    #[test]
    fn folds_and_exercises_take_no_reading_time() {
        let text = "One two $x$ three.\n\n{{#fold More}}\n\nNot these four words.\n\n$$ y = 1 $$\n{{/fold}}\n\n\
                    $$ z = 2 $$\n\nFour five.\n\n{{#exercise Six}}\nSeven.\n{{/exercise}}\n";
        let page = Fragment { text: text.to_owned(), line: 1 };
        let scan = scan(&page, "page.md", &mut Problems::default());
        assert_eq!(open_words(text, &scan), 5 + 1 + WORDS_OF_A_FORMULA);
    }
}
