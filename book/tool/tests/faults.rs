//! Every fault that an author can make is refused, with its file and line.

use std::fs;

use super::{ELBO, Fixture};

/// Builds the fixture with `text` added to chapter 2; the one fault must stand there and
/// say so.
fn fault(text: &str, says: &str) {
    let fixture = Fixture::new();
    let line = fixture.add(text);
    one(&fixture, &format!("{ELBO}:{line}: "), says);
}

/// The fixture must have one fault, at `place`, that says `says`.
fn one(fixture: &Fixture, place: &str, says: &str) {
    let problems = fixture.problems();
    assert!(
        problems.len() == 1 && problems[0].starts_with(place) && problems[0].contains(says),
        "expected one fault at {place} saying {says:?}, found {problems:#?}"
    );
}

#[test]
fn an_unknown_label_is_refused() {
    fault("See {{eqref elbo-gpa}}.", "no equation has the label \"elbo-gpa\"");
    fault(
        "See {{figref ch02_elbo/lost.svg}}.",
        "no figure is named \"ch02_elbo/lost.svg\"",
    );
}

#[test]
fn a_doubled_label_is_refused() {
    fault(
        "$$ a = b $$ {#eq:elbo-gap}",
        "already names the equation at book/src/ch02_elbo.md:11",
    );
}

#[test]
fn an_equation_needs_a_test_or_is_a_definition() {
    fault("$$ a = b $$ {#eq:nobody-tests-me}", "add a #[test] fn nobody_tests_me");
    fault("$$ a = b $$ {#eq:b .definition from=\"nothing\"}", "nothing, but no equation");
}

#[test]
fn an_ignored_or_unmarked_test_is_no_test() {
    let fixture = Fixture::new();
    fixture.edit(
        "tests/equations/ch02.rs",
        "#[test]\nfn elbo_gap",
        "#[test]\n#[ignore]\nfn elbo_gap",
    );
    one(&fixture, "book/src/ch02_elbo.md:11: ", "is ignored (tests/equations/ch02.rs:3)");
    let fixture = Fixture::new();
    fixture.edit("tests/equations/ch02.rs", "#[test]\nfn elbo_gap", "fn elbo_gap");
    one(&fixture, "book/src/ch02_elbo.md:11: ", "lacks #[test]");
}

#[test]
fn a_test_says_for_which_formula_it_was_written() {
    let fixture = Fixture::new();
    fixture.edit("tests/equations/ch02.rs", "tex(\"elbo-gap\")", "tex(\"elbo\")");
    let says = "the test elbo_gap (tests/equations/ch02.rs:3) does not say for which formula it was written; read it from the page with tex(\"elbo-gap\"), or write digest(\"elbo-gap\", \"3eaca394ab47\")";
    one(&fixture, "book/src/ch02_elbo.md:11: ", says);
    let fixture = Fixture::new();
    fixture.edit("book/src/ch01_latent.md", "{p(z \\mid x)}.", "{p(z \\mid x)},");
    one(
        &fixture,
        "book/src/ch01_latent.md:13: ",
        "changed since its test was written (tests/equations/main.rs:5)",
    );
    let fixture = Fixture::new();
    fixture.edit("book/src/ch01_latent.md", "p(x) = \\frac", "p(x)\n  = \\frac");
    assert_eq!(
        fixture.problems(),
        Vec::<String>::new(),
        "another line is no other formula"
    );
}

#[test]
fn equations_that_follow_from_each_other_are_refused() {
    let fixture = Fixture::new();
    fixture.edit(
        ELBO,
        "{#eq:elbo .definition}",
        "{#eq:elbo .definition from=\"elbo-denoising\"}",
    );
    let problems = fixture.problems();
    assert_eq!(problems.len(), 3, "{problems:#?}");
    assert!(
        problems.iter().all(|problem| problem.contains("follows from itself")),
        "{problems:#?}"
    );
}

#[test]
fn a_missing_anchor_or_file_is_refused() {
    fault("{{#listing chapters/ch01_latent.rs:dram}}", "no anchor \"dram\"");
    fault("{{#listing chapters/ch09.rs:draw}}", "chapters/ch09.rs cannot be read");
    fault("{{#include ch01_latent.md}}", "{{#listing file:anchor}}");
}

