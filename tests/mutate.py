#!/usr/bin/env python3
"""Mutations of src/: draws 300 of those that cargo-mutants lists, and finds which of them the tests catch.

    cargo install cargo-mutants
    cp -a . COPY && python3 tests/mutate.py COPY [FROM TO]

COPY is changed: all mutations are compiled into it at once, each as a second body of its function that the environment
variable MUTANT chooses, so that one build serves them all; what does not compile is left out. (Where a function returns
`impl Trait`, its second body is another type: let it return a `Box<dyn Trait>` in COPY first.) Each test is run once by
itself, to learn how long it takes and which of the functions it calls; then each mutation, from the number FROM to TO,
meets the tests that call its function, the fastest first, until one fails or takes too long. TESTS names other test
programs than the usual ones, such as chapters, and SLOWEST the seconds that a test may take. What is found goes to
COPY/mutation, and is not looked for again.
"""
import collections, json, os, pathlib, random, re, resource, subprocess, sys, time

DRAWN, LEAST, VALUES, SEED = 300, 6, 4, 20261128
TESTS = os.environ.get("TESTS", "lib equations tensors samplers parts claims exercises subnormals").split()
SLOWEST = float(os.environ.get("SLOWEST", "45"))

copy = pathlib.Path(sys.argv[1]).resolve()
notes = copy / "mutation"
notes.mkdir(exist_ok=True)

# Which mutation is on is read before main; the functions that are called are written down at the end of a process.
SWITCH = """#![allow(unsafe_code, missing_docs)]
static mut ACTIVE: u32 = 0;
static mut CALLED: [bool; 1024] = [false; 1024];
#[inline(always)]
pub fn is(number: u32) -> bool {
    let active = unsafe { ACTIVE };
    if active == u32::MAX { called(number) }
    active == number
}
#[cold]
#[inline(never)]
fn called(number: u32) { unsafe { CALLED[number as usize] = true } }
extern "C" fn start() {
    let number = std::env::var("MUTANT").ok().and_then(|n| n.parse().ok());
    unsafe { ACTIVE = number.unwrap_or(0) }
}
extern "C" fn end() {
    use std::io::Write;
    let Ok(path) = std::env::var("MUTANT_CALLED") else { return };
    let text: String = (0..1024).filter(|n| unsafe { CALLED[*n] }).map(|n| format!("{n}\\n")).collect();
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    drop(file.and_then(|mut file| file.write_all(text.as_bytes())));
}
#[used]
#[unsafe(link_section = ".init_array")]
static START: extern "C" fn() = start;
#[used]
#[unsafe(link_section = ".fini_array")]
static END: extern "C" fn() = end;
"""


def room(mutant):
    """The room in which a mutation lies: a folder of src/, or one of its files; the smallest files are one room."""
    name = mutant["file"].split("/")[1].removesuffix(".rs")
    return "others" if name in ("error", "files", "host", "progress") else name


def draw():
    """The mutations: from each room its share, but at least LEAST; of a function at most VALUES values in place of its body."""
    listed = json.loads(subprocess.check_output(
        ["cargo", "mutants", "--list", "--json", "--package", "elbo-to-diffusion"], cwd=copy))
    chance, bodies, rooms = random.Random(SEED), collections.Counter(), collections.defaultdict(list)
    chance.shuffle(listed)
    for mutant in listed:
        function = mutant["file"], str(mutant["function"])
        bodies[function] += mutant["genre"] == "FnValue"
        if mutant["genre"] != "FnValue" or bodies[function] <= VALUES:
            rooms[room(mutant)].append(mutant)
    # The share of the rooms that are not raised to LEAST, found by bisection.
    low, high = 0.0, 1.0
    for _ in range(50):
        share = (low + high) / 2
        total = sum(min(len(r), max(LEAST, round(share * len(r)))) for r in rooms.values())
        low, high = (share, high) if total <= DRAWN else (low, share)
    drawn = [m for _, r in sorted(rooms.items()) for m in r[:max(LEAST, round(low * len(r)))]]
    for number, mutant in enumerate(drawn, 1):
        mutant.update(number=number, room=room(mutant), listed=len(rooms[room(mutant)]))
        del mutant["diff"]
    return drawn


