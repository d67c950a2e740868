//! Reads tests/equations/*.rs as text: which equation has a test, and what that test says of itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::Visit;

use crate::problem::{self, Problems};

/// One test function.
#[derive(Debug, Clone, Default)]
pub struct EquationTest {
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
    /// `/// Kind: closed form.`
    pub kind: Option<String>,
    /// `const TOLERANCE: f64 = 1e-10;` in the body.
    pub tolerance: Option<String>,
    /// `const STANDARD_ERRORS: f64 = 5.0;` in the body.
    pub standard_errors: Option<String>,
}

/// The functions of tests/equations by name.
#[derive(Debug, Default)]
pub struct EquationTests(BTreeMap<String, EquationTest>);

impl EquationTests {
    /// Reads every `.rs` file of `folder` and of the folders in it; a missing folder holds no tests.
    pub fn read(root: &Path, folder: &Path, problems: &mut Problems) -> Self {
        let mut tests = Self::default();
        let mut paths = Vec::new();
        rust_files(folder, &mut paths);
        paths.sort();
        for path in paths {
            let file = problem::display(root, &path);
            let parsed = fs::read_to_string(&path).map_err(|error| (1, error.to_string())).and_then(|text| {
                syn::parse_file(&text).map_err(|error| (error.span().start().line, error.to_string()))
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
                        // Helpers may share a name between files; only tests stand for equations.
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
                                "the test {} also stands in {}; an equation has one test, rename the other",
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

    /// The function that stands for an equation label.
    pub fn get(&self, label: &str) -> Option<&EquationTest> {
        self.0.get(&label.replace('-', "_"))
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

fn read_function(function: &syn::ItemFn, file: &str) -> EquationTest {
    let mut test = EquationTest {
        name: function.sig.ident.to_string(),
        file: file.to_owned(),
        lines: (function.span().start().line, function.block.span().end().line),
        ..EquationTest::default()
    };
    for attribute in &function.attrs {
        test.is_test |= attribute.path().is_ident("test");
        test.ignored |= attribute.path().is_ident("ignore");
        if let Some(text) = doc_line(attribute) {
            let field = |name: &str| {
                let rest = text.trim().strip_prefix(name)?.trim().trim_end_matches('.');
                (!rest.is_empty()).then(|| rest.to_owned())
            };
            test.kind = test.kind.or_else(|| field("Kind:"));
        }
    }
    Constants(&mut test).visit_block(&function.block);
    test
}

/// The text of a `///` line.
fn doc_line(attribute: &syn::Attribute) -> Option<String> {
    let syn::Meta::NameValue(pair) = &attribute.meta else {
        return None;
    };
    if !pair.path.is_ident("doc") {
        return None;
    }
    match &pair.value {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

/// Finds the constants that state how exactly a test compares.
struct Constants<'a>(&'a mut EquationTest);

impl Visit<'_> for Constants<'_> {
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

    fn read(files: &[(&str, &str)]) -> (EquationTests, Problems) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        let mut problems = Problems::default();
        let tests = EquationTests::read(folder.path(), folder.path(), &mut problems);
        (tests, problems)
    }

    const GAP: &str = "use a::b;\n\n/// The gap is a KL divergence.\n///\n/// Kind: closed form.\n\
        #[test]\nfn elbo_gap() {\n    const TOLERANCE: f64 = 1e-10;\n    const STANDARD_ERRORS: f64 = 5.0;\n}\n\n\
        fn helper() {}\n\n#[test]\n#[ignore = \"slow\"]\nfn jensen() {}\n";

    #[test]
    fn a_test_tells_its_lines_kind_and_tolerance() {
        let (tests, problems) = read(&[("ch02.rs", GAP)]);
        assert_eq!(problems.sorted(), []);
        let gap = tests.get("elbo-gap").expect("the test");
        assert!(gap.is_test && !gap.ignored);
        assert_eq!(gap.lines, (3, 10));
        assert_eq!(gap.kind.as_deref(), Some("closed form"));
        assert_eq!((gap.tolerance.as_deref(), gap.standard_errors.as_deref()), (Some("1e-10"), Some("5.0")));
        assert!(tests.get("jensen").expect("the test").ignored);
        assert!(!tests.get("helper").expect("the function").is_test);
        assert!(tests.get("elbo").is_none());
    }

    #[test]
    fn a_doubled_test_and_broken_rust_are_problems() {
        let (_, problems) = read(&[("ch02.rs", GAP), ("ch03.rs", "#[test]\nfn elbo_gap() {}\n"), ("ch04.rs", "fn {")]);
        let found: Vec<_> = problems.sorted().into_iter().map(|problem| (problem.file, problem.line)).collect();
        assert_eq!(found, [("ch03.rs".to_owned(), 1), ("ch04.rs".to_owned(), 1)]);
    }
    #[test]
    fn the_tests_of_a_chapter_may_fill_a_folder() {
        let (tests, problems) = read(&[("ch02/gap.rs", GAP), ("ch02/notes.txt", "fn {")]);
        assert_eq!(problems.sorted(), []);
        assert_eq!(tests.get("elbo-gap").map(|test| test.file.as_str()), Some("ch02/gap.rs"));
    }
}
