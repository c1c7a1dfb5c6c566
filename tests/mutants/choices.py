"""Writes a copy of the core in which every mutant is compiled in, each behind a number that a variable chooses."""

import bisect
import dataclasses
import re

MARK = "tradepost_mutants"

# What a function asks first: which of its mutants is meant, if any. In a run that looks what is reached, the first
# call of each function is noted.
SWITCH = """
#[doc(hidden)]
#[allow(clippy::all)]
pub mod tradepost_mutants {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicBool, Ordering};

    static CHOSEN: LazyLock<u32> = LazyLock::new(|| {
        std::env::var("TRADEPOST_MUTANT").ok().and_then(|number| number.parse().ok()).unwrap_or(0)
    });
    static REACHED: LazyLock<Option<std::ffi::OsString>> = LazyLock::new(|| std::env::var_os("TRADEPOST_REACHED"));
    static SEEN: [AtomicBool; FUNCTIONS] = [const { AtomicBool::new(false) }; FUNCTIONS];

    pub fn choose(function: usize, first: u32, last: u32) -> u32 {
        if let Some(path) = &*REACHED {
            if !SEEN[function].swap(true, Ordering::Relaxed) {
                use std::io::Write;
                let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
                let _ = file.and_then(|mut file| file.write_all(format!("{function}\\n").as_bytes()));
            }
        }
        if (first..=last).contains(&*CHOSEN) { *CHOSEN } else { 0 }
    }
}
"""


@dataclasses.dataclass
class Mutant:
    """One way to be wrong. `number` is what chooses it, 0 while it is not compiled in."""

    file: str
    function: str
    what: str
    start: int
    end: int
    replacement: str
    scope: tuple[int, int]
    line: int
    nth: int = 1
    number: int = 0
    room: int = -1  # The number of its function.

    @property
    def key(self):
        """What it is called from one day to the next: lines move, this hardly does."""
        nth = "" if self.nth == 1 else f" #{self.nth}"
        return f"{self.file}: {self.what}{nth}"


class Source:
    """A file's text, and where its lines begin."""

    def __init__(self, text):
        self.text = text
        self.lines = [0] + [match.end() for match in re.finditer("\n", text)]

    def at(self, place):
        """Lines and columns are counted from 1, columns in characters."""
        return self.lines[place["line"] - 1] + place["column"] - 1

    def line_of(self, offset):
        return bisect.bisect_right(self.lines, offset)


def read(listed, root):
    """The mutants of `cargo mutants --list --json`; those outside a function come second."""
    sources, inside, outside, seen = {}, [], [], {}
    for entry in listed:
        file = entry["file"]
        source = sources.setdefault(file, Source((root / file).read_text()))
        function = entry.get("function")
        # "file:line:column: words in function": the words are the same tomorrow, the line is not.
        what = entry["name"].split(": ", 1)[-1]
        start, end = source.at(entry["span"]["start"]), source.at(entry["span"]["end"])
        scope = (source.at(function["span"]["start"]), source.at(function["span"]["end"])) if function else (0, 0)
        mutant = Mutant(
            file, function["function_name"] if function else "", what, start, end, entry["replacement"], scope, source.line_of(start)
        )
        same = (file, mutant.function, what)
        seen[same] = seen.get(same, 0) + 1
        mutant.nth = seen[same]
        can = function and not aside(source.text[scope[0] : scope[1]])
        (inside if can else outside).append(mutant)
    return sources, inside, outside


def aside(function):
    """Whether the bodies of this function cannot stand side by side in one `match`."""
    head = function[: body(function)[0]]
    return bool(re.search(r"\bconst\s+(unsafe\s+)?fn\b", head)) or bool(re.search(r"->\s*impl\b", head))


TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|b?r(\#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?'(?:\\[^\n]{1,10}?|[^'\\\n])'|[{}]""", re.DOTALL
)


def body(function):
    """Where the function's last block opens and closes, strings and comments passed over."""
    opened, found = [], (0, len(function))
    for token in TOKEN.finditer(function):
        if token.group() == "{":
            opened.append(token.start())
        elif token.group() == "}" and opened:
            found = (opened.pop(), token.end())
    return found


def write(source, mutants, functions):
    """The file's new text, and which lines of it are which mutant's: `(first, last, mutant)`."""
    by_scope = {}
    for mutant in mutants:
        by_scope.setdefault(mutant.scope, []).append(mutant)
    out, places, line, at = [], [], 1, 0

    def put(text):
        nonlocal line
        out.append(text)
        line += text.count("\n")

    text = source.text
    # A function in a function is left to the outer one's copies.
    for scope in sorted(by_scope):
        opens, closes = (scope[0] + place for place in body(text[scope[0] : scope[1]]))
        if opens < at:
            continue
        group = by_scope[scope]
        room = len(functions)
        functions.append(scope)
        put(text[at:opens])
        first, last = group[0].number, group[-1].number
        put(f"{{ match crate::{MARK}::choose({room}, {first}, {last}) {{\n")
        for mutant in group:
            mutant.room = room
            begins = line
            changed = text[opens : mutant.start] + mutant.replacement + text[mutant.end : closes]
            put(f"{mutant.number} => {changed}\n")
            places.append((begins, line - 1, mutant))
        put("_ => " + text[opens:closes] + "\n}}")
        at = closes
    put(text[at:])
    return "".join(out), places
