//! How far a reader of a chapter scrolls from one thing that shows to the next.

use std::fmt;

use serde_json::Value;

/// The first picture is seen whole within so many screens of 1280 x 900 pixels.
const FIRST_PICTURE: f64 = 2.0;
/// Nowhere are more screens than this without a picture, a table or a short open listing.
const LONGEST_STRETCH: f64 = 4.0;

/// A chapter's page in screens, everything folded.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    /// Where the first picture ends; nothing, where there is none.
    pub first: Option<f64>,
    /// The longest stretch of prose, and where it begins.
    pub stretch: (f64, f64),
    /// The length of the page.
    pub screens: f64,
}

impl Flow {
    /// What the probe measured; nothing, where the page is no chapter on a desk.
    pub fn of(measured: &Value) -> Option<Self> {
        let stretch = &measured["stretch"];
        Some(Self {
            first: measured["first"].as_f64(),
            stretch: (stretch["screens"].as_f64()?, stretch["from"].as_f64()?),
            screens: measured["screens"].as_f64()?,
        })
    }

    /// What a reader would miss.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.first.is_none_or(|first| first > FIRST_PICTURE) {
            let first = self.first.map_or_else(
                || "has no picture".to_owned(),
                |first| format!("shows its first picture at screen {first:.1}"),
            );
            faults.push(format!(
                "the chapter {first}; put one into its first {FIRST_PICTURE:.0} screens"
            ));
        }
        let (screens, from) = self.stretch;
        if screens > LONGEST_STRETCH {
            faults.push(format!(
                "from screen {from:.1} on {screens:.1} screens hold no picture, no table and no open listing of a glance; show something there"
            ));
        }
        faults
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.first.unwrap_or(f64::INFINITY);
        let (stretch, from) = self.stretch;
        write!(
            f,
            "first picture seen by screen {first:.1} of {:.1}, longest stretch of prose {stretch:.1} screens (from {from:.1})",
            self.screens
        )
    }
}
