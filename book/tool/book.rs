//! Loads the book, has its pages written, hands them to mdBook and checks what comes out.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use anyhow::{Context as _, Result};
use mdbook_driver::MDBook;
use mdbook_driver::book::BookItem;
use mdbook_driver::config::Config;
use regex::Regex;

use crate::labs::Labs;
use crate::layout::{Layout, Repository};
use crate::markdown::{Fragment, pattern, scan};
use crate::page::Page;
use crate::pages::{self, Sources};
use crate::problem::{self, Problem, Problems};
use crate::programs::{Cache, Programs};
use crate::warnings::Warnings;
use crate::{links, pictures, styles};

/// Builds the site into `site`, which must not exist or be empty, and checks it.
///
/// # Errors
/// Where the book cannot be read or written at all; faults of the sources are the returned
/// problems.
pub fn build(
    layout: &Layout,
    programs: &dyn Programs,
    cache: &Cache,
    labs: Option<&Labs>,
    site: &Path,
) -> Result<Vec<Problem>> {
    let mut problems = Problems::default();
    let config = config(layout, site)?;
    let html = config.html_config().unwrap_or_default();
    let repository = Repository::new(html.git_repository_url.as_deref());

    let warnings = Arc::new(Mutex::new(Vec::new()));
    let collector = Warnings::new(Arc::clone(&warnings));
    let loaded = tracing::subscriber::with_default(collector.clone(), || {
        MDBook::load_with_config(&layout.book, config)
    });
    let mut book = match loaded {
        Ok(book) => book,
        Err(error) => {
            let summary = layout.name(&layout.book.join("src/SUMMARY.md"));
            problems.add(summary, 1, format!("mdBook cannot load the book: {error:#}"));
            return Ok(problems.sorted());
        }
    };

    let pages = load_pages(layout, &mut book, &mut problems);
    let sources = Sources::read(layout, &pages, repository, &mut problems);
    let written = pages::write_all(&sources, programs, cache, labs, &mut problems);
    let mut contents: BTreeMap<&str, &str> = BTreeMap::new();
    for (page, markdown) in pages.iter().zip(&written.markdown) {
        contents.insert(&page.path, markdown);
    }
    book.book.for_each_chapter_mut(|chapter| {
        if let Some(markdown) =
            chapter.path.as_ref().and_then(|path| contents.get(&*path.to_string_lossy()))
        {
            chapter.content = (*markdown).to_owned();
        }
    });

    tracing::subscriber::with_default(collector, || book.build())
        .context("mdBook cannot write the pages")?;
    report_warnings(layout, &pages, &warnings, &mut problems);
    copy_fonts(layout, site)?;
    if let Some(labs) = labs {
        labs.copy(site)?;
    }
    finish(site, &pages, &written, &mut problems)?;
    pictures::check(&layout.root, &mut problems);
    links::check(site, &pages, html.site_url.as_deref().unwrap_or("/"), &mut problems)?;
    Ok(problems.sorted())
}

/// The path under which the site is published.
///
/// # Errors
/// Where book.toml cannot be read.
pub fn site_url(layout: &Layout) -> Result<String> {
    let html = config(layout, &layout.site())?.html_config().unwrap_or_default();
    Ok(html.site_url.unwrap_or_else(|| "/".to_owned()))
}

/// book.toml, with what this tool decides.
fn config(layout: &Layout, site: &Path) -> Result<Config> {
    let file = layout.book.join("book.toml");
    let mut config = Config::from_disk(&file)
        .with_context(|| format!("{} cannot be read", layout.name(&file)))?;
    config.build.build_dir = site.to_owned();
    config.build.create_missing = false;
    // Everything they would do is done here, with errors instead of silence.
    config.build.use_default_preprocessors = false;
    // No run buttons: a page asks nothing of play.rust-lang.org.
    config.set("output.html.playground.runnable", false)?;
    if let Some(url) = config.html_config().and_then(|html| html.git_repository_url)
        && !config.contains_key("output.html.edit-url-template")
    {
        let template = format!("{}/edit/main/book/{{path}}", url.trim_end_matches('/'));
        config.set("output.html.edit-url-template", template)?;
    }
    Ok(config)
}

