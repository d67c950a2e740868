//! Operates every lab in a Chromium, by keyboard and by pointer, and compares what it says
//! with what the same functions say natively.
//!
//! `book/lab/operated.json` lists what is done; `cargo run -p book-lab --example native_labs` says, in a file,
//! what should be heard.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::chromium::Chromium;
use crate::reader::{self, Reader, View, Window};
use crate::report::Report;

/// What to operate, and what is expected.
pub struct Options {
    /// The finished site.
    pub site: PathBuf,
    /// The path under which it will be published.
    pub prefix: String,
    /// `book/lab/operated.json`.
    pub operated: PathBuf,
    /// What the native program printed.
    pub native: PathBuf,
    /// axe-core's `axe.min.js`; without it, accessibility is not checked.
    pub axe: Option<PathBuf>,
    /// The chapters whose programs are run in their pages.
    pub programs: Vec<String>,
    /// The labs to operate, with `programs` for the chapters' programs and `broken` for what
    /// is broken on purpose; all, where none is named.
    pub labs: Vec<String>,
}

/// How long a lab may take to say something, on a machine that is busy with others.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a chapter's program may take.
const LONGEST: Duration = Duration::from_secs(900);
/// A drag answers within this many milliseconds, at the 95th percentile.
const PROMPT: f64 = 50.0;
/// A slow drag is made again by a browser that has the machine for itself, this often.
const DRAGS: usize = 3;
/// Browsers at work at the same time: each keeps about one processor busy.
const BROWSERS: usize = 2;
/// The two views in which a lab is operated: together light and dark, wide and narrow, by
/// keyboard, which light views use, and by pointer. One lab gets the first two, the next
/// the others.
const PAIRS: [[View; 2]; 2] = [
    [View { dark: false, width: 1280 }, View { dark: true, width: 390 }],
    [View { dark: true, width: 1280 }, View { dark: false, width: 390 }],
];
/// A page is asked again after this.
const MOMENT: Duration = Duration::from_millis(30);
/// What is said for so long is what the lab has to say.
const SETTLED: Duration = Duration::from_secs(3);
/// How long a button that plays is watched, and how often.
const WATCHED: [u32; 2] = [12, 50];
/// What the lab itself, its worker and its drawing, may take of a late answer, in
/// milliseconds at the median. The rest is the browser's, and on a slower machine, or a
/// busy one, there is more of it.
const OWN: f64 = PROMPT / 2.0;
/// Moves of a drag, and the milliseconds between two: those of a screen.
const MOVES: usize = 60;
const BETWEEN: Duration = Duration::from_millis(16);
/// Two numbers agree within this share of the larger, or of one: the sums of f32 in a page
/// are added in another order.
const TOLERANCE: f64 = 2e-3;

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

/// Operates the labs and prints what is wrong; whether anything is.
///
/// # Errors
/// Where a file or a Chromium is missing, or the browser ends.
pub fn check(options: &Options) -> Result<bool> {
    let begun = Instant::now();
    let read = |file: &PathBuf| -> Result<Value> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("{} cannot be read", file.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is no JSON", file.display()))
    };
    let (operated, native) = (read(&options.operated)?, read(&options.native)?);
    if !options.site.join("labs").is_dir() {
        bail!(
            "the site in {} has no labs; install the target that `cargo run -p book -- build` names",
            options.site.display()
        );
    }
    let axe = options.axe.as_ref().map(fs::read_to_string).transpose()?;
    let port = book_server::serve(0, options.site.clone(), options.prefix.clone())?;
    let browser = || -> Result<Operator> {
        let reader = Reader {
            chromium: Chromium::start()?,
            base: format!("http://127.0.0.1:{port}{}", options.prefix),
            axe: axe.clone(),
            report: Report::default(),
        };
        Ok(Operator { reader })
    };
    let tasks = Mutex::new(tasks(options, &operated, &native));
    let slow = Mutex::new(Vec::new());
    let work = || -> Result<Report> {
        let mut labs = browser()?;
        loop {
            let task = tasks.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(task) = task else { return Ok(labs.reader.report) };
            let drag = labs.timed(&task)?;
            slow.lock().unwrap_or_else(PoisonError::into_inner).extend(drag);
        }
    };
    let reports = thread::scope(|scope| {
        let browsers: Vec<_> = (0..BROWSERS).map(|_| scope.spawn(work)).collect();
        browsers.into_iter().map(|browser| browser.join()).collect::<Vec<_>>()
    });
    let mut report = Report::default();
    for found in reports {
        match found {
            Ok(found) => report.add(found?),
            Err(_) => bail!("a browser's work ended in a panic"),
        }
    }
    let slow = slow.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !slow.is_empty() {
        let mut labs = browser()?;
        for slow in slow {
            labs.drag_alone(slow)?;
        }
        report.add(labs.reader.report);
    }
    Ok(report.print("labs, light and dark, 1280 and 390 px", begun.elapsed()))
}

