//! Compares what the figures show with `tests/snapshots`: pictures are not looked at, the
//! numbers that are drawn are.

use std::{fs, path::Path};

use insta::{Comparator, Snapshot, internals::SnapshotContents};

/// Of each curve so many points are compared, its first and its last among them.
const POINTS: usize = 16;

/// The data of all figures in this folder, one after the other, with fewer points.
pub fn collect(folder: &Path) -> String {
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the folder of the figures can be read")
        .map(|entry| entry.expect("an entry of the folder").path())
        .filter(|path| path.extension().is_some_and(|e| e == "csv"))
        .collect();
    files.sort();
    let figure = |path: &std::path::PathBuf| {
        let name = path.file_stem().expect("a figure has a name").to_string_lossy();
        let text = fs::read_to_string(path).expect("the data of a figure can be read");
        format!("## {name}\n{}\n", thin(&text))
    };
    files.iter().map(figure).collect()
}

/// The same with at most [`POINTS`] rows of each curve, and how many there were.
fn thin(text: &str) -> String {
    let mut lines = text.lines();
    let mut out: Vec<String> = lines.by_ref().take(2).map(str::to_string).collect();
    let rows: Vec<&str> = lines.collect();
    let columns = out.get(1).map_or(0, |head| columns(head));
    let name = |row| cells(row, columns).map(|(name, _)| name);
    for curve in rows.chunk_by(|a, b| name(a) == name(b)) {
        let n = curve.len();
        out.push(format!("{n} rows"));
        let places = (0..POINTS.min(n)).map(|i| i * (n - 1) / (POINTS.min(n) - 1).max(1));
        out.extend(places.map(|i| curve[i].to_string()));
    }
    out.join("\n") + "\n"
}

/// The first cell of a row, and its numbers.
fn cells(row: &str, columns: usize) -> Option<(&str, Vec<f64>)> {
    let mut numbers = Vec::new();
    let mut rest = row;
    for _ in 1..columns {
        let (before, last) = rest.rsplit_once(',')?;
        numbers.insert(0, last.parse().ok()?);
        rest = before;
    }
    Some((rest, numbers))
}

/// How many columns the head of a table names; a comma between quotes parts none.
fn columns(head: &str) -> usize {
    let outside = head.split('"').step_by(2);
    1 + outside.map(|text| text.matches(',').count()).sum::<usize>()
}

/// Accepts figures whose numbers differ by no more than the figure's first line says.
#[derive(Clone)]
pub struct Drawn;

impl Comparator for Drawn {
    fn matches(&self, reference: &Snapshot, test: &Snapshot) -> bool {
        match (reference.contents(), test.contents()) {
            (SnapshotContents::Text(reference), SnapshotContents::Text(test)) => {
                agree(&reference.to_string(), &test.to_string())
            }
            _ => false,
        }
    }

    fn dyn_clone(&self) -> Box<dyn Comparator> {
        Box::new(self.clone())
    }
}

/// True if both hold the same figures.
fn agree(reference: &str, test: &str) -> bool {
    let split = |text: &str| -> Vec<String> {
        text.trim().split("\n## ").map(|figure| figure.trim().to_string()).collect()
    };
    let (a, b) = (split(reference), split(test));
    a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| figures_agree(a, b))
}

fn figures_agree(reference: &str, test: &str) -> bool {
    let (a, b): (Vec<_>, Vec<_>) = (reference.lines().collect(), test.lines().collect());
    if a.len() != b.len() || a.len() < 3 || a[..3] != b[..3] {
        return false;
    }
    let columns = columns(a[2]);
    let rows: Vec<_> = a.iter().map(|row| cells(row, columns)).collect();
    let limits = limits(a[1], rows.iter().skip(3).flatten().map(|(_, numbers)| numbers));
    a[3..].iter().zip(&b[3..]).all(|(a, b)| match (cells(a, columns), cells(b, columns)) {
        (Some((a, x)), Some((b, y))) => {
            let pairs = x.iter().zip(&y).zip(&limits);
            a == b && pairs.into_iter().all(|((x, y), limit)| limit.allows(*x, *y))
        }
        _ => a == b,
    })
}

