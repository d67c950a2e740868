//! Relations between printed numbers: what `{{holds [a:b:c] < [a:b:d]}}` says, and whether
//! it is so.
//!
//! A relation holds where it is true of all values within the tolerances, which say how far
//! a number may differ from machine to machine. Intervals decide that. An address that
//! stands twice may then take two values, so a relation that holds may be refused; none
//! that fails is let through.

use std::collections::BTreeSet;

use crate::snapshot::{Number, Snapshots, names_several};

/// A relation that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// With the names of the numbers: `“linear, train” is less than “cosine, train”`.
    pub words: String,
    /// With the numbers: `2.05 < 2.07`.
    pub numbers: String,
    /// The reports and sections that print them: `ch02_elbo, Schedules`.
    pub places: BTreeSet<String>,
}

/// Two numbers that differ by less than this share of their size are equal: the difference
/// comes from calculating.
const ROUNDING: f64 = 1e-12;

/// Reads a relation and checks it against the reports.
///
/// # Errors
/// What cannot be read, which address leads nowhere, or which step does not hold, with its
/// numbers.
pub fn check(text: &str, snapshots: &Snapshots) -> Result<Relation, String> {
    let mut reader =
        Reader { tokens: tokens(text)?, at: 0, snapshots, places: BTreeSet::new() };
    let (mut words, mut numbers) = reader.part()?;
    while reader.word("and") {
        let (more, their_numbers) = reader.part()?;
        words = format!("{words}, and {more}");
        numbers = format!("{numbers}; {their_numbers}");
    }
    match reader.next() {
        None => Ok(Relation { words, numbers, places: reader.places }),
        Some(token) => Err(format!("{} has no place there; {GRAMMAR}", token.shown())),
    }
}

const GRAMMAR: &str = "a relation is like [chapter:section:row] < 2 * [chapter:section:other row], with < > <= >=, + - * /, abs min max, x ~ y +- z, falls [chapter:section:*:column], rises […], and";

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Number(String),
    /// What stands between square brackets.
    Address(String),
    Word(String),
    Sign(&'static str),
}

impl Token {
    fn shown(&self) -> String {
        match self {
            Self::Number(text) | Self::Word(text) => format!("\"{text}\""),
            Self::Address(address) => format!("\"[{address}]\""),
            Self::Sign(sign) => format!("\"{sign}\""),
        }
    }
}

const SIGNS: [&str; 14] =
    ["+-", "±", "<=", ">=", "<", ">", "~", "+", "-", "*", "/", "(", ")", ","];

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first == '[' {
            let end = rest
                .find(']')
                .ok_or_else(|| format!("the [ of \"{rest}\" is never closed; add ]"))?;
            tokens.push(Token::Address(rest[1..end].trim().to_owned()));
            end + 1
        } else if first.is_ascii_digit() {
            let end = number_length(rest);
            tokens.push(Token::Number(rest[..end].to_owned()));
            end
        } else if first.is_alphabetic() {
            let end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            end
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.ok_or_else(|| {
                format!("\"{first}\" has no place in a relation; {GRAMMAR}")
            })?;
            tokens.push(Token::Sign(if *sign == "±" { "+-" } else { sign }));
            sign.len()
        };
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

