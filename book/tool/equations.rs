//! The registry of numbered equations: numbers, references, and the test or definition
//! behind each.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use sha2::{Digest as _, Sha256};

use crate::layout::Repository;
use crate::markdown::{Kind, pattern};
use crate::math::{Math, Rendered};
use crate::page::Page;
use crate::problem::Problems;
use crate::rust_tests::{RustTest, RustTests};
use crate::slots::escape;

/// What may follow `$$` in braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// `elbo-gap`
    pub name: String,
    /// Marked `.definition`.
    pub definition: bool,
    /// The labels in `from="…"`: the equations that this one follows from.
    pub premises: Vec<String>,
}

/// A numbered equation.
#[derive(Debug)]
pub struct Equation {
    /// Its label.
    pub label: Label,
    /// `2.4`
    pub number: String,
    /// The index of its page.
    pub page: usize,
    /// Its line on the page.
    pub line: usize,
    /// What the reader sees; `None` where the maths is malformed (and reported).
    pub rendered: Option<Rendered>,
    /// What stands behind it.
    pub standing: Standing,
}

/// Why the reader may believe an equation.
#[derive(Debug)]
pub enum Standing {
    /// A test computes both sides.
    Tested {
        /// The test.
        test: Box<RustTest>,
        /// Whether it reads the formula from the page, and was not only written for it.
        as_printed: bool,
    },
    /// It only names something.
    Definition,
    /// Nothing does (and that is reported).
    Nothing,
}

/// All numbered equations in the order of the book.
#[derive(Debug, Default)]
pub struct Equations {
    /// The equations.
    pub all: Vec<Equation>,
    by_name: BTreeMap<String, usize>,
}

static LABEL: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"^\s*#eq:([a-z][a-z0-9]*(?:-[a-z0-9]+)*)((?:\s+\.definition)?)(?:\s+from="([^"]*)")?\s*$"#,
    )
});

impl Label {
    /// Reads `#eq:label .definition from="other third"`.
    ///
    /// # Errors
    /// Where the attributes are anything else.
    pub fn parse(attributes: &str) -> Result<Self, String> {
        let found = LABEL.captures(attributes).ok_or_else(|| {
            format!("{{{attributes}}} is no equation label; write {{#eq:label}}, {{#eq:label .definition}} or {{#eq:label from=\"premise other-premise\"}}, with labels of lower-case words and dashes")
        })?;
        let premises = found.get(3).map_or("", |part| part.as_str());
        Ok(Self {
            name: found[1].to_owned(),
            definition: !found[2].is_empty(),
            premises: premises
                .split([' ', ',', '\t'])
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
        })
    }

    /// The id of the equation's element.
    pub fn id(name: &str) -> String {
        format!("eq-{name}")
    }
}