#[test]
fn a_misspelled_output_section_is_refused() {
    fault(
        "{{#output ch02_elbo:The bond}}",
        "no section \"The bond\"; it has \"The bound\"",
    );
    fault("{{#output ch09:The bound}}", "no report tests/snapshots/ch09.snap");
}

#[test]
fn a_line_that_does_not_fit_its_column_is_refused() {
    let long = "y".repeat(93);
    let fixture = Fixture::new();
    fixture.edit(
        "chapters/ch01_latent.rs",
        "// One latent per observation.",
        &format!("// {}", &long[4..]),
    );
    assert_eq!(fixture.problems(), Vec::<String>::new(), "as long as the column");
    fixture.edit("chapters/ch01_latent.rs", "// yy", "// yyy");
    let line = fixture.add("{{#listing chapters/ch01_latent.rs:inner}}");
    let problems = fixture.problems();
    assert_eq!(
        problems.len(),
        2,
        "both listings that hold the line, and no other: {problems:#?}"
    );
    assert!(problems.iter().all(|problem| {
        problem.contains("chapters/ch01_latent.rs:5 (93); break that line")
    }));
    assert!(
        !problems.iter().any(|problem| problem.contains(&format!("ch02_elbo.md:{line}:"))),
        "{problems:#?}"
    );
    let fixture = Fixture::new();
    fixture.edit(
        "tests/snapshots/ch02_elbo.snap",
        "prior               0.001 bits/dim",
        &format!("prior  {long}"),
    );
    one(&fixture, "book/src/ch02_elbo.md:26: ", "tests/snapshots/ch02_elbo.snap:11 (102)");
}

#[test]
fn a_missing_value_is_refused() {
    fault("It is {{value ch02_elbo:The bound:tset bound}}.", "no row \"tset bound\"");
    fault("It is $x = {{value ch02_elbo:The bound:tset bound}}$.", "no row \"tset bound\"");
    fault("It is {{value ch02_elbo:Schedules:linear:test}}.", "column \"test\"");
}

#[test]
fn a_relation_that_does_not_hold_or_cannot_be_read_is_refused() {
    fault(
        "So.{{holds [ch02_elbo:The bound:test bound] < 2.1}}",
        "2.098 ± 0.020 < 2.1 (2.078 to 2.118 against 2.1)",
    );
    fault(
        "So.{{holds falls [ch02_elbo:Schedules:*:validation]}}",
        "2.11 > 2.13 (from “linear, validation” to",
    );
    fault("So.{{holds [ch02_elbo:The bound:tset bound] < 3}}", "no row \"tset bound\"");
    fault(
        "So.{{holds [ch09:The bound:test bound] < 3}}",
        "no report tests/snapshots/ch09.snap",
    );
    fault(
        "So.{{holds rises [ch02_elbo:Schedules:*:test]}}",
        "no rows with a column \"test\"",
    );
    fault("So.{{holds [ch02_elbo:The bound:test bound] is small}}", "nothing is compared");
    fault("So.{{holds}}", "missing at the end");
}

#[test]
fn a_claim_without_a_test_that_runs_is_refused() {
    fault(
        "So.{{claim nobody-tests-me}}",
        "add a #[test] fn nobody_tests_me to tests/claims",
    );
    fault(
        "So.{{claim ignored-claim}}",
        "the test ignored_claim is ignored (tests/claims/main.rs:10)",
    );
    fault(
        "So.{{claim helper}}",
        "the function helper (tests/claims/main.rs:15) lacks #[test]",
    );
    // A test of an equation is no test of a claim.
    fault("So.{{claim elbo-gap}}", "add a #[test] fn elbo_gap to tests/claims");
    fault("{{claim}}", "a claim names its test");
    let fixture = Fixture::new();
    fixture.edit("book/src/equations.md", "{{#claims}}", "");
    let problems = fixture.problems();
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(
        problems
            .iter()
            .all(|problem| problem.contains("no page lists the claims; add {{#claims}}"))
    );
}

