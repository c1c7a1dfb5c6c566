//! Sending mails over SMTP, with TLS unless the server is on this machine. Amazon SES, Azure Communication Services and
//! every other mail service take SMTP, so this is the way that every cloud has.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use url::Url;

use super::letter::Mail;
use super::sender::{Handing, MailError, Sender};

/// One command of the conversation may take so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// A mail server.
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp").finish_non_exhaustive()
    }
}

/// Whether what is said to that server can be read by nobody on the way.
pub fn is_private(url: &Url) -> bool {
    let required = url.query_pairs().any(|(name, value)| name == "tls" && value == "required");
    // Only the web's own schemes have their addresses parsed; here every host is a name.
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    match url.scheme() {
        "smtps" => !host.is_empty(),
        "smtp" => required || here,
        _ => false,
    }
}

impl Smtp {
    /// The server at `url`: `smtps://user@host:465`, or `smtp://user@host:587?tls=required` for STARTTLS. None if it would
    /// be talked to in clear, or is no such address.
    pub fn new(url: &Url, password: Option<&str>) -> Option<Self> {
        if !is_private(url) {
            return None;
        }
        let mut bare = url.clone();
        bare.set_username("").ok()?;
        bare.set_password(None).ok()?;
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(bare.as_str()).ok()?.timeout(Some(PATIENCE));
        if let (Some(password), false) = (password, url.username().is_empty()) {
            let pairs = format!("user={}", url.username().replace('+', "%2B"));
            let (_, user) = url::form_urlencoded::parse(pairs.as_bytes()).next()?;
            transport = transport.credentials(Credentials::new(user.into_owned(), password.to_owned()));
        }
        Some(Self { transport: transport.build() })
    }
}

impl Sender for Smtp {
    fn send<'a>(&'a self, mail: &'a Mail) -> Handing<'a> {
        Box::pin(async move {
            let Err(error) = self.transport.send_raw(&mail.envelope, &mail.raw).await else { return Ok(()) };
            let code = error.status().map_or_else(|| "no answer".to_owned(), |code| code.to_string());
            Err(match error.is_permanent() || error.is_client() {
                true => MailError::Refused(code),
                false => MailError::Unavailable(code),
            })
        })
    }
}
