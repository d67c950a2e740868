//! Runs that take too long to repeat with every change: what the files in benches/recorded
//! say of them.

/// Runs with other seeds.
const SEEDS: &str = include_str!("../../benches/recorded/seeds.txt");

/// The lines of an anchor of the runs with other seeds, without its two lines of headers.
fn lines(anchor: &str) -> impl Iterator<Item = &'static str> {
    let after = SEEDS.split(&format!("# ANCHOR: {anchor}\n")).nth(1).unwrap_or_default();
    after.lines().skip(2).take_while(|line| !line.starts_with('#'))
}

/// The numbers among the words of a text. Tolerances, behind a ±, are none.
pub fn numbers(text: &str) -> Vec<f64> {
    let mut after_sign = false;
    let number = |word: &str| {
        let skipped = std::mem::replace(&mut after_sign, word == "±");
        word.trim_matches(['(', ')', ',']).parse().ok().filter(|_| !skipped)
    };
    text.split_whitespace().filter_map(number).collect()
}

/// The numbers of each line of an anchor.
pub fn rows(anchor: &str) -> Vec<Vec<f64>> {
    lines(anchor).map(numbers).collect()
}

/// The name and the numbers of each line of an anchor; they are two spaces or more apart.
pub fn named(anchor: &str) -> Vec<(String, Vec<f64>)> {
    let row = |line: &str| {
        let (name, cells) = line.split_once("  ").expect("a name and numbers");
        (name.to_owned(), numbers(cells))
    };
    lines(anchor).map(row).collect()
}

/// What stands between the marks of an anchor in a text.
pub fn block<'a>(text: &'a str, anchor: &str) -> &'a str {
    let after = text.split(&format!("# ANCHOR: {anchor}\n")).nth(1).unwrap_or_default();
    after.split("# ANCHOR_END").next().unwrap_or_default()
}

/// The numbers of the first line of a text whose name is this; two spaces or more follow
/// the name.
pub fn line(text: &str, name: &str) -> Vec<f64> {
    let is_it = |line: &&str| line.split("  ").next() == Some(name);
    let line = text.lines().find(is_it).unwrap_or_else(|| panic!("no line {name:?}"));
    numbers(&line[name.len()..])
}

/// The numbers of the first line of a text that begins with these words, without those in
/// the words.
pub fn numbers_in(text: &str, words: &str) -> Vec<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(words));
    numbers(line.unwrap_or_else(|| panic!("no line {words:?}")))
}
