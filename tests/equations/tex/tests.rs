//! What is read of TeX, and what is refused.

use super::parser::evaluate;
use super::tokens::tokens;
use super::*;

fn value(tex: &str, values: &Values) -> f64 {
    evaluate(&tokens(tex), values)
}

fn plain(tex: &str) -> f64 {
    value(tex, &Values::default())
}

#[test]
fn arithmetic_is_read_as_it_is_printed() {
    for (tex, number) in [
        ("1 + 2 - 3", 0.0),
        ("-2^2", -4.0),
        ("2 (1 - 3) 4", -16.0),
        ("12.5 / 2 / 5", 1.25),
        (r"6 / 2 \cdot 3", 9.0),
        (r"\tfrac12", 0.5),
        (r"\tfrac12 3", 1.5),
        (r"\frac{1 + 2}{3}\, 4", 4.0),
        ("2^{1 + 2}", 8.0),
        // As in TeX, the power is one digit.
        ("2^10", 0.0),
        (r"\left( 3 \right)^{\!2}", 9.0),
        (r"\sqrt{9} \sqrt{4}", 6.0),
        (r"|2 - 5| |{-1}|", 3.0),
        (r"|2 (1 - |{-4}|)|", 6.0),
        (r"\norm{3 - 5}^2", 4.0),
        (r"\ln e^{2}", 2.0),
        (r"\log 1 + 2", 2.0),
        (r"\exp(1 - 1)\, 2", 2.0),
        (r"\expmone(0)", 0.0),
        (r"\sigmoid(0)", 0.5),
        (r"\sum_{i=1}^{4} i^2", 30.0),
        (r"\sum_{i=1}^{3} 2 i + 1", 13.0),
        (r"\sum_{i=1}^3 \sum_{j=1}^i j", 10.0),
        (r"\prod_{i=2}^{4} (i - 1)", 6.0),
        (r"\sum_{i=2}^{1} i", 0.0),
        (r"\underbrace{1 + 1}_{\text{two}}\, 3", 6.0),
        (r"\bigl[ 1 + 2 \bigr] {}& 2", 6.0),
    ] {
        assert!((plain(tex) - number).abs() < 1e-14, "{tex} is {}", plain(tex));
    }
}

#[test]
fn symbols_mean_what_the_test_binds() {
    let values = Values::default()
        .number(r"\alpha_t", 0.5)
        .number(r"\alpha_{t-1}", 0.25)
        .number("t", 3.0)
        .number(r"\sigma_q^2(t)", 7.0)
        .number(r"\KL{q(z \mid x)}{p(z)}", 11.0)
        .number(r"\Var z_t", 13.0)
        .vector("x", &[1.0, 2.0])
        .vector(r"\xhat_\theta(z_t, t)", &[4.0, 6.0])
        .function(r"\abar", |i| 1.0 / i[0])
        .function(r"\gamma_\eta'", |t| 10.0 * t[0])
        .function("f", |a| a[0] - a[1])
        .range("j", 1, 4);
    for (tex, number) in [
        (r"\alpha_t\, \alpha_{t-1}", 0.125),
        (r"\alpha_{t} (1 - \alpha_{t-1})", 0.375),
        (r"2 \sigma_q^2(t)", 14.0),
        (r"\KL{q(z \given x)}{p(z)} - \Var z_t", -2.0),
        (r"\norm{x - \xhat_\theta(z_t, t)}^2", 25.0),
        (r"\norm{2 x / 2}^2", 5.0),
        (r"\abar_{t - 1} + \abar_t", 0.5 + 1.0 / 3.0),
        (r"\gamma_\eta'(t)", 30.0),
        (r"f(t, 1) \abar_1", 2.0),
        ("f(t; 1)", 2.0),
        (r"\sum_j j \abar_j", 4.0),
        (r"\sum_{j} \abar_{j}", 25.0 / 12.0),
        (r"\prod_{i=1}^t \abar_i", 1.0 / 6.0),
    ] {
        assert!(
            (value(tex, &values) - number).abs() < 1e-14,
            "{tex} is {}",
            value(tex, &values)
        );
    }
}

#[test]
fn a_formula_has_parts_and_sides() {
    let formula = Formula::parse(
        "\\begin{gathered}\na = f(1, 2) + 1, \\\\\n\\qquad b \\le 2 \\end{gathered} .",
    );
    let values =
        Values::default().number("a", 4.0).number("b", 1.0).function("f", |a| a[0] + a[1]);
    assert_eq!(formula.part(0, &values), [4.0, 4.0]);
    assert_eq!(formula.part(1, &values), [1.0, 2.0]);
    assert_eq!(Formula::parse("1 = 2 = 3").sides(&values), [1.0, 2.0, 3.0]);
    Formula::parse(r"\KL{q}{p} \to 0").words(0, r"\KL q p \to 0");
}

#[test]
fn every_part_is_read_and_its_inequalities_hold() {
    for (tex, fails) in [
        ("1 < 2", false),
        ("2 < 1", true),
        ("2 > 1", false),
        ("1 > 1", true),
        (r"1 \le 1", false),
        (r"2 \le 1", true),
        (r"1 \ge 2", true),
        (r"1 \ne 2", true),
        ("1 = 1, 2 = 2", true),
    ] {
        let read = std::panic::catch_unwind(|| {
            drop(Formula::parse(tex).part(0, &Values::default()))
        });
        assert_eq!(read.is_err(), fails, "{tex}");
    }
    assert!(
        std::panic::catch_unwind(|| Formula::parse("a = b").words(0, "a = c")).is_err()
    );
}

/// What cannot be read is no number: the test that asks for it fails.
#[test]
fn what_nobody_bound_is_refused() {
    let values =
        Values::default().number("a", 1.0).vector("v", &[1.0, 2.0]).function("f", |a| a[0]);
    for tex in [
        "b",
        "a_t",
        "a'",
        "2 f",
        r"\ln^2 a",
        r"\ln(a)^2",
        r"\int_0^1 a",
        "(a",
        "a)",
        "v",
        "v v",
        "a + v",
        "",
        r"\sum_k k",
    ] {
        let read =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| value(tex, &values)));
        assert!(read.is_err(), "{tex} is {read:?}");
    }
}

#[test]
fn formulas_are_found_by_their_labels() {
    let page = "Text $$ and\n\n> $$\n> a\n> = b\n> $$ {#eq:quoted from=\"c\"}\n\n$$ c = d $$ {#eq:c .definition}\n";
    let found = labelled(page);
    assert_eq!(found[0], ("quoted".to_owned(), "\na\n= b\n".to_owned()));
    assert_eq!(found[1], ("c".to_owned(), "c = d ".to_owned()));
    assert_eq!(digest_of("a\n =  b"), digest_of("a = b"));
    assert_ne!(digest_of("a = b"), digest_of("a = c"));
    // printf 'a = b' | sha256sum
    assert_eq!(digest_of("a = b"), "223c4d200875");
}

#[test]
fn a_conditional_density_is_a_function_of_both_sides_of_its_bar() {
    let values = Values::default()
        .function("z", |index| index[0])
        .function("q", |given| 10.0 * given[0] + given[1])
        .number("x", 7.0);
    assert_eq!(value(r"q(z_3 \mid x)", &values), 37.0);
    assert_eq!(value(r"\sum_{t=2}^{3} q(z_{t-1} \mid x)", &values), 44.0);
}
