//! A browser without a screen: cookies with their rules (host, Secure, HttpOnly, SameSite, the `__Host-` prefix),
//! forms, links, redirects. It sends a cross-site POST without Lax cookies, as browsers do.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow, bail, ensure};
use scraper::{ElementRef, Html, Selector};
use url::Url;

use super::browse::Browse;
use crate::stack::loopback_client;

/// Redirects followed before giving up.
const REDIRECTS: usize = 12;

/// A form as it would be sent: where to, by which method, with which fields.
pub type Filled = (Url, String, Vec<(String, String)>);

#[derive(Clone, Debug)]
struct Cookie {
    value: String,
    lax: bool,
}

/// A browser with one tab.
#[derive(Clone, Debug)]
pub struct Browser {
    client: reqwest::Client,
    cookies: BTreeMap<(String, String), Cookie>,
    /// Where it is.
    pub url: Url,
    /// The last status.
    pub status: u16,
    /// The page.
    pub html: String,
}

impl Browser {
    /// A fresh browser on an empty page.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self {
            client: loopback_client()?,
            cookies: BTreeMap::new(),
            url: Url::parse("http://localhost/")?,
            status: 0,
            html: String::new(),
        })
    }

    /// Types an address.
    pub async fn open(&mut self, url: &str) -> anyhow::Result<()> {
        let url = Url::parse(url)?;
        self.go(url.clone(), None, &url).await
    }

    /// Clicks the first link whose text contains `text`.
    pub async fn click(&mut self, text: &str) -> anyhow::Result<()> {
        let href = {
            let page = Html::parse_document(&self.html);
            let links = selector("a[href]")?;
            let found = page.select(&links).find(|link| words(*link).contains(text));
            found.and_then(|link| link.value().attr("href")).map(str::to_owned)
        };
        let href = href.ok_or_else(|| anyhow!("there is no link \u{201c}{text}\u{201d} on {}", self.url))?;
        let (to, from) = (self.url.join(&href)?, self.url.clone());
        self.go(to, None, &from).await
    }

    /// Fills in and submits the form that `form` selects.
    pub async fn submit(&mut self, form: &str, fill: &[(&str, &str)]) -> anyhow::Result<()> {
        let (to, method, fields) = self.form(form, fill)?;
        self.send(to, &method, fields).await
    }

    async fn send(&mut self, to: Url, method: &str, fields: Vec<(String, String)>) -> anyhow::Result<()> {
        let (mut to, from) = (to, self.url.clone());
        if method == "post" {
            return self.go(to, Some(fields), &from).await;
        }
        to.query_pairs_mut().clear().extend_pairs(fields);
        self.go(to, None, &from).await
    }

    /// Submits the form that has a button with this text.
    pub async fn press(&mut self, button: &str, fill: &[(&str, &str)]) -> anyhow::Result<()> {
        let found = {
            let page = Html::parse_document(&self.html);
            let (forms, buttons) = (selector("form")?, selector("button")?);
            let pressed = |form: ElementRef<'_>| {
                let is_it = |found: &ElementRef<'_>| {
                    words(*found).contains(button) && found.value().attr("aria-disabled") != Some("true")
                };
                form.select(&buttons).find(is_it).map(|found| {
                    let attribute = |name| found.value().attr(name).unwrap_or_default().to_owned();
                    (attribute("name"), attribute("value"))
                })
            };
            page.select(&forms).enumerate().find_map(|(number, form)| Some((number, pressed(form)?)))
        };
        let pressed = found
            .ok_or_else(|| anyhow!("there is no button \u{201c}{button}\u{201d} on {} ({})", self.url, self.status))?;
        self.send_with(pressed, fill).await
    }

    /// Sends the form of this number with the name and value of the button that was pressed.
    async fn send_with(
        &mut self,
        (number, (name, value)): (usize, (String, String)),
        fill: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let (to, method, mut fields) = self.numbered_form(number, fill)?;
        // A button with a name is sent with its form.
        fields.extend((!name.is_empty()).then_some((name, value)));
        self.send(to, &method, fields).await
    }

    /// Presses the button that `css` selects.
    async fn press_on(&mut self, css: &str, fill: &[(&str, &str)]) -> anyhow::Result<()> {
        let found = {
            let page = Html::parse_document(&self.html);
            let (forms, buttons) = (selector("form")?, selector(css)?);
            let button = page.select(&buttons).find(|button| button.value().attr("aria-disabled") != Some("true"));
            let attribute = |button: ElementRef<'_>, name| button.value().attr(name).unwrap_or_default().to_owned();
            button.and_then(|button| {
                let around = |form: &ElementRef<'_>| button.ancestors().any(|above| above.id() == form.id());
                let number = page.select(&forms).position(|form| around(&form))?;
                Some((number, (attribute(button, "name"), attribute(button, "value"))))
            })
        };
        let pressed = found.ok_or_else(|| anyhow!("there is no button {css} on {} ({})", self.url, self.status))?;
        self.send_with(pressed, fill).await
    }

    /// The text of everything that describes what `css` selects.
    fn description(&self, css: &str) -> anyhow::Result<String> {
        let ids = self.attribute(css, "aria-describedby")?;
        let texts = ids.split_whitespace().map(|id| self.text_of(&format!("[id='{id}']")));
        Ok(texts.collect::<anyhow::Result<Vec<_>>>()?.join(" "))
    }

    /// Posts fields to an address of the present page's site.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> anyhow::Result<()> {
        let (to, from) = (self.url.join(path)?, self.url.clone());
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.go(to, Some(fields), &from).await
    }

    /// What a form would send, without sending it.
    pub fn form(&self, css: &str, fill: &[(&str, &str)]) -> anyhow::Result<Filled> {
        let page = Html::parse_document(&self.html);
        let forms = selector(css)?;
        let form = page
            .select(&forms)
            .next()
            .ok_or_else(|| anyhow!("there is no form {css} on {} ({})", self.url, self.status))?;
        self.read_form(form, fill)
    }

    fn numbered_form(&self, number: usize, fill: &[(&str, &str)]) -> anyhow::Result<Filled> {
        let page = Html::parse_document(&self.html);
        let forms = selector("form")?;
        let form = page.select(&forms).nth(number).context("the form is gone")?;
        self.read_form(form, fill)
    }

    fn read_form(&self, form: ElementRef<'_>, fill: &[(&str, &str)]) -> anyhow::Result<Filled> {
        let to = self.url.join(form.value().attr("action").unwrap_or_default())?;
        let method = form.value().attr("method").unwrap_or("get").to_lowercase();
        let inputs = selector("input[name], select[name], textarea[name]")?;
        let mut fields: Vec<(String, String)> = Vec::new();
        for input in form.select(&inputs) {
            let element = input.value();
            let name = element.attr("name").unwrap_or_default();
            let kind = element.attr("type").unwrap_or("text");
            let unchecked = matches!(kind, "checkbox" | "radio") && element.attr("checked").is_none();
            let filled = fill.iter().find(|(field, _)| *field == name);
            match filled {
                Some((_, value)) if kind != "radio" || element.attr("value") == Some(value) => {
                    fields.push((name.to_owned(), (*value).to_owned()));
                }
                None if !unchecked => fields.push((name.to_owned(), preset(input)?)),
                Some(_) | None => {}
            }
        }
        if let Some((missing, _)) = fill.iter().find(|(field, _)| !fields.iter().any(|(name, _)| name == field)) {
            bail!("the form has no field {missing}");
        }
        Ok((to, method, fields))
    }

    async fn go(&mut self, to: Url, body: Option<Vec<(String, String)>>, from: &Url) -> anyhow::Result<()> {
        let (mut to, mut body, from) = (to, body, from.clone());
        for _ in 0..REDIRECTS {
            let same_site = to.host_str() == from.host_str();
            let request = match &body {
                Some(fields) => {
                    let form: String =
                        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
                    self.client.post(to.clone()).header("content-type", "application/x-www-form-urlencoded").body(form)
                }
                None => self.client.get(to.clone()),
            };
            let site = if same_site { "same-origin" } else { "cross-site" };
            let request = request
                .header("accept", "text/html")
                .header("sec-fetch-site", site)
                .header("cookie", self.sent(&to, same_site, body.is_some()));
            let answer = request
                .send()
                .await
                .with_context(|| format!("no answer from {}{}", to.host_str().unwrap_or_default(), to.path()))?;
            self.keep(&to, answer.headers());
            self.status = answer.status().as_u16();
            self.url = to.clone();
            let location = answer.headers().get("location").and_then(|value| value.to_str().ok()).map(str::to_owned);
            self.html = answer.text().await?;
            // Whoever can guess it can send the form in this person's name.
            ensure!(!self.html.contains("name=\"csrf\" value=\"\""), "a form of {} has no token", self.url.path());
            let Some(location) = location.filter(|_| (300..400).contains(&self.status)) else { return Ok(()) };
            to = to.join(&location)?;
            if !matches!(self.status, 307 | 308) {
                body = None;
            }
        }
        bail!("too many redirects, the last to {}", self.url.path())
    }

    /// Lax cookies go along unless the request is a POST from another site.
    fn sent(&self, to: &Url, same_site: bool, post: bool) -> String {
        let host = to.host_str().unwrap_or_default();
        let mine = self.cookies.iter().filter(|((owner, _), _)| owner == host);
        let allowed = mine.filter(|(_, cookie)| same_site || !post || !cookie.lax);
        allowed.map(|((_, name), cookie)| format!("{name}={}", cookie.value)).collect::<Vec<_>>().join("; ")
    }

    fn keep(&mut self, at: &Url, headers: &http::HeaderMap) {
        let host = at.host_str().unwrap_or_default().to_owned();
        for line in headers.get_all("set-cookie").iter().filter_map(|value| value.to_str().ok()) {
            let mut parts = line.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
            let rules: Vec<String> = parts.map(str::to_lowercase).collect();
            let has = |rule: &str| rules.iter().any(|known| known == rule);
            let prefixed = name.starts_with("__Host-");
            let sound = has("secure") && has("path=/") && !rules.iter().any(|rule| rule.starts_with("domain="));
            if prefixed && !sound {
                continue;
            }
            if has("max-age=0") || value.is_empty() {
                self.cookies.remove(&(host.clone(), name.to_owned()));
                continue;
            }
            // Without a SameSite browsers take Lax.
            let cookie = Cookie { value: value.to_owned(), lax: !has("samesite=none") };
            self.cookies.insert((host.clone(), name.to_owned()), cookie);
        }
    }

    /// A JSON answer to a request of the page's own script, with the page's cookies.
    pub async fn fetch(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        let to = self.url.join(path)?;
        let request = self
            .client
            .get(to.clone())
            .header("accept", "application/json")
            .header("cookie", self.sent(&to, true, false));
        Ok(serde_json::from_str(&request.send().await?.text().await?)?)
    }

    /// The text of the page, white space folded.
    pub fn text(&self) -> String {
        let page = Html::parse_document(&self.html);
        let main = selector("main").ok().and_then(|main| page.select(&main).next().map(words));
        main.unwrap_or_else(|| words(page.root_element()))
    }

    /// The text of the element that `css` selects.
    pub fn text_of(&self, css: &str) -> anyhow::Result<String> {
        let page = Html::parse_document(&self.html);
        let wanted = selector(css)?;
        page.select(&wanted)
            .next()
            .map(words)
            .ok_or_else(|| anyhow!("there is no {css} on {} ({})", self.url, self.status))
    }

    fn attribute(&self, css: &str, name: &str) -> anyhow::Result<String> {
        let page = Html::parse_document(&self.html);
        let wanted = selector(css)?;
        let found = page.select(&wanted).next().and_then(|element| element.value().attr(name)).map(str::to_owned);
        found.ok_or_else(|| anyhow!("there is no {css} with {name} on {} ({})", self.url, self.status))
    }
}

