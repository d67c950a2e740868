//! An installed Chromium, found in the PATH and driven through its DevTools protocol.
//!
//! The protocol runs over two pipes (`--remote-debugging-pipe`): no port is opened and no
//! driver has to be installed.

use std::collections::VecDeque;
use std::env;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Names under which Chromium and its kin are installed.
pub const NAMES: [&str; 6] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "microsoft-edge",
];

/// What every use needs: no window, and nothing asked of anybody but the pages.
pub const FLAGS: [&str; 9] = [
    "--headless",
    // The pages are our own and local, and the sandbox does not start for root or inside
    // containers.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
];

/// How long an answer may take: a few seconds for the largest page, much more on a machine
/// that is busy with others.
const PATIENCE: Duration = Duration::from_secs(180);

/// The first Chromium in the PATH.
///
/// # Errors
/// Where none of `names` is installed.
pub fn find(names: &[&str]) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let files = names
        .iter()
        .flat_map(|name| env::split_paths(&path).map(move |folder| folder.join(name)));
    files.into_iter().find(|file| file.is_file()).with_context(|| {
        format!(
            "no Chromium is installed (looked for {}); install one, or print the book's print.html from any browser",
            names.join(", ")
        )
    })
}

/// A running Chromium. It ends when this is dropped.
pub struct Chromium {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<Value>,
    next: u64,
    events: VecDeque<Value>,
    // Deleted last: the browser writes into it until it ends.
    profile: TempDir,
}

impl Chromium {
    /// Starts the first Chromium of the PATH, for which no host but 127.0.0.1 exists.
    ///
    /// # Errors
    /// Where none is installed or it does not start.
    pub fn start() -> Result<Self> {
        let program = find(&NAMES)?;
        let profile = tempfile::tempdir()?;
        let errors = File::create(profile.path().join("stderr"))?;
        // Chromium reads orders from descriptor 3 and writes answers to 4; the shell moves
        // its own pipes there.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null"])
            .arg(&program)
            .args(FLAGS)
            .args(["--remote-debugging-pipe", "--hide-scrollbars", "--mute-audio"])
            .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
            .arg(format!("--user-data-dir={}", profile.path().join("profile").display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        let orders = child.stdin.take().context("Chromium takes no orders")?;
        let output = child.stdout.take().context("Chromium gives no answers")?;
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut message = Vec::new();
            while output.read_until(0, &mut message).is_ok_and(|length| length > 0) {
                message.pop();
                let Ok(value) = serde_json::from_slice(&message) else { break };
                if sender.send(value).is_err() {
                    break;
                }
                message.clear();
            }
        });
        let mut chromium =
            Self { child, orders, answers, next: 0, events: VecDeque::new(), profile };
        chromium
            .call(None, "Browser.getVersion", json!({}))
            .with_context(|| chromium.last_words(&program))?;
        Ok(chromium)
    }

    fn last_words(&self, program: &Path) -> String {
        let said =
            fs::read_to_string(self.profile.path().join("stderr")).unwrap_or_default();
        let last =
            said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
        format!("{} does not start: {last}", program.display())
    }

    /// Gives an order, in `session` or to the browser itself, and waits for its result.
    ///
    /// # Errors
    /// Where Chromium refuses, ends or does not answer.
    pub fn call(
        &mut self,
        session: Option<&str>,
        method: &str,
        parameters: Value,
    ) -> Result<Value> {
        self.next += 1;
        let mut order = json!({ "id": self.next, "method": method, "params": parameters });
        if let Some(session) = session {
            order["sessionId"] = json!(session);
        }
        let mut message = serde_json::to_vec(&order)?;
        message.push(0);
        self.orders
            .write_all(&message)
            .and_then(|()| self.orders.flush())
            .with_context(|| format!("Chromium ended before {method}"))?;
        let until = Instant::now() + PATIENCE;
        loop {
            let mut answer = self
                .receive(until)
                .with_context(|| format!("Chromium did not answer {method}"))?;
            if answer["id"] != json!(self.next) {
                self.events.push_back(answer);
                continue;
            }
            if let Some(message) = answer["error"]["message"].as_str() {
                bail!("Chromium refuses {method}: {message}");
            }
            return Ok(answer["result"].take());
        }
    }

    fn receive(&self, until: Instant) -> Result<Value> {
        Ok(self.answers.recv_timeout(until.saturating_duration_since(Instant::now()))?)
    }

    /// Waits for the event `method` of `session`; it stays among the events.
    ///
    /// # Errors
    /// Where it does not come.
    pub fn wait_for(&mut self, session: &str, method: &str) -> Result<()> {
        let is_it =
            |event: &Value| event["method"] == *method && event["sessionId"] == *session;
        if self.events.iter().any(is_it) {
            return Ok(());
        }
        let until = Instant::now() + PATIENCE;
        loop {
            let event = self
                .receive(until)
                .with_context(|| format!("Chromium did not report {method}"))?;
            let found = is_it(&event);
            self.events.push_back(event);
            if found {
                return Ok(());
            }
        }
    }

    /// Takes the events that came so far.
    pub fn events(&mut self) -> Vec<Value> {
        self.events.extend(self.answers.try_iter());
        self.events.drain(..).collect()
    }

    /// The value of a JavaScript expression, awaited if it is a promise.
    ///
    /// # Errors
    /// Where it throws.
    pub fn evaluate(&mut self, session: &str, expression: &str) -> Result<Value> {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.call(Some(session), "Runtime.evaluate", parameters)?;
        if let Some(exception) = answer.get("exceptionDetails") {
            let said = exception["exception"]["description"]
                .as_str()
                .or(exception["text"].as_str());
            bail!("a check does not run in the page: {}", said.unwrap_or("no message"));
        }
        Ok(answer["result"]["value"].take())
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Asked kindly, it ends its helpers as well; what is left of it is stopped.
        let _ = self.call(None, "Browser.close", json!({}));
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_in_the_path() {
        assert!(find(&["no-such-browser", "sh"]).is_ok());
        let error = find(&["no-such-browser"]).expect_err("there is none").to_string();
        assert!(error.contains("(looked for no-such-browser); install one"), "{error}");
    }
}
