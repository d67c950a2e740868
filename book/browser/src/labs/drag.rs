//! Drags a slider as a hand does, and measures how long the answers take.

use std::{fmt, thread::sleep, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Operator, array, text};
use crate::reader::View;

/// A drag answers within this many milliseconds, at the 95th percentile.
pub(super) const PROMPT: f64 = 50.0;
/// A slow drag is made again by a browser that has the machine for itself, this often.
const DRAGS: usize = 3;
/// What the lab itself, its worker and its drawing, may take of a late answer, in
/// milliseconds at the median. The rest is the browser's, and on a slower machine, or a
/// busy one, there is more of it.
const OWN: f64 = PROMPT / 2.0;
/// Moves of a drag, and the milliseconds between two: those of a screen.
const MOVES: usize = 60;
const BETWEEN: Duration = Duration::from_millis(16);

/// A drag whose answers were late.
pub(super) struct Slow<'a> {
    pub(super) lab: &'a Value,
    pub(super) view: View,
    pub(super) answers: Answers,
}

impl Operator {
    /// Makes a slow drag again, with the machine for itself, prints how long the answers
    /// take, and finds fault with it if they are still late.
    pub(super) fn drag_alone(&mut self, slow: Slow) -> Result<()> {
        let Slow { lab, view, mut answers } = slow;
        let (name, page) = (text(&lab["lab"]), text(&lab["page"]));
        let window = self.reader.window(view)?;
        self.find(&window.session, page, name)?;
        self.press(&window, "lab.querySelector('button')")?;
        self.hear(&window.session)?;
        for _ in 0..DRAGS {
            if let Some(again) = self.drag(&window.session, text(&lab["drag"]))? {
                answers = answers.better(again);
            }
            if answers.late <= PROMPT {
                break;
            }
        }
        self.reader.close(&window)?;
        let seen = view.name();
        println!("{name:18} {seen:13} {answers}");
        if answers.late > PROMPT && answers.own > OWN {
            let message = format!(
                "the lab {name} answers a drag later than {PROMPT} ms; ask for less while the hand moves"
            );
            self.reader.report.fault(page, &seen, message);
        }
        Ok(())
    }

    /// Drags a slider to and fro, and measures the answers.
    pub(super) fn drag(&mut self, session: &str, slider: &str) -> Result<Option<Answers>> {
        self.evaluate(session, "lab.timings = []; 0")?;
        let before = self.reader.work()?.values().sum::<f64>();
        self.hold(session, &format!("named({})", json!(slider)))?;
        let after = self.reader.work()?.values().sum::<f64>();
        let timings = self.evaluate(session, "lab.timings")?;
        Ok(Answers::of(slider, &timings, after - before))
    }

    /// Holds a slider and moves it from its left end to its right and back.
    fn hold(&mut self, session: &str, slider: &str) -> Result<()> {
        let place = self.evaluate(
            session,
            &format!(
                "{slider}.scrollIntoView({{block: 'center'}}), (({{left, top, width, height}}) => [left + 8, width - 16, top + height / 2])({slider}.getBoundingClientRect())"
            ),
        )?;
        let place: [f64; 3] = serde_json::from_value(place)
            .with_context(|| format!("{slider} has no place in the page"))?;
        let [left, width, y] = place;
        let mut mouse = |kind: &str, share: f64| {
            let event = json!({"type": kind, "x": left + share * width, "y": y, "button": "left", "buttons": 1, "clickCount": 1});
            self.reader.chromium.call(Some(session), "Input.dispatchMouseEvent", event)
        };
        mouse("mousePressed", 0.0)?;
        for i in 1..=MOVES {
            sleep(BETWEEN);
            let share = 2.0 * i as f64 / MOVES as f64;
            mouse("mouseMoved", share.min(2.0 - share))?;
        }
        mouse("mouseReleased", 0.0)?;
        sleep(Duration::from_millis(300));
        Ok(())
    }
}

/// How long the answers to a drag took.
pub(super) struct Answers {
    slider: String,
    count: usize,
    /// Milliseconds within which 95 of 100 answers came.
    pub(super) late: f64,
    /// Milliseconds of the lab's own work, the worker's and the drawing's, at the median.
    own: f64,
    /// The same of all parts, and the processor time of an answer.
    total: f64,
    waited: f64,
    worker: f64,
    way: f64,
    drawing: f64,
    work: f64,
}

impl Answers {
    /// What the page has measured, in so many milliseconds of processor time.
    fn of(slider: &str, timings: &Value, work: f64) -> Option<Self> {
        let sorted = |part: &str| {
            let times = array(timings).filter_map(|answer| answer[part].as_f64());
            let mut times: Vec<f64> = times.collect();
            times.sort_by(f64::total_cmp);
            times
        };
        let middle = |part: &str| {
            let times = sorted(part);
            times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
        };
        let total = sorted("total");
        let [worker, drawing] = ["worker", "drawing"].map(middle);
        Some(Self {
            slider: slider.into(),
            count: total.len(),
            late: *total.get(total.len() * 95 / 100)?,
            own: worker + drawing,
            total: middle("total"),
            waited: middle("waited"),
            worker,
            way: middle("way"),
            drawing,
            work: work / total.len() as f64,
        })
    }

    /// The better of two tries.
    fn better(self, other: Self) -> Self {
        let own = self.own.min(other.own);
        let best = if other.late < self.late { other } else { self };
        Self { own, ..best }
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match (self.late > PROMPT, self.own > OWN) {
            (false, _) => "in time",
            (true, true) => "late",
            (true, false) => "late, by the browser's work",
        };
        let Self { slider, count, late, total, waited, worker, way, drawing, work, .. } =
            self;
        write!(
            f,
            "drag of \"{slider}\": {count} answers, half within {total:.0} ms ({waited:.0} waiting, {worker:.1} in the worker, {way:.1} on the way, {drawing:.1} drawing), 95 % within {late:.0} ms; {work:.0} ms of processor time each; the limit is {PROMPT} ms: {verdict}"
        )
    }
}
