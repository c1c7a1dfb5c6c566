//! What takes a mail over: a mail server ([`smtp`](super::smtp)), or a cloud's own service in that cloud's functions.
//! Handing over is tried once; the next try is the message's own ([`sending`](super::sending)).

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use super::letter::{Mail, Unpackable};
use crate::disposition::{Dispose, Disposition};

/// A mail that did not go out. Names no address.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// No answer, or the sender says it may pass.
    #[error("the mail server does not take it now ({0})")]
    Unavailable(String),
    /// The sender refuses it for good.
    #[error("the mail server refused it ({0})")]
    Refused(String),
    /// It cannot be composed.
    #[error("it cannot be composed")]
    Unpackable(#[from] Unpackable),
}

impl Dispose for MailError {
    fn disposition(&self) -> Disposition {
        match self {
            Self::Unavailable(_) => Disposition::Retry,
            Self::Refused(_) | Self::Unpackable(_) => Disposition::Page,
        }
    }
}

/// How handing over ends.
pub type Handing<'a> = Pin<Box<dyn Future<Output = Result<(), MailError>> + Send + 'a>>;

/// Takes mails over.
pub trait Sender: fmt::Debug + Send + Sync {
    /// Hands a mail over.
    ///
    /// # Errors
    /// What the other side says, by its code; its words may hold an address and are left out.
    fn send<'a>(&'a self, mail: &'a Mail) -> Handing<'a>;
}
