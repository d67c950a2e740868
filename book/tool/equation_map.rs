//! The map of the derivation: every equation on a line of its own, an arc from each premise
//! to what follows.

use crate::equations::{Equation, Equations, Label, Standing};
use crate::page::Page;
use crate::slots::escape;

/// Height of a row and of the arcs' steps, in the units of the drawing.
const ROW: usize = 36;
/// Width between neighbouring arcs.
const LANE: usize = 9;

/// What `{{#equation-map}}` becomes: per page, its equations in order, with arcs for
/// `from="…"`.
pub fn map(equations: &Equations, pages: &[Page], from: &Page) -> String {
    let mut html = String::new();
    for (index, page) in pages.iter().enumerate() {
        let here: Vec<&Equation> =
            equations.all.iter().filter(|equation| equation.page == index).collect();
        if here.is_empty() {
            continue;
        }
        html.push_str(&format!(
            "<section class=\"map-chapter\"><p class=\"map-title\"><a href=\"{}\">{}</a></p>{}</section>",
            escape(&from.link_to(page, None)),
            escape(&page.title),
            chapter(&here, equations, pages, from)
        ));
    }
    if html.is_empty() {
        return "<p>No equation is numbered yet.</p>".to_owned();
    }
    format!("<div class=\"equation-map\">{html}</div>")
}

/// An arc from one row to another, in a lane to the left of the dots.
struct Arc {
    top: usize,
    bottom: usize,
    lane: usize,
    down: bool,
}

fn chapter(
    here: &[&Equation],
    equations: &Equations,
    pages: &[Page],
    from: &Page,
) -> String {
    let row_of = |name: &str| here.iter().position(|equation| equation.label.name == name);
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for (row, equation) in here.iter().enumerate() {
        spans.extend(
            equation
                .label
                .premises
                .iter()
                .filter_map(|name| row_of(name))
                .map(|premise| (premise, row)),
        );
    }
    let arcs = lanes(spans);
    let width = LANE * (arcs.iter().map(|arc| arc.lane + 1).max().unwrap_or(0)) + 16;
    let dot = width - 8;
    let middle = |row: usize| row * ROW + ROW / 2;
    let mut drawing = String::new();
    for arc in &arcs {
        let (start, end) = (middle(arc.top), middle(arc.bottom));
        let x = dot - 6 - LANE * (arc.lane + 1);
        let bend = 8;
        drawing.push_str(&format!(
            "<path d=\"M{} {start}H{}Q{x} {start} {x} {}V{}Q{x} {end} {} {end}H{}\"/>",
            dot,
            x + bend,
            start + bend,
            end - bend,
            x + bend,
            dot - 5
        ));
        // The head points at the conclusion, which stands above its premise only where a
        // page looks ahead.
        let tip = if arc.down { end } else { start };
        drawing.push_str(&format!(
            "<path class=\"head\" d=\"M{} {}l5 3.5l-5 3.5z\"/>",
            dot - 10,
            tip as f64 - 3.5
        ));
    }
    let mut rows = String::new();
    for (row, equation) in here.iter().enumerate() {
        let tested = matches!(equation.standing, Standing::Tested { .. });
        let class = if tested { "tested" } else { "definition" };
        drawing.push_str(&format!(
            "<circle class=\"{class}\" cx=\"{dot}\" cy=\"{}\" r=\"4.5\"/>",
            middle(row)
        ));
        let elsewhere: Vec<String> = equations
            .premises(equation)
            .map(|premise| {
                let href = from
                    .link_to(&pages[premise.page], Some(&Label::id(&premise.label.name)));
                format!("<a href=\"{}\">({})</a>", escape(&href), premise.number)
            })
            .collect();
        let follows = if elsewhere.is_empty() {
            String::new()
        } else {
            format!(" <span class=\"map-from\">from {}</span>", elsewhere.join(" "))
        };
        rows.push_str(&format!(
            "<li><a href=\"{}\">({}) {}</a>{follows}</li>",
            escape(
                &from
                    .link_to(&pages[equation.page], Some(&Label::id(&equation.label.name)))
            ),
            equation.number,
            equation.label.name
        ));
    }
    let height = ROW * here.len();
    format!(
        "<div class=\"map-body\"><svg aria-hidden=\"true\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">{drawing}</svg><ol>{rows}</ol></div>"
    )
}

/// Gives each arc the innermost lane that no overlapping shorter arc has taken.
fn lanes(mut spans: Vec<(usize, usize)>) -> Vec<Arc> {
    spans.retain(|(premise, row)| premise != row);
    spans.sort_by_key(|&(premise, row)| (premise.abs_diff(row), premise.min(row), premise));
    spans.dedup();
    let mut arcs: Vec<Arc> = Vec::new();
    for (premise, row) in spans {
        let (top, bottom) = (premise.min(row), premise.max(row));
        let overlaps = |arc: &Arc, lane: usize| {
            arc.lane == lane && arc.top < bottom && top < arc.bottom
        };
        let lane = (0..)
            .find(|&lane| !arcs.iter().any(|arc| overlaps(arc, lane)))
            .unwrap_or_default();
        arcs.push(Arc { top, bottom, lane, down: premise < row });
    }
    arcs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_arcs_take_different_lanes() {
        let arcs = lanes(vec![(0, 3), (0, 1), (1, 2), (2, 3), (1, 3)]);
        for (index, arc) in arcs.iter().enumerate() {
            for other in &arcs[index + 1..] {
                let overlap = arc.top < other.bottom && other.top < arc.bottom;
                assert!(!overlap || arc.lane != other.lane);
            }
        }
        let widest = arcs.iter().map(|arc| arc.lane).max();
        assert_eq!(widest, Some(2), "chains share the innermost lane");
    }
}
