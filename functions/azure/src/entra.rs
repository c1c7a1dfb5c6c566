//! Where Microsoft Entra is, and how it names itself in the tokens it issues.
//!
//! A tenant's v1 tokens are issued in the name of one address, its v2 tokens in the name of the other (Microsoft
//! identity platform: access tokens). Both are configuration, so that the same program can be pointed at another
//! server; which issuers count follows from it and is set nowhere else.

use url::Url;
use uuid::Uuid;

use crate::publisher::below;

/// Where Entra answers, and the name in v2 tokens.
const AUTHORITY: &str = "https://login.microsoftonline.com";
/// The name in v1 tokens. Nothing is asked there.
const V1_ISSUER: &str = "https://sts.windows.net";

/// Entra's addresses, with or without a slash at their end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entra {
    /// Where it answers, and the name in v2 tokens.
    pub url: Url,
    /// The name in v1 tokens.
    pub v1_issuer: Url,
}

impl Default for Entra {
    /// Microsoft's own.
    #[expect(clippy::expect_used, reason = "both addresses are constants that a test reads")]
    fn default() -> Self {
        let read = |text| Url::parse(text).expect("a constant address");
        Self { url: read(AUTHORITY), v1_issuer: read(V1_ISSUER) }
    }
}

impl Entra {
    /// Who issues a tenant's v1 tokens. The slash at its end belongs to it.
    pub fn issuer_v1(&self, tenant: Uuid) -> String {
        below(&self.v1_issuer, &format!("{tenant}/"))
    }

    /// Who issues a tenant's v2 tokens.
    pub fn issuer_v2(&self, tenant: Uuid) -> String {
        below(&self.url, &format!("{tenant}/v2.0"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_issuers_are_microsofts_to_the_letter() {
        let (entra, tenant) = (Entra::default(), Uuid::from_u128(7));
        assert_eq!(entra.issuer_v1(tenant), "https://sts.windows.net/00000000-0000-0000-0000-000000000007/");
        assert_eq!(
            entra.issuer_v2(tenant),
            "https://login.microsoftonline.com/00000000-0000-0000-0000-000000000007/v2.0"
        );
    }

    #[test]
    fn another_server_has_its_own() {
        let server: Url = "http://127.0.0.1:8080/entra/".parse().unwrap();
        let (entra, tenant) = (Entra { url: server.clone(), v1_issuer: server }, Uuid::nil());
        assert_eq!(entra.issuer_v1(tenant), format!("http://127.0.0.1:8080/entra/{tenant}/"));
        assert_eq!(entra.issuer_v2(tenant), format!("http://127.0.0.1:8080/entra/{tenant}/v2.0"));
    }
}
