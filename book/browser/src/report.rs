//! What the visits found, one line for each fault.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::flow::Flow;

/// A page as it was drawn.
pub struct Drawn {
    /// Where its links lead, as whole addresses.
    pub links: Vec<String>,
    /// The ids of its elements.
    pub ids: BTreeSet<String>,
    /// Bytes of the page.
    pub bytes: u64,
    /// Milliseconds until it was drawn.
    pub milliseconds: f64,
    /// How many of axe-core's rules it keeps.
    pub rules: usize,
    /// How its pictures, tables and listings follow each other, for a chapter on a desk.
    pub flow: Option<Flow>,
}

/// Faults and figures of all visits.
#[derive(Default)]
pub struct Report {
    /// The views in which a page has a fault.
    faults: BTreeMap<(String, String), Vec<String>>,
    pages: BTreeMap<String, Figures>,
    visits: usize,
}

#[derive(Default)]
struct Figures {
    visits: usize,
    bytes: u64,
    slowest: f64,
    rules: usize,
    flow: Option<Flow>,
}

impl Report {
    /// Adds a fault of `page` in a view.
    pub fn fault(&mut self, page: &str, view: &str, message: String) {
        let views = self.faults.entry((page.to_owned(), message)).or_default();
        if !views.iter().any(|known| known == view) {
            views.push(view.to_owned());
        }
    }

    /// Adds a visit.
    pub fn page(&mut self, page: &str, drawn: &Drawn) {
        let figures = self.pages.entry(page.to_owned()).or_default();
        figures.visits += 1;
        figures.bytes = figures.bytes.max(drawn.bytes);
        figures.slowest = figures.slowest.max(drawn.milliseconds);
        figures.rules = figures.rules.max(drawn.rules);
        figures.flow = drawn.flow.or(figures.flow);
        self.visits += 1;
    }

    /// Adds what somebody else found.
    pub fn add(&mut self, other: Self) {
        for ((page, message), views) in other.faults {
            for view in views {
                self.fault(&page, &view, message.clone());
            }
        }
        for (page, more) in other.pages {
            let figures = self.pages.entry(page).or_default();
            figures.visits += more.visits;
            figures.bytes = figures.bytes.max(more.bytes);
            figures.slowest = figures.slowest.max(more.slowest);
            figures.rules = figures.rules.max(more.rules);
            figures.flow = more.flow.or(figures.flow);
        }
        self.visits += other.visits;
    }

    /// Prints everything; whether there was a fault.
    pub fn print(&self, views: &str, took: Duration) -> bool {
        for (page, figures) in &self.pages {
            println!(
                "{page:36} {} visits, drawn in at most {:4.0} ms, {:4} kB, {} axe-core rules kept",
                figures.visits,
                figures.slowest,
                figures.bytes / 1000,
                figures.rules
            );
        }
        for (page, figures) in &self.pages {
            if let Some(flow) = figures.flow {
                println!("{page:36} {flow}");
            }
        }
        for ((page, message), views) in &self.faults {
            println!("{page} [{}]: {message}", views.join(", "));
        }
        let count = match self.faults.len() {
            0 => "no fault".to_owned(),
            1 => "1 fault".to_owned(),
            count => format!("{count} faults"),
        };
        println!(
            "{count}: {} pages, {} visits, {views}, in {} s",
            self.pages.len(),
            self.visits,
            took.as_secs()
        );
        !self.faults.is_empty()
    }
}
