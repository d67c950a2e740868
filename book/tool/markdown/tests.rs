//! The traps of finding maths and directives in Markdown.

use super::*;

fn read(text: &str) -> (Vec<String>, Vec<(usize, String)>) {
    let source = Fragment { text: text.to_owned(), line: 1 };
    let mut problems = Problems::default();
    let scan = scan(&source, "page.md", &mut problems);
    assert_eq!(scan.masked.len(), text.len(), "the mask keeps every byte in its place");
    let items = scan.items.iter().map(|item| match &item.kind {
        Kind::Display { tex, attributes } => {
            format!("display {} {}", tex.trim(), attributes.as_deref().unwrap_or("-"))
        }
        Kind::Inline(tex) => format!("inline {tex}"),
        Kind::Dollar => "dollar".to_owned(),
        Kind::Directive { name, argument, alone } => {
            format!("directive {name} {argument} {alone}")
        }
        Kind::Citation(inside) => format!("citation {inside}"),
        Kind::Figure { alt, path, caption } => {
            format!("figure {} {path} {}", alt.text, caption.text)
        }
    });
    let problems = problems
        .sorted()
        .into_iter()
        .map(|problem| (problem.line, problem.message))
        .collect();
    (items.collect(), problems)
}

fn items(text: &str) -> Vec<String> {
    let (items, problems) = read(text);
    assert_eq!(problems, [], "{text}");
    items
}

#[test]
fn inline_maths_is_found_wherever_prose_is() {
    assert_eq!(
        items("Let $x$, $y_1$ and $a_1 b_1$."),
        ["inline x", "inline y_1", "inline a_1 b_1"]
    );
    assert_eq!(
        items("**$x$** _$y$_ [$z$](a.md) \"$w$\""),
        ["inline x", "inline y", "inline z", "inline w"]
    );
    assert_eq!(items("- $x$\n  1. $y$\n\n> $z$\n"), ["inline x", "inline y", "inline z"]);
    assert_eq!(items("| $p(x|z)$ | $\\|a\\|$ |\n|---|---|\n| $a|b$ | c |\n").len(), 3);
    assert_eq!(items("A line $a\n+ b$ goes on."), ["inline a\n+ b"]);
    assert_eq!(
        items("$a < b$ and $c > d$, $e<f>g$"),
        ["inline a < b", "inline c > d", "inline e<f>g"]
    );
    assert_eq!(
        items("$f[i](x)$ and $\\text{\\$}$"),
        ["inline f[i](x)", "inline \\text{\\$}"]
    );
    assert_eq!(items("é $ü$ — $x$"), ["inline ü", "inline x"]);
    assert_eq!(
        items("$\\bar{{x}}$"),
        ["inline \\bar{{x}}"],
        "double braces in maths are TeX"
    );
}

#[test]
fn code_tags_and_escapes_are_left_alone() {
    for text in [
        "`$x$` and ``a ` $x$``",
        "```\n$x$ {{eqref a}}\n$$\n```",
        "~~~text\n$$ a $$\n~~~",
        "    $x$ {{a b}}",
        "<!-- $x {{eqref -->",
        "- item\n\n  ```\n  $ cargo run\n  ```\n",
        "> ```\n> $$\n> ```\n",
        "<a title=\"$x$\">text</a>",
        "\\\\ and \\{{ no directive",
    ] {
        assert_eq!(items(text), Vec::<String>::new(), "{text}");
    }
    assert_eq!(
        items("It costs \\$5, not \\$6, for $x$."),
        ["dollar", "dollar", "inline x"]
    );
    assert_eq!(items("an open ` and $x$"), ["inline x"], "a lone backtick opens no code");
}

#[test]
fn display_maths_is_a_block_with_a_label() {
    assert_eq!(items("$$ a $$"), ["display a -"]);
    assert_eq!(items("Text\n$$ a $$ {#eq:b}\nmore"), ["display a #eq:b"]);
    assert_eq!(
        items("$$\na\n= b\n- c\n+ d\n# e\n$$ {#eq:x .definition}\n"),
        ["display a\n= b\n- c\n+ d\n# e #eq:x .definition"]
    );
    assert_eq!(items("> $$ a\n> + b $$\n> and $c$"), ["display a\n+ b -", "inline c"]);
    assert_eq!(items("- item\n\n  $$ a\n  + b $$\n"), ["display a\n+ b -"]);
    assert_eq!(items("$$ `a` $$\n\n$$ b $$"), ["display `a` -", "display b -"]);
    assert_eq!(items("$$ a $$\n$$ b $$\n"), ["display a -", "display b -"]);
}

#[test]
fn directives_citations_and_figures_are_found() {
    assert_eq!(
        items("See {{eqref a-b}} and {{value x:y z:w|pm}}."),
        ["directive eqref a-b false", "directive value x:y z:w|pm false"]
    );
    assert_eq!(items("See {{value x:a\nb:c}}."), ["directive value x:a b:c false"]);
    assert_eq!(items("A {{holds [a:b:c]\n> 2}}."), ["directive holds [a:b:c] > 2 false"]);
    assert_eq!(
        items("> A {{holds [a:b:c]\n> < 2}}."),
        ["directive holds [a:b:c] < 2 false"]
    );
    assert_eq!(
        items("A {{holds 1 <min(2, 3) and 4> 3}}."),
        ["directive holds 1 <min(2, 3) and 4> 3 false"]
    );
    assert_eq!(items("| a {{holds [a:b:*:c] < [d:e:f]}} |\n|---|\n").len(), 1);
    assert_eq!(items("> {{#listing a.rs:b}}\n"), ["directive #listing a.rs:b true"]);
    assert_eq!(
        items("{{#exercise On $\\bar{{x}}$}}\n"),
        ["directive #exercise On $\\bar{{x}}$ true"]
    );
    assert_eq!(
        items("{{/solution}} {{/exercise}}"),
        ["directive /solution  true", "directive /exercise  true"]
    );
    assert_eq!(
        items("As [@a] and [@b, eq. 2; @c] and [link](x.md) [^1]"),
        ["citation @a", "citation @b, eq. 2; @c"]
    );
    assert_eq!(
        items(
            "![Alt [with] brackets](figure:ch01/a.svg \"Caption $x$ (b) \\\"q\\\"\")\n\n![photo](a.png)"
        ),
        ["figure Alt [with] brackets ch01/a.svg Caption $x$ (b) \\\"q\\\""]
    );
    assert_eq!(
        items("![Long\nalt](figure:ch01/a.svg\n\"Caption\nhere\")"),
        ["figure Long\nalt ch01/a.svg Caption\nhere"]
    );
}

#[test]
fn what_cannot_be_read_names_its_line() {
    for (text, line, says) in [
        ("a\n\n$x", 3, "never closed"),
        ("a $x\n\n$y$", 1, "never closed"),
        ("it is $5 and $6", 1, "does not end with a space"),
        ("a $ b$", 1, "does not begin with a space"),
        ("a\n$$\nb", 2, "this $$ is never closed"),
        ("a $$b$$", 1, "a line of its own"),
        ("$$ a $$ b", 1, "may follow"),
        ("a\n{{eqref", 2, "never closed"),
        ("a ![b](figure:c/d.svg \"e\")", 1, "lines of its own"),
    ] {
        let (_, problems) = read(text);
        assert!(problems.len() == 1, "{text}: {problems:?}");
        assert!(
            problems[0].0 == line && problems[0].1.contains(says),
            "{text}: {problems:?}"
        );
    }
}
