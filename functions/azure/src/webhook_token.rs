//! Who sent a webhook. It carries an access token of the publisher's tenant (Microsoft: Implementing a webhook on the
//! SaaS service); whoever it was issued to must be the marketplace itself, since any application of the tenant can get
//! a token for our audience.
//!
//! Checked: RS256 and nothing else, whatever the header says; a key of the publisher's tenant; audience; tenant;
//! caller (`appid` in v1 tokens, `azp` in v2); one of the two issuers; its times. Keys are kept 12 hours. A key id we
//! do not know has them fetched again, at most once a minute, or forged ids would be a way to flood Entra through us.
//! Keys that cannot be had are no refusal: the route answers 503 and Microsoft comes again.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, header};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;
use tokio::sync::Mutex;
use tradepost::disposition::{Dispose, Disposition};
use tradepost::outbound::Outbound;
use tradepost::retry::later;
use uuid::Uuid;

use crate::discovery;
use crate::entra::Entra;
use crate::publisher::{MARKETPLACE, below};
use crate::reading::Fields;

/// How long keys are kept.
const KEYS_LIFE: SignedDuration = SignedDuration::from_hours(12);
/// Not more often are keys fetched for an id we do not know.
const BETWEEN_FETCHES: SignedDuration = SignedDuration::from_mins(1);
/// Not more often are keys fetched that could not be had.
const AFTER_FAILURE: SignedDuration = SignedDuration::from_secs(5);
/// How far clocks may differ.
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);
/// No token is longer.
const LONGEST_TOKEN: usize = 16 * 1024;

/// Something whose sender has been checked. Only [`WebhookVerifier::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// What was sent.
    pub fn get(&self) -> &T {
        &self.0
    }

    /// What was sent, without the proof.
    pub fn into_inner(self) -> T {
        self.0
    }

    /// What is read from it is as verified as it is.
    pub fn try_map<U, E>(self, read: impl FnOnce(T) -> Result<U, E>) -> Result<Verified<U>, E> {
        read(self.0).map(Verified)
    }
}

/// Why a token proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// There is no `Authorization` header.
    MissingHeader,
    /// The header is not one `Bearer …`.
    NotBearer,
    /// Not a token.
    Malformed,
    /// Not RS256.
    WrongAlgorithm,
    /// No key of the tenant has its id.
    UnknownKey,
    /// Not signed with the key it names.
    BadSignature,
    /// For somebody else.
    WrongAudience,
    /// Of another tenant.
    WrongTenant,
    /// Not issued to the marketplace.
    WrongCaller,
    /// By neither of the tenant's issuers.
    WrongIssuer,
    /// Too old, or without an end.
    Expired,
    /// Not valid yet.
    NotYetValid,
}

impl Refusal {
    /// A fixed code for the log. The sender gets none of it.
    pub fn code(self) -> &'static str {
        match self {
            Self::MissingHeader => "missing_header",
            Self::NotBearer => "not_bearer",
            Self::Malformed => "malformed",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::WrongAudience => "wrong_audience",
            Self::WrongTenant => "wrong_tenant",
            Self::WrongCaller => "wrong_caller",
            Self::WrongIssuer => "wrong_issuer",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A webhook that is not to be believed, or not yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebhookTokenError {
    /// The keys cannot be had: 503.
    #[error("the keys for webhook tokens cannot be had ({0})")]
    Unavailable(&'static str),
    /// The token proves nothing: 401.
    #[error("the webhook's token was refused ({0})")]
    Refused(Refusal),
}

impl Dispose for WebhookTokenError {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Unavailable(_) => Disposition::Retry,
            Self::Refused(_) => Disposition::Reject,
        }
    }
}

impl From<Refusal> for WebhookTokenError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Checks webhooks sent to one publisher.
pub struct WebhookVerifier {
    entra: Entra,
    tenant: Uuid,
    app: Uuid,
    outbound: Arc<Outbound>,
    keys: RwLock<Keys>,
    fetching: Mutex<()>,
}

impl fmt::Debug for WebhookVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookVerifier").field("tenant", &self.tenant).field("app", &self.app).finish_non_exhaustive()
    }
}

