//! Every door that must stay shut, each tried by hand: requests as a person with tools would make them, one cookie at
//! a time. What a browser itself keeps shut is in `browser_safety`.

use anyhow::{Context, ensure};
use lambda_http::http::header;
use serde_json::json;
use system_tests::world::{Bought, World};
use url::Url;

type Outcome = anyhow::Result<()>;

/// What came back.
struct Answer {
    status: u16,
    location: Option<String>,
    cookie: Option<String>,
    body: String,
    retry_after: Option<i64>,
}

impl Answer {
    fn csrf(&self) -> anyhow::Result<String> {
        let after = self.body.split_once("name=\"csrf\" value=\"").context("the page has no token")?.1;
        Ok(after.split_once('"').context("the token has no end")?.0.to_owned())
    }
}

/// One browser's cookie jar, held by hand.
#[derive(Clone, Default)]
struct Hand {
    cookie: Option<String>,
    /// The address the API sees it come from, if it tells.
    source: Option<&'static str>,
    /// A header of its own.
    header: Option<(&'static str, &'static str)>,
}

impl Hand {
    async fn send(
        &mut self,
        world: &World,
        method: &str,
        path: &str,
        form: &[(&str, &str)],
        site: &str,
    ) -> anyhow::Result<Answer> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let cookies: Vec<_> = self.cookie.iter().collect();
        let mut headers = json!({
            "host": "tradepost.localhost", "accept": "text/html", "sec-fetch-site": site,
            "content-type": "application/x-www-form-urlencoded",
        });
        if let (Some((name, value)), Some(headers)) = (self.header, headers.as_object_mut()) {
            headers.insert(name.to_owned(), json!(value));
        }
        let event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query, "cookies": cookies,
            "headers": headers,
            "requestContext": {
                "http": {"method": method, "path": path, "sourceIp": self.source}, "stage": "$default",
            },
            "body": body, "isBase64Encoded": false,
        });
        let response = world.stack.landing.handle(world.request(&event)?, world.now()).await;
        let (parts, body) = response.into_parts();
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let retry_after = text(header::RETRY_AFTER).and_then(|seconds| seconds.parse().ok());
        let cookie = text(header::SET_COOKIE).and_then(|line| line.split(';').next().map(str::to_owned));
        if cookie.is_some() {
            self.cookie.clone_from(&cookie);
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status: parts.status.as_u16(), location: text(header::LOCATION), cookie, body, retry_after })
    }

    async fn get(&mut self, world: &World, path: &str) -> anyhow::Result<Answer> {
        self.send(world, "GET", path, &[], "none").await
    }

    async fn post(&mut self, world: &World, path: &str, form: &[(&str, &str)]) -> anyhow::Result<Answer> {
        self.send(world, "POST", path, form, "same-origin").await
    }

    async fn landed(world: &World) -> anyhow::Result<(Bought, Self)> {
        let bought = world.buy().await?;
        let mut hand = Self::default();
        let form = [("x-amzn-marketplace-token", bought.token.as_str())];
        hand.send(world, "POST", "/aws/landing", &form, "cross-site").await?;
        Ok((bought, hand))
    }

    /// Begins a sign-in; the answer of the vendor that comes back for this person.
    async fn answer_for(&mut self, world: &World, person: &str) -> anyhow::Result<String> {
        let begun = self.get(world, "/sign-in/demo").await?;
        let to = begun.location.context("no way to the vendor")?;
        let mut vendors = tradepost_local::demo::Browser::new()?;
        vendors.open(&to).await?;
        // This browser has none of our cookies: it carries the answer to us in vain, and we take it from there.
        world.sign_in(&mut vendors, person).await?;
        ensure!(vendors.url.path() == "/sign-in/callback", "it led to {}", vendors.url);
        ensure!(vendors.status == 400, "another browser's answer was taken: {} {}", vendors.status, vendors.text());
        Ok(format!("/sign-in/callback?{}", vendors.url.query().unwrap_or_default()))
    }

    async fn signed_in(&mut self, world: &World, person: &str) -> anyhow::Result<()> {
        let answer = self.answer_for(world, person).await?;
        let back = self.get(world, &answer).await?;
        ensure!(back.status == 303 && back.location.as_deref() == Some("/"), "{} {}", back.status, back.body);
        Ok(())
    }

    /// Landed and signed in; the token of the page with the modal.
    async fn ready(world: &World, person: &str) -> anyhow::Result<(Bought, Self, String)> {
        let (bought, mut hand) = Self::landed(world).await?;
        hand.signed_in(world, person).await?;
        let csrf = hand.get(world, "/").await?.csrf()?;
        Ok((bought, hand, csrf))
    }
}

