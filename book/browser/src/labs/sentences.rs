//! Compares what a lab says with what it should say.

/// Two numbers agree within this share of the larger, or of one: the sums of f32 in a page
/// are added in another order.
const TOLERANCE: f64 = 2e-3;

/// Whether a sentence tells of work that goes on: step 3 of 40.
pub(super) fn working(sentence: &str) -> bool {
    sentence.starts_with("Step ") && !sentence.contains("bound")
}

/// Whether the end of what is heard is what is expected, with numbers within the tolerance.
pub(super) fn agrees(expected: &str, heard: &str) -> bool {
    let ((words, numbers), (other, others)) = (parts(expected), parts(heard));
    let first = others.len().checked_sub(numbers.len());
    first.is_some_and(|first| {
        other.ends_with(&words)
            && numbers.iter().zip(&others[first..]).all(|(a, b)| close(*a, *b))
    }) && !expected.is_empty()
}

pub(super) fn close(a: f64, b: f64) -> bool {
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
