//! The verbs of a scenario, in Chromium.

use std::sync::Arc;

use anyhow::{Context, anyhow, bail, ensure};
use fantoccini::Locator;
use fantoccini::elements::Element;
use serde_json::{Value, json};
use tradepost_local::demo::Browse;
use url::Url;

use super::hands::TAB;
use super::process::Taste;
use super::{Chromium, folded};

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
    (document.querySelector(arguments[0]) || {dataset: {}}).dataset.state || '']";

/// The keyboard starts at the top again.
const UNFOCUSED: &str = "document.activeElement.blur(); window.getSelection().collapse(document.body, 0)";
/// What describes the element with the focus, if it is this one: only what can be seen.
const DESCRIBED: &str = "const here = document.activeElement;
    if (!here || !here.matches(arguments[0])) return null;
    return (here.getAttribute('aria-describedby') || '').split(/\\s+/).map(id => document.getElementById(id))
        .filter(found => found && found.checkVisibility({visibilityProperty: true, opacityProperty: true}))
        .map(found => found.innerText).join(' ')";
/// Nobody presses Tab more often than this to get somewhere.
const MOST_STOPS: usize = 100;

impl Chromium {
    /// Types into the fields of a form.
    async fn fill(&self, form: &Element, fill: &[(&str, &str)]) -> anyhow::Result<()> {
        for (name, value) in fill {
            let fields = form.find_all(Locator::Css(&format!("[name='{name}']"))).await?;
            let first = fields.first().ok_or_else(|| anyhow!("the form has no field {name}"))?;
            if first.tag_name().await? == "select" {
                first.select_by_value(value).await?;
                continue;
            }
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

    async fn press_on(&mut self, css: &str, fill: &[(&str, &str)]) -> anyhow::Result<()> {
        let pressed = self.element(css, "").await?;
        if !fill.is_empty() {
            let form = pressed.find(Locator::XPath("ancestor::form")).await?;
            self.fill(&form, fill).await?;
        }
        self.click_and_go(&pressed, css).await
    }

    async fn described(&mut self, css: &str) -> anyhow::Result<String> {
        self.script(UNFOCUSED, Vec::new()).await?;
        for _ in 0..MOST_STOPS {
            self.keys(TAB).await?;
            let seen = self.script(DESCRIBED, vec![json!(css)]).await?;
            if let Some(text) = seen.as_str() {
                return Ok(folded(text));
            }
        }
        bail!("the Tab key does not come to {css} {}", self.place().await)
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
        let answer = self.script_async(FETCH, vec![json!(path)]).await?;
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

    async fn turns(&mut self, css: &str, state: &str) -> anyhow::Result<()> {
        self.until(&format!("{css} turns to {state}"), || async {
            let seen = self.script(MARKED, vec![json!(css)]).await?;
            Ok(seen.get(1).and_then(Value::as_str) == Some(state))
        })
        .await?;
        let seen = self.script(MARKED, vec![json!(css)]).await?;
        ensure!(seen.get(0).and_then(Value::as_bool) == Some(true), "the page was loaded anew");
        self.appears(&format!("{css}[data-state={state}]")).await
    }
}
