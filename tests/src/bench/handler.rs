//! The handler on Azure: from its start to its first answer, its pages, its webhooks, its memory; beside it one that does
//! nothing. Microsoft, the vendor, AWS's Security Token Service and DynamoDB are those of the tests, over HTTP.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::Bench;
use super::figures::{mb, median, ms};
use super::programs::{HANDLER, Sizes};
use super::table::Table;
use crate::azure_app::Surroundings;
use crate::lambda_host::Program;
use crate::lambda_host::process::peak_kilobytes;

/// Starts of each.
const STARTS: usize = 25;
/// Pages, and webhooks, of a warm handler.
const EVENTS: usize = 100;
const PAGE: &str = "/api/azure/landing";

/// What was seen.
pub(super) struct Handler {
    pub start: Duration,
    first_page: Duration,
    page: Duration,
    webhook: Duration,
    /// In bytes.
    peak: u64,
    pub sizes: Sizes,
    nothing: Option<Nothing>,
}

/// A handler that does nothing.
struct Nothing {
    start: Duration,
    page: Duration,
    peak: u64,
}

impl Handler {
    pub fn table(&self) -> Table {
        let head = ["handler", "start", "first page", "page", "webhook", "peak MB", "binary MB", "zip MB"];
        let mut table = Table::new(1, &head);
        let package = self.sizes.package.map_or_else(|| "–".to_owned(), mb);
        let times = [self.start, self.first_page, self.page, self.webhook].map(ms);
        let sizes = [mb(self.peak), mb(self.sizes.binary), package];
        table.row([HANDLER.to_owned()].into_iter().chain(times).chain(sizes));
        if let Some(Nothing { start, page, peak }) = &self.nothing {
            let dash = || "–".to_owned();
            let name = "does nothing, Node".to_owned();
            table.row([name, ms(*start), dash(), ms(*page), dash(), mb(*peak), dash(), dash()]);
        }
        table
    }

    /// Name, start, and whether it is ours.
    pub fn starts(&self) -> impl Iterator<Item = (String, Duration, bool)> {
        let nothing =
            self.nothing.as_ref().map(|nothing| ("does nothing, Node (Azure)".to_owned(), nothing.start, false));
        std::iter::once((format!("{HANDLER} (Azure)"), self.start, true)).chain(nothing)
    }

    /// Name, peak memory, and whether it is ours.
    pub fn peaks(&self) -> impl Iterator<Item = (String, u64, bool)> {
        let nothing =
            self.nothing.as_ref().map(|nothing| ("does nothing, Node (Azure)".to_owned(), nothing.peak, false));
        std::iter::once((format!("{HANDLER} (Azure)"), self.peak, true)).chain(nothing)
    }
}

pub(super) async fn measured(bench: &Bench) -> anyhow::Result<Handler> {
    let around = Surroundings::open().await?;
    let environment = around.environment(&[]);
    let (ours, nothing) = (bench.programs.program(HANDLER), bench.programs.under_node("empty_handler.mjs"));
    let (mut starts, mut empty) = (Vec::new(), Vec::new());
    let rounds = bench.times(STARTS, 2);
    for round in 0..rounds {
        starts.push(Running::start(&ours, &environment)?.ready);
        if let Some(nothing) = &nothing {
            empty.push(Running::start(nothing, &environment)?.ready);
        }
        bench.terminal.bar("starts on Azure", round as u64 + 1, rounds as u64);
    }
    let handler = Running::start(&ours, &environment)?;
    let client = reqwest::Client::new();
    let first_page = handler.page(&client).await?;
    let mut pages = Vec::new();
    let mut webhooks = Vec::new();
    for number in 0..bench.times(EVENTS, 3) {
        pages.push(handler.page(&client).await?);
        let webhook = handler.webhook(&client, &around).await?;
        // The first one fetches keys and takes the role.
        if number > 0 {
            webhooks.push(webhook);
        }
    }
    let nothing = match nothing {
        Some(nothing) => Some(idle(&nothing, &environment, &client, &empty, bench.times(EVENTS, 3)).await?),
        None => None,
    };
    Ok(Handler {
        start: median(&starts),
        first_page,
        page: median(&pages),
        webhook: median(&webhooks),
        peak: handler.peak()?,
        sizes: bench.programs.sizes(HANDLER)?,
        nothing,
    })
}

async fn idle(
    program: &Program,
    environment: &[(String, String)],
    client: &reqwest::Client,
    starts: &[Duration],
    pages: usize,
) -> anyhow::Result<Nothing> {
    let running = Running::start(program, environment)?;
    let mut seen = Vec::new();
    for _ in 0..=pages {
        seen.push(running.page(client).await?);
    }
    Ok(Nothing { start: median(starts), page: median(seen.get(1..).unwrap_or_default()), peak: running.peak()? })
}

/// A handler as its own process, with nothing in its environment but what the host and the app's settings put there.
struct Running {
    child: Child,
    at: SocketAddr,
    ready: Duration,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(program: &Program, environment: &[(String, String)]) -> anyhow::Result<Self> {
        let at = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let mut command = Command::new(&program.path);
        command.args(&program.arguments).env_clear().envs(environment.iter().cloned());
        command.env("FUNCTIONS_CUSTOMHANDLER_PORT", at.port().to_string());
        command.env("TRADEPOST_POLICY", concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/emqx.toml"));
        let spawned = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn()?;
        let mut running = Self { child, at, ready: Duration::ZERO };
        while running.asked().is_err() {
            ensure!(spawned.elapsed() < Duration::from_secs(10), "the handler does not answer");
            std::thread::sleep(Duration::from_micros(200));
        }
        running.ready = spawned.elapsed();
        Ok(running)
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

    /// How long a page takes; it asks nobody for anything.
    async fn page(&self, client: &reqwest::Client) -> anyhow::Result<Duration> {
        let sent = Instant::now();
        let shown = client.get(format!("http://{}{PAGE}", self.at)).send().await?;
        ensure!(shown.status().is_success(), "{}", shown.status());
        shown.bytes().await?;
        Ok(sent.elapsed())
    }

    /// How long a webhook takes, with everything it asks of others.
    async fn webhook(&self, client: &reqwest::Client, around: &Surroundings) -> anyhow::Result<Duration> {
        around.buy("instant").await?;
        let call = around.market.take_due().pop().context("no webhook")?;
        let mut request = client.post(format!("http://{}/api/azure/webhook", self.at)).body(call.body.clone());
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        let sent = Instant::now();
        let status = request.send().await?.status();
        let took = sent.elapsed();
        ensure!(status.is_success(), "{status}");
        around.market.answered(&call.id, Some(status.as_u16()));
        Ok(took)
    }

    /// The most memory it has held so far, in bytes.
    fn peak(&self) -> anyhow::Result<u64> {
        Ok(peak_kilobytes(self.child.id())?.saturating_mul(1024))
    }
}
