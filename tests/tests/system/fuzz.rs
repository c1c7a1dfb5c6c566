//! Every parser that reads what somebody else wrote, with documents as they are recorded and with changed ones (see
//! `changes`). More is held than that nothing panics: what is refused is refused with a reason, and what is accepted is what
//! the rest of the code relies on.
//!
//! A run plays the corpus (`fuzz/corpus`, and the recorded shapes of other tests) as it is, then a fixed number of changed
//! documents; `BOLERO_RANDOM_ITERATIONS` in the environment sets another. A failure prints the document, made as small as
//! may be, and the seed: `BOLERO_RANDOM_SEED` plays it again. What failed once belongs into the corpus. The same targets run
//! under a fuzzer that learns with `cargo bolero test`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a target says what must hold, and the changes are made to what is there"
)]

mod browser;
mod changes;
mod from_a_provider;
mod from_aws;
mod from_entra;
mod from_microsoft;
mod from_sns;
mod from_the_vendor;
mod policies;
mod usage;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use system_tests::world::World;
use tokio::runtime::Runtime;

/// Changed documents of a target that is one call of a function.
const PURE: usize = 2500;
/// Of one that asks over a socket or the ledger.
const ASKED: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The files of a folder below the root of the repository, by name.
fn recorded(folder: &str) -> Vec<Vec<u8>> {
    let folder = root().join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// The documents kept for a target.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    recorded(&format!("tests/tests/system/fuzz/corpus/{target}"))
}

/// A target is played with the corpus as it is, and then with changed documents.
macro_rules! play {
    ($corpus:expr, $iterations:expr, $target:expr) => {{
        let corpus: Vec<Vec<u8>> = $corpus;
        assert!(!corpus.is_empty());
        corpus.iter().for_each(|document| $target(document));
        bolero::check!()
            .with_iterations($iterations)
            .with_generator(crate::fuzz::changes::changed(corpus))
            .for_each(|document| $target(&document.0));
    }};
}
use play;

/// What is asked over a socket or the ledger is asked of one stack.
struct Asking {
    runtime: Runtime,
    world: World,
}

fn asking() -> &'static Asking {
    static ASKING: OnceLock<Asking> = OnceLock::new();
    ASKING.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let world = runtime.block_on(World::new()).unwrap();
        Asking { runtime, world }
    })
}

/// A text that a key may be made of.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 512 && !text.chars().any(char::is_control)
}
