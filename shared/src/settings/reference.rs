//! What can be set, in words. The configuration page is made from these lists, and whoever checks a configuration takes
//! its names from them; a test reads the settings through them, so that none is left out.

use std::fmt::Write as _;

/// A variable of the environment, or a member of the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub meaning: &'static str,
    /// What holds without it. None: nothing starts without it.
    pub without: Option<&'static str>,
}

impl Setting {
    /// One that has to be there.
    pub const fn needed(name: &'static str, meaning: &'static str) -> Self {
        Self { name, meaning, without: None }
    }

    /// One that may be left out, and what holds then.
    pub const fn or(name: &'static str, without: &'static str, meaning: &'static str) -> Self {
        Self { name, meaning, without: Some(without) }
    }
}

/// Variables on every cloud.
pub const VARIABLES: [Setting; 11] = [
    Setting::needed("TRADEPOST_TABLE", "the DynamoDB table"),
    Setting::or("TRADEPOST_POLICY", "`policy.toml` beside the binary", "path of the policy file"),
    Setting::needed("TRADEPOST_PUBLIC_URL", "where the pages are served, `https://…` without a trailing slash"),
    Setting::needed("TRADEPOST_CONTROL_PLANE_URL", "the vendor's control plane, `https://…`"),
    Setting::needed(
        "TRADEPOST_SIGN_IN",
        "the ways to sign in, a JSON list of objects with `id`, `label`, `issuer` and `client_id`",
    ),
    Setting::or("TRADEPOST_EVENTS_URL", "events are kept and not sent", "where events go, `https://…`"),
    Setting::or(
        "TRADEPOST_SMTP_URL",
        "no e-mail is sent",
        "the mail server, `smtps://user@host:465` or `smtp://user@host:587?tls=required`",
    ),
    Setting::or("TRADEPOST_MAIL", "`smtp`", "`ses`: Amazon SES instead of a mail server, on AWS only"),
    Setting::or("TRADEPOST_DELETIONS", "`on`", "the kill switch: with `off` nothing is ever deleted"),
    Setting::or("TRADEPOST_DELETION_CAP", "100", "deployments deleted in one run of the sweeper, at most"),
    Setting::or(
        "TRADEPOST_LIMITS",
        "`on`",
        "whether tries in vain are counted by source; `off` behind a proxy of your own, which limits them itself",
    ),
];

/// Members of the secret on every cloud.
pub const SECRETS: [Setting; 7] = [
    Setting::needed("cookie_key", "64 random bytes, base64: seals the browsers' cookies and the status tokens"),
    Setting::or(
        "cookie_key_previous",
        "none",
        "a list of keys that sealed before: what they sealed still opens. After twelve hours they can go",
    ),
    Setting::needed("control_plane", "signs calls to the control plane, `whsec_…`"),
    Setting::or(
        "vendor_api",
        "they can ask nothing",
        "signs what the vendor's servers ask Tradepost, `whsec_…`, another one than `control_plane`",
    ),
    Setting::or(
        "events",
        "needed where `TRADEPOST_EVENTS_URL` is set",
        "signs events, `whsec_…`, another one than those two",
    ),
    Setting::or("smtp_password", "none is given", "the password at the mail server"),
    Setting::or(
        "sign_in",
        "needed for each method that the policy offers",
        "an object: the client secret of each sign-in method, by its `id`",
    ),
];

/// Settings as a table in Markdown.
pub fn table(settings: &[Setting]) -> String {
    let mut text = "| name | what it is | without it |\n|---|---|---|\n".to_owned();
    for Setting { name, meaning, without } in settings {
        let without = without.unwrap_or("nothing starts");
        // Writing into a text cannot fail.
        let _ = writeln!(text, "| `{name}` | {meaning} | {without} |");
    }
    text
}
