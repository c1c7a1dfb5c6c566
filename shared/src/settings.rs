//! What a deployed Tradepost is told, the same on every cloud: settings from the environment, and the secret that goes
//! with them. A provider adds its own. [`reference`] names them all.

pub mod reference;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use url::Url;

use crate::control_plane::ControlPlane;
use crate::event::delivery::Endpoint;
use crate::ledger::{Ledger, Provider};
use crate::message::sender::Sender;
use crate::message::smtp::{self, Smtp};
use crate::outbound::Outbound;
use crate::policy::{Policy, PolicyError};
use crate::web::App;
use crate::web::health::Health;
use crate::web::limits::Limits;
use crate::web::session::Sessions;
use crate::web::sign_in::{Method, SignIn};
use crate::web::vendor_api::VendorKey;
use crate::work::Outlets;

/// Settings that nothing can be made from. Names what to change, never a secret.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A variable is not set.
    #[error("{0} is not set")]
    Missing(String),
    /// A variable does not read.
    #[error("{name} is not {expected}")]
    Wrong {
        /// The variable.
        name: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// Mails are to go two ways.
    #[error("TRADEPOST_MAIL is ses and TRADEPOST_SMTP_URL names a mail server; set only one of them")]
    TwoSenders,
    /// The policy file cannot be read.
    #[error("TRADEPOST_POLICY: {path} cannot be read")]
    Unreadable {
        /// Where it was looked for.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The policy says something it must not.
    #[error("the policy {path}")]
    Policy {
        /// Its path.
        path: String,
        /// What.
        source: PolicyError,
    },
    /// The secret is not complete.
    #[error("the secret: {0}")]
    Secret(String),
}

/// The secret's JSON. Neither `Debug` nor `Display`.
#[derive(Clone, Deserialize)]
pub struct Secrets {
    /// 64 random bytes, base64: seals the browsers' cookies.
    pub cookie_key: String,
    /// Keys that sealed before, of the same kind: what they have sealed still opens. Left out again after twelve hours,
    /// when nothing of theirs counts any more.
    #[serde(default)]
    pub cookie_key_previous: Vec<String>,
    /// Signs control plane calls: `whsec_…`.
    pub control_plane: String,
    /// Signs what the vendor's servers ask of us: `whsec_…`, not the one above. Without it they can ask nothing.
    #[serde(default)]
    pub vendor_api: Option<String>,
    /// Signs events: `whsec_…`, neither of those above. Needed where events are sent.
    #[serde(default)]
    pub events: Option<String>,
    /// The password at the mail server, where it wants one.
    #[serde(default)]
    pub smtp_password: Option<String>,
    /// The client secret of each sign-in method, by its id.
    #[serde(default)]
    pub sign_in: BTreeMap<String, String>,
}

impl Secrets {
    /// Reads the secret's text.
    ///
    /// # Errors
    /// If it is not of the documented shape. The parser's own message may quote the text, so it is left out.
    pub fn read(text: &str) -> Result<Self, SettingsError> {
        serde_json::from_str(text).map_err(|_| SettingsError::Secret("not of the documented shape".to_owned()))
    }
}

/// Which way mails go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailWay {
    /// Through the mail server at that address.
    Smtp(Url),
    /// Through Amazon SES.
    Ses,
}

/// What every function is made from.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The DynamoDB table.
    pub table: String,
    /// The vendor's rules.
    pub policy: Arc<Policy>,
    /// Where the pages are served.
    pub public_url: String,
    /// The vendor's control plane.
    pub control_plane_url: String,
    /// Where events go.
    pub events_url: Option<Url>,
    /// Which way mails go; without one none goes.
    pub mail: Option<MailWay>,
    /// The ways to sign in.
    pub sign_in: Vec<Method>,
    /// Whether anything may be deleted.
    pub deletions: bool,
    /// Deletions in one run.
    pub deletion_cap: u32,
    /// Whether tries in vain are counted by source.
    pub limits: bool,
}

/// Fresh randomness, given by whoever starts the process.
pub type Random = fn() -> [u8; 32];

