//! Compares two reports: text exactly, and numbers that carry a tolerance within it.

use insta::{Comparator, Snapshot, internals::SnapshotContents};

use super::agreement::agree;

/// Accepts a report whose numbers lie within the tolerance that the reference prints beside
/// them.
#[derive(Clone)]
pub struct WithinTolerance;

impl Comparator for WithinTolerance {
    fn matches(&self, reference: &Snapshot, test: &Snapshot) -> bool {
        match (reference.contents(), test.contents()) {
            (SnapshotContents::Text(reference), SnapshotContents::Text(test)) => {
                agree(&reference.to_string(), &test.to_string())
            }
            _ => false,
        }
    }

    fn dyn_clone(&self) -> Box<dyn Comparator> {
        Box::new(self.clone())
    }
}