def offset(text, place):
    """The index in a text of a line and a column, both counted from 1."""
    lines = text.split("\n")
    return sum(len(line) + 1 for line in lines[:place["line"] - 1]) + place["column"] - 1


def opening(text, start):
    """The index behind the brace that opens the body of the function that starts at an index."""
    code = re.sub(r"//[^\n]*", lambda m: " " * len(m[0]), text)
    depth = 0
    for index in range(start, len(code)):
        depth += (code[index] in "([") - (code[index] in ")]")
        if code[index] == "{" and depth == 0:
            return index + 1


def instrument(drawn, left_out):
    """Writes each mutated body at the start of its function."""
    for name in sorted({m["file"] for m in drawn}):
        kept = notes / "pristine" / name
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text((copy / name).read_text())
        text, inserted, closing = kept.read_text(), collections.defaultdict(str), {}
        for m in drawn:
            if m["file"] != name or m["number"] in left_out:
                continue
            body, end = opening(text, offset(text, m["function"]["span"]["start"])), offset(text, m["function"]["span"]["end"]) - 1
            first, last = offset(text, m["span"]["start"]), offset(text, m["span"]["end"])
            mutated = text[body:first] + m["replacement"] + text[last:end]
            number = m["number"]
            if "-> impl " in m["function"]["return_type"] and "Box<dyn " in text[offset(text, m["function"]["span"]["start"]):body]:
                mutated, closing[body] = f"Box::new({{ {mutated}\n}})", end
            inserted[body] += f"\n/*from {number}*/ if ::elbo_to_diffusion::mutation::is({number}) {{ return {{ {mutated}\n}}; }} /*to*/\n"
        for body in sorted(inserted, reverse=True):
            if body in closing:
                text = text[:body] + "Box::new({" + text[body:closing[body]] + "})" + text[closing[body]:]
            text = text[:body] + inserted[body] + text[body:]
        (copy / name).write_text(text)
    (copy / "src/mutation.rs").write_text(SWITCH)
    root = copy / "src/lib.rs"
    text = root.read_text()
    if "mod mutation;" not in text:
        text = text.replace("#[cfg(test)]\nextern crate self", "extern crate self")
        root.write_text(text.replace("pub mod weights;", "pub mod mutation;\npub mod weights;"))


def cargo(*arguments):
    """What cargo says, as JSON."""
    run = subprocess.run(["cargo", *arguments, "--message-format=json"], cwd=copy, stdout=subprocess.PIPE, text=True)
    return run.returncode, [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]


def build(drawn):
    """Compiles all that compiles; the numbers of the mutations that do not."""
    path = notes / "left_out.json"
    left_out = json.loads(path.read_text()) if path.exists() else {}
    for m in drawn:
        if not m["function"]:
            left_out[str(m["number"])] = "not in a function"
    while True:
        instrument(drawn, {int(n) for n in left_out})
        path.write_text(json.dumps(left_out, indent=1))
        code, said = cargo("test", "--no-run", "--test", "tensors")
        if code == 0:
            return left_out
        before = len(left_out)
        for message in (s["message"] for s in said if s["reason"] == "compiler-message" and s["message"]["level"] == "error"):
            for span in message["spans"]:
                lines = (copy / span["file_name"]).read_text().split("\n") if (copy / span["file_name"]).exists() else []
                marks = re.findall(r"/\*(from (\d+)|to)\*/", "\n".join(lines[:span["line_end"]]))
                if marks and marks[-1][1]:
                    left_out[marks[-1][1]] = message["message"]
        if len(left_out) == before:
            sys.exit("\n".join(s["message"]["rendered"] for s in said if s["reason"] == "compiler-message" and s["message"]["level"] == "error"))


