//! What a run leaves in the log when it is over.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Log {
    /// What this thread logs from now on, until the guard is dropped.
    pub fn heard() -> (Self, impl Drop) {
        let log = Self::default();
        let guard = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish().set_default();
        (log, guard)
    }

    /// The lines of runs that are over since the last time this was asked: how grave, in which words.
    pub fn ends(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let ends = text.lines().filter(|line| line.contains("reconciliation: "));
        ends.map(|line| {
            let level = line.split_whitespace().nth(1).unwrap();
            let said = line.split_once("reconciliation: ").unwrap().1;
            format!("{level} {}", said.split(" marketplace=").next().unwrap())
        })
        .collect()
    }
}
