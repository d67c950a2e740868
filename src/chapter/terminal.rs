//! Text on stdout and stderr, and small pictures made of characters.

use std::{
    fmt::Display,
    io::{Write, stderr, stdout},
};

/// Writes a line to stderr. A reader that closes the pipe early (`2>&1 | head`) is not an
/// error of the program.
pub(super) fn say(line: impl Display) {
    drop(writeln!(stderr().lock(), "{line}"));
}

/// Writes a text to stdout, in the same way.
pub(super) fn print(text: &str) {
    let mut stdout = stdout().lock();
    drop(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
}

/// Images side by side as text: one line per row of pixels, two characters per pixel,
/// darker where the level is higher.
///
/// Each image holds side * side levels below `grey_level_count`.
pub(super) fn blocks(images: &[&[u8]], side: usize, grey_level_count: usize) -> String {
    const SHADES: [char; 5] = [' ', '░', '▒', '▓', '█'];
    let shade =
        |k: u8| SHADES[usize::from(k) * (SHADES.len() - 1) / (grey_level_count - 1).max(1)];
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_stand_side_by_side_and_the_highest_level_is_the_darkest() {
        let text = blocks(&[&[0, 16, 4, 8], &[12, 0, 0, 16]], 2, 17);
        assert_eq!(text, "  ██  ▓▓    \n░░▒▒    ██  \n");
    }
}
