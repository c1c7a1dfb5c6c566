//! Everybody a function depends on, asked in a way that changes nothing.

use std::sync::Arc;

use http::StatusCode;
use jiff::Timestamp;
use serde_json::Value;
use tradepost::control_plane::{ControlPlane, ControlPlaneError};
use tradepost::disposition::chain;
use tradepost::ledger::{Ledger, Provider};
use tradepost::outbound::Outbound;
use tradepost::policy::Policy;
use tradepost::settings::Settings;
use tradepost::web::App;
use tradepost::web::health::Reach;

use super::Finding;

/// An organization that no vendor has.
const NOBODY: &str = "tradepost-doctor-looks-for-nobody";
/// A well-formed secret of nobody.
const STRANGER: &str = "whsec_dHJhZGVwb3N0LWRvY3Rvci1pcy1hLXN0cmFuZ2Vy";

/// Settings that do not read. The functions have the policy beside them, whoever runs this has it somewhere else.
pub fn unreadable(why: &str) -> Finding {
    let hint = if why.starts_with("TRADEPOST_POLICY") { "; name yours with --policy" } else { "" };
    Finding::wrong("settings", format!("{why}{hint}"))
}

/// The policy: whether it sells here.
pub fn sells(policy: &Policy, marketplace: Provider) -> Finding {
    let listings = policy.listings.iter().filter(|listing| listing.marketplace == marketplace).count();
    match listings {
        0 => Finding::wrong(
            "policy",
            format!("{} sells nothing on {marketplace}: the policy has no listing there", policy.vendor),
        ),
        many => Finding::well("policy", format!("{}, {many} listing(s) on {marketplace}", policy.vendor)),
    }
}

/// The table: its key, its indexes, its expiry, and that it is protected.
pub async fn table(ledger: &Ledger) -> Vec<Finding> {
    match ledger.examined().await {
        Err(error) => vec![Finding::wrong("table", format!("it cannot be described: {}", chain(&error)))],
        Ok(faults) if faults.is_empty() => {
            vec![Finding::well("table", "its key, both indexes and its expiry are as they must be")]
        }
        Ok(faults) => faults.into_iter().map(|fault| Finding::wrong("table", fault)).collect(),
    }
}

/// The vendor's control plane: it has to know our signature, and to refuse a stranger's.
pub async fn control_plane(
    ours: &ControlPlane,
    settings: &Settings,
    outbound: &Arc<Outbound>,
    now: Timestamp,
) -> Vec<Finding> {
    const ABOUT: &str = "control plane";
    let known = match ours.organization(NOBODY, now).await {
        Err(error) if error.is_gone() => {
            Finding::well(ABOUT, "it knows our signature, and says so of an organization it does not know")
        }
        Ok(_) => Finding::wrong(ABOUT, format!("it claims to have an organization {NOBODY}")),
        Err(ControlPlaneError::NotFound(code)) => Finding::wrong(
            ABOUT,
            format!(
                "404 with the code {code:?} for an unknown organization, not organization_not_found: is the address right?"
            ),
        ),
        Err(error) => Finding::wrong(ABOUT, chain(&error)),
    };
    let stranger = ControlPlane::new(&settings.control_plane_url, STRANGER, Arc::clone(outbound), "doctor".to_owned());
    let refused = match stranger {
        Err(error) => Finding::unseen(ABOUT, chain(&error)),
        Ok(stranger) => match stranger.organization(NOBODY, now).await {
            Err(ControlPlaneError::Refused(_)) => Finding::well(ABOUT, "it refuses a stranger's signature"),
            Err(ControlPlaneError::Unavailable(why)) => {
                Finding::unseen(ABOUT, format!("whether it refuses a stranger: {why}"))
            }
            Ok(_)
            | Err(ControlPlaneError::NotFound(_) | ControlPlaneError::Conflict(_) | ControlPlaneError::Secret) => {
                Finding::wrong(
                    ABOUT,
                    "it answers a stranger: signatures are not checked, and anybody may stop and delete",
                )
            }
        },
    };
    vec![known, refused]
}

/// The ways to sign in: each provider's discovery document and keys.
pub async fn sign_in(app: &App, now: Timestamp) -> Vec<Finding> {
    let mut found = Vec::new();
    for (id, answer) in app.sign_in.examined(now).await {
        found.push(match answer {
            Ok(issuer) => {
                Finding::well("sign-in", format!("{id}: {issuer} has its document, a token endpoint and keys"))
            }
            Err(error) => Finding::wrong("sign-in", format!("{id}: {}", chain(&error))),
        });
    }
    found
}

/// The marketplace, asked about a landing of nobody.
pub fn marketplace(reach: Reach, whom: &str) -> Finding {
    match reach {
        Reach::Answers => Finding::well("marketplace", format!("{whom} answers us")),
        Reach::Silent => Finding::wrong("marketplace", format!("{whom} does not answer just now; try again")),
        Reach::Refuses => Finding::wrong(
            "marketplace",
            format!("{whom} refuses us: credentials, role or account are not the seller's"),
        ),
    }
}

/// The public address: what is deployed there says itself how it is.
pub async fn address(outbound: &Outbound, public_url: &str) -> Finding {
    const ABOUT: &str = "public address";
    let Ok(request) = http::Request::get(format!("{public_url}/health")).body(Vec::new()) else {
        return Finding::wrong(ABOUT, format!("{public_url} is no address"));
    };
    let answer = match outbound.send(request).await {
        Ok(answer) => answer,
        Err(error) => return Finding::wrong(ABOUT, format!("{public_url} does not answer ({})", chain(&error))),
    };
    let (status, body) = (answer.status(), serde_json::from_slice::<Value>(answer.body()).unwrap_or_default());
    let member = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
    match status {
        StatusCode::OK if member("status") == "well" => {
            Finding::well(ABOUT, format!("{public_url} is well, version {}", member("version")))
        }
        StatusCode::SERVICE_UNAVAILABLE if body.is_object() => Finding::wrong(
            ABOUT,
            format!("{public_url} is ill: its table {}, its marketplace {}", member("table"), member("marketplace")),
        ),
        other => Finding::wrong(
            ABOUT,
            format!("{public_url}/health answers {other}: there is no Tradepost, or it cannot start"),
        ),
    }
}

/// What is sent nowhere just to see whether it arrives.
pub fn others(settings: &Settings) -> Vec<Finding> {
    let events = match &settings.events_url {
        Some(url) => Finding::unseen("events", format!("nothing is sent to {url} to see; the first event shows")),
        None => Finding::well("events", "kept and not sent: no address is set"),
    };
    let mail = match &settings.mail {
        Some(_) => Finding::unseen("e-mail", "nothing is sent to see; the first message shows"),
        None => Finding::well("e-mail", "none is sent: no way is set"),
    };
    vec![events, mail]
}
