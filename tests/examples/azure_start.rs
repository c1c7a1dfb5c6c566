//! How fast and how small the Azure handler's release binary is, against the services of the tests:
//! `cargo run -p system-tests --example azure_start`.
//!
//! *start* is the time from spawning the process to its first answer to the host's `GET /`. *first* and *warm* are whole
//! answers, the services' own time on the loopback included. Figures depend on the machine: they inform and never fail
//! anything.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use system_tests::azure_app::Surroundings;
use system_tests::lambda_host::process::binary;

const STARTS: usize = 15;
const WEBHOOKS: usize = 50;

/// The handler as its own process, with nothing in its environment but what the host and the app's settings put there.
struct Handler {
    child: Child,
    at: SocketAddr,
    ready: Duration,
}

impl Drop for Handler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Handler {
    fn start(environment: &[(String, String)]) -> anyhow::Result<Self> {
        let at = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let mut command = Command::new(binary("tradepost")?);
        command.env_clear().envs(environment.iter().cloned());
        command.env("FUNCTIONS_CUSTOMHANDLER_PORT", at.port().to_string());
        command.env("TRADEPOST_POLICY", concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/emqx.toml"));
        let spawned = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn()?;
        let mut handler = Self { child, at, ready: Duration::ZERO };
        loop {
            if handler.asked().is_ok() {
                handler.ready = spawned.elapsed();
                return Ok(handler);
            }
            ensure!(spawned.elapsed() < Duration::from_secs(10), "the handler does not answer");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// The host's question.
    fn asked(&self) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(self.at)?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Ok(())
    }

    /// The most memory it has held so far, in megabytes with one place.
    fn peak(&self) -> anyhow::Result<String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(format!("{}.{}", kilobytes / 1024, kilobytes % 1024 * 10 / 1024))
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let around = Surroundings::open().await?;
    let environment = around.environment(&[]);
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(Handler::start(&environment)?.ready);
    }
    let handler = Handler::start(&environment)?;
    let at_start = handler.peak()?;
    let client = reqwest::Client::new();

    let page = Instant::now();
    let shown = client.get(format!("http://{}/api/azure/landing", handler.at)).send().await?;
    let page = page.elapsed();
    ensure!(shown.status().is_success(), "{}", shown.status());
    let after_page = handler.peak()?;

    let mut webhooks = Vec::new();
    for _ in 0..WEBHOOKS {
        around.buy("instant").await?;
        let call = around.market.take_due().pop().context("a webhook")?;
        let mut request = client.post(format!("http://{}/api/azure/webhook", handler.at)).body(call.body.clone());
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        let sent = Instant::now();
        let status = request.send().await?.status();
        webhooks.push(sent.elapsed());
        ensure!(status.is_success(), "{status}");
        around.market.answered(&call.id, Some(status.as_u16()));
    }
    let first = webhooks.remove(0);
    starts.sort_unstable();
    webhooks.sort_unstable();

    let size = std::fs::metadata(binary("tradepost")?)?.len();
    let rows = [
        ("start to first answer, min", ms(starts.first().copied())),
        ("start to first answer, median", ms(starts.get(STARTS / 2).copied())),
        ("start to first answer, worst", ms(starts.last().copied())),
        ("first page (the handler is made)", ms(Some(page))),
        ("first webhook (keys, tokens, role)", ms(Some(first))),
        ("warm webhook, median", ms(webhooks.get(webhooks.len() / 2).copied())),
        ("warm webhook, p95", ms(webhooks.get(webhooks.len().saturating_sub(1) * 95 / 100).copied())),
        ("memory at start, MB", at_start),
        ("memory after a page, MB", after_page),
        ("memory after the webhooks, MB", handler.peak()?),
        ("binary, MB", format!("{}.{}", size / 1_048_576, size % 1_048_576 * 10 / 1_048_576)),
    ];
    println!("times in milliseconds, memory is VmHWM\n");
    for (what, figure) in rows {
        println!("{what:<36}{figure:>8}");
    }
    Ok(())
}

/// In milliseconds, two places.
fn ms(duration: Option<Duration>) -> String {
    let micros = duration.unwrap_or_default().as_micros();
    format!("{}.{:02}", micros / 1000, micros % 1000 / 10)
}
