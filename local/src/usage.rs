//! Usage by hand: `usage upload FILE.csv` reports a file of it, `usage report` shows what has not been billed. Both are
//! clients of Tradepost's API, wherever it runs.

pub mod unbilled;
pub mod upload;

pub mod lines;
mod refused;

use std::time::Duration;

use anyhow::{Context, ensure};
use http::StatusCode;
use jiff::Timestamp;
use serde_json::json;
use url::{Host, Url};

use crate::progress::Terminal;
use crate::vendor::signed_client::{NotTold, SignedClient};

/// Where the secret comes from; a command line can be read by others on the machine.
pub const SECRET_VARIABLE: &str = "TRADEPOST_VENDOR_API_SECRET";
/// A call of five hundred events is that many transactions.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The pause after the first try that failed; each is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A client of Tradepost at that address.
///
/// # Errors
/// If the address or the secret cannot be used; which, and what it should be.
pub fn client(to: &str, secret: Option<&str>) -> anyhow::Result<SignedClient> {
    let secret = secret.with_context(|| {
        format!("set {SECRET_VARIABLE} to the secret vendor_api (whsec_…) of that Tradepost; it is never an argument")
    })?;
    let url = Url::parse(to)
        .with_context(|| format!("--to {to} is not an address such as https://marketplace.example.com"))?;
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    ensure!(
        url.scheme() == "https" || (url.scheme() == "http" && here),
        "--to must begin with https:// (http:// only for this machine)"
    );
    ensure!(
        url.query().is_none() && url.fragment().is_none(),
        "--to is the public address of Tradepost, without ? and #"
    );
    let mut builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(TIMEOUT);
    if here {
        builder = builder.no_proxy();
        if let Some(Host::Domain(name)) = url.host() {
            builder = builder.resolve(name, std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
        }
    }
    let secret = Some(secret.trim()).filter(|secret| secret.starts_with("whsec_"));
    let client = builder.build()?;
    let client = secret.and_then(|secret| SignedClient::new(to.trim_end_matches('/'), secret, client));
    client.with_context(|| format!("{SECRET_VARIABLE} is not a Standard Webhooks secret (whsec_ and base64)"))
}

/// A failure in one line for people.
pub(crate) fn told(error: &NotTold) -> String {
    match error {
        NotTold::NoAnswer(error) if error.is_timeout() => "no answer in time".to_owned(),
        NotTold::NoAnswer(error) if error.is_connect() => "nobody answers at that address".to_owned(),
        NotTold::NoAnswer(_) => "the connection broke off".to_owned(),
        NotTold::Setup
        | NotTold::Unsigned(_)
        | NotTold::Refused { .. }
        | NotTold::TooLarge
        | NotTold::Unreadable(_) => error.to_string(),
    }
}

/// The answer to a call that may be repeated, asked again and again while the failure may pass.
pub(crate) async fn patiently(
    client: &SignedClient,
    path: &str,
    body: &str,
    tries: u32,
    terminal: Terminal,
) -> Result<Vec<u8>, NotTold> {
    let mut pause = FIRST_PAUSE;
    let mut tried = 1;
    loop {
        match client.call(path, body.to_owned(), Timestamp::now()).await {
            Ok(answer) => return Ok(answer),
            Err(error) if passes(&error) && tried < tries => {
                terminal.object(&json!({"waiting": pause.as_secs(), "because": error.to_string()}));
                terminal.quiet(&format!("  {}; trying again in {} s", told(&error), pause.as_secs()));
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                tried = tried.saturating_add(1);
            }
            Err(error) => return Err(error),
        }
    }
}

/// A failure that ends a command, and what to do.
pub(crate) fn ends(error: &NotTold) -> anyhow::Error {
    anyhow::anyhow!("{}{}", told(error), advice(error))
}

/// Whether the same call may be taken in a while.
fn passes(error: &NotTold) -> bool {
    match error {
        NotTold::NoAnswer(_) => true,
        NotTold::Refused { status, .. } => {
            status.is_server_error() || matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
        }
        NotTold::Setup | NotTold::Unsigned(_) | NotTold::TooLarge | NotTold::Unreadable(_) => false,
    }
}

fn advice(error: &NotTold) -> &'static str {
    let NotTold::Refused { status, .. } = error else { return "" };
    match *status {
        StatusCode::UNAUTHORIZED => {
            " Is the secret the vendor_api of that Tradepost, and does this machine's clock go right?"
        }
        StatusCode::NOT_FOUND => {
            " Is --to the public address of Tradepost (on Azure it ends with /api), and has it a secret vendor_api?"
        }
        _ => "",
    }
}
