//! Who asks: a call is signed as the control plane's are, after the Standard Webhooks specification (`webhook-id`,
//! `webhook-timestamp` in seconds, `webhook-signature` over both with the body), under a secret of its own: a call to the
//! vendor can never be sent back to us as one of his. Nothing that is asked does harm twice, so an id may come twice; a
//! timestamp more than five minutes away is refused.

use std::fmt;

use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use standardwebhooks::Webhook;

const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// Knows the secret that signs the vendor's calls.
pub struct VendorKey {
    webhook: Webhook,
}

impl fmt::Debug for VendorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VendorKey(…)")
    }
}

/// Why a call is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproven {
    /// A header is missing or does not read.
    Missing,
    /// No signature fits.
    Wrong,
    /// Sent too long ago, or by a clock that is wrong.
    Stale,
}

impl VendorKey {
    /// From a Standard Webhooks secret (`whsec_…`); none if it is not one.
    pub fn new(secret: &str) -> Option<Self> {
        Webhook::new(secret).ok().map(|webhook| Self { webhook })
    }

    /// Checks signature and time. Several signatures at once are how a secret is changed without an outage.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<(), Unproven> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).ok_or(Unproven::Missing);
        let id = header("webhook-id")?;
        let seconds = header("webhook-timestamp")?.parse().map_err(|_| Unproven::Missing)?;
        let expected = self.webhook.sign(id, seconds, body).map_err(|_| Unproven::Wrong)?;
        if !header("webhook-signature")?.split(' ').any(|given| same(given, &expected)) {
            return Err(Unproven::Wrong);
        }
        let sent = Timestamp::from_second(seconds).map_err(|_| Unproven::Stale)?;
        if sent.duration_since(now).abs() > TOLERANCE { Err(Unproven::Stale) } else { Ok(()) }
    }
}

/// Compares without telling by the time it takes how much is right.
fn same(given: &str, expected: &str) -> bool {
    Sha256::digest(given) == Sha256::digest(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_dHJhZGVwb3N0LWRlbW8tc2VjcmV0LWZvci10ZXN0cw==";
    const BODY: &[u8] = br#"{"operation":"get_billing","organization":"org-1"}"#;

    fn now() -> Timestamp {
        Timestamp::from_second(1_795_000_000).unwrap()
    }

    fn headers(away: i64) -> HeaderMap {
        let seconds = now().as_second() + away;
        let signature = Webhook::new(SECRET).unwrap().sign("msg_1", seconds, BODY).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "msg_1".parse().unwrap());
        headers.insert("webhook-timestamp", seconds.into());
        headers.insert("webhook-signature", signature.parse().unwrap());
        headers
    }

    #[test]
    fn only_a_fresh_call_with_a_fitting_signature_is_believed() {
        let key = VendorKey::new(SECRET).unwrap();
        for (away, expected) in
            [(0, Ok(())), (300, Ok(())), (-300, Ok(())), (301, Err(Unproven::Stale)), (-301, Err(Unproven::Stale))]
        {
            assert_eq!(key.verify(&headers(away), BODY, now()), expected, "{away}");
        }
        assert_eq!(key.verify(&headers(0), b"{}", now()), Err(Unproven::Wrong));
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            let mut fewer = headers(0);
            fewer.remove(name);
            assert_eq!(key.verify(&fewer, BODY, now()), Err(Unproven::Missing), "{name}");
        }
        let other = VendorKey::new("whsec_YW5vdGhlciBzZWNyZXQgYWx0b2dldGhlcg==").unwrap();
        assert_eq!(other.verify(&headers(0), BODY, now()), Err(Unproven::Wrong));
        assert!(VendorKey::new("whsec_not base64").is_none());
    }

    #[test]
    fn one_of_several_signatures_is_enough_and_no_other_kind_counts() {
        let key = VendorKey::new(SECRET).unwrap();
        let good = headers(0).remove("webhook-signature").unwrap().to_str().unwrap().to_owned();
        let old = Webhook::new("whsec_YW5vdGhlciBzZWNyZXQgYWx0b2dldGhlcg==").unwrap();
        let old = old.sign("msg_1", now().as_second(), BODY).unwrap();
        let (_, value) = good.split_once(',').unwrap();
        for (given, expected) in [
            (format!("{old} {good}"), Ok(())),
            (format!("{good} {old}"), Ok(())),
            (format!("v1a,{value} {good}"), Ok(())),
            (old, Err(Unproven::Wrong)),
            (format!("v1a,{value}"), Err(Unproven::Wrong)),
            (format!("v2,{value}"), Err(Unproven::Wrong)),
            (value.to_owned(), Err(Unproven::Wrong)),
            (format!("{good},"), Err(Unproven::Wrong)),
            (good.to_lowercase(), Err(Unproven::Wrong)),
            (String::new(), Err(Unproven::Wrong)),
        ] {
            let mut several = headers(0);
            several.insert("webhook-signature", given.parse().unwrap());
            assert_eq!(key.verify(&several, BODY, now()), expected, "{given}");
        }
        // The id and the time are signed as well.
        for (name, other) in [("webhook-id", "msg_2"), ("webhook-timestamp", "1795000001")] {
            let mut changed = headers(0);
            changed.insert(name, other.parse().unwrap());
            assert_eq!(key.verify(&changed, BODY, now()), Err(Unproven::Wrong), "{name}");
        }
        let mut unread = headers(0);
        unread.insert("webhook-timestamp", "now".parse().unwrap());
        assert_eq!(key.verify(&unread, BODY, now()), Err(Unproven::Missing));
    }
}
