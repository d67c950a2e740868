//! Moves the inline styles of rendered maths into a style sheet of the page.
//!
//! KaTeX places every symbol with a `style` attribute, and a few hundred different ones
//! repeat thousands of times: a sixth of a chapter. The look stays the same to the pixel.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::markdown::pattern;

/// A span whose style holds nothing but lengths, as KaTeX writes them.
static PLACED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r#"<span(?: class="([^"]*)")? style="((?:[a-z-]+:-?[0-9.]+em;)+)">"#)
});

/// `page` with its spans' styles in one `<style>` at the end of its head.
pub fn gather(page: &str) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for found in PLACED.captures_iter(page) {
        *counts.entry(found.get(2).map_or("", |style| style.as_str())).or_default() += 1;
    }
    let mut styles: Vec<(&str, usize)> =
        counts.into_iter().filter(|(_, count)| *count > 1).collect();
    // The most frequent get the shortest names.
    styles.sort_by_key(|&(style, count)| (std::cmp::Reverse(count), style));
    let names: BTreeMap<&str, String> = styles
        .iter()
        .enumerate()
        .map(|(index, &(style, _))| (style, format!("k{index}")))
        .collect();
    let gathered =
        PLACED.replace_all(page, |found: &Captures<'_>| match names.get(&found[2]) {
            Some(name) => match found.get(1) {
                Some(classes) => format!("<span class=\"{} {name}\">", classes.as_str()),
                None => format!("<span class=\"{name}\">"),
            },
            None => found[0].to_owned(),
        });
    // As strong as the attributes were.
    let rules: String = styles
        .iter()
        .map(|&(style, _)| {
            format!(".{}{{{}}}", names[style], style.replace(';', "!important;"))
        })
        .collect();
    if rules.is_empty() {
        return gathered.into_owned();
    }
    gathered.replacen("</head>", &format!("<style>{rules}</style></head>"), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_styles_become_classes_and_others_stay() {
        let page = "<head></head><span class=\"a b\" style=\"top:-1.5em;height:2em;\">x</span>\
                    <span style=\"top:-1.5em;height:2em;\">y</span><span style=\"top:1em;\"></span>\
                    <span style=\"color:red;\"></span><span style=\"color:red;\"></span>";
        let gathered = "<head><style>.k0{top:-1.5em!important;height:2em!important;}</style></head>\
                        <span class=\"a b k0\">x</span><span class=\"k0\">y</span><span style=\"top:1em;\"></span>\
                        <span style=\"color:red;\"></span><span style=\"color:red;\"></span>";
        assert_eq!(gather(page), gathered);
        assert_eq!(gather("<head></head>plain"), "<head></head>plain");
    }
}