/// The tenant's keys, as far as they are known.
#[derive(Default)]
struct Keys {
    by_id: HashMap<String, DecodingKey>,
    /// When they were fetched.
    since: Option<Timestamp>,
    /// Why the last fetch brought nothing, or not everything.
    failure: Option<&'static str>,
    /// When that was.
    tried: Option<Timestamp>,
}

impl WebhookVerifier {
    /// For the tenant and application of the offer's technical configuration; keys are fetched from `entra`, and a
    /// token must be issued in one of the tenant's two names there.
    pub fn new(entra: Entra, tenant: Uuid, app: Uuid, outbound: Arc<Outbound>) -> Self {
        Self { entra, tenant, app, outbound, keys: RwLock::default(), fetching: Mutex::new(()) }
    }

    /// Checks who sent `payload` with these headers.
    pub async fn verify<T>(
        &self,
        headers: &HeaderMap,
        payload: T,
        now: Timestamp,
    ) -> Result<Verified<T>, WebhookTokenError> {
        let token = bearer(headers)?;
        let key_id = key_id(token)?;
        let key = self.key(&key_id, now).await?;
        let claims = signed_claims(token, &key)?;
        self.check(&claims, now)?;
        Ok(Verified(payload))
    }

    fn check(&self, claims: &Value, now: Timestamp) -> Result<(), Refusal> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let is = |name: &str, expected: Uuid| {
            text(name).map(|text| Uuid::try_parse(text).is_ok_and(|given| given == expected))
        };
        let audience = text("aud").map(|text| text.strip_prefix("api://").unwrap_or(text));
        if audience.and_then(|text| Uuid::try_parse(text).ok()) != Some(self.app) {
            return Err(Refusal::WrongAudience);
        }
        if is("tid", self.tenant) != Some(true) {
            return Err(Refusal::WrongTenant);
        }
        let callers = [is("appid", MARKETPLACE), is("azp", MARKETPLACE)];
        if !callers.contains(&Some(true)) || callers.contains(&Some(false)) {
            return Err(Refusal::WrongCaller);
        }
        let issuers = [self.entra.issuer_v1(self.tenant), self.entra.issuer_v2(self.tenant)];
        if !text("iss").is_some_and(|given| issuers.iter().any(|issuer| issuer == given)) {
            return Err(Refusal::WrongIssuer);
        }
        let instant =
            |name: &str| claims.get(name).and_then(Value::as_i64).and_then(|at| Timestamp::from_second(at).ok());
        if instant("exp").is_none_or(|end| now >= later(end, LEEWAY)) {
            return Err(Refusal::Expired);
        }
        match (claims.get("nbf"), instant("nbf")) {
            (None, _) => Ok(()),
            (Some(_), Some(start)) if start <= later(now, LEEWAY) => Ok(()),
            (Some(_), _) => Err(Refusal::NotYetValid),
        }
    }

    /// The key with this id. Whoever names a known one never waits for a fetch that somebody else's unknown one caused.
    async fn key(&self, id: &str, now: Timestamp) -> Result<DecodingKey, WebhookTokenError> {
        if let Some(settled) = self.read(|keys| keys.find(id, now)) {
            return settled;
        }
        let _only = self.fetching.lock().await;
        if let Some(settled) = self.read(|keys| keys.find(id, now)) {
            return settled;
        }
        let fetched = self.fetch().await;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        keys.tried = Some(now);
        let (v1, v2) = fetched;
        keys.failure = v1.as_ref().err().or(v2.as_ref().err()).copied();
        let found: HashMap<_, _> = [v1, v2].into_iter().flatten().flatten().collect();
        if keys.failure.is_some() && keys.are_fresh(now) {
            // Half a list takes nothing away from the whole one there was, and does not make it younger.
            keys.by_id.extend(found);
        } else if !found.is_empty() {
            keys.by_id = found;
            keys.since = Some(now);
        }
        keys.find(id, now).unwrap_or(Err(WebhookTokenError::Unavailable("the clock has moved")))
    }

    fn read<R>(&self, of: impl FnOnce(&Keys) -> R) -> R {
        of(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Both lists of the tenant: v1 and v2 tokens are signed with keys of either.
    async fn fetch(&self) -> (Fetched, Fetched) {
        let v1 = self.fetch_from(format!("{}/discovery/keys", self.tenant));
        let v2 = self.fetch_from(format!("{}/discovery/v2.0/keys", self.tenant));
        let fetched = tokio::join!(v1, v2);
        let say = |result: &Fetched| result.as_ref().err().copied().unwrap_or("ok");
        tracing::info!(v1 = say(&fetched.0), v2 = say(&fetched.1), "fetched the keys for webhook tokens");
        fetched
    }

    async fn fetch_from(&self, path: String) -> Fetched {
        let body = discovery::document(&self.outbound, &below(&self.entra.url, &path)).await?;
        let keys: Vec<_> =
            Fields::of(&body).map_or(&[][..], |fields| fields.list("keys")).iter().filter_map(rsa).collect();
        if keys.is_empty() { Err("no keys") } else { Ok(keys) }
    }
}

type Fetched = Result<Vec<(String, DecodingKey)>, &'static str>;

impl Keys {
    fn are_fresh(&self, now: Timestamp) -> bool {
        self.since.is_some_and(|since| now < later(since, KEYS_LIFE))
    }

    /// The key, or why there is none; nothing if they should be fetched to know.
    fn find(&self, id: &str, now: Timestamp) -> Option<Result<DecodingKey, WebhookTokenError>> {
        let fresh = self.are_fresh(now);
        if fresh && let Some(key) = self.by_id.get(id) {
            return Some(Ok(key.clone()));
        }
        let pause = if fresh { BETWEEN_FETCHES } else { AFTER_FAILURE };
        if self.tried.is_none_or(|tried| now >= later(tried, pause)) {
            return None;
        }
        Some(Err(match self.failure {
            // Without a whole list it cannot be said that the key is none of the tenant's.
            Some(failure) => WebhookTokenError::Unavailable(failure),
            None => Refusal::UnknownKey.into(),
        }))
    }
}

/// An RSA key for signatures, as it stands in a list of keys.
fn rsa(key: &Value) -> Option<(String, DecodingKey)> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    if text("kty") != Some("RSA") || text("use").is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    Some((text("kid")?.to_owned(), DecodingKey::from_rsa_components(text("n")?, text("e")?).ok()?))
}

