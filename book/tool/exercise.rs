//! Exercises with collapsible solutions, numbered by chapter.

use std::collections::BTreeMap;

use crate::page::Page;

/// What is open at the current place of the book.
#[derive(Debug, Default)]
pub struct Exercises {
    counts: BTreeMap<String, usize>,
    /// The line of the exercise that is open, and of its solution.
    exercise: Option<usize>,
    solution: Option<usize>,
}

/// What a directive of this module becomes.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// An exercise begins, with its number.
    Begin(String),
    /// Its solution begins.
    Solution,
    /// The solution ends.
    EndSolution,
    /// The exercise ends.
    End,
}

impl Exercises {
    /// Follows one directive.
    ///
    /// # Errors
    /// Where it opens or closes something out of turn.
    pub fn step(
        &mut self,
        name: &str,
        title: &str,
        line: usize,
        page: &Page,
    ) -> Result<Step, String> {
        match (name, self.exercise, self.solution) {
            ("#exercise", None, None) if !title.is_empty() => {
                self.exercise = Some(line);
                let count = self.counts.entry(page.prefix.clone()).or_default();
                *count += 1;
                Ok(Step::Begin(page.numbered(*count)))
            }
            ("#exercise", None, None) => {
                Err("an exercise has a title: {{#exercise What is asked}}".to_owned())
            }
            ("#exercise", Some(open), _) => Err(format!(
                "the exercise of line {open} is still open; close it with {{{{/exercise}}}} first"
            )),
            ("#solution", Some(_), None) => {
                self.solution = Some(line);
                Ok(Step::Solution)
            }
            ("/solution", Some(_), Some(_)) => {
                self.solution = None;
                Ok(Step::EndSolution)
            }
            ("/exercise", Some(_), None) => {
                self.exercise = None;
                Ok(Step::End)
            }
            ("/exercise", Some(_), Some(open)) => Err(format!(
                "the solution of line {open} is still open; close it with {{{{/solution}}}} first"
            )),
            _ => Err(format!(
                "{{{{{name}}}}} has nothing to belong to here; an exercise is {{{{#exercise title}}}} … {{{{#solution}}}} … {{{{/solution}}}} {{{{/exercise}}}}"
            )),
        }
    }

    /// The line on which the open exercise was begun, if any is.
    pub fn open(&self) -> Option<usize> {
        self.exercise
    }

    /// What the page left open, if anything: its line, and what to do.
    pub fn end_of_page(&mut self) -> Option<(usize, String)> {
        let solution = self.solution.take().map(|line| (line, "solution"));
        let exercise = self.exercise.take().map(|line| (line, "exercise"));
        let (line, name) = solution.or(exercise)?;
        Some((line, format!("this {name} is never closed; end it with {{{{/{name}}}}}")))
    }
}

impl Step {
    /// The Markdown that stands for the directive; `title` is the exercise's, already
    /// written.
    pub fn markdown(&self, title: &str) -> String {
        match self {
            Self::Begin(number) => {
                let id = format!("exercise-{}", number.to_lowercase().replace('.', "-"));
                format!(
                    "<section class=\"exercise\">\n\n### Exercise {number}. {title} {{#{id}}}\n"
                )
            }
            Self::Solution => {
                "<details class=\"solution\"><summary>Solution</summary>\n".to_owned()
            }
            Self::EndSolution => "</details>\n".to_owned(),
            Self::End => "</section>\n".to_owned(),
        }
    }
}
