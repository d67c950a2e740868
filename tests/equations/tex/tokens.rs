//! TeX as tokens: commands, digits and other characters.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// The tokens of some TeX: macros expanded, without what only sets space, and without
/// braces around one token.
pub fn tokens(tex: &str) -> Vec<String> {
    const SPACING: &str = r"\, \; \: \! \\ \quad \qquad \left \right \middle \bigl \bigr \Bigl \Bigr \big \Big \displaystyle & ~";
    let mut tokens = expanded(split(tex));
    tokens.retain(|token| {
        token != r"\ " && !SPACING.split(' ').any(|spacing| spacing == token)
    });
    let mut at = 0;
    while at < tokens.len() {
        if [r"\begin", r"\end"].contains(&tokens[at].as_str()) {
            let end = closing(&tokens, at + 1);
            tokens.drain(at..=end);
            continue;
        }
        at += 1;
    }
    loop {
        let empty = tokens.windows(2).position(|pair| pair == ["{", "}"]);
        let single = tokens
            .windows(3)
            .position(|three| three[0] == "{" && three[2] == "}" && three[1] != "}");
        match (empty, single) {
            (Some(at), _) => drop(tokens.drain(at..at + 2)),
            (None, Some(at)) => {
                tokens.remove(at + 2);
                tokens.remove(at);
            }
            (None, None) => return tokens,
        }
    }
}

fn split(tex: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = tex.trim_start();
    while let Some(first) = rest.chars().next() {
        let letters =
            |text: &str| text.chars().take_while(char::is_ascii_alphabetic).count();
        let length = match first {
            '\\' => (1 + letters(&rest[1..])).max(2.min(rest.len())),
            '#' => 2,
            _ => first.len_utf8(),
        };
        tokens.push(rest[..length].to_owned());
        rest = &rest[length..];
        // A space behind a backslash is a token of its own; every other one is none.
        rest = rest.trim_start();
    }
    tokens
}

/// `\newcommand{\name}[n]{body}` of book/macros.tex: how many arguments, and the body.
static MACROS: LazyLock<BTreeMap<String, (usize, Vec<String>)>> = LazyLock::new(|| {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("book/macros.tex");
    let text = fs::read_to_string(file).expect("the macros");
    let definitions =
        text.lines().filter_map(|line| line.trim().strip_prefix(r"\newcommand{"));
    let read = |line: &str| -> Option<(String, (usize, Vec<String>))> {
        let (name, rest) = line.split_once('}')?;
        let (count, rest) = match rest.strip_prefix('[') {
            Some(rest) => {
                rest.split_once(']').map(|(count, rest)| (count.parse().ok(), rest))?
            }
            None => (Some(0), rest),
        };
        let body = rest.strip_prefix('{')?.strip_suffix('}')?;
        Some((name.to_owned(), (count?, split(body))))
    };
    definitions
        .map(|line| read(line).unwrap_or_else(|| panic!("no macro: {line}")))
        .collect()
});

fn expanded(tokens: Vec<String>) -> Vec<String> {
    let mut out = Vec::new();
    let mut open: Vec<String> = tokens.into_iter().rev().collect();
    while let Some(token) = open.pop() {
        let Some((count, body)) = MACROS.get(&token) else {
            out.push(token);
            continue;
        };
        let arguments: Vec<Vec<String>> =
            (0..*count).map(|_| argument(&mut open)).collect();
        for part in body.iter().rev() {
            match part.strip_prefix('#').and_then(|number| number.parse::<usize>().ok()) {
                Some(number) => open.extend(arguments[number - 1].iter().rev().cloned()),
                None => open.push(part.clone()),
            }
        }
    }
    out
}

/// Takes a token, or what stands in braces, from the end of `open`, which runs backwards.
fn argument(open: &mut Vec<String>) -> Vec<String> {
    let mut taken = Vec::new();
    let mut depth = 0;
    while let Some(token) = open.pop() {
        depth += i32::from(token == "{") - i32::from(token == "}");
        taken.push(token);
        if depth == 0 {
            break;
        }
    }
    if taken.len() > 1 {
        taken.pop();
        taken.remove(0);
    }
    taken
}

/// The index of the token with which the argument at `at` ends.
pub fn closing(tokens: &[String], at: usize) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(at) {
        depth += i32::from(token == "{") - i32::from(token == "}");
        if depth == 0 {
            return index;
        }
    }
    panic!("a brace is never closed in {}", tokens.concat());
}
