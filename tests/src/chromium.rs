//! A real Chromium without a screen, driven through chromedriver as a person would drive it: typing into fields,
//! clicking links and buttons that can be seen.
//!
//! Nothing here sleeps for a fixed time: every wait asks for a condition again and again, up to a limit, and says
//! where the browser was and what the page said when it gives up. That a click has led to another page is seen by
//! the document's time of birth.

mod command;
mod process;

use std::fmt::Display;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use fantoccini::elements::Element;
use fantoccini::wd::WindowHandle;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tradepost_local::demo::Browse;
use url::Url;

use command::{Devtools, Log};
use process::Process;
pub use process::Taste;

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
            .context("Chromium could not be started by chromedriver")?;
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

    /// A command of the DevTools protocol.
    pub async fn devtools(&self, method: &'static str, parameters: Value) -> anyhow::Result<Value> {
        Ok(self.turn().await?.issue_cmd(Devtools { method, parameters }).await?)
    }

    /// What the console has said since it was last asked.
    pub async fn console(&self) -> anyhow::Result<Vec<Value>> {
        match self.turn().await?.issue_cmd(Log).await? {
            Value::Array(lines) => Ok(lines),
            other => bail!("not a log: {other}"),
        }
    }

    /// Presses keys, as on a keyboard: wherever the focus is.
    pub async fn keys(&self, keys: &str) -> anyhow::Result<()> {
        let turn = self.turn().await?;
        Ok(turn.active_element().await?.send_keys(keys).await?)
    }

    /// Presses a key that leads to another page.
    pub async fn keys_and_go(&self, keys: &str) -> anyhow::Result<()> {
        self.going(&format!("pressing {keys:?}"), self.keys(keys)).await
    }

    /// The Back button.
    pub async fn back(&self) -> anyhow::Result<()> {
        self.going("Back", async { Ok(self.turn().await?.back().await?) }).await
    }

    /// The Reload button.
    pub async fn reload(&self) -> anyhow::Result<()> {
        self.going("Reload", async { Ok(self.turn().await?.refresh().await?) }).await
    }

    /// Writes a picture of the page as it is on the screen.
    pub async fn screenshot(&self, to: &Path) -> anyhow::Result<()> {
        let picture = self.turn().await?.screenshot().await?;
        std::fs::write(to, picture).with_context(|| format!("{} cannot be written", to.display()))
    }

    /// Waits until `css` can be seen.
    pub async fn appears(&self, css: &str) -> anyhow::Result<()> {
        self.until(&format!("{css} appears"), || async {
            let seen = self.script(SEEN, vec![json!(css)]).await?;
            Ok(seen.as_bool().unwrap_or_default())
        })
        .await
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

    /// Where the browser is and what it says, for an error.
    async fn place(&self) -> String {
        let url = Browse::url(self).await.map_or_else(|error| error.to_string(), |url| url.to_string());
        let text = Browse::text(self).await.unwrap_or_else(|error| error.to_string());
        format!("on {url}: {}", text.chars().take(400).collect::<String>())
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

    /// Types into the fields of a form.
    async fn fill(&self, form: &Element, fill: &[(&str, &str)]) -> anyhow::Result<()> {
        for (name, value) in fill {
            let fields = form.find_all(Locator::Css(&format!("[name='{name}']"))).await?;
            let first = fields.first().ok_or_else(|| anyhow!("the form has no field {name}"))?;
            match first.attr("type").await?.unwrap_or_default().as_str() {
                "radio" => {
                    for field in &fields {
                        if field.attr("value").await?.as_deref() == Some(value) {
                            field.click().await?;
                        }
                    }
                }
                "checkbox" => {
                    if !first.is_selected().await? {
                        first.click().await?;
                    }
                }
                _ => {
                    first.clear().await?;
                    first.send_keys(value).await?;
                }
            }
        }
        Ok(())
    }
}

/// When the page's document was made.
const BORN: &str = "return performance.timeOrigin";
const BORN_AND_READY: &str = "return [performance.timeOrigin, document.readyState]";
const SEEN: &str = "const found = document.querySelector(arguments[0]); return !!found && found.checkVisibility()";
const STATUS: &str = "return performance.getEntriesByType('navigation')[0].responseStatus";
const TEXT: &str = "return (document.querySelector('main') || document.body || {innerText: ''}).innerText";
const FETCH: &str = "const done = arguments[1];
    fetch(arguments[0], {headers: {accept: 'application/json'}})
        .then(answer => answer.json()).then(done, error => done({failed: String(error)}))";
const POST: &str = "const form = document.createElement('form');
    form.method = 'post'; form.action = arguments[0];
    for (const [name, value] of arguments[1]) {
        const field = document.createElement('input');
        field.type = 'hidden'; field.name = name; field.value = value; form.append(field);
    }
    document.body.append(form); form.submit()";
/// What a page that is loaded anew does not have.
const MARK: &str = "window.watchedByTheTest = true";
const MARKED: &str = "return [window.watchedByTheTest === true,
    (document.querySelector('#status') || {dataset: {}}).dataset.state || '']";

