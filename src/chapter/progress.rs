//! How far a piece of work is, on stderr.

use std::{
    io::IsTerminal,
    sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::terminal::say;
use crate::progress::Listener;

/// The bars on the terminal: one piece of work may be part of another.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Nothing is shown of work that is over sooner.
const PATIENCE: Duration = Duration::from_secs(2);
/// On a terminal, where a bar comes and goes, it is shown sooner...
const TERMINAL_PATIENCE: Duration = Duration::from_millis(300);
/// ... and moves this often.
const FRAME: Duration = Duration::from_millis(100);
/// Elsewhere, lines are never closer together than this, and later not than a tenth of the
/// time passed.
const PAUSE: Duration = Duration::from_secs(10);

/// How far a piece of work is: a bar on a terminal, elsewhere a line now and then. Any
/// thread may report to it. It has a thread of its own, so that it also shows work that
/// reports nothing, and it ends when it is dropped.
pub(super) struct Progress {
    shared: Arc<Shared>,
    painter: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    work: Mutex<Work>,
    over: Condvar,
}

#[derive(Clone, Default)]
struct Work {
    done: usize,
    /// 0 where it is not known.
    total: usize,
    note: String,
    over: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until this moment, and returns what is done by then; `None` if the work is
    /// over before.
    fn wait(&self, moment: Instant) -> Option<Work> {
        let mut work = self.lock();
        while !work.over {
            let Some(left) = moment
                .checked_duration_since(Instant::now())
                .filter(|left| !left.is_zero())
            else {
                return Some(work.clone());
            };
            work = self
                .over
                .wait_timeout(work, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        None
    }
}

impl Progress {
    /// Progress of work that is called this.
    pub(super) fn new(what: &str) -> Self {
        let what = what.to_string();
        if std::io::stderr().is_terminal() {
            Self::painted(move |shared| bar(shared, what))
        } else {
            Self::painted(move |shared| lines(shared, &what, PATIENCE, say))
        }
    }

    fn painted(paint: impl FnOnce(&Shared) + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        // Without a thread nothing is shown; the work is done all the same.
        let painter = std::thread::Builder::new().spawn(move || paint(&theirs)).ok();
        Self { shared, painter }
    }
}

impl Listener for Progress {
    fn hear(&self, done: usize, total: usize) {
        let mut work = self.shared.lock();
        (work.done, work.total) = (work.done.max(done), total);
    }

    fn note(&self, note: &str) {
        self.shared.lock().note = note.into();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        self.shared.over.notify_all();
        if let Some(painter) = self.painter.take() {
            // It has nothing to tell, not even if it panicked.
            drop(painter.join());
        }
    }
}

/// Draws a bar, and removes it in the end.
fn bar(shared: &Shared, what: String) {
    let mut bar: Option<ProgressBar> = None;
    let mut next = Instant::now() + TERMINAL_PATIENCE;
    while let Some(work) = shared.wait(next) {
        let template = match work.total {
            0 => "{prefix}  {pos}  {msg}  {elapsed}",
            _ => "{prefix} {wide_bar} {pos}/{len}  {msg}  {eta} left",
        };
        let bar = bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            BARS.add(ProgressBar::new(0).with_style(style).with_prefix(what.clone()))
        });
        bar.set_length(work.total as u64);
        bar.set_position(work.done as u64);
        bar.set_message(work.note);
        next += FRAME;
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

/// Writes a line now and then.
fn lines(shared: &Shared, what: &str, patience: Duration, mut write: impl FnMut(String)) {
    let start = Instant::now();
    let mut next = start + patience;
    while let Some(Work { done, total, note, .. }) = shared.wait(next) {
        let of = if total == 0 { String::new() } else { format!(" of {total}") };
        let note = if note.is_empty() { note } else { format!(", {note}") };
        write(format!(
            "{what}: {done}{of} after {:.0} s{note}",
            start.elapsed().as_secs_f64()
        ));
        next = Instant::now() + PAUSE.max(start.elapsed() / 10);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread::scope};

    use super::*;

    /// Progress whose lines can be read, the first after this time.
    fn listened(patience: Duration) -> (Progress, mpsc::Receiver<String>) {
        let (sender, lines_of) = mpsc::channel();
        let write = move |line| sender.send(line).unwrap();
        (Progress::painted(move |shared| lines(shared, "work", patience, write)), lines_of)
    }

    #[test]
    fn threads_report_in_any_order_and_the_most_is_shown() {
        let (progress, lines) = listened(Duration::from_millis(100));
        scope(|threads| {
            for done in [3, 1, 7, 2] {
                let progress = &progress;
                threads.spawn(move || progress.hear(done, 8));
            }
        });
        progress.note("fine");
        assert_eq!(lines.recv().unwrap(), "work: 7 of 8 after 0 s, fine");
    }

    #[test]
    fn work_that_reports_nothing_or_knows_no_total_is_shown() {
        let (progress, lines) = listened(Duration::ZERO);
        assert_eq!(lines.recv().unwrap(), "work: 0 after 0 s");
        drop(progress);
        let (progress, lines) = listened(Duration::from_millis(100));
        progress.hear(65536, 0);
        assert_eq!(lines.recv().unwrap(), "work: 65536 after 0 s");
    }

    #[test]
    fn short_work_is_not_shown_and_its_end_waits_for_nothing() {
        let start = Instant::now();
        let (progress, lines) = listened(Duration::from_secs(3600));
        progress.hear(1, 2);
        drop(progress);
        assert!(lines.recv().is_err() && start.elapsed() < Duration::from_secs(60));
    }
}