async fn nothing_linked(world: &World, bought: &Bought) -> Outcome {
    let link = world.link_of(bought).await?;
    ensure!(link.is_none(), "there is a link: {link:?}");
    Ok(())
}

fn form<'a>(csrf: &'a str, organization: &'a str) -> [(&'a str, &'a str); 3] {
    [("csrf", csrf), ("organization", organization), ("contact", "buyer@demo.example")]
}

#[tokio::test]
async fn a_form_without_its_token_is_refused() -> Outcome {
    let world = World::new().await?;
    let (bought, mut hand, _) = Hand::ready(&world, "clean").await?;
    let fields = [("organization", "org-clean"), ("contact", "buyer@demo.example")];
    for given in [fields.to_vec(), form("", "org-clean").to_vec()] {
        let answer = hand.post(&world, "/link", &given).await?;
        ensure!(answer.status == 403, "{}", answer.status);
    }
    nothing_linked(&world, &bought).await
}

#[tokio::test]
async fn a_form_with_another_sessions_token_is_refused() -> Outcome {
    let world = World::new().await?;
    let (bought, mut hand, mine) = Hand::ready(&world, "clean").await?;
    let (_, _, theirs) = Hand::ready(&world, "second").await?;
    ensure!(mine != theirs, "two sessions have one token");
    let answer = hand.post(&world, "/link", &form(&theirs, "org-clean")).await?;
    ensure!(answer.status == 403, "{}", answer.status);
    nothing_linked(&world, &bought).await
}

#[tokio::test]
async fn a_form_of_another_site_is_refused_even_with_cookie_and_token() -> Outcome {
    let world = World::new().await?;
    let (bought, mut hand, csrf) = Hand::ready(&world, "clean").await?;
    for site in ["cross-site", "same-site"] {
        let answer = hand.send(&world, "POST", "/link", &form(&csrf, "org-clean"), site).await?;
        ensure!(answer.status == 403, "{site}: {}", answer.status);
        ensure!(answer.cookie.is_none(), "{site}: the refusal replaces the session");
    }
    nothing_linked(&world, &bought).await?;
    let answer = hand.post(&world, "/link", &form(&csrf, "org-clean")).await?;
    ensure!(answer.status == 303, "the person's own form is taken: {}", answer.status);
    Ok(())
}

#[tokio::test]
async fn a_session_planted_before_the_sign_in_is_not_signed_in_by_it() -> Outcome {
    let world = World::new().await?;
    let (_, mut attacker) = Hand::landed(&world).await?;
    let planted = attacker.get(&world, "/sign-in/demo").await?;
    let before = planted.cookie.context("a cookie")?;
    // The attacker's cookie, in the victim's browser.
    let mut victim = attacker.clone();
    victim.signed_in(&world, "clean").await?;
    ensure!(victim.cookie.as_ref() != Some(&before), "the cookie stays the same at sign-in");
    let shown = attacker.get(&world, "/").await?;
    ensure!(shown.status == 303, "the planted session is signed in: {} {}", shown.status, shown.body);
    ensure!(!shown.body.contains("Clara"), "the planted session knows the person");
    Ok(())
}

#[tokio::test]
async fn the_token_of_forms_changes_at_sign_in() -> Outcome {
    let world = World::new().await?;
    // The one page with a form before anybody has signed in: the place that is kept.
    world.aws("switches", json!({"throttle": 1})).await?;
    let (bought, mut hand) = Hand::landed(&world).await?;
    let before = hand.get(&world, "/try-again").await?.csrf()?;
    hand.signed_in(&world, "clean").await?;
    let after = hand.get(&world, "/try-again").await?.csrf()?;
    ensure!(before != after, "it stays the same");
    let old = hand.post(&world, "/aws/landing/retry", &[("csrf", &before)]).await?;
    ensure!(old.status == 403, "the old one is taken: {}", old.status);
    // The place was kept through the sign-in, and the new one is taken.
    let new = hand.post(&world, "/aws/landing/retry", &[("csrf", &after)]).await?;
    ensure!(new.status == 303 && new.location.as_deref() == Some("/"), "{} {:?}", new.status, new.location);
    ensure!(hand.get(&world, "/").await?.body.contains("link-form"), "the purchase is lost");
    nothing_linked(&world, &bought).await
}

