//! The ladder: a figure of all models on the same images, drawn from the tested reports by
//! `book/ladder.toml`.

use std::fmt::Write as _;

use serde::Deserialize;

use crate::slots::escape;
use crate::snapshot::Snapshots;

/// The file with the rungs, relative to the repository.
pub const FILE: &str = "book/ladder.toml";
/// What a page calls the figure: `![…](figure:ladder.svg "…")`.
pub const FIGURE: &str = "ladder.svg";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    axis: (f64, f64),
    rung: Vec<Rung>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rung {
    name: String,
    kind: Kind,
    value: String,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// The likelihood itself.
    Exact,
    /// The likelihood is at least as good.
    Bound,
}

/// A model with its number.
struct Mark {
    name: String,
    chapter: String,
    kind: Kind,
    /// As the report prints it.
    text: String,
    value: f64,
    tolerance: f64,
}

/// The ladder, ready to be drawn.
pub struct Ladder {
    axis: (f64, f64),
    marks: Vec<Mark>,
}

impl Ladder {
    /// Reads the plan and takes its numbers from the reports.
    ///
    /// # Errors
    /// The line of the plan and a sentence, where it cannot be read or a number is missing.
    pub fn read(plan: &str, snapshots: &Snapshots) -> Result<Self, (usize, String)> {
        let read: Plan = toml::from_str(plan).map_err(|error| {
            let line =
                error.span().map_or(1, |span| 1 + plan[..span.start].matches('\n').count());
            (
                line,
                format!(
                    "the ladder cannot be read: {}; follow the comment at its top",
                    error.message()
                ),
            )
        })?;
        if read.axis.0 >= read.axis.1 || read.rung.is_empty() {
            return Err((
                1,
                "the ladder needs an axis from left to right, and rungs; add them"
                    .to_owned(),
            ));
        }
        let mut marks = Vec::new();
        for rung in read.rung {
            let line =
                1 + plan.lines().position(|line| line.contains(&rung.value)).unwrap_or(0);
            if rung.name.chars().count() > 28 {
                return Err((
                    line,
                    format!(
                        "the name \"{}\" is too long for the figure; use 28 characters",
                        rung.name
                    ),
                ));
            }
            let number =
                snapshots.number(&rung.value).map_err(|message| (line, message))?;
            let chapter =
                rung.value.get(2..4).unwrap_or_default().trim_start_matches('0').to_owned();
            let text = number.text.split('±').next().unwrap_or_default().trim().to_owned();
            let (value, tolerance) = (number.value, number.tolerance);
            marks.push(Mark {
                name: rung.name,
                chapter,
                kind: rung.kind,
                text,
                value,
                tolerance,
            });
        }
        Ok(Self { axis: read.axis, marks })
    }

    /// All rungs in words, for those who do not see the figure.
    pub fn words(&self) -> String {
        let words = |mark: &Mark| {
            let at_most = if mark.kind == Kind::Bound { "at most " } else { "" };
            format!("{} {at_most}{}", mark.name, mark.text)
        };
        format!("{}.", self.marks.iter().map(words).collect::<Vec<_>>().join("; "))
    }