#[test]
fn a_dead_link_or_fragment_is_refused() {
    fault("See [that](ch07.md).", "leads nowhere: the book has no ch07.html");
    fault(
        "See [that](ch01_latent.md#no-such-heading).",
        "no heading or element with the id no-such-heading",
    );
    fault(
        "See [that](#no-such-heading).",
        "no heading or element with the id no-such-heading",
    );
}

#[test]
fn a_figure_needs_alt_text_a_caption_and_its_file() {
    fault("![](figure:ch02_elbo/loss2.svg \"Loss.\")", "alt text");
    fault("![The loss.](figure:ch02_elbo/loss2.svg \"Loss.\")", "too short");
    let alt = "A curve that falls from left to right.";
    fault(&format!("![{alt}](figure:ch02_elbo/loss2.svg)"), "no caption");
    fault(
        &format!("![{alt}](figure:ch02_elbo/lost.svg \"Loss.\")"),
        "wrote no lost.svg; it wrote loss.svg",
    );
    fault(&format!("![{alt}](figure:ch09/loss.svg \"Loss.\")"), "no chapter program");
    fault(&format!("![{alt}](figure:ch02_elbo/loss.svg \"Loss.\")"), "already stands at");
    fault(
        &format!("Before ![{alt}](figure:ch02_elbo/loss2.svg \"Loss.\")"),
        "lines of its own",
    );
    fault(&format!("![{alt} $x$](figure:ch02_elbo/loss2.svg \"Loss.\")"), "read aloud");
}

#[test]
fn a_figure_with_a_strange_colour_is_refused() {
    let fixture = Fixture::new();
    fixture.edit("programs/loss.svg", "#0072B2", "#0073B2");
    one(&fixture, "book/src/ch02_elbo.md:32: ", "#0073B2, which is not in the palette");
}

#[test]
fn a_chapter_that_fails_is_reported_with_what_it_printed() {
    let fixture = Fixture::new();
    fixture.edit("programs/ch02_elbo.sh", "cp ", "echo no adapter >&2; exit 1; cp ");
    one(&fixture, "book/src/ch02_elbo.md:32: ", "no adapter");
}

#[test]
fn malformed_or_unclosed_maths_is_refused() {
    fault("So $\\frac{1}{$ it is.", "malformed maths");
    fault("So $\\nosuchthing$ it is.", "\\nosuchthing");
    fault("So $x it is.", "never closed");
    fault("So $ x$ it is.", "does not begin with a space");
    fault("$$\na = b\n\nMore text.", "this $$ is never closed");
    fault("So $$ a = b $$ it is.", "a line of its own");
    fault("$$ a = b $$ {#fig:x}", "no equation label");
    fault("$$ a = b $$ and so on", "only {#eq:label …} may follow");
    let fixture = Fixture::new();
    let line = fixture.add("$$\na = b\n  + \\frac{1}{\n$$") + 2;
    one(&fixture, &format!("{ELBO}:{line}: "), "malformed maths");
}

#[test]
fn an_unknown_citation_is_refused() {
    fault("As in [@nobody2030].", "no work has the key nobody2030");
}

#[test]
fn a_typed_number_is_refused() {
    fault("The bound is 2.13 bits.", "the number 2.13 is typed by hand");
    fault("It was {{quoted 2.65}}.", "no citation in its paragraph");
    fault("It was {{given much}}.", "holds a number");
    let fixture = Fixture::new();
    fixture.edit(ELBO, "of the model, in", "of the model, 2.1 in");
    // The caption's own citation vouches for it.
    assert_eq!(fixture.problems(), Vec::<String>::new());
    fixture.edit(ELBO, ", as in [@luo2022].\")", ".\")");
    one(&fixture, "book/src/ch02_elbo.md:32: ", "the number 2.1 is typed by hand");
}

#[test]
fn a_directive_that_nobody_knows_or_closes_is_refused() {
    fault("See {{eqeqref elbo}}.", "there is no directive {{eqeqref}}");
    fault("See {{eqref elbo.", "never closed");
    fault("See {{ }}.", "begins no directive");
    fault("See {{#listing chapters/ch01_latent.rs:draw}}.", "a line of its own");
    fault("{{#exercise Forever}}\n\nText.", "this exercise is never closed");
    fault("{{/exercise}}", "nothing to belong to");
}

