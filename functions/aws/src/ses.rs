//! E-mails through Amazon SES (SendEmail with raw content), the same mails that a mail server would get. SES puts its own
//! Message-ID in place of ours. Errors are classified once; what is unknown is for a person to look at.
//!
//! SES knows no idempotency, so that a call is not repeated here: a time-out may have sent the mail.

use std::time::Duration;

use aws_sdk_sesv2::Client;
use aws_sdk_sesv2::config::retry::RetryConfig;
use aws_sdk_sesv2::config::timeout::TimeoutConfig;
use aws_sdk_sesv2::primitives::Blob;
use aws_sdk_sesv2::types::{Destination, EmailContent, RawMessage};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_types::SdkConfig;
use tradepost::message::letter::{Mail, Unpackable};
use tradepost::message::sender::{Handing, MailError, Sender};

use crate::marketplace::passing;

/// A call may take so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// The client.
#[derive(Debug)]
pub struct Ses {
    client: Client,
}

impl Ses {
    /// SES in the function's own Region.
    pub fn new(config: &SdkConfig) -> Self {
        let config = aws_sdk_sesv2::config::Builder::from(config)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().operation_timeout(PATIENCE).build())
            .build();
        Self { client: Client::from_conf(config) }
    }
}

impl Sender for Ses {
    fn send<'a>(&'a self, mail: &'a Mail) -> Handing<'a> {
        Box::pin(async move {
            let from = mail.envelope.from().ok_or(Unpackable::Address)?;
            let to = mail.envelope.to().iter().map(|one| one.to_string()).collect();
            let raw = RawMessage::builder().data(Blob::new(mail.raw.clone())).build().map_err(|_| Unpackable::Mail)?;
            let request = self
                .client
                .send_email()
                .from_email_address(from.to_string())
                .destination(Destination::builder().set_to_addresses(Some(to)).build())
                .content(EmailContent::builder().raw(raw).build());
            match request.send().await {
                Ok(_) => Ok(()),
                Err(error) => {
                    let code = error.as_service_error().and_then(|inner| inner.meta().code());
                    Err(classify(&error, code))
                }
            }
        })
    }
}

/// SendEmail's own errors (SES API v2 reference, SendEmail). Quotas and a pause pass; a sender or a mail that is not accepted
/// does not.
fn classify<E>(error: &SdkError<E, HttpResponse>, code: Option<&str>) -> MailError {
    let name = code.unwrap_or("no answer").to_owned();
    let later = matches!(code, Some("TooManyRequestsException" | "LimitExceededException" | "SendingPausedException"));
    if later || passing(error, code) { MailError::Unavailable(name) } else { MailError::Refused(name) }
}
