//! One visit to one page.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::chromium::Chromium;
use crate::flow::Flow;
use crate::report::{Drawn, Report};

/// How a page is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// What the reader's system asks for. mdBook answers with the theme of book.toml.
    pub dark: bool,
    /// CSS pixels.
    pub width: u32,
}

impl View {
    /// Light and dark, on a desk and on a phone.
    pub const ALL: [Self; 4] = [
        Self { dark: false, width: 1280 },
        Self { dark: true, width: 1280 },
        Self { dark: false, width: 390 },
        Self { dark: true, width: 390 },
    ];

    /// What the system is said to ask for.
    pub fn scheme(self) -> &'static str {
        if self.dark { "dark" } else { "light" }
    }

    /// The words of the report.
    pub fn name(self) -> String {
        format!("{} {} px", self.scheme(), self.width)
    }
}

/// A window with a browser's memory of its own, as a first-time reader has it.
pub struct Window {
    /// The name under which it takes orders.
    pub session: String,
    /// The browser's memory that belongs to it.
    pub context: String,
    /// How it shows pages.
    pub view: View,
}

/// A page is drawn within this time, in milliseconds.
const SLOWEST: f64 = 2000.0;
/// A slow page is visited again, this often in all. It is slow where no visit was in time
/// although the page had the processor for most of that: what is missing was another
/// program's.
const VISITS: usize = 2;
/// A page takes at most this many bytes, with its figures; fonts and scripts are loaded
/// once for all pages.
const LARGEST: u64 = 1_400_000;

const DRAWN: &str = "(async () => {
    const frame = () => new Promise((done) => requestAnimationFrame(done));
    await document.fonts.ready;
    await frame();
    await frame();
    return performance.now();
})()";
/// Tells the page that it will be printed, as a browser does, and waits until it is ready.
pub const PRINTING: &str = "(async () => {
    window.dispatchEvent(new Event('beforeprint'));
    for (let count = 0; count < 3; count += 1) {
        await new Promise((done) => requestAnimationFrame(done));
    }
})()";
const PROBE: &str = include_str!("probe.js");
const PREVIEWS: &str = include_str!("previews.js");

/// What is still on its way three frames after somebody opens or closes the table of
/// contents, or asks for the top of the page.
pub const MOTION: &str = "(async () => {
    const frames = async () => {
        for (let count = 0; count < 3; count += 1) {
            await new Promise((done) => requestAnimationFrame(done));
        }
    };
    const moves = [];
    await frames();
    for (const turn of ['first', 'second']) {
        document.getElementById('mdbook-sidebar-toggle').click();
        await frames();
        // One without duration may wait for a busy browser, but moves nothing.
        const lasts = (motion) => motion.effect.getComputedTiming().endTime > 1;
        if (document.getAnimations().some(lasts)) {
            moves.push(`the table of contents, at the ${turn} click,`);
        }
    }
    const page = document.scrollingElement;
    page.scrollTop = page.scrollHeight;
    await frames();
    document.querySelector('.menu-title').click();
    await frames();
    if (page.scrollTop > 0) {
        moves.push('the page, on its way to the top,');
    }
    return moves;
})()";
/// The addresses that mdBook's search lists, once it has looked.
pub const SEARCH_RESULTS: &str = "(async () => {
    for (let wait = 0; wait < 100; wait += 1) {
        if (document.getElementById('mdbook-searchresults-header')?.textContent.trim()) {
            break;
        }
        await new Promise((done) => setTimeout(done, 50));
    }
    return [...document.querySelectorAll('#mdbook-searchresults a')].map((link) => link.href);
})()";

/// What makes a page particular.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A page of the book.
    Page,
    /// All pages in one: large, slow, and a repetition.
    Print,
    /// An address that no page has; the 404 page answers.
    Unknown,
}

/// The expression that measures a page of this width, on paper or on a screen.
pub fn probe(width: u32, paper: bool) -> String {
    format!("{}({width}, {paper})", PROBE.trim_end())
}