/// The pages in reading order, each with its number. Appendices get their letters in the
/// table of contents.
fn load_pages(layout: &Layout, book: &mut MDBook, problems: &mut Problems) -> Vec<Page> {
    let mut pages = Vec::new();
    let mut numbered = false;
    let mut letters = 'A'..='Z';
    let folder = layout.book.join(&book.config.book.src);
    for item in &mut book.book.items {
        let BookItem::Chapter(chapter) = item else {
            continue;
        };
        let prefix = match &chapter.number {
            Some(number) => {
                numbered = true;
                number.first().map(ToString::to_string).unwrap_or_default()
            }
            None if numbered => letters.next().map(String::from).unwrap_or_default(),
            None => String::new(),
        };
        let title = chapter.name.clone();
        if chapter.number.is_none() && numbered {
            chapter.name = format!("{prefix}. {title}");
        }
        collect(chapter, &prefix, &folder, layout, problems, &mut pages);
    }
    // mdBook drops what it cannot place in SUMMARY.md without a word.
    for path in
        fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path())
    {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let listed = pages.iter().any(|page| page.path == name);
        if name.ends_with(".md") && name != "SUMMARY.md" && name != "404.md" && !listed {
            problems.add(layout.name(&path), 1, "mdBook finds no place for this page; list it in SUMMARY.md (chapters as \"- [Title](file.md)\", then --- and appendices as \"[Title](file.md)\")");
        }
    }
    pages
}

fn collect(
    chapter: &mdbook_driver::book::Chapter,
    prefix: &str,
    folder: &Path,
    layout: &Layout,
    problems: &mut Problems,
    pages: &mut Vec<Page>,
) {
    if let Some(path) = &chapter.path {
        let file = layout.name(&folder.join(path));
        let source = Fragment { text: chapter.content.clone(), line: 1 };
        let scan = scan(&source, &file, problems);
        pages.push(Page {
            file,
            path: path.to_string_lossy().into_owned(),
            title: chapter.name.clone(),
            prefix: prefix.to_owned(),
            source,
            scan,
        });
    }
    for item in &chapter.sub_items {
        if let BookItem::Chapter(chapter) = item {
            collect(chapter, prefix, folder, layout, problems, pages);
        }
    }
}

/// mdBook's own complaints (unclosed tags, unused footnotes) fail the build as well.
fn report_warnings(
    layout: &Layout,
    pages: &[Page],
    warnings: &Mutex<Vec<String>>,
    problems: &mut Problems,
) {
    let warnings = warnings.lock().map(|warnings| warnings.clone()).unwrap_or_default();
    for warning in warnings {
        let page = pages.iter().find(|page| warning.contains(&page.path));
        let file = page.map_or_else(
            || layout.name(&layout.book.join("book.toml")),
            |page| page.file.clone(),
        );
        // What could not be written may leave a tag open; the fault itself is known by
        // then.
        if problems.any_in(&file) {
            continue;
        }
        problems.add(
            file,
            1,
            format!(
                "mdBook warns: {}",
                warning.split_whitespace().collect::<Vec<_>>().join(" ")
            ),
        );
    }
}

/// The fonts of the vendored KaTeX stylesheet, which mdBook does not know of.
fn copy_fonts(layout: &Layout, site: &Path) -> Result<()> {
    let from = layout.book.join("theme/katex/fonts");
    let to = site.join("theme/katex/fonts");
    fs::create_dir_all(&to)
        .with_context(|| format!("{} cannot be created", to.display()))?;
    for entry in fs::read_dir(&from)
        .with_context(|| format!("{} cannot be read", layout.name(&from)))?
    {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

const FOOTER: &str = "</main>\n<footer class=\"book-footer\">Text: <a rel=\"license\" href=\"https://creativecommons.org/licenses/by/4.0/\">CC BY 4.0</a>. Code: MIT or Apache-2.0.</footer>";

static HEADER_LINK: LazyLock<Regex> =
    LazyLock::new(|| pattern("<a class=\"header\"[^>]*>(.*?)</a>"));

/// A chapter stays below this many bytes, so that it is drawn at once on a phone.
const LARGEST_PAGE: usize = 1_400_000;

/// Fills the slots of every page and adds the licence line.
fn finish(
    site: &Path,
    pages: &[Page],
    written: &pages::Written,
    problems: &mut Problems,
) -> Result<()> {
    for path in links::html_files(site)? {
        let markup = fs::read_to_string(&path)?;
        let name = problem::display(site, &path);
        let mut filled = written
            .slots
            .fill(&markup, name == "print.html")
            .replacen("</main>", FOOTER, 1);
        filled = styles::gather(&filled);
        if name == "404.html" {
            // Its addresses count from the site's root, so that a link to its own heading
            // would leave it.
            filled = HEADER_LINK.replace_all(&filled, "$1").into_owned();
        }
        if let Some(page) = pages.iter().find(|page| page.html() == name)
            && filled.len() > LARGEST_PAGE
        {
            let size = filled.len() / 1000;
            let message = format!(
                "the page takes {size} kB, more than {} kB; split the chapter",
                LARGEST_PAGE / 1000
            );
            problems.add(&page.file, 1, message);
        }
        fs::write(&path, filled)?;
    }
    Ok(())
}