#[test]
fn folds_hints_and_boxes_have_titles_and_are_closed_in_turn() {
    fault("{{#fold}}\n\nText.", "a fold has a title");
    fault("{{#box}}\nText.", "a box has a title");
    fault("{{#fold More}}\n\nText.", "this fold is never closed");
    fault("{{/fold}}", "nothing to close");
    let torn = |page: &str, line: usize, says: &str| {
        let fixture = Fixture::new();
        fixture.add(page);
        one(&fixture, &format!("book/src/ch02_elbo.md:{line}: "), says);
    };
    torn("{{#box B}}\n\nText.\n\n{{/fold}}\n\n{{/box}}", 52, "close it with {{/box}}");
    torn(
        "{{#exercise A}}\n\nText.\n\n{{#hint}}\n\nHm.\n\n{{#solution}}\n\n{{/hint}}\n\n{{/exercise}}",
        56,
        "still open at {{#solution}}",
    );
}

#[test]
fn raw_html_hides_no_maths_and_loads_nothing() {
    fault("<p>So $x$ it is.</p>", "the page shows \"So $x$ it is.\"");
    fault("<p><img src=\"https://example.org/a.png\" alt=\"\"></p>", "asks no third party");
}

#[test]
fn what_mdbook_only_warns_of_is_a_fault() {
    let fixture = Fixture::new();
    fixture.add("<div>\n\nNever closed.");
    let problems = fixture.problems();
    assert!(
        problems.len() == 1 && problems[0].contains("unclosed HTML tag `<div>`"),
        "{problems:#?}"
    );
}

#[test]
fn a_page_outside_the_summary_is_a_fault() {
    let fixture = Fixture::new();
    fs::write(fixture.root().join("book/src/lost.md"), "# Lost\n").expect("a page");
    one(&fixture, "book/src/lost.md:1: ", "SUMMARY.md");
    fixture.edit("book/src/SUMMARY.md", "(preface.md)", "(prefaces.md)");
    let problems = fixture.problems();
    assert!(
        problems.len() == 1 && problems[0].contains("cannot load the book"),
        "{problems:#?}"
    );
}

#[test]
fn a_page_that_is_too_large_is_a_fault() {
    let fixture = Fixture::new();
    fixture.add(&"Many words, again and again. ".repeat(55_000));
    one(&fixture, "book/src/ch02_elbo.md:1: ", "more than 1400 kB; split the chapter");
}

#[test]
fn a_ladder_that_is_missing_faulty_or_older_than_its_picture_is_refused() {
    let shown =
        "![Every model of the small book on one axis.](figure:ladder.svg \"The ladder.\")";
    fault(shown, "there is no ladder to draw; mend book/ladder.toml");
    let plan = "axis = [1.8, 2.5]\n[[rung]]\nname = \"Small\"\nkind = \"bound\"\nvalue = \"ch02_elbo:The bound:test bound\"\n";
    let fixture = Fixture::new();
    let write = |file: &str, text: &str| {
        fs::write(fixture.root().join(file), text).expect("a writable copy")
    };
    fixture.add(shown);
    write("book/ladder.toml", plan);
    let old = "older than the reports; draw it with cargo run -p book -- pictures";
    one(&fixture, "book/pictures/ladder.svg:1: ", old);
    fs::create_dir(fixture.root().join("book/pictures")).expect("a folder");
    write(
        "book/pictures/ladder.svg",
        &crate::pictures::drawn_ladder(&fixture.root()).expect("a ladder"),
    );
    assert_eq!(fixture.problems(), Vec::<String>::new());
    let page = fixture.page("ch02_elbo.html");
    assert!(page.contains(
        "aria-label=\"Every model of the small book on one axis. Small at most 2.098.\""
    ));
    fixture.edit(
        "tests/snapshots/ch02_elbo.snap",
        "test bound            2.098",
        "test bound            2.099",
    );
    one(&fixture, "book/pictures/ladder.svg:1: ", old);
    write("book/ladder.toml", &plan.replace("test bound", "tset bound"));
    let problems = fixture.problems();
    assert!(
        problems.iter().any(|problem| problem.starts_with("book/ladder.toml:5: ")
            && problem.contains("no row \"tset bound\"")),
        "{problems:#?}"
    );
}