#[tokio::test]
async fn a_forged_answer_does_not_end_the_sign_in_under_way() -> Outcome {
    let world = World::new().await?;
    let (_, mut hand) = Hand::landed(&world).await?;
    hand.get(&world, "/sign-in/demo").await?;
    let before = hand.cookie.clone();
    for forged in ["state=x&error=access_denied", "state=x&code=y", "error=login_required", ""] {
        let answer = hand.get(&world, &format!("/sign-in/callback?{forged}")).await?;
        ensure!(answer.status == 400, "{forged}: {}", answer.status);
        ensure!(hand.cookie == before, "{forged}: the session has changed");
    }
    Ok(())
}

/// Addresses of somewhere else, in every spelling browsers understand.
const ELSEWHERE: &[&str] = &[
    "https://evil.example/",
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/%5Cevil.example",
    "/%2F%2Fevil.example",
    "https:evil.example",
    "javascript:alert(1)",
    "%0d%0alocation:https://evil.example",
];

#[tokio::test]
async fn no_address_leads_to_another_site() -> Outcome {
    let world = World::new().await?;
    let (_, ready, _) = Hand::ready(&world, "clean").await?;
    let (_, landed) = Hand::landed(&world).await?;
    let mut tried = Vec::new();
    for evil in ELSEWHERE {
        for path in
            ["/", "/status", "/billing", "/organizations", "/sign-in", "/sign-in/demo", "/try-again", "/aws/landing"]
        {
            for name in ["next", "return_to", "redirect", "redirect_uri", "url", "continue", "issuer", "after"] {
                tried.push(format!("{path}?{name}={evil}"));
            }
        }
        tried.push(format!("/sign-in/callback?code=x&state=y&redirect_uri={evil}"));
        tried.push(format!("/sign-in/callback?error={evil}&iss={evil}"));
        tried.push(format!("/sign-in/{evil}"));
        // As paths, which always begin with a slash.
        tried.push(format!("/{}", evil.trim_start_matches('/')));
        tried.push(format!("//{}", evil.trim_start_matches('/')));
    }
    for address in &tried {
        for hand in [&Hand::default(), &landed, &ready] {
            let answer = hand.clone().get(&world, address).await?;
            if let Some(to) = answer.location {
                leads_home(&world, &to).with_context(|| format!("{address} leads to {to}"))?;
            }
        }
    }
    Ok(())
}

/// One of our own pages, or the vendor's sign-in that is set up.
fn leads_home(world: &World, to: &str) -> Outcome {
    let own = Url::parse(&format!("{}/", world.at.tradepost))?;
    let vendor = Url::parse(&world.at.vendor)?;
    // As a browser reads it.
    let read = own.join(to)?;
    let home = read.origin() == own.origin();
    let sign_in = read.origin() == vendor.origin() && read.path() == "/oidc/authorize";
    ensure!(home || sign_in, "it leads to {read}");
    if sign_in {
        let back = read.query_pairs().find(|(name, _)| name == "redirect_uri").map(|(_, value)| value.into_owned());
        let wanted = format!("{}/sign-in/callback", world.at.tradepost);
        ensure!(back.as_deref() == Some(wanted.as_str()), "the vendor would send the answer to {back:?}");
    }
    Ok(())
}