/// A browser that looks at pages of the site.
pub struct Reader {
    /// The browser.
    pub chromium: Chromium,
    /// The address of the site, with a slash at its end.
    pub base: String,
    /// axe-core's script.
    pub axe: Option<String>,
    /// What was found.
    pub report: Report,
}

impl Reader {
    /// Opens a window.
    ///
    /// # Errors
    /// Where Chromium refuses.
    pub fn window(&mut self, view: View) -> Result<Window> {
        let word = |value: &Value| {
            value.as_str().map(str::to_owned).context("Chromium opens no window")
        };
        let context = word(
            &self.chromium.call(None, "Target.createBrowserContext", json!({}))?["browserContextId"],
        )?;
        let parameters = json!({ "url": "about:blank", "browserContextId": context });
        let target = word(
            &self.chromium.call(None, "Target.createTarget", parameters)?["targetId"],
        )?;
        let parameters = json!({ "targetId": target, "flatten": true });
        let session = word(
            &self.chromium.call(None, "Target.attachToTarget", parameters)?["sessionId"],
        )?;
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.chromium.call(Some(&session), &format!("{domain}.enable"), json!({}))?;
        }
        self.show_as(&session, view, "screen")?;
        Ok(Window { session, context, view })
    }

    /// Closes a window and forgets what it remembered.
    ///
    /// # Errors
    /// Where Chromium refuses.
    pub fn close(&mut self, window: &Window) -> Result<()> {
        self.chromium.call(
            None,
            "Target.disposeBrowserContext",
            json!({ "browserContextId": window.context }),
        )?;
        Ok(())
    }

    /// Shows what follows in a view, on a screen or on paper.
    ///
    /// # Errors
    /// Where Chromium refuses.
    pub fn show_as(&mut self, session: &str, view: View, media: &str) -> Result<()> {
        let phone = view.width < 600;
        let size = json!({ "width": view.width, "height": 844, "deviceScaleFactor": 1, "mobile": phone });
        self.chromium.call(Some(session), "Emulation.setDeviceMetricsOverride", size)?;
        self.media(session, view, media, "no-preference")
    }

    /// Shows what follows to a reader who wants no motion.
    ///
    /// # Errors
    /// Where Chromium refuses.
    pub fn still(&mut self, session: &str, view: View) -> Result<()> {
        self.media(session, view, "screen", "reduce")
    }

    fn media(
        &mut self,
        session: &str,
        view: View,
        media: &str,
        motion: &str,
    ) -> Result<()> {
        let features = json!([
            { "name": "prefers-color-scheme", "value": view.scheme() },
            { "name": "prefers-reduced-motion", "value": motion },
        ]);
        let media = json!({ "media": media, "features": features });
        self.chromium.call(Some(session), "Emulation.setEmulatedMedia", media)?;
        Ok(())
    }

    /// Opens a page and waits until it is loaded.
    pub fn open(&mut self, session: &str, name: &str) -> Result<()> {
        // What an earlier page still had to say is not this page's.
        self.chromium.evaluate(session, "0")?;
        self.chromium.events();
        let address = format!("{}{name}", self.base);
        self.chromium.call(Some(session), "Page.navigate", json!({ "url": address }))?;
        self.chromium
            .wait_for(session, "Page.loadEventFired")
            .with_context(|| format!("{name} does not load"))
    }

    /// Opens a page and checks it; faults go into the report.
    pub fn visit(&mut self, window: &Window, name: &str, kind: Kind) -> Result<Drawn> {
        let Window { session, view, .. } = window;
        let mut fastest = f64::INFINITY;
        let mut late = true;
        for _ in 0..VISITS {
            let before = self.work()?;
            self.open(session, name)?;
            let milliseconds =
                self.chromium.evaluate(session, DRAWN)?.as_f64().unwrap_or(f64::INFINITY);
            // A page may get a process of its own, which was not there before.
            let spent =
                |(process, after): (u64, f64)| after - before.get(&process).unwrap_or(&0.0);
            let own_work: f64 = self.work()?.into_iter().map(spent).sum();
            fastest = fastest.min(milliseconds);
            late = milliseconds >= SLOWEST && own_work >= 0.75 * SLOWEST;
            if !late {
                break;
            }
        }
        let mut facts = self.chromium.evaluate(session, &probe(view.width, false))?;
        if kind == Kind::Print {
            // The pages themselves have told.
            facts["scrolling"].take();
        }
        let bytes = facts["bytes"].as_u64().unwrap_or(0);
        let seen = view.name();
        if kind != Kind::Print {
            if late {
                let message = format!(
                    "drawn after {fastest:.0} ms, later than {SLOWEST:.0}; make the page lighter"
                );
                self.report.fault(name, &seen, message);
            }
            if bytes > LARGEST {
                let message = format!(
                    "the page takes {} kB, more than {}; split it",
                    bytes / 1000,
                    LARGEST / 1000
                );
                self.report.fault(name, &seen, message);
            }
        }
        if facts["dark"].as_bool() != Some(view.dark) {
            let message = format!(
                "a reader whose system is {} sees the other theme; look at book.toml",
                view.scheme()
            );
            self.report.fault(name, &seen, message);
        }
        self.layout(name, &seen, &facts);
        let flow = Flow::of(&facts["flow"]);
        for message in flow.iter().flat_map(Flow::faults) {
            self.report.fault(name, &seen, message);
        }
        let mut rules = 0;
        if kind != Kind::Print {
            for message in
                words(&self.chromium.evaluate(
                    session,
                    &format!("{}({})", PREVIEWS.trim_end(), view.width),
                )?)
            {
                self.report.fault(name, &seen, message);
            }
            rules = self.axe(session, name, &seen, "document")?;
        }
        self.incidents(session, name, &seen, kind);
        Ok(Drawn {
            links: words(&facts["links"]),
            ids: words(&facts["ids"]).into_iter().collect(),
            bytes,
            milliseconds: fastest,
            rules,
            flow,
        })
    }

    /// axe-core's findings in `part`, and what happened, on a page that was operated.
    ///
    /// # Errors
    /// Where Chromium refuses.
    pub fn finish(
        &mut self,
        session: &str,
        name: &str,
        seen: &str,
        part: &str,
    ) -> Result<()> {
        self.axe(session, name, seen, &format!("document.querySelector('{part}')"))?;
        self.incidents(session, name, seen, Kind::Page);
        Ok(())
    }

    /// The milliseconds of processor time that each process has taken to run scripts, lay
    /// pages out and draw them.
    ///
    /// # Errors
    /// Where Chromium does not tell.
    pub fn work(&mut self) -> Result<BTreeMap<u64, f64>> {
        let processes = self.chromium.call(None, "SystemInfo.getProcessInfo", json!({}))?;
        let processes = processes["processInfo"]
            .as_array()
            .context("Chromium does not count its work")?;
        let renderers = processes.iter().filter(|process| process["type"] == "renderer");
        Ok(renderers
            .filter_map(|one| {
                Some((one["id"].as_u64()?, one["cpuTime"].as_f64()? * 1000.0))
            })
            .collect())
    }

    /// What the probe found out of place.
    pub fn layout(&mut self, name: &str, seen: &str, facts: &Value) {
        let kinds = [
            (
                "overflow",
                "reaches beyond the right edge; let it wrap, or scroll in a box of its own",
            ),
            ("cut", "is cut off at the side; let it wrap or scroll"),
            (
                "scrolling",
                "has to be scrolled sideways on a desk; break its lines, or leave something out",
            ),
            (
                "leftovers",
                "is shown as it stands in the source; mark it as maths, a directive or code",
            ),
            (
                "stranded",
                "is torn apart at the end of a line; look at how the page ties punctuation to formulas",
            ),
            ("images", "is an image that does not show; correct its address or its size"),
            ("cropped", "reaches beyond the edge of its picture; move it inside"),
            ("undescribed", "is an image without a text that describes it; give it one"),
            ("closed", "does not open on a click; look at the page's scripts"),
        ];
        for (fact, says) in kinds {
            for found in words(&facts[fact]) {
                self.report.fault(name, seen, format!("{found} {says}"));
            }
        }
    }

    /// axe-core's serious findings in a part of the page; returns how many rules the page keeps.
    fn axe(&mut self, session: &str, name: &str, seen: &str, part: &str) -> Result<usize> {
        let Some(axe) = self.axe.as_deref() else {
            return Ok(0);
        };
        self.chromium.evaluate(session, &format!("{axe};0"))?;
        // axe-core has no rules for formulas, which make up most of a page and would take
        // most of the time. The last check reads their symbols instead.
        let plain = "for (const formula of document.querySelectorAll('.katex')) {
            formula.replaceWith(formula.querySelector('math')?.textContent ?? '');
        }";
        self.chromium.evaluate(session, plain)?;
        let found = self.chromium.evaluate(
            session,
            &format!("axe.run({part}, {{ resultTypes: ['violations'] }}).then((result) => ({{
                rules: result.passes.length,
                bad: result.violations
                    .filter((rule) => ['serious', 'critical'].includes(rule.impact))
                    .map((rule) => `axe-core, ${{rule.id}}: ${{rule.help}}; ${{rule.nodes.length}} in all, first `
                        + `${{rule.nodes[0].target.join(' ')}} (${{rule.helpUrl.split('?')[0]}})`),
            }}))"),
        )?;
        for message in words(&found["bad"]) {
            self.report.fault(name, seen, message);
        }
        Ok(found["rules"]
            .as_u64()
            .and_then(|rules| usize::try_from(rules).ok())
            .unwrap_or(0))
    }

    /// What happened while the page was open: requests, answers, errors.
    fn incidents(&mut self, session: &str, name: &str, seen: &str, kind: Kind) {
        for event in self.chromium.events() {
            if event["sessionId"] != *session {
                continue;
            }
            let said = &event["params"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let message = match event["method"].as_str().unwrap_or_default() {
                "Network.requestWillBeSent" => {
                    let address = text(&said["request"]["url"]);
                    let own = ["data:", "blob:", "about:"]
                        .iter()
                        .any(|scheme| address.starts_with(scheme));
                    (!own && !address.starts_with(&self.base)).then(|| {
                        format!("asks a third party for {address}; keep a copy in the book")
                    })
                }
                "Network.responseReceived" => {
                    let status = said["response"]["status"].as_u64().unwrap_or(0);
                    let expected = kind == Kind::Unknown && said["type"] == "Document";
                    (status >= 400 && !expected).then(|| {
                        let address = text(&said["response"]["url"]);
                        format!(
                            "needs {}, which the site does not have",
                            address.trim_start_matches(&self.base)
                        )
                    })
                }
                "Runtime.consoleAPICalled"
                    if matches!(
                        said["type"].as_str(),
                        Some("error" | "assert" | "warning")
                    ) =>
                {
                    let first = &said["args"][0];
                    let words = first["value"]
                        .as_str()
                        .or(first["description"].as_str())
                        .unwrap_or("no message");
                    Some(format!("the console says: {words}"))
                }
                "Runtime.exceptionThrown" => {
                    let details = &said["exceptionDetails"];
                    let words = details["exception"]["description"]
                        .as_str()
                        .or(details["text"].as_str());
                    let first = words
                        .unwrap_or("no message")
                        .lines()
                        .next()
                        .unwrap_or_default()
                        .to_owned();
                    Some(format!("a script fails: {first}"))
                }
                // What the network refuses is told above, by name.
                "Log.entryAdded"
                    if said["entry"]["level"] == "error"
                        && said["entry"]["source"] != "network" =>
                {
                    Some(format!("the console says: {}", text(&said["entry"]["text"])))
                }
                _ => None,
            };
            if let Some(message) = message {
                self.report.fault(name, seen, message);
            }
        }
    }
}

fn words(list: &Value) -> Vec<String> {
    let words = list.as_array().into_iter().flatten();
    words.filter_map(|word| word.as_str().map(str::to_owned)).collect()
}
