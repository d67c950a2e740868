//! "Run this chapter": the chapter's own program, with its report and figures given to the
//! page as they come, and compared with the report in the book.

use std::sync::{Arc, Mutex, PoisonError};

use elbo_to_diffusion::{
    chapter::{Args, Chapter, Outlet, Spec},
    error::{Error, Result},
    figure::Figure,
};
use serde_json::{Value, json};

use crate::{agreement, chapters};

/// A chapter's program.
struct Program {
    spec: Spec,
    run: fn(&mut Chapter) -> Result<()>,
    /// What it prints in the book, with what `insta` writes above.
    snapshot: &'static str,
}

macro_rules! programs {
    ($($name:ident),*) => {
        /// The program with this name.
        fn program(name: &str) -> Option<Program> {
            match name {
                $(stringify!($name) => Some(Program {
                    spec: chapters::$name::SPEC,
                    run: chapters::$name::run,
                    snapshot: include_str!(concat!(
                        "../../../tests/snapshots/", stringify!($name), ".snap"
                    )),
                }),)*
                _ => None,
            }
        }
    };
}

programs!(
    ch01_latent_variables,
    ch02_elbo,
    ch03_vae,
    ch04_hvae,
    ch05_vdm,
    ch06_learned_snr,
    ch07_three_parameterizations
);

/// Hears what a run makes, as JSON: `{"line": …}`, `{"figure": name, "svg": …}` or
/// `{"note": …}`.
pub type Hear = fn(&Value);

/// Gives all to the page, and keeps the report.
struct Page {
    hear: Hear,
    report: Mutex<String>,
}

impl Outlet for Page {
    fn line(&self, line: &str) -> bool {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.push_str(line);
        report.push('\n');
        (self.hear)(&json!({"line": line}));
        true
    }

    fn figure(&self, name: &str, figure: &Figure) -> Result<()> {
        (self.hear)(&json!({"figure": name, "svg": figure.svg}));
        Ok(())
    }

    fn say(&self, line: &str) {
        (self.hear)(&json!({"note": line}));
    }
}

/// Runs the program with this seed and, where it trains, so many steps; without them, with
/// the settings of the book. The answer says how many numbers agree with the book's report,
/// where they can. Fails with a sentence if there is no such program or it fails.
pub fn run(
    name: &str,
    seed: Option<u64>,
    steps: Option<usize>,
    hear: Hear,
) -> Result<Value> {
    let Some(Program { spec, run, snapshot }) = program(name) else {
        return Err(Error::usage(format!("there is no program {name} to run in a page")));
    };
    let page = Arc::new(Page { hear, report: Mutex::default() });
    let args = Args { seed, steps, ..Args::default() };
    let start = web_time::Instant::now();
    run(&mut Chapter::in_page(spec, args, page.clone())?)?;
    let seconds = start.elapsed().as_secs_f64();
    let report = page.report.lock().unwrap_or_else(PoisonError::into_inner);
    // The text behind the header that `insta` writes: a line of dashes above and below.
    let book = snapshot.splitn(3, "---\n").nth(2).unwrap_or_default();
    let compared = seed.is_none() && steps.is_none();
    let (agree, all) = agreement::numbers(book, &report);
    let says = match compared {
        true if agree == all && agreement::agree(book, &report) => {
            format!("Agrees with the book: {agree} of {all} numbers, in {seconds:.1} s.")
        }
        true => format!(
            "Differs from the book: {agree} of {all} numbers agree, in {seconds:.1} s. Please report it, with the name of your browser."
        ),
        false => format!(
            "Done in {seconds:.1} s. The book's own settings are seed 0 and the steps that stand there at first."
        ),
    };
    Ok(json!({"says": says, "agree": agree, "all": all, "seconds": seconds}))
}
