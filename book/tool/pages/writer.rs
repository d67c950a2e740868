//! Writes one page: every item of the author's Markdown replaced.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::LazyLock;

use regex::Regex;

use crate::claims::{self, Basis, Claims};
use crate::equations::{self, Label, Standing};
use crate::exercise::Exercises;
use crate::fold::{self, Folds};
use crate::labs::{self, Labs};
use crate::ladder;
use crate::markdown::{Fragment, Item, Kind, Scan, pattern, scan};
use crate::page::Page;
use crate::pages::blocks::{block, code_figure, placeholder};
use crate::pages::figures;
use crate::pages::sources::Sources;
use crate::problem::Problems;
use crate::relation;
use crate::slots::{Slots, escape, literal};
use crate::snapshot::Section;
use crate::{equation_map, figure, listing, numbers};

static VALUE_IN_MATHS: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\{\{value\s+([^{}]+)\}\}"));

/// Writes one page.
pub struct Writer<'a> {
    /// What the pages draw on.
    pub sources: &'a Sources<'a>,
    /// The labs, where they are built.
    pub labs: Option<&'a Labs>,
    /// The page.
    pub page: &'a Page,
    /// Its index among all pages.
    pub index: usize,
    /// The folders into which the chapters wrote their figures.
    pub runs: &'a BTreeMap<String, PathBuf>,
    /// Which page cites which works.
    pub cited: &'a mut BTreeMap<usize, BTreeSet<String>>,
    /// What mdBook must not see.
    pub slots: &'a mut Slots,
    /// The exercises so far.
    pub exercises: &'a mut Exercises,
    /// The folds and boxes of the page that are open.
    pub folds: Folds,
    /// The claims so far.
    pub claims: &'a mut Claims,
    /// The slots of the tables of all claims, and the pages that they stand on.
    pub claim_tables: &'a mut Vec<(usize, usize)>,
    /// How many numbers of the page come from reports.
    pub values: Cell<usize>,
    /// Equations of other pages that this page refers to.
    pub previews: RefCell<BTreeSet<String>>,
    /// What is wrong.
    pub problems: &'a mut Problems,
}