def limited():
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))


def run(binary, test, limit, **variables):
    """Whether a test passes by itself: `passed`, `failed` or `too long`; and its seconds."""
    begin = time.monotonic()
    process = subprocess.Popen([binary, "--exact", test, "--test-threads=1"], cwd=copy, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               stdin=subprocess.DEVNULL, preexec_fn=limited, start_new_session=True,
                               env={**os.environ, "INSTA_UPDATE": "no", "RAYON_NUM_THREADS": "1", **variables})
    try:
        result = "passed" if process.wait(limit) == 0 else "failed"
    except subprocess.TimeoutExpired:
        result = "too long"
        os.killpg(process.pid, 9)
        process.wait()
    return result, time.monotonic() - begin


def baseline():
    """For each test that passes: its program, its seconds, and the mutated functions that it calls."""
    path = notes / "baseline.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    chosen = [a for t in TESTS for a in (["--lib"] if t == "lib" else ["--test", t])]
    code, said = cargo("test", "--no-run", *chosen)
    if code != 0:
        sys.exit("\n".join(s["message"]["rendered"] for s in said if s["reason"] == "compiler-message"))
    for binary in [s["executable"] for s in said if s["reason"] == "compiler-artifact" and s["profile"]["test"] and s["executable"]]:
        for line in subprocess.check_output([binary, "--list"], cwd=copy, text=True).splitlines():
            test = line.removesuffix(": test")
            key = f"{pathlib.Path(binary).name.rsplit('-', 1)[0]} {test}"
            if not line.endswith(": test") or key in known:
                continue
            called = notes / "called.txt"
            called.unlink(missing_ok=True)
            result, _ = run(binary, test, 900, MUTANT=str(2 ** 32 - 1), MUTANT_CALLED=str(called))
            numbers = sorted({int(n) for n in called.read_text().split()}) if called.exists() else []
            again, seconds = run(binary, test, 900) if numbers else (result, 0)
            known[key] = dict(binary=binary, test=test, seconds=seconds, called=numbers, result=again)
            if result != "passed" or again != "passed":
                print("does not pass without a mutation:", key, result, again, flush=True)
            path.write_text(json.dumps(known))
    return {key: test for key, test in known.items() if test["result"] == "passed"}


def meet(mutant, tests, met):
    """The first test that catches a mutation, and how; or those that did not, to which belong those that it has met before."""
    calls = [(t["seconds"], key) for key, t in tests.items() if mutant["number"] in t["called"]]
    calling = sorted(call for call in calls if call[0] < SLOWEST)
    for seconds, key in calling:
        if key in met:
            continue
        result, _ = run(tests[key]["binary"], tests[key]["test"], 60 + 5 * seconds, MUTANT=str(mutant["number"]))
        if result != "passed":
            return dict(caught=key, how=result)
    return dict(caught=None, met=[key for _, key in calling])


path = notes / "drawn.json"
if not path.exists():
    path.write_text(json.dumps(draw(), indent=1))
drawn = json.loads(path.read_text())
left_out = build(drawn)
print(len(left_out), "do not compile", flush=True)
tests = baseline()
path = notes / "found.json"
found = json.loads(path.read_text()) if path.exists() else {}
first, last = (int(sys.argv[2]), int(sys.argv[3])) if len(sys.argv) > 3 else (1, len(drawn))
for mutant in drawn[first - 1:last]:
    number = str(mutant["number"])
    if number not in left_out and not found.get(number, {}).get("caught"):
        found[number] = meet(mutant, tests, found.get(number, {}).get("met", []))
        path.write_text(json.dumps(found, indent=1))
        print(number, mutant["name"], found[number].get("caught") or f"NOT CAUGHT by {len(found[number]['met'])}", flush=True)
