//! Changed documents. A document of the corpus is taken and changed in a few places, as JSON where it is JSON: members left
//! out, doubled, renamed, of another type, grafted from another document, nested as deep as may be; texts with what no
//! parser likes; and now and then the bytes themselves. Bytes decide what is done, so that a fuzzer can learn which ones
//! matter, and few bytes mean few changes.

use std::fmt;

use bolero::ValueGenerator;
use serde_json::Value;

/// Values that a member may have instead of its own.
const ODD: &[&[u8]] = &[
    b"null",
    b"true",
    b"false",
    b"0",
    b"-0",
    b"-1",
    b"0.1",
    b"20.0",
    b"1e3",
    b"1e999",
    b"-1.5e300",
    b"9007199254740993",
    b"18446744073709551615",
    b"18446744073709551616",
    b"99999999999999999999999999999999999999.999999999999999999999",
    b"\"\"",
    b"\" \"",
    b"\"x\"",
    b"\"0\"",
    b"\"-1\"",
    b"\"20\"",
    b"\"1e3\"",
    b"\"a|b\"",
    b"\"a#b\"",
    b"\"a b\"",
    b"\"/\"",
    b"\":\"",
    b"\"a\\u0000b\"",
    b"\"\\u0007\\r\\n\"",
    b"\"\\ud800\"",
    b"\"\\ud83d\\ude00\"",
    b"\"\xff\"",
    "\"\u{e9}\u{2028}\u{202e}\"".as_bytes(),
    b"\"<script>\"",
    b"\"https://elsewhere.example/\"",
    b"\"00000000-0000-0000-0000-000000000000\"",
    b"\"0001-01-01T00:00:00Z\"",
    b"\"2026-02-30T00:00:00Z\"",
    b"\"9999-12-31T23:59:59.9999999Z\"",
    b"\"-009999-01-01T00:00:00Z\"",
    b"\"2026-11-21T09:05:00\"",
    b"\"2026-11-21T09:05:60+23:59\"",
    b"[]",
    b"[[]]",
    b"[null]",
    b"{}",
    b"{\"id\":{}}",
    b"{\"\":0}",
];

/// What is put into a text.
const PIECES: &[&str] = &[
    "",
    "\u{0}",
    "\r\n",
    "\n",
    " ",
    "\"",
    "'",
    "\\",
    "%",
    "%00",
    "%ff",
    "%2",
    "+",
    "&",
    "=",
    ";",
    ",",
    ".",
    "..",
    "|",
    "#",
    "/",
    ":",
    "-",
    "0",
    "9",
    "é",
    "\u{1f600}",
    "\u{feff}",
    "\u{202e}",
    "{",
    "}",
    "[",
    "]",
    "null",
    "1e999",
    "-1",
    "token=",
];

/// A document as it is, or changed.
#[derive(Clone, PartialEq, Eq)]
pub struct Document(pub Vec<u8>);

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = String::from_utf8_lossy(self.0.get(..4000).unwrap_or(&self.0)).into_owned();
        write!(f, "{} bytes: {shown}", self.0.len())
    }
}

/// Documents made of these; one that is JSON is changed as such.
pub fn changed(corpus: Vec<Vec<u8>>) -> impl ValueGenerator<Output = Document> {
    let trees: Vec<Option<Node>> =
        corpus.iter().map(|one| serde_json::from_slice::<Value>(one).ok().map(|value| Node::of(&value))).collect();
    bolero::produce::<Vec<u8>>().with().len(0_usize..160).map_gen(move |choices| {
        let mut choices = Choices(&choices);
        let at = choices.below(corpus.len());
        let mut bytes = match trees.get(at) {
            Some(Some(tree)) => {
                let mut tree = tree.clone();
                for _ in 0..=choices.below(4) {
                    change(&mut tree, &trees, &mut choices);
                }
                let mut bytes = Vec::new();
                tree.write(&mut bytes);
                if choices.below(4) > 0 {
                    return Document(bytes);
                }
                bytes
            }
            _ => corpus.get(at).cloned().unwrap_or_default(),
        };
        for _ in 0..=choices.below(4) {
            change_bytes(&mut bytes, &corpus, &mut choices);
        }
        Document(bytes)
    })
}

/// Decides by bytes; where none is left, for the first of everything.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> usize {
        let (first, rest) = self.0.split_first().map_or((0, &[][..]), |(first, rest)| (*first, rest));
        self.0 = rest;
        usize::from(first)
    }

    fn below(&mut self, limit: usize) -> usize {
        let number = if limit > 256 { self.byte() * 256 + self.byte() } else { self.byte() };
        if limit == 0 { 0 } else { number % limit }
    }

    fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len())]
    }
}

/// JSON as it may be written, whether it is good or not: members in their order, one name perhaps twice.
#[derive(Clone)]
enum Node {
    Members(Vec<(String, Node)>),
    Items(Vec<Node>),
    Raw(Vec<u8>),
}

