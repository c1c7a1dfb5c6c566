//! What to do about an error. Every error of the core answers [`Dispose::disposition`]; each provider maps the
//! four answers once to its own protocol (an SQS batch failure, an HTTP status, an alarm).

/// The four things that can be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Nothing: a duplicate, or a race lost to somebody who did the same.
    Done,
    /// The caller's fault: say so (4xx), or acknowledge and keep the message where an operator sees it.
    Reject,
    /// A passing reason (throttle, time-out, 5xx): try again later.
    Retry,
    /// A person has to look: denied, a missing table, a corrupt row, an answer we do not know.
    Page,
}

/// Errors that know what should be done about them.
pub trait Dispose: std::error::Error {
    /// Which of the four this error is.
    fn disposition(&self) -> Disposition;
}

/// The whole chain of an error in one line, for the log. People are shown fixed sentences instead.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        line.push_str(": ");
        line.push_str(&inner.to_string());
        source = inner.source();
    }
    line
}
