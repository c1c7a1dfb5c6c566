//! A real Chromium without a screen, driven through chromedriver as a person would drive it: typing into fields,
//! clicking links and buttons that can be seen.
//!
//! Nothing here sleeps for a fixed time: every wait asks for a condition again and again, up to a limit, and says
//! where the browser was and what the page said when it gives up. That a click has led to another page is seen by
//! the document's time of birth.

mod command;
mod hands;
mod process;
mod verbs;

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use fantoccini::elements::Element;
use fantoccini::wd::WindowHandle;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tradepost_local::demo::Browse;

use command::{Devtools, Log};
pub use hands::{ENTER, ESCAPE, TAB};
pub use process::Taste;
use process::{INSTALL, Process};

/// How long to wait for what must come, also on a machine that is busy.
pub const LIMIT: Duration = Duration::from_secs(30);
const ASK_AGAIN: Duration = Duration::from_millis(25);

/// One tab.
#[derive(Clone, Debug)]
pub struct Chromium {
    browser: Arc<Running>,
    tab: WindowHandle,
}

#[derive(Debug)]
struct Running {
    client: Client,
    /// The tab that commands go to.
    current: Mutex<WindowHandle>,
    /// Ends after the client.
    _process: Process,
}

/// The commands of a tab: no other tab's come between them while it is held.
struct Turn<'a> {
    client: &'a Client,
    _current: tokio::sync::MutexGuard<'a, WindowHandle>,
}

impl std::ops::Deref for Turn<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client
    }
}

impl Chromium {
    /// A fresh browser of this kind.
    pub async fn with(taste: Taste) -> anyhow::Result<Self> {
        let process = Process::start().await?;
        let Value::Object(wanted) = process.capabilities(taste) else { bail!("no capabilities") };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(wanted)
            .connect(&process.address)
            .await
            .with_context(|| format!("chromedriver could not start Chromium; {INSTALL}"))?;
        let tab = client.window().await?;
        let browser = Running { client, current: Mutex::new(tab.clone()), _process: process };
        Ok(Self { browser: Arc::new(browser), tab })
    }

    async fn turn(&self) -> anyhow::Result<Turn<'_>> {
        let mut current = self.browser.current.lock().await;
        if *current != self.tab {
            self.browser.client.switch_to_window(self.tab.clone()).await?;
            *current = self.tab.clone();
        }
        Ok(Turn { client: &self.browser.client, _current: current })
    }

    /// Runs a script in the page and returns what it returns.
    pub async fn script(&self, script: &str, arguments: Vec<Value>) -> anyhow::Result<Value> {
        Ok(self.turn().await?.execute(script, arguments).await?)
    }

    /// The same with a script that calls its last argument when it is done.
    pub async fn script_async(&self, script: &str, arguments: Vec<Value>) -> anyhow::Result<Value> {
        Ok(self.turn().await?.execute_async(script, arguments).await?)
    }

    /// A command of the DevTools protocol.
    pub async fn devtools(&self, method: &'static str, parameters: Value) -> anyhow::Result<Value> {
        Ok(self.turn().await?.issue_cmd(Devtools { method, parameters }).await?)
    }

    /// What the console has said since it was last asked.
    pub async fn console(&self) -> anyhow::Result<Vec<Value>> {
        let log = self.turn().await?.issue_cmd(Log).await?;
        log.as_array().cloned().with_context(|| format!("not a log: {log}"))
    }

    /// Waits until `css` can be seen.
    pub async fn appears(&self, css: &str) -> anyhow::Result<()> {
        self.until(&format!("{css} appears"), || async {
            let seen = self.script(SEEN, vec![json!(css)]).await?;
            Ok(seen.as_bool().unwrap_or_default())
        })
        .await
    }

    /// Waits until the snippet shows `css` in the vendor's console.
    pub async fn shows_in_console(&self, css: &str) -> anyhow::Result<()> {
        self.until(&format!("the snippet shows {css}"), || async { Ok(self.in_console(css).await?.is_string()) }).await
    }

    /// What the snippet says in `css`; null if it shows no such thing.
    pub async fn in_console(&self, css: &str) -> anyhow::Result<Value> {
        self.script(IN_CONSOLE, vec![json!(css)]).await
    }

    /// Waits until something holds, up to the limit. What cannot be asked while a page is being left is asked again.
    pub async fn until<F>(&self, what: &str, mut holds: impl FnMut() -> F) -> anyhow::Result<()>
    where
        F: Future<Output = anyhow::Result<bool>>,
    {
        let start = Instant::now();
        let mut seen = "never asked".to_owned();
        while start.elapsed() < LIMIT {
            seen = match holds().await {
                Ok(true) => return Ok(()),
                Ok(false) => "it does not".to_owned(),
                Err(error) => format!("{error:#}"),
            };
            tokio::time::sleep(ASK_AGAIN).await;
        }
        bail!("{what}: not within {} s ({seen}) {}", LIMIT.as_secs(), self.place().await)
    }

    /// Does what leads to another page, and waits until that is there.
    pub async fn going(&self, what: &str, act: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
        let before = self.script(BORN, Vec::new()).await?;
        act.await?;
        self.until(&format!("{what} leads to another page"), || async {
            let now = self.script(BORN_AND_READY, Vec::new()).await?;
            Ok(now.get(0) != Some(&before) && now.get(1).and_then(Value::as_str) == Some("complete"))
        })
        .await
    }

    /// Where the browser is, what it says and what its console says, for an error.
    async fn place(&self) -> String {
        let url = Browse::url(self).await.map_or_else(|error| error.to_string(), |url| url.to_string());
        let text = Browse::text(self).await.unwrap_or_else(|error| error.to_string());
        let console = self.console().await.unwrap_or_default();
        let lines = console.iter().filter_map(|line| line.get("message").and_then(Value::as_str));
        let console = lines.map(|line| format!("\nconsole: {line}")).collect::<String>();
        format!("on {url}: {}{console}", text.chars().take(400).collect::<String>())
    }

    /// The first that can be seen of what `css` selects and whose text has `text`.
    pub async fn element(&self, css: &str, text: &str) -> anyhow::Result<Element> {
        let turn = self.turn().await?;
        for found in turn.find_all(Locator::Css(css)).await? {
            let words = if text.is_empty() { String::new() } else { folded(&found.text().await?) };
            if words.contains(text) && found.is_displayed().await? {
                return Ok(found);
            }
        }
        drop(turn);
        let named = if text.is_empty() { String::new() } else { format!(" with \u{201c}{text}\u{201d}") };
        bail!("no {css}{named} can be seen {}", self.place().await)
    }

    /// Clicks what leads to another page.
    pub async fn click_and_go(&self, element: &Element, what: impl Display) -> anyhow::Result<()> {
        self.going(&format!("clicking {what}"), async { Ok(element.click().await?) }).await
    }
}

/// When the page's document was made.
const BORN: &str = "return performance.timeOrigin";
const BORN_AND_READY: &str = "return [performance.timeOrigin, document.readyState]";
const IN_CONSOLE: &str =
    "const found = document.querySelector('tradepost-status')?.shadowRoot.querySelector(arguments[0]);
    return found?.checkVisibility() ? found.innerText.replace(/\\s+/g, ' ') : null";
const SEEN: &str = "const found = document.querySelector(arguments[0]); return !!found && found.checkVisibility()";

fn folded(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
