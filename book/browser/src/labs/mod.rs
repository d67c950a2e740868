//! Operates every lab in a Chromium, by keyboard and by pointer, and compares what it says
//! with what the same functions say natively.
//!
//! `book/lab/operated.json` lists what is done; `cargo run -p book-lab --example native_labs` says, in a file,
//! what should be heard.

mod broken;
mod drag;
mod hand;
mod sentences;

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use self::drag::{PROMPT, Slow};
use self::sentences::{agrees, close, working};
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
        if dragged && answers.is_none() {
            fault(
                &mut self.reader,
                "does not answer a drag; look at what it listens to".into(),
            );
        }
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
}