impl Node {
    fn of(value: &Value) -> Self {
        match value {
            Value::Object(members) => {
                Self::Members(members.iter().map(|(name, inner)| (name.clone(), Self::of(inner))).collect())
            }
            Value::Array(items) => Self::Items(items.iter().map(Self::of).collect()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Self::Raw(value.to_string().into()),
        }
    }

    fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Members(members) => {
                to.push(b'{');
                for (at, (name, inner)) in members.iter().enumerate() {
                    to.extend_from_slice(if at > 0 { b"," } else { b"" });
                    to.extend_from_slice(Value::from(name.as_str()).to_string().as_bytes());
                    to.push(b':');
                    inner.write(to);
                }
                to.push(b'}');
            }
            Self::Items(items) => {
                to.push(b'[');
                for (at, inner) in items.iter().enumerate() {
                    to.extend_from_slice(if at > 0 { b"," } else { b"" });
                    inner.write(to);
                }
                to.push(b']');
            }
            Self::Raw(bytes) => to.extend_from_slice(bytes),
        }
    }

    fn count(&self) -> usize {
        1 + match self {
            Self::Members(members) => members.iter().map(|(_, inner)| inner.count()).sum(),
            Self::Items(items) => items.iter().map(Self::count).sum(),
            Self::Raw(_) => 0,
        }
    }

    /// The node of that number, the document itself being the first.
    fn nth(&mut self, number: &mut usize) -> Option<&mut Self> {
        if *number == 0 {
            return Some(self);
        }
        *number -= 1;
        match self {
            Self::Members(members) => members.iter_mut().find_map(|(_, inner)| inner.nth(number)),
            Self::Items(items) => items.iter_mut().find_map(|inner| inner.nth(number)),
            Self::Raw(_) => None,
        }
    }
}

fn change(tree: &mut Node, trees: &[Option<Node>], choices: &mut Choices<'_>) {
    let mut number = choices.below(tree.count());
    let Some(node) = tree.nth(&mut number) else { return };
    let way = choices.below(10);
    match (way, &mut *node) {
        (0 | 1, node) => *node = Node::Raw(choices.pick(ODD).to_vec()),
        (2, Node::Members(members)) if !members.is_empty() => drop(members.remove(choices.below(members.len()))),
        (2, Node::Items(items)) if !items.is_empty() => drop(items.remove(choices.below(items.len()))),
        (3, Node::Members(members)) if !members.is_empty() => {
            let (name, _) = members[choices.below(members.len())].clone();
            let again = Node::Raw(choices.pick(ODD).to_vec());
            members.insert(choices.below(members.len()), (name, again));
        }
        (3, Node::Items(items)) if !items.is_empty() => {
            let again = items[choices.below(items.len())].clone();
            items.extend(std::iter::repeat_n(again, 1 + choices.below(30)));
        }
        (4, Node::Members(members)) if !members.is_empty() => {
            let at = choices.below(members.len());
            let name = &mut members[at].0;
            *name = match choices.below(4) {
                0 => name.to_uppercase(),
                1 => name.to_lowercase(),
                2 => format!("{name}{}", choices.pick(PIECES)),
                _ => (*choices.pick(PIECES)).to_owned(),
            };
        }
        (5, node) => {
            let from = choices.below(trees.len());
            if let Some(Some(mut other)) = trees.get(from).cloned() {
                let mut number = choices.below(other.count());
                if let Some(graft) = other.nth(&mut number) {
                    *node = graft.clone();
                }
            }
        }
        // As text inside text, once more or once less.
        (6, node) => {
            let mut inner = Vec::new();
            node.write(&mut inner);
            let inner = String::from_utf8_lossy(&inner).into_owned();
            *node = match serde_json::from_str::<String>(&inner).ok().and_then(|text| serde_json::from_str(&text).ok())
            {
                Some(value) => Node::of(&value),
                None => Node::Raw(Value::from(inner).to_string().into()),
            };
        }
        (7, node) => {
            let levels = [1, 2, 60, 126, 127, 128, 200, 3000][choices.below(8)];
            let (open, close) = if choices.below(2) == 0 { ("[", "]") } else { ("{\"a\":", "}") };
            let mut nested = open.repeat(levels).into_bytes();
            node.write(&mut nested);
            nested.extend(close.repeat(levels).bytes());
            *node = Node::Raw(nested);
        }
        (_, Node::Raw(raw)) if raw.starts_with(b"\"") => {
            let text: String = serde_json::from_slice(raw).unwrap_or_default();
            *raw = Value::from(change_text(&text, choices)).to_string().into();
        }
        (_, node) => *node = Node::Raw(choices.pick(ODD).to_vec()),
    }
}

fn change_text(text: &str, choices: &mut Choices<'_>) -> String {
    let mut at = choices.below(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let (before, after) = text.split_at(at);
    match choices.below(6) {
        0 => before.to_owned(),
        1 => after.to_owned(),
        2 => format!("{before}{}{after}", choices.pick(PIECES)),
        3 => format!("{before}{}", after.chars().skip(1).collect::<String>()),
        4 => text.repeat([2, 9, 40, 2000][choices.below(4)]),
        _ => format!("{before}{}{after}", choices.pick(PIECES).repeat([1, 256, 1025, 20_000][choices.below(4)])),
    }
}

fn change_bytes(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], choices: &mut Choices<'_>) {
    let at = choices.below(bytes.len() + 1);
    let end = (at + choices.below(40)).min(bytes.len());
    match choices.below(8) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let again = bytes[at..end].repeat(1 + choices.below(20));
            bytes.splice(at..at, again);
        }
        3 => {
            let new = u8::try_from(choices.byte()).unwrap_or_default();
            bytes.splice(at..end.min(at + 1), [new]);
        }
        4 | 5 => drop(bytes.splice(at..at, choices.pick(PIECES).bytes())),
        6 => {
            let other = choices.pick(corpus);
            let from = choices.below(other.len() + 1);
            bytes.splice(at.., other[from..].iter().copied());
        }
        _ => {
            // One line twice, or in another place.
            let lines: Vec<Vec<u8>> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            if !lines.is_empty() {
                let line = choices.pick(&lines).clone();
                let before = choices.below(lines.len() + 1);
                *bytes = [lines[..before].concat(), line, lines[before..].concat()].concat();
            }
        }
    }
}
