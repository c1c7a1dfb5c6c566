//! The buyer's sign-in against the simulated Entra: the browser is sent there, an account is picked, the code that
//! comes back says who the person is.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, ensure};
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode, header};
use jiff::SignedDuration;
use tower::ServiceExt as _;
use tradepost::outbound::Outbound;
use tradepost::web::session::SigningIn;
use tradepost_azure::buyer::{Buyer, BuyerError, BuyerSignIn, Prompt};
use tradepost_azure::entra::Entra;
use tradepost_azure::secret::Secret;
use tradepost_local::azure_marketplace as sim;
use tradepost_local::clock::Clock;
use url::Url;

type Outcome = anyhow::Result<()>;

const APP: &str = "0c4b7a1e-2f3d-4b5c-8d6e-7f8091a2b3c4";
const SIGN_IN: &str = "b6d0a3f7-5c1e-4f2a-9b8d-1e2f3a4b5c6d";
const SECRET: &str = "s+e/c=r et";
const CALLBACK: &str = "http://tradepost.localhost/sign-in/callback";
const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

struct Bench {
    market: sim::AzureMarketplace,
    clock: Clock,
    base: String,
    sign_in: BuyerSignIn,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Bench {
    async fn new() -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let base = format!("http://127.0.0.1:{}", listener.local_addr()?.port());
        let config = sim::Config {
            publisher_id: "emqx".to_owned(),
            seller_name: "EMQX".to_owned(),
            tenant_id: "5a3e1c52-7d0f-4a6e-9a53-0d7c3f2b1a90".to_owned(),
            app_id: APP.to_owned(),
            client_secret: None,
            managed_identity: None,
            sign_in: sim::SignInApp {
                client_id: SIGN_IN.to_owned(),
                client_secret: SECRET.to_owned(),
                redirect_uris: vec![CALLBACK.to_owned()],
            },
            offers: Vec::new(),
            webhook_url: "http://tradepost.localhost/api/azure/webhook".to_owned(),
            pages_url: "http://azure.localhost".to_owned(),
            api_url: base.clone(),
            authority_url: base.clone(),
            sts_url: base.clone(),
            start_url: "http://localhost".to_owned(),
        };
        let clock = Clock::default();
        let market = sim::AzureMarketplace::new(config, clock.clone());
        let api = market.api();
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, api).await;
        });
        let sign_in = application(&base, SECRET)?;
        Ok(Self { market, clock, base, sign_in, server })
    }

    fn under_way(&self, silent: bool) -> SigningIn {
        SigningIn {
            method: "microsoft".to_owned(),
            state: "the state+/=".to_owned(),
            nonce: "the nonce".to_owned(),
            verifier: "a-verifier-of-at-least-forty-three-characters".to_owned(),
            silent,
            since: self.clock.now(),
        }
    }

    async fn begin(&self, prompt: Prompt) -> anyhow::Result<Url> {
        let under_way = self.under_way(prompt == Prompt::Silent);
        Ok(Url::parse(&self.sign_in.begin(&under_way, prompt, None, self.clock.now()).await?)?)
    }

    async fn redeem(&self, code: String) -> Result<Buyer, BuyerError> {
        self.sign_in.redeem(&self.under_way(false), code, None, self.clock.now()).await
    }

    /// The browser opens an address, with the cookie it has.
    async fn open(&self, url: &Url, cookie: Option<&str>) -> anyhow::Result<(StatusCode, HeaderMap, String)> {
        let request = Request::get(format!("{}?{}", url.path(), url.query().unwrap_or_default()))
            .header(header::COOKIE, cookie.unwrap_or_default());
        self.browse(request.body(Body::empty())?).await
    }

    async fn browse(&self, request: Request<Body>) -> anyhow::Result<(StatusCode, HeaderMap, String)> {
        let answer = self.market.api().oneshot(request).await?;
        let (head, body) = answer.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await?;
        Ok((head.status, head.headers, String::from_utf8_lossy(&body).into_owned()))
    }

    /// Picks an account on the page behind an address. Gives what came back and the cookie that was set.
    async fn pick(&self, url: &Url, account: &str) -> anyhow::Result<(BTreeMap<String, String>, String)> {
        let (status, _, page) = self.open(url, None).await?;
        ensure!(status == StatusCode::OK && page.contains(&format!("id=\"account-{account}\"")), "{status} {page}");
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        let form = form.extend_pairs(url.query_pairs()).append_pair("account", account).finish();
        let (_, headers, _) = self.browse(Request::post(url.path()).body(Body::from(form))?).await?;
        let cookie = headers.get(header::SET_COOKIE).context("no cookie")?.to_str()?;
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        Ok((came_back(&headers)?, cookie))
    }

    async fn signed_in(&self, account: &str) -> anyhow::Result<Buyer> {
        let (mut back, _) = self.pick(&self.begin(Prompt::Usual).await?, account).await?;
        ensure!(back.get("state").map(String::as_str) == Some("the state+/="), "{back:?}");
        Ok(self.redeem(back.remove("code").context("no code")?).await?)
    }
}

