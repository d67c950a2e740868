//! Reads the finished site as a reader does: every page in a Chromium, light and dark, on a desk and on a phone.
//!
//! [`links`](crate::links) has checked the files; here the pages are drawn, scripts included. The site is served from
//! this machine, and for the browser no other machine exists.

mod page;
mod report;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::chromium::Chromium;
use crate::{links, problem, site};

use page::{Drawn, Kind};
use report::Report;

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

/// How a page is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct View {
    /// What the reader's system asks for. mdBook answers with the theme of book.toml.
    dark: bool,
    /// CSS pixels.
    width: u32,
}

impl View {
    const ALL: [Self; 4] = [
        Self { dark: false, width: 1280 },
        Self { dark: true, width: 1280 },
        Self { dark: false, width: 390 },
        Self { dark: true, width: 390 },
    ];

    fn scheme(self) -> &'static str {
        if self.dark { "dark" } else { "light" }
    }

    fn name(self) -> String {
        format!("{} {} px", self.scheme(), self.width)
    }
}

/// A window with a browser's memory of its own, as a first-time reader has it.
struct Window {
    session: String,
    context: String,
    view: View,
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
pub fn browse(options: &Options) -> Result<bool> {
    let begun = Instant::now();
    let pages = pages(options)?;
    let axe = match &options.axe {
        Some(file) => {
            Some(fs::read_to_string(file).with_context(|| format!("axe-core at {} cannot be read", file.display()))?)
        }
        None => None,
    };
    let port = site::serve(0, options.site.clone(), options.prefix.clone())?;

    let mut reader = Reader {
        chromium: Chromium::start()?,
        base: format!("http://127.0.0.1:{port}{}", options.prefix),
        axe,
        report: Report::default(),
        drawn: BTreeMap::new(),
    };
    let (screens, print): (Vec<String>, Vec<String>) = pages.into_iter().partition(|page| page != PRINT);
    for view in View::ALL {
        reader.view(view, &screens)?;
    }
    reader.targets(&options.site);
    reader.search()?;
    if !print.is_empty() {
        reader.paper()?;
    }
    let axe = if options.axe.is_some() { ", axe-core included" } else { ", without axe-core (name it with --axe)" };
    Ok(reader.report.print(&format!("light and dark, 1280 and 390 px{axe}"), begun.elapsed()))
}

/// The pages to visit, by their names.
fn pages(options: &Options) -> Result<Vec<String>> {
    if !options.site.join("index.html").is_file() {
        bail!("there is no site in {}; build it with cargo run -p book -- build", options.site.display());
    }
    let files = links::html_files(&options.site)?;
    let mut names: Vec<String> = files.iter().map(|file| problem::display(&options.site, file)).collect();
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

/// The browser, and what it saw.
struct Reader {
    chromium: Chromium,
    /// The address of the site, with a slash at its end.
    base: String,
    axe: Option<String>,
    report: Report,
    /// Each page as it was drawn last.
    drawn: BTreeMap<String, Drawn>,
}

impl Reader {
    /// Opens a window.
    fn window(&mut self, view: View) -> Result<Window> {
        let word = |value: &Value| value.as_str().map(str::to_owned).context("Chromium opens no window");
        let context = word(&self.chromium.call(None, "Target.createBrowserContext", json!({}))?["browserContextId"])?;
        let parameters = json!({ "url": "about:blank", "browserContextId": context });
        let target = word(&self.chromium.call(None, "Target.createTarget", parameters)?["targetId"])?;
        let parameters = json!({ "targetId": target, "flatten": true });
        let session = word(&self.chromium.call(None, "Target.attachToTarget", parameters)?["sessionId"])?;
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.chromium.call(Some(&session), &format!("{domain}.enable"), json!({}))?;
        }
        self.show_as(&session, view, "screen")?;
        Ok(Window { session, context, view })
    }

    fn close(&mut self, window: &Window) -> Result<()> {
        self.chromium.call(None, "Target.disposeBrowserContext", json!({ "browserContextId": window.context }))?;
        Ok(())
    }

    fn show_as(&mut self, session: &str, view: View, media: &str) -> Result<()> {
        let phone = view.width < 600;
        let size = json!({ "width": view.width, "height": 844, "deviceScaleFactor": 1, "mobile": phone });
        self.chromium.call(Some(session), "Emulation.setDeviceMetricsOverride", size)?;
        let features = json!([{ "name": "prefers-color-scheme", "value": view.scheme() }]);
        let media = json!({ "media": media, "features": features });
        self.chromium.call(Some(session), "Emulation.setEmulatedMedia", media)?;
        Ok(())
    }

    /// Visits every page in one view.
    fn view(&mut self, view: View, pages: &[String]) -> Result<()> {
        let window = self.window(view)?;
        for name in pages {
            let kind = if name == UNKNOWN { Kind::Unknown } else { Kind::Page };
            let drawn = self.visit(&window, name, kind)?;
            self.report.page(name, &drawn);
            self.drawn.insert(name.clone(), drawn);
        }
        self.close(&window)
    }

    /// Every link of every page leads to a file, and every fragment to an element that the drawn page has.
    fn targets(&mut self, site: &Path) {
        for (name, drawn) in &self.drawn {
            for link in &drawn.links {
                let Some(inside) = link.strip_prefix(&self.base) else {
                    if link.starts_with("http://127.0.0.1") {
                        self.report.fault(name, "every view", format!("the link {link} leaves the site; correct it"));
                    }
                    continue;
                };
                let (address, fragment) = inside.split_once('#').unwrap_or((inside, ""));
                let target = match address.split('?').next().unwrap_or_default() {
                    "" => "index.html",
                    path => path,
                };
                let message = match self.drawn.get(target) {
                    None if !site.join(target).is_file() => format!("the link {inside} leads nowhere; correct it"),
                    Some(page) if !fragment.is_empty() && !page.ids.contains(&links::decoded(fragment)) => {
                        format!("the link {inside} leads nowhere: {target} shows no element {fragment}; correct it")
                    }
                    _ => continue,
                };
                self.report.fault(name, "every view", message);
            }
        }
    }

    /// Search finds the first numbered equation of every page on its page.
    fn search(&mut self) -> Result<()> {
        let labelled = self.drawn.iter().filter_map(|(name, drawn)| {
            let label = drawn.ids.iter().find_map(|id| id.strip_prefix("eq-"))?;
            Some((name.clone(), label.to_owned()))
        });
        let wanted: Vec<(String, String)> = labelled.collect();
        let view = View::ALL[0];
        let window = self.window(view)?;
        for (page, term) in wanted {
            self.open(&window.session, &format!("index.html?search={term}"))?;
            let found = self.chromium.evaluate(&window.session, page::SEARCH_RESULTS)?;
            let found: Vec<String> = serde_json::from_value(found).unwrap_or_default();
            if !found.iter().any(|link| link.starts_with(&format!("{}{page}", self.base))) {
                let message = format!(
                    "search for \"{term}\" finds {} places, none of them here; look at the search index",
                    found.len()
                );
                self.report.fault(&page, &view.name(), message);
            }
        }
        self.close(&window)
    }

    /// The print page loads without a fault, and nothing on it is wider than a sheet of paper.
    fn paper(&mut self) -> Result<()> {
        let window = self.window(View { dark: false, width: 1280 })?;
        let drawn = self.visit(&window, PRINT, Kind::Print)?;
        self.report.page(PRINT, &drawn);
        self.show_as(&window.session, View { dark: false, width: PAPER }, "print")?;
        self.chromium.evaluate(&window.session, page::PRINTING)?;
        let facts = self.chromium.evaluate(&window.session, &page::probe(PAPER, true))?;
        self.layout(PRINT, "on paper", &facts);
        self.close(&window)
    }
}
