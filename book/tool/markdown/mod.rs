//! Finds what this tool replaces on a page: maths, directives, citations and figures.
//!
//! mdBook's own Markdown reader says which bytes are code, HTML tags or comments; those are
//! left alone. Everything found carries its byte range in the source, so that errors name a
//! line and replacements never touch the author's text around them.

use std::ops::Range;
use std::sync::LazyLock;

use pulldown_cmark::{Event, Options, Parser, Tag};
use regex::Regex;

use crate::problem::Problems;

/// A piece of Markdown with the place it comes from.
#[derive(Debug, Clone, Default)]
pub struct Fragment {
    /// The Markdown.
    pub text: String,
    /// The line of the file on which it begins.
    pub line: usize,
}

/// Something to replace.
#[derive(Debug, Clone)]
pub struct Item {
    /// The bytes of the source that it takes.
    pub range: Range<usize>,
    /// The line of the file on which it begins.
    pub line: usize,
    /// What stands before it on its line (`> ` or the indentation of a list); empty for
    /// inline items.
    pub margin: String,
    /// What it is.
    pub kind: Kind,
}

/// What there is to replace.
#[derive(Debug, Clone)]
pub enum Kind {
    /// `$$ … $$`, with the text between the braces that may follow.
    Display {
        /// The TeX source, without the margin.
        tex: String,
        /// `#eq:label .definition from="other"`.
        attributes: Option<String>,
    },
    /// `$ … $`.
    Inline(String),
    /// `\$`.
    Dollar,
    /// `{{name argument}}`.
    Directive {
        /// `eqref`, `#listing`, `/exercise`.
        name: String,
        /// What follows the name.
        argument: String,
        /// Whether it has its line for itself.
        alone: bool,
    },
    /// `[@key; @other, locator]`, the text between the brackets.
    Citation(String),
    /// `![alt](figure:path "caption")`.
    Figure {
        /// The text between the brackets.
        alt: Fragment,
        /// What follows `figure:`.
        path: String,
        /// The text between the quotes.
        caption: Fragment,
    },
}

/// A source with what was found in it.
#[derive(Debug)]
pub struct Scan {
    /// Items in the order of the source; they do not overlap.
    pub items: Vec<Item>,
    /// The source with every item masked, byte for byte: Markdown that holds the author's
    /// prose alone.
    pub masked: String,
}

static OPENS_DISPLAY: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?m)^([ \t]*(?:>[ \t]?)*[ \t]*)\$\$"));
static MARGIN: LazyLock<Regex> = LazyLock::new(|| pattern(r"^[ \t]*(?:>[ \t]?)*[ \t]*$"));
static ATTRIBUTES: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^[ \t]*(?:\{([^{}\n]*)\}[ \t]*)?(?:\n|$)"));
static BLANK_LINE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\n[ \t]*(?:>[ \t]?)*[ \t]*\n"));
static DIRECTIVE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^\{\{[ \t]*([#/]?[A-Za-z][A-Za-z-]*)(?:\s+((?s:.*)))?\}\}$")
});
/// Several things may end on one line: `{{/solution}} {{/exercise}}`.
static CLOSINGS: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"^[ \t]*(?:>[ \t]?)*(?:[ \t]*\{\{/[a-z-]+\}\})+[ \t]*$"));
static CITATION: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\[(@[^\[\]]+)\]"));
static FIGURE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r#"^!\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(figure:([^\s)"]*)(?:\s+"((?s:.*?))")?\s*\)[ \t]*(?:\n|$)"#,
    )
});

/// A pattern that is part of the program.
pub fn pattern(text: &str) -> Regex {
    match Regex::new(text) {
        Ok(regex) => regex,
        // A constant of the program that every test of the tool compiles.
        Err(error) => unreachable!("{error}"),
    }
}

/// The options with which mdBook reads a page, without smart punctuation (which would move
/// no byte range).
pub fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_DEFINITION_LIST
        | Options::ENABLE_GFM
}

/// The line of `text` on which byte `offset` lies, counted from `first`.
pub fn line_of(text: &str, offset: usize, first: usize) -> usize {
    first + text.as_bytes()[..offset].iter().filter(|&&byte| byte == b'\n').count()
}

/// Finds the items of `source`; what cannot be read is reported against `file`.
pub fn scan(source: &Fragment, file: &str, problems: &mut Problems) -> Scan {
    let text = source.text.as_str();
    let mut report = |offset: usize, message: &str| {
        problems.add(file, line_of(text, offset, source.line), message)
    };

    let (mut items, ends) = displays(source, &mut report);
    // The second reading sees no display maths, whose lines could look like lists, rules or
    // code.
    let without_displays = mask(text, &items);
    inlines(source, &without_displays, ends, &mut items, &mut report);
    items.sort_by_key(|item| item.range.start);
    let masked = mask(text, &items);
    Scan { items, masked }
}