impl Equations {
    /// Numbers the equations of all pages and finds what stands behind each.
    pub fn collect(
        pages: &[Page],
        math: &Math,
        tests: &RustTests,
        problems: &mut Problems,
    ) -> Self {
        let mut equations = Self::default();
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, page) in pages.iter().enumerate() {
            for item in &page.scan.items {
                let Kind::Display { tex, attributes: Some(attributes) } = &item.kind else {
                    continue;
                };
                let label = match Label::parse(attributes) {
                    Ok(label) => label,
                    Err(message) => {
                        problems.add(&page.file, item.line, message);
                        continue;
                    }
                };
                if let Some(first) = equations.get(&label.name) {
                    let place = format!("{}:{}", pages[first.page].file, first.line);
                    problems.add(
                        &page.file,
                        item.line,
                        format!("the label {} already names the equation at {place}; choose another", label.name),
                    );
                    continue;
                }
                let count = numbers.entry(page.prefix.as_str()).or_default();
                *count += 1;
                let number = page.numbered(*count);
                let standing = match standing(&label, tex, tests) {
                    Ok(standing) => standing,
                    Err(message) => {
                        problems.add(&page.file, item.line, message);
                        Standing::Nothing
                    }
                };
                // Malformed maths is reported where the page is written.
                let rendered = math.render(tex, true).ok();
                equations.by_name.insert(label.name.clone(), equations.all.len());
                equations.all.push(Equation {
                    label,
                    number,
                    page: index,
                    line: item.line,
                    rendered,
                    standing,
                });
            }
        }
        equations.check_premises(pages, problems);
        equations
    }

    /// The equation with this label.
    pub fn get(&self, name: &str) -> Option<&Equation> {
        self.by_name.get(name).map(|&index| &self.all[index])
    }

    /// The premises of an equation, those that exist.
    pub fn premises<'a>(
        &'a self,
        equation: &'a Equation,
    ) -> impl Iterator<Item = &'a Equation> {
        equation.label.premises.iter().filter_map(|name| self.get(name))
    }

    fn check_premises(&self, pages: &[Page], problems: &mut Problems) {
        for equation in &self.all {
            let file = &pages[equation.page].file;
            for premise in &equation.label.premises {
                if self.get(premise).is_none() {
                    problems.add(
                        file,
                        equation.line,
                        format!("the equation {} is said to follow from {premise}, but no equation has that label; correct the name in from=\"…\"", equation.label.name),
                    );
                }
            }
            if self.follows_from_itself(equation) {
                problems.add(
                    file,
                    equation.line,
                    format!(
                        "by its premises the equation {} follows from itself; remove one of the from=\"…\"",
                        equation.label.name
                    ),
                );
            }
        }
    }

    fn follows_from_itself(&self, equation: &Equation) -> bool {
        let mut seen: Vec<&str> = Vec::new();
        let mut open: Vec<&Equation> = self.premises(equation).collect();
        while let Some(next) = open.pop() {
            if next.label.name == equation.label.name {
                return true;
            }
            if !seen.contains(&next.label.name.as_str()) {
                seen.push(&next.label.name);
                open.extend(self.premises(next));
            }
        }
        false
    }
}

fn standing(label: &Label, tex: &str, tests: &RustTests) -> Result<Standing, String> {
    let name = &label.name;
    match tests.test(name) {
        Ok(test) => {
            let as_printed = test.reads.contains(name);
            let written_for = test
                .digests
                .iter()
                .find(|(label, _)| label == name)
                .map(|(_, digest)| digest);
            let digest = digest(tex);
            match written_for {
                Some(other) if *other != digest => Err(format!(
                    "the equation {name} changed since its test was written ({}:{}); see whether the test still computes it, then write digest(\"{name}\", \"{digest}\")",
                    test.file, test.lines.0
                )),
                None if !as_printed => Err(format!(
                    "the test {} ({}:{}) does not say for which formula it was written; read it from the page with tex(\"{name}\"), or write digest(\"{name}\", \"{digest}\")",
                    test.name, test.file, test.lines.0
                )),
                _ => Ok(Standing::Tested { test: Box::new(test.clone()), as_printed }),
            }
        }
        // An ignored test of a definition is a fault; a helper that has its name is not.
        Err(_) if label.definition && !tests.get(name).is_some_and(|test| test.is_test) => {
            Ok(Standing::Definition)
        }
        Err(Some(message)) => Err(format!("the equation {name} is not tested: {message}")),
        Err(None) => Err(format!(
            "the equation {name} has no test; add a #[test] fn {} to tests/equations, or mark it {{#eq:{name} .definition}} if it only names something",
            name.replace('-', "_")
        )),
    }
}

