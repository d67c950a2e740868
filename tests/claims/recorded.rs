//! Runs that take too long to repeat with every change: what benches/recorded/seeds.txt says of them.

/// The lines of an anchor, without its two lines of headers.
fn lines(anchor: &str) -> impl Iterator<Item = &'static str> {
    let text = include_str!("../../benches/recorded/seeds.txt");
    let after = text.split(&format!("# ANCHOR: {anchor}\n")).nth(1).unwrap_or_default();
    after.lines().skip(2).take_while(|line| !line.starts_with('#'))
}

fn numbers(cells: &str) -> Vec<f64> {
    cells.split_whitespace().map(|cell| cell.parse().expect("a number")).collect()
}

/// The numbers of each line.
pub fn rows(anchor: &str) -> Vec<Vec<f64>> {
    lines(anchor).map(numbers).collect()
}

/// The name and the numbers of each line; they are two spaces or more apart.
pub fn named(anchor: &str) -> Vec<(String, Vec<f64>)> {
    let row = |line: &str| {
        let (name, cells) = line.split_once("  ").expect("a name and numbers");
        (name.to_owned(), numbers(cells))
    };
    lines(anchor).map(row).collect()
}
