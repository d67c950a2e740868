//! What a figure shows, in numbers, so that a test can hold it and a reader can draw it
//! again.

/// A picture and its data.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The picture.
    pub svg: String,
    /// What is drawn, as comma-separated values. The first line, which begins with `#`,
    /// says how far the numbers may differ between machines; the second names the columns.
    pub data: String,
}

/// The data of a figure while they are collected.
#[derive(Clone, Debug)]
pub struct Table(String);

impl Table {
    /// A table with these columns, the first of which holds names. Numbers agree between
    /// machines as `agreement` says: `within 0.02`, or, for a column each, `within 0.03 of
    /// the range: linear, logarithmic`.
    pub fn new(agreement: &str, columns: &[&str]) -> Self {
        let columns: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
        Self(format!("# {agreement}\n{}\n", columns.join(",")))
    }

    /// Adds a row: a name, then a number for each of the other columns.
    pub fn row(&mut self, name: &str, numbers: impl IntoIterator<Item = f64>) {
        self.0.push_str(&quoted(name));
        // As many digits as an f32 has.
        self.0.extend(numbers.into_iter().map(|number| format!(",{number:.6e}")));
        self.0.push('\n');
    }

    /// The figure with this picture.
    pub fn with(self, svg: String) -> Figure {
        Figure { svg, data: self.0 }
    }
}

/// A cell as RFC 4180 has it.
fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_string()
    }
}