impl Browse for Chromium {
    async fn fresh() -> anyhow::Result<Self> {
        Self::with(Taste::default()).await
    }

    async fn open(&mut self, url: &str) -> anyhow::Result<()> {
        let turn = self.turn().await?;
        turn.goto(url).await.with_context(|| format!("{url} could not be opened"))
    }

    async fn click(&mut self, text: &str) -> anyhow::Result<()> {
        let link = self.element("a[href]", text).await?;
        self.click_and_go(&link, text).await
    }

    async fn follow(&mut self, css: &str) -> anyhow::Result<()> {
        let link = self.element(css, "").await?;
        self.click_and_go(&link, css).await
    }

    async fn unfold(&mut self, css: &str) -> anyhow::Result<()> {
        Ok(self.element(css, "").await?.click().await?)
    }

    async fn press(&mut self, button: &str, fill: &[(&str, &str)]) -> anyhow::Result<()> {
        let pressed = self.element("form button:not([aria-disabled=true])", button).await?;
        if !fill.is_empty() {
            let form = pressed.find(Locator::XPath("ancestor::form")).await?;
            self.fill(&form, fill).await?;
        }
        self.click_and_go(&pressed, button).await
    }

    async fn submit(&mut self, form: &str, fill: &[(&str, &str)]) -> anyhow::Result<()> {
        let found = self.turn().await?.find(Locator::Css(form)).await;
        let Ok(found) = found else { bail!("there is no {form} {}", self.place().await) };
        self.fill(&found, fill).await?;
        let button = self.element(&format!("{form} button:not([type=button])"), "").await?;
        self.click_and_go(&button, format!("the button of {form}")).await
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> anyhow::Result<()> {
        let to = Browse::url(self).await?.join(path)?.to_string();
        self.going(&format!("posting to {to}"), async {
            self.script(POST, vec![json!(to), json!(fields)]).await.map(|_| ())
        })
        .await
    }

    async fn fetch(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.turn().await?.execute_async(FETCH, vec![json!(path)]).await?;
        match answer.get("failed") {
            Some(failed) => bail!("{path} could not be fetched ({failed}) {}", self.place().await),
            None => Ok(answer),
        }
    }

    async fn url(&self) -> anyhow::Result<Url> {
        Ok(self.turn().await?.current_url().await?)
    }

    async fn status(&self) -> anyhow::Result<u16> {
        let status = self.script(STATUS, Vec::new()).await?;
        let status = status.as_u64().and_then(|status| u16::try_from(status).ok());
        status.context("the page has no status")
    }

    async fn text(&self) -> anyhow::Result<String> {
        Ok(folded(self.script(TEXT, Vec::new()).await?.as_str().unwrap_or_default()))
    }

    async fn text_of(&self, css: &str) -> anyhow::Result<String> {
        let found = self.turn().await?.find(Locator::Css(css)).await;
        let Ok(found) = found else { bail!("there is no {css} {}", self.place().await) };
        Ok(folded(&found.text().await?))
    }

    async fn value_of(&self, css: &str) -> anyhow::Result<String> {
        let found = self.turn().await?.find(Locator::Css(css)).await;
        let Ok(found) = found else { bail!("there is no {css} {}", self.place().await) };
        Ok(found.prop("value").await?.unwrap_or_default())
    }

    async fn has(&self, css: &str) -> anyhow::Result<bool> {
        Ok(!self.turn().await?.find_all(Locator::Css(css)).await?.is_empty())
    }

    async fn second_tab(&self) -> anyhow::Result<Self> {
        let fresh = self.turn().await?.new_window(true).await?;
        Ok(Self { browser: Arc::clone(&self.browser), tab: fresh.handle })
    }

    async fn watch(&mut self) -> anyhow::Result<()> {
        self.script(MARK, Vec::new()).await.map(|_| ())
    }

    async fn turns(&mut self, state: &str) -> anyhow::Result<()> {
        self.until(&format!("#status turns to {state}"), || async {
            let seen = self.script(MARKED, Vec::new()).await?;
            Ok(seen.get(1).and_then(Value::as_str) == Some(state))
        })
        .await?;
        let seen = self.script(MARKED, Vec::new()).await?;
        ensure!(seen.get(0).and_then(Value::as_bool) == Some(true), "the page was loaded anew");
        self.appears(&format!("#status[data-state={state}]")).await
    }
}

fn folded(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
