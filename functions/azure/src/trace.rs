//! Which call of the host a log line belongs to: the timer that made it, the host's own id of the invocation, and the trace
//! it is part of, which Application Insights shows as `operation_Id` (what the host sends with a call is in the recorded
//! request of `functions/azure/tests`). All are for looking things up and for alarms; nothing is decided by them.

use http::HeaderMap;
use tracing::Span;
use tradepost::trace::Trace;

const INVOCATION: &str = "x-azure-functions-invocationid";
/// What the host calls by the clock, each at its path without the public prefix.
const TIMERS: [&str; 4] = ["worker", "sweeper", "metering", "reconcile"];
/// A GUID.
const LONGEST_ID: usize = 36;

/// The trace that a request is part of, if its sender names one.
pub fn trace(headers: &HeaderMap) -> Option<Trace> {
    Trace::of_w3c(headers.get("traceparent")?.to_str().ok()?)
}

/// What every line of a call carries.
pub fn span(path: &str, headers: &HeaderMap, trace: Option<&Trace>) -> Span {
    let timer = path.strip_prefix('/').filter(|name| TIMERS.contains(name));
    let invocation = headers.get(INVOCATION).and_then(|value| value.to_str().ok()).filter(|text| is_id(text));
    tracing::info_span!("call", timer, invocation, trace = trace.map(Trace::id))
}

/// Anybody may send such a header to a handler without a host before it: only an id is logged.
fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= LONGEST_ID && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_are_logged() {
        assert!(is_id("576d7486-584d-4c4a-b410-78d6b97dc4c8"));
        for bad in ["", "a b", "token=abc", "576d7486-584d-4c4a-b410-78d6b97dc4c8-1"] {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
