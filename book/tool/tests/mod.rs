//! Builds the fixture book (book/tests/fixture) end to end, right and with every fault that
//! an author can make.

mod faults;

use std::fs;
use std::path::{Path, PathBuf};

use scraper::{Html, Selector};

use crate::book;
use crate::layout::Layout;
use crate::programs::{Cache, Scripts};
use crate::publish;

/// A copy of the fixture book that a test may break.
struct Fixture {
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let fixture = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        let book = Path::new(env!("CARGO_MANIFEST_DIR"));
        copy(&book.join("tests/fixture"), &fixture.root());
        copy(&book.join("theme"), &fixture.root().join("book/theme"));
        fixture
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    fn layout(&self) -> Layout {
        Layout::find(&self.root()).expect("the fixture is a book")
    }

    fn scripts(&self) -> Scripts {
        Scripts(self.root().join("programs"))
    }

    fn cache(&self) -> Cache {
        Cache::in_folder(self.folder.path().join("cache"))
    }

    /// Replaces `old` in a file; it must be there.
    fn edit(&self, file: &str, old: &str, new: &str) -> &Self {
        let path = self.root().join(file);
        let text = fs::read_to_string(&path).expect("a file of the fixture");
        assert!(text.contains(old), "{file} no longer holds {old:?}");
        fs::write(&path, text.replacen(old, new, 1)).expect("a writable copy");
        self
    }

    /// Adds a paragraph to the end of chapter 2 and returns the line it stands on.
    fn add(&self, text: &str) -> usize {
        let path = self.root().join(ELBO);
        let mut page = fs::read_to_string(&path).expect("a page");
        page.push('\n');
        let line = page.lines().count() + 1;
        page.push_str(text);
        page.push('\n');
        fs::write(&path, page).expect("a writable copy");
        line
    }

    fn problems(&self) -> Vec<String> {
        let site = self.folder.path().join("site");
        let problems =
            book::build(&self.layout(), &self.scripts(), &self.cache(), None, &site)
                .expect("a readable book");
        problems.into_iter().map(|problem| problem.to_string()).collect()
    }

    fn page(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join("site").join(name))
            .expect("a page of the site")
    }
}

const ELBO: &str = "book/src/ch02_elbo.md";

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder of the fixture") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target)
        } else {
            fs::copy(&path, &target).map(|_| ()).expect("a file")
        }
    }
}

fn select<'a>(document: &'a Html, selector: &str) -> Vec<scraper::ElementRef<'a>> {
    document.select(&Selector::parse(selector).expect("a selector")).collect()
}