/// Display maths, and where the reading has to stop because one of them never ends.
fn displays(source: &Fragment, report: &mut dyn FnMut(usize, &str)) -> (Vec<Item>, usize) {
    let text = source.text.as_str();
    let code = protected(text, true);
    let mut items = Vec::new();
    let mut from = 0;
    while let Some(found) = OPENS_DISPLAY.captures_at(text, from) {
        let margin = found.get(1).map_or("", |part| part.as_str());
        let open = found.get(0).map_or(text.len(), |part| part.end());
        let start = open - 2;
        if let Some(block) = code.iter().find(|block| block.contains(&start)) {
            from = block.end.max(open);
            continue;
        }
        let blank =
            BLANK_LINE.find_at(text, open).map_or(text.len(), |found| found.start());
        let Some(length) = text[open..blank].find("$$") else {
            report(
                start,
                "this $$ is never closed; end the equation with $$ before the next blank line",
            );
            return (items, start);
        };
        let close = open + length + 2;
        let rest = ATTRIBUTES.captures(&text[close..]);
        if rest.is_none() {
            report(
                close,
                "only {#eq:label …} may follow the $$ that ends an equation; begin a new line after it",
            );
        }
        let part = |group: usize| {
            rest.as_ref().and_then(|rest| rest.get(group)).map(|part| part.as_str())
        };
        let end = close + part(0).map_or(0, |line| line.trim_end_matches('\n').len());
        items.push(Item {
            range: start..end,
            line: line_of(text, start, source.line),
            margin: margin.to_owned(),
            kind: Kind::Display {
                tex: without_margin(&text[open..open + length]),
                attributes: part(1).map(str::to_owned),
            },
        });
        from = end;
    }
    (items, text.len())
}

/// All other items, read from left to right.
fn inlines(
    source: &Fragment,
    text: &str,
    end: usize,
    items: &mut Vec<Item>,
    report: &mut dyn FnMut(usize, &str),
) {
    let code = protected(text, false);
    let bytes = text.as_bytes();
    let mut next_code = code.iter().peekable();
    let mut at = 0;
    let mut add = |range: Range<usize>, margin: &str, kind: Kind| {
        let line = line_of(text, range.start, source.line);
        items.push(Item { range, line, margin: margin.to_owned(), kind });
    };
    while at < end {
        while next_code.peek().is_some_and(|range| range.end <= at) {
            next_code.next();
        }
        if let Some(range) = next_code.peek()
            && range.start <= at
        {
            at = range.end;
            continue;
        }
        let rest = &text[at..];
        match bytes[at] {
            b'\\' if rest.starts_with("\\$") => {
                add(at..at + 2, "", Kind::Dollar);
                at += 2;
            }
            b'\\' => at += 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            b'$' if rest.starts_with("$$") => {
                report(
                    at,
                    "display maths begins on a line of its own; put this $$ at the start of a line",
                );
                at = text[at + 2..].find("$$").map_or(end, |length| at + length + 4);
            }
            b'$' => match inline_maths(text, at) {
                Ok(close) => {
                    add(at..close, "", Kind::Inline(text[at + 1..close - 1].to_owned()));
                    at = close;
                }
                // Where one $ is wrong, the pairs after it in the paragraph mean nothing.
                Err(message) => {
                    report(at, message);
                    at = BLANK_LINE.find_at(text, at).map_or(end, |found| found.start());
                }
            },
            b'{' if rest.starts_with("{{") => match directive(text, at) {
                Ok((range, margin, kind)) => {
                    at = range.end;
                    add(range, &margin, kind);
                }
                Err(message) => {
                    report(at, message);
                    at += 2;
                }
            },
            b'[' => match CITATION.captures(rest) {
                Some(found) => {
                    let length = found.get(0).map_or(1, |part| part.end());
                    add(at..at + length, "", Kind::Citation(found[1].to_owned()));
                    at += length;
                }
                None => at += 1,
            },
            b'!' if rest.starts_with("![") => match figure(text, at, source.line) {
                Some((range, margin, kind)) => {
                    at = range.end;
                    add(range, &margin, kind);
                }
                None => {
                    let stop = rest.find("\n\n").unwrap_or(rest.len());
                    if let Some(offset) = rest[..stop].find("](figure:")
                        && !rest[2..offset].contains("![")
                    {
                        report(
                            at,
                            "a figure has lines of its own: ![what it shows](figure:chapter/name.svg \"Caption\"), with nothing before or after it",
                        );
                    }
                    at += 2;
                }
            },
            _ => at += rest.chars().next().map_or(1, char::len_utf8),
        }
    }
}

