//! Builds the fixture book (book/tests/fixture) end to end, right and with every fault that an author can make.

use std::fs;
use std::path::{Path, PathBuf};

use scraper::{Html, Selector};

use crate::book::{self, Layout};
use crate::programs::{Cache, Scripts};

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
        let problems = book::build(&self.layout(), &self.scripts(), &self.cache(), &site).expect("a readable book");
        problems.into_iter().map(|problem| problem.to_string()).collect()
    }

    fn page(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join("site").join(name)).expect("a page of the site")
    }
}

const ELBO: &str = "book/src/ch02_elbo.md";

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder of the fixture") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() { copy(&path, &target) } else { fs::copy(&path, &target).map(|_| ()).expect("a file") }
    }
}

fn select<'a>(document: &'a Html, selector: &str) -> Vec<scraper::ElementRef<'a>> {
    document.select(&Selector::parse(selector).expect("a selector")).collect()
}

fn texts(document: &Html, selector: &str) -> Vec<String> {
    select(document, selector)
        .iter()
        .map(|element| element.text().collect::<String>().split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

#[test]
fn dump() {
    let fixture = Fixture::new();
    println!("{:#?}", fixture.problems());
    let _ = fs::remove_dir_all("/tmp/e2d-site");
    copy(&fixture.folder.path().join("site"), Path::new("/tmp/e2d-site"));
}
