//! What nobody may guess, and what may never come twice: cookie values, codes and tokens, and the ids of
//! organizations and deployments. Ids are random rather than counted because a reset of the product would count
//! from the start again, and Tradepost may still know what carried the number before.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::elliptic_curve::Generate;

/// A secret of 192 bits, fit for a URL and a cookie.
pub(super) fn secret() -> String {
    URL_SAFE_NO_PAD.encode(<[u8; 24]>::generate())
}

/// An id that was never used before, such as `org-3f0c…`.
pub(super) fn id(kind: &str) -> String {
    format!("{kind}-{:016x}", u64::generate())
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_comes_twice() {
        assert_ne!(super::secret(), super::secret());
        assert_ne!(super::id("org"), super::id("org"));
        assert_eq!(super::secret().len(), 32);
    }
}
