//! The report: what a chapter prints on stdout, and what its snapshot holds.
//!
//! A section begins with `## Heading`. A row is a label and a number, at least two spaces
//! apart; a table is a header and rows whose cells are two or more spaces apart. A number
//! that may differ between machines or thread counts carries its tolerance, `2.098 ±
//! 0.020`; every other number is exact.

use std::{fmt, sync::Arc};

use super::outlet::Outlet;

/// A number as it is printed.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    value: f64,
    decimals: usize,
    tolerance: Option<f64>,
    scientific: bool,
}

impl Number {
    /// A number that is the same on every machine.
    pub fn exact(value: f64, decimals: usize) -> Self {
        Self { value, decimals, tolerance: None, scientific: false }
    }

    /// A number that agrees within `tolerance` between machines, thread counts and
    /// backends.
    pub fn within(value: f64, tolerance: f64, decimals: usize) -> Self {
        Self { value, decimals, tolerance: Some(tolerance), scientific: false }
    }

    /// A number that is the same on every machine, as a power of ten: `4.4e7`.
    pub fn scientific(value: f64, decimals: usize) -> Self {
        Self { value, decimals, tolerance: None, scientific: true }
    }

    /// A count.
    pub fn count(value: usize) -> Self {
        Self::exact(value as f64, 0)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scientific {
            return f.pad(&format!("{:.*e}", self.decimals, self.value));
        }
        // No minus sign in front of a number that rounds to zero.
        let value = if self.value.abs() < 0.5 * 10f64.powi(-(self.decimals as i32)) {
            0.0
        } else {
            self.value
        };
        let text = match self.tolerance {
            None => format!("{value:.*}", self.decimals),
            Some(tolerance) => format!("{value:.d$} ± {tolerance:.d$}", d = self.decimals),
        };
        f.pad(&text)
    }
}

/// Writes the report.
pub struct Report {
    outlet: Arc<dyn Outlet>,
    /// True after the first line.
    begun: bool,
    /// False once nobody reads it any more.
    read: bool,
}

impl Report {
    pub(super) fn new(outlet: Arc<dyn Outlet>) -> Self {
        Self { outlet, begun: false, read: true }
    }

    /// Starts a section.
    pub fn section(&mut self, heading: &str) {
        if self.begun {
            self.line("");
        }
        self.line(&format!("## {heading}"));
    }

    /// A line of text.
    pub fn line(&mut self, line: &str) {
        let line = line.trim_end();
        self.begun = true;
        self.read = self.read && self.outlet.line(line);
    }

    /// A label and a number with its unit.
    pub fn row(&mut self, label: &str, number: &Number, unit: &str) {
        self.line(&format!("{label:<34}  {number:>9} {unit}"));
    }

    /// A table of exact numbers with this many decimals.
    pub fn exact_table<const N: usize>(
        &mut self,
        header: &[&str],
        decimals: usize,
        rows: impl IntoIterator<Item = (String, [f64; N])>,
    ) {
        let number = |value| Number::exact(value, decimals);
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(label, values)| (label, values.map(number).to_vec()))
            .collect();
        self.table(header, &rows);
    }

    /// A table: a header, then a label and numbers per row.
    pub fn table(&mut self, header: &[&str], rows: &[(String, Vec<Number>)]) {
        let mut cells: Vec<Vec<String>> =
            vec![header.iter().map(ToString::to_string).collect()];
        for (label, numbers) in rows {
            cells.push(
                [label.clone()]
                    .into_iter()
                    .chain(numbers.iter().map(ToString::to_string))
                    .collect(),
            );
        }
        let widths: Vec<usize> = (0..header.len())
            .map(|j| {
                cells
                    .iter()
                    .filter_map(|row| row.get(j))
                    .map(|cell| cell.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for row in cells {
            let padded: Vec<String> = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(
                    |(j, (cell, &w))| {
                        if j == 0 { format!("{cell:<w$}") } else { format!("{cell:>w$}") }
                    },
                )
                .collect();
            self.line(&padded.join("  "));
        }
    }
}