#[tokio::test]
async fn forms_do_not_lead_to_another_site_either() -> Outcome {
    let world = World::new().await?;
    for evil in ELSEWHERE {
        let (_, mut hand, csrf) = Hand::ready(&world, "clean").await?;
        for path in ["/link", "/organizations", "/organizations/choose", "/sign-out", "/aws/landing/retry"] {
            let fields =
                [("csrf", csrf.as_str()), ("organization", evil), ("next", evil), ("name", evil), ("return_to", evil)];
            let answer = hand.clone().post(&world, path, &fields).await?;
            if let Some(to) = answer.location {
                leads_home(&world, &to).with_context(|| format!("{path} with {evil} leads to {to}"))?;
            }
        }
        hand.post(&world, "/sign-out", &[("csrf", &csrf)]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn another_persons_landing_is_not_shown_and_not_linked() -> Outcome {
    let world = World::new().await?;
    let (bought, mut hand, _) = Hand::ready(&world, "clean").await?;
    // The same browser, and somebody else signs in: the landing is still the first person's.
    hand.signed_in(&world, "second").await?;
    let shown = hand.get(&world, "/").await?;
    ensure!(!shown.body.contains("id=\"link-form\""), "it is offered: {}", shown.body);
    let csrf = shown.csrf()?;
    let answer = hand.post(&world, "/link", &form(&csrf, "org-second")).await?;
    ensure!(answer.status >= 400, "it was answered {} {:?}", answer.status, answer.location);
    nothing_linked(&world, &bought).await
}

#[tokio::test]
async fn a_cookie_that_was_tampered_with_is_no_session() -> Outcome {
    let world = World::new().await?;
    let (bought, hand, csrf) = Hand::ready(&world, "clean").await?;
    let cookie = hand.cookie.context("a cookie")?;
    let middle = cookie.len() / 2;
    let mut bytes = cookie.clone().into_bytes();
    let byte = bytes.get_mut(middle).context("a middle")?;
    *byte = if *byte == b'A' { b'B' } else { b'A' };
    let tampered = String::from_utf8(bytes)?;
    let (_, value) = cookie.split_once('=').context("a value")?;
    for planted in
        [tampered, format!("other={value}"), "__Host-tradepost=".to_owned(), "__Host-tradepost={}".to_owned()]
    {
        let mut forged = Hand { cookie: Some(planted.clone()), ..Hand::default() };
        let answer = forged.post(&world, "/link", &form(&csrf, "org-clean")).await?;
        ensure!(answer.status == 403, "{planted}: {}", answer.status);
        let status = Hand { cookie: Some(planted.clone()), ..Hand::default() }.get(&world, "/status").await?;
        ensure!(status.body.contains("none"), "{planted}: {}", status.body);
    }
    nothing_linked(&world, &bought).await
}

#[tokio::test]
async fn another_organizations_id_is_refused() -> Outcome {
    let world = World::new().await?;
    let (bought, mut hand, csrf) = Hand::ready(&world, "clean").await?;
    for organization in ["org-second", "org-member", "no-such-organization", "../org-second", ""] {
        let answer = hand.post(&world, "/link", &form(&csrf, organization)).await?;
        ensure!(answer.status == 403, "{organization}: {}", answer.status);
        let chosen = hand.post(&world, "/organizations/choose", &form(&csrf, organization)).await?;
        ensure!(chosen.status == 403, "choosing {organization}: {}", chosen.status);
    }
    nothing_linked(&world, &bought).await?;
    ensure!(world.slot("org-second").await?.is_none(), "the other organization has a slot");
    Ok(())
}

#[tokio::test]
async fn a_status_is_for_members_only() -> Outcome {
    let world = World::new().await?;
    world.linked("clean").await?;
    let (_, mut hand, csrf) = Hand::ready(&world, "second").await?;
    hand.post(&world, "/organizations/choose", &form(&csrf, "org-clean")).await?;
    for path in ["/status", "/status?organization=org-clean", "/billing?organization=org-clean"] {
        let shown = hand.get(&world, path).await?;
        ensure!(!shown.body.contains("Clean Co"), "{path} shows it: {}", shown.body);
    }
    Ok(())
}

#[tokio::test]
async fn a_sign_in_is_answered_once() -> Outcome {
    let world = World::new().await?;
    let (_, mut hand) = Hand::landed(&world).await?;
    // This also carries the answer into another browser, which is refused.
    let answer = hand.answer_for(&world, "clean").await?;
    let mut kept = hand.clone();
    let first = hand.get(&world, &answer).await?;
    ensure!(first.status == 303, "{} {}", first.status, first.body);
    // The same code and state again, with the cookie of then: the code is used up.
    let again = kept.get(&world, &answer).await?;
    ensure!(again.status == 400, "a replayed answer was taken: {} {:?}", again.status, again.location);
    let shown = kept.get(&world, "/").await?;
    ensure!(!shown.body.contains("id=\"link-form\""), "the replay is signed in");
    Ok(())
}

#[tokio::test]
async fn a_sign_in_of_another_browser_is_not_taken() -> Outcome {
    let world = World::new().await?;
    // The attacker's answer, forced on a victim who is in the middle of a sign-in: nobody is signed in as the attacker.
    let (_, mut attacker) = Hand::landed(&world).await?;
    let answer = attacker.answer_for(&world, "second").await?;
    let (_, mut victim) = Hand::landed(&world).await?;
    victim.get(&world, "/sign-in/demo").await?;
    let taken = victim.get(&world, &answer).await?;
    ensure!(taken.status == 400, "{} {:?}", taken.status, taken.location);
    let shown = victim.get(&world, "/").await?;
    ensure!(!shown.body.contains("Sam Second"), "the victim is signed in as the attacker");
    Ok(())
}

/// Every address that takes a form of one of our pages.
const FORMS: &[&str] =
    &["/link", "/close", "/organizations", "/organizations/choose", "/move", "/unlink", "/switch", "/sign-out"];

#[tokio::test]
async fn no_form_is_taken_without_its_token() -> Outcome {
    // With this preset a new organization can be made, and a link moved and taken off.
    let world = World::with_policy(system_tests::world::ATLAS).await?;
    let choosing = async |person: &str| -> anyhow::Result<(Bought, Hand, String)> {
        let (bought, mut hand) = Hand::landed(&world).await?;
        hand.signed_in(&world, person).await?;
        let csrf = hand.get(&world, "/organizations").await?.csrf()?;
        Ok((bought, hand, csrf))
    };
    let (bought, mut hand, csrf) = choosing("clean").await?;
    let (_, _, theirs) = choosing("second").await?;
    let before = format!("{:?}", world.home(&bought).await?);
    let fields = [("organization", "org-clean"), ("from", "org-clean"), ("name", "New"), ("contact", "a@demo.example")];
    for path in FORMS {
        let no_token: &[(&str, &str)] = &fields;
        for (token, site) in [
            (None, "same-origin"),
            (Some(""), "same-origin"),
            (Some(theirs.as_str()), "same-origin"),
            (Some(csrf.as_str()), "cross-site"),
            (Some(csrf.as_str()), "same-site"),
        ] {
            let form: Vec<_> = token.map(|token| ("csrf", token)).into_iter().chain(no_token.iter().copied()).collect();
            let answer = hand.send(&world, "POST", path, &form, site).await?;
            ensure!(answer.status == 403, "{path} {token:?} {site}: {}", answer.status);
            ensure!(answer.cookie.is_none(), "{path} {site}: the refusal replaces the session");
        }
        // From another site the browser sends no cookie along, and has one that it must keep.
        let form: Vec<_> = [("csrf", csrf.as_str())].into_iter().chain(fields).collect();
        let answer = Hand::default().send(&world, "POST", path, &form, "cross-site").await?;
        ensure!(answer.status == 403, "{path} without a cookie: {}", answer.status);
        ensure!(answer.cookie.is_none(), "{path} without a cookie: the refusal replaces the session");
        // Nor does opening the address do what the form does.
        let opened =
            hand.clone().get(&world, &format!("{path}?csrf={csrf}&organization=org-clean&from=org-clean")).await?;
        ensure!(matches!(opened.status, 200 | 303 | 404 | 409), "{path}: {}", opened.status);
    }
    ensure!(format!("{:?}", world.home(&bought).await?) == before, "something has changed");
    ensure!(world.slot("org-clean").await?.is_none(), "something is linked");
    let vendor = world.vendor_state().await?.to_string();
    ensure!(!vendor.contains("\"New\""), "an organization was made");
    ensure!(hand.get(&world, "/").await?.status != 401, "the session is over");
    nothing_linked(&world, &bought).await
}

#[test]
fn every_form_of_every_page_carries_its_token() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/templates");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a template");
    let mut forms = 0;
    for entry in std::fs::read_dir(&folder).expect("the templates") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|kind| kind != "html") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a template");
        for form in text.split("<form ").skip(1) {
            let (form, _) = form.split_once("</form>").expect("an end");
            assert!(form.contains("method=\"post\""), "{}: a form that is not posted: {form}", path.display());
            let included = form.contains("link_fields.html") && read("link_fields.html").contains("name=\"csrf\"");
            assert!(form.contains("name=\"csrf\"") || included, "{}: no token in {form}", path.display());
            forms += 1;
        }
    }
    assert!(forms >= 12, "{forms} forms");
}