fn texts(document: &Html, selector: &str) -> Vec<String> {
    select(document, selector)
        .iter()
        .map(|element| {
            element
                .text()
                .collect::<String>()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect()
}

/// Builds the fixture, which is right, and reads one page.
fn right(name: &str) -> (Fixture, Html) {
    let fixture = Fixture::new();
    assert_eq!(fixture.problems(), Vec::<String>::new());
    let page = Html::parse_document(&fixture.page(name));
    (fixture, page)
}

#[test]
fn equations_are_numbered_by_chapter_and_marked() {
    let (_fixture, page) = right("ch02_elbo.html");
    assert_eq!(texts(&page, ".equation-number"), ["(2.1)", "(2.2)", "(2.3)"]);
    assert_eq!(texts(&page, ".mark"), ["definition", "tested as printed", "tested"]);
    let mark = select(&page, "#eq-elbo-gap a.mark")[0];
    assert_eq!(
        mark.attr("href"),
        Some("https://example.org/small-book/blob/main/tests/equations/ch02.rs#L3-L11")
    );
    assert_eq!(
        mark.attr("title"),
        Some(
            "cargo test --test equations elbo_gap (closed form), within 1e-10; it reads this formula"
        )
    );
    assert_eq!(select(&page, "annotation").len(), 0);
    // Every formula is there for the eye and for the ear.
    let formulas = select(&page, ".katex").len();
    assert!(formulas >= 6);
    assert_eq!(select(&page, ".katex math").len(), formulas);
    assert_eq!(select(&page, ".katex .katex-html[aria-hidden=true]").len(), formulas);
}

#[test]
fn references_lead_across_chapters_and_carry_their_preview() {
    let (_fixture, page) = right("ch01_latent.html");
    let links = select(&page, "a.eqref");
    let target =
        |index: usize| (links[index].attr("href"), links[index].text().collect::<String>());
    assert_eq!(target(0), (Some("ch02_elbo.html#eq-elbo"), "(2.1)".to_owned()));
    assert_eq!(target(1), (Some("#eq-chain-rule"), "(1.2)".to_owned()));
    // Only the equation of the other page comes along, for its preview.
    let templates = select(&page, "template[data-preview]");
    assert_eq!(templates.len(), 1);
    assert_eq!(templates[0].attr("data-preview"), Some("elbo"));
}

#[test]
fn listings_outputs_and_values_come_from_their_files() {
    let (_fixture, page) = right("ch02_elbo.html");
    assert_eq!(texts(&page, ".value"), ["2.098 ± 0.020", "2.11 bits/dim"]);
    let output = select(&page, ".output pre code")[0].text().collect::<String>();
    assert!(
        output
            .starts_with("test bound            2.098 ± 0.020 bits/dim\n  reconstruction"),
        "{output}"
    );
    assert!(
        texts(&page, ".output figcaption")[0].contains("cargo run --example ch02_elbo")
    );
    let page = Html::parse_document(&_fixture.page("ch01_latent.html"));
    let listings = select(&page, ".listing pre code.language-rust");
    assert_eq!(listings.len(), 2);
    let code = listings[0].text().collect::<String>();
    assert!(code.starts_with("// One latent per observation.\nlet z"), "{code}");
    assert!(!code.contains("ANCHOR"), "{code}");
    let source = select(&page, ".listing figcaption a")[0].attr("href");
    assert_eq!(
        source,
        Some("https://example.org/small-book/blob/main/chapters/ch01_latent.rs#L5-L11")
    );
    assert_eq!(texts(&page, ".value"), ["1.25"]);
}

#[test]
fn a_figure_is_inline_numbered_and_described() {
    let (_fixture, page) = right("ch02_elbo.html");
    let svg = select(&page, "figure#fig-ch02-elbo-loss svg[role=img]")[0];
    let alt = svg.attr("aria-label").expect("alt text");
    assert!(alt.ends_with("levels off at 2.098 bits per dimension."), "{alt}");
    let caption = &texts(&page, ".figure figcaption")[0];
    assert!(caption.starts_with("Figure 2.1 Training loss"), "{caption}");
    assert!(select(&page, ".figure figcaption .katex").len() == 1);
    let link = select(&page, "a.figref")[0];
    assert_eq!(
        (link.attr("href"), texts(&page, "a.figref")[0].as_str()),
        (Some("#fig-ch02-elbo-loss"), "Figure 2.1")
    );
}

#[test]
fn an_edited_chapter_brings_its_new_figure() {
    let (fixture, page) = right("ch02_elbo.html");
    let label = |page: &Html| {
        texts(page, "figure.figure svg text").contains(&"loss in nats".to_owned())
    };
    assert!(!label(&page));
    // What the program reads without saying so is not noticed; an edited program is.
    fixture.edit(
        "programs/ch02_elbo.sh",
        "cp programs/loss.svg",
        "sed s,bits/dim,nats, programs/loss.svg >",
    );
    assert_eq!(fixture.problems(), Vec::<String>::new());
    assert!(label(&Html::parse_document(&fixture.page("ch02_elbo.html"))));
}

#[test]
fn citations_lead_to_the_cited_works_alone() {
    let (fixture, page) = right("ch02_elbo.html");
    assert_eq!(
        texts(&page, ".citation"),
        ["Luo (2022)", "Kingma et al. (2021, eq. 12)", "Luo (2022)"]
    );
    assert_eq!(
        select(&page, ".citation")[0].attr("href"),
        Some("bibliography.html#ref-luo2022")
    );
    let bibliography = Html::parse_document(&fixture.page("bibliography.html"));
    let works = texts(&bibliography, ".bibliography li");
    assert_eq!(works.len(), 2, "{works:?}");
    assert!(
        works[0].starts_with("Kingma, D. P., Salimans, T., Poole, B. and Ho, J. (2021)."),
        "{works:?}"
    );
    assert!(works[0].ends_with("Cited in The evidence lower bound."), "{works:?}");
}

#[test]
fn exercises_are_numbered_and_their_solutions_closed() {
    let (_fixture, page) = right("ch01_latent.html");
    assert_eq!(texts(&page, ".exercise h3")[0], "Exercise 1.1. The other order");
    assert_eq!(select(&page, ".exercise h3#exercise-1-2").len(), 1);
    let solution = select(&page, ".exercise details.solution")[0];
    assert!(solution.attr("open").is_none());
    assert_eq!(texts(&page, ".solution summary"), ["Solution", "Hint"]);
    assert_eq!(select(&page, ".solution .listing").len(), 1);
    assert_eq!(select(&page, ".solution .equation").len(), 1);
}

#[test]
fn what_is_folded_is_closed_and_what_is_boxed_is_not() {
    let (_fixture, page) = right("ch01_latent.html");
    assert_eq!(texts(&page, "details.fold > summary"), ["One more exercise"]);
    assert!(select(&page, "details.fold")[0].attr("open").is_none());
    assert_eq!(select(&page, "details.fold .exercise details.hint").len(), 1);
    assert_eq!(texts(&page, ".box > .box-title"), ["The method"]);
    assert_eq!(select(&page, ".box ol li .katex").len(), 1);
    assert_eq!(texts(&page, ".kicker"), ["Chapter 1about 5 minutes"]);
}

#[test]
fn the_appendix_lists_and_maps_every_equation() {
    let (_fixture, page) = right("equations.html");
    let rows = texts(&page, "table.equations tbody tr:not(.table-group)");
    assert_eq!(rows.len(), 5);
    let gap = rows.iter().find(|row| row.contains("elbo-gap")).expect("a row");
    assert_eq!(gap, "(2.2)elbo-gapclosed formwithin 1e-10as printed");
    assert!(
        rows.iter()
            .any(|row| row.contains("Monte Carlowithin 5.0 standard errorsby digest")),
        "{rows:?}"
    );
    let nodes = texts(&page, ".map-body li");
    assert_eq!(nodes.len(), 5);
    assert_eq!(nodes[3], "(2.2) elbo-gap from (2.1) (1.2)");
    // One arc inside each chapter's chain; the premise of chapter 1 is named beside its
    // row.
    assert_eq!(select(&page, ".map-body path.head").len(), 3);
}

#[test]
fn claims_are_marked_behind_their_sentences_and_listed() {
    let (fixture, page) = right("ch02_elbo.html");
    let marks = select(&page, "p > a.claim");
    let attributes = |name: &str| {
        marks.iter().map(|mark| mark.attr(name).unwrap_or_default()).collect::<Vec<_>>()
    };
    assert_eq!(attributes("id"), ["claim-2-1", "claim-2-2", "claim-2-3"]);
    let lines = "https://example.org/small-book/blob/main/tests/claims/main.rs#L3-L8";
    assert_eq!(attributes("href"), ["equations.html#claim-2-1-checked", lines, lines]);
    let relation = "Checked. “test bound” is greater than “cosine, train”, and rises at every step from “linear, validation” to “cosine, validation”: 2.098 ± 0.020 > 2.07; 2.11 < 2.13 (ch02_elbo, Schedules; ch02_elbo, The bound)";
    let test = "Checked. The gap of any bound is positive, or zero. cargo test --test claims gap_is_positive";
    assert_eq!(attributes("title"), [relation, test, test]);
    assert_eq!(attributes("aria-label"), [relation, test, test]);
    assert!(
        marks.iter().all(|mark| mark.text().next().is_none()),
        "the sign is the stylesheet's"
    );
    assert_eq!(
        texts(&page, ".checked"),
        [
            "Checked in this chapter: 4 numbers taken from tested output, 2 equations with their tests, 1 definition, 3 claims."
        ]
    );
    let appendix = Html::parse_document(&fixture.page("equations.html"));
    assert_eq!(
        texts(&appendix, "table.claims tbody tr"),
        [
            "The evidence lower bound",
            "2.1relation“test bound” is greater than “cosine, train”, and rises at every step from “linear, validation” to “cosine, validation” 2.098 ± 0.020 > 2.07; 2.11 < 2.13 ch02_elbo, Schedules; ch02_elbo, The bound",
            "2.2testThe gap of any bound is positive, or zero. gap_is_positive",
            "2.3testThe gap of any bound is positive, or zero. gap_is_positive",
        ]
    );
    assert_eq!(
        select(&appendix, "tr#claim-2-1-checked a")[0].attr("href"),
        Some("ch02_elbo.html#claim-2-1")
    );
    assert!(select(&appendix, ".checked").is_empty(), "only chapters count");
    let other = Html::parse_document(&fixture.page("ch01_latent.html"));
    assert_eq!(
        texts(&other, ".checked"),
        [
            "Checked in this chapter: 1 number taken from tested output, 1 equation with its test, 1 definition."
        ]
    );
}

#[test]
fn a_table_of_claims_may_stand_before_them() {
    let fixture = Fixture::new();
    fixture.edit("book/src/equations.md", "{{#claims}}", "");
    fixture.edit("book/src/preface.md", "# Preface", "# Preface\n\n{{#claims}}");
    assert_eq!(fixture.problems(), Vec::<String>::new());
    let preface = Html::parse_document(&fixture.page("preface.html"));
    assert_eq!(select(&preface, "table.claims tbody tr[id]").len(), 3);
}

#[test]
fn pages_carry_numbers_kickers_edit_links_and_the_licence() {
    let (fixture, page) = right("ch02_elbo.html");
    assert_eq!(texts(&page, ".kicker"), ["Chapter 2about 5 minutes"]);
    assert!(texts(&page, ".book-footer")[0].contains("CC BY 4.0"));
    let edit = select(&page, "a[rel=edit]")[0].attr("href");
    assert_eq!(
        edit,
        Some("https://example.org/small-book/edit/main/book/src/ch02_elbo.md")
    );
    let appendix = Html::parse_document(&fixture.page("equations.html"));
    assert_eq!(texts(&appendix, ".kicker"), ["Appendix A"]);
    assert!(fixture.page("404.html").contains("<base href=\"/small-book/\">"));
    assert!(!fixture.page("ch02_elbo.html").contains("playground\""));
    assert!(
        fixture.page("preface.html").contains("It costs <span class=\"dollar\">$</span>5")
    );
}

#[test]
fn search_knows_labels_and_words_but_no_markup_of_formulas() {
    let (fixture, _) = right("preface.html");
    let site = fs::read_dir(fixture.folder.path().join("site")).expect("the site");
    let index = site
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.to_string_lossy().contains("searchindex"))
        .expect("a search index");
    let index = fs::read_to_string(index).expect("the search index");
    assert!(index.contains("elbo-gap (2.2)"), "labels are indexed with their numbers");
    assert!(
        index.contains("latent z from a prior"),
        "formulas are indexed as their symbols"
    );
    for markup in [
        "is greater than",
        "gap_is_positive",
        "Checked",
        "claim-",
        "katex",
        "mathbb",
        "application/x-tex",
        "1998/Math",
        "data-slot",
    ] {
        assert!(!index.contains(markup), "{markup} is in the search index");
    }
}

#[test]
fn the_print_page_holds_every_chapter_and_no_previews() {
    let (fixture, _) = right("preface.html");
    let print = Html::parse_document(&fixture.page("print.html"));
    assert_eq!(select(&print, ".equation[id]").len(), 5);
    assert_eq!(select(&print, "figure.figure svg").len(), 1);
    assert_eq!(select(&print, "template[data-preview]").len(), 0);
    assert_eq!(select(&print, "a.claim").len(), 3);
    assert_eq!(select(&print, "table.claims tr[id]").len(), 3);
    assert_eq!(select(&print, "a.eqref")[0].attr("href"), Some("#eq-elbo"));
}

#[test]
fn two_builds_are_the_same_bytes() {
    let (first, _) = right("preface.html");
    let (second, _) = right("preface.html");
    for name in
        ["ch01_latent.html", "ch02_elbo.html", "equations.html", "print.html", "404.html"]
    {
        assert!(first.page(name) == second.page(name), "{name} differs between two builds");
    }
}

#[test]
fn a_faulty_book_leaves_the_published_site_alone() {
    let fixture = Fixture::new();
    let publish = || {
        publish::publish(&fixture.layout(), &fixture.scripts(), &fixture.cache(), None)
            .expect("a readable book")
    };
    assert_eq!(publish(), []);
    let page = fixture.root().join("book/book/ch02_elbo.html");
    let good = fs::read_to_string(&page).expect("the published page");
    fixture.add("See {{eqref nowhere}}.");
    assert_eq!(publish().len(), 1);
    assert_eq!(fs::read_to_string(&page).expect("the published page"), good);
    let left: Vec<_> = fs::read_dir(fixture.root().join("book"))
        .expect("the book")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(".site"))
        .collect();
    assert_eq!(left, Vec::<String>::new(), "nothing half-written is left");
}

