//! What a chapter shows on stderr: progress, and small pictures made of characters.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// A progress bar, or a plain line now and then where stderr is no terminal.
pub struct Progress {
    what: String,
    total: usize,
    bar: Option<ProgressBar>,
    next_line: usize,
}

impl Progress {
    pub(super) fn new(what: &str, total: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len}  {msg}  {eta} left");
            let bar = ProgressBar::new(total as u64);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.with_prefix(what.to_string())
        });
        Self { what: what.into(), total, bar, next_line: 1 }
    }

    /// Shows that `done` of the total is done.
    pub fn set(&mut self, done: usize, message: &str) {
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
            bar.set_message(message.to_string());
        } else if done * 4 >= self.next_line * self.total {
            eprintln!("{}: {done}/{}  {message}", self.what, self.total);
            self.next_line = done * 4 / self.total + 1;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Images side by side as text: one line per row of pixels, two characters per pixel, darker where the level is higher.
///
/// Each image holds side * side levels below `level_count`.
pub(super) fn blocks(images: &[&[u8]], side: usize, level_count: usize) -> String {
    const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];
    let shade = |k: u8| SHADES[usize::from(k) * (SHADES.len() - 1) / (level_count - 1).max(1)];
    let mut text = String::new();
    for row in 0..side {
        for image in images {
            for &k in &image[row * side..(row + 1) * side] {
                text.extend([shade(k), shade(k)]);
            }
            text.push_str("  ");
        }
        text.push('\n');
    }
    text
}