#[tokio::test]
async fn microsofts_forms_are_not_taken_without_their_token_either() -> Outcome {
    let world = World::new().await?;
    let offer = world.listing(tradepost::ledger::Provider::Azure)?.code.clone();
    let bought = world.azure("purchase", json!({"offer": offer, "plan": "payg", "buyer": "ana"})).await?;
    let landing: Url = bought.get("url").and_then(|url| url.as_str()).context("an address")?.parse()?;
    let ask = async |method: &str, path: &str, cookie: &str, site: &str, body: &str| -> anyhow::Result<_> {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "tradepost-azure.localhost")
            .header(header::COOKIE, cookie)
            .header(header::ACCEPT, "text/html")
            .header("sec-fetch-site", site)
            .body(bytes::Bytes::from(body.to_owned()))?;
        let (parts, body) = world.stack.azure.handle(request).await.into_parts();
        let cookie = parts.headers.get(header::SET_COOKIE).and_then(|value| value.to_str().ok());
        let cookie = cookie.and_then(|line| line.split(';').next()).map(str::to_owned);
        Ok((parts.status.as_u16(), cookie, String::from_utf8_lossy(&body).into_owned()))
    };
    let target = format!("{}?{}", landing.path(), landing.query().unwrap_or_default());
    let (status, cookie, _) = ask("GET", &target, "", "cross-site", "").await?;
    let cookie = cookie.context("the landing sets a cookie")?;
    ensure!(status == 303, "{status}");
    let (_, _, page) = ask("GET", "/api/azure/buyer", &cookie, "none", "").await?;
    let after = page.split_once("name=\"csrf\" value=\"").context("no token")?.1;
    let csrf = after.split_once('"').context("no end")?.0.to_owned();
    for path in ["/api/azure/leave", "/api/sign-out", "/api/link", "/api/switch"] {
        for (site, body) in [
            ("same-origin", String::new()),
            ("same-origin", "csrf=another".to_owned()),
            ("cross-site", format!("csrf={csrf}")),
        ] {
            let (status, replaced, _) = ask("POST", path, &cookie, site, &body).await?;
            ensure!(status == 403 && replaced.is_none(), "{path} {site} {body}: {status} {replaced:?}");
        }
    }
    let (status, _, _) = ask("POST", "/api/azure/leave", &cookie, "same-origin", &format!("csrf={csrf}")).await?;
    ensure!(status == 303, "the buyer's own form is taken: {status}");
    // What is too large is not read, with or without a token.
    let huge = format!("csrf={csrf}&x={}", "x".repeat(64 * 1024));
    for path in ["/api/azure/leave", "/api/azure/landing/retry", "/api/link", "/api/no-such-page"] {
        let (status, _, _) = ask("POST", path, &cookie, "same-origin", &huge).await?;
        ensure!(status == 413, "{path}: {status}");
    }
    let (status, _, _) =
        ask("GET", &format!("/api/azure/landing?token={}", "A".repeat(33_000)), "", "none", "").await?;
    ensure!(status == 414, "{status}");
    Ok(())
}

