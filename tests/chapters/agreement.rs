//! When two reports agree: text exactly, and numbers that carry a tolerance within it.

/// True if the two reports agree.
pub fn agree(reference: &str, test: &str) -> bool {
    let (mut a, mut b) = (reference.trim().lines(), test.trim().lines());
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (Some(a), Some(b)) if lines_agree(a, b) => {}
            _ => return false,
        }
    }
}

fn lines_agree(reference: &str, test: &str) -> bool {
    let (mut a, mut b) = (normalize(reference), normalize(test));
    // Cut off one `number ± tolerance` after the other; the text before each must be the
    // same.
    while let (Some(x), Some(y)) = (Approximate::cut(&a), Approximate::cut(&b)) {
        if x.before != y.before || x.tolerance != y.tolerance || x.decimals != y.decimals {
            return false;
        }
        // The printed numbers are decimal fractions; the last bit of their binary forms
        // must not decide.
        if (x.value - y.value).abs() > x.limit + 1e-9 {
            return false;
        }
        (a, b) = (x.after.to_string(), y.after.to_string());
    }
    a == b
}

/// Columns are aligned by spaces, whose number depends on the digits of other rows.
fn normalize(line: &str) -> String {
    let cells: Vec<&str> =
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    cells.join("  ")
}

/// How many of the numbers of a report agree with the reference's, and how many there are.
/// Two lines in which other words stand agree in nothing.
///
/// A number is a cell of a row or a table, two spaces from the next, that begins with one.
/// The cells of a table's header and the labels of rows are none.
pub fn numbers(reference: &str, test: &str) -> (usize, usize) {
    let (mut found, mut all, mut before) = (0, 0, "");
    let mut test = test.trim().lines();
    for line in reference.trim().lines() {
        let (a, b) = (normalize(line), normalize(test.next().unwrap_or_default()));
        let (mut a, mut b) = (a.split("  "), b.split("  "));
        let first = a.next().unwrap_or_default();
        let same = b.next() == Some(first);
        let (a, b): (Vec<&str>, Vec<&str>) = (a.collect(), b.collect());
        let header = (before.is_empty() || before.starts_with("## ")) && a.len() > 1;
        before = line;
        if header {
            continue;
        }
        for (i, a) in a.iter().enumerate().filter(|(_, a)| begins_with_number(a)) {
            all += 1;
            let agrees = same && b.get(i).is_some_and(|b| lines_agree(a, b));
            found += usize::from(agrees);
        }
    }
    (found, all)
}

fn begins_with_number(cell: &str) -> bool {
    cell.split(' ').next().is_some_and(|word| word.parse::<f64>().is_ok())
}

/// The first `number ± tolerance` of a line, and the text around it.
struct Approximate<'a> {
    before: &'a str,
    value: f64,
    decimals: usize,
    tolerance: &'a str,
    limit: f64,
    after: &'a str,
}

impl<'a> Approximate<'a> {
    fn cut(line: &'a str) -> Option<Self> {
        let is_number = |c: char| c.is_ascii_digit() || c == '.' || c == '-';
        let middle = line.find(" ± ")?;
        let start = line[..middle]
            .rfind(|c| !is_number(c))
            .map_or(0, |i| i + line[i..].chars().next().map_or(1, char::len_utf8));
        let rest = &line[middle + " ± ".len()..];
        let end = rest.find(|c| !is_number(c)).unwrap_or(rest.len());
        let number = &line[start..middle];
        Some(Self {
            before: &line[..start],
            value: number.parse().ok()?,
            decimals: number.split_once('.').map_or(0, |(_, fraction)| fraction.len()),
            tolerance: &rest[..end],
            limit: rest[..end].parse().ok()?,
            after: &rest[end..],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{agree, numbers};

    const REPORT: &str = "## The bound\ntest bound            2.098 ± 0.020 bits/dim\nlatents                 100\n";

    #[test]
    fn the_same_text_agrees() {
        assert!(agree(REPORT, REPORT));
    }

    #[test]
    fn a_number_within_its_tolerance_agrees() {
        assert!(agree(REPORT, &REPORT.replace("2.098", "2.118")));
        assert!(agree(REPORT, &REPORT.replace("2.098", "2.078")));
    }

    #[test]
    fn a_number_beyond_its_tolerance_differs() {
        assert!(!agree(REPORT, &REPORT.replace("2.098", "2.119")));
        assert!(!agree(REPORT, &REPORT.replace("2.098", "-2.098")));
    }

    #[test]
    fn an_exact_number_must_be_exact() {
        assert!(!agree(REPORT, &REPORT.replace("100", "101")));
    }

    #[test]
    fn words_headings_units_and_tolerances_must_be_the_same() {
        for (old, new) in [
            ("bound   ", "bond   "),
            ("## The", "## A"),
            ("bits/dim", "nats"),
            ("0.020", "0.030"),
            ("0.020", "0.02"),
            ("2.098", "2.0980"),
        ] {
            assert!(!agree(REPORT, &REPORT.replace(old, new)), "{old} -> {new}");
        }
    }

    #[test]
    fn a_missing_or_an_extra_line_differs() {
        assert!(!agree(REPORT, &REPORT.replace("latents                 100\n", "")));
        assert!(!agree(REPORT, &format!("{REPORT}more\n")));
    }

    #[test]
    fn an_approximate_number_cannot_pass_for_an_exact_one() {
        assert!(!agree("latents  100", "latents  100 ± 1"));
        assert!(!agree("latents  100 ± 1", "latents  100"));
    }

    #[test]
    fn every_number_of_a_table_row_is_compared() {
        let row = "T = 10   2.10 ± 0.02   9.98 ± 0.05   3";
        assert!(agree(row, "T = 10   2.11 ± 0.02  10.02 ± 0.05   3"));
        assert!(!agree(row, "T = 10   2.11 ± 0.02  10.04 ± 0.05   3"));
        assert!(!agree(row, "T = 10   2.11 ± 0.02  10.02 ± 0.05   4"));
    }

    #[test]
    fn what_is_not_a_number_differs() {
        assert!(!agree("bound  2.1 ± 0.1", "bound  NaN ± 0.1"));
        assert!(!agree("bound  2.1 ± 0.1", "bound  inf ± 0.1"));
    }

    #[test]
    fn numbers_are_counted_one_by_one() {
        let table = "## A table\n17  8 levels  9 levels\n2   1.00 ± 0.10  -3.0e4\n3  2.00 ± 0.10  5\n";
        let report = format!("{REPORT}\n{table}");
        assert_eq!(numbers(&report, &report), (6, 6));
        let one = report.replace("2.00", "2.20");
        assert_eq!(numbers(&report, &one), (5, 6));
        assert_eq!(numbers(&report, &report.replace("bound   ", "bond   ")), (5, 6));
        assert_eq!(numbers(&report, REPORT), (2, 6));
    }
}
