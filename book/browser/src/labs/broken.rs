//! Breaks the labs on purpose.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{Operator, PATIENCE, text};
use crate::reader::Window;

/// Makes the worker break at the next question to a lab; with `null`, not any more.
const BREAKS: &str = "{
    const send = Worker.prototype.postMessage;
    let how = null;
    window.breaks = (wanted) => { how = wanted; };
    Worker.prototype.postMessage = function (message, ...rest) {
        const broken = how && message.what === 'answer';
        return send.call(this, broken ? { id: message.id, what: 'break', how } : message, ...rest);
    };
} 0";

impl Operator {
    /// A browser without WebAssembly, a module that is damaged on the way, one that traps
    /// and one that runs out of memory: each time the lab says so in a sentence, the page
    /// stays whole, and the lab can be started anew.
    pub(super) fn broken(&mut self, window: &Window) -> Result<()> {
        let (session, page) = (&window.session, "ch02_elbo.html");
        let begin = "lab.querySelector('button')";
        // What is broken, how, what is pressed, and what the reader is told.
        let cases = [
            (
                "no WebAssembly",
                "Object.defineProperty(window, 'WebAssembly', {value: undefined})",
                begin,
                "this browser has no WebAssembly",
            ),
            (
                "a damaged module",
                "const Whole = Worker; window.Worker = class extends Whole {
                     constructor(address, options) {
                         const script = (text) => URL.createObjectURL(new Blob([text], {type: 'text/javascript'}));
                         const first = script(`WebAssembly.instantiateStreaming = WebAssembly.instantiate = async () => { throw new Error('the module is damaged') };`);
                         super(script(`import '${first}'; import '${address}';`), options);
                     }
                 }",
                begin,
                "the module is damaged",
            ),
            ("a trap", "breaks('trap')", "named('Ascend')", "was told to break"),
            ("no memory left", "breaks('memory')", "named('Ascend')", "out of memory"),
        ];
        for (what, how, button, expected) in cases {
            self.find(session, page, "ch02-gap")?;
            let text_before = self
                .evaluate(session, "document.querySelector('main').textContent.length")?;
            if button != begin {
                self.press(window, begin)?;
                self.hear(session)?;
            }
            self.evaluate(session, BREAKS)?;
            self.evaluate(session, &format!("{{ {how}; }} 0"))?;
            self.press(window, button)?;
            let until = Instant::now() + PATIENCE / 4;
            let mut says = String::new();
            while Instant::now() < until && !says.contains(expected) {
                sleep(Duration::from_millis(100));
                says = text(
                    &self
                        .evaluate(session, "lab.querySelector('.lab-says').textContent")?,
                )
                .to_owned();
            }
            let length = self
                .evaluate(session, "document.querySelector('main').textContent.length")?;
            let whole = length.as_u64() >= text_before.as_u64();
            if !says.contains(expected)
                || !says.contains("page is complete without it")
                || !whole
            {
                let message = format!(
                    "{what}: the lab says \"{says}\"; it should say that {expected}, and the page should stay whole"
                );
                self.reader.report.fault(page, &window.view.name(), message);
            }
            println!("{what}: \"{says}\"");
            if button != begin {
                // A new worker answers; what was said before is spoken first.
                sleep(Duration::from_millis(600));
                self.evaluate(session, "breaks(null); spoken.textContent = ''; 0")?;
                self.press(window, button)?;
                let heard = self.hear(session)?;
                if !heard.starts_with("q has mean") {
                    let message = format!(
                        "{what}: afterwards the lab says \"{heard}\" and does not begin again"
                    );
                    self.reader.report.fault(page, &window.view.name(), message);
                }
            }
            self.reader.finish(session, page, &window.view.name(), "section.lab")?;
        }
        Ok(())
    }
}