#[tokio::test]
async fn what_is_too_large_is_not_read() -> Outcome {
    let world = World::new().await?;
    let (bought, mut hand, csrf) = Hand::ready(&world, "clean").await?;
    let huge = "x".repeat(64 * 1024);
    let form = [("csrf", csrf.as_str()), ("organization", "org-clean"), ("contact", huge.as_str())];
    for path in FORMS.iter().chain(&["/aws/landing", "/aws/landing/retry", "/v1/billing", "/no-such-page"]) {
        let answer = hand.post(&world, path, &form).await?;
        ensure!(answer.status == 413, "{path}: {}", answer.status);
        ensure!(answer.cookie.is_none(), "{path}: the refusal replaces the session");
    }
    let long = format!("/?x={}", "x".repeat(32 * 1024));
    for method in ["GET", "POST"] {
        let answer = hand.send(&world, method, &long, &[], "same-origin").await?;
        ensure!(answer.status == 414, "{method}: {}", answer.status);
    }
    nothing_linked(&world, &bought).await
}

async fn landing(world: &World, hand: &mut Hand, token: &str) -> anyhow::Result<Answer> {
    hand.send(world, "POST", "/aws/landing", &[("x-amzn-marketplace-token", token)], "cross-site").await
}

#[tokio::test]
async fn tokens_that_are_none_are_limited_by_source_and_a_purchase_is_kept() -> Outcome {
    let world = World::new().await?;
    let from = |source| Hand { source: Some(source), ..Hand::default() };
    let mut guesser = from("203.0.113.7");
    for number in 0..20 {
        let answer = landing(&world, &mut guesser, &format!("guess-{number}")).await?;
        ensure!(answer.status == 400, "{number}: {}", answer.status);
    }
    let limited = landing(&world, &mut guesser, "guess-20").await?;
    ensure!(limited.status == 429 && limited.body.contains("Too many tries"), "{} {}", limited.status, limited.body);
    ensure!(limited.retry_after.is_some_and(|seconds| (1..=7).contains(&seconds)), "{:?}", limited.retry_after);
    // What a sender writes into the request changes nothing.
    let mut forger = Hand { header: Some(("x-forwarded-for", "198.51.100.1")), ..from("203.0.113.7") };
    ensure!(landing(&world, &mut forger, "guess-21").await?.status == 429, "a header is believed");
    // Somebody of the same office comes with a purchase: they wait a moment, and it is not lost.
    let bought = world.buy().await?;
    let mut buyer = from("203.0.113.7");
    let waiting = landing(&world, &mut buyer, &bought.token).await?;
    ensure!(waiting.status == 429 && waiting.body.contains("/aws/landing/retry"), "{}", waiting.body);
    world.sleep(7);
    let again = buyer.post(&world, "/aws/landing/retry", &[("csrf", &waiting.csrf()?)]).await?;
    ensure!(again.status == 303, "{} {}", again.status, again.body);
    // Nobody else has to wait, and a source that is not known is not limited.
    for mut hand in [from("203.0.113.8"), from("2001:db8::7"), Hand::default()] {
        let bought = world.buy().await?;
        ensure!(landing(&world, &mut hand, &bought.token).await?.status == 303, "another source is limited");
    }
    Ok(())
}