/// The digest by which a test names its formula: the first 12 digits of the SHA-256, all
/// white space counting the same.
fn digest(tex: &str) -> String {
    let words: Vec<&str> = tex.split_whitespace().collect();
    Sha256::digest(words.join(" "))
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A display equation with its number and mark beside it, to be kept in a slot inside `<div
/// class="equation">`.
pub fn display(equation: &Equation, html: &str, repository: &Repository) -> String {
    let id = Label::id(&equation.label.name);
    let mark = match &equation.standing {
        Standing::Tested { test, as_printed } => {
            let title = escape(&describe(test, *as_printed));
            let words =
                if *as_printed { "tested <span>as printed</span>" } else { "tested" };
            match repository.lines(&test.file, test.lines) {
                Some(url) => {
                    format!(
                        "<a class=\"mark tested\" href=\"{}\" title=\"{title}\">{words}</a>",
                        escape(&url)
                    )
                }
                None => {
                    format!("<span class=\"mark tested\" title=\"{title}\">{words}</span>")
                }
            }
        }
        Standing::Definition => "<span class=\"mark\">definition</span>".to_owned(),
        Standing::Nothing => String::new(),
    };
    format!(
        "<div class=\"equation-body\">{html}</div><div class=\"equation-side\"><a class=\"equation-number\" href=\"#{id}\" aria-label=\"Equation {number}\">({number})</a>{mark}</div>",
        number = equation.number
    )
}

/// How a reader without the web runs the test, and how exactly it compares.
fn describe(test: &RustTest, as_printed: bool) -> String {
    let mut words = format!("cargo test --test equations {}", test.name);
    if let Some(kind) = &test.kind {
        words.push_str(&format!(" ({kind})"));
    }
    if let Some(exactness) = exactness(test) {
        words.push_str(&format!(", {exactness}"));
    }
    words.push_str(if as_printed {
        "; it reads this formula"
    } else {
        "; written for this formula"
    });
    words
}

fn exactness(test: &RustTest) -> Option<String> {
    match (&test.tolerance, &test.standard_errors) {
        (Some(tolerance), None) => Some(format!("within {tolerance}")),
        (None, Some(errors)) => Some(format!("within {errors} standard errors")),
        (Some(tolerance), Some(errors)) => {
            Some(format!("within {tolerance}, or {errors} standard errors"))
        }
        (None, None) => None,
    }
}

/// The Markdown of a reference, a link that previews its equation.
pub fn reference(equation: &Equation, href: &str) -> String {
    format!(
        "<a class=\"eqref\" href=\"{}\" data-eq=\"{}\">({})</a>",
        escape(href),
        equation.label.name,
        equation.number
    )
}

/// What `{{#equations}}` becomes: one row per equation, grouped by page.
pub fn table(
    equations: &Equations,
    pages: &[Page],
    from: &Page,
    repository: &Repository,
) -> String {
    let mut rows = String::new();
    let mut last_page = None;
    for equation in &equations.all {
        let page = &pages[equation.page];
        if last_page.replace(equation.page) != Some(equation.page) {
            rows.push_str(&format!(
                "<tr class=\"table-group\"><th colspan=\"5\" scope=\"colgroup\"><a href=\"{}\">{}</a></th></tr>",
                escape(&from.link_to(page, None)),
                escape(&page.title)
            ));
        }
        let name = &equation.label.name;
        let (kind, exact, test, formula) = match &equation.standing {
            Standing::Tested { test, as_printed } => {
                let link = match repository.lines(&test.file, test.lines) {
                    Some(url) => format!("<a href=\"{}\">{name}</a>", escape(&url)),
                    None => name.clone(),
                };
                let formula = if *as_printed { "as printed" } else { "by digest" };
                (
                    test.kind.clone().unwrap_or_default(),
                    exactness(test).unwrap_or_default(),
                    link,
                    formula,
                )
            }
            Standing::Definition => {
                ("definition".to_owned(), String::new(), name.clone(), "")
            }
            Standing::Nothing => Default::default(),
        };
        rows.push_str(&format!(
            "<tr><td><a href=\"{}\">({})</a></td><td>{test}</td><td>{}</td><td>{}</td><td>{formula}</td></tr>",
            escape(&from.link_to(page, Some(&Label::id(name)))),
            equation.number,
            escape(&kind),
            escape(&exact),
        ));
    }
    if rows.is_empty() {
        return "<p>No equation is numbered yet.</p>".to_owned();
    }
    format!(
        "<div class=\"table-wrapper\"><table class=\"equations\"><thead><tr><th>No.</th><th>Equation and test</th><th>Kind of test</th><th>Exactness</th><th>Formula</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_read_with_its_premises() {
        assert_eq!(
            Label::parse("#eq:elbo-gap"),
            Ok(Label { name: "elbo-gap".to_owned(), definition: false, premises: vec![] })
        );
        assert_eq!(
            Label::parse(" #eq:elbo .definition from=\"a c-1\" "),
            Ok(Label {
                name: "elbo".to_owned(),
                definition: true,
                premises: vec!["a".to_owned(), "c-1".to_owned()]
            })
        );
        for wrong in [
            "#elbo",
            "#eq:Elbo",
            "#eq:elbo_gap",
            "#eq:elbo .def",
            "#eq:",
            ".definition",
            "#eq:a from=b",
        ] {
            assert!(Label::parse(wrong).is_err(), "{wrong}");
        }
    }
}
