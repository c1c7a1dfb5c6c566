//! An app around the unruly handler, and what it saw.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tradepost_local::functions_host::{FunctionsHost, Options, State};

/// The functions of the recording and two more.
pub const FUNCTIONS: [(&str, &str); 4] = [
    (
        "hello",
        r#"{"bindings":[{"type":"httpTrigger","direction":"in","name":"req","authLevel":"anonymous","route":"hello/{*rest}","methods":["get","post"]},{"type":"http","direction":"out","name":"res"}]}"#,
    ),
    (
        "guarded",
        r#"{"bindings":[{"type":"httpTrigger","direction":"in","name":"req","route":"hello/guarded","methods":["post"]},{"type":"http","direction":"out","name":"res"}]}"#,
    ),
    ("tick", r#"{"bindings":[{"type":"timerTrigger","direction":"in","name":"t","schedule":"*/5 * * * * *"}]}"#),
    (
        "work",
        r#"{"bindings":[{"type":"queueTrigger","direction":"in","name":"item","queueName":"jobs","connection":"AzureWebJobsStorage"},{"type":"queue","direction":"out","name":"next","queueName":"others"}]}"#,
    ),
];

/// `host.json` with a switch for how requests go.
pub fn host_json(switch: &str) -> Value {
    let description = json!({"defaultExecutablePath": "handler", "arguments": ["--where %PLACE%", "%UNSET%"]});
    json!({
        "version": "2.0",
        "functionTimeout": "00:00:02",
        "extensions": {"queues": {"messageEncoding": "none"}},
        "extensionBundle": {"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.*, 5.0.0)"},
        "customHandler": {
            "description": description,
            "enableProxyingHttpRequest": switch == "enableProxyingHttpRequest",
            "enableForwardingHttpRequest": switch == "enableForwardingHttpRequest",
        },
    })
}

/// A new folder with the handler, these functions and this `host.json`.
pub fn folder(host: &Value, functions: &[(&str, &str)]) -> anyhow::Result<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("app-{}-{number}", std::process::id()));
    let _ = std::fs::remove_dir_all(&root);
    std::fs::create_dir_all(&root)?;
    std::fs::write(root.join("host.json"), host.to_string())?;
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_unruly_handler"), root.join("handler"))?;
    for (name, text) in functions {
        std::fs::create_dir(root.join(name))?;
        std::fs::write(root.join(name).join("function.json"), text)?;
    }
    Ok(root)
}

/// An app that runs.
pub struct App {
    pub root: PathBuf,
    pub host: FunctionsHost,
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

impl App {
    /// Runs the four functions with this switch and settings.
    pub async fn start(switch: &str, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::run(&host_json(switch), Options::default(), settings).await
    }

    /// Runs the four functions with this `host.json`.
    pub async fn run(host: &Value, options: Options, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let root = folder(host, &FUNCTIONS)?;
        let mut environment = vec![("ANSWER_FILE".to_owned(), root.join("answer").display().to_string())];
        environment.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        match FunctionsHost::start(&root, Options { environment, ..options }).await {
            Ok(host) => Ok(Self { root, host }),
            Err(e) => {
                std::fs::remove_dir_all(root)?;
                Err(e)
            }
        }
    }

    /// From now on envelopes are answered like this.
    pub fn answers(&self, how: &str) -> anyhow::Result<()> {
        Ok(std::fs::write(self.root.join("answer"), how)?)
    }

    /// What the handler printed: its starts, or its requests but for the polls.
    pub fn printed(&self, member: &str) -> Vec<Value> {
        let lines = self.host.log().lines().into_iter().filter(|line| line.from_handler);
        let lines = lines.filter_map(|line| serde_json::from_str::<Value>(&line.text).ok());
        lines.filter(|line| line.get(member).is_some() && line.get("path") != Some(&json!("/"))).collect()
    }

    /// Waits until the handler was started this often and answers.
    pub async fn started(&self, count: usize) -> anyhow::Result<()> {
        for _ in 0..2000 {
            if self.printed("started").len() >= count {
                return self.host.reaches(State::Ready, Duration::from_secs(20)).await;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("not started {count} times: {:?}", self.host.log().lines())
    }

    /// The last request it got, once there are `count`: its output takes a moment.
    pub async fn request(&self, count: usize) -> anyhow::Result<Value> {
        for _ in 0..200 {
            let mut requests = self.printed("path");
            if requests.len() >= count {
                return requests.pop().context("none");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("not {count} requests: {:?}", self.host.log().lines())
    }

    /// Sends a request as it stands, lines parted by `\n`, and gives status line, headers and body.
    pub async fn send(&self, head: &str, body: &str) -> anyhow::Result<(String, String, String)> {
        let address = self.host.url().replace("http://", "");
        let mut stream = TcpStream::connect(&address).await?;
        let head = head.replace("{host}", &address).replace('\n', "\r\n");
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await?;
        let mut answer = String::new();
        let mut buffer = [0; 8192];
        loop {
            if let Some((head, body)) = answer.split_once("\r\n\r\n")
                && whole(head, body)
            {
                let (status, headers) = head.split_once("\r\n").unwrap_or((head, ""));
                return Ok((status.to_owned(), headers.to_lowercase(), body.to_owned()));
            }
            let read = stream.read(&mut buffer).await?;
            anyhow::ensure!(read > 0, "cut off: {answer}");
            answer.push_str(&String::from_utf8_lossy(buffer.get(..read).unwrap_or_default()));
        }
    }
}

fn whole(head: &str, body: &str) -> bool {
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    match length {
        Some(length) => body.len() >= length,
        None if head.contains("transfer-encoding: chunked") => body.ends_with("0\r\n\r\n"),
        None => true,
    }
}

/// The headers of a request the handler printed, sorted, with what changes every time replaced by its form.
pub fn headers(request: &Value) -> Vec<String> {
    let form = |text: &str| text.chars().map(|c| if c.is_ascii_hexdigit() { 'h' } else { c }).collect::<String>();
    let lines = request["headers"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut lines: Vec<_> = lines
        .map(|line| match line.split_once(": ") {
            Some((name, value)) if name.ends_with("invocationid") || name.ends_with("invocation-id") => {
                format!("{name}: {}", form(value))
            }
            Some(("traceparent", value)) => format!("traceparent: {}", form(value)),
            Some(("host", value)) => format!("host: {}", value.split(':').next().unwrap_or_default()),
            _ => line.to_owned(),
        })
        .collect();
    lines.sort();
    lines
}