#[tokio::test]
async fn an_office_full_of_buyers_is_not_limited() -> Outcome {
    let world = World::new().await?;
    for number in 0..30 {
        let bought = world.buy().await?;
        let mut hand = Hand { source: Some("203.0.113.7"), ..Hand::default() };
        let answer = landing(&world, &mut hand, &bought.token).await?;
        ensure!(answer.status == 303, "{number}: {}", answer.status);
    }
    Ok(())
}

#[tokio::test]
async fn sign_ins_that_prove_nothing_are_limited_by_source() -> Outcome {
    let world = World::new().await?;
    let (_, mut hand) = Hand::landed(&world).await?;
    hand.source = Some("203.0.113.7");
    let try_it = async |hand: &mut Hand| -> anyhow::Result<Answer> {
        let begun = hand.get(&world, "/sign-in/demo").await?;
        let to: Url = begun.location.context("no way to the vendor")?.parse()?;
        let state = to.query_pairs().find(|(name, _)| name == "state").context("no state")?.1.into_owned();
        hand.get(&world, &format!("/sign-in/callback?code=guessed&state={state}")).await
    };
    for number in 0..20 {
        let answer = try_it(&mut hand).await?;
        ensure!(answer.status == 400, "{number}: {} {}", answer.status, answer.body);
    }
    let limited = try_it(&mut hand).await?;
    ensure!(limited.status == 429 && limited.retry_after.is_some(), "{} {}", limited.status, limited.body);
    world.sleep(7);
    ensure!(try_it(&mut hand).await?.status == 400, "nobody is kept out for good");
    world.sleep(7);
    hand.signed_in(&world, "clean").await
}
