//! Holds rendered maths and figures back from mdBook and puts them into the finished pages.
//!
//! mdBook would index KaTeX's HTML, its MathML and the TeX source in it for search, three
//! times the same formula, and lower-case the attributes of SVG. It sees a slot with plain
//! text instead, which is what search finds; after the build the slot is replaced, byte for
//! byte, by what was rendered.

use std::fmt::Write as _;

/// Rendered HTML, by slot number.
#[derive(Debug, Default)]
pub struct Slots(Vec<Slot>);

#[derive(Debug)]
struct Slot {
    html: String,
    /// Whether the print page, which holds all chapters, needs it too.
    print: bool,
}

const OPEN: &str = "<span data-slot=\"";
/// How an inline formula begins.
const FORMULA: &str = "<span class=\"katex\">";
/// How a part of a formula begins. A line may break between parts, which a tied formula has
/// to be told.
const PART: &str = "<span class=\"katex-base\">";
const BREAKABLE: &str = "<span class=\"break\">&#8203;</span><span class=\"katex-base\">";
/// What is tied to the formula behind it, and before it.
const OPENING: &[char] = &['(', '[', '“', '‘'];
const CLOSING: &[char] = &['.', ',', ';', ':', '!', '?', ')', ']', '”', '’'];

impl Slots {
    /// Keeps `html` and returns the Markdown that stands for it; `plain` is what search
    /// sees.
    pub fn keep(&mut self, html: String, plain: &str) -> String {
        self.0.push(Slot { html, print: true });
        format!("{OPEN}{}\">{}</span>", self.0.len() - 1, literal(plain))
    }

    /// A slot to be filled later, with [`set`](Self::set), and the Markdown that stands for
    /// it.
    pub fn reserve(&mut self) -> (usize, String) {
        let markdown = self.keep(String::new(), "");
        (self.0.len() - 1, markdown)
    }

    /// Fills a reserved slot.
    pub fn set(&mut self, slot: usize, html: String) {
        if let Some(slot) = self.0.get_mut(slot) {
            slot.html = html;
        }
    }

    /// Keeps `html` for the chapter's own page; the print page goes without it.
    pub fn keep_for_pages(&mut self, html: String) -> String {
        self.0.push(Slot { html, print: false });
        format!("{OPEN}{}\"></span>", self.0.len() - 1)
    }

    /// `page` (the print page, where `print` says so) with every slot filled.
    pub fn fill(&self, page: &str, print: bool) -> String {
        let mut filled = String::with_capacity(page.len() * 2);
        let mut rest = page;
        while let Some((before, after)) = rest.split_once(OPEN) {
            filled.push_str(before);
            let slot = after.split_once("\">").and_then(|(number, after)| {
                let slot = self.0.get(number.parse::<usize>().ok()?)?;
                let html = if slot.print || !print { slot.html.as_str() } else { "" };
                Some((html, after.split_once("</span>")?.1))
            });
            match slot {
                Some((html, after)) => {
                    let formula = html.starts_with(FORMULA);
                    let tied = if formula {
                        after.len() - after.trim_start_matches(CLOSING).len()
                    } else {
                        0
                    };
                    let (closing, after) = after.split_at(tied);
                    let kept = if formula {
                        filled.trim_end_matches(OPENING).len()
                    } else {
                        filled.len()
                    };
                    let opening = filled.split_off(kept);
                    if opening.is_empty() && closing.is_empty() {
                        filled.push_str(html);
                    } else {
                        // A browser would break the line between a formula and its full
                        // stop.
                        let parts =
                            html.replace(PART, BREAKABLE).replacen(BREAKABLE, PART, 1);
                        let _ = write!(
                            filled,
                            "<span class=\"tied\">{opening}{parts}{closing}</span>"
                        );
                    }
                    rest = after;
                }
                None => {
                    filled.push_str(OPEN);
                    rest = after;
                }
            }
        }
        filled.push_str(rest);
        filled
    }
}

/// Text that neither HTML nor Markdown reads as anything else.
pub fn literal(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_punctuation() {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "&#{};", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

/// Text for an HTML attribute or element.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_filled_wherever_it_stands() {
        let mut slots = Slots::default();
        let first = slots.keep("<b>1</b>".to_owned(), "x_1*");
        let second = slots.keep("<b>2</b>".to_owned(), "y");
        assert_eq!(first, "<span data-slot=\"0\">x&#95;1&#42;</span>");
        // mdBook decodes the entities and escapes what HTML needs.
        let page =
            format!("<p><span data-slot=\"0\">x_1*</span> and {second}, {second}</p>");
        assert_eq!(slots.fill(&page, false), "<p><b>1</b> and <b>2</b>, <b>2</b></p>");
        assert_eq!(slots.fill("no slots", false), "no slots");
        let formula = slots.keep("<span class=\"katex\">x</span>".to_owned(), "x");
        assert_eq!(
            slots.fill(&format!("So ({formula}), {formula} and {formula}."), false),
            "So <span class=\"tied\">(<span class=\"katex\">x</span>),</span> <span class=\"katex\">x</span> and <span class=\"tied\"><span class=\"katex\">x</span>.</span>"
        );
        let (later, markdown) = slots.reserve();
        slots.set(later, "<b>4</b>".to_owned());
        assert_eq!(slots.fill(&markdown, true), "<b>4</b>");
        let preview = slots.keep_for_pages("<b>3</b>".to_owned());
        assert_eq!(slots.fill(&preview, false), "<b>3</b>");
        assert_eq!(slots.fill(&preview, true), "");
    }
}
