//! Whether a control plane call comes from Tradepost, is fresh, and was never heard before.
//!
//! Three checks, in this order. The *signature*, an HMAC-SHA-256 over id, timestamp and body after the Standard
//! Webhooks specification, says who sent it. The *timestamp* must lie within five minutes of the vendor's own clock,
//! so an old recording is worthless. The *id* is accepted once, so a fresh recording is worthless too; an id needs
//! remembering only until its timestamp is too old anyway. Nothing of the body is believed before that.

use http::{HeaderMap, StatusCode};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use standardwebhooks::Webhook;

use super::control_plane::Refusal;
use super::state::State;

const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// Knows the secret that signs the calls; without a usable one every call is refused.
pub(super) struct Receiver {
    webhook: Option<Webhook>,
}

/// A call that Tradepost signed not long ago. Only [`Receiver::verify`] makes one.
pub(super) struct Signed {
    id: String,
    sent_at: Timestamp,
}

impl Signed {
    /// Its `webhook-id`.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl Receiver {
    pub fn new(secret: &str) -> Self {
        let webhook = Webhook::new(secret).ok();
        if webhook.is_none() {
            tracing::error!("the control plane secret is not a Standard Webhooks secret; every call will be refused");
        }
        Self { webhook }
    }

    /// Checks signature and timestamp.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<Signed, Refusal> {
        let webhook = self.webhook.as_ref().ok_or(UNUSABLE_SECRET)?;
        let id = header(headers, "webhook-id").filter(|id| !id.is_empty() && id.len() <= 255).ok_or(HEADERS)?;
        let seconds = header(headers, "webhook-timestamp").and_then(|text| text.parse().ok()).ok_or(HEADERS)?;
        let signatures = header(headers, "webhook-signature").ok_or(HEADERS)?;

        let expected = webhook.sign(id, seconds, body).map_err(|_| SIGNATURE)?;
        // Several signatures at once are how a secret is changed without an outage.
        if !signatures.split(' ').any(|given| same(given, &expected)) {
            return Err(SIGNATURE);
        }
        let sent_at = Timestamp::from_second(seconds).map_err(|_| STALE)?;
        if sent_at.duration_since(now).abs() > TOLERANCE {
            return Err(STALE);
        }
        Ok(Signed { id: id.to_owned(), sent_at })
    }
}

impl State {
    /// Accepts the id of a call, once.
    pub fn accept_once(&mut self, call: &Signed, now: Timestamp) -> Result<(), Refusal> {
        self.seen_calls.retain(|_, until| *until >= now);
        let until = call.sent_at.checked_add(TOLERANCE).unwrap_or(Timestamp::MAX);
        match self.seen_calls.insert(call.id.clone(), until) {
            None => Ok(()),
            Some(_) => Err(REPLAYED),
        }
    }
}

/// Compares without telling by the time it takes how much is right.
pub(super) fn same(given: &str, expected: &str) -> bool {
    Sha256::digest(given) == Sha256::digest(expected)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

const UNUSABLE_SECRET: Refusal =
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "secret_unusable", "The receiver has no usable secret.");
const HEADERS: Refusal = Refusal::new(
    StatusCode::UNAUTHORIZED,
    "signature_missing",
    "The headers webhook-id, webhook-timestamp and webhook-signature must all be there.",
);
const SIGNATURE: Refusal = Refusal::new(
    StatusCode::UNAUTHORIZED,
    "signature_invalid",
    "No signature fits the id, the timestamp and the body.",
);
const STALE: Refusal = Refusal::new(
    StatusCode::UNAUTHORIZED,
    "timestamp_stale",
    "The timestamp is more than five minutes away from the receiver's clock.",
);
const REPLAYED: Refusal =
    Refusal::new(StatusCode::UNAUTHORIZED, "id_replayed", "A call with this webhook-id was accepted before.");

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_dHJhZGVwb3N0LWRlbW8tc2VjcmV0LWZvci10ZXN0cw==";
    const BODY: &[u8] = br#"{"operation":"get_organization"}"#;

    fn now() -> Timestamp {
        Timestamp::from_second(1_795_000_000).unwrap()
    }

    fn headers(id: &str, seconds: i64, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", id.parse().unwrap());
        headers.insert("webhook-timestamp", seconds.into());
        headers.insert("webhook-signature", signature.parse().unwrap());
        headers
    }

    fn signed(id: &str, seconds: i64) -> HeaderMap {
        headers(id, seconds, &Webhook::new(SECRET).unwrap().sign(id, seconds, BODY).unwrap())
    }

    fn code(headers: &HeaderMap, body: &[u8]) -> Option<&'static str> {
        Receiver::new(SECRET).verify(headers, body, now()).err().map(|refusal| refusal.code)
    }

    #[test]
    fn the_tolerance_is_five_minutes_both_ways() {
        let second = now().as_second();
        for (away, expected) in
            [(0, None), (-300, None), (300, None), (-301, Some("timestamp_stale")), (301, Some("timestamp_stale"))]
        {
            assert_eq!(code(&signed("msg_a", second + away), BODY), expected, "{away}");
        }
    }

    #[test]
    fn whatever_is_signed_cannot_be_changed() {
        let second = now().as_second();
        let good = signed("msg_a", second);
        assert_eq!(code(&good, b"{}"), Some("signature_invalid"));
        let signature = good["webhook-signature"].to_str().unwrap();
        assert_eq!(code(&headers("msg_b", second, signature), BODY), Some("signature_invalid"));
        assert_eq!(code(&headers("msg_a", second + 1, signature), BODY), Some("signature_invalid"));
        assert_eq!(code(&headers("msg_a", second, "v1,"), BODY), Some("signature_invalid"));
        assert_eq!(code(&headers("msg_a", second, &signature.replace("v1,", "v2,")), BODY), Some("signature_invalid"));
    }

    #[test]
    fn one_fitting_signature_of_several_is_enough() {
        let second = now().as_second();
        let signature = signed("msg_a", second)["webhook-signature"].to_str().unwrap().to_owned();
        assert_eq!(code(&headers("msg_a", second, &format!("v1,AAAA v1a,BBBB {signature}")), BODY), None);
    }

    #[test]
    fn every_header_is_needed() {
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            let mut headers = signed("msg_a", now().as_second());
            headers.remove(name);
            assert_eq!(code(&headers, BODY), Some("signature_missing"));
        }
    }

    #[test]
    fn an_id_is_remembered_until_its_timestamp_is_stale() {
        let second = now().as_second();
        let receiver = Receiver::new(SECRET);
        let mut state = State::default();
        // Sent by a clock that is five minutes ahead of ours: good for ten minutes from now.
        let call = receiver.verify(&signed("msg_a", second + 300), BODY, now()).unwrap_or_else(|_| panic!("fresh"));
        assert!(state.accept_once(&call, now()).is_ok());
        let later = now() + SignedDuration::from_secs(600);
        assert!(receiver.verify(&signed("msg_a", second + 300), BODY, later).is_ok());
        assert_eq!(state.accept_once(&call, later).unwrap_err().code, "id_replayed");
        let too_late = later + SignedDuration::from_secs(1);
        assert!(receiver.verify(&signed("msg_a", second + 300), BODY, too_late).is_err());
    }

    #[test]
    fn without_a_usable_secret_nobody_gets_in() {
        let receiver = Receiver::new("whsec_not base64");
        let refusal = receiver.verify(&signed("msg_a", now().as_second()), BODY, now()).err().unwrap();
        assert_eq!(refusal.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
