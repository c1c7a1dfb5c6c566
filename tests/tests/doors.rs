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
        let event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query, "cookies": cookies,
            "headers": {
                "host": "tradepost.localhost", "accept": "text/html", "sec-fetch-site": site,
                "content-type": "application/x-www-form-urlencoded",
            },
            "requestContext": {"http": {"method": method, "path": path}, "stage": "$default"},
            "body": body, "isBase64Encoded": false,
        });
        let response = world.stack.landing.handle(world.request(&event)?, world.now()).await;
        let (parts, body) = response.into_parts();
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let cookie = text(header::SET_COOKIE).and_then(|line| line.split(';').next().map(str::to_owned));
        if cookie.is_some() {
            self.cookie.clone_from(&cookie);
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status: parts.status.as_u16(), location: text(header::LOCATION), cookie, body })
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
        let mut forged = Hand { cookie: Some(planted.clone()) };
        let answer = forged.post(&world, "/link", &form(&csrf, "org-clean")).await?;
        ensure!(answer.status == 403, "{planted}: {}", answer.status);
        let status = Hand { cookie: Some(planted.clone()) }.get(&world, "/status").await?;
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
