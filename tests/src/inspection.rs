//! Looks at a page as a careful person would, on every screen: small, middle and large, light and dark. Nothing sticks
//! out sideways, axe-core finds nothing, the console is silent, nothing comes from elsewhere, our own pages are light.
//! Each look leaves a picture in `target/screenshots`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tradepost_local::demo::Browse;

use crate::chromium::Chromium;

/// Where axe-core is.
pub const AXE: &str = "TRADEPOST_AXE";
const WIDTHS: [u32; 3] = [360, 768, 1280];
/// The first load of a page of ours, in bytes: HTML, CSS, scripts, images.
const HEAVIEST: u64 = 50 * 1024;
/// Pages of this host are our own.
const OURS: &str = "tradepost.localhost";

/// An inspection under way: what it has found so far.
pub struct Inspection {
    axe: String,
    pictures: PathBuf,
    /// A host that pages may load from beside their own.
    welcome: Option<&'static str>,
    findings: Vec<String>,
    since: Instant,
}

impl Inspection {
    /// Ready to look.
    pub fn begin() -> anyhow::Result<Self> {
        let missing =
            format!("set {AXE} to the path of axe-core's axe.min.js; ./test.sh fetches it and sets this by itself");
        let path = std::env::var(AXE).with_context(|| missing.clone())?;
        let axe = std::fs::read_to_string(&path).with_context(|| format!("{path} cannot be read; {missing}"))?;
        let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/screenshots");
        std::fs::create_dir_all(&pictures).context("target/screenshots cannot be made")?;
        Ok(Self { axe, pictures, welcome: None, findings: Vec::new(), since: Instant::now() })
    }

    /// The same, with pages that load something from this host too.
    pub fn welcoming(self, host: &'static str) -> Self {
        Self { welcome: Some(host), ..self }
    }

    /// Something that is not as it should be.
    pub fn found(&mut self, page: &str, what: &str) {
        self.findings.push(format!("{page}: {what}"));
    }

    /// Looks at the page that the browser shows.
    pub async fn look(&mut self, browser: &Chromium, page: &str, status: u16) -> anyhow::Result<()> {
        let got = browser.status().await?;
        if got != status {
            self.found(page, &format!("it was answered {got}, not {status}: {}", browser.text().await?));
        }
        self.weigh(browser, page).await?;
        self.listen(browser, page, got).await?;
        browser.script(&self.axe, Vec::new()).await?;
        let mut broken: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for width in WIDTHS {
            for dark in [false, true] {
                let screen = format!("{width}-{}", if dark { "dark" } else { "light" });
                browser.screen(width, dark).await?;
                for what in look_once(browser).await? {
                    broken.entry(what).or_default().push(screen.clone());
                }
                browser.picture(&self.pictures.join(format!("{page}-{screen}.png"))).await?;
            }
        }
        for (what, screens) in broken {
            self.found(page, &format!("{what} ({})", screens.join(", ")));
        }
        self.listen(browser, page, got).await
    }

    /// Who was asked for what the page is made of, and how much that was.
    async fn weigh(&mut self, browser: &Chromium, page: &str) -> anyhow::Result<()> {
        let seen = browser.script(LOADED, Vec::new()).await?;
        let host = seen.get("host").and_then(Value::as_str).unwrap_or_default();
        for from in seen.get("hosts").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            let welcome = self.welcome.is_some_and(|name| from.split(':').next() == Some(name));
            if from != host && !welcome {
                self.found(page, &format!("it loads something from {from}"));
            }
        }
        let bytes = seen.get("bytes").and_then(Value::as_u64).context("no weight")?;
        for field in seen.get("cards").and_then(Value::as_array).into_iter().flatten() {
            self.found(page, &format!("a field asks for card or bank data: {field}"));
        }
        if host.starts_with(OURS) && bytes > HEAVIEST {
            self.found(page, &format!("its first load is {bytes} bytes"));
        }
        Ok(())
    }

    /// What the console says of this page's host: what pages on the way of other hosts did is theirs. That a page was
    /// answered with an error is the browser's remark, not the page's fault.
    async fn listen(&mut self, browser: &Chromium, page: &str, status: u16) -> anyhow::Result<()> {
        let at = browser.url().await?;
        let (url, origin) = (at.to_string(), at.origin().ascii_serialization());
        for line in browser.console().await? {
            let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let (level, message) = (text("level"), text("message"));
            let about_itself = status >= 400 && message.starts_with(&url) && text("source") == "network";
            let of_another = message.starts_with("http") && !message.starts_with(&origin);
            if matches!(level.as_str(), "SEVERE" | "WARNING") && !about_itself && !of_another {
                self.found(page, &format!("the console says: {message}"));
            }
        }
        Ok(())
    }

    /// The end: fails with everything that was found.
    pub fn end(self) -> anyhow::Result<()> {
        println!("looked for {} s", self.since.elapsed().as_secs());
        ensure!(self.findings.is_empty(), "{} findings:\n{}", self.findings.len(), self.findings.join("\n"));
        Ok(())
    }
}

async fn look_once(browser: &Chromium) -> anyhow::Result<Vec<String>> {
    let mut broken = Vec::new();
    let wide = browser.script(OVERFLOW, Vec::new()).await?;
    if wide != json!("") {
        broken.push(format!("something sticks out sideways: {}", wide.as_str().unwrap_or_default()));
    }
    let violations = browser.script_async(RUN_AXE, Vec::new()).await?;
    for violation in violations.as_array().context("axe did not answer")? {
        broken.push(violation.as_str().unwrap_or_default().to_owned());
    }
    Ok(broken)
}

const LOADED: &str = "
    const all = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
    return {
        host: location.host,
        cards: [...document.querySelectorAll('input:not([type=hidden]), select, textarea')]
            .map(field => [field.name, field.id, field.autocomplete, ...[...field.labels].map(label => label.textContent)].join(' '))
            .filter(words => /\\bcc-|card|iban|cvc|cvv|account number/i.test(words)),
        hosts: [...new Set(all.map(entry => new URL(entry.name).host))],
        bytes: all.reduce((sum, entry) => sum + Math.max(entry.transferSize, entry.encodedBodySize), 0),
    }";
const OVERFLOW: &str = "
    const page = document.documentElement;
    if (page.scrollWidth <= page.clientWidth) return '';
    const out = [...document.body.querySelectorAll('*')]
        .filter(element => element.getBoundingClientRect().right > page.clientWidth + 1)
        .map(element => element.tagName.toLowerCase() + (element.id ? '#' + element.id : ''));
    return (page.scrollWidth - page.clientWidth) + ' px by ' + out.slice(0, 3).join(' ')";
const RUN_AXE: &str = "
    const done = arguments[0];
    axe.run(document, {resultTypes: ['violations']}).then(
        found => done(found.violations.map(one => `axe ${one.id} (${one.impact}): ${one.help}, `
            + one.nodes.slice(0, 3).map(node => node.target.join(' ')).join(' and '))),
        error => done(['axe failed: ' + error]))";