fn application(base: &str, secret: &str) -> anyhow::Result<BuyerSignIn> {
    let entra = Entra { url: base.parse()?, v1_issuer: base.parse()? };
    let outbound = Arc::new(Outbound::default());
    Ok(BuyerSignIn::new(entra, SIGN_IN.parse()?, Secret::new(secret), CALLBACK.to_owned(), outbound))
}

/// What Entra's answer says to the callback.
fn came_back(headers: &HeaderMap) -> anyhow::Result<BTreeMap<String, String>> {
    let location = headers.get(header::LOCATION).context("sent nowhere")?.to_str()?;
    ensure!(location.starts_with(&format!("{CALLBACK}?")), "{location}");
    Ok(Url::parse(location)?.query_pairs().into_owned().collect())
}

#[tokio::test]
async fn whoever_picks_an_account_is_that_person() -> Outcome {
    let bench = Bench::new().await?;
    let (ana, ben, cleo) =
        (bench.signed_in("ana").await?, bench.signed_in("ben").await?, bench.signed_in("cleo").await?);
    for (person, name, email) in [
        (&ana, "Ana Ortiz", "ana@aurora.example"),
        (&ben, "Ben Okafor", "ben@birch.example"),
        (&cleo, "Cleo Marsh", "cleo@mail.example"),
    ] {
        ensure!(person.name.as_deref() == Some(name) && person.email.as_deref() == Some(email), "{person:?}");
        ensure!(person.issuer == format!("{}/{}/v2.0", bench.base, person.tenant), "{}", person.issuer);
    }
    ensure!(cleo.tenant.to_string() == PERSONAL, "{cleo:?}");
    ensure!(ana.tenant != ben.tenant && ana.tenant != cleo.tenant);
    ensure!(bench.signed_in("ana").await? == ana, "the same person again");
    Ok(())
}

#[tokio::test]
async fn silence_finds_only_who_is_signed_in_already() -> Outcome {
    let bench = Bench::new().await?;
    let silent = bench.begin(Prompt::Silent).await?;
    let (_, headers, _) = bench.open(&silent, None).await?;
    let back = came_back(&headers)?;
    ensure!(back.get("error").map(String::as_str) == Some("login_required"), "{back:?}");
    ensure!(back.get("state").map(String::as_str) == Some("the state+/="), "{back:?}");
    ensure!(!back.contains_key("code"), "{back:?}");

    for account in ["ana", "cleo"] {
        let (_, cookie) = bench.pick(&bench.begin(Prompt::Usual).await?, account).await?;
        let (_, headers, _) = bench.open(&silent, Some(&cookie)).await?;
        let code = came_back(&headers)?.remove("code").context("no code")?;
        let person = bench.redeem(code).await?;
        ensure!(person == bench.signed_in(account).await?, "{person:?}");
        let other = bench.begin(Prompt::ChooseAccount).await?;
        let (status, _, page) = bench.open(&other, Some(&cookie)).await?;
        ensure!(status == StatusCode::OK && page.contains("account-ben"), "the choice is offered again: {status}");
    }
    Ok(())
}

#[tokio::test]
async fn a_code_is_good_once_in_time_for_who_asked_for_it() -> Outcome {
    let bench = Bench::new().await?;
    let code = async || {
        let (mut back, _) = bench.pick(&bench.begin(Prompt::Usual).await?, "ana").await?;
        back.remove("code").context("no code")
    };
    let is_refused = |what: &str, redeemed: Result<Buyer, BuyerError>| {
        ensure!(matches!(redeemed, Err(BuyerError::NotProven(_))), "{what}: {redeemed:?}");
        anyhow::Ok(())
    };
    let once = code().await?;
    bench.redeem(once.clone()).await?;
    is_refused("twice", bench.redeem(once).await)?;
    is_refused("made up", bench.redeem("0.made-up".to_owned()).await)?;
    let mut other = bench.under_way(false);
    other.verifier = "another-verifier-of-at-least-forty-three-characters".to_owned();
    is_refused("another browser's", bench.sign_in.redeem(&other, code().await?, None, bench.clock.now()).await)?;
    let mut other = bench.under_way(false);
    other.nonce = "another".to_owned();
    is_refused("another sign-in's", bench.sign_in.redeem(&other, code().await?, None, bench.clock.now()).await)?;
    let late = code().await?;
    bench.clock.push(SignedDuration::from_mins(11));
    is_refused("late", bench.redeem(late).await)?;

    let wrong = application(&bench.base, "another secret")?;
    let refused = wrong.redeem(&bench.under_way(false), code().await?, None, bench.clock.now()).await;
    ensure!(matches!(refused, Err(BuyerError::Settings(_))), "{refused:?}");
    Ok(())
}