/// How far the numbers of a column may differ.
struct Limit {
    distance: f64,
    logarithmic: bool,
}

impl Limit {
    fn allows(&self, x: f64, y: f64) -> bool {
        let scale = |v: f64| if self.logarithmic { v.ln() } else { v };
        x == y || (x.is_nan() && y.is_nan()) || (scale(x) - scale(y)).abs() <= self.distance
    }
}

fn limits<'a>(
    agreement: &str,
    rows: impl Iterator<Item = &'a Vec<f64>> + Clone,
) -> Vec<Limit> {
    let (within, scales) = match agreement.split_once(" of the range: ") {
        Some((within, scales)) => (within, Some(scales)),
        None => (agreement, None),
    };
    let within: f64 =
        within.trim_start_matches("# within ").parse().expect("`# within <number>`");
    let columns = rows.clone().next().map_or(0, Vec::len);
    let limit = |column: usize| {
        let Some(scale) = scales.and_then(|scales| scales.split(", ").nth(column)) else {
            return Limit { distance: within, logarithmic: false };
        };
        let logarithmic = scale == "logarithmic";
        let values = rows
            .clone()
            .map(|row| if logarithmic { row[column].ln() } else { row[column] });
        let (low, high) = values
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        Limit { distance: within * (high - low), logarithmic }
    };
    (0..columns).map(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHART: &str = "## snr\n# within 0.1 of the range: linear, logarithmic\ncurve,t,\"SNR, a ratio\"\n2 rows\nlinear,0.0e0,1.0e0\nlinear,1.0e0,1.0e2\n";

    #[test]
    fn a_chart_agrees_with_itself_and_within_its_range() {
        assert!(agree(CHART, CHART));
        // A tenth of ln 100 is .46: a factor of 1.58.
        assert!(agree(CHART, &CHART.replace("1.0e2", "1.5e2")));
        assert!(!agree(CHART, &CHART.replace("1.0e2", "1.7e2")));
        assert!(agree(CHART, &CHART.replace("0.0e0", "0.9e-1")));
        assert!(!agree(CHART, &CHART.replace("0.0e0", "1.1e-1")));
    }

    #[test]
    fn another_curve_another_label_and_another_number_of_points_differ() {
        assert!(!agree(CHART, &CHART.replace("\nlinear,0", "\ncosine,0")));
        assert!(!agree(CHART, &CHART.replace("a ratio", "no ratio")));
        assert!(!agree(CHART, &CHART.replace("2 rows", "3 rows")));
        assert!(!agree(CHART, &CHART.replace("1.0e2", "NaN")));
        assert!(!agree(CHART, &CHART.replace("## snr", "## gamma")));
        assert!(!agree(CHART, &format!("{CHART}## more\n{}", &CHART[7..])));
    }

    #[test]
    fn images_agree_within_a_distance() {
        let images = "## samples\n# within 0.02\nrow,images,darkness\n1 rows\nSamples, all,6.4e1,3.0e-1\n";
        assert!(agree(images, &images.replace("3.0e-1", "3.1e-1")));
        assert!(!agree(images, &images.replace("3.0e-1", "3.3e-1")));
        assert!(!agree(images, &images.replace("6.4e1", "6.3e1")));
    }

    #[test]
    fn of_many_points_the_ends_are_kept() {
        let rows: String = (0..100).map(|i| format!("a,{i}\n")).collect();
        let thinned = thin(&format!("# within 1\ncurve,t\n{rows}b,5\n"));
        let lines: Vec<&str> = thinned.lines().collect();
        assert_eq!(lines.len(), 2 + 1 + POINTS + 2);
        assert_eq!((lines[2], lines[3], lines[2 + POINTS]), ("100 rows", "a,0", "a,99"));
        assert_eq!(lines[2 + POINTS + 2], "b,5");
    }
}
