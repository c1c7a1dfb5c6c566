//! Identifiers that look like AWS's and never repeat: a counter hashed with a seed.
//!
//! The same seed and the same calls give the same identifiers, so a saved run can be replayed; the counter is
//! part of the saved state.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const LETTERS: &[u8; 32] = b"0123456789abcdefghijkmnpqrstuvwx";

/// The account that issues every marketplace licence: neither the buyer's nor the seller's.
const LICENCE_ISSUER: &str = "294406891311";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Identifiers {
    seed: String,
    issued: u64,
}

impl Identifiers {
    pub(super) fn new(seed: String) -> Self {
        Self { seed, issued: 0 }
    }

    pub(super) fn agreement(&mut self) -> String {
        format!("agmt-{}", letters(&self.fresh(), 25))
    }

    pub(super) fn licence(&mut self) -> String {
        let id: String = hex(&self.fresh()).chars().take(32).collect();
        format!("arn:aws:license-manager::{LICENCE_ISSUER}:license:l-{id}")
    }

    /// A registration token. It holds `+`, `/` and `=`, so that a reader who forgets to decode it fails.
    pub(super) fn token(&mut self) -> String {
        let mut bytes = vec![0xfb, 0xef, 0xbe, 0xff];
        bytes.extend(self.fresh());
        bytes.extend(self.fresh());
        STANDARD.encode(bytes)
    }

    pub(super) fn uuid(&mut self) -> String {
        let digits: Vec<char> = hex(&self.fresh()).chars().take(32).collect();
        let mut text = String::with_capacity(36);
        for (position, digit) in digits.into_iter().enumerate() {
            if matches!(position, 8 | 12 | 16 | 20) {
                text.push('-');
            }
            // The version digit of a random UUID.
            text.push(if position == 12 { '4' } else { digit });
        }
        text
    }

    pub(super) fn signature(&mut self) -> String {
        STANDARD.encode(self.fresh())
    }

    /// Some number below `bound`, or zero.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let drawn = self.fresh().first().copied().map_or(0, usize::from);
        drawn.checked_rem(bound).unwrap_or(0)
    }

    /// An identifier that is always the same for the same `name`.
    pub(super) fn offer_named(&self, name: &str) -> String {
        format!("offer-{}", letters(&self.hash(name), 13))
    }

    /// The opaque legacy name of a buyer's account.
    pub(super) fn customer_named(&self, account: &str) -> String {
        letters(&self.hash(&format!("customer {account}")), 11)
    }

    /// The id of an agreement's term, the same on every read.
    pub(super) fn term_named(&self, name: &str) -> String {
        format!("term-{}", letters(&self.hash(name), 25))
    }

    fn fresh(&mut self) -> [u8; 32] {
        self.issued = self.issued.saturating_add(1);
        self.hash(&format!("number {}", self.issued))
    }

    fn hash(&self, name: &str) -> [u8; 32] {
        Sha256::digest(format!("{}|{name}", self.seed)).into()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn letters(bytes: &[u8], count: usize) -> String {
    let pick = |byte: &u8| LETTERS.get(usize::from(byte % 32)).copied().map_or('0', char::from);
    bytes.iter().map(pick).take(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn never_repeats_and_has_the_real_shapes() {
        let mut identifiers = Identifiers::new("a".to_owned());
        let drawn: BTreeSet<String> = (0..500).map(|_| identifiers.agreement()).collect();
        assert_eq!(drawn.len(), 500);
        assert!(drawn.iter().all(|id| id.len() == 30 && id.starts_with("agmt-")));
        let arn = identifiers.licence();
        let id = arn.strip_prefix("arn:aws:license-manager::294406891311:license:l-").unwrap();
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let token = identifiers.token();
        assert!(token.contains('+') && token.contains('/'));
        assert_eq!(identifiers.uuid().len(), 36);
        assert_ne!(Identifiers::new("b".to_owned()).agreement(), Identifiers::new("a".to_owned()).agreement());
    }
}
