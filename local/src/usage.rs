//! Usage by hand: `usage upload FILE.csv` reports a file of it, `usage report` shows what has not been billed. Both are
//! clients of Tradepost's API, wherever it runs.

pub mod unbilled;
pub mod upload;

mod lines;
mod refused;

use std::time::Duration;

use anyhow::{Context, ensure};
use url::{Host, Url};

use crate::vendor::signed_client::{NotTold, SignedClient};

/// Where the secret comes from; a command line can be read by others on the machine.
pub const SECRET_VARIABLE: &str = "TRADEPOST_VENDOR_API_SECRET";
/// A call of five hundred events is that many transactions.
const TIMEOUT: Duration = Duration::from_secs(60);

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
