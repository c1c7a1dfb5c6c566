#!/usr/bin/env python3
"""Tries every mutant of the core against the tests of the whole workspace, in hours instead of days.

    tests/mutants/campaign.py build            the list, the copy, what does not compile, the tests
    tests/mutants/campaign.py cover            which test reaches which function, and how long it takes
    tests/mutants/campaign.py try              every mutant against the tests that reach it; goes on where it was left
    tests/mutants/campaign.py table            what came of it, for docs/mutation-testing.md

All it writes is in target/mutants. It needs cargo-mutants, for the list.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time

import choices

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = ROOT / "target" / "mutants"
COPY = WORK / "copy"
LISTED, MUTANTS, TESTS, REACHED, VERDICTS, BEFORE = (
    WORK / name for name in ("listed.json", "mutants.json", "tests.json", "reached.json", "verdicts.jsonl", "before.jsonl")
)
FOLDERS = ("shared/tests", "functions/aws/tests", "functions/azure/tests", "local/tests", "tests/tests")
# Browsers, the shipped binaries and other programs, processes that are killed, and the parsers' random inputs: slow,
# or not compiled with the mutants.
PROGRAMS_LEFT_OUT = {"browser", "command_line"}
LEFT_OUT = re.compile(r"^system (kill9|fuzz|functions_host|functions_app|lambda_host|azure_handler|infrastructure|doctor|logs)::")
# What breaks the product on purpose says nothing of one that is broken already.
NO_JUDGE = re.compile(r"^system simulation::(every_rule_can_be_seen_to_fail|a_seed_is_one_history)$")
# Seconds. A test that takes longer without any mutant is left out.
SLOW = 20
# A mutant that makes a test run this many times as long, and so many seconds more, makes it wait for ever.
PATIENCE, GRACE = 6, 15
# Dependencies and tests optimized a little: they run often enough.
SETTINGS = {
    "CARGO_TARGET_DIR": str(WORK / "target"),
    "CARGO_PROFILE_DEV_OPT_LEVEL": "1",
    "CARGO_PROFILE_DEV_DEBUG": "0",
    "CARGO_PROFILE_DEV_INCREMENTAL": "false",
}
# What .cargo/config.toml and the test runner would set. Few histories: a mutant that only the last of many shows is rare.
ENVIRONMENT = {
    "AWS_LC_SYS_NO_JITTER_ENTROPY": "1",
    "RUST_MIN_STACK": "8388608",
    "NEXTEST": "1",
    "HISTORIES": "6",
    "PROPTEST_CASES": "32",
}


def cargo(*arguments, **more):
    return subprocess.run(["cargo", *arguments], cwd=COPY, env=os.environ | SETTINGS, text=True, **more)


# --- build --------------------------------------------------------------------------------------------------------------


def build(options):
    """Lists the mutants, drops what does not compile, and builds the tests with all the others inside."""
    WORK.mkdir(parents=True, exist_ok=True)
    if VERDICTS.exists():
        VERDICTS.replace(BEFORE)
    for old in (REACHED, TESTS):
        old.unlink(missing_ok=True)
    listed = subprocess.run(["cargo", "mutants", "-p", "tradepost", "--list", "--json"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        sys.exit(f"{listed.stderr}The list is made by cargo-mutants: cargo install cargo-mutants --version 27.1.0 --locked")
    LISTED.write_text(listed.stdout)
    copy()
    sources, mutants, outside = choices.read(json.loads(listed.stdout), COPY)
    print(f"{len(mutants) + len(outside)} mutants, {len(outside)} of them set aside")
    dropped = set()
    for turn in range(1, 12):
        places = lay_out(sources, [mutant for mutant in mutants if mutant.key not in dropped])
        wrong = broken(places)
        print(f"  {turn}: {len(wrong)} do not compile", flush=True)
        dropped |= wrong
        if not wrong:
            break
    MUTANTS.write_text(
        json.dumps(
            {
                "mutants": [vars(mutant) | {"key": mutant.key} for mutant in mutants if mutant.key not in dropped],
                "unviable": sorted(dropped),
                "aside": [mutant.key for mutant in outside],
            }
        )
    )
    TESTS.write_text(json.dumps(executables()))


def copy():
    shutil.rmtree(COPY, ignore_errors=True)
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (COPY / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, COPY / name)
    # Copies of a body are full of what a careful eye warns about.
    manifest = COPY / "shared" / "Cargo.toml"
    manifest.write_text(manifest.read_text().replace("[lints]\nworkspace = true\n", ""))


def lay_out(sources, mutants):
    """Writes the files with these mutants in them; where each one is, by file."""
    for number, mutant in enumerate(sorted(mutants, key=lambda one: (one.file, one.scope, one.start)), 1):
        mutant.number = number
    by_file, functions, places = {}, [], {}
    for mutant in sorted(mutants, key=lambda one: one.number):
        by_file.setdefault(mutant.file, []).append(mutant)
    for file, source in sources.items():
        text, places[file] = choices.write(source, by_file.get(file, []), functions)
        if file.endswith("shared/src/lib.rs"):
            continue
        (COPY / file).write_text(text)
    library = COPY / "shared" / "src" / "lib.rs"
    library.write_text((ROOT / "shared/src/lib.rs").read_text() + choices.SWITCH.replace("FUNCTIONS", str(len(functions))))
    return places


def broken(places):
    """The mutants that the compiler points at."""
    said = cargo("check", "-p", "tradepost", "--lib", "--locked", "--message-format=json", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    wrong, unplaced = set(), []
    for line in said.stdout.splitlines():
        message = json.loads(line).get("message")
        if not isinstance(message, dict) or message.get("level") != "error":
            continue
        spans = [span for span in message["spans"] if span["is_primary"]]
        found = {mutant.key for span in spans for mutant in standing(places, span)}
        wrong |= found
        if spans and not found:
            unplaced.append(message["rendered"])
    if said.returncode and not wrong:
        sys.exit("the copy does not compile, and no mutant is to blame:\n" + "\n".join(unplaced[:5]))
    return wrong


def standing(places, span):
    while span:
        for first, last, mutant in places.get(span["file_name"], []):
            if first <= span["line_start"] <= last:
                yield mutant
        span = (span.get("expansion") or {}).get("span")


def executables():
    """Builds every test there is, but what is left out: its name, its file and where it runs."""
    # In one call, so that what they depend on is compiled once.
    single = (path.stem for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.rs")))
    rooms = (path.parent.name for folder in FOLDERS for path in sorted((ROOT / folder).glob("*/main.rs")))
    asked = [word for name in (*single, *rooms) if name not in PROGRAMS_LEFT_OUT for word in ("--test", name)]
    said = cargo("test", "--no-run", "--locked", "--message-format=json", "--workspace", "--lib", *asked, stdout=subprocess.PIPE)
    if said.returncode:
        sys.exit("the tests do not build")
    built = [json.loads(line) for line in said.stdout.splitlines()]
    return {
        one["executable"]: {"binary": one["target"]["name"], "folder": str(pathlib.Path(one["manifest_path"]).parent)}
        for one in built
        if one.get("reason") == "compiler-artifact" and one.get("executable") and one["profile"]["test"]
    }


# --- cover --------------------------------------------------------------------------------------------------------------


def run(test, limit, **more):
    """Runs one test alone: whether it passed, None if it took longer than `limit` seconds."""
    environment = os.environ | ENVIRONMENT | {"CARGO_MANIFEST_DIR": test["folder"]} | more
    command = [test["file"], "--exact", test["name"], "--nocapture"]
    process = subprocess.Popen(
        command, cwd=test["folder"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return process.wait(limit) == 0
    except subprocess.TimeoutExpired:
        return None
    finally:
        try:
            os.killpg(process.pid, 9)
        except ProcessLookupError:
            pass
        process.wait()


def cover(options):
    """Runs every test once without a mutant, and notes what it reaches."""
    tests = []
    for file, about in json.loads(TESTS.read_text()).items():
        listed = subprocess.run([file, "--list", "--format", "terse"], cwd=about["folder"], capture_output=True, text=True, check=True)
        names = [line.removesuffix(": test") for line in listed.stdout.splitlines() if line.endswith(": test")]
        left_out = {name for name in names for rule in (LEFT_OUT, NO_JUDGE) if rule.match(f"{about['binary']} {name}")}
        tests += [{"file": file, "name": name, **about} for name in names if name not in left_out]
    notes = WORK / "notes"
    shutil.rmtree(notes, ignore_errors=True)
    notes.mkdir()

    def look(pair):
        number, test = pair
        note, start = notes / str(number), time.monotonic()
        passed = run(test, SLOW, TRADEPOST_REACHED=str(note))
        reached = sorted({int(line) for line in note.read_text().split()}) if note.exists() else []
        progress.step()
        return test | {"passed": passed, "seconds": time.monotonic() - start, "reached": reached}

    progress = Progress(len(tests))
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        done = list(pool.map(look, enumerate(tests)))
    REACHED.write_text(json.dumps([test for test in done if test["passed"]]))
    for test in done:
        if not test["passed"]:
            print(f"left out: {test['binary']} {test['name']} ({'slow' if test['passed'] is None else 'fails'})")
    print(f"{sum(1 for test in done if test['passed'])} tests, {sum(test['seconds'] for test in done):.0f} s")


# --- try ----------------------------------------------------------------------------------------------------------------


class Progress:
    def __init__(self, total):
        self.total, self.done, self.start, self.lock = total, 0, time.monotonic(), threading.Lock()

    def step(self, words=""):
        with self.lock:
            self.done += 1
            if sys.stderr.isatty() or self.done % 50 == 0 or self.done == self.total:
                left = (time.monotonic() - self.start) / self.done * (self.total - self.done)
                end = "\r" if sys.stderr.isatty() else "\n"
                print(f"{self.done} of {self.total}, {left / 60:.0f} min left {words}", end=end, file=sys.stderr, flush=True)


class Likely:
    """Which tests come first: what killed the mutant last time, those that killed neighbours, and those that go where few
    tests go in the same file."""

    def __init__(self, mutants, tests):
        self.before = {key: entry.get("by") for key, entry in read_verdicts(BEFORE).items()}
        self.by_file, self.by_room, self.lock = {}, {}, threading.Lock()
        reached = {}
        for test in tests:
            for room in test["reached"]:
                reached[room] = reached.get(room, 0) + 1
        files = {mutant["room"]: mutant["file"] for mutant in mutants}
        self.at_home = {}
        for test in tests:
            for room in test["reached"]:
                if room in files:
                    table = self.at_home.setdefault(files[room], {})
                    table[name(test)] = table.get(name(test), 0) + 1 / reached[room]

    def add(self, mutant, test):
        with self.lock:
            for table, place in ((self.by_file, mutant["file"]), (self.by_room, mutant["room"])):
                counts = table.setdefault(place, {})
                counts[name(test)] = counts.get(name(test), 0) + 1

    def order(self, mutant, tests):
        home = self.at_home.get(mutant["file"], {})
        most = max(home.values(), default=1)
        with self.lock:
            room = dict(self.by_room.get(mutant["room"], {}))
            file = dict(self.by_file.get(mutant["file"], {}))

        def weight(test):
            one = name(test)
            likely = 0.02 + home.get(one, 0) / most + 4 * room.get(one, 0) + file.get(one, 0)
            return (one == self.before.get(mutant["key"]), likely / (0.1 + test["seconds"]))

        return sorted(tests, key=weight, reverse=True)


def name(test):
    return f"{test['binary']} {test['name']}"


def read_verdicts(file=VERDICTS):
    """The last word about each mutant."""
    if not file.exists():
        return {}
    return {entry["key"]: entry for entry in map(json.loads, file.read_text().splitlines())}


def try_all(options):
    """Runs each mutant against the tests that reach it, until one fails or its time is up."""
    tests = json.loads(REACHED.read_text())
    reaching = {}
    for test in tests:
        for room in test["reached"]:
            reaching.setdefault(room, []).append(test)
    known, lock = read_verdicts(), threading.Lock()
    everything = json.loads(MUTANTS.read_text())["mutants"]
    likely = Likely(everything, tests)
    mutants = [
        mutant
        for mutant in everything
        if options.only in mutant["key"] and known.get(mutant["key"], {"verdict": options.again})["verdict"] == options.again
    ]
    progress = Progress(len(mutants))
    counts = {}

    def attempt(mutant):
        before = known.get(mutant["key"], {"passed": []})
        entry = judge(mutant, reaching.get(mutant["room"], []), before["passed"], likely, options.seconds)
        with lock:
            counts[entry["verdict"]] = counts.get(entry["verdict"], 0) + 1
            with VERDICTS.open("a") as out:
                out.write(json.dumps(entry) + "\n")
        progress.step(", ".join(f"{count} {word}" for word, count in sorted(counts.items())))

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(attempt, mutants))
    print(json.dumps(counts))


def judge(mutant, tests, passed_before, likely, budget):
    start, passed = time.monotonic(), list(passed_before)
    entry = {"key": mutant["key"], "line": mutant["line"], "reached_by": len(tests)}
    skip = set(passed_before)
    tests = [test for test in tests if name(test) not in skip]
    while tests:
        test, *tests = likely.order(mutant, tests)
        result = run(test, test["seconds"] * PATIENCE + GRACE, TRADEPOST_MUTANT=str(mutant["number"]))
        if not result:
            likely.add(mutant, test)
            return entry | {"verdict": "killed" if result is False else "timed out", "by": name(test)}
        passed.append(name(test))
        if tests and time.monotonic() - start > budget:
            return entry | {"verdict": "undecided", "passed": passed, "left": len(tests)}
    return entry | {"verdict": "survived", "passed": passed}


# --- table --------------------------------------------------------------------------------------------------------------


def table(options):
    """What came of it, room by room, and what is left to look at."""
    about, known = json.loads(MUTANTS.read_text()), read_verdicts()
    verdicts = {key: "unviable" for key in about["unviable"]} | {key: "set aside" for key in about["aside"]}
    verdicts |= {mutant["key"]: known.get(mutant["key"], {"verdict": "not run"})["verdict"] for mutant in about["mutants"]}
    words = ["unviable", "killed", "timed out", "survived", "undecided", "not run", "set aside"]
    rooms = {}
    for key, verdict in verdicts.items():
        room = re.sub(r"\.rs$", "", key.split(": ", 1)[0].removeprefix("shared/src/").split("/")[0])
        rooms.setdefault(room, dict.fromkeys(words, 0))[verdict] += 1
    everything = {word: sum(room[word] for room in rooms.values()) for word in words}
    print("| room | mutants | " + " | ".join(words) + " |")
    print("|---" + "|--:" * (len(words) + 1) + "|")
    for room, counts in [*sorted(rooms.items()), ("**all**", everything)]:
        label = room if room.startswith("*") else f"`{room}`"
        print(f"| {label} | {sum(counts.values())} | " + " | ".join(str(counts[word]) for word in words) + " |")
    lines = {mutant["key"]: mutant["line"] for mutant in about["mutants"]}
    for key, verdict in verdicts.items():
        if verdict in options.show:
            print(f"{verdict}: {key} (line {lines.get(key, '?')})")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    steps = parser.add_subparsers(required=True)
    for step in (build, cover, try_all, table):
        sub = steps.add_parser(step.__name__.removesuffix("_all"), help=step.__doc__)
        sub.set_defaults(step=step)
        sub.add_argument("--jobs", type=int, default=os.cpu_count(), help="tests at a time")
        sub.add_argument("--seconds", type=float, default=40, help="for one mutant")
        sub.add_argument("--again", default="undecided", help="also those of which this came out before; none for new ones only")
        sub.add_argument("--only", default="", help="mutants with this in their name: a file, a function")
        sub.add_argument("--show", nargs="*", default=[], help="verdicts whose mutants are listed")
    options = parser.parse_args()
    options.step(options)


if __name__ == "__main__":
    main()
