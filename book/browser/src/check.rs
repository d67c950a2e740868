//! Reads the finished site as a reader does: every page in a Chromium, light and dark, on a
//! desk and on a phone.
//!
//! `cargo run -p book -- check` looks at the files; here the pages are drawn, scripts
//! included. The site is served from this machine, and for the browser no other machine
//! exists.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use percent_encoding::percent_decode_str;

use crate::chromium::Chromium;
use crate::reader::{self, Kind, Reader, View};
use crate::report::{Drawn, Report};

/// What to look at.
pub struct Options {
    /// The finished site.
    pub site: PathBuf,
    /// The path under which it will be published.
    pub prefix: String,
    /// axe-core's `axe.min.js`; without it, accessibility is not checked.
    pub axe: Option<PathBuf>,
    /// The pages to visit; all, where it is empty.
    pub pages: Vec<String>,
}

/// An A4 sheet within the margins of theme/pages.css, in CSS pixels.
const PAPER: u32 = 672;
/// All chapters on one page, for printing. It may be large and slow.
const PRINT: &str = "print.html";
/// What mdBook shows in a frame where scripts are off.
const CONTENTS: &str = "toc.html";
/// An address that no page has.
const UNKNOWN: &str = "no/such/page.html";

/// Visits the pages and prints what is wrong; whether anything is.
///
/// # Errors
/// Where there is no site, no Chromium, or the browser ends.
pub fn check(options: &Options) -> Result<bool> {
    let begun = Instant::now();
    let pages = pages(options)?;
    let axe =
        match &options.axe {
            Some(file) => Some(fs::read_to_string(file).with_context(|| {
                format!("axe-core at {} cannot be read", file.display())
            })?),
            None => None,
        };
    let port = book_server::serve(0, options.site.clone(), options.prefix.clone())?;

    let visits = || -> Result<Visits> {
        let reader = Reader {
            chromium: Chromium::start()?,
            base: format!("http://127.0.0.1:{port}{}", options.prefix),
            axe: axe.clone(),
            report: Report::default(),
        };
        Ok(Visits { reader, drawn: BTreeMap::new() })
    };
    let (screens, print): (Vec<String>, Vec<String>) =
        pages.into_iter().partition(|page| page != PRINT);
    // A browser that draws a page keeps one processor busy; two share the views.
    let (wide, narrow) = View::ALL.split_at(View::ALL.len() / 2);
    let seen = |views: &[View]| {
        let mut visits = visits()?;
        for view in views {
            visits.view(*view, &screens)?;
        }
        Ok::<_, anyhow::Error>(visits)
    };
    let (visits, others) = thread::scope(|scope| {
        let others = scope.spawn(|| seen(narrow));
        (seen(wide), others.join())
    });
    let Ok(others) = others else { bail!("a browser's visits ended in a panic") };
    let (mut visits, others) = (visits?, others?);
    visits.reader.report.add(others.reader.report);
    visits.drawn.extend(others.drawn);
    visits.targets(&options.site);
    if let Some(page) = screens.first() {
        visits.motion(page)?;
    }
    visits.search()?;
    if !print.is_empty() {
        visits.paper()?;
    }
    let axe = if options.axe.is_some() {
        ", axe-core included"
    } else {
        ", without axe-core (name it with --axe)"
    };
    Ok(visits
        .reader
        .report
        .print(&format!("light and dark, 1280 and 390 px{axe}"), begun.elapsed()))
}

/// The pages to visit, by their names.
fn pages(options: &Options) -> Result<Vec<String>> {
    if !options.site.join("index.html").is_file() {
        bail!(
            "there is no site in {}; build it with cargo run -p book -- build",
            options.site.display()
        );
    }
    let mut names = Vec::new();
    html_files(&options.site, "", &mut names)?;
    names.sort();
    if options.pages.is_empty() {
        names.retain(|name| name != CONTENTS && name != "404.html");
        names.push(UNKNOWN.to_owned());
        return Ok(names);
    }
    if let Some(unknown) = options.pages.iter().find(|page| !names.contains(page)) {
        bail!("the site has no page {unknown}; it has {}", names.join(", "));
    }
    Ok(options.pages.clone())
}

/// Adds the HTML files of `folder` and of the folders in it, each with `prefix` before its
/// name.
fn html_files(folder: &Path, prefix: &str, names: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder)
        .with_context(|| format!("{} cannot be read", folder.display()))?
    {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            html_files(&entry.path(), &format!("{name}/"), names)?;
        } else if name.ends_with(".html") {
            names.push(name);
        }
    }
    Ok(())
}