#[test]
fn the_book_is_found_from_its_own_folder_too() {
    let fixture = Fixture::new();
    for folder in ["", "book", "book/src"] {
        let layout = Layout::find(&fixture.root().join(folder)).expect("the book");
        assert_eq!(layout.root, fixture.root());
    }
    assert!(Layout::find(Path::new("/")).is_err());
}

/// The colours of the figures keep their contrast on every theme's page.
#[test]
fn figures_keep_their_contrast_on_every_theme() {
    let css =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("theme/pages.css"))
            .expect("the stylesheet");
    let themes =
        ["\n.light,", "\n.rust {", "\n.coal {", "\n.navy {", "\n.ayu {", "\n    html {"];
    for theme in themes {
        let block = css
            .split_once(theme)
            .and_then(|(_, rest)| rest.split_once('}'))
            .expect(theme)
            .0;
        let colour = |name: &str| {
            let value = block
                .split_once(&format!("--{name}: #"))
                .unwrap_or_else(|| panic!("{theme} {name}"))
                .1;
            u32::from_str_radix(&value[..6], 16).expect("a colour")
        };
        let paper = luminance(colour("fig-paper"));
        let check = |name: &str, least: f64| {
            let other = luminance(colour(name));
            let contrast = (paper.max(other) + 0.05) / (paper.min(other) + 0.05);
            assert!(
                contrast >= least,
                "{theme} {name}: {contrast:.2} is less than {least}"
            );
        };
        for text in ["fig-ink", "fig-muted", "ink-muted", "links", "tested"] {
            check(text, 4.5);
        }
        for series in 1..=6 {
            check(&format!("fig-{series}"), 3.0);
        }
    }
}

/// Relative luminance, as WCAG 2 defines it.
fn luminance(colour: u32) -> f64 {
    let channel = |shift: u32| {
        let value = f64::from((colour >> shift) & 255) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * channel(16) + 0.7152 * channel(8) + 0.0722 * channel(0)
}
