//! The key that signs ID tokens: ECDSA on P-256 (ES256), made anew at every start and kept nowhere.
//!
//! ES256 rather than RS256 because a fresh RSA key takes seconds in a debug build and a kept one would be a secret
//! in the repository. Clients learn the algorithm from the discovery document and the key from the key set.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::Signature;
use p256::ecdsa::signature::Signer;
use p256::elliptic_curve::Generate;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The JOSE name of the algorithm.
pub(super) const ALGORITHM: &str = "ES256";

/// The private key and its published name.
pub(super) struct SigningKey {
    key: p256::ecdsa::SigningKey,
    id: String,
}

impl SigningKey {
    pub fn generate() -> Self {
        let key = p256::ecdsa::SigningKey::generate();
        let (x, y) = coordinates(&key);
        // The RFC 7638 thumbprint: a new key has a new name, so no client mistakes it for the one it has cached.
        let id = encode(Sha256::digest(format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)));
        Self { key, id }
    }

    /// The public half as a JSON Web Key.
    pub fn published(&self) -> Value {
        let (x, y) = coordinates(&self.key);
        json!({"kty": "EC", "crv": "P-256", "alg": ALGORITHM, "use": "sig", "kid": self.id, "x": x, "y": y})
    }

    /// A JSON Web Token over `claims`, in its compact form.
    pub fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": ALGORITHM, "typ": "JWT", "kid": self.id});
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature: Signature = self.key.sign(signed.as_bytes());
        format!("{signed}.{}", encode(signature.to_bytes()))
    }
}

/// The `at_hash` of an access token: the left half of its SHA-256.
pub(super) fn half_hash(token: &str) -> String {
    let hash = Sha256::digest(token);
    let (left, _) = hash.split_at(hash.len() / 2);
    encode(left)
}

/// Base64url without padding, as everything in JOSE is written.
pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn coordinates(key: &p256::ecdsa::SigningKey) -> (String, String) {
    let point = key.verifying_key().to_sec1_point(false);
    (point.x().map(encode).unwrap_or_default(), point.y().map(encode).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_half_has_both_coordinates_and_no_secret() {
        let published = SigningKey::generate().published();
        assert_eq!(published["x"].as_str().unwrap().len(), 43);
        assert_eq!(published["y"].as_str().unwrap().len(), 43);
        assert!(published.get("d").is_none());
    }

    #[test]
    fn at_hash_is_sixteen_bytes() {
        assert_eq!(half_hash("an access token").len(), 22);
    }
}
