//! Pieces of a page as Markdown that mdBook reads as one block.

use crate::equations::Label;
use crate::markdown::{Item, Kind};
use crate::{figure, listing};

/// What stands for an item that could not be written, so that links to it are no faults as
/// well.
pub fn placeholder(item: &Item) -> String {
    let id = match &item.kind {
        Kind::Figure { path, .. } => figure::id(path),
        Kind::Display { attributes: Some(attributes), .. } => {
            Label::parse(attributes).map(|label| Label::id(&label.name)).unwrap_or_default()
        }
        _ => String::new(),
    };
    if id.is_empty() {
        "<span></span>".to_owned()
    } else {
        block(&item.margin, &format!("<div id=\"{id}\"></div>"))
    }
}

/// `html` (which begins behind the margin of its line) as a block of its own inside its
/// quote or list.
pub fn block(margin: &str, html: &str) -> String {
    let empty = margin.trim_end();
    let mut lines = html.lines();
    let mut text = lines.next().unwrap_or_default().to_owned();
    for line in lines {
        text.push('\n');
        text.push_str(if line.is_empty() { empty } else { margin });
        text.push_str(line);
    }
    text.push('\n');
    text.push_str(empty);
    text
}

/// A code block with its caption.
pub fn code_figure(
    margin: &str,
    class: &str,
    caption: &str,
    language: &str,
    code: &str,
) -> String {
    let fence = listing::fence(code);
    let figure = format!(
        "<figure class=\"{class}\">{caption}\n\n{fence}{language}\n{code}\n{fence}\n\n</figure>"
    );
    block(margin, &figure)
}
