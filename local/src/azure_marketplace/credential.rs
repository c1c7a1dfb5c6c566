//! What stands in a webhook's `Authorization` header: the marketplace's own token in the v1 or the v2 flavour, or one
//! of the forgeries a publisher must refuse. Tokens are made when the call leaves, so they are always fresh.

use aws_lc_rs::hmac;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::identifiers::guid_named;
use super::payload::put;
use super::signing::{encode, unsigned};
use super::{Desk, MARKETPLACE_APP};

/// Of tokens of every kind.
pub(super) const LIFETIME: i64 = 3600;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Credential {
    Genuine,
    /// For another application of the tenant.
    WrongAudience,
    /// Of another tenant, and saying so.
    WrongTenant,
    /// Made by another application of the tenant for this publisher.
    WrongApp,
    /// Everything right but the issuer, which is another tenant's.
    WrongIssuer,
    AlgorithmNone,
    /// The public key used as a shared secret.
    Hs256,
    Expired,
    NotYetValid,
    UnknownKey,
    /// Under the right key's name, signed by another.
    BadSignature,
    MissingHeader,
    /// Another scheme.
    Basic,
    Garbage,
}

impl Desk<'_> {
    /// The header's value; none if it is left out.
    pub(super) fn authorization(&self, credential: Credential) -> Option<String> {
        let mut claims = self.webhook_claims();
        let other = guid_named("another tenant");
        let mut set = |name: &str, value: Value| put(&mut claims, name, value);
        match credential {
            Credential::WrongAudience => set("aud", json!(guid_named("another application"))),
            Credential::WrongTenant => {
                set("tid", json!(other));
                set("iss", json!(self.issuer(&other)));
            }
            Credential::WrongIssuer => set("iss", json!(self.issuer(&other))),
            Credential::WrongApp => set(self.app_claim(), json!(guid_named("another application"))),
            Credential::Expired => {
                set("nbf", json!(self.now.as_second() - 2 * LIFETIME));
                set("exp", json!(self.now.as_second() - LIFETIME));
            }
            Credential::NotYetValid => {
                set("nbf", json!(self.now.as_second() + LIFETIME));
                set("exp", json!(self.now.as_second() + 2 * LIFETIME));
            }
            Credential::Genuine
            | Credential::AlgorithmNone
            | Credential::Hs256
            | Credential::UnknownKey
            | Credential::BadSignature
            | Credential::MissingHeader
            | Credential::Basic
            | Credential::Garbage => {}
        }
        let token = match credential {
            Credential::MissingHeader => return None,
            Credential::Basic => return Some("Basic bWFya2V0cGxhY2U6c2VjcmV0".to_owned()),
            Credential::Garbage => "not-a-token".to_owned(),
            Credential::AlgorithmNone => format!("{}.", unsigned(&json!({"typ": "JWT", "alg": "none"}), &claims)),
            Credential::Hs256 => self.confused(&claims),
            Credential::UnknownKey => self.keys.forge(&claims, false),
            Credential::BadSignature => self.keys.forge(&claims, true),
            Credential::Genuine
            | Credential::WrongAudience
            | Credential::WrongTenant
            | Credential::WrongApp
            | Credential::WrongIssuer
            | Credential::Expired
            | Credential::NotYetValid => self.keys.sign(&claims),
        };
        Some(format!("Bearer {token}"))
    }

    fn webhook_claims(&self) -> Value {
        let mut claims = base_claims(self.now);
        let tenant = &self.config.tenant_id;
        let principal = guid_named(&format!("marketplace principal {tenant}"));
        put(&mut claims, "aud", json!(self.config.app_id));
        put(&mut claims, "iss", json!(self.issuer(tenant)));
        put(&mut claims, "tid", json!(tenant));
        put(&mut claims, "oid", json!(principal));
        put(&mut claims, "sub", json!(principal));
        put(&mut claims, self.app_claim(), json!(MARKETPLACE_APP));
        if self.state.switches.token_version == 2 {
            put(&mut claims, "azpacr", json!("2"));
            put(&mut claims, "ver", json!("2.0"));
        } else {
            put(&mut claims, "appidacr", json!("2"));
            put(&mut claims, "idp", json!(self.issuer(tenant)));
            put(&mut claims, "ver", json!("1.0"));
        }
        claims
    }

    fn app_claim(&self) -> &'static str {
        if self.state.switches.token_version == 2 { "azp" } else { "appid" }
    }

    fn issuer(&self, tenant: &str) -> String {
        let version = self.state.switches.token_version;
        if version == 2 { self.config.v2_issuer(tenant) } else { self.config.v1_issuer(tenant) }
    }

    fn confused(&self, claims: &Value) -> String {
        let (name, public) = self.keys.public_half();
        let signed = unsigned(&json!({"typ": "JWT", "alg": "HS256", "kid": name}), claims);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &public), signed.as_bytes());
        format!("{signed}.{}", encode(tag))
    }
}

/// When a token made now begins and ends.
pub(super) fn base_claims(now: Timestamp) -> Value {
    let now = now.as_second();
    json!({"iat": now, "nbf": now, "exp": now.saturating_add(LIFETIME)})
}

impl super::Config {
    /// With the slash at its end, without which it is another issuer.
    pub(super) fn v1_issuer(&self, tenant: &str) -> String {
        format!("{}/{tenant}/", self.sts_url)
    }

    pub(super) fn v2_issuer(&self, tenant: &str) -> String {
        format!("{}/{tenant}/v2.0", self.authority_url)
    }
}
