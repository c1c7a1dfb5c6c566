//! What Entra publishes for signing in people of any tenant: where to send them and the keys of its tokens, below
//! `common` (Microsoft identity platform: OpenID Connect).
//!
//! `common` has no issuer of its own. Its document has `{tenantid}` in its place, literally; a token's issuer has the
//! person's tenant, and every key says whose tokens it may sign: any tenant's, in the same words, or one tenant's.
//! What is used of the document must be on the Entra that was configured, or a forged one would get our secret.
//!
//! Document and keys are kept an hour. A key id we do not know has the keys fetched again, at most once a minute.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use http::{Request, StatusCode};
use jiff::{SignedDuration, Timestamp};
use openidconnect::AuthUrl;
use openidconnect::core::{CoreJsonWebKey, CoreProviderMetadata};
use serde_json::Value;
use tradepost::outbound::Outbound;
use tradepost::retry::later;
use url::Url;
use uuid::Uuid;

use crate::access_token::silence;
use crate::entra::Entra;
use crate::publisher::below;
use crate::reading::Fields;

/// How long document and keys are kept.
const LIFE: SignedDuration = SignedDuration::from_hours(1);
/// Not more often are keys fetched for an id we do not know.
const BETWEEN_FETCHES: SignedDuration = SignedDuration::from_mins(1);
/// What stands for the tenant in the names of issuers.
const ANY_TENANT: &str = "{tenantid}";

/// Where people are sent, and where codes are redeemed.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// The browser's.
    pub authorize: AuthUrl,
    /// Ours.
    pub token: Url,
    keys: Url,
}

/// A published key.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// The key.
    pub key: CoreJsonWebKey,
    id: String,
    issuer: String,
}

impl Endpoints {
    /// The same for one tenant: there its guests are of it, too, who are of their own elsewhere.
    pub fn of(self, tenant: Option<Uuid>) -> Self {
        let Some(tenant) = tenant.map(|tenant| tenant.to_string()) else { return self };
        let below = |url: &Url| {
            let mut url = url.clone();
            let path = url.path().replacen("/common/", &format!("/{tenant}/"), 1);
            url.set_path(&path);
            url
        };
        let authorize = AuthUrl::from_url(below(self.authorize.url()));
        Self { authorize, token: below(&self.token), keys: self.keys }
    }
}

impl SigningKey {
    /// Whether it may sign for this issuer, which is the tenant's.
    pub fn is_of(&self, issuer: &str, tenant: Uuid) -> bool {
        self.issuer.replace(ANY_TENANT, &tenant.to_string()) == issuer
    }

    fn read(value: &Value) -> Option<Self> {
        let fields = Fields::of(value)?;
        let key = serde_json::from_value(value.clone()).ok()?;
        Some(Self { key, id: fields.text("kid")?, issuer: fields.text("issuer")? })
    }
}

/// Why something published cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// It cannot be had, or does not read.
    #[error("Entra's documents cannot be had ({0})")]
    Unavailable(&'static str),
    /// The document speaks of another server than the one that was configured.
    #[error("Entra's document leads to another server")]
    Elsewhere,
    /// No published key has this id.
    #[error("no key of Entra has this id")]
    UnknownKey,
}

/// Keeps what Entra publishes.
pub struct Discovery {
    entra: Entra,
    outbound: Arc<Outbound>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    endpoints: Option<(Timestamp, Endpoints)>,
    keys: Vec<SigningKey>,
    /// When the keys were fetched.
    since: Option<Timestamp>,
    /// When they were last asked for.
    asked: Option<Timestamp>,
    /// Why that brought nothing.
    failure: Option<&'static str>,
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Discovery").field("entra", &self.entra).finish_non_exhaustive()
    }
}

impl Discovery {
    /// Of this Entra.
    pub fn new(entra: Entra, outbound: Arc<Outbound>) -> Self {
        Self { entra, outbound, known: Mutex::default() }
    }