/// The visits to all pages.
struct Visits {
    reader: Reader,
    /// Each page as it was drawn last.
    drawn: BTreeMap<String, Drawn>,
}

impl Visits {
    /// Visits every page in one view.
    fn view(&mut self, view: View, pages: &[String]) -> Result<()> {
        let window = self.reader.window(view)?;
        for name in pages {
            let kind = if name == UNKNOWN { Kind::Unknown } else { Kind::Page };
            let drawn = self.reader.visit(&window, name, kind)?;
            self.reader.report.page(name, &drawn);
            self.drawn.insert(name.clone(), drawn);
        }
        self.reader.close(&window)
    }

    /// Every link of every page leads to a file, and every fragment to an element that the
    /// drawn page has.
    fn targets(&mut self, site: &Path) {
        for (name, drawn) in &self.drawn {
            for link in &drawn.links {
                let Some(inside) = link.strip_prefix(&self.reader.base) else {
                    if link.starts_with("http://127.0.0.1") {
                        self.reader.report.fault(
                            name,
                            "every view",
                            format!("the link {link} leaves the site; correct it"),
                        );
                    }
                    continue;
                };
                let (address, fragment) = inside.split_once('#').unwrap_or((inside, ""));
                let target = match address.split('?').next().unwrap_or_default() {
                    "" => "index.html",
                    path => path,
                };
                let message = match self.drawn.get(target) {
                    None if !site.join(target).is_file() => {
                        format!("the link {inside} leads nowhere; correct it")
                    }
                    Some(page)
                        if !fragment.is_empty()
                            && !page.ids.contains(
                                &*percent_decode_str(fragment).decode_utf8_lossy(),
                            ) =>
                    {
                        format!(
                            "the link {inside} leads nowhere: {target} shows no element {fragment}; correct it"
                        )
                    }
                    _ => continue,
                };
                self.reader.report.fault(name, "every view", message);
            }
        }
    }

    /// For a reader who wants no motion, nothing moves but at once.
    fn motion(&mut self, page: &str) -> Result<()> {
        let view = View::ALL[0];
        let window = self.reader.window(view)?;
        self.reader.still(&window.session, view)?;
        self.reader.open(&window.session, page)?;
        let moves = self.reader.chromium.evaluate(&window.session, reader::MOTION)?;
        let moves: Vec<String> =
            serde_json::from_value(moves).context("the page does not say what moves")?;
        for what in moves {
            let message = format!(
                "{what} moves, although the reader's system asks for no motion; look at prefers-reduced-motion in theme/pages.css and theme/pages.js"
            );
            self.reader.report.fault(page, "reduced motion", message);
        }
        self.reader.close(&window)
    }

    /// Search finds the first numbered equation of every page on its page.
    fn search(&mut self) -> Result<()> {
        let labelled = self.drawn.iter().filter_map(|(name, drawn)| {
            let label = drawn.ids.iter().find_map(|id| id.strip_prefix("eq-"))?;
            Some((name.clone(), label.to_owned()))
        });
        let wanted: Vec<(String, String)> = labelled.collect();
        let view = View::ALL[0];
        let window = self.reader.window(view)?;
        for (page, term) in wanted {
            self.reader.open(&window.session, &format!("index.html?search={term}"))?;
            let found =
                self.reader.chromium.evaluate(&window.session, reader::SEARCH_RESULTS)?;
            let found: Vec<String> = serde_json::from_value(found).unwrap_or_default();
            if !found
                .iter()
                .any(|link| link.starts_with(&format!("{}{page}", self.reader.base)))
            {
                let message = format!(
                    "search for \"{term}\" finds {} places, none of them here; look at the search index",
                    found.len()
                );
                self.reader.report.fault(&page, &view.name(), message);
            }
        }
        self.reader.close(&window)
    }

    /// The print page loads without a fault, and nothing on it is wider than a sheet of
    /// paper.
    fn paper(&mut self) -> Result<()> {
        let window = self.reader.window(View { dark: false, width: 1280 })?;
        let drawn = self.reader.visit(&window, PRINT, Kind::Print)?;
        self.reader.report.page(PRINT, &drawn);
        self.reader.show_as(
            &window.session,
            View { dark: false, width: PAPER },
            "print",
        )?;
        self.reader.chromium.evaluate(&window.session, reader::PRINTING)?;
        let facts =
            self.reader.chromium.evaluate(&window.session, &reader::probe(PAPER, true))?;
        self.reader.layout(PRINT, "on paper", &facts);
        self.reader.close(&window)
    }
}
