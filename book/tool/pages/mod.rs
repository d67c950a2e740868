//! Writes each page's Markdown for mdBook, with everything of this tool replaced.

mod blocks;
mod figures;
mod sources;
mod writer;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use crate::claims::Claims;
use crate::exercise::Exercises;
use crate::fold::Folds;
use crate::labs::Labs;
use crate::markdown::{Kind, Scan, scan};
use crate::problem::Problems;
use crate::programs::{Cache, Programs};
use crate::slots::Slots;

pub use sources::Sources;
use writer::Writer;

/// What mdBook gets, and what it must not see.
pub struct Written {
    /// The Markdown of each page.
    pub markdown: Vec<String>,
    /// What fills the slots in it.
    pub slots: Slots,
}

/// Writes all pages.
pub fn write_all(
    sources: &Sources<'_>,
    programs: &dyn Programs,
    cache: &Cache,
    labs: Option<&Labs>,
    problems: &mut Problems,
) -> Written {
    let runs = figures::run_chapters(
        &sources.root,
        sources.pages,
        &sources.figures,
        programs,
        cache,
        problems,
    );
    let mut written = Written { markdown: Vec::new(), slots: Slots::default() };
    let mut cited = cited_works(sources);
    let mut exercises = Exercises::default();
    let mut claims = Claims::default();
    let mut claim_tables = Vec::new();
    for (index, page) in sources.pages.iter().enumerate() {
        let mut writer = Writer {
            sources,
            labs,
            page,
            index,
            runs: &runs,
            cited: &mut cited,
            slots: &mut written.slots,
            exercises: &mut exercises,
            folds: Folds::default(),
            claims: &mut claims,
            claim_tables: &mut claim_tables,
            values: Cell::default(),
            previews: RefCell::default(),
            problems,
        };
        written.markdown.push(writer.page());
    }
    // A table may stand before the claims.
    for (slot, page) in claim_tables {
        let table = claims.table(sources.pages, &sources.pages[page], &sources.repository);
        written.slots.set(slot, table);
    }
    written
}

/// Which page cites which works; needed before the bibliography is written, wherever it
/// stands.
fn cited_works(sources: &Sources<'_>) -> BTreeMap<usize, BTreeSet<String>> {
    let mut cited: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    for (index, page) in sources.pages.iter().enumerate() {
        let keys = cited.entry(index).or_default();
        let mut cite = |scan: &Scan| {
            for item in &scan.items {
                if let Kind::Citation(inside) = &item.kind {
                    // An unknown key is reported where the citation is written.
                    let _ = sources.references.cite(inside, "", keys);
                }
            }
        };
        cite(&page.scan);
        for item in &page.scan.items {
            if let Kind::Figure { caption, .. } = &item.kind {
                cite(&scan(caption, &page.file, &mut Problems::default()));
            }
        }
    }
    cited
}
