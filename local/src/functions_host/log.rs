//! The host's log: what the handler says and what the host says of it. As in the real one, a handler's stdout is
//! Information and its stderr is Error, or Warning if the line contains "warn" (read from source).

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::task::JoinHandle;

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Of the host about itself.
    Debug,
    /// As it should be.
    Information,
    /// Looked at if something is wrong.
    Warning,
    /// Something is wrong.
    Error,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How loud.
    pub level: Level,
    /// What.
    pub text: String,
    /// Whether the handler's process said it, and not the host.
    pub from_handler: bool,
}

/// The log. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Log {
    lines: Arc<Mutex<Vec<Line>>>,
}

impl Log {
    /// All lines so far.
    pub fn lines(&self) -> Vec<Line> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there is a line of this level with `text` in it.
    pub fn has(&self, level: Level, text: &str) -> bool {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().any(|line| line.level == level && line.text.contains(text))
    }

    pub(super) fn host(&self, level: Level, text: impl Into<String>) {
        self.add(Line { level, text: text.into(), from_handler: false });
    }

    /// Keeps a stream of the handler line by line.
    pub(super) fn keep(&self, stream: Option<impl AsyncRead + Unpin + Send + 'static>, stderr: bool) -> JoinHandle<()> {
        let log = self.clone();
        tokio::spawn(async move {
            let Some(stream) = stream else { return };
            let mut stream = BufReader::new(stream);
            let mut bytes = Vec::new();
            while let Ok(1..) = stream.read_until(b'\n', &mut bytes).await {
                let text = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
                let level = match stderr {
                    false => Level::Information,
                    true if text.to_ascii_lowercase().contains("warn") => Level::Warning,
                    true => Level::Error,
                };
                log.add(Line { level, text, from_handler: true });
                bytes.clear();
            }
        })
    }

    fn add(&self, line: Line) {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}
