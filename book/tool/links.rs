//! Checks the finished site: every internal link resolves, nothing is loaded from
//! elsewhere, nothing of the authors' syntax is left in the text.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use anyhow::{Context as _, Result};
use percent_encoding::percent_decode_str;
use regex::Regex;
use scraper::node::Element;
use scraper::{Html, Node};

use crate::markdown::pattern;
use crate::page::Page;
use crate::problem::Problems;

/// A page of the site.
struct Built {
    /// Relative to the site, with `/`.
    name: String,
    ids: BTreeSet<String>,
    /// Targets of links, and of what the page loads.
    links: Vec<String>,
    loads: Vec<String>,
    /// Text that shows the authors' syntax.
    leftovers: Vec<String>,
}

static STYLE_LOADS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r#"(?i)(?:url\(\s*["']?|@import\s+["'])((?:[a-z]+:)?//[^"')\s]*)"#)
});
static LEFTOVER: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\$|\{\{|\}\}|\\begin\{|data-slot"));

/// Checks the site in `site`, which lives under `site_url` on its server.
///
/// # Errors
/// Where the site cannot be read.
pub fn check(
    site: &Path,
    pages: &[Page],
    site_url: &str,
    problems: &mut Problems,
) -> Result<()> {
    let files = all_files(site)?;
    let mut names: BTreeSet<String> = BTreeSet::new();
    let mut built: BTreeMap<String, Built> = BTreeMap::new();
    for path in &files {
        let name = relative(site, path);
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("html") => {
                let text = fs::read_to_string(path)?;
                built.insert(name.clone(), read(&name, &text));
            }
            Some("css") => {
                let text = fs::read_to_string(path)?;
                for found in STYLE_LOADS.captures_iter(&text) {
                    let source = source_of_style(&name);
                    problems.add(
                        source,
                        1,
                        format!(
                            "the stylesheet loads {}; a page asks no third party, keep a copy in book/theme",
                            &found[1]
                        ),
                    );
                }
            }
            _ => {}
        }
        names.insert(name);
    }
    // The print page and index.html repeat the chapters: their faults tell something new
    // only if no page has any.
    let repeats = |page: &Built| page.name == "print.html" || page.name == "index.html";
    let (last, first): (Vec<&Built>, Vec<&Built>) =
        built.values().partition(|page| repeats(page));
    let faulty: BTreeSet<String> = pages
        .iter()
        .map(|page| page.file.clone())
        .filter(|file| problems.any_in(file))
        .collect();
    for page in first.into_iter().chain(last) {
        if repeats(page) && !problems.is_empty() {
            continue;
        }
        let fault = |target: &str, message: String, problems: &mut Problems| {
            let (file, line) = place(page, target, pages);
            // A line with a fault of its own has shown what is wrong; the rest is its
            // consequence.
            if !problems.any_at(&file, line) {
                problems.add(file, line, message);
            }
        };
        for target in &page.loads {
            if is_external(target) {
                fault(
                    target,
                    format!(
                        "the page loads {target}; a page asks no third party, keep a copy in the book"
                    ),
                    problems,
                );
            } else if let Err(message) = resolve(page, target, site_url, &names, &built) {
                fault(target, message, problems);
            }
        }
        for target in page.links.iter().filter(|target| !is_external(target)) {
            if let Err(message) = resolve(page, target, site_url, &names, &built) {
                fault(target, message, problems);
            }
        }
        // Where the reading failed, syntax is left over as a consequence.
        let (source, _) = place(page, "", pages);
        for text in page.leftovers.iter().filter(|_| !faulty.contains(&source)) {
            fault(
                text,
                format!(
                    "the page shows \"{text}\" as it stands; raw HTML is not searched for maths and directives, so move them out of it or put literal signs in `code`"
                ),
                problems,
            );
        }
    }
    Ok(())
}

/// The HTML files of the site.
///
/// # Errors
/// Where the folder cannot be read.
pub fn html_files(site: &Path) -> Result<Vec<PathBuf>> {
    let mut files = all_files(site)?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "html"));
    Ok(files)
}