/// The length of the number at the beginning of `text`: digits, a fraction, an exponent.
fn number_length(text: &str) -> usize {
    let digits = |from: usize| text[from..].bytes().take_while(u8::is_ascii_digit).count();
    let mut end = digits(0);
    if text[end..].starts_with('.') && digits(end + 1) > 0 {
        end += 1 + digits(end + 1);
    }
    if text[end..].starts_with(['e', 'E']) {
        let sign = usize::from(text[end + 1..].starts_with(['+', '-']));
        let exponent = digits(end + 1 + sign);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    end
}

/// A value with everything that it may be.
#[derive(Debug, Clone)]
struct Term {
    low: f64,
    high: f64,
    /// With names.
    words: String,
    /// With numbers.
    numbers: String,
}

impl Term {
    fn of(number: &Number) -> Self {
        Self {
            low: number.value - number.tolerance,
            high: number.value + number.tolerance,
            words: format!("“{}”", number.name),
            numbers: number.text.clone(),
        }
    }

    /// The result of an operation, with all that it may be between the least and the
    /// greatest of `ends`.
    fn joined(&self, sign: &str, other: &Self, ends: &[f64]) -> Self {
        Self {
            low: ends.iter().copied().fold(f64::INFINITY, f64::min),
            high: ends.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            words: format!("{} {sign} {}", self.words, other.words),
            numbers: format!("{} {sign} {}", self.numbers, other.numbers),
        }
    }

    /// `2.05`, or `2.05 to 2.07`.
    fn range(&self) -> String {
        if self.low == self.high {
            plain(self.low)
        } else {
            format!("{} to {}", plain(self.low), plain(self.high))
        }
    }
}

/// A number in up to six digits.
fn plain(number: f64) -> String {
    format!("{number:.5e}")
        .parse()
        .map_or_else(|_| number.to_string(), |rounded: f64| rounded.to_string())
}

/// What calculating may have changed.
fn slack(one: f64, other: f64) -> f64 {
    ROUNDING * (one.abs() + other.abs())
}

struct Reader<'a> {
    tokens: Vec<Token>,
    at: usize,
    snapshots: &'a Snapshots,
    places: BTreeSet<String>,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    /// Takes the next token, if it is one of these signs.
    fn sign(&mut self, signs: &[&'static str]) -> Option<&'static str> {
        match self.tokens.get(self.at) {
            Some(Token::Sign(sign)) if signs.contains(sign) => {
                self.at += 1;
                Some(sign)
            }
            _ => None,
        }
    }

    /// Whether the next token is this word, which is then taken.
    fn word(&mut self, word: &str) -> bool {
        let is_it =
            matches!(self.tokens.get(self.at), Some(Token::Word(next)) if next == word);
        self.at += usize::from(is_it);
        is_it
    }

    /// One relation, in words and in numbers.
    fn part(&mut self) -> Result<(String, String), String> {
        if self.word("falls") {
            return self.steps("falls", ">", |one, next| one.low - next.high);
        }
        if self.word("rises") {
            return self.steps("rises", "<", |one, next| next.low - one.high);
        }
        let first = self.sum()?;
        if self.sign(&["~"]).is_some() {
            return self.near(&first);
        }
        let (mut words, mut numbers) = (first.words.clone(), first.numbers.clone());
        let mut left = first;
        let mut steps = 0;
        while let Some(sign) = self.sign(&["<=", ">=", "<", ">"]) {
            let right = self.sum()?;
            // How far the two are apart at least, in the direction that the sign says.
            let (distance, slack, says) = match sign {
                "<" | "<=" => (
                    right.low - left.high,
                    slack(right.low, left.high),
                    ["less than", "at most"],
                ),
                _ => (
                    left.low - right.high,
                    slack(left.low, right.high),
                    ["greater than", "at least"],
                ),
            };
            let or_equal = sign.ends_with('=');
            let holds = if or_equal { distance >= -slack } else { distance > slack };
            let shown = format!("{} {sign} {}", left.numbers, right.numbers);
            if !holds {
                return Err(failed(
                    &shown,
                    &format!("{} against {}", left.range(), right.range()),
                ));
            }
            let which = if steps > 0 { ", which" } else { "" };
            words = format!(
                "{words}{which} is {} {}",
                says[usize::from(or_equal)],
                right.words
            );
            numbers = format!("{numbers} {sign} {}", right.numbers);
            left = right;
            steps += 1;
        }
        if steps == 0 {
            return Err(format!("nothing is compared; {GRAMMAR}"));
        }
        Ok((words, numbers))
    }

    /// `x ~ y +- z`, behind the first sign.
    fn near(&mut self, value: &Term) -> Result<(String, String), String> {
        let other = self.sum()?;
        self.sign(&["+-"]).ok_or_else(|| {
            format!("~ needs +- and how far the two may be apart; {GRAMMAR}")
        })?;
        let within = self.sum()?;
        let distance = (value.high - other.low).max(other.high - value.low);
        let numbers =
            format!("{} ~ {} +- {}", value.numbers, other.numbers, within.numbers);
        if distance <= within.low + slack(value.high, other.high) {
            let words = format!(
                "{} differs from {} by at most {}",
                value.words, other.words, within.words
            );
            Ok((words, numbers))
        } else {
            Err(failed(
                &numbers,
                &format!("up to {} apart, against {}", plain(distance), within.range()),
            ))
        }
    }

    /// `falls [address]`: `distance` of a row and the next is positive at every step.
    fn steps(
        &mut self,
        verb: &str,
        sign: &str,
        distance: impl Fn(&Term, &Term) -> f64,
    ) -> Result<(String, String), String> {
        let Some(Token::Address(address)) = self.next() else {
            return Err(format!(
                "{verb} needs the rows of a column: {verb} [chapter:section:*:column]"
            ));
        };
        let terms = self.several(&address)?;
        for pair in terms.windows(2) {
            let [one, next] = pair else { continue };
            if distance(one, next) <= slack(one.low, next.high) {
                let step = format!("{} {sign} {}", one.numbers, next.numbers);
                return Err(failed(
                    &step,
                    &format!("from {} to {}", one.words, next.words),
                ));
            }
        }
        let words = format!("{verb} at every step from {}", self.span(&terms));
        let numbers = terms
            .iter()
            .map(|term| term.numbers.as_str())
            .collect::<Vec<_>>()
            .join(&format!(" {sign} "));
        Ok((words, numbers))
    }

    /// `“10, bound” to “200, bound”`.
    fn span(&self, terms: &[Term]) -> String {
        let name =
            |term: Option<&Term>| term.map_or_else(String::new, |term| term.words.clone());
        format!("{} to {}", name(terms.first()), name(terms.last()))
    }

    fn several(&mut self, address: &str) -> Result<Vec<Term>, String> {
        let numbers = self.snapshots.numbers(address)?;
        self.remember(address);
        Ok(numbers.iter().map(Term::of).collect())
    }

    fn remember(&mut self, address: &str) {
        let mut parts = address.split(':').map(str::trim);
        let (chapter, section) =
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        self.places.insert(format!("{chapter}, {section}"));
    }

    fn sum(&mut self) -> Result<Term, String> {
        let mut left = self.product()?;
        while let Some(sign) = self.sign(&["+", "-"]) {
            let right = self.product()?;
            let ends = match sign {
                "+" => [left.low + right.low, left.high + right.high],
                _ => [left.low - right.high, left.high - right.low],
            };
            left = left.joined(sign, &right, &ends);
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Term, String> {
        let mut left = self.factor()?;
        while let Some(sign) = self.sign(&["*", "/"]) {
            let right = self.factor()?;
            let (low, high) = if sign == "*" {
                (right.low, right.high)
            } else if right.low <= 0.0 && 0.0 <= right.high {
                return Err(format!(
                    "{} may be 0 within its tolerance; divide by something else",
                    right.numbers
                ));
            } else {
                (1.0 / right.high, 1.0 / right.low)
            };
            let ends = [left.low * low, left.low * high, left.high * low, left.high * high];
            left = left.joined(sign, &right, &ends);
        }
        Ok(left)
    }

    fn factor(&mut self) -> Result<Term, String> {
        match self.next() {
            Some(Token::Sign("-")) => {
                let term = self.factor()?;
                let (words, numbers) =
                    (format!("-{}", term.words), format!("-{}", term.numbers));
                Ok(Term { low: -term.high, high: -term.low, words, numbers })
            }
            Some(Token::Sign("(")) => {
                let term = self.sum()?;
                self.sign(&[")"])
                    .ok_or_else(|| format!("a ( is never closed; {GRAMMAR}"))?;
                Ok(Term {
                    words: format!("({})", term.words),
                    numbers: format!("({})", term.numbers),
                    ..term
                })
            }
            Some(Token::Number(text)) => {
                let value: f64 = text
                    .parse()
                    .map_err(|error| format!("\"{text}\" is no number ({error})"))?;
                Ok(Term { low: value, high: value, words: text.clone(), numbers: text })
            }
            Some(Token::Address(address)) => {
                let number = self.snapshots.number(&address)?;
                self.remember(&address);
                Ok(Term::of(&number))
            }
            Some(Token::Word(name)) if ["abs", "min", "max"].contains(&name.as_str()) => {
                self.function(&name)
            }
            Some(token) => Err(format!("{} has no place there; {GRAMMAR}", token.shown())),
            None => Err(format!("something is missing at the end; {GRAMMAR}")),
        }
    }

    fn function(&mut self, name: &str) -> Result<Term, String> {
        let malformed = || {
            format!(
                "{name} needs its values in brackets, like {name}([chapter:section:row], 0)"
            )
        };
        self.sign(&["("]).ok_or_else(malformed)?;
        let mut terms = Vec::new();
        let mut words = Vec::new();
        loop {
            match self.tokens.get(self.at) {
                Some(Token::Address(address))
                    if name != "abs" && names_several(address) =>
                {
                    let address = address.clone();
                    self.at += 1;
                    let rows = self.several(&address)?;
                    words.push(self.span(&rows));
                    terms.extend(rows);
                }
                _ => {
                    let term = self.sum()?;
                    words.push(term.words.clone());
                    terms.push(term);
                }
            }
            if self.sign(&[","]).is_none() {
                break;
            }
        }
        self.sign(&[")"]).ok_or_else(malformed)?;
        let fold = |end: fn(&Term) -> f64, by: fn(f64, f64) -> f64| {
            terms.iter().map(end).reduce(by)
        };
        let (low, high) = match (name, &terms[..]) {
            ("abs", [one]) => {
                let ends = [one.low.abs(), one.high.abs()];
                let low = if one.low <= 0.0 && 0.0 <= one.high {
                    0.0
                } else {
                    ends[0].min(ends[1])
                };
                (Some(low), Some(ends[0].max(ends[1])))
            }
            ("abs", _) => return Err("abs takes one value".to_owned()),
            ("min", _) => {
                (fold(|term| term.low, f64::min), fold(|term| term.high, f64::min))
            }
            _ => (fold(|term| term.low, f64::max), fold(|term| term.high, f64::max)),
        };
        let (Some(low), Some(high)) = (low, high) else {
            return Err(malformed());
        };
        let numbers: Vec<&str> = terms.iter().map(|term| term.numbers.as_str()).collect();
        Ok(Term {
            low,
            high,
            words: format!("{name}({})", words.join(", ")),
            numbers: format!("{name}({})", numbers.join(", ")),
        })
    }
}

/// What is wrong with a relation that does not hold.
fn failed(relation: &str, values: &str) -> String {
    format!(
        "this does not hold for all values within the tolerances: {relation} ({values}); correct the sentence or the relation"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const REPORT: &str = "## Bound\n\nexact   2.00\nloose   2.10 ± 0.02 bits/dim\nbelow   -0.5 ± 0.1\nnone    0.0 ± 0.1\n\n\
        ## Steps\n\nsteps  bound          gap\n10     2.30 ± 0.01    0.3\n50     2.20 ± 0.01    0.2\n200    2.185 ± 0.01   0.1\n\n\
        ## Up\n\na  1.0 ± 0.1\nb  1.15 ± 0.1\nc  1.4\n";

    fn checked(relation: &str) -> Result<Relation, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("ch.snap"), REPORT).expect("a file");
        check(relation, &Snapshots::new(folder.path().to_owned()))
    }

    #[test]
    fn a_relation_holds_for_all_values_or_not_at_all() {
        for (relation, holds) in [
            ("[ch:Bound:exact] < [ch:Bound:loose]", true),
            ("[ch:Bound:loose] > [ch:Bound:exact]", true),
            ("[ch:Bound:loose] < [ch:Bound:exact]", false),
            // Within the tolerance it may be otherwise.
            ("[ch:Bound:loose] < 2.11", false),
            ("[ch:Bound:loose] < 2.12", false),
            ("[ch:Bound:loose] <= 2.12", true),
            ("[ch:Bound:loose] >= 2.08", true),
            ("[ch:Bound:loose] > 2.08", false),
            ("2.09 < [ch:Bound:loose]", false),
            ("2.11 > [ch:Bound:loose]", false),
            ("1 < [ch:Bound:exact] < [ch:Bound:loose] <= 3", true),
            ("1 < [ch:Bound:exact] < [ch:Bound:loose] <= 2", false),
            ("0.1 + 0.2 <= 0.3", true),
            ("0.1 + 0.2 > 0.3", false),
            ("1 + 2 * 3 - 4 / 2 >= 5 and 1 + 2 * 3 - 4 / 2 <= 5", true),
            ("(1 + 2) * 3 <= 9", true),
            ("-[ch:Bound:below] <= 0.6", true),
            ("-[ch:Bound:below] < 0.6", false),
            ("1 / [ch:Bound:below] >= -2.5", true),
            ("1 / [ch:Bound:below] > -2.4", false),
            ("[ch:Bound:below] * [ch:Bound:none] <= 0.06", true),
            ("[ch:Bound:below] * [ch:Bound:none] < 0.05", false),
            ("abs([ch:Bound:below]) >= 0.4", true),
            ("abs([ch:Bound:none]) >= 0", true),
            ("abs([ch:Bound:none]) > 0", false),
            ("min([ch:Bound:exact], [ch:Bound:loose]) <= 2", true),
            ("max([ch:Bound:exact], [ch:Bound:loose]) < 2.1", false),
            ("max([ch:Steps:*:bound]) <= 2.31", true),
            ("min([ch:Steps:10..50:bound], 3) >= 2.19", true),
            ("[ch:Bound:loose] ~ [ch:Bound:exact] +- 0.12", true),
            ("[ch:Bound:exact] ~ [ch:Bound:loose] ± 0.12", true),
            ("[ch:Bound:loose] ~ [ch:Bound:exact] +- 0.11", false),
            ("2.2 ~ [ch:Bound:loose] +- 0.12", true),
            ("2.2 ~ [ch:Bound:loose] +- 0.11", false),
            ("[ch:Bound:exact] ~ [ch:Bound:loose] +- 0.11", false),
            ("1 / [ch:Bound:loose] <= 0.481", true),
            ("1 / [ch:Bound:loose] < 0.4765", false),
            ("min([ch:Bound:loose], 5) >= 2.1", false),
            ("rises [ch:Up:b..c]", true),
            ("rises [ch:Up:*]", false),
            ("[ch:Bound:loose] - [ch:Bound:loose] ~ 0 +- 0.04", true),
            ("[ch:Bound:loose] - [ch:Bound:loose] ~ 0 +- 0.03", false),
            ("falls [ch:Steps:*:gap]", true),
            ("rises [ch:Steps:*:gap]", false),
            ("falls [ch:Steps:10..50:bound]", true),
            // The last two are nearer to each other than their tolerances.
            ("falls [ch:Steps:*:bound]", false),
            ("falls [ch:Steps:*:gap] and [ch:Bound:exact] > 3", false),
        ] {
            match checked(relation) {
                Ok(_) => assert!(holds, "{relation}"),
                Err(error) => assert!(
                    !holds && error.contains("does not hold"),
                    "{relation}: {error}"
                ),
            }
        }
    }

    #[test]
    fn a_relation_is_told_in_words_and_numbers() {
        let relation =
            checked("[ch:Bound:exact] < [ch:Bound:loose] <= 3 and falls [ch:Steps:*:gap]")
                .expect("holds");
        assert_eq!(
            relation.words,
            "“exact” is less than “loose”, which is at most 3, and falls at every step from “10, gap” to “200, gap”"
        );
        assert_eq!(relation.numbers, "2.00 < 2.10 ± 0.02 <= 3; 0.3 > 0.2 > 0.1");
        assert_eq!(
            relation.places.into_iter().collect::<Vec<_>>(),
            ["ch, Bound", "ch, Steps"]
        );
        let error = checked("2 * [ch:Bound:loose] < 4.2").expect_err("it does not hold");
        assert!(
            error.contains("2 * 2.10 ± 0.02 < 4.2 (4.16 to 4.24 against 4.2)"),
            "{error}"
        );
        let error = checked("falls [ch:Steps:*:bound]").expect_err("it does not hold");
        assert!(
            error.contains("2.20 ± 0.01 > 2.185 ± 0.01 (from “50, bound” to “200, bound”)"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_relation_is_refused() {
        for (relation, says) in [
            ("", "missing at the end"),
            ("[ch:Bound:exact]", "nothing is compared"),
            ("[ch:Bound:exact] <", "missing at the end"),
            ("[ch:Bound:exact] = 2", "\"=\" has no place"),
            ("[ch:Bound:exact] < 3 4", "\"4\" has no place there"),
            ("[ch:Bound:exact < 3", "never closed"),
            ("(1 + 2 < 3", "( is never closed"),
            ("1 ~ 2", "needs +-"),
            ("sqrt(4) < 3", "\"sqrt\" has no place there"),
            ("abs 4 < 3", "needs its values in brackets"),
            ("abs(1, 2) < 3", "abs takes one value"),
            ("falls 3", "falls needs the rows"),
            ("falls [ch:Bound:exact]", "is one row"),
            ("1 / [ch:Bound:none] < 3", "may be 0 within its tolerance"),
            ("[ch:Bound:exat] < 3", "no row \"exat\""),
            ("[ch:Bond:exact] < 3", "no section \"Bond\""),
            ("[lost:Bound:exact] < 3", "no report"),
            ("1 < 2 and", "missing at the end"),
        ] {
            let error = checked(relation).expect_err(relation);
            assert!(error.contains(says), "{relation}: {error}");
        }
    }
}
