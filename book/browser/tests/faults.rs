//! Shows that `check` finds each kind of fault, by putting them into a copy of the built
//! site.
//!
//! Needs a Chromium, the site in book/book, and axe-core's `axe.min.js`, whose path the
//! variable AXE holds: `AXE=axe.min.js cargo test -p book-browser`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A copy of the built site that a test may damage.
struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Self {
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../book");
        assert!(
            built.join("index.html").is_file(),
            "build the site first: cargo run -p book -- build"
        );
        let folder = tempfile::tempdir().expect("a temporary folder");
        copy(&built, folder.path());
        Self(folder)
    }

    /// Puts `html` in front of the last `before` of a page.
    fn put(&self, page: &str, before: &str, html: &str) {
        let path = self.0.path().join(page);
        let text = fs::read_to_string(&path).expect("a page of the site");
        let at = text.rfind(before).expect("the place to put it");
        fs::write(&path, format!("{}{html}{}", &text[..at], &text[at..]))
            .expect("a writable copy");
    }

    /// What `check` prints about some pages, without the lines of figures, and whether it
    /// is content.
    fn check(&self, pages: &[&str]) -> (Vec<String>, bool) {
        let axe = std::env::var_os("AXE").expect("the variable AXE names axe.min.js");
        let output = Command::new(env!("CARGO_BIN_EXE_book-browser"))
            .arg("check")
            .arg("--site")
            .arg(self.0.path())
            .arg("--axe")
            .arg(PathBuf::from(axe))
            .args(pages)
            .output()
            .expect("the tool starts");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let said = String::from_utf8(output.stdout).expect("text");
        let faults =
            said.lines().filter(|line| line.contains("]: ")).map(str::to_owned).collect();
        (faults, output.status.success())
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder of the site") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target)
        } else {
            fs::copy(&path, &target).map(|_| ()).expect("a file")
        }
    }
}

/// Each expected fault is found, in this view, and nothing else is.
fn only(found: &[String], expected: &[(&str, &str)]) {
    let is =
        |line: &str, (view, says): (&str, &str)| line.contains(view) && line.contains(says);
    for &fault in expected {
        assert!(
            found.iter().any(|line| is(line, fault)),
            "{fault:?} is not among {found:#?}"
        );
    }
    for line in found {
        assert!(
            expected.iter().any(|&fault| is(line, fault)),
            "nobody put this in: {line}"
        );
    }
}

const EVERY: &str = "[light 1280 px, dark 1280 px, light 390 px, dark 390 px]";

#[test]
fn an_undamaged_page_has_no_fault() {
    let (found, content) = Site::new().check(&["notation.html"]);
    assert!(content && found.is_empty(), "{found:#?}");
}

#[test]
fn every_fault_that_a_page_can_show_is_found() {
    let faults: [(&str, &[(&str, &str)]); 24] = [
        ("<script>console.error('oh no')</script>", &[(EVERY, "the console says: oh no")]),
        (
            "<script>throw new Error('broken')</script>",
            &[(EVERY, "a script fails: Error: broken")],
        ),
        (
            "<img src='https://example.org/a.png' alt=''>",
            &[
                (EVERY, "third party for https://example.org/a.png"),
                (EVERY, "https://example.org/a.png is an image that"),
            ],
        ),
        (
            "<img src='lost.png' alt=''>",
            &[
                (EVERY, "needs lost.png, which the site does not have"),
                (EVERY, "lost.png is an image that does not show"),
            ],
        ),
        (
            "<p><img src='data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7'></p>",
            &[(EVERY, "is an image without a text"), (EVERY, "axe-core, image-alt")],
        ),
        (
            "<svg role='img' aria-label='A word' width='100' height='40'><text x='80' y='20'>Too long</text></svg>",
            &[(EVERY, "\"Too long\" reaches beyond the edge of its picture")],
        ),
        (
            "<div class='wide' style='width:2000px'>W</div>",
            &[(EVERY, "<div.wide> \"W\" reaches beyond the right edge")],
        ),
        (
            "<div class='desk' style='width:700px'>D</div>",
            &[("[light 390 px, dark 390 px]", "<div.desk> \"D\" reaches")],
        ),
        (
            "<p style='width:3em;overflow:hidden;white-space:nowrap'>One two three</p>",
            &[(EVERY, "\"One two three\" is cut off at the side")],
        ),
        (
            "<div tabindex='0' role='region' aria-label='Long' style='width:20em;overflow-x:auto;white-space:nowrap'>One line that is wider than the box which holds it</div>",
            &[("[light 1280 px, dark 1280 px]", "has to be scrolled sideways")],
        ),
        ("<p>It costs $x$.</p>", &[(EVERY, "It costs $x$. is shown as it stands")]),
        (
            "<p>See {{eqref elbo}}.</p>",
            &[(EVERY, "See {{eqref elbo}}. is shown as it stands")],
        ),
        (
            "<p>Half is \\frac{1}{2}.</p>",
            &[(EVERY, "Half is \\frac{1}{2}. is shown as it stands")],
        ),
        (
            "<p style='width:3em'><span class='katex'><math>M</math><span class='katex-base' style='display:inline-block;width:3em'>M</span></span>. More</p>",
            &[(EVERY, "\"M. More\" is torn apart at the end of a line")],
        ),
        (
            "<a href='#nowhere'>a</a>",
            &[("every view", "notation.html shows no element nowhere")],
        ),
        (
            "<a href='lost.html'>b</a>",
            &[("every view", "the link lost.html leads nowhere")],
        ),
        ("<a href='/elsewhere'>c</a>", &[("every view", "/elsewhere leaves the site")]),
        (
            "<p style='color:#8a8a8a;background:#777777'>Faint</p>",
            &[(EVERY, "axe-core, color-contrast")],
        ),
        (
            "<details><summary onclick='event.preventDefault()'>Shut</summary></details>",
            &[(EVERY, "Shut does not open on a click")],
        ),
        (
            "<a class='eqref' href='#top' data-eq='lost' id='top'>(9.9)</a>",
            &[(EVERY, "the reference (9.9) shows no preview")],
        ),
        (
            "<a class='claim' href='#top' id='claim-9-9' aria-label='Checked'></a>",
            &[(EVERY, "the reference claim claim-9-9 shows no preview")],
        ),
        (
            "<style>html { background: white !important }</style>",
            &[("[dark 1280 px, dark 390 px]", "sees the other theme")],
        ),
        (
            "<style>.sidebar, .page-wrapper { transition-duration: 0.3s !important }</style>",
            &[
                ("[reduced motion]", "the table of contents, at the first click, moves"),
                ("[reduced motion]", "the table of contents, at the second click, moves"),
            ],
        ),
        (
            "<script>(() => { let x = 1; for (const _ of [1, 2]) for (let i = 0; i < 1e9; i += 1) x = Math.imul(x, 31) + i | 0; while (performance.now() < 2100); })()</script>",
            &[
                ("light 1280 px", "later than 2000"),
                ("dark 1280 px", "later"),
                ("light 390 px", "later"),
                ("dark 390 px", "later"),
            ],
        ),
    ];
    let site = Site::new();
    let html: String = faults.iter().map(|(html, _)| *html).collect();
    site.put("notation.html", "</main>", &html);
    let (found, content) = site.check(&["notation.html"]);
    assert!(!content);
    only(
        &found,
        &faults.iter().flat_map(|(_, faults)| faults.iter().copied()).collect::<Vec<_>>(),
    );
}

