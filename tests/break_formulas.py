#!/usr/bin/env python3
"""Breaks printed formulas one sign, exponent, factor or index at a time, and counts how many breaks the tests see.

    cargo test --test equations --no-run && python3 tests/break_formulas.py TEST_BINARY

TEST_BINARY is the path that cargo prints. Each labelled formula that a test evaluates as it stands on its page is
changed on the page, its test is run, and the page is restored. A break that is not seen is printed.
"""
import pathlib, re, subprocess, sys

root = pathlib.Path(__file__).resolve().parent.parent
binary = sys.argv[1]
tests = "".join(path.read_text() for path in sorted((root / "tests/equations").rglob("*.rs")))
evaluated = sorted(set(re.findall(r'tex\(\s*"([a-z0-9-]+)"', tests)))


def breaks(formula):
    """Each way to break the formula, as what is done and the broken formula."""
    # A sign, a power, a half, a root, an index.
    rules = [(r"(?<![{_t(])\+", "-"), (r"(?<=[ )}])-(?= )", "+"), (r"\^2(?!\()", "^3"), (r"\\tfrac12", r"\\tfrac13"),
             (r"\\sqrt(?=[{\\])", ""), (r"\{t-1\}", "t"), (r"=1\}", "=2}"), (r"(?<![\d_])2(?= [A-Z\\])", "3")]
    for pattern, instead in rules:
        for match in re.finditer(pattern, formula):
            broken = formula[:match.start()] + match.expand(instead) + formula[match.end():]
            yield f"{match[0].strip()} -> {instead.strip() or 'nothing'} at {match.start()}", broken


seen = missed = 0
for label in evaluated:
    for page in sorted((root / "book/src").glob("*.md")):
        text = page.read_text()
        mark = re.search(r"\{#eq:" + label + r"[ }]", text)
        if not mark:
            continue
        at = mark.start()
        end = text.rindex("$$", 0, at)
        start = text.rindex("$$", 0, end) + 2
        for what, broken in breaks(text[start:end]):
            page.write_text(text[:start] + broken + text[end:])
            try:
                run = subprocess.run([binary, label.replace("-", "_")], capture_output=True, timeout=120)
            finally:
                page.write_text(text)
            if run.returncode:
                seen += 1
            else:
                missed += 1
                print(f"not seen: {label}: {what}")
print(f"{len(evaluated)} formulas, {seen + missed} breaks, {seen} seen")