fn all_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)
            .with_context(|| format!("{} cannot be read", folder.display()))?
        {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

fn relative(site: &Path, path: &Path) -> String {
    crate::problem::display(site, path)
}

fn is_external(target: &str) -> bool {
    let scheme = target.split([':', '/', '?', '#']).next().unwrap_or_default();
    target.starts_with("//")
        || (target[scheme.len()..].starts_with(':') && !scheme.is_empty())
}

/// Reads a page as a browser does.
fn read(name: &str, text: &str) -> Built {
    let document = Html::parse_document(text);
    let mut page = Built {
        name: name.to_owned(),
        ids: BTreeSet::new(),
        links: Vec::new(),
        loads: Vec::new(),
        leftovers: Vec::new(),
    };
    for node in document.tree.nodes() {
        match node.value() {
            Node::Element(element) => page.element(element),
            Node::Text(text) => {
                let hidden = node.ancestors().any(|ancestor| {
                    ancestor.value().as_element().is_some_and(|element| {
                        matches!(
                            element.name(),
                            "code" | "pre" | "script" | "style" | "annotation"
                        ) || element.attr("class") == Some("dollar")
                    })
                });
                if !hidden && let Some(found) = LEFTOVER.find(text) {
                    page.leftovers.push(surroundings(text, found.start()));
                }
            }
            _ => {}
        }
    }
    page
}

/// The word at byte `at`, with a little of what stands around it on its line.
fn surroundings(text: &str, at: usize) -> String {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let before: String = {
        let tail: Vec<char> = text[start..at].chars().rev().take(20).collect();
        tail.into_iter().rev().collect()
    };
    let after: String = text[at..].chars().take_while(|&c| c != '\n').take(20).collect();
    format!("{before}{after}").trim().to_owned()
}

impl Built {
    fn element(&mut self, element: &Element) {
        if let Some(id) = element.attr("id") {
            self.ids.insert(id.to_owned());
        }
        let attribute = |name: &str| element.attr(name).map(str::to_owned);
        match element.name() {
            "a" | "area" => {
                self.links.extend(attribute("href"));
                // Old-fashioned anchors are targets too.
                self.ids.extend(attribute("name"));
            }
            "link" => {
                let relation = element.attr("rel").unwrap_or_default();
                if relation.contains("canonical") || relation.contains("alternate") {
                    self.links.extend(attribute("href"));
                } else {
                    self.loads.extend(attribute("href"));
                }
            }
            "script" | "img" | "iframe" | "source" | "audio" | "video" | "embed"
            | "track" | "input" => {
                self.loads.extend(attribute("src"));
                self.loads.extend(attribute("poster"));
                let candidates = attribute("srcset").unwrap_or_default();
                let sources =
                    candidates.split(',').filter_map(|part| part.split_whitespace().next());
                self.loads.extend(sources.map(str::to_owned));
            }
            "object" => self.loads.extend(attribute("data")),
            "use" | "image" => {
                self.loads.extend(attribute("href").or_else(|| attribute("xlink:href")))
            }
            _ => {}
        }
        if let Some(style) = element.attr("style") {
            self.loads
                .extend(STYLE_LOADS.captures_iter(style).map(|found| found[1].to_owned()));
        }
    }
}

/// Whether a target exists on the site.
fn resolve(
    page: &Built,
    target: &str,
    site_url: &str,
    names: &BTreeSet<String>,
    built: &BTreeMap<String, Built>,
) -> Result<(), String> {
    let (path, fragment) = target
        .split_once('#')
        .map_or((target, None), |(path, fragment)| (path, Some(fragment)));
    let path = decoded(path.split('?').next().unwrap_or_default());
    let absolute = path.strip_prefix(site_url).or_else(|| path.strip_prefix('/'));
    // 404.html is shown at any depth, so its links count from the site's root.
    let mut parts: Vec<&str> = match page.name.rsplit_once('/') {
        Some((folder, _)) if absolute.is_none() => folder.split('/').collect(),
        _ => Vec::new(),
    };
    for part in absolute.unwrap_or(&path).split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return Err(format!(
                        "the link {target} leaves the book; link to the repository's address instead"
                    ));
                }
            }
            _ => parts.push(part),
        }
    }
    let mut name = if path.is_empty() { page.name.clone() } else { parts.join("/") };
    if name.is_empty() {
        name = "index.html".to_owned();
    }
    if !names.contains(&name) {
        return Err(format!(
            "the link {target} leads nowhere: the book has no {name}; correct it"
        ));
    }
    let Some(fragment) = fragment.filter(|fragment| !fragment.is_empty()) else {
        return Ok(());
    };
    let fragment = decoded(fragment);
    match built.get(&name) {
        Some(page) if !page.ids.contains(&*fragment) => Err(format!(
            "the link {target} leads nowhere: {name} has no heading or element with the id {fragment}; correct it"
        )),
        _ => Ok(()),
    }
}