impl Browse for Browser {
    async fn fresh() -> anyhow::Result<Self> {
        Self::new()
    }

    async fn open(&mut self, url: &str) -> anyhow::Result<()> {
        Self::open(self, url).await
    }

    async fn click(&mut self, text: &str) -> anyhow::Result<()> {
        Self::click(self, text).await
    }

    async fn follow(&mut self, css: &str) -> anyhow::Result<()> {
        let (to, from) = (self.url.join(&self.attribute(css, "href")?)?, self.url.clone());
        self.go(to, None, &from).await
    }

    async fn unfold(&mut self, css: &str) -> anyhow::Result<()> {
        Self::text_of(self, css).map(|_| ())
    }

    async fn press(&mut self, button: &str, fill: &[(&str, &str)]) -> anyhow::Result<()> {
        Self::press(self, button, fill).await
    }

    async fn press_on(&mut self, css: &str, fill: &[(&str, &str)]) -> anyhow::Result<()> {
        Self::press_on(self, css, fill).await
    }

    async fn described(&mut self, css: &str) -> anyhow::Result<String> {
        self.description(css)
    }

    async fn submit(&mut self, form: &str, fill: &[(&str, &str)]) -> anyhow::Result<()> {
        Self::submit(self, form, fill).await
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> anyhow::Result<()> {
        Self::post(self, path, fields).await
    }

    async fn fetch(&self, path: &str) -> anyhow::Result<serde_json::Value> {
        Self::fetch(self, path).await
    }

    async fn url(&self) -> anyhow::Result<Url> {
        Ok(self.url.clone())
    }

    async fn status(&self) -> anyhow::Result<u16> {
        Ok(self.status)
    }

    async fn text(&self) -> anyhow::Result<String> {
        Ok(Self::text(self))
    }

    async fn text_of(&self, css: &str) -> anyhow::Result<String> {
        Self::text_of(self, css)
    }

    async fn value_of(&self, css: &str) -> anyhow::Result<String> {
        self.attribute(css, "value")
    }

    async fn has(&self, css: &str) -> anyhow::Result<bool> {
        Ok(Html::parse_document(&self.html).select(&selector(css)?).next().is_some())
    }

    async fn second_tab(&self) -> anyhow::Result<Self> {
        Ok(self.clone())
    }

    async fn watch(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    async fn turns(&mut self, css: &str, state: &str) -> anyhow::Result<()> {
        let status = Self::fetch(self, &self.attribute(css, "data-poll")?).await?;
        let told = status.get("state").and_then(serde_json::Value::as_str).unwrap_or_default();
        ensure!(told == state, "the page is told that it is {told}, not {state}");
        Ok(())
    }
}

fn selector(css: &str) -> anyhow::Result<Selector> {
    Selector::parse(css).map_err(|error| anyhow!("{css} is not a selector: {error}"))
}

/// What a field is sent with if nobody touches it.
fn preset(field: ElementRef<'_>) -> anyhow::Result<String> {
    let value = |element: ElementRef<'_>| element.value().attr("value").unwrap_or_default().to_owned();
    if field.value().name() != "select" {
        return Ok(value(field));
    }
    let (chosen, first) = (selector("option[selected]")?, selector("option")?);
    Ok(field.select(&chosen).chain(field.select(&first)).next().map(value).unwrap_or_default())
}

/// What can be seen: nothing that is hidden.
fn words(element: ElementRef<'_>) -> String {
    let hidden = |node: &scraper::Node| node.as_element().is_some_and(|element| element.attr("hidden").is_some());
    let seen = element.descendants().filter(|node| !node.ancestors().any(|above| hidden(above.value())));
    let text = seen.filter_map(|node| node.value().as_text().map(|text| text.split_whitespace()));
    text.flatten().collect::<Vec<_>>().join(" ")
}
