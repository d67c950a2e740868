//! What a reader's hand does: buttons pressed, sliders moved, numbers typed.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{Operator, text};
use crate::reader::Window;

/// How long a button that plays is watched, and how often.
const WATCHED: [u32; 2] = [12, 50];

impl Operator {
    /// Does what a step says.
    pub(super) fn operate(&mut self, window: &Window, step: &Value) -> Result<()> {
        let session = &window.session;
        let named = |name: &Value| format!("named({name})");
        if let Some([name, value]) = step["set"].as_array().map(Vec::as_slice) {
            self.evaluate(
                session,
                &format!("{}.focus(); {}.select(); 0", named(name), named(name)),
            )?;
            self.reader.chromium.call(
                Some(session),
                "Input.insertText",
                json!({"text": value.to_string()}),
            )?;
        }
        if let Some([name, key]) = step["keys"].as_array().map(Vec::as_slice) {
            self.evaluate(session, &format!("{}.focus(); 0", named(name)))?;
            self.key(session, text(key))?;
        }
        if let Some([name, key]) = step["then"].as_array().map(Vec::as_slice) {
            self.evaluate(session, &format!("{}.focus(); 0", named(name)))?;
            self.key(session, text(key))?;
        }
        if let Some([name, share]) = step["point"].as_array().map(Vec::as_slice) {
            self.click(session, &named(name), share.as_f64().unwrap_or(0.5))?;
        }
        if !step["press"].is_null() {
            self.press(window, &named(&step["press"]))?;
        }
        Ok(())
    }

    /// Presses a button: in light views with the keyboard, in dark ones with the pointer.
    pub(super) fn press(&mut self, window: &Window, button: &str) -> Result<()> {
        if window.view.dark {
            return self.click(&window.session, button, 0.5);
        }
        self.evaluate(&window.session, &format!("{button}.focus(); 0"))?;
        self.key(&window.session, "Enter")
    }

    fn key(&mut self, session: &str, key: &str) -> Result<()> {
        let code = match key {
            "Enter" => 13,
            "End" => 35,
            "Home" => 36,
            "ArrowLeft" => 37,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            _ => bail!("the key {key} has no code here; add it"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            // Its text, without which a button is not pressed.
            if key == "Enter" && kind == "keyDown" {
                event["text"] = json!("\r");
            }
            self.reader.chromium.call(Some(session), "Input.dispatchKeyEvent", event)?;
        }
        Ok(())
    }

    /// Clicks on an element, this share of its width from its left.
    fn click(&mut self, session: &str, element: &str, share: f64) -> Result<()> {
        let place = self.evaluate(
            session,
            &format!(
                "{element}.scrollIntoView({{block: 'center'}}), (({{left, top, width, height}}) => [left + 2 + {share} * (width - 4), top + height / 2])({element}.getBoundingClientRect())"
            ),
        )?;
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.reader.chromium.call(Some(session), "Input.dispatchMouseEvent", event)?;
        }
        Ok(())
    }

    /// A button that moves a slider does so step by step, and at once for a reader who wants
    /// no motion. What is wrong with that.
    pub(super) fn plays(
        &mut self,
        window: &Window,
        button: &Value,
        slider: &Value,
    ) -> Result<Vec<String>> {
        let [times, between] = WATCHED;
        let watch = format!(
            "(async () => {{
                 const [button, slider] = [named({button}), named({slider})];
                 slider.value = (+slider.min + +slider.max) / 2;
                 const values = new Set([slider.value]);
                 button.click();
                 for (let i = 0; i < {times}; i += 1) {{
                     values.add(slider.value);
                     await new Promise((done) => setTimeout(done, {between}));
                 }}
                 if (button.textContent === 'Stop') button.click();
                 return values.size;
             }})()"
        );
        let mut faults = Vec::new();
        let moved = self.evaluate(&window.session, &watch)?.as_u64();
        if moved.is_none_or(|values| values <= 2) {
            faults.push(format!("does not move {slider} step by step on {button}"));
        }
        self.reader.still(&window.session, window.view)?;
        let moved = self.evaluate(&window.session, &watch)?.as_u64();
        if moved != Some(2) {
            faults.push(format!(
                "moves {slider} through {} values on {button} although the reader wants no motion; go to its end at once",
                moved.unwrap_or(0)
            ));
        }
        self.reader.show_as(&window.session, window.view, "screen")?;
        Ok(faults)
    }
}
