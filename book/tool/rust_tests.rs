//! Reads tests as text: which equation or claim has one, and what it says of itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::Visit;

use crate::problem::{self, Problems};

/// A function of the tests.
#[derive(Debug, Clone, Default)]
pub struct RustTest {
    /// The function's name.
    pub name: String,
    /// The file, relative to the repository root.
    pub file: String,
    /// The lines of the function, doc comment included.
    pub lines: (usize, usize),
    /// Whether the function carries `#[test]`.
    pub is_test: bool,
    /// Whether it carries `#[ignore]`.
    pub ignored: bool,
    /// The first sentence of the doc comment.
    pub says: Option<String>,
    /// `/// Kind: closed form.`
    pub kind: Option<String>,
    /// `const TOLERANCE: f64 = 1e-10;` in the body.
    pub tolerance: Option<String>,
    /// `const STANDARD_ERRORS: f64 = 5.0;` in the body.
    pub standard_errors: Option<String>,
    /// The labels of `tex("elbo-gap")` in the body: formulas that it reads from the pages.
    pub reads: Vec<String>,
    /// The labels and digests of `digest("elbo-gap", "0f1e…")`: formulas that it was
    /// written for.
    pub digests: Vec<(String, String)>,
}

/// The functions of a folder of tests by name.
#[derive(Debug, Default)]
pub struct RustTests(BTreeMap<String, RustTest>);

impl RustTests {
    /// Reads every `.rs` file of `folder` and of the folders in it; a missing folder holds
    /// no tests.
    pub fn read(root: &Path, folder: &Path, problems: &mut Problems) -> Self {
        let mut tests = Self::default();
        let mut paths = Vec::new();
        rust_files(folder, &mut paths);
        paths.sort();
        for path in paths {
            let file = problem::display(root, &path);
            let parsed = fs::read_to_string(&path)
                .map_err(|error| (1, error.to_string()))
                .and_then(|text| {
                    syn::parse_file(&text)
                        .map_err(|error| (error.span().start().line, error.to_string()))
                });
            match parsed {
                Ok(parsed) => tests.add(&parsed.items, &file, problems),
                Err((line, error)) => {
                    problems.add(
                        &file,
                        line,
                        format!("this file cannot be read as Rust ({error}); make it compile first"),
                    );
                }
            }
        }
        tests
    }

    fn add(&mut self, items: &[syn::Item], file: &str, problems: &mut Problems) {
        for item in items {
            match item {
                syn::Item::Fn(function) => {
                    let test = read_function(function, file);
                    if !test.is_test {
                        // Helpers may share a name between files; only tests stand for
                        // anything.
                        self.0.entry(test.name.clone()).or_insert(test);
                        continue;
                    }
                    let line = test.lines.0;
                    if let Some(other) = self.0.get(&test.name)
                        && other.is_test
                    {
                        problems.add(
                            file,
                            line,
                            format!(
                                "the test {} also stands in {}; give each test a name of its own",
                                test.name, other.file
                            ),
                        );
                    }
                    self.0.insert(test.name.clone(), test);
                }
                syn::Item::Mod(module) => {
                    if let Some((_, items)) = &module.content {
                        self.add(items, file, problems);
                    }
                }
                _ => {}
            }
        }
    }

    /// The function that stands for a label.
    pub fn get(&self, label: &str) -> Option<&RustTest> {
        self.0.get(&label.replace('-', "_"))
    }

    /// The test that stands for a label.
    ///
    /// # Errors
    /// What is wrong with the function of that name, or `None`, where there is none.
    pub fn test(&self, label: &str) -> Result<&RustTest, Option<String>> {
        let test = self.get(label).ok_or(None)?;
        let RustTest { name, file, lines: (line, _), .. } = test;
        match (test.is_test, test.ignored) {
            (true, false) => Ok(test),
            (true, true) => Err(Some(format!(
                "the test {name} is ignored ({file}:{line}); make it run"
            ))),
            (false, _) => Err(Some(format!(
                "the function {name} ({file}:{line}) lacks #[test]; add it"
            ))),
        }
    }
}

/// The `.rs` files of `folder` and of the folders in it.
fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn read_function(function: &syn::ItemFn, file: &str) -> RustTest {
    let mut test = RustTest {
        name: function.sig.ident.to_string(),
        file: file.to_owned(),
        lines: (function.span().start().line, function.block.span().end().line),
        ..RustTest::default()
    };
    let mut paragraph = String::new();
    let mut ended = false;
    for attribute in &function.attrs {
        test.is_test |= attribute.path().is_ident("test");
        test.ignored |= attribute.path().is_ident("ignore");
        if let Some(text) = doc_line(attribute) {
            ended |= text.trim().is_empty();
            if !ended {
                paragraph.push_str(&text);
            }
            let field = |name: &str| {
                let rest = text.trim().strip_prefix(name)?.trim().trim_end_matches('.');
                (!rest.is_empty()).then(|| rest.to_owned())
            };
            test.kind = test.kind.or_else(|| field("Kind:"));
        }
    }
    test.says = first_sentence(&paragraph);
    Body(&mut test).visit_block(&function.block);
    test
}

