//! Expressions and their values.

use super::tokens::tokens;

/// What the symbols of a formula mean.
#[derive(Default)]
pub struct Values<'a>(pub Vec<(Vec<String>, Meaning<'a>)>);

/// From the values of indices or arguments to a number.
type Function<'a> = dyn Fn(&[f64]) -> f64 + 'a;

/// What one symbol means.
pub enum Meaning<'a> {
    /// A number, or the entries of a vector.
    Entries(Vec<f64>),
    /// A family with an index, or a function with arguments.
    Function(Box<Function<'a>>),
    /// The first and the last value of an index.
    Range(i32, i32),
}

impl<'a> Values<'a> {
    /// Binds a symbol to a number.
    pub fn number(self, name: &str, value: f64) -> Self {
        self.vector(name, &[value])
    }

    /// Binds a symbol to a vector.
    pub fn vector(self, name: &str, entries: &[f64]) -> Self {
        self.bind(name, Meaning::Entries(entries.to_vec()))
    }

    /// Binds a symbol that carries an index, `\alpha_t`, or arguments, `f(s, t)`.
    pub fn function(self, name: &str, function: impl Fn(&[f64]) -> f64 + 'a) -> Self {
        self.bind(name, Meaning::Function(Box::new(function)))
    }

    /// Says over what a sum runs that names its index alone.
    pub fn range(self, index: &str, first: i32, last: i32) -> Self {
        self.bind(index, Meaning::Range(first, last))
    }

    fn bind(mut self, name: &str, meaning: Meaning<'a>) -> Self {
        self.0.push((tokens(name), meaning));
        self
    }
}

/// An expression, with the test's values at their places.
pub enum Expression {
    Entries(Vec<f64>),
    /// The index of a sum or a product.
    Index(Vec<String>),
    Negative(Box<Self>),
    Sum(Vec<Self>),
    Product(Vec<Self>),
    Quotient(Box<Self>, Box<Self>),
    Power(Box<Self>, Box<Self>),
    Norm(Box<Self>),
    Applied(fn(f64) -> f64, Box<Self>),
    /// What the test bound at this place, with its index or arguments.
    Function(usize, Vec<Self>),
    /// A sum, or a product, over an index.
    Over {
        product: bool,
        index: Vec<String>,
        from: Box<Self>,
        to: Box<Self>,
        body: Box<Self>,
    },
}

impl Expression {
    /// Its value, which is a number.
    pub fn number(&self, values: &Values, indices: &mut Vec<(Vec<String>, f64)>) -> f64 {
        match self.value(values, indices)[..] {
            [number] => number,
            _ => panic!("a vector stands where a number belongs"),
        }
    }

    /// Its entries: one for a number. `indices` are those of the sums around.
    pub fn value(
        &self,
        values: &Values,
        indices: &mut Vec<(Vec<String>, f64)>,
    ) -> Vec<f64> {
        match self {
            Self::Entries(entries) => entries.clone(),
            Self::Index(name) => {
                let index = indices.iter().rev().find(|(known, _)| known == name);
                vec![index.unwrap_or_else(|| panic!("{} has no value", name.concat())).1]
            }
            Self::Negative(inner) => {
                inner.value(values, indices).iter().map(|entry| -entry).collect()
            }
            Self::Sum(terms) => {
                let terms: Vec<Vec<f64>> =
                    terms.iter().map(|term| term.value(values, indices)).collect();
                assert!(
                    terms.iter().all(|term| term.len() == terms[0].len()),
                    "a number is added to a vector"
                );
                (0..terms[0].len())
                    .map(|i| terms.iter().map(|term| term[i]).sum())
                    .collect()
            }
            Self::Product(factors) => factors
                .iter()
                .map(|factor| factor.value(values, indices))
                .fold(vec![1.0], |left, right| match (left.len(), right.len()) {
                    (1, _) => right.iter().map(|entry| left[0] * entry).collect(),
                    (_, 1) => left.iter().map(|entry| entry * right[0]).collect(),
                    _ => panic!("two vectors stand side by side"),
                }),
            Self::Quotient(above, below) => {
                let divisor = below.number(values, indices);
                above.value(values, indices).iter().map(|entry| entry / divisor).collect()
            }
            Self::Power(base, exponent) => {
                let (base, exponent) =
                    (base.number(values, indices), exponent.number(values, indices));
                let whole = exponent.fract() == 0.0 && exponent.abs() < 64.0;
                vec![if whole { base.powi(exponent as i32) } else { base.powf(exponent) }]
            }
            Self::Norm(inner) => {
                let squares: f64 =
                    inner.value(values, indices).iter().map(|entry| entry * entry).sum();
                vec![squares.sqrt()]
            }
            Self::Applied(function, inner) => vec![function(inner.number(values, indices))],
            Self::Function(place, arguments) => {
                let arguments: Vec<f64> =
                    arguments.iter().map(|one| one.number(values, indices)).collect();
                match &values.0[*place].1 {
                    Meaning::Function(function) => vec![function(&arguments)],
                    _ => panic!("no function is bound there"),
                }
            }
            Self::Over { product, index, from, to, body } => {
                let (first, last) = (
                    from.number(values, indices) as i32,
                    to.number(values, indices) as i32,
                );
                let mut each = |i: i32| {
                    indices.push((index.clone(), f64::from(i)));
                    let value = body.number(values, indices);
                    indices.pop();
                    value
                };
                let total = if *product {
                    (first..=last).map(&mut each).product::<f64>()
                } else {
                    (first..=last).map(&mut each).sum::<f64>()
                };
                vec![total]
            }
        }
    }
}