impl Settings {
    /// Reads variables through `get` and the policy's file through `file`.
    ///
    /// # Errors
    /// Names the variable that is missing or does not read.
    pub fn read(
        get: impl Fn(&str) -> Option<String>,
        file: impl FnOnce(&str) -> io::Result<String>,
    ) -> Result<Self, SettingsError> {
        let path = get("TRADEPOST_POLICY").unwrap_or_else(|| "policy.toml".to_owned());
        let text = file(&path).map_err(|source| SettingsError::Unreadable { path: path.clone(), source })?;
        let mut policy = Policy::parse(&text).map_err(|source| SettingsError::Policy { path, source })?;
        let mail = mail_way(&get)?;
        // Nobody sends, so nothing is written.
        if mail.is_none() {
            policy.messages.from = None;
        }
        let methods = needed(&get, "TRADEPOST_SIGN_IN")?;
        Ok(Self {
            table: needed(&get, "TRADEPOST_TABLE")?,
            policy: Arc::new(policy),
            public_url: needed(&get, "TRADEPOST_PUBLIC_URL")?.trim_end_matches('/').to_owned(),
            control_plane_url: needed(&get, "TRADEPOST_CONTROL_PLANE_URL")?,
            events_url: match get("TRADEPOST_EVENTS_URL").filter(|text| !text.is_empty()) {
                None => None,
                Some(text) => Some(web_address(&text).ok_or(SettingsError::Wrong {
                    name: "TRADEPOST_EVENTS_URL",
                    expected: "an address (https://…)",
                })?),
            },
            mail,
            sign_in: serde_json::from_str(&methods)
                .map_err(|_| SettingsError::Wrong { name: "TRADEPOST_SIGN_IN", expected: "a JSON list of methods" })?,
            deletions: match get("TRADEPOST_DELETIONS").as_deref() {
                None | Some("on") => true,
                Some("off") => false,
                Some(_) => return Err(SettingsError::Wrong { name: "TRADEPOST_DELETIONS", expected: "on or off" }),
            },
            limits: match get("TRADEPOST_LIMITS").as_deref() {
                None | Some("on") => true,
                Some("off") => false,
                Some(_) => return Err(SettingsError::Wrong { name: "TRADEPOST_LIMITS", expected: "on or off" }),
            },
            deletion_cap: match get("TRADEPOST_DELETION_CAP").map(|text| text.parse()) {
                None => 100,
                Some(Ok(cap)) => cap,
                Some(Err(_)) => {
                    return Err(SettingsError::Wrong { name: "TRADEPOST_DELETION_CAP", expected: "a number" });
                }
            },
        })
    }

    /// The ways to sign in that the policy offers, in its order.
    fn offered(&self) -> Result<Vec<&Method>, SettingsError> {
        let wanted = &self.policy.link.sign_in;
        if wanted.is_empty() {
            return Ok(self.sign_in.iter().collect());
        }
        let set_up = |id: &String| {
            let found = self.sign_in.iter().find(|method| method.id == *id);
            found.ok_or_else(|| SettingsError::Missing(format!("TRADEPOST_SIGN_IN: the policy's method {id}")))
        };
        wanted.iter().map(set_up).collect()
    }

    /// The vendor's control plane. Each process signs under an instance of its own.
    ///
    /// # Errors
    /// If address or secret make no client.
    pub fn control_plane(
        &self,
        secrets: &Secrets,
        outbound: Arc<Outbound>,
        random: Random,
    ) -> Result<ControlPlane, SettingsError> {
        let instance = random().iter().map(|byte| format!("{byte:02x}")).collect();
        ControlPlane::new(&self.control_plane_url, &secrets.control_plane, outbound, instance)
            .map_err(|error| SettingsError::Secret(format!("control_plane: {error}")))
    }

    /// Through which others are told. `ses` makes Amazon's sender, where there is one; asked only if mails go that way.
    ///
    /// # Errors
    /// If something is to be sent and the secret, or this cloud, lacks what that needs.
    pub fn outlets(
        &self,
        secrets: &Secrets,
        outbound: Arc<Outbound>,
        ses: impl FnOnce() -> Option<Box<dyn Sender>>,
    ) -> Result<Outlets, SettingsError> {
        let wrong = |what: &str| SettingsError::Secret(what.to_owned());
        let events = match (&self.events_url, &secrets.events) {
            (None, _) => None,
            (Some(_), None) => return Err(wrong("there is no events, and TRADEPOST_EVENTS_URL is set")),
            (Some(_), Some(secret))
                if *secret == secrets.control_plane || Some(secret) == secrets.vendor_api.as_ref() =>
            {
                return Err(wrong("events is the same as another secret; each needs its own"));
            }
            (Some(url), Some(secret)) => {
                let endpoint = Endpoint::new(url.clone(), secret, outbound);
                Some(endpoint.ok_or_else(|| wrong("events is not a Standard Webhooks secret"))?)
            }
        };
        let mail = match &self.mail {
            None => None,
            Some(MailWay::Smtp(url)) => {
                let smtp = Smtp::new(url, secrets.smtp_password.as_deref());
                let smtp =
                    smtp.ok_or(SettingsError::Wrong { name: "TRADEPOST_SMTP_URL", expected: "a mail server" })?;
                Some(Box::new(smtp) as Box<dyn Sender>)
            }
            Some(MailWay::Ses) => {
                let expected = "a way to send mails from this cloud (ses is for AWS)";
                Some(ses().ok_or(SettingsError::Wrong { name: "TRADEPOST_MAIL", expected })?)
            }
        };
        Ok(Outlets { events, mail })
    }

