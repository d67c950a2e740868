//! Everything that the pages draw on, read once.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::citation::References;
use crate::equations::Equations;
use crate::ladder::{self, Ladder};
use crate::layout::{Layout, Repository};
use crate::markdown::Kind;
use crate::math::Math;
use crate::page::Page;
use crate::pages::figures::{self, Figure};
use crate::problem::Problems;
use crate::rust_tests::RustTests;
use crate::snapshot::Snapshots;

/// Everything that the pages draw on.
pub struct Sources<'a> {
    /// The repository.
    pub root: PathBuf,
    /// The pages in reading order.
    pub pages: &'a [Page],
    /// The public repository.
    pub repository: Repository,
    /// The renderer of maths.
    pub math: Math,
    /// The numbered equations.
    pub equations: Equations,
    /// The numbered figures, by their paths.
    pub figures: BTreeMap<String, Figure>,
    /// The chapters' reports.
    pub snapshots: Snapshots,
    /// The ladder, where book/ladder.toml has one.
    pub ladder: Option<Ladder>,
    /// The works that pages may cite.
    pub references: References,
    /// The page that holds `{{#bibliography}}`.
    pub bibliography: Option<usize>,
    /// The tests of claims.
    pub claim_tests: RustTests,
    /// The page that holds `{{#claims}}`.
    pub claims: Option<usize>,
}

impl<'a> Sources<'a> {
    /// Reads tests, macros and references, and numbers equations and figures.
    pub fn read(
        layout: &Layout,
        pages: &'a [Page],
        repository: Repository,
        problems: &mut Problems,
    ) -> Self {
        let file =
            |name: &str| fs::read_to_string(layout.book.join(name)).unwrap_or_default();
        let math = Math::new(&file("macros.tex"), "book/macros.tex", problems);
        let references =
            References::read(&file("references.bib"), "book/references.bib", problems);
        let tests =
            RustTests::read(&layout.root, &layout.root.join("tests/equations"), problems);
        let equations = Equations::collect(pages, &math, &tests, problems);
        let holds = |page: &Page, wanted: &str| {
            page.scan.items.iter().any(
                |item| matches!(&item.kind, Kind::Directive { name, .. } if name == wanted),
            )
        };
        let snapshots = Snapshots::of(&layout.root);
        let ladder = match fs::read_to_string(layout.root.join(ladder::FILE)) {
            Ok(plan) => Ladder::read(&plan, &snapshots)
                .map_err(|(line, message)| problems.add(ladder::FILE, line, message))
                .ok(),
            Err(_) => None,
        };
        Self {
            root: layout.root.clone(),
            pages,
            repository,
            math,
            equations,
            figures: figures::number(pages, problems),
            snapshots,
            ladder,
            references,
            claim_tests: RustTests::read(
                &layout.root,
                &layout.root.join("tests/claims"),
                problems,
            ),
            claims: pages.iter().position(|page| holds(page, "#claims")),
            bibliography: pages.iter().position(|page| holds(page, "#bibliography")),
        }
    }
}
