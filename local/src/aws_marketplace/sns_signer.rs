//! How SNS signs: RSA over the canonical text of a message, version 1 with SHA-1, version 2 with SHA-256, and the
//! certificate that the signature is checked with. The key is made once a process and kept nowhere; the certificate vouches
//! for itself, as no file of SNS holds the ones above it.

use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::RsaKeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rsa::pkcs1::EncodeRsaPublicKey as _;
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::sha2::{Digest as _, Sha256};
use rsa::{Pkcs1v15Sign, RsaPrivateKey};
use serde_json::Value;
use sha1::Sha1;
use x509_cert::der::asn1::{Any, BitString, Ia5String, ObjectIdentifier, OctetString, UtcTime};
use x509_cert::der::oid::AssociatedOid as _;
use x509_cert::der::pem::LineEnding;
use x509_cert::der::{Encode as _, EncodePem as _};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};
use x509_cert::{Certificate, TbsCertificate, Version};

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");

/// What a certificate says.
#[derive(Clone, Debug)]
pub struct Said {
    /// For which name.
    pub name: String,
    /// Valid from.
    pub from: Timestamp,
    /// Valid until.
    pub until: Timestamp,
    /// Whether it may sign certificates.
    pub authority: bool,
}

fn key() -> Option<&'static RsaPrivateKey> {
    static KEY: OnceLock<Option<RsaPrivateKey>> = OnceLock::new();
    let made = KEY.get_or_init(|| {
        // Made by aws-lc, which is quick also in a debug build.
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).ok()?;
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).ok()?;
        RsaPrivateKey::from_pkcs8_der(der.as_ref()).ok()
    });
    if made.is_none() {
        tracing::error!("no RSA key could be made; SNS signs nothing");
    }
    made.as_ref()
}

/// Signs a message of SNS with version `1` or `2`, for a certificate at that address; its other members stay.
pub fn sign(message: &mut Value, version: &str, certificate_url: &str) {
    let text = canonical(message);
    let signature = key().and_then(|key| {
        let signed = if version == "1" {
            key.sign(Pkcs1v15Sign::new::<Sha1>(), &Sha1::digest(&text))
        } else {
            key.sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(&text))
        };
        signed.ok()
    });
    if let Some(members) = message.as_object_mut() {
        members.insert("SignatureVersion".to_owned(), version.into());
        members.insert("Signature".to_owned(), STANDARD.encode(signature.unwrap_or_default()).into());
        members.insert("SigningCertURL".to_owned(), certificate_url.into());
    }
}

fn canonical(message: &Value) -> String {
    let of = |name: &str| message.get(name).and_then(Value::as_str);
    let names: &[&str] = if of("Type") == Some("Notification") {
        &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    } else {
        &["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    };
    names.iter().filter_map(|name| Some(format!("{name}\n{}\n", of(name)?))).collect()
}

/// The certificate of the signing key, as a file of SNS holds it; none if it cannot be made.
pub fn certificate(said: &Said) -> Option<String> {
    let key = key()?;
    let null = || Any::new(x509_cert::der::Tag::Null, Vec::new()).ok();
    let signed_with = AlgorithmIdentifierOwned { oid: SHA256_WITH_RSA, parameters: null() };
    let time = |at: Timestamp| {
        let seconds = u64::try_from(at.as_second()).ok()?;
        UtcTime::from_unix_duration(Duration::from_secs(seconds)).ok().map(Time::UtcTime)
    };
    let extension = |id, value: Vec<u8>| {
        Some(Extension { extn_id: id, critical: false, extn_value: OctetString::new(value).ok()? })
    };
    let names = SubjectAltName(vec![GeneralName::DnsName(Ia5String::new(&said.name).ok()?)]);
    let basic = BasicConstraints { ca: said.authority, path_len_constraint: None };
    let name = Name::from_str(&format!("CN={}", said.name)).ok()?;
    let tbs_certificate = TbsCertificate {
        version: Version::V3,
        serial_number: SerialNumber::from(1_u32),
        signature: signed_with.clone(),
        issuer: name.clone(),
        validity: Validity { not_before: time(said.from)?, not_after: time(said.until)? },
        subject: name,
        subject_public_key_info: SubjectPublicKeyInfoOwned {
            algorithm: AlgorithmIdentifierOwned { oid: RSA, parameters: null() },
            subject_public_key: BitString::from_bytes(key.to_public_key().to_pkcs1_der().ok()?.as_bytes()).ok()?,
        },
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(vec![
            extension(SubjectAltName::OID, names.to_der().ok()?)?,
            extension(BasicConstraints::OID, basic.to_der().ok()?)?,
        ]),
    };
    let signature = key.sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(tbs_certificate.to_der().ok()?)).ok()?;
    let signature = BitString::from_bytes(&signature).ok()?;
    Certificate { tbs_certificate, signature_algorithm: signed_with, signature }.to_pem(LineEnding::LF).ok()
}