/// The first sentence of a doc comment's first paragraph, which may hold `code`.
fn first_sentence(paragraph: &str) -> Option<String> {
    let words = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = words.find(". ").map_or(words.len(), |dot| dot + 1);
    (end > 0).then(|| words[..end].replace('`', ""))
}

/// The text of a `///` line.
fn doc_line(attribute: &syn::Attribute) -> Option<String> {
    let syn::Meta::NameValue(pair) = &attribute.meta else {
        return None;
    };
    if !pair.path.is_ident("doc") {
        return None;
    }
    text(&pair.value)
}

/// What stands between quotes.
fn text(expression: &syn::Expr) -> Option<String> {
    match expression {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

/// Finds how exactly a test compares, and which formula of a page it is about.
struct Body<'a>(&'a mut RustTest);

impl Visit<'_> for Body<'_> {
    fn visit_expr_call(&mut self, call: &syn::ExprCall) {
        let texts: Vec<String> = call.args.iter().filter_map(text).collect();
        if let syn::Expr::Path(function) = &*call.func {
            match &texts[..] {
                [label] if function.path.is_ident("tex") => {
                    self.0.reads.push(label.clone())
                }
                [label, digest] if function.path.is_ident("digest") => {
                    self.0.digests.push((label.clone(), digest.clone()));
                }
                _ => {}
            }
        }
        syn::visit::visit_expr_call(self, call);
    }

    fn visit_item_const(&mut self, constant: &syn::ItemConst) {
        let value = constant.expr.span().source_text();
        if constant.ident == "TOLERANCE" {
            self.0.tolerance = value;
        } else if constant.ident == "STANDARD_ERRORS" {
            self.0.standard_errors = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> (RustTests, Problems) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        let mut problems = Problems::default();
        let tests = RustTests::read(folder.path(), folder.path(), &mut problems);
        (tests, problems)
    }

    const GAP: &str = "use a::b;\n\n/// The gap is a KL divergence.\n///\n/// Kind: closed form.\n\
        #[test]\nfn elbo_gap() {\n    const TOLERANCE: f64 = 1e-10;\n    const STANDARD_ERRORS: f64 = 5.0;\n    \
        digest(\"elbo\", \"0f\");\n    let page = tex(\"elbo-gap\").sides(&values);\n}\n\n\
        fn helper() {}\n\n#[test]\n#[ignore = \"slow\"]\nfn jensen() {}\n";

    #[test]
    fn a_test_tells_its_lines_kind_and_tolerance() {
        let (tests, problems) = read(&[("ch02.rs", GAP)]);
        assert_eq!(problems.sorted(), []);
        let gap = tests.get("elbo-gap").expect("the test");
        assert!(gap.is_test && !gap.ignored);
        assert_eq!(gap.lines, (3, 12));
        assert_eq!(gap.reads, ["elbo-gap"]);
        assert_eq!(gap.digests, [("elbo".to_owned(), "0f".to_owned())]);
        assert_eq!(gap.says.as_deref(), Some("The gap is a KL divergence."));
        assert_eq!(gap.kind.as_deref(), Some("closed form"));
        assert_eq!(
            (gap.tolerance.as_deref(), gap.standard_errors.as_deref()),
            (Some("1e-10"), Some("5.0"))
        );
        assert!(tests.test("elbo-gap").is_ok());
        let refused = |label: &str| tests.test(label).expect_err(label).unwrap_or_default();
        assert_eq!(
            refused("jensen"),
            "the test jensen is ignored (ch02.rs:16); make it run"
        );
        assert_eq!(
            refused("helper"),
            "the function helper (ch02.rs:14) lacks #[test]; add it"
        );
        assert_eq!(refused("elbo"), "");
    }

    #[test]
    fn a_doubled_test_and_broken_rust_are_problems() {
        let (_, problems) = read(&[
            ("ch02.rs", GAP),
            ("ch03.rs", "#[test]\nfn elbo_gap() {}\n"),
            ("ch04.rs", "fn {"),
        ]);
        let found: Vec<_> = problems
            .sorted()
            .into_iter()
            .map(|problem| (problem.file, problem.line))
            .collect();
        assert_eq!(found, [("ch03.rs".to_owned(), 1), ("ch04.rs".to_owned(), 1)]);
    }
    #[test]
    fn the_tests_of_a_chapter_may_fill_a_folder() {
        let (tests, problems) = read(&[("ch02/gap.rs", GAP), ("ch02/notes.txt", "fn {")]);
        assert_eq!(problems.sorted(), []);
        assert_eq!(
            tests.get("elbo-gap").map(|test| test.file.as_str()),
            Some("ch02/gap.rs")
        );
    }
}
