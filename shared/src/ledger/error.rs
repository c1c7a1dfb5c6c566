//! What can go wrong in the ledger, and what to do about each. SDK errors are classified here once.

use std::error::Error as StdError;

use aws_sdk_dynamodb::error::{BuildError, DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;

use super::item::Item;
use crate::disposition::{Dispose, Disposition};

/// An error of the ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// A condition did not hold, or another transaction held the row: read again and decide again.
    #[error("somebody else changed the row first")]
    Conflict,
    /// Throttled, timed out, or an outage.
    #[error("the ledger cannot be reached just now ({0})")]
    Unavailable(String),
    /// Denied, a missing table, a bad request: nothing that waiting would cure.
    #[error("the ledger refused the request ({0})")]
    Refused(String),
    /// A row that does not read as what it should be.
    #[error("the row {key} is damaged: {what}")]
    Corrupt {
        /// The row's key.
        key: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A row of an unreadable shape.
    #[error("the row {key} does not read as {kind}")]
    Decode {
        /// The row's key.
        key: String,
        /// The kind expected.
        kind: &'static str,
        /// Why not.
        source: serde_dynamo::Error,
    },
    /// A row that a newer version of Tradepost has written. Whatever is still running of this one must leave it alone.
    #[error("the row {key} has schema {schema}, which is newer than this version of Tradepost")]
    Newer {
        /// The row's key.
        key: String,
        /// Its schema.
        schema: u64,
    },
    /// A document that cannot be written.
    #[error("a {kind} cannot be written")]
    Encode {
        /// The document's kind.
        kind: &'static str,
        /// Why not.
        source: serde_dynamo::Error,
    },
    /// A request that could not be built.
    #[error("the request could not be built")]
    Build(#[from] BuildError),
}

impl LedgerError {
    pub(super) fn from_sdk<E>(error: SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
    {
        if matches!(error, SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_)) {
            return Self::Unavailable(kind_of(&error).to_owned());
        }
        if matches!(error, SdkError::ConstructionFailure(_)) {
            return Self::Refused(DisplayErrorContext(&error).to_string());
        }
        let code = error.code().unwrap_or("unknown").to_owned();
        match code.as_str() {
            "ConditionalCheckFailedException" | "TransactionConflictException" => Self::Conflict,
            "TransactionCanceledException" => cancelled(&error),
            "ThrottlingException"
            | "ProvisionedThroughputExceededException"
            | "RequestLimitExceeded"
            | "InternalServerError"
            | "ServiceUnavailable"
            | "TransactionInProgressException"
            | "LimitExceededException" => Self::Unavailable(code),
            _ if error.raw_response().is_some_and(|raw| raw.status().is_server_error()) => Self::Unavailable(code),
            _ => Self::Refused(code),
        }
    }
}

/// A cancelled transaction names one reason an item. Any failed condition means: decide again.
fn cancelled<E: StdError + 'static>(error: &SdkError<E>) -> LedgerError {
    let mut source: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(inner) = source {
        if let Some(TransactWriteItemsError::TransactionCanceledException(reasons)) = inner.downcast_ref() {
            let codes: Vec<&str> = reasons.cancellation_reasons().iter().filter_map(|reason| reason.code()).collect();
            if codes.iter().any(|code| *code == "ConditionalCheckFailed" || *code == "TransactionConflict") {
                return LedgerError::Conflict;
            }
            let bad = codes.iter().any(|code| *code == "ValidationError" || *code == "ItemCollectionSizeLimitExceeded");
            let named = codes.into_iter().filter(|code| *code != "None").collect::<Vec<_>>().join(",");
            return if bad { LedgerError::Refused(named) } else { LedgerError::Unavailable(named) };
        }
        source = inner.source();
    }
    LedgerError::Unavailable("TransactionCanceledException".to_owned())
}

fn kind_of<E>(error: &SdkError<E>) -> &'static str {
    if matches!(error, SdkError::TimeoutError(_)) { "time-out" } else { "no answer" }
}

/// The item that stood in the way of a conditional put.
pub(super) fn existing(error: &SdkError<PutItemError>) -> Option<Item> {
    match error.as_service_error() {
        Some(PutItemError::ConditionalCheckFailedException(failed)) => failed.item().cloned(),
        _ => None,
    }
}

impl Dispose for LedgerError {
    fn disposition(&self) -> Disposition {
        match self {
            // While a deployment goes on, the newer functions take over.
            Self::Conflict | Self::Unavailable(_) | Self::Newer { .. } => Disposition::Retry,
            Self::Refused(_) | Self::Corrupt { .. } | Self::Decode { .. } | Self::Encode { .. } | Self::Build(_) => {
                Disposition::Page
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::config::http::HttpResponse;
    use aws_sdk_dynamodb::types::CancellationReason;
    use aws_sdk_dynamodb::types::error::TransactionCanceledException;

    use super::*;

    /// DynamoDB names a reason for each item of the transaction, `None` for those that were not in the way.
    #[test]
    fn a_cancelled_transaction_is_what_its_reasons_say() {
        for (codes, expected) in [
            (&["None", "ConditionalCheckFailed"][..], "somebody else changed the row first"),
            (&["TransactionConflict", "None"], "somebody else changed the row first"),
            (&["ThrottlingError", "ConditionalCheckFailed"], "somebody else changed the row first"),
            (&["None", "ThrottlingError"], "the ledger cannot be reached just now (ThrottlingError)"),
            (
                &["ProvisionedThroughputExceeded"],
                "the ledger cannot be reached just now (ProvisionedThroughputExceeded)",
            ),
            (&["ValidationError", "None"], "the ledger refused the request (ValidationError)"),
            (
                &["None", "ItemCollectionSizeLimitExceeded"],
                "the ledger refused the request (ItemCollectionSizeLimitExceeded)",
            ),
        ] {
            let reasons = codes.iter().map(|code| CancellationReason::builder().code(*code).build()).collect();
            let cancelled = TransactionCanceledException::builder().set_cancellation_reasons(Some(reasons)).build();
            let error = TransactWriteItemsError::TransactionCanceledException(cancelled);
            let answer = HttpResponse::new(400.try_into().unwrap(), "".into());
            assert_eq!(super::cancelled(&SdkError::service_error(error, answer)).to_string(), expected, "{codes:?}");
        }
    }

    #[test]
    fn a_time_out_is_told_from_an_answer_that_never_came() {
        assert_eq!(kind_of(&SdkError::<TransactWriteItemsError>::timeout_error("slow")), "time-out");
        assert_eq!(kind_of(&SdkError::<TransactWriteItemsError>::construction_failure("bad")), "no answer");
    }
}