    /// The drawing, in the palette of the figures.
    pub fn svg(&self) -> String {
        const ROW: f64 = 24.0;
        const TOP: f64 = 44.0;
        const LEFT: f64 = 206.0;
        const RIGHT: f64 = 430.0;
        let (least, most) = self.axis;
        let x = |value: f64| LEFT + (value - least) / (most - least) * (RIGHT - LEFT);
        let bottom = TOP + ROW * self.marks.len() as f64;
        let height = bottom + 28.0;
        let mut svg = format!(
            "<svg viewBox=\"0 0 480 {height}\" width=\"480\" height=\"{height}\" xmlns=\"http://www.w3.org/2000/svg\" font-family=\"sans-serif\" font-size=\"12.5\">\n"
        );
        let text = |x: f64, y: f64, anchor: &str, colour: &str, words: &str| {
            format!(
                "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{}</text>\n",
                escape(words)
            )
        };
        svg += &text(480.0, 12.0, "end", "#222222", "bits per dimension, test images");
        svg += &text(0.0, 34.0, "start", "#767676", "chapter");
        // Writing to a String cannot fail.
        let steps = ((most - least) * 10.0).round() as i32;
        for step in 0..=steps {
            let value = least + f64::from(step) / 10.0;
            let at = x(value);
            let _ = writeln!(
                svg,
                "<path d=\"M{at:.1} {:.1}V{bottom:.1}\" stroke=\"#dddddd\"/>",
                TOP - 6.0
            );
            if step % 2 == 0 {
                svg += &text(at, 34.0, "middle", "#767676", &format!("{value:.1}"));
            }
        }
        for (row, mark) in self.marks.iter().enumerate() {
            let middle = TOP + ROW * (row as f64 + 0.5);
            let base = middle + 4.5;
            svg += &text(8.0, base, "middle", "#767676", &mark.chapter);
            svg += &text(24.0, base, "start", "#222222", &mark.name);
            svg += &text(480.0, base, "end", "#222222", &mark.text);
            let colour = if mark.kind == Kind::Bound { "#0072b2" } else { "#222222" };
            if mark.value > most || mark.value < least {
                let (edge, back) =
                    if mark.value > most { (RIGHT + 2.0, -9.0) } else { (LEFT - 2.0, 9.0) };
                let _ = writeln!(
                    svg,
                    "<path d=\"M{edge:.1} {middle:.1}l{back:.1} -5v10z\" fill=\"{colour}\"/>"
                );
                continue;
            }
            let at = x(mark.value);
            if mark.tolerance > 0.0 {
                let (from, to) =
                    (x(mark.value - mark.tolerance), x(mark.value + mark.tolerance));
                let _ = writeln!(
                    svg,
                    "<path d=\"M{from:.1} {middle:.1}H{to:.1}\" stroke=\"{colour}\" stroke-width=\"3\" opacity=\"0.45\"/>"
                );
            }
            svg += &sign(at, middle, mark.kind);
        }
        let base = bottom + 22.0;
        svg += &sign(30.0, base - 4.5, Kind::Exact);
        svg += &text(40.0, base, "start", "#222222", "the likelihood itself");
        svg += &sign(206.0, base - 4.5, Kind::Bound);
        svg += &text(
            216.0,
            base,
            "start",
            "#222222",
            "a bound: the likelihood lies to its left",
        );
        svg + "</svg>\n"
    }
}

/// A filled disc; with an arrow to the left where it is a bound.
fn sign(x: f64, y: f64, kind: Kind) -> String {
    let colour = if kind == Kind::Bound { "#0072b2" } else { "#222222" };
    let disc =
        format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\" fill=\"{colour}\"/>\n");
    if kind == Kind::Exact {
        return disc;
    }
    format!(
        "<path d=\"M{x:.1} {y:.1}h-15m4.5 -4l-4.5 4l4.5 4\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n{disc}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = "axis = [1.8, 2.5]\n\n[[rung]]\nname = \"A & B\"\nkind = \"exact\"\nvalue = \"ch01_small:The bound:far\"\n\n[[rung]]\nname = \"C\"\nkind = \"bound\"\nvalue = \"ch01_small:The bound:near\"\n";

    fn read(plan: &str) -> Result<Ladder, (usize, String)> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let report = "---\nsource: x\n---\n## The bound\nfar   4.087 bits/dim\nnear  1.998 ± 0.020 bits/dim\nword  none\n";
        std::fs::write(folder.path().join("ch01_small.snap"), report).expect("a report");
        Ladder::read(plan, &Snapshots::new(folder.path().to_owned()))
    }

    #[test]
    fn the_numbers_are_those_of_the_reports() {
        let ladder = read(PLAN).expect("a ladder");
        assert_eq!(ladder.words(), "A & B 4.087; C at most 1.998.");
        let svg = ladder.svg();
        for part in
            [">A &amp; B</text>", ">4.087</text>", ">1.998</text>", "<circle cx=\"269.4\""]
        {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        // Two of the three discs belong to the legend: what lies beyond the axis is an
        // arrow.
        assert_eq!(svg.matches("<circle").count(), 3);
        crate::figure::inline(&svg, "fig-ladder", "A ladder.")
            .expect("a figure of the book");
    }

    #[test]
    fn a_faulty_plan_is_refused_with_its_line() {
        for (old, new, line, says) in [
            ("near", "neer", 11, "no row \"neer\""),
            ("near", "word", 11, "is no number"),
            ("\"bound\"\n", "\"guess\"\n", 10, "unknown variant `guess`"),
            (
                "name = \"C\"",
                "name = \"A name that nobody can read on a phone\"",
                11,
                "too long",
            ),
            ("[1.8, 2.5]", "[2.5, 1.8]", 1, "from left to right"),
            ("kind = \"exact\"", "kind = \"exact\"\nsize = 3", 6, "unknown field `size`"),
        ] {
            let plan = PLAN.replace(old, new);
            assert_ne!(plan, PLAN);
            let (at, message) =
                read(&plan).err().unwrap_or_else(|| panic!("{new} is refused"));
            assert!(at == line && message.contains(says), "{new}: line {at}: {message}");
        }
    }
}
