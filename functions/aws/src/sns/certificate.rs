//! The certificates that messages of SNS are signed with: where they may be, and what one must say.
//!
//! A certificate is fetched from `https://sns.REGION.amazonaws.com/SimpleNotificationService-HEX.pem` and from nowhere
//! else: no other host, port, path or query, no redirect, at most [`LARGEST`] bytes. It must be issued for SNS by name (AWS
//! SDK for Java 2, `sns-message-manager`: `sns.amazonaws.com`, in newer Regions `sns-signing.REGION.amazonaws.com`; some
//! name the host itself), be no authority, hold an RSA key, and be valid at that time.
//!
//! Not checked is the chain up to Amazon's root: the file holds the last certificate only, and those between are not to be
//! had without asking further servers. What vouches for it is the TLS connection to SNS's own name, whose chain is checked.
//!
//! Certificates are kept a day. Ones we do not know are fetched at most [`FETCHES`] times a minute, or made-up addresses
//! would be a way to keep us busy.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::CertificateDer;
use tradepost::outbound::Outbound;
use tradepost::retry::later;
use webpki::EndEntityCert;
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode as _, pem};
use x509_cert::ext::pkix::BasicConstraints;

/// No certificate is larger, in bytes.
const LARGEST: usize = 16 * 1024;
/// How long one is kept.
const LIFE: SignedDuration = SignedDuration::from_hours(24);
/// So many are kept at most; there is one in use, and another before it is replaced.
const KEPT: usize = 8;
/// So many are fetched within [`WINDOW`].
const FETCHES: u32 = 10;
const WINDOW: SignedDuration = SignedDuration::from_mins(1);
/// The last line of a certificate's text (RFC 7468).
const END: &str = "-----END CERTIFICATE-----";
/// `rsaEncryption` (RFC 8017).
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Who is Amazon SNS, as addresses: what stands before and after the Region.
#[derive(Clone, Debug)]
pub struct Authority {
    before: String,
    after: &'static str,
}

/// An address that a certificate may be at.
#[derive(Debug)]
pub(super) struct Place {
    url: String,
    region: String,
}

impl Place {
    /// The Region whose SNS signs with it.
    pub fn region(&self) -> &str {
        &self.region
    }
}

/// The RSA key of a certificate (PKCS #1, DER).
#[derive(Clone, Debug)]
pub(super) struct PublicKey(Vec<u8>);

