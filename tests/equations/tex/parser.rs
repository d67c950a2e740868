//! From tokens to expressions.

use super::expression::{Expression, Meaning, Values};
use super::tokens::closing;

/// What stands between two sides.
pub const RELATIONS: [&str; 9] =
    ["=", "<", ">", r"\le", r"\ge", r"\ne", r"\simeq", r"\approx", r"\to"];

/// The value of an expression, which is a number.
#[track_caller]
pub fn evaluate(tokens: &[String], values: &Values) -> f64 {
    let mut parser = Parser { tokens, at: 0, values, indices: Vec::new(), bars: 0 };
    let expression = parser.sum();
    assert!(
        parser.at == tokens.len(),
        "{} is left over in {}",
        tokens[parser.at..].concat(),
        tokens.concat()
    );
    match expression.value(values, &mut Vec::new())[..] {
        [number] => number,
        ref entries => panic!(
            "{} is a vector of {} entries, no number",
            tokens.concat(),
            entries.len()
        ),
    }
}

struct Parser<'a> {
    tokens: &'a [String],
    at: usize,
    values: &'a Values<'a>,
    /// The indices of the sums and products around.
    indices: Vec<Vec<String>>,
    /// How many `|` and `\|` are open.
    bars: usize,
}

impl Parser<'_> {
    fn next(&self) -> &str {
        self.tokens.get(self.at).map_or("", String::as_str)
    }

    fn take(&mut self, token: &str) -> bool {
        let is_it = self.next() == token;
        self.at += usize::from(is_it);
        is_it
    }

    #[track_caller]
    fn expect(&mut self, token: &str) {
        let found = self.take(token);
        assert!(
            found,
            "{token} is missing before {} in {}",
            self.tokens[self.at..].concat(),
            self.tokens.concat()
        );
    }

    fn sum(&mut self) -> Expression {
        let mut terms = Vec::new();
        loop {
            let negative = self.take("-");
            if !negative && !self.take("+") && !terms.is_empty() {
                break;
            }
            let term = self.product();
            terms.push(if negative { Expression::Negative(Box::new(term)) } else { term });
        }
        if terms.len() == 1 { terms.remove(0) } else { Expression::Sum(terms) }
    }

    fn product(&mut self) -> Expression {
        let mut factors = vec![self.power()];
        loop {
            if self.take("/") {
                let below = self.power();
                let above = Expression::Product(std::mem::take(&mut factors));
                factors.push(Expression::Quotient(Box::new(above), Box::new(below)));
            } else if self.take(r"\cdot") || self.take(r"\times") || self.begins_factor() {
                factors.push(self.power());
            } else {
                break;
            }
        }
        if factors.len() == 1 { factors.remove(0) } else { Expression::Product(factors) }
    }

    fn begins_factor(&self) -> bool {
        match self.next() {
            "" | "+" | "-" | "/" | ")" | "]" | "}" | "," | ";" | "_" | "^" | r"\mid"
            | r"\text" => false,
            "|" | r"\|" => self.bars == 0,
            token => !RELATIONS.contains(&token),
        }
    }

    fn power(&mut self) -> Expression {
        let natural = self.next() == "e" && self.bound().is_none();
        let mut base = self.atom();
        if self.take("^") {
            let exponent = self.argument();
            base = if natural {
                Expression::Applied(f64::exp, Box::new(exponent))
            } else {
                Expression::Power(Box::new(base), Box::new(exponent))
            };
        }
        base
    }

    /// What stands in braces, or the next token.
    fn argument(&mut self) -> Expression {
        if self.take("{") {
            let inner = self.sum();
            self.expect("}");
            return inner;
        }
        if let Some(digit) = self.next().chars().next().and_then(|c| c.to_digit(10)) {
            self.at += 1;
            return Expression::Entries(vec![f64::from(digit)]);
        }
        self.atom()
    }

    /// The longest name that the test bound and that stands here: its place, and its
    /// length.
    fn bound(&self) -> Option<(usize, usize)> {
        let rest = &self.tokens[self.at..];
        let fits = |name: &[String], meaning: &Meaning| {
            let next = rest.get(name.len()).map_or("", String::as_str);
            rest.starts_with(name)
                && match meaning {
                    Meaning::Entries(_) => !["_", "'"].contains(&next),
                    Meaning::Function(_) => ["_", "("].contains(&next),
                    Meaning::Range(..) => false,
                }
        };
        let named = self
            .values
            .0
            .iter()
            .enumerate()
            .filter(|(_, (name, meaning))| fits(name, meaning));
        named
            .map(|(place, (name, _))| (place, name.len()))
            .max_by_key(|(_, length)| *length)
    }

    fn atom(&mut self) -> Expression {
        let index = self.indices.iter().find(|name| {
            let rest = &self.tokens[self.at..];
            rest.starts_with(name) && rest.get(name.len()).is_none_or(|next| next != "_")
        });
        if let Some(index) = index.cloned() {
            self.at += index.len();
            return Expression::Index(index);
        }
        if let Some((place, length)) = self.bound() {
            self.at += length;
            return match &self.values.0[place].1 {
                Meaning::Entries(entries) => Expression::Entries(entries.clone()),
                _ if self.take("_") => {
                    let arguments =
                        if self.take("{") { self.list("}") } else { vec![self.argument()] };
                    Expression::Function(place, arguments)
                }
                _ => {
                    self.expect("(");
                    Expression::Function(place, self.list(")"))
                }
            };
        }
        let token = self.next().to_owned();
        assert!(
            !token.is_empty(),
            "something is missing at the end of {}",
            self.tokens.concat()
        );
        self.at += 1;
        match token.as_str() {
            "(" => self.inside(")"),
            "[" => self.inside("]"),
            "{" => self.inside("}"),
            "|" | r"\|" => {
                self.bars += 1;
                let inner = self.inside(&token);
                self.bars -= 1;
                Expression::Norm(Box::new(inner))
            }
            r"\frac" | r"\tfrac" | r"\dfrac" => {
                let above = self.argument();
                Expression::Quotient(Box::new(above), Box::new(self.argument()))
            }
            r"\sqrt" => Expression::Applied(f64::sqrt, Box::new(self.argument())),
            r"\underbrace" => {
                let inner = self.argument();
                if self.take("_") {
                    self.at = closing(self.tokens, self.at) + 1;
                }
                inner
            }
            r"\sum" | r"\prod" => self.over(token == r"\prod"),
            r"\pi" => Expression::Entries(vec![std::f64::consts::PI]),
            "e" => Expression::Entries(vec![std::f64::consts::E]),
            r"\exp" => self.applied(f64::exp),
            r"\log" | r"\ln" => self.applied(f64::ln),
            r"\tanh" => self.applied(f64::tanh),
            r"\operatorname" => {
                let end = closing(self.tokens, self.at);
                let name = self.tokens[self.at + 1..end].concat();
                self.at = end + 1;
                match name.as_str() {
                    "sigmoid" => self.applied(|a| 1.0 / (1.0 + (-a).exp())),
                    "expm1" => self.applied(f64::exp_m1),
                    _ => panic!("nothing is bound to {name} in {}", self.tokens.concat()),
                }
            }
            digit if digit.starts_with(|c: char| c.is_ascii_digit()) => {
                let mut number = token.clone();
                while self.next().starts_with(|c: char| c.is_ascii_digit() || c == '.') {
                    number.push_str(&self.tokens[self.at]);
                    self.at += 1;
                }
                Expression::Entries(vec![
                    number.parse().unwrap_or_else(|error| panic!("{number}: {error}")),
                ])
            }
            _ => panic!(
                "nothing is bound to what begins with {token}{} in {}",
                self.tokens[self.at..].concat(),
                self.tokens.concat()
            ),
        }
    }

    /// An expression up to `end`, which is taken too.
    fn inside(&mut self, end: &str) -> Expression {
        // A bar inside brackets opens anew.
        let bars =
            if end.ends_with('|') { self.bars } else { std::mem::take(&mut self.bars) };
        let inner = self.sum();
        self.expect(end);
        self.bars = bars;
        inner
    }

    /// Expressions between commas, semicolons or `\mid`, up to `end`.
    fn list(&mut self, end: &str) -> Vec<Expression> {
        let bars = std::mem::take(&mut self.bars);
        let mut list = vec![self.sum()];
        while self.take(",") || self.take(";") || self.take(r"\mid") {
            list.push(self.sum());
        }
        self.expect(end);
        self.bars = bars;
        list
    }

    /// A function of what stands in brackets, or of the next factor.
    fn applied(&mut self, function: fn(f64) -> f64) -> Expression {
        assert!(
            self.next() != "^",
            "a power of a function is not read; write it behind brackets"
        );
        let argument =
            if ["(", "["].contains(&self.next()) { self.atom() } else { self.power() };
        assert!(
            self.next() != "^",
            "does the power belong to the function or to its argument? write brackets"
        );
        Expression::Applied(function, Box::new(argument))
    }

    /// A sum or product: its index, from where to where, and the product behind it.
    fn over(&mut self, product: bool) -> Expression {
        self.expect("_");
        let braced = self.take("{");
        let start = self.at;
        while !["=", "}", "^", ""].contains(&self.next()) {
            self.at += 1;
            if !braced {
                break;
            }
        }
        let index = self.tokens[start..self.at].to_vec();
        let (from, to) = if self.take("=") {
            let from = self.sum();
            self.expect("}");
            self.expect("^");
            (from, self.argument())
        } else {
            if braced {
                self.expect("}");
            }
            let range = self.values.0.iter().find_map(|(name, meaning)| match meaning {
                Meaning::Range(first, last) if *name == index => Some((*first, *last)),
                _ => None,
            });
            let (first, last) =
                range.unwrap_or_else(|| panic!("{} has no range", index.concat()));
            (
                Expression::Entries(vec![f64::from(first)]),
                Expression::Entries(vec![f64::from(last)]),
            )
        };
        self.indices.push(index.clone());
        let body = self.product();
        self.indices.pop();
        Expression::Over {
            product,
            index,
            from: Box::new(from),
            to: Box::new(to),
            body: Box::new(body),
        }
    }
}
