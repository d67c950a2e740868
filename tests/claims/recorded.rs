//! Runs that take too long to repeat with every change: what benches/recorded says of them.

/// The numbers below the two header lines of an anchor in benches/recorded/seeds.txt.
pub fn rows(anchor: &str) -> Vec<Vec<f64>> {
    let text = include_str!("../../benches/recorded/seeds.txt");
    let after = text.split(&format!("# ANCHOR: {anchor}\n")).nth(1).unwrap_or_default();
    let rows = after.lines().skip(2).take_while(|line| !line.starts_with('#'));
    rows.map(|line| line.split_whitespace().map(|cell| cell.parse().expect("a number")).collect()).collect()
}
