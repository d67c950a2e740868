//! Figures: SVG that a chapter wrote, inlined so that its colours follow the theme of the
//! page.

use std::borrow::Cow;

use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesStart, BytesText, Event};
use quick_xml::{Reader, Writer};

use crate::slots::escape;

/// The palette of the chapters' figures and the CSS variable that each colour becomes.
const PALETTE: [(&str, &str); 10] = [
    ("#222222", "--fig-ink"),
    ("#767676", "--fig-muted"),
    ("#dddddd", "--fig-grid"),
    ("#ffffff", "--fig-paper"),
    ("#0072b2", "--fig-1"),
    ("#d55e00", "--fig-2"),
    ("#009e73", "--fig-3"),
    ("#aa4499", "--fig-4"),
    ("#b8860b", "--fig-5"),
    ("#56b4e9", "--fig-6"),
];

/// Text of a figure is at least this high on a phone, in CSS pixels; wider figures scroll
/// in their box.
const SMALLEST_TEXT: f64 = 9.0;

/// An SVG made part of a page.
#[derive(Debug)]
pub struct Inlined {
    /// The `<svg>` element.
    pub svg: String,
    /// Below this width, in CSS pixels, its text would be too small to read.
    pub min_width: f64,
}

/// Prepares a chapter's SVG for the page: palette colours become CSS variables, ids begin
/// with `id`, and `alt` becomes what a screen reader says.
///
/// # Errors
/// A sentence, where the SVG is broken, has a colour outside the palette, or would load or
/// run anything.
pub fn inline(svg: &str, id: &str, alt: &str) -> Result<Inlined, String> {
    let mut reader = Reader::from_str(svg);
    let mut writer = Writer::new(Vec::new());
    let mut figure = Figure { id, alt, depth: 0, width: None, smallest: f64::INFINITY };
    loop {
        let event = reader
            .read_event()
            .map_err(|error| format!("it is no well-formed SVG ({error})"))?;
        let event = match event {
            Event::Eof if figure.depth > 0 => {
                return Err("it is no well-formed SVG (it ends too early)".to_owned());
            }
            Event::Eof => break,
            Event::Empty(element) => Event::Empty(figure.element(&element)?),
            Event::Start(element) => {
                let element = figure.element(&element)?;
                figure.depth += 1;
                Event::Start(element)
            }
            Event::End(element) => {
                figure.depth -= 1;
                Event::End(element)
            }
            // plotters puts each label between line breaks, which would be shown as spaces.
            Event::Text(text) => match text.trim_matches(['\n', '\r']) {
                "" => continue,
                _ if figure.depth == 0 => continue,
                trimmed => Event::Text(BytesText::from_escaped(trimmed.to_owned())),
            },
            Event::GeneralRef(reference) => Event::GeneralRef(reference),
            Event::CData(text) => Event::CData(text),
            // A declaration, a doctype and comments have no place inside a page.
            _ => continue,
        };
        writer
            .write_event(event)
            .map_err(|error| format!("it cannot be rewritten ({error})"))?;
    }
    let width = figure.width.ok_or("its root is no <svg> with a width or a viewBox")?;
    let svg = String::from_utf8(writer.into_inner()).map_err(|_| "it is not UTF-8")?;
    let min_width = if figure.smallest.is_finite() {
        (width * SMALLEST_TEXT / figure.smallest).min(width)
    } else {
        0.0
    };
    Ok(Inlined { svg, min_width: min_width.ceil() })
}

struct Figure<'a> {
    id: &'a str,
    alt: &'a str,
    depth: usize,
    width: Option<f64>,
    smallest: f64,
}

