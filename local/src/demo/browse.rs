//! What a person does with a browser, so that a scenario is written once and played in any: the browser without a
//! screen in `browser`, a real Chromium in the system tests.
//!
//! Every verb ends when the page it leads to is there. What is said of a page is what a person can read on it.

use std::future::Future;

use serde_json::Value;
use url::Url;

/// One tab of a browser.
pub trait Browse: Sized + Send + Sync {
    /// A fresh browser: no cookies, an empty page.
    fn fresh() -> impl Future<Output = anyhow::Result<Self>> + Send;

    /// Types an address.
    fn open(&mut self, url: &str) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Clicks the first link whose text contains `text`.
    fn click(&mut self, text: &str) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Clicks the link that `css` selects.
    fn follow(&mut self, css: &str) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Clicks what opens a part of the same page.
    fn unfold(&mut self, css: &str) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Fills in the form that has a button with this text, and presses it.
    fn press(&mut self, button: &str, fill: &[(&str, &str)]) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Fills in the form of the button that `css` selects, and presses that button.
    fn press_on(&mut self, css: &str, fill: &[(&str, &str)]) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Goes to what `css` selects with the Tab key, and reads what is said of it there: its description, which can be
    /// seen then.
    fn described(&mut self, css: &str) -> impl Future<Output = anyhow::Result<String>> + Send;

    /// Fills in the form that `form` selects, and presses its button.
    fn submit(&mut self, form: &str, fill: &[(&str, &str)]) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Posts fields to an address of the present page's site, as a person with the browser's tools could.
    fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// A JSON answer to a request of the page's own script.
    fn fetch(&self, path: &str) -> impl Future<Output = anyhow::Result<Value>> + Send;

    /// Where it is.
    fn url(&self) -> impl Future<Output = anyhow::Result<Url>> + Send;

    /// The page's HTTP status.
    fn status(&self) -> impl Future<Output = anyhow::Result<u16>> + Send;

    /// The text of the page, white space folded.
    fn text(&self) -> impl Future<Output = anyhow::Result<String>> + Send;

    /// The text of the element that `css` selects.
    fn text_of(&self, css: &str) -> impl Future<Output = anyhow::Result<String>> + Send;

    /// The value of the field that `css` selects.
    fn value_of(&self, css: &str) -> impl Future<Output = anyhow::Result<String>> + Send;

    /// Whether the page has such an element.
    fn has(&self, css: &str) -> impl Future<Output = anyhow::Result<bool>> + Send;

    /// Another tab of the same browser, on an empty page.
    fn second_tab(&self) -> impl Future<Output = anyhow::Result<Self>> + Send;

    /// From now on the page is watched: see `turns`.
    fn watch(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Waits until the `data-state` of what `css` selects is this; fails if the page was loaded anew since `watch`. A
    /// browser without scripts asks once what the page's script would ask.
    fn turns(&mut self, css: &str, state: &str) -> impl Future<Output = anyhow::Result<()>> + Send;
}