/// The token of the one `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let value = all.next().ok_or(Refusal::MissingHeader)?;
    let (None, Ok(value)) = (all.next(), value.to_str()) else { return Err(Refusal::NotBearer) };
    let (scheme, token) = value.trim().split_once(' ').ok_or(Refusal::NotBearer)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::NotBearer);
    }
    let token = token.trim();
    if token.is_empty() || token.len() > LONGEST_TOKEN { Err(Refusal::Malformed) } else { Ok(token) }
}

/// The id of the key a token says it is signed with. Its header is asked for nothing else; an algorithm other than
/// ours, and extensions it says must be understood, end the check.
pub(crate) fn key_id(token: &str) -> Result<String, Refusal> {
    let mut parts = token.split('.');
    let (Some(header), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(Refusal::Malformed);
    };
    let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| Refusal::Malformed)?;
    let header: Value = serde_json::from_slice(&header).map_err(|_| Refusal::Malformed)?;
    if header.get("alg").and_then(Value::as_str) != Some("RS256") {
        return Err(Refusal::WrongAlgorithm);
    }
    if header.get("crit").is_some() {
        return Err(Refusal::Malformed);
    }
    header.get("kid").and_then(Value::as_str).map(str::to_owned).ok_or(Refusal::UnknownKey)
}

/// The claims, once the signature holds. What they must say is checked by [`WebhookVerifier::check`], by our clock.
fn signed_claims(token: &str, key: &DecodingKey) -> Result<Value, Refusal> {
    let mut rules = Validation::new(Algorithm::RS256);
    rules.required_spec_claims.clear();
    rules.validate_exp = false;
    rules.validate_nbf = false;
    rules.validate_aud = false;
    let decoded = jsonwebtoken::decode::<Value>(token, key, &rules);
    decoded.map(|token| token.claims).map_err(|error| {
        let forged = matches!(error.kind(), ErrorKind::InvalidSignature);
        if forged { Refusal::BadSignature } else { Refusal::Malformed }
    })
}