impl Figure<'_> {
    fn element(&mut self, element: &BytesStart<'_>) -> Result<BytesStart<'static>, String> {
        let name = element.name().as_ref().to_owned();
        let known = [
            "svg",
            "g",
            "rect",
            "circle",
            "ellipse",
            "line",
            "polyline",
            "polygon",
            "path",
            "text",
            "tspan",
            "defs",
            "clipPath",
            "title",
            "desc",
            "use",
            "linearGradient",
            "stop",
            "marker",
        ];
        if !known.contains(&name.as_str()) {
            return Err(format!(
                "it has a <{name}> element, which figures do not use; draw with shapes and text alone"
            ));
        }
        let root = self.depth == 0;
        if root && name != "svg" {
            return Err("its root is no <svg>".to_owned());
        }
        let mut rewritten = BytesStart::new(name.clone());
        let mut size = (None, None, None);
        for attribute in element.attributes() {
            let attribute =
                attribute.map_err(|error| format!("it is no well-formed SVG ({error})"))?;
            let key = attribute.key.as_ref().to_owned();
            let value = value_of(&attribute)?;
            match key.as_str() {
                "width" if root => size.0 = number(&value),
                "height" if root => size.1 = number(&value),
                "viewBox" if root => size.2 = Some(value.into_owned()),
                "role" | "aria-label" | "class" if root => {}
                "font-size" => {
                    self.smallest =
                        self.smallest.min(number(&value).unwrap_or(f64::INFINITY));
                    rewritten.push_attribute((key.as_str(), &*value));
                }
                // The page's own font is the one that the reader's eye is used to.
                "font-family" => rewritten.push_attribute(("font-family", "inherit")),
                "fill" | "stroke" | "stop-color" | "color" => {
                    rewritten.push_attribute((key.as_str(), &*self.colour(&value)?));
                }
                "id" => rewritten.push_attribute(("id", &*format!("{}-{value}", self.id))),
                "href" | "xlink:href" => match value.strip_prefix('#') {
                    Some(target) => rewritten
                        .push_attribute(("href", &*format!("#{}-{target}", self.id))),
                    None => {
                        return Err(format!(
                            "it refers to {value}; a figure loads nothing from elsewhere"
                        ));
                    }
                },
                "style" => {
                    return Err(
                        "it has a style attribute; set fill and stroke as attributes"
                            .to_owned(),
                    );
                }
                _ if key.starts_with("on") => {
                    return Err(format!("it has an {key} handler; a figure runs nothing"));
                }
                _ if value.contains("url(") => {
                    rewritten.push_attribute((key.as_str(), &*self.local_url(&value)?))
                }
                _ => rewritten.push_attribute((key.as_str(), &*value)),
            }
        }
        if root {
            let view_box = match size {
                (_, _, Some(view_box)) => view_box,
                (Some(width), Some(height), None) => format!("0 0 {width} {height}"),
                _ => {
                    return Err(
                        "its root has neither a viewBox nor a width and height".to_owned()
                    );
                }
            };
            let width = view_box
                .split([' ', ','])
                .filter(|part| !part.is_empty())
                .nth(2)
                .and_then(number);
            self.width =
                Some(width.filter(|width| *width > 0.0).ok_or("its viewBox has no width")?);
            rewritten.push_attribute(("viewBox", &*view_box));
            rewritten.push_attribute(("role", "img"));
            rewritten.push_attribute(("aria-label", self.alt));
        }
        Ok(rewritten)
    }

    fn colour<'a>(&self, value: &'a str) -> Result<Cow<'a, str>, String> {
        let lower = value.trim().to_ascii_lowercase();
        if let Some((hex, variable)) = PALETTE.iter().find(|(hex, _)| *hex == lower) {
            return Ok(format!("var({variable}, {hex})").into());
        }
        match lower.as_str() {
            "none" | "currentcolor" | "transparent" => Ok(value.into()),
            _ if lower.starts_with("url(") => self.local_url(value).map(Cow::Owned),
            _ => Err(format!(
                "it uses the colour {value}, which is not in the palette; use {} (with opacity for shades)",
                PALETTE.map(|(hex, _)| hex).join(" ")
            )),
        }
    }

    fn local_url(&self, value: &str) -> Result<String, String> {
        let inside =
            value.trim().strip_prefix("url(").and_then(|rest| rest.strip_suffix(')'));
        match inside
            .map(|inside| inside.trim_matches(['"', '\'']))
            .and_then(|inside| inside.strip_prefix('#'))
        {
            Some(target) => Ok(format!("url(#{}-{target})", self.id)),
            None => {
                Err(format!("it refers to {value}; a figure loads nothing from elsewhere"))
            }
        }
    }
}

