//! One call of a function, whatever it does: part of the trace that Lambda names, and counted at its end.

use std::future::Future;

use jiff::Timestamp;
use lambda_runtime::Context;
use tradepost::trace::{Trace, within};

use crate::metrics::Metrics;

/// Does the work of a call, and then writes what it counted, whether it succeeded or not.
pub async fn handled<T>(
    context: &Context,
    metrics: &Metrics,
    clock: impl Fn() -> Timestamp,
    work: impl Future<Output = T>,
) -> T {
    let trace = context.xray_trace_id.as_deref().and_then(Trace::of_xray);
    // On the heap: the compiler does not lay out futures as deep as these inside others.
    let done = Box::pin(within(trace, work)).await;
    metrics.write(clock());
    done
}