/// Where the inline maths that opens at `open` ends (behind its `$`).
fn inline_maths(text: &str, open: usize) -> Result<usize, &'static str> {
    let unclosed = "this $ opens maths that is never closed; close it in the same paragraph, or write \\$ for a dollar";
    let body = &text[open + 1..];
    if body.starts_with(char::is_whitespace) || body.is_empty() {
        return Err("maths does not begin with a space: write $x$, or \\$ for a dollar");
    }
    let stop = BLANK_LINE.find(body).map_or(body.len(), |found| found.start());
    let mut escaped = false;
    for (offset, c) in body[..stop].char_indices() {
        match c {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            '$' if !escaped => {
                if body[..offset].ends_with(char::is_whitespace) {
                    return Err(
                        "maths does not end with a space: write $x$, or \\$ for a dollar",
                    );
                }
                return Ok(open + 1 + offset + 1);
            }
            _ => {}
        }
        escaped = false;
    }
    Err(unclosed)
}

/// The directive at `open`.
fn directive(
    text: &str,
    open: usize,
) -> Result<(Range<usize>, String, Kind), &'static str> {
    let malformed = "this {{ begins no directive; write {{name argument}}, or put literal braces in `code`";
    let line_start = text[..open].rfind('\n').map_or(0, |newline| newline + 1);
    let margin = &text[line_start..open];
    let line_end = text[open..].find('\n').map_or(text.len(), |length| open + length);
    let line = text[open..line_end].trim_end();
    let begins_line = MARGIN.is_match(margin);
    // A block directive takes its whole line, so that its argument may hold braces.
    let block = begins_line && line.ends_with("}}") && line.starts_with("{{#");
    let end = if block {
        open + line.len()
    } else {
        let stop = BLANK_LINE.find_at(text, open).map_or(text.len(), |found| found.start());
        open + text[open..stop]
            .find("}}")
            .ok_or("this {{ is never closed; end the directive with }}")?
            + 2
    };
    let found = DIRECTIVE.captures(&text[open..end]).ok_or(malformed)?;
    let argument = found.get(2).map_or("", |part| part.as_str());
    let alone = (begins_line && text[end..line_end.max(end)].trim().is_empty())
        || CLOSINGS.is_match(&text[line_start..line_end]);
    // The > of a quoted line is none of the directive's.
    let quoted = margin.trim_start().starts_with('>');
    let argument = if quoted { without_margin(argument) } else { argument.to_owned() };
    let margin = margin.split('{').next().unwrap_or_default();
    let kind = Kind::Directive {
        name: found[1].to_owned(),
        argument: argument.split_whitespace().collect::<Vec<_>>().join(" "),
        alone,
    };
    Ok((open..end, if alone { margin.to_owned() } else { String::new() }, kind))
}

/// The figure at `open`, if it is one and has its lines for itself.
fn figure(text: &str, open: usize, first: usize) -> Option<(Range<usize>, String, Kind)> {
    let line_start = text[..open].rfind('\n').map_or(0, |newline| newline + 1);
    let margin = &text[line_start..open];
    let rest = &text[open..];
    let stop = BLANK_LINE.find(rest).map_or(rest.len(), |found| found.start() + 1);
    let found = FIGURE.captures(&rest[..stop])?;
    if !MARGIN.is_match(margin) {
        return None;
    }
    let fragment = |group: usize| {
        found.get(group).map_or_else(Fragment::default, |part| Fragment {
            text: without_margin(part.as_str()),
            line: line_of(text, open + part.start(), first),
        })
    };
    let end = open + found[0].trim_end().len();
    let kind =
        Kind::Figure { alt: fragment(1), path: found[2].to_owned(), caption: fragment(3) };
    Some((open..end, margin.to_owned(), kind))
}

/// `text` without the `>` and indentation that later lines of a quoted or listed block
/// begin with.
fn without_margin(text: &str) -> String {
    let strip = |line: &str| line.trim_start_matches([' ', '\t', '>']).to_owned();
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default().to_owned();
    std::iter::once(first).chain(lines.map(strip)).collect::<Vec<_>>().join("\n")
}

/// What is code, an HTML tag or a comment: whole blocks alone, or inline code and tags as
/// well.
fn protected(text: &str, blocks_only: bool) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (event, range) in Parser::new_ext(text, options()).into_offset_iter() {
        let keep = match event {
            Event::Start(Tag::CodeBlock(_) | Tag::HtmlBlock) => true,
            Event::Code(_) | Event::InlineHtml(_) => !blocks_only,
            _ => false,
        };
        if keep {
            ranges.push(range);
        }
    }
    ranges
}

/// `text` with the items overwritten, byte for byte: blocks by spaces, inline items by
/// letters.
fn mask(text: &str, items: &[Item]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for item in items {
        let block = match item.kind {
            Kind::Display { .. } | Kind::Figure { .. } => true,
            Kind::Directive { alone, ref name, .. } => {
                alone && name.starts_with(['#', '/'])
            }
            _ => false,
        };
        for byte in &mut bytes[item.range.clone()] {
            if *byte != b'\n' {
                *byte = if block { b' ' } else { b'x' };
            }
        }
    }
    // Ranges begin and end at character boundaries, so the bytes stay UTF-8.
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
