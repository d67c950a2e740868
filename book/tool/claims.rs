//! Claims: sentences that the build checks, each with the relation or the test behind it.

use std::collections::BTreeMap;

use crate::layout::Repository;
use crate::page::Page;
use crate::relation::Relation;
use crate::rust_tests::{RustTest, RustTests};
use crate::slots::escape;

/// Why the reader may believe a sentence.
#[derive(Debug)]
pub enum Basis {
    /// `{{holds …}}`: a relation between printed numbers.
    Relation(Relation),
    /// `{{claim some-name}}`: a test of tests/claims.
    Test(RustTest),
}

/// A sentence with what checks it.
#[derive(Debug)]
pub struct Claim {
    /// `5.3`, counted like equations.
    number: String,
    /// The index of its page.
    page: usize,
    basis: Basis,
}

/// All claims so far, in the order of the book.
#[derive(Debug, Default)]
pub struct Claims {
    all: Vec<Claim>,
    counts: BTreeMap<String, usize>,
}

/// The test that stands behind `{{claim name}}`.
///
/// # Errors
/// Where there is none that runs.
pub fn test(name: &str, tests: &RustTests) -> Result<RustTest, String> {
    let function = name.replace('-', "_");
    if !function.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err("a claim names its test: {{claim some-name}}".to_owned());
    }
    match tests.test(name) {
        Ok(test) => Ok(test.clone()),
        Err(Some(message)) => Err(format!("the claim {name} is not tested: {message}")),
        Err(None) => Err(format!(
            "the claim {name} has no test; add a #[test] fn {function} to tests/claims"
        )),
    }
}

impl Claims {
    /// Numbers a claim of `page` (the one at `index`).
    pub fn add(&mut self, page: &Page, index: usize, basis: Basis) -> &Claim {
        let count = self.counts.entry(page.prefix.clone()).or_default();
        *count += 1;
        let number = page.numbered(*count);
        self.all.push(Claim { number, page: index, basis });
        &self.all[self.all.len() - 1]
    }

    /// How many claims a page makes.
    pub fn of_page(&self, index: usize) -> usize {
        self.all.iter().filter(|claim| claim.page == index).count()
    }

    /// What `{{#claims}}` becomes: one row per claim, grouped by page.
    pub fn table(&self, pages: &[Page], from: &Page, repository: &Repository) -> String {
        let mut rows = String::new();
        let mut last_page = None;
        for claim in &self.all {
            let page = &pages[claim.page];
            if last_page.replace(claim.page) != Some(claim.page) {
                rows.push_str(&format!(
                    "<tr class=\"table-group\"><th colspan=\"3\" scope=\"colgroup\"><a href=\"{}\">{}</a></th></tr>",
                    escape(&from.link_to(page, None)),
                    escape(&page.title)
                ));
            }
            let (kind, what) = match &claim.basis {
                Basis::Relation(relation) => {
                    let Relation { words, numbers, .. } = relation;
                    let what = format!(
                        "{} <span class=\"claim-numbers\">{}</span>",
                        escape(words),
                        escape(numbers)
                    );
                    (
                        "relation",
                        format!(
                            "{what} <span class=\"claim-place\">{}</span>",
                            escape(&places(relation))
                        ),
                    )
                }
                Basis::Test(test) => {
                    let code = format!("<code>{}</code>", test.name);
                    let link = match repository.lines(&test.file, test.lines) {
                        Some(url) => format!("<a href=\"{}\">{code}</a>", escape(&url)),
                        None => code,
                    };
                    (
                        "test",
                        format!(
                            "{} {link}",
                            escape(test.says.as_deref().unwrap_or_default())
                        ),
                    )
                }
            };
            rows.push_str(&format!(
                "<tr id=\"{}\"><td><a href=\"{}\">{}</a></td><td>{kind}</td><td>{what}</td></tr>",
                claim.row(),
                escape(&from.link_to(page, Some(&claim.id()))),
                claim.number
            ));
        }
        if rows.is_empty() {
            return "<p>No claim is marked yet.</p>".to_owned();
        }
        format!(
            "<div class=\"table-wrapper\"><table class=\"claims\"><thead><tr><th>No.</th><th>Checked by</th><th>What is checked</th></tr></thead><tbody>{rows}</tbody></table></div>"
        )
    }
}

impl Claim {
    /// The id of the mark behind the sentence.
    fn id(&self) -> String {
        format!("claim-{}", self.number.to_lowercase().replace('.', "-"))
    }

    /// The id of the row in the table.
    pub fn row(&self) -> String {
        format!("{}-checked", self.id())
    }

    /// The mark behind the sentence. It leads to the test's lines, or to `row`, the address
    /// of the table's row.
    pub fn mark(&self, row: &str, repository: &Repository) -> String {
        let (says, href) = match &self.basis {
            Basis::Relation(relation) => {
                let says = format!(
                    "{}: {} ({})",
                    relation.words,
                    relation.numbers,
                    places(relation)
                );
                (says, row.to_owned())
            }
            Basis::Test(test) => {
                let says = test.says.as_deref().unwrap_or("A test");
                let says = format!("{says} cargo test --test claims {}", test.name);
                (
                    says,
                    repository
                        .lines(&test.file, test.lines)
                        .unwrap_or_else(|| row.to_owned()),
                )
            }
        };
        let says = escape(&says);
        format!(
            "<a class=\"claim\" id=\"{}\" href=\"{}\" title=\"Checked. {says}\" aria-label=\"Checked. {says}\"></a>",
            self.id(),
            escape(&href)
        )
    }
}

/// Where the numbers of a relation are printed.
fn places(relation: &Relation) -> String {
    relation.places.iter().map(String::as_str).collect::<Vec<_>>().join("; ")
}