impl PublicKey {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoCertificate {
    /// What is there is not Amazon SNS's.
    #[error("it is not one of Amazon SNS ({0})")]
    Refused(&'static str),
    /// It could not be fetched.
    #[error("it could not be fetched ({0})")]
    Unavailable(&'static str),
    /// Too many were asked for.
    #[error("too many were asked for within a minute")]
    TooMany,
}

impl Authority {
    /// Amazon SNS.
    pub fn amazon() -> Self {
        Self { before: "https://sns.".to_owned(), after: ".amazonaws.com" }
    }

    /// A simulation, which has its Regions as folders below `base`.
    pub fn below(base: &str) -> Self {
        Self { before: format!("{}/", base.trim_end_matches('/')), after: "" }
    }

    /// Where a Region's SNS is, without a trailing slash.
    pub(super) fn base(&self, region: &str) -> String {
        format!("{}{region}{}", self.before, self.after)
    }

    /// The address, if a certificate may be at it. Read letter by letter: what a parser of addresses would forgive is
    /// nothing that SNS sends.
    pub(super) fn place(&self, url: &str) -> Option<Place> {
        let (region, name) =
            url.strip_prefix(&self.before)?.split_once(&format!("{}/SimpleNotificationService-", self.after))?;
        let hex = name.strip_suffix(".pem")?;
        let named = (1..=64).contains(&hex.len()) && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (is_region(region) && named).then(|| Place { url: url.to_owned(), region: region.to_owned() })
    }
}

/// A Region's name: small letters, digits, hyphens. Names of S3 are none: below them anybody may have a bucket `sns`.
pub(super) fn is_region(text: &str) -> bool {
    (4..=32).contains(&text.len())
        && !text.starts_with("s3")
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// The certificates that are known.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_url: HashMap<String, Fetched>,
    /// When the present minute of fetching began.
    window: Option<Timestamp>,
    /// Fetches in it.
    spent: u32,
}

#[derive(Clone, Debug)]
struct Fetched {
    key: PublicKey,
    from: Timestamp,
    until: Timestamp,
    since: Timestamp,
}

impl Fetched {
    fn now(&self, now: Timestamp) -> Result<PublicKey, NoCertificate> {
        let valid = self.from <= now && now <= self.until;
        valid.then(|| self.key.clone()).ok_or(NoCertificate::Refused("not valid at this time"))
    }
}

impl Known {
    fn fresh(&self, url: &str, now: Timestamp) -> Option<&Fetched> {
        self.by_url.get(url).filter(|fetched| now < later(fetched.since, LIFE))
    }

    fn may_fetch(&mut self, now: Timestamp) -> bool {
        if self.window.is_none_or(|began| now >= later(began, WINDOW)) {
            (self.window, self.spent) = (Some(now), 0);
        }
        self.spent = self.spent.saturating_add(1);
        self.spent <= FETCHES
    }

    fn keep(&mut self, url: &str, fetched: Fetched) {
        while self.by_url.len() >= KEPT && !self.by_url.contains_key(url) {
            let oldest = self.by_url.iter().min_by_key(|(_, fetched)| fetched.since).map(|(url, _)| url.clone());
            let Some(oldest) = oldest else { break };
            self.by_url.remove(&oldest);
        }
        self.by_url.insert(url.to_owned(), fetched);
    }
}

impl Certificates {
    /// The key of the certificate there.
    pub async fn key(&self, place: &Place, outbound: &Outbound, now: Timestamp) -> Result<PublicKey, NoCertificate> {
        let asked = self.with(|known| {
            if let Some(fetched) = known.fresh(&place.url, now) {
                return Some(fetched.now(now));
            }
            (!known.may_fetch(now)).then_some(Err(NoCertificate::TooMany))
        });
        if let Some(answer) = asked {
            return answer;
        }
        let pem = fetch(place, outbound).await?;
        let fetched = read(&pem, &place.region, now)?;
        let key = fetched.now(now)?;
        self.with(|known| known.keep(&place.url, fetched));
        Ok(key)
    }

    fn with<R>(&self, work: impl FnOnce(&mut Known) -> R) -> R {
        work(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn fetch(place: &Place, outbound: &Outbound) -> Result<Vec<u8>, NoCertificate> {
    let request = http::Request::get(&place.url).body(Vec::new());
    let request = request.map_err(|_| NoCertificate::Refused("no address"))?;
    let answer = outbound.send(request).await.map_err(|_| NoCertificate::Unavailable("no answer"))?;
    match answer.status().as_u16() {
        200 if answer.body().len() > LARGEST => Err(NoCertificate::Refused("too large")),
        200 => Ok(answer.body().to_vec()),
        // A made-up address is no reason to come again; where a redirect leads is never looked at.
        300..=499 => Err(NoCertificate::Refused("there is none")),
        _ => Err(NoCertificate::Unavailable("not answered with 200")),
    }
}

/// What a file says, if it is a certificate of SNS in that Region. Whether it is valid now is asked each time it is used.
fn read(pem: &[u8], region: &str, now: Timestamp) -> Result<Fetched, NoCertificate> {
    let refused = NoCertificate::Refused;
    // Were there any after the first, they would be the ones above it.
    let text = std::str::from_utf8(pem).map_err(|_| refused("not a certificate"))?;
    let (first, _) = text.split_once(END).ok_or(refused("not a certificate"))?;
    let text = format!("{first}{END}\n");
    let (label, der) = pem::decode_vec(text.as_bytes()).map_err(|_| refused("not a certificate"))?;
    if label != "CERTIFICATE" {
        return Err(refused("not a certificate"));
    }
    let certificate = Certificate::from_der(&der).map_err(|_| refused("not a certificate"))?.tbs_certificate;
    let der = CertificateDer::from(der.as_slice());
    let names = EndEntityCert::try_from(&der).map_err(|_| refused("its names do not read"))?;
    let ours =
        ["sns.amazonaws.com", &format!("sns-signing.{region}.amazonaws.com"), &format!("sns.{region}.amazonaws.com")]
            .map(str::to_owned);
    if !names.valid_dns_names().any(|name| ours.iter().any(|own| own == name)) {
        return Err(refused("issued for another name"));
    }
    let basic = certificate.get::<BasicConstraints>().map_err(|_| refused("its use does not read"))?;
    if basic.is_some_and(|(_, basic)| basic.ca) {
        return Err(refused("an authority's"));
    }
    if certificate.subject_public_key_info.algorithm.oid != RSA {
        return Err(refused("not an RSA key"));
    }
    let key = certificate.subject_public_key_info.subject_public_key.raw_bytes().to_vec();
    let instant = |time: x509_cert::time::Time| {
        let seconds = i64::try_from(time.to_unix_duration().as_secs()).ok();
        seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()).ok_or(refused("its times do not read"))
    };
    let from = instant(certificate.validity.not_before)?;
    let until = instant(certificate.validity.not_after)?;
    Ok(Fetched { key: PublicKey(key), from, until, since: now })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_at_amazon_sns_or_nowhere() {
        let amazon = Authority::amazon();
        let good = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-01d088a6f77103d0fe307c0069e40ed6.pem";
        assert_eq!(amazon.place(good).unwrap().region, "us-east-1");
        assert_eq!(amazon.base("us-east-1"), "https://sns.us-east-1.amazonaws.com");
        let bad = [
            "http://sns.us-east-1.amazonaws.com/SimpleNotificationService-01.pem",
            "HTTPS://sns.us-east-1.amazonaws.com/SimpleNotificationService-01.pem",
            "https://sns.us-east-1.amazonaws.com.evil.example/SimpleNotificationService-01.pem",
            "https://sns.us-east-1.amazonaws.com.cn/SimpleNotificationService-01.pem",
            "https://evil.example/sns.us-east-1.amazonaws.com/SimpleNotificationService-01.pem",
            "https://sns.evil.example/x.amazonaws.com/SimpleNotificationService-01.pem",
            "https://sns.evil.example?.amazonaws.com/SimpleNotificationService-01.pem",
            "https://sns.evil.example#.amazonaws.com/SimpleNotificationService-01.pem",
            "https://sns.evil@us-east-1.amazonaws.com/SimpleNotificationService-01.pem",
            "https://sns.us-east-1.s3.amazonaws.com/SimpleNotificationService-01.pem",
            "https://sns.s3-us-west-2.amazonaws.com/SimpleNotificationService-01.pem",
            "https://sns.s3.amazonaws.com/SimpleNotificationService-01.pem",
            "https://evil@sns.us-east-1.amazonaws.com/SimpleNotificationService-01.pem",
            "https://sns.us-east-1.amazonaws.com:8443/SimpleNotificationService-01.pem",
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-01.pem?x=.pem",
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-01.pem#.pem",
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-../x.pem",
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-01/SimpleNotificationService-01.pem",
            "https://sns.us-east-1.amazonaws.com/other/SimpleNotificationService-01.pem",
            "https://sns.us-east-1.amazonaws.com//SimpleNotificationService-01.pem",
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-01.pem\n",
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-.pem",
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-XY.pem",
            "https://sns..amazonaws.com/SimpleNotificationService-01.pem",
            "https://sns.amazonaws.com/SimpleNotificationService-01.pem",
            " https://sns.us-east-1.amazonaws.com/SimpleNotificationService-01.pem",
            "",
        ];
        for url in bad {
            assert!(amazon.place(url).is_none(), "{url}");
        }
    }

    #[test]
    fn no_more_are_fetched_than_a_minute_takes() {
        let now: Timestamp = "2026-11-21T09:00:00Z".parse().unwrap();
        let mut known = Known::default();
        assert!((0..FETCHES).all(|_| known.may_fetch(now)));
        assert!(!known.may_fetch(later(now, SignedDuration::from_secs(59))));
        assert!(known.may_fetch(later(now, WINDOW)));
    }

    #[test]
    fn the_oldest_makes_room_and_none_is_kept_longer_than_a_day() {
        let now: Timestamp = "2026-11-21T09:00:00Z".parse().unwrap();
        let mut known = Known::default();
        let at = |seconds| later(now, SignedDuration::from_secs(seconds));
        for number in 0..9 {
            let key = PublicKey(vec![]);
            known.keep(&number.to_string(), Fetched { key, from: now, until: at(60), since: at(number) });
        }
        assert_eq!(known.by_url.len(), KEPT);
        assert!(known.fresh("0", now).is_none() && known.fresh("1", now).is_some());
        assert!(known.fresh("1", later(at(1), LIFE)).is_none());
        let kept = known.fresh("8", at(60)).unwrap();
        assert!(kept.now(at(60)).is_ok() && kept.now(at(61)).is_err(), "it is asked each time whether it is valid");
    }
}
