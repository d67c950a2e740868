//! The formulas of the pages as they are printed: read by label, and evaluated with what a
//! test binds.
//!
//! A test calls [`tex`] where the sides of its equation are closed forms: it binds numbers
//! and functions to the symbols of the page and compares the sides. Any other test calls
//! [`digest`] with a digest of the formula that it was written for, and fails when the
//! formula changes, until somebody has looked again.
//!
//! Read are sums, products, fractions, powers, roots, absolute values and norms, `\exp`,
//! `\log`, `\ln`, `\tanh`, `\operatorname{sigmoid}` and `expm1`, `\sum` and `\prod` over an
//! index, `\underbrace`, and the macros of `book/macros.tex`. Everything else is a symbol
//! that the test binds, as it stands on the page: `\Var z_t`, `\sigma_q^2(t)`,
//! `\KL{q(z)}{p(z)}`.

mod expression;
mod parser;
#[cfg(test)]
mod tests;
mod tokens;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

pub use expression::Values;
use parser::{RELATIONS, evaluate};
use sha2::{Digest, Sha256};
use tokens::tokens;

/// The formula with this label. Panics where no page has it.
pub fn tex(label: &str) -> Formula {
    Formula::parse(source(label))
}

/// Fails unless the formula with this label is the one with this digest.
#[track_caller]
pub fn digest(label: &str, expected: &str) {
    let found = digest_of(source(label));
    assert!(
        found == expected,
        "the formula {label} is not the one that this test was written for: see whether the test still computes it, \
         then write digest({label:?}, {found:?})"
    );
}

/// The first 12 hexadecimal digits of the SHA-256 of a formula, in which all white space
/// counts the same.
fn digest_of(tex: &str) -> String {
    let words: Vec<&str> = tex.split_whitespace().collect();
    let hash = Sha256::digest(words.join(" "));
    hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

fn source(label: &str) -> &'static str {
    static PAGES: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("book/src");
        let mut formulas = BTreeMap::new();
        for entry in fs::read_dir(folder).expect("the pages") {
            let path = entry.expect("a page").path();
            if path.extension().is_some_and(|extension| extension == "md") {
                formulas.extend(labelled(&fs::read_to_string(path).expect("a page")));
            }
        }
        formulas
    });
    PAGES.get(label).unwrap_or_else(|| panic!("no page has an equation {label}"))
}

/// The labelled formulas of a page, without the `>` of a quotation.
fn labelled(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (at, mark) in page.match_indices("{#eq:") {
        let rest = &page[at + mark.len()..];
        let label: String =
            rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let formula = page[..at]
            .trim_end()
            .strip_suffix("$$")
            .and_then(|before| before.rsplit_once("$$"));
        if let Some((_, formula)) = formula {
            let lines =
                formula.lines().map(|line| line.trim_start_matches([' ', '\t', '>']));
            found.push((label, lines.collect::<Vec<_>>().join("\n")));
        }
    }
    found
}

/// A formula as printed. A test reads every part of it, or says what stands there instead.
pub struct Formula {
    parts: Vec<Part>,
    read: RefCell<Vec<bool>>,
}

/// What stands between two commas: sides, each with the relation before it.
type Part = Vec<(String, Vec<String>)>;

impl Formula {
    /// A formula that stands on a page without a label, as in the cell of a table.
    pub fn parse(tex: &str) -> Self {
        let first = || vec![(String::new(), Vec::new())];
        let mut parts: Vec<Part> = vec![first()];
        let mut depth = 0;
        let mut tokens = tokens(tex);
        while tokens.last().is_some_and(|last| [".", ",", ";"].contains(&last.as_str())) {
            tokens.pop();
        }
        for token in tokens {
            depth += match token.as_str() {
                "(" | "[" | "{" => 1,
                ")" | "]" | "}" => -1,
                _ => 0,
            };
            if depth == 0 && token == "," {
                parts.push(first());
                continue;
            }
            let Some(part) = parts.last_mut() else { continue };
            if depth == 0 && RELATIONS.contains(&token.as_str()) {
                part.push((token, Vec::new()));
            } else if let Some((_, side)) = part.last_mut() {
                side.push(token);
            }
        }
        let read = RefCell::new(vec![false; parts.len()]);
        Self { parts, read }
    }

    /// The sides of a formula without a comma, from left to right.
    #[track_caller]
    pub fn sides(&self, values: &Values) -> Vec<f64> {
        assert_eq!(
            self.parts.len(),
            1,
            "the formula has several parts; name one with `part`"
        );
        self.part(0, values)
    }

    /// The sides of the part at `index`, counted from 0. Fails where an inequality between
    /// them does not hold; whether they are equal is for the test to say, which knows how
    /// exactly.
    #[track_caller]
    pub fn part(&self, index: usize, values: &Values) -> Vec<f64> {
        let part = &self.parts[index];
        let sides: Vec<f64> = part.iter().map(|(_, side)| evaluate(side, values)).collect();
        for (pair, (relation, _)) in sides.windows(2).zip(&part[1..]) {
            let holds = match relation.as_str() {
                "<" => pair[0] < pair[1],
                ">" => pair[0] > pair[1],
                r"\le" => pair[0] <= pair[1],
                r"\ge" => pair[0] >= pair[1],
                "=" | r"\simeq" | r"\approx" => true,
                _ => panic!(
                    "{relation} says nothing about two numbers; write the formula down with `digest`"
                ),
            };
            assert!(holds, "{:e} {relation} {:e} does not hold", pair[0], pair[1]);
        }
        self.read.borrow_mut()[index] = true;
        sides
    }

    /// Fails unless the part at `index`, which is no matter of numbers, is this one.
    #[track_caller]
    pub fn words(&self, index: usize, tex: &str) {
        let whole = |part: &Part| {
            part.iter().map(|(relation, side)| relation.clone() + &side.concat()).collect()
        };
        let found: String = whole(&self.parts[index]);
        assert_eq!(
            found,
            tokens(tex).concat(),
            "the page no longer says what this test was written for"
        );
        self.read.borrow_mut()[index] = true;
    }
}

impl Drop for Formula {
    fn drop(&mut self) {
        let unread = self.read.borrow().iter().position(|read| !read);
        if let (Some(index), false) = (unread, std::thread::panicking()) {
            panic!("the test never read part {index} of the formula");
        }
    }
}
