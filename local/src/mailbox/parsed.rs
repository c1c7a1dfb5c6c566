//! What a kept mail says: its subject and its two bodies, decoded.

use anyhow::Context;
use mailparse::{MailHeaderMap as _, ParsedMail, parse_mail};

use super::Mail;

/// A mail taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// Who sent it.
    pub from: String,
    /// The subject.
    pub subject: String,
    /// The Message-ID.
    pub id: String,
    /// The names of all its headers.
    pub headers: Vec<String>,
    /// As text.
    pub text: String,
    /// As HTML.
    pub html: String,
}

impl Mail {
    /// Takes the mail apart.
    ///
    /// # Errors
    /// If it is no mail, or lacks one of its two bodies.
    pub fn parsed(&self) -> anyhow::Result<Parsed> {
        let mail = parse_mail(self.raw.as_bytes())?;
        let header = |name: &str| mail.headers.get_first_value(name).unwrap_or_default();
        Ok(Parsed {
            from: header("From"),
            subject: header("Subject"),
            id: header("Message-ID"),
            headers: mail.headers.iter().map(mailparse::MailHeader::get_key).collect(),
            text: body(&mail, "text/plain")?,
            html: body(&mail, "text/html")?,
        })
    }
}

fn body(mail: &ParsedMail<'_>, kind: &str) -> anyhow::Result<String> {
    let part = mail.subparts.iter().find(|part| part.ctype.mimetype == kind);
    Ok(part.with_context(|| format!("there is no {kind}"))?.get_body()?)
}
