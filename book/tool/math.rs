//! Maths rendered at build time: KaTeX's HTML for the eye, MathML for screen readers and
//! search.

use std::sync::LazyLock;

use katex::macro_expander::MacroMap;
use katex::macros::MacroDefinition;
use katex::{KatexContext, Settings, StrictMode, StrictSetting};
use regex::{Captures, Regex};

use crate::markdown::pattern;
use crate::problem::Problems;

/// katex-rs 0.3 leaves no room for the sign of a root before a lone symbol.
static BARE_ROOT: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\\sqrt\s*(?:\[[^\]]*\]\s*)?[^\s{\[]"));

/// The renderer, with the macros that the whole book shares.
pub struct Math {
    context: KatexContext,
    macros: Vec<(String, String)>,
}

/// Rendered maths.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// HTML and MathML.
    pub html: String,
    /// The symbols alone, for search, heading ids and alt text.
    pub plain: String,
}

/// Why maths could not be rendered.
#[derive(Debug)]
pub struct MathError {
    /// What KaTeX said.
    pub message: String,
    /// How many lines below the first the fault lies.
    pub line: usize,
}

impl Math {
    /// Reads the shared macros, one `\newcommand{\name}[arguments]{body}` per line; `%`
    /// begins a comment.
    pub fn new(macros: &str, file: &str, problems: &mut Problems) -> Self {
        let mut defined: Vec<(String, String)> = Vec::new();
        for (index, line) in macros.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('%') {
                continue;
            }
            match parse_macro(line) {
                Some((name, _)) if defined.iter().any(|(other, _)| *other == name) => {
                    problems.add(file, index + 1, format!("the macro {name} is defined twice; remove one"));
                }
                Some(definition) => defined.push(definition),
                None => problems.add(
                    file,
                    index + 1,
                    "this is no macro; write one \\newcommand{\\name}[1]{body} on a line, and comments on lines of their own",
                ),
            }
        }
        Self { context: KatexContext::default(), macros: defined }
    }

    /// Renders `tex`, as a display where `display` says so.
    ///
    /// # Errors
    /// Where KaTeX refuses the input, with its message and the line of the fault.
    pub fn render(&self, tex: &str, display: bool) -> Result<Rendered, MathError> {
        if let Some(bare) = BARE_ROOT.find(tex) {
            return Err(MathError {
                message: "the root of a symbol without braces would be drawn over it; write \\sqrt{T}".to_owned(),
                line: tex[..bare.start()].matches('\n').count(),
            });
        }
        let mut macros = MacroMap::default();
        for (name, body) in &self.macros {
            macros.insert(name.clone(), MacroDefinition::String(body.clone()));
        }
        let settings = Settings::builder()
            .display_mode(display)
            .macros(macros)
            .strict(StrictSetting::Mode(StrictMode::Ignore))
            .build();
        let html =
            katex::render_to_string(&self.context, tex, &settings).map_err(|error| {
                let offset = error.position().unwrap_or(0).min(tex.len());
                MathError {
                    message: without_marks(&error.to_string()),
                    line: tex.as_bytes()[..offset]
                        .iter()
                        .filter(|&&byte| byte == b'\n')
                        .count(),
                }
            })?;
        let plain = plain(&html);
        Ok(Rendered { html: tidied(&html), plain })
    }
}

/// `\newcommand{\name}[1]{body}` as name and body.
fn parse_macro(line: &str) -> Option<(String, String)> {
    let rest = line.strip_prefix("\\newcommand{")?;
    let (name, rest) = rest.split_once('}')?;
    let letters = name.strip_prefix('\\')?;
    if letters.is_empty() || !letters.chars().all(|c| c.is_ascii_alphabetic()) {
        return None;
    }
    let rest = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.1,
        None => rest,
    };
    let body = rest.strip_prefix('{')?.strip_suffix('}')?;
    Some((name.to_owned(), body.to_owned()))
}

/// KaTeX underlines the faulty characters with combining marks, which terminals show badly.
fn without_marks(message: &str) -> String {
    message
        .chars()
        .filter(|&c| c != '\u{332}')
        .collect::<String>()
        .replace("KaTeX parse error: ", "")
}