    /// Where people of any tenant sign in.
    pub async fn endpoints(&self, now: Timestamp) -> Result<Endpoints, DiscoveryError> {
        let kept = self.known(|known| known.endpoints.clone());
        if let Some((since, endpoints)) = kept
            && now < later(since, LIFE)
        {
            return Ok(endpoints);
        }
        let address = below(&self.entra.url, "common/v2.0/.well-known/openid-configuration");
        let body = document(&self.outbound, &address).await.map_err(DiscoveryError::Unavailable)?;
        let read: CoreProviderMetadata = serde_json::from_value(body).map_err(|_| incomplete())?;
        let endpoints = Endpoints {
            authorize: read.authorization_endpoint().clone(),
            token: read.token_endpoint().ok_or_else(incomplete)?.url().clone(),
            keys: read.jwks_uri().url().clone(),
        };
        let here = self.entra.url.origin();
        let there = [endpoints.authorize.url(), &endpoints.token, &endpoints.keys];
        let named = below(&self.entra.url, &format!("{ANY_TENANT}/v2.0"));
        if there.iter().any(|url| url.origin() != here) || read.issuer().as_str() != named {
            return Err(DiscoveryError::Elsewhere);
        }
        self.known(|known| known.endpoints = Some((now, endpoints.clone())));
        Ok(endpoints)
    }

    /// The published keys with this id, at least one.
    pub async fn keys(&self, id: &str, now: Timestamp) -> Result<Vec<SigningKey>, DiscoveryError> {
        if let Some(settled) = self.known(|known| known.find(id, now)) {
            return settled;
        }
        let address = self.endpoints(now).await?.keys;
        self.known(|known| known.asked = Some(now));
        let fetched = document(&self.outbound, address.as_str()).await;
        let keys = fetched.map(|body| {
            let list = Fields::of(&body).map_or(&[][..], |fields| fields.list("keys"));
            list.iter().filter_map(SigningKey::read).collect::<Vec<_>>()
        });
        self.known(|known| {
            known.failure = match keys {
                Ok(keys) if keys.is_empty() => Some("no keys"),
                Ok(keys) => {
                    (known.keys, known.since) = (keys, Some(now));
                    None
                }
                Err(why) => Some(why),
            };
            known.find(id, now).unwrap_or(Err(DiscoveryError::Unavailable(known.failure.unwrap_or("no keys"))))
        })
    }

    fn known<R>(&self, of: impl FnOnce(&mut Known) -> R) -> R {
        of(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Known {
    /// The keys, or why there are none; nothing if they should be fetched to know.
    fn find(&self, id: &str, now: Timestamp) -> Option<Result<Vec<SigningKey>, DiscoveryError>> {
        if self.since.is_none_or(|since| now >= later(since, LIFE)) {
            return None;
        }
        let just_asked = self.asked.is_some_and(|asked| now < later(asked, BETWEEN_FETCHES));
        (just_asked || self.keys.iter().any(|key| key.id == id)).then(|| self.settled(id))
    }

    fn settled(&self, id: &str) -> Result<Vec<SigningKey>, DiscoveryError> {
        let found: Vec<_> = self.keys.iter().filter(|key| key.id == id).cloned().collect();
        match self.failure {
            None if found.is_empty() => Err(DiscoveryError::UnknownKey),
            // Without the newest list it cannot be said that the key is none of Entra's.
            Some(why) if found.is_empty() => Err(DiscoveryError::Unavailable(why)),
            None | Some(_) => Ok(found),
        }
    }
}

fn incomplete() -> DiscoveryError {
    DiscoveryError::Unavailable("an incomplete document")
}

/// A JSON document, or in fixed words why there is none.
pub(crate) async fn document(outbound: &Outbound, address: &str) -> Result<Value, &'static str> {
    let request = Request::get(address).header("accept", "application/json");
    let request = request.body(Vec::new()).map_err(|_| "the request could not be made")?;
    let answer = outbound.send(request).await.map_err(|error| silence(&error))?;
    if answer.status() != StatusCode::OK {
        return Err("not answered with 200");
    }
    serde_json::from_slice(answer.body()).map_err(|_| "not JSON")
}