/// Percent-decodes an address.
fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// The source file and line that a fault of a built page most likely comes from.
fn place(page: &Built, target: &str, pages: &[Page]) -> (String, usize) {
    let own = pages.iter().filter(|source| source.html() == page.name);
    let all = pages.iter();
    // The print page and index.html repeat the chapters.
    let candidates: Vec<&Page> = if page.name == "print.html" || page.name == "index.html" {
        all.collect()
    } else {
        own.collect()
    };
    let markdown = target.replace(".html", ".md");
    let bare = target.trim_start_matches("./");
    for source in &candidates {
        for (index, line) in source.source.text.lines().enumerate() {
            if line.contains(target) || line.contains(&markdown) || line.contains(bare) {
                return (source.file.clone(), index + 1);
            }
        }
    }
    candidates.first().map_or_else(
        || (format!("book/book/{}", page.name), 1),
        |source| (source.file.clone(), 1),
    )
}

/// The source of a stylesheet, without the hash that mdBook puts into its name.
fn source_of_style(name: &str) -> String {
    static HASH: LazyLock<Regex> = LazyLock::new(|| pattern(r"-[0-9a-f]{8}\.css$"));
    format!("book/{}", HASH.replace(name, ".css"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(files: &[(&str, &str)]) -> Vec<String> {
        let site = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            let path = site.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        let mut problems = Problems::default();
        check(site.path(), &[], "/book/", &mut problems).expect("a readable site");
        problems.sorted().into_iter().map(|problem| problem.to_string()).collect()
    }

    #[test]
    fn links_and_fragments_resolve() {
        let good = "<a href=\"b/c.html#x%C3%A9\"></a><a href=\"#top\"></a><p id=\"top\"><a href=\"https://a.org\"></a><img src=\"a.png\"><a href=\"/book/b/c.html\"></a><a href=\"./\"></a>";
        let files = [
            ("index.html", good),
            ("b/c.html", "<h2 id=\"xé\"><a href=\"../index.html#top\"></a>"),
            ("a.png", ""),
        ];
        assert_eq!(faults(&files), Vec::<String>::new());
        for (page, says) in [
            ("<a href=\"d.html\">", "no d.html"),
            ("<a href=\"#nowhere\">", "id nowhere"),
            ("<a href=\"../up.html\">", "leaves the book"),
            ("<img src=\"missing.png\">", "no missing.png"),
        ] {
            let found = faults(&[("index.html", page)]);
            assert!(found.len() == 1 && found[0].contains(says), "{page}: {found:?}");
        }
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        for page in [
            "<script src=\"https://cdn.org/a.js\"></script>",
            "<link rel=\"stylesheet\" href=\"//cdn.org/a.css\">",
            "<img src=\"http://a.org/b.png\">",
            "<iframe src=\"https://a.org\"></iframe>",
            "<p style=\"background:url(https://a.org/b.png)\">",
            "<svg><image href=\"https://a.org/b.png\"/></svg>",
        ] {
            let found = faults(&[("index.html", page)]);
            assert!(
                found.len() == 1 && found[0].contains("third party"),
                "{page}: {found:?}"
            );
        }
        let found = faults(&[(
            "theme/pages-0a1b2c3d.css",
            "@import \"https://a.org/b.css\"; a{b:url(data:x)}",
        )]);
        assert!(
            found.len() == 1 && found[0].starts_with("book/theme/pages.css:1:"),
            "{found:?}"
        );
    }

    #[test]
    fn syntax_left_in_the_text_is_found() {
        for page in ["<p>costs $x</p>", "<p>{{eqref a}}</p>", "<p>\\begin{aligned}</p>"] {
            assert_eq!(faults(&[("index.html", page)]).len(), 1, "{page}");
        }
        let fine = "<pre>$ cargo</pre><code>{{x}}</code><span class=\"dollar\">$</span><annotation>\\begin{a}</annotation>";
        assert_eq!(faults(&[("index.html", fine)]), Vec::<String>::new());
    }
}