/// `html` with the attributes of each tag in alphabetical order, and without what a page
/// does not need: the TeX source that MathML carries along, and the namespaces that HTML
/// implies.
///
/// katex-rs keeps attributes in a hash map, so their order changes from run to run; the
/// same page must come out as the same bytes.
fn tidied(html: &str) -> String {
    static TAG: LazyLock<Regex> =
        LazyLock::new(|| pattern(r#"<([a-zA-Z]+)((?: [a-zA-Z:-]+="[^"]*")+)( ?/?)>"#));
    static ATTRIBUTE: LazyLock<Regex> =
        LazyLock::new(|| pattern(r#" [a-zA-Z:-]+="[^"]*""#));
    static SOURCE: LazyLock<Regex> = LazyLock::new(|| {
        pattern(r"<semantics>((?s:.*?))<annotation[^>]*>[^<]*</annotation></semantics>")
    });
    let html = SOURCE.replace_all(html, "$1");
    TAG.replace_all(&html, |found: &Captures<'_>| {
        let mut attributes: Vec<&str> = ATTRIBUTE
            .find_iter(&found[2])
            .map(|attribute| attribute.as_str())
            .filter(|attribute| !attribute.starts_with(" xmlns="))
            .collect();
        attributes.sort_unstable();
        format!("<{}{}{}>", &found[1], attributes.concat(), &found[3])
    })
    .into_owned()
}

/// The text of the MathML part, without the TeX source that it carries along.
fn plain(html: &str) -> String {
    let start = html.find("<math").unwrap_or(0);
    let end = html[start..]
        .find("<annotation")
        .or_else(|| html[start..].find("</math>"))
        .map_or(html.len(), |length| start + length);
    let mut text = String::new();
    let mut in_tag = false;
    for c in html[start..end].chars() {
        match c {
            '<' => in_tag = true,
            '>' if in_tag => in_tag = false,
            _ if in_tag => {}
            _ => text.push(c),
        }
    }
    for (entity, character) in
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#x27;", "'"), ("&amp;", "&")]
    {
        text = text.replace(entity, character);
    }
    // Invisible operators (function application and its kin) and thin spaces are no search
    // terms.
    let text: String =
        text.chars().filter(|c| !('\u{2061}'..='\u{2064}').contains(c)).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn math(macros: &str) -> (Math, Problems) {
        let mut problems = Problems::default();
        let math = Math::new(macros, "book/macros.tex", &mut problems);
        (math, problems)
    }

    #[test]
    fn renders_html_and_mathml_with_the_macros_of_the_book() {
        let (math, problems) =
            math("% the expectation\n\\newcommand{\\E}[1]{\\mathbb{E}_{#1}}\n");
        assert_eq!(problems.sorted(), []);
        let rendered = math.render(r"\E{q} x < 2", false).expect("valid maths");
        assert!(rendered.html.contains("<math"), "{}", rendered.html);
        assert!(rendered.html.contains("katex-html"), "{}", rendered.html);
        assert_eq!(rendered.plain, "Eqx<2");
    }

    #[test]
    fn the_same_maths_is_the_same_bytes() {
        let html = "<semantics><mi>x</mi><annotation encoding=\"application/x-tex\">x &lt; 1</annotation></semantics>";
        assert_eq!(tidied(html), "<mi>x</mi>");
        let html = "<math xmlns=\"http://www.w3.org/1998/Math/MathML\" display=\"block\"><mo b=\"2\" a=\"&lt;1\" />x</math>";
        assert_eq!(
            tidied(html),
            "<math display=\"block\"><mo a=\"&lt;1\" b=\"2\" />x</math>"
        );
        let (math, _) = math("");
        let render = || {
            math.render(
                r"\begin{aligned} \sqrt{a} &= \hat{b} \\\\ \vec{c} &= d \end{aligned}",
                true,
            )
        };
        let first = render().expect("valid maths").html;
        assert!((0..20).all(|_| render().is_ok_and(|again| again.html == first)));
    }

    #[test]
    fn malformed_maths_names_its_line() {
        let (math, _) = math("");
        let error =
            math.render("a = b\n+ \\frac{1}{", true).expect_err("an unclosed group");
        assert_eq!(error.line, 1, "{}", error.message);
        let error = math.render(r"\nosuchthing", false).expect_err("an unknown command");
        assert!(error.message.contains("\\nosuchthing"), "{}", error.message);
    }

    #[test]
    fn a_root_needs_braces() {
        let (math, _) = math("");
        for (tex, line) in [(r"\sqrt T", 0), ("a\n+ \\sqrt2", 1), (r"\sqrt[3] x", 0)] {
            let error = math.render(tex, false).expect_err(tex);
            assert!(
                error.line == line && error.message.contains("write \\sqrt{T}"),
                "{tex}: {}",
                error.message
            );
        }
        for tex in [r"\sqrt{T}", r"\sqrt {2}", r"\sqrt[3]{x}"] {
            assert!(math.render(tex, false).is_ok(), "{tex}");
        }
    }

    #[test]
    fn a_line_that_is_no_macro_is_a_problem() {
        let (_, problems) =
            math("\\newcommand{\\E}{E}\n\\def\\x{y}\n\\newcommand{\\E}{F}\n");
        let lines: Vec<_> =
            problems.sorted().into_iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [2, 3]);
    }
}