#[test]
fn a_page_that_is_too_large_or_wider_than_paper_or_lost_to_search_is_found() {
    let site = Site::new();
    site.put(
        "ch01_latent_variables.html",
        "</body>",
        &format!("<!--{}-->", "x".repeat(1_400_000)),
    );
    site.put("print.html", "</main>", "<div style='width:900px'>Poster</div>");
    for entry in fs::read_dir(site.0.path()).expect("the site") {
        let path = entry.expect("an entry").path();
        if path.to_string_lossy().contains("searchindex") {
            fs::write(path, "").expect("a writable copy");
        }
    }
    let (found, content) = site.check(&["ch01_latent_variables.html", "print.html"]);
    assert!(!content);
    let large = (EVERY, "kB, more than 1400; split it");
    let lost = ("[light 1280 px]", "finds 0 places, none of them here");
    only(&found, &[large, lost, ("on paper]", "\"Poster\" reaches beyond the right edge")]);
}

#[test]
fn a_chapter_that_shows_nothing_for_too_long_is_found() {
    let site = Site::new();
    let page = "ch01_latent_variables.html";
    // Two and a half screens of prose before everything, and five behind it.
    let path = site.0.path().join(page);
    let text = fs::read_to_string(&path).expect("the chapter");
    let text = text.replacen("<main>", "<main><p style='height:2300px'>Words.</p>", 1);
    fs::write(&path, text).expect("a writable copy");
    site.put(
        page,
        "</main>",
        "<p style='height:4500px'>Words.</p><table><tr><td>1</td></tr></table>",
    );
    let (found, content) = site.check(&[page]);
    assert!(!content);
    let desk = "[light 1280 px, dark 1280 px]";
    only(
        &found,
        &[
            (desk, "the chapter shows its first picture at screen "),
            (desk, " screens hold no picture, no table and no open listing"),
        ],
    );
}

#[test]
fn folded_pictures_and_long_listings_do_not_count() {
    let site = Site::new();
    let page = "ch01_latent_variables.html";
    let path = site.0.path().join(page);
    let text = fs::read_to_string(&path).expect("the chapter");
    let long = "line\n".repeat(40);
    let hidden = format!(
        "<main><details><summary>Fold</summary><figure class='figure'><svg role='img' aria-label='A picture' width='99' height='99'></svg></figure></details><p style='height:2000px'>Words.</p><pre><code>{long}</code></pre><p style='height:1800px'>Words.</p>"
    );
    fs::write(&path, text.replacen("<main>", &hidden, 1)).expect("a writable copy");
    let (found, content) = site.check(&[page]);
    assert!(!content);
    let desk = "[light 1280 px, dark 1280 px]";
    only(
        &found,
        &[
            (desk, "the chapter shows its first picture at screen "),
            (desk, " screens hold no picture, no table and no open listing"),
        ],
    );
}

#[test]
fn a_page_that_nobody_has_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_book-browser"))
        .args(["check", "lost.html"])
        .output()
        .expect("the tool starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success()
            && said.contains("the site has no page lost.html; it has "),
        "{said}"
    );
}