fn value_of<'a>(attribute: &'a Attribute<'_>) -> Result<Cow<'a, str>, String> {
    quick_xml::escape::unescape(&attribute.value)
        .map_err(|error| format!("it is no well-formed SVG ({error})"))
}

fn number(text: &str) -> Option<f64> {
    text.trim().trim_end_matches("px").parse::<f64>().ok().filter(|value| value.is_finite())
}

/// The `<figure>`'s inner HTML, to be kept in a slot.
pub fn boxed(figure: &Inlined) -> String {
    format!(
        "<div class=\"figure-sheet\" style=\"min-width:{}px\">{}</div>",
        figure.min_width, figure.svg
    )
}

/// The id of the figure at `path`.
pub fn id(path: &str) -> String {
    let stem = path.strip_suffix(".svg").unwrap_or(path);
    let safe: String =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("fig-{safe}")
}

/// A link's accessible name and text.
pub fn reference(number: &str, href: &str) -> String {
    format!("<a class=\"figref\" href=\"{}\">Figure {number}</a>", escape(href))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLOT: &str = "<?xml version=\"1.0\"?><!-- by plotters -->\n<svg width=\"800\" height=\"480\" viewBox=\"0 0 800 480\" xmlns=\"http://www.w3.org/2000/svg\">\n\
        <defs><clipPath id=\"c\"><rect width=\"1\" height=\"1\"/></clipPath></defs>\n\
        <rect x=\"0\" y=\"0\" width=\"800\" height=\"480\" opacity=\"1\" fill=\"#FFFFFF\" stroke=\"none\"/>\n\
        <text x=\"4\" y=\"5\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222222\">\nt &amp; s\n</text>\n\
        <polyline clip-path=\"url(#c)\" fill=\"none\" stroke=\"#0072B2\" points=\"0,0 1,1\"/></svg>";

    #[test]
    fn colours_become_variables_and_ids_are_the_figures_own() {
        let figure =
            inline(PLOT, "fig-ch05-loss", "The loss \"falls\".").expect("a figure");
        let svg = &figure.svg;
        assert!(svg.starts_with("<svg xmlns"), "{svg}");
        for part in [
            "viewBox=\"0 0 800 480\"",
            "role=\"img\"",
            "aria-label=\"The loss &quot;falls&quot;.\"",
            "fill=\"var(--fig-paper, #ffffff)\"",
            "stroke=\"var(--fig-1, #0072b2)\"",
            "id=\"fig-ch05-loss-c\"",
            "clip-path=\"url(#fig-ch05-loss-c)\"",
            ">t &amp; s</text>",
            "font-family=\"inherit\"",
        ] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        assert!(!svg.contains("width=\"800\" height=\"480\" viewBox"), "{svg}");
        assert_eq!(figure.min_width, 600.0);
    }

    #[test]
    fn anything_that_is_no_plain_drawing_is_refused() {
        let with = |part: &str| format!("<svg viewBox=\"0 0 10 10\">{part}</svg>");
        for (svg, says) in [
            (with("<rect fill=\"#ff0000\"/>"), "#ff0000"),
            (with("<rect fill=\"red\"/>"), "red"),
            (with("<image href=\"https://a.org/b.png\"/>"), "<image>"),
            (with("<use href=\"https://a.org/b.svg#c\"/>"), "https://a.org/b.svg#c"),
            (with("<script>x</script>"), "<script>"),
            (with("<rect onclick=\"x\"/>"), "onclick"),
            (with("<rect style=\"fill:red\"/>"), "style"),
            (with("<rect clip-path=\"url(https://a.org)\"/>"), "https://a.org"),
            (with("<g>"), "well-formed"),
            ("<svg viewBox=\"0 0 1 1\"><g></g>".to_owned(), "ends too early"),
            ("<svg/>".to_owned(), "viewBox"),
            ("text".to_owned(), "root"),
        ] {
            let error = inline(&svg, "f", "alt").expect_err(&svg);
            assert!(error.contains(says), "{svg}: {error}");
        }
    }
}