/// Something that a browser does in a window of its own.
#[derive(Clone, Copy)]
enum Task<'a> {
    /// Operates a lab in a view.
    Lab { lab: &'a Value, native: &'a Value, view: View },
    /// Runs a chapter's program.
    Program(&'a str),
    /// Breaks the labs.
    Broken,
}

/// What is to be done, the longest first: the browsers take one after the other.
fn tasks<'a>(
    options: &'a Options,
    operated: &'a Value,
    native: &'a Value,
) -> VecDeque<Task<'a>> {
    let wanted = |name: &str| {
        options.labs.is_empty() || options.labs.iter().any(|wanted| wanted == name)
    };
    let mut tasks = VecDeque::new();
    if wanted("programs") {
        // The later chapters' take longer.
        tasks.extend(options.programs.iter().rev().map(|name| Task::Program(name)));
    }
    let labs = array(operated).zip(array(native)).enumerate();
    for (i, (lab, native)) in labs.filter(|(_, (lab, _))| wanted(text(&lab["lab"]))) {
        let views = PAIRS[i % PAIRS.len()];
        tasks.extend(views.map(|view| Task::Lab { lab, native, view }));
    }
    if wanted("broken") {
        tasks.push_back(Task::Broken);
    }
    tasks
}

/// A drag whose answers were late.
struct Slow<'a> {
    lab: &'a Value,
    view: View,
    answers: Answers,
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

struct Operator {
    reader: Reader,
}