    /// The pages, where the buyers of `marketplace` land.
    ///
    /// # Errors
    /// If the secret lacks something or two of its parts are the same.
    pub fn app(
        &self,
        marketplace: Provider,
        secrets: &Secrets,
        ledger: Ledger,
        outbound: Arc<Outbound>,
        random: Random,
    ) -> Result<App, SettingsError> {
        let wrong = |what: &str| SettingsError::Secret(what.to_owned());
        let sessions = sessions(secrets)?;
        let mut methods = Vec::new();
        for method in self.offered()? {
            let secret = secrets.sign_in.get(&method.id);
            let secret = secret.ok_or_else(|| SettingsError::Secret(format!("there is no sign_in.{}", method.id)))?;
            methods.push((method.clone(), secret.clone()));
        }
        let vendor_key = match &secrets.vendor_api {
            Some(secret) if *secret == secrets.control_plane => {
                return Err(wrong("vendor_api and control_plane are the same; each needs its own"));
            }
            Some(secret) => {
                Some(VendorKey::new(secret).ok_or_else(|| wrong("vendor_api is not a Standard Webhooks secret"))?)
            }
            None => None,
        };
        Ok(App {
            ledger,
            marketplace,
            policy: Arc::clone(&self.policy),
            control_plane: Arc::new(self.control_plane(secrets, Arc::clone(&outbound), random)?),
            sign_in: SignIn::new(methods, outbound),
            sessions,
            vendor_key,
            limits: Limits::new(self.limits),
            health: Health::default(),
            public_url: self.public_url.clone(),
            random,
        })
    }
}

/// What seals cookies and tokens.
fn sessions(secrets: &Secrets) -> Result<Sessions, SettingsError> {
    let wrong = |what: &str| SettingsError::Secret(what.to_owned());
    let key = STANDARD.decode(&secrets.cookie_key).map_err(|_| wrong("cookie_key is not base64"))?;
    let previous: Result<Vec<_>, _> = secrets.cookie_key_previous.iter().map(|key| STANDARD.decode(key)).collect();
    let previous = previous.map_err(|_| wrong("a cookie_key_previous is not base64"))?;
    let sessions = Sessions::new(&key).ok_or_else(|| wrong("cookie_key is shorter than 64 bytes"))?;
    sessions.also_opening(&previous).ok_or_else(|| wrong("a cookie_key_previous is shorter than 64 bytes"))
}

fn mail_way(get: impl Fn(&str) -> Option<String>) -> Result<Option<MailWay>, SettingsError> {
    let smtp_url = get("TRADEPOST_SMTP_URL").filter(|text| !text.is_empty());
    match (get("TRADEPOST_MAIL").unwrap_or_default().as_str(), smtp_url) {
        ("" | "smtp", None) => Ok(None),
        ("" | "smtp", Some(text)) => {
            let url = Url::parse(&text).ok().filter(smtp::is_private).ok_or(SettingsError::Wrong {
                name: "TRADEPOST_SMTP_URL",
                expected: "a mail server reached with TLS (smtps://user@host:465)",
            })?;
            Ok(Some(MailWay::Smtp(url)))
        }
        ("ses", None) => Ok(Some(MailWay::Ses)),
        ("ses", Some(_)) => Err(SettingsError::TwoSenders),
        _ => Err(SettingsError::Wrong { name: "TRADEPOST_MAIL", expected: "smtp or ses" }),
    }
}

fn web_address(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}

/// A variable that must be there.
///
/// # Errors
/// If it is missing or empty.
pub fn needed(get: impl Fn(&str) -> Option<String>, name: &str) -> Result<String, SettingsError> {
    get(name).filter(|value| !value.is_empty()).ok_or_else(|| SettingsError::Missing(name.to_owned()))
}
