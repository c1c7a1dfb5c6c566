//! Identifiers that never repeat: a counter hashed with a seed.
//!
//! The same seed and the same calls give the same identifiers, so a saved run can be replayed; the counter is
//! part of the saved state.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Identifiers {
    seed: String,
    issued: u64,
}

impl Identifiers {
    pub(super) fn new(seed: String) -> Self {
        Self { seed, issued: 0 }
    }

    pub(super) fn guid(&mut self) -> String {
        guid_of(&self.fresh())
    }

    /// A landing token. It holds `+`, `/` and `=`, so that whoever forgets to decode it, or decodes it twice, fails.
    pub(super) fn token(&mut self) -> String {
        let mut bytes = vec![0xfb, 0xef, 0xbe, 0xff];
        for _ in 0..6 {
            bytes.extend(self.fresh());
        }
        STANDARD.encode(bytes)
    }

    /// An authorization code or an opaque access token.
    pub(super) fn secret(&mut self) -> String {
        format!("0.{}", super::signing::encode(self.fresh()))
    }

    /// Some number below `bound`, or zero.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let drawn = self.fresh().first().copied().map_or(0, usize::from);
        drawn.checked_rem(bound).unwrap_or(0)
    }

    fn fresh(&mut self) -> [u8; 32] {
        self.issued = self.issued.saturating_add(1);
        Sha256::digest(format!("{}|{}", self.seed, self.issued)).into()
    }
}

/// A GUID that is always the same for the same `name`.
pub(super) fn guid_named(name: &str) -> String {
    guid_of(&Sha256::digest(name).into())
}

fn guid_of(bytes: &[u8; 32]) -> String {
    let mut text = String::with_capacity(36);
    for (position, byte) in bytes.iter().take(16).enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // The version and variant digits of a random GUID.
        let byte = match position {
            6 => byte & 0x0f | 0x40,
            8 => byte & 0x3f | 0x80,
            _ => *byte,
        };
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// 8-4-4-4-12 hexadecimal digits.
pub(super) fn is_guid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn never_repeats_and_has_the_real_shapes() {
        let mut identifiers = Identifiers::new("a".to_owned());
        let drawn: BTreeSet<String> = (0..500).map(|_| identifiers.guid()).collect();
        assert_eq!(drawn.len(), 500);
        assert!(drawn.iter().all(|id| is_guid(id)));
        let token = identifiers.token();
        assert!(token.contains('+') && token.contains('/') && token.ends_with('='), "{token}");
        assert_eq!(guid_named("a"), guid_named("a"));
        assert!(!is_guid("20e940b3-4c77-4b0b-9a53-9e16a1b010a"));
    }
}
