//! A letter: facts and words put together, as text and as HTML, and packed as a mail. Names come from outside: whatever
//! is no printable text in them becomes a space, so that nobody writes a header or a line of their own.

use std::fmt;
use std::time::SystemTime;

use askama::Template;
use jiff::Timestamp;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message as Packed};

use super::english::{self, Words};
use crate::ledger::Provider;
use crate::policy::Policy;
use crate::web::text::english::ENGLISH;
use crate::web::text::fill;

/// Lines of a list; the rest is counted.
const MOST_ITEMS: usize = 50;

/// Why a letter cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum Unpackable {
    /// An address that no mail can be sent to or from.
    #[error("an address cannot be written to")]
    Address,
    /// Something else in it.
    #[error("the mail cannot be composed")]
    Mail,
}

/// What every letter needs to know.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The vendor's rules.
    pub policy: &'a Policy,
    /// The marketplace.
    pub marketplace: Provider,
    /// The organization's name.
    pub organization: &'a str,
    /// The product's name.
    pub product: &'a str,
    /// More places of the words, with their values.
    pub more: Vec<(&'static str, String)>,
    /// The lines of its list.
    pub items: Vec<String>,
}

/// A letter, ready to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The subject.
    pub subject: String,
    /// The headline.
    pub heading: String,
    /// Before the list.
    pub before: Vec<String>,
    /// The list.
    pub items: Vec<String>,
    /// After it.
    pub after: Vec<String>,
    /// Links: what they are called and where they lead.
    pub links: Vec<(String, String)>,
    /// At the foot.
    pub footer: String,
}

#[derive(Template)]
#[template(path = "mail/letter.html")]
struct Html<'a> {
    letter: &'a Letter,
}

#[derive(Template)]
#[template(path = "mail/letter.txt")]
struct Plain<'a> {
    letter: &'a Letter,
}

/// A mail as it goes out. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Mail {
    /// Who sends it and to whom.
    pub envelope: lettre::address::Envelope,
    /// All of it.
    pub raw: Vec<u8>,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").finish_non_exhaustive()
    }
}

/// Text on one line: whatever steers is a space.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// An instant for people.
pub fn instant(at: Timestamp) -> String {
    at.strftime("%-d %B %Y, %H:%M UTC").to_string()
}

impl Letter {
    /// Facts in words. The first sentence stands before the list, the rest after it.
    pub fn new(words: Words, facts: &Facts<'_>) -> Self {
        let Facts { policy, marketplace, .. } = facts;
        let marketplace_name = (ENGLISH.marketplace)(marketplace);
        let (organization, product) = (plain(facts.organization), plain(facts.product));
        let mut places = vec![
            ("vendor", policy.vendor.as_str()),
            ("word", policy.organization_word.as_str()),
            ("marketplace", marketplace_name),
            ("organization", &organization),
            ("product", &product),
            ("support", policy.support.email.as_str()),
        ];
        places.extend(facts.more.iter().map(|(place, value)| (*place, value.as_str())));
        let said = |sentence: &str| fill(sentence, &places);
        let mut sentences = words.sentences.iter().map(|sentence| said(sentence));
        let mut items: Vec<String> = facts.items.iter().take(MOST_ITEMS).map(|item| plain(item)).collect();
        let more = facts.items.len().saturating_sub(items.len());
        if more > 0 {
            items.push(fill(english::AND_MORE, &[("number", &more.to_string())]));
        }
        let mut links = Vec::new();
        if let Some(url) = policy.manage_url.get(marketplace) {
            links.push((said(english::MANAGE), url.clone()));
        }
        if let Some(url) = &policy.brand.console_url {
            links.push((said(english::CONSOLE), url.clone()));
        }
        links.push((english::TICKET.to_owned(), policy.support.ticket_url.clone()));
        Self {
            subject: said(words.subject),
            heading: said(words.heading),
            before: sentences.next().into_iter().collect(),
            items,
            after: sentences.chain(words.to_do.iter().map(|sentence| said(sentence))).collect(),
            links,
            footer: said(english::FOOTER),
        }
    }

    /// As text.
    ///
    /// # Errors
    /// If the template fails, which it cannot.
    pub fn text(&self) -> Result<String, Unpackable> {
        Plain { letter: self }.render().map_err(|_| Unpackable::Mail)
    }

    /// As HTML.
    ///
    /// # Errors
    /// As [`Letter::text`].
    pub fn html(&self) -> Result<String, Unpackable> {
        Html { letter: self }.render().map_err(|_| Unpackable::Mail)
    }

    /// Packed as a mail from the policy's sender. `id` makes its Message-ID, the same with every try.
    ///
    /// # Errors
    /// If an address is none.
    pub fn packed(&self, policy: &Policy, to: &[String], id: &str, now: Timestamp) -> Result<Mail, Unpackable> {
        let from = policy.messages.from.as_deref().and_then(|from| from.parse::<Address>().ok());
        let from = from.ok_or(Unpackable::Address)?;
        let message_id = format!("<{id}@{}>", from.domain());
        let name = HeaderName::new_from_ascii_str("Auto-Submitted");
        let mut mail = Packed::builder()
            .from(Mailbox::new(Some(plain(&policy.vendor)), from))
            .subject(plain(&self.subject))
            .date(SystemTime::from(now))
            .message_id(Some(message_id))
            .raw_header(HeaderValue::new(name, "auto-generated".to_owned()));
        for one in to {
            mail = mail.to(Mailbox::new(None, one.parse().map_err(|_| Unpackable::Address)?));
        }
        let both = MultiPart::alternative()
            .boundary(format!("part-{id}"))
            .singlepart(SinglePart::plain(self.text()?))
            .singlepart(SinglePart::html(self.html()?));
        let mail = mail.multipart(both).map_err(|_| Unpackable::Mail)?;
        Ok(Mail { envelope: mail.envelope().clone(), raw: mail.formatted() })
    }
}