impl Writer<'_> {
    /// The Markdown of the page.
    pub fn page(&mut self) -> String {
        let page = self.page;
        numbers::lint(&page.source, &page.scan, &page.file, self.problems);
        let mut markdown = match page.prefix.chars().next() {
            Some(first) if first.is_ascii_digit() => {
                let minutes = fold::minutes(page);
                format!(
                    "<p class=\"kicker\">Chapter {}<span class=\"reading-time\">about {minutes} minutes</span></p>\n\n",
                    page.prefix
                )
            }
            Some(_) => format!("<p class=\"kicker\">Appendix {}</p>\n\n", page.prefix),
            None => String::new(),
        };
        markdown.push_str(&self.replaced(&page.source, &page.scan));
        if let Some((line, message)) = self.exercises.end_of_page() {
            self.fail(line, message);
        }
        if let Some((line, message)) = self.folds.end_of_page() {
            self.fail(line, message);
        }
        markdown.push_str(&self.checked());
        let previews = self.previews.take();
        if !previews.is_empty() {
            let templates: String = previews
                .iter()
                .filter_map(|name| {
                    self.sources
                        .equations
                        .get(name)?
                        .rendered
                        .as_ref()
                        .map(|rendered| (name, rendered))
                })
                .map(|(name, rendered)| {
                    format!(
                        "<template data-preview=\"{name}\">{}</template>",
                        rendered.html
                    )
                })
                .collect();
            let slot = self.slots.keep_for_pages(templates);
            markdown.push_str(&format!("\n\n<div hidden>{slot}</div>\n"));
        }
        markdown
    }

    /// What was checked on a chapter's page, for its end.
    fn checked(&mut self) -> String {
        if !self.page.prefix.starts_with(|c: char| c.is_ascii_digit()) {
            return String::new();
        }
        let counted = |count: usize, one: &str, rest: &str| {
            let s = if count == 1 { "" } else { "s" };
            (count > 0).then(|| format!("{count} {one}{s}{rest}"))
        };
        let equations = self
            .sources
            .equations
            .all
            .iter()
            .filter(|equation| equation.page == self.index);
        let (tested, others): (Vec<_>, Vec<_>) = equations
            .partition(|equation| matches!(equation.standing, Standing::Tested { .. }));
        let parts = [
            counted(self.values.get(), "number", " taken from tested output"),
            counted(
                tested.len(),
                "equation",
                if tested.len() == 1 { " with its test" } else { " with their tests" },
            ),
            counted(others.len(), "definition", ""),
            counted(self.claims.of_page(self.index), "claim", ""),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() {
            return String::new();
        }
        let slot =
            self.slots.keep(format!("Checked in this chapter: {}.", parts.join(", ")), "");
        format!("\n\n<p class=\"checked\">{slot}</p>\n")
    }

    /// The mark of a claim.
    fn claim(&mut self, basis: Basis) -> Result<String, String> {
        let sources = self.sources;
        let table = sources
            .claims
            .ok_or("no page lists the claims; add {{#claims}} to one, like equations.md")?;
        let claim = self.claims.add(self.page, self.index, basis);
        let row = self.page.link_to(&sources.pages[table], Some(&claim.row()));
        Ok(self.slots.keep(claim.mark(&row, &sources.repository), ""))
    }

    fn fail(&mut self, line: usize, message: impl Into<String>) {
        self.problems.add(&self.page.file, line, message);
    }

    /// The source with every item replaced.
    fn replaced(&mut self, source: &Fragment, scan: &Scan) -> String {
        let mut text = String::with_capacity(source.text.len() * 2);
        let mut from = 0;
        for item in &scan.items {
            text.push_str(&source.text[from..item.range.start]);
            match self.item(item) {
                Ok(replacement) => text.push_str(&replacement),
                // The page is not published, but the other faults of the book are still to
                // be found.
                Err((line, message)) => {
                    self.fail(line, message);
                    text.push_str(&placeholder(item));
                }
            }
            from = item.range.end;
        }
        text.push_str(&source.text[from..]);
        text
    }

    fn item(&mut self, item: &Item) -> Result<String, (usize, String)> {
        let here = |message: String| (item.line, message);
        match &item.kind {
            Kind::Dollar => Ok("<span class=\"dollar\">&#36;</span>".to_owned()),
            Kind::Inline(tex) => {
                let tex = self.values_in_maths(tex).map_err(here)?;
                let rendered = self.sources.math.render(&tex, false).map_err(|error| {
                    (
                        item.line + error.line,
                        format!("malformed maths ${tex}$: {}", error.message),
                    )
                })?;
                Ok(self.slots.keep(rendered.html, &rendered.plain))
            }
            Kind::Display { tex, attributes } => {
                let tex = self.values_in_maths(tex).map_err(here)?;
                let rendered = self.sources.math.render(&tex, true).map_err(|error| {
                    (item.line + error.line, format!("malformed maths: {}", error.message))
                })?;
                // A label that cannot be read is reported by the registry.
                let label = attributes
                    .as_ref()
                    .and_then(|attributes| Label::parse(attributes).ok());
                let equation =
                    label.and_then(|label| self.sources.equations.get(&label.name));
                let html = match equation {
                    Some(equation) => {
                        let html = equations::display(
                            equation,
                            &rendered.html,
                            &self.sources.repository,
                        );
                        let plain =
                            format!("{} ({})", equation.label.name, equation.number);
                        let slot = self.slots.keep(html, &plain);
                        format!(
                            "<div class=\"equation\" id=\"{}\">{slot}</div>",
                            Label::id(&equation.label.name)
                        )
                    }
                    None => {
                        let body =
                            format!("<div class=\"equation-body\">{}</div>", rendered.html);
                        format!(
                            "<div class=\"equation\">{}</div>",
                            self.slots.keep(body, "")
                        )
                    }
                };
                Ok(block(&item.margin, &html))
            }
            Kind::Citation(inside) => {
                let bibliography = self.sources.bibliography.ok_or_else(|| {
                    here("no page holds the bibliography; add one with {{#bibliography}} to SUMMARY.md".to_owned())
                })?;
                let href = self.page.link_to(&self.sources.pages[bibliography], None);
                let keys = self.cited.entry(self.index).or_default();
                self.sources.references.cite(inside, &href, keys).map_err(here)
            }
            Kind::Figure { alt, path, caption } => self.figure(item, alt, path, caption),
            Kind::Directive { name, argument, alone } => {
                let blocks = name.starts_with(['#', '/']);
                if blocks && !alone {
                    return Err(here(format!(
                        "{{{{{name}}}}} needs a line of its own; move it there"
                    )));
                }
                self.directive(item, name, argument).map_err(here)
            }
        }
    }

    fn directive(
        &mut self,
        item: &Item,
        name: &str,
        argument: &str,
    ) -> Result<String, String> {
        let sources = self.sources;
        match name {
            "eqref" => {
                let equation = sources.equations.get(argument).ok_or_else(|| {
                    format!("no equation has the label \"{argument}\"; correct the name or label the equation {{#eq:{argument}}}")
                })?;
                if equation.page != self.index {
                    self.previews.borrow_mut().insert(argument.to_owned());
                }
                let href = self
                    .page
                    .link_to(&sources.pages[equation.page], Some(&Label::id(argument)));
                Ok(equations::reference(equation, &href))
            }
            "figref" => {
                let figure = sources.figures.get(argument).ok_or_else(|| {
                    format!("no figure is named \"{argument}\"; name it as its figure: address does, like ch05_vdm/samples.svg")
                })?;
                let href = self
                    .page
                    .link_to(&sources.pages[figure.page], Some(&figure::id(argument)));
                Ok(figure::reference(&figure.number, &href))
            }
            "value" => {
                let (value, origin) = sources.snapshots.value(argument)?;
                self.values.set(self.values.get() + 1);
                Ok(format!(
                    "<span class=\"value\" title=\"{}\">{}</span>",
                    escape(&origin),
                    literal(&value)
                ))
            }
            "holds" => {
                let relation = relation::check(argument, &sources.snapshots)?;
                self.claim(Basis::Relation(relation))
            }
            "claim" => {
                let test = claims::test(argument, &sources.claim_tests)?;
                self.claim(Basis::Test(test))
            }
            "quoted" | "given" => {
                if argument.chars().any(|c| c.is_ascii_digit()) {
                    Ok(literal(argument))
                } else {
                    Err(format!("{{{{{name} …}}}} holds a number, like {{{{{name} 0.5}}}}"))
                }
            }
            "#listing" => {
                let (file, listing) = listing::cut(&sources.root, argument)?;
                if !listing.long.is_empty() {
                    self.fail(item.line, listing::cut_off(&file, &listing.long));
                }
                let lines = format!("lines {}–{}", listing.lines.0, listing.lines.1);
                let name = match sources.repository.lines(&file, listing.lines) {
                    Some(url) => {
                        format!("<a href=\"{}\">{file}</a>, {lines}", escape(&url))
                    }
                    None => format!("{file}, {lines}"),
                };
                let caption = format!("<figcaption>{name}</figcaption>");
                Ok(code_figure(
                    &item.margin,
                    "listing",
                    &caption,
                    listing::language(&file),
                    &listing.code,
                ))
            }
            "#output" => {
                let (chapter, heading) = argument
                    .split_once(':')
                    .map(|(chapter, heading)| (chapter.trim(), heading.trim()))
                    .ok_or("an output names a chapter and a section: {{#output ch05_vdm:The bound}}")?;
                let read = |section: &Section| {
                    let numbered = (section.first..).zip(&section.lines);
                    let long: Vec<_> = numbered
                        .filter_map(|(number, line)| listing::long(number, line))
                        .collect();
                    (section.lines.join("\n"), section.line, section.lines.len(), long)
                };
                let (text, line, count, long) =
                    sources.snapshots.section(chapter, heading, read)?;
                let file = format!("tests/snapshots/{chapter}.snap");
                if !long.is_empty() {
                    self.fail(item.line, listing::cut_off(&file, &long));
                }
                let source = match sources.repository.lines(&file, (line, line + count)) {
                    Some(url) => {
                        format!("<a href=\"{}\">{}</a>", escape(&url), escape(heading))
                    }
                    None => escape(heading),
                };
                let from = match sources.snapshots.command(chapter) {
                    Some(command) => format!("<code>{}</code>", escape(&command)),
                    None => format!("<span>{}</span>", escape(&file)),
                };
                let caption = format!(
                    "<figcaption>{from}<span class=\"output-section\">{source}</span></figcaption>"
                );
                Ok(code_figure(&item.margin, "output", &caption, "text", &text))
            }
            "#lab" => labs::lab(self.labs, argument).map(|html| block(&item.margin, &html)),
            "#run" => Ok(block(&item.margin, &labs::run(self.labs, argument))),
            "#equations" => Ok(block(
                &item.margin,
                &equations::table(
                    &sources.equations,
                    sources.pages,
                    self.page,
                    &sources.repository,
                ),
            )),
            "#claims" => {
                let (slot, markdown) = self.slots.reserve();
                self.claim_tables.push((slot, self.index));
                Ok(block(&item.margin, &format!("<div>{markdown}</div>")))
            }
            "#equation-map" => {
                let map = equation_map::map(&sources.equations, sources.pages, self.page);
                Ok(block(&item.margin, &map))
            }
            "#bibliography" => Ok(block(
                &item.margin,
                &sources.references.list(self.cited, sources.pages, self.page),
            )),
            "#fold" | "/fold" | "#hint" | "/hint" | "#box" | "/box" => {
                let title = Fragment { text: argument.to_owned(), line: item.line };
                let title = self.fragment(&title);
                Ok(block(&item.margin, &self.folds.step(name, &title, item.line)?))
            }
            "#exercise" | "/exercise" | "#solution" | "/solution" => {
                if let Some(message) = self.folds.torn(name, self.exercises.open()) {
                    return Err(message);
                }
                let opened = self.exercises.step(name, argument, item.line, self.page)?;
                let title = Fragment { text: argument.to_owned(), line: item.line };
                let title = self.fragment(&title);
                Ok(block(&item.margin, &opened.markdown(&title)))
            }
            "#include" | "#rustdoc_include" | "#playground" | "#title" => Err(format!(
                "mdBook's {{{{{name}}}}} is not used here; show code with {{{{#listing file:anchor}}}} and output with {{{{#output chapter:section}}}}"
            )),
            _ => Err(format!(
                "there is no directive {{{{{name}}}}}; there are eqref, figref, value, quoted, given, holds, claim, #listing, #output, #fold, #hint, #box, #exercise, #solution, #equations, #equation-map, #claims and #bibliography"
            )),
        }
    }

    /// A figure of the page.
    fn figure(
        &mut self,
        item: &Item,
        alt: &Fragment,
        path: &str,
        caption: &Fragment,
    ) -> Result<String, (usize, String)> {
        let here = |message: String| (item.line, message);
        let (alt, values) = figures::alt_text(
            alt,
            &self.page.file,
            &self.sources.snapshots,
            self.problems,
        )?;
        self.values.set(self.values.get() + values);
        if caption.text.trim().is_empty() {
            return Err(here(format!(
                "the figure {path} has no caption; add one in quotes behind the address"
            )));
        }
        let caption = self.fragment(caption);
        let (svg, alt) = if path == ladder::FIGURE {
            let ladder = self.sources.ladder.as_ref();
            let ladder = ladder.ok_or_else(|| {
                here(format!("there is no ladder to draw; mend {}", ladder::FILE))
            })?;
            (ladder.svg(), format!("{alt} {}", ladder.words()))
        } else {
            match figures::drawn(self.runs, path).map_err(here)? {
                Some(svg) => (svg, alt),
                None => return Ok(placeholder(item)),
            }
        };
        let id = figure::id(path);
        let inlined = figure::inline(&svg, &id, &alt).map_err(|message| {
            here(format!("the figure {path} cannot be shown: {message}"))
        })?;
        let number = self
            .sources
            .figures
            .get(path)
            .map_or_else(String::new, |figure| figure.number.clone());
        let slot = self.slots.keep(figure::boxed(&inlined), &alt);
        Ok(block(
            &item.margin,
            &format!(
                "<figure class=\"figure\" id=\"{id}\"><div class=\"figure-body\">{slot}</div>\n<figcaption>\n\n<span class=\"figure-number\">Figure {number}</span> {caption}\n\n</figcaption>\n</figure>"
            ),
        ))
    }

    /// A piece of Markdown (a caption, a title) with its items replaced.
    fn fragment(&mut self, source: &Fragment) -> String {
        let scan = scan(source, &self.page.file, self.problems);
        numbers::lint(source, &scan, &self.page.file, self.problems);
        self.replaced(source, &scan)
    }

    fn values_in_maths(&self, tex: &str) -> Result<String, String> {
        let mut filled = String::new();
        let mut from = 0;
        for found in VALUE_IN_MATHS.captures_iter(tex) {
            let (Some(whole), Some(address)) = (found.get(0), found.get(1)) else {
                continue;
            };
            filled.push_str(&tex[from..whole.start()]);
            filled.push_str(&self.sources.snapshots.value(address.as_str().trim())?.0);
            self.values.set(self.values.get() + 1);
            from = whole.end();
        }
        filled.push_str(&tex[from..]);
        Ok(filled)
    }
}