impl Operator {
    /// Does what is to be done and prints how long it took; gives a drag that was slow.
    fn timed<'a>(&mut self, task: &Task<'a>) -> Result<Option<Slow<'a>>> {
        let begun = Instant::now();
        let view = match task {
            Task::Lab { view, .. } => *view,
            Task::Program(_) | Task::Broken => View::ALL[0],
        };
        let window = self.reader.window(view)?;
        let (name, slow) = match task {
            Task::Lab { lab, native, .. } => {
                (text(&lab["lab"]), self.lab(&window, lab, native)?)
            }
            Task::Program(program) => {
                self.program(&window, program)?;
                (*program, None)
            }
            Task::Broken => {
                self.broken(&window)?;
                ("broken", None)
            }
        };
        self.reader.close(&window)?;
        println!("{name:18} {:13} {:.1} s", view.name(), begun.elapsed().as_secs_f64());
        Ok(slow)
    }

    /// One lab of one page in one view.
    fn lab<'a>(
        &mut self,
        window: &Window,
        lab: &'a Value,
        native: &Value,
    ) -> Result<Option<Slow<'a>>> {
        let (name, page, seen) =
            (text(&lab["lab"]), text(&lab["page"]), window.view.name());
        let session = &window.session;
        self.find(session, page, name)?;
        let fault = |reader: &mut Reader, message: String| {
            reader.report.fault(page, &seen, format!("the lab {name} {message}"));
        };
        let before = self.evaluate(
            session,
            "performance.getEntriesByType('resource').map((r) => r.name)",
        )?;
        if array(&before).any(|address| text(address).contains("/labs/")) {
            fault(
                &mut self.reader,
                "is loaded before anybody asks; load it on demand".into(),
            );
        }
        // Light views start a lab by keyboard, dark ones by pointer.
        self.press(window, "lab.querySelector('button')")?;
        if let Err(error) = self.hear(session) {
            fault(
                &mut self.reader,
                format!("does not begin ({error:#}); look at the console"),
            );
            return Ok(None);
        }
        for (step, expected) in array(&lab["steps"]).zip(array(&native["says"])) {
            self.evaluate(session, "spoken.textContent = ''; 0")?;
            self.operate(window, step)?;
            let expected_sentence = text(&expected["says"]);
            // Long work says how far it is; the last sentence counts.
            let until = Instant::now() + PATIENCE;
            let (mut heard, mut since) = (String::new(), Instant::now());
            while Instant::now() < until && !agrees(expected_sentence, &heard) {
                let now = match self.hear(session) {
                    Ok(sentence) => sentence,
                    Err(error) => format!("nothing ({error:#})"),
                };
                if now != heard {
                    (heard, since) = (now, Instant::now());
                } else if since.elapsed() > SETTLED && !working(&heard) {
                    break;
                } else {
                    sleep(MOMENT);
                }
            }
            if !agrees(expected_sentence, &heard) {
                let expected = expected_sentence;
                let message = format!(
                    "says \"{heard}\" where the native function says \"{expected}\"; find out why"
                );
                fault(&mut self.reader, message);
            }
            if let Some(loss) = expected["loss"].as_f64() {
                let own = self
                    .evaluate(session, "+lab.dataset.loss")?
                    .as_f64()
                    .unwrap_or(f64::NAN);
                if !close(loss, own) {
                    fault(
                        &mut self.reader,
                        format!(
                            "reaches the loss {own} where the native training reaches {loss}"
                        ),
                    );
                }
            }
        }
        let ready = self.evaluate(session, "+lab.dataset.ready")?;
        let speed = self.evaluate(session, "lab.dataset.speed ?? ''")?;
        println!(
            "{name:18} {seen:13} ready after {ready} ms{}",
            match native["steps_per_second"].as_f64() {
                Some(native) => format!(
                    ", {} steps/s of training here, {native:.1} natively",
                    text(&speed)
                ),
                None => String::new(),
            }
        );
        if let Some([button, slider]) = lab["plays"].as_array().map(Vec::as_slice) {
            for message in self.plays(window, button, slider)? {
                fault(&mut self.reader, message);
            }
        }
        // Once for each lab.
        let dragged = !lab["drag"].is_null() && !window.view.dark;
        let answers = if dragged { self.drag(session, text(&lab["drag"]))? } else { None };
        let facts = self.evaluate(session, &reader::probe(window.view.width, false))?;
        self.reader.layout(page, &seen, &facts);
        self.reader.finish(
            session,
            page,
            &seen,
            &format!("section.lab[data-lab=\"{name}\"]"),
        )?;
        let Some(answers) = answers else { return Ok(None) };
        if answers.late > PROMPT {
            return Ok(Some(Slow { lab, view: window.view, answers }));
        }
        println!("{name:18} {seen:13} {answers}");
        Ok(None)
    }

    /// A button that moves a slider does so step by step, and at once for a reader who wants
    /// no motion. What is wrong with that.
    fn plays(
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

    /// Makes a slow drag again, with the machine for itself, prints how long the answers
    /// take, and finds fault with it if they are still late.
    fn drag_alone(&mut self, slow: Slow) -> Result<()> {
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
    fn drag(&mut self, session: &str, slider: &str) -> Result<Option<Answers>> {
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
        let [left, width, y] = [0, 1, 2].map(|i| place[i].as_f64().unwrap_or_default());
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

    /// Opens a page and finds a lab there.
    fn find(&mut self, session: &str, page: &str, name: &str) -> Result<()> {
        self.reader.open(session, page)?;
        self.evaluate(
            session,
            &format!(
                "window.lab = document.querySelector('section.lab[data-lab=\"{name}\"]');
                 window.spoken = lab.querySelector('.lab-spoken'); lab.scrollIntoView({{block: 'start'}});
                 window.named = (name) => [...lab.querySelectorAll('button')].find((b) => b.textContent.includes(name) || b.ariaLabel?.startsWith(name))
                     ?? [...lab.querySelectorAll('label')].find((l) => l.textContent === name)?.control; 0"
            ),
        )?;
        Ok(())
    }

    /// "Run this chapter": at the settings of the book, every number is the book's.
    fn program(&mut self, window: &Window, program: &str) -> Result<()> {
        let (session, page) = (&window.session, format!("{program}.html"));
        self.find(session, &page, &format!("run-{program}"))?;
        self.press(window, "lab.querySelector('button')")?;
        self.hear(session)?;
        let begun = Instant::now();
        self.press(window, "named('Run')")?;
        let mut says = String::new();
        while begun.elapsed() < LONGEST
            && !["Agrees", "Differs", "The run"].iter().any(|word| says.starts_with(word))
        {
            sleep(Duration::from_millis(300));
            says = text(&self.evaluate(session, "spoken.textContent")?).to_owned();
        }
        println!("{program}: {says}");
        let figures =
            self.evaluate(session, "lab.querySelectorAll('.lab-figures img').length")?;
        if !says.starts_with("Agrees with the book: ") || figures.as_u64() == Some(0) {
            let message = format!(
                "its program, run in the page with {figures} figures, says \"{says}\"; compare it with the snapshot"
            );
            self.reader.report.fault(&page, &window.view.name(), message);
        }
        self.reader.finish(session, &page, &window.view.name(), "section.lab")
    }

    /// A browser without WebAssembly, a module that is damaged on the way, one that traps
    /// and one that runs out of memory: each time the lab says so in a sentence, the page
    /// stays whole, and the lab can be started anew.
    fn broken(&mut self, window: &Window) -> Result<()> {
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

    fn evaluate(&mut self, session: &str, expression: &str) -> Result<Value> {
        self.reader.chromium.evaluate(session, expression)
    }

    /// What the lab says next, for those who listen.
    fn hear(&mut self, session: &str) -> Result<String> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let says = self.evaluate(session, "spoken.textContent")?;
            if !text(&says).is_empty() {
                return Ok(text(&says).to_owned());
            }
            sleep(MOMENT);
        }
        let seen = self.evaluate(session, "lab.querySelector('.lab-says').textContent")?;
        bail!("nothing is spoken; what is seen is \"{}\"", text(&seen))
    }

    /// Does what a step says.
    fn operate(&mut self, window: &Window, step: &Value) -> Result<()> {
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
    fn press(&mut self, window: &Window, button: &str) -> Result<()> {
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
}

/// How long the answers to a drag took.
struct Answers {
    slider: String,
    count: usize,
    /// Milliseconds within which 95 of 100 answers came.
    late: f64,
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

/// Whether a sentence tells of work that goes on: step 3 of 40.
fn working(sentence: &str) -> bool {
    sentence.starts_with("Step ") && !sentence.contains("bound")
}

/// Whether the end of what is heard is what is expected, with numbers within the tolerance.
fn agrees(expected: &str, heard: &str) -> bool {
    let ((words, numbers), (other, others)) = (parts(expected), parts(heard));
    let first = others.len().checked_sub(numbers.len());
    first.is_some_and(|first| {
        other.ends_with(&words)
            && numbers.iter().zip(&others[first..]).all(|(a, b)| close(*a, *b))
    }) && !expected.is_empty()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1.0)
}

/// A sentence with its numbers taken out, and the numbers.
fn parts(sentence: &str) -> (String, Vec<f64>) {
    let (mut words, mut numbers, mut digits) = (String::new(), Vec::new(), String::new());
    for c in sentence.chars().chain([' ']) {
        if c.is_ascii_digit()
            || (c == '-' && digits.is_empty())
            || (c == '.' && !digits.is_empty())
        {
            digits.push(c);
            continue;
        }
        // A full stop behind a number is none of it.
        let number = digits.trim_end_matches('.');
        match number.parse() {
            Ok(value) => {
                numbers.push(value);
                words.push('#');
                words.push_str(&digits[number.len()..]);
            }
            Err(_) => words.push_str(&digits),
        }
        digits.clear();
        words.push(c);
    }
    (words.trim_end().to_owned(), numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_agree_where_words_are_the_same_and_numbers_are_close() {
        let said = "At t = 3 of 200: SNR 12.5000, term -0.41 nats.";
        assert!(agrees(said, said));
        assert!(agrees(said, &format!("Step 4, so {said}")));
        assert!(agrees(said, &said.replace("12.5000", "12.5100")));
        for (old, new) in
            [("12.5000", "12.6000"), ("nats", "bits"), ("-0.41", "0.41"), ("3", "4")]
        {
            assert!(!agrees(said, &said.replacen(old, new, 1)), "{new}");
        }
        assert!(!agrees("", "Something."));
        assert!(!agrees(said, "nothing"));
    }
}
