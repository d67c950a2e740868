//! No number of a program is typed by hand: a decimal number in prose is a value, a
//! quotation or a choice.

use std::ops::Range;
use std::sync::LazyLock;

use pulldown_cmark::{Event, LinkType, Parser, Tag, TagEnd};
use regex::Regex;

use crate::markdown::{Fragment, Kind, Scan, line_of, options, pattern};
use crate::problem::Problems;

static NUMBER: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+"));

/// Reports every decimal number of the prose that nothing vouches for.
pub fn lint(source: &Fragment, scan: &Scan, file: &str, problems: &mut Problems) {
    let prose = Prose::read(&scan.masked);
    let cited = |block: &Range<usize>| {
        scan.items.iter().any(|item| {
            matches!(item.kind, Kind::Citation(_)) && block.contains(&item.range.start)
        })
    };
    for (offset, block, text) in &prose.texts {
        for number in typed_numbers(text) {
            if !cited(block) {
                problems.add(
                    file,
                    line_of(&scan.masked, offset + number.start, source.line),
                    format!(
                        "the number {} is typed by hand; take a program's number from its report with {{{{value chapter:section:row}}}}, mark a choice as {{{{given {0}}}}}, or quote a source as {{{{quoted {0}}}}} with its citation in the same paragraph",
                        &text[number]
                    ),
                );
            }
        }
    }
    for item in &scan.items {
        if let Kind::Directive { name, argument, .. } = &item.kind
            && name == "quoted"
            && !prose.block_at(item.range.start).is_some_and(|block| cited(&block))
        {
            problems.add(
                file,
                item.line,
                format!(
                    "the quoted number {argument} has no citation in its paragraph; add one, like [@kingma2021vdm]"
                ),
            );
        }
    }
}

/// Decimal numbers in `text`; versions (1.2.3) and names (v1.5) are none.
fn typed_numbers(text: &str) -> Vec<Range<usize>> {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '.' || c == '_';
    NUMBER
        .find_iter(text)
        .map(|number| number.range())
        .filter(|range| {
            let before = text[..range.start].chars().next_back();
            let mut after = text[range.end..].chars();
            let version = after.next() == Some('.')
                && after.next().is_some_and(|c| c.is_ascii_digit());
            !before.is_some_and(part_of_name) && !version
        })
        .collect()
}

/// The prose of a page and the blocks (paragraphs, headings, list items, tables) that hold
/// it.
struct Prose {
    blocks: Vec<Range<usize>>,
    /// Offset, block and words of each run of text.
    texts: Vec<(usize, Range<usize>, String)>,
}

impl Prose {
    fn read(masked: &str) -> Self {
        let mut prose = Self { blocks: Vec::new(), texts: Vec::new() };
        let mut open: Vec<(bool, Range<usize>)> = Vec::new();
        let (mut code, mut address) = (false, false);
        for (event, range) in Parser::new_ext(masked, options()).into_offset_iter() {
            match event {
                Event::Start(Tag::Table(_)) => open.push((true, range)),
                Event::Start(
                    Tag::Paragraph
                    | Tag::Heading { .. }
                    | Tag::Item
                    | Tag::DefinitionListTitle
                    | Tag::DefinitionListDefinition,
                ) => open.push((false, range)),
                Event::End(
                    TagEnd::Table
                    | TagEnd::Paragraph
                    | TagEnd::Heading(_)
                    | TagEnd::Item
                    | TagEnd::DefinitionListTitle
                    | TagEnd::DefinitionListDefinition,
                ) => {
                    if let Some((_, block)) = open.pop() {
                        prose.blocks.push(block);
                    }
                }
                Event::Start(Tag::CodeBlock(_)) => code = true,
                Event::End(TagEnd::CodeBlock) => code = false,
                Event::Start(Tag::Link {
                    link_type: LinkType::Autolink | LinkType::Email,
                    ..
                }) => address = true,
                Event::End(TagEnd::Link) => address = false,
                Event::Text(_) if !code && !address => {
                    // A table is one block, however many cells it has.
                    let table = open.iter().find(|(is_table, _)| *is_table);
                    let block = table
                        .or(open.last())
                        .map_or(range.clone(), |(_, block)| block.clone());
                    match prose.texts.last_mut() {
                        Some((start, _, text)) if *start + text.len() == range.start => {
                            text.push_str(&masked[range])
                        }
                        _ => {
                            prose.texts.push((range.start, block, masked[range].to_owned()))
                        }
                    }
                }
                _ => {}
            }
        }
        prose
    }

    /// The smallest block around byte `offset`, or the table that holds it.
    fn block_at(&self, offset: usize) -> Option<Range<usize>> {
        let around = self.blocks.iter().filter(|block| block.contains(&offset));
        around.min_by_key(|block| block.len()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::markdown::scan;

    fn faults(text: &str) -> Vec<(usize, String)> {
        let source = Fragment { text: text.to_owned(), line: 1 };
        let mut problems = Problems::default();
        let scanned = scan(&source, "page.md", &mut problems);
        lint(&source, &scanned, "page.md", &mut problems);
        problems
            .sorted()
            .into_iter()
            .map(|problem| (problem.line, problem.message))
            .collect()
    }

    #[test]
    fn a_typed_number_is_found_with_its_line() {
        let found = faults("One line.\n\nThe bound is\n2.13 bits.");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].0, 4);
        assert!(found[0].1.contains("2.13"), "{}", found[0].1);
        assert_eq!(faults("about 1e-3 of it").len(), 1);
        assert_eq!(faults("- item with 0.5\n- and 1.5").len(), 2);
        assert_eq!(faults("| a | b |\n|---|---|\n| x | 2.5 |\n").len(), 1);
        assert_eq!(faults("## At 2.5 bits\n").len(), 1);
    }

    #[test]
    fn what_is_no_prose_is_left_alone() {
        let text = "`2.13`, $2.13$, <https://a.org/2.13>, [a](b2.13.md), version 0.22.1, v1.5, in 30 s.\n\n\
                    ```text\n2.13\n```\n\n$$ 2.13 $$\n\n{{value a:b:c}} and {{given 0.5}}.\n";
        assert_eq!(faults(text), []);
    }

    #[test]
    fn a_citation_vouches_for_its_own_paragraph_only() {
        assert_eq!(faults("It was 2.65 [@kingma2021vdm]."), []);
        assert_eq!(faults("It was {{quoted 2.65}}\n[@kingma2021vdm]."), []);
        assert_eq!(faults("It was {{quoted 2.65}}.\n\nSee [@kingma2021vdm].").len(), 1);
        assert_eq!(faults("It was 2.65.\n\nSee [@kingma2021vdm].").len(), 1);
    }
}
