//! Tradepost on AWS Lambda. One small binary a trigger; each only wires what this library holds:
//!
//! | function | trigger | file |
//! |---|---|---|
//! | `landing` | HTTP API: the buyer's way | [`landing`]; the door for SNS over HTTPS is [`sns`] |
//! | `notifications` | SQS: what AWS Marketplace tells | [`notifications`], parsed by [`event`] |
//! | `worker` | SQS: rows to work on at once | [`worker`] |
//! | `sweeper` | a schedule: what is due and what was missed | [`sweeper`] |
//! | `metering` | a schedule, and SQS when a run was cut short: usage to AWS | [`metering_run`] |
//! | `usage` | SQS: usage in bulk | [`usage`] |
//!
//! [`call`] is what all of them have around them, [`config`] reads the environment, [`logging`] says how loud the log is, [`metrics`] counts what it says, [`marketplace`] asks AWS and [`metering`] tells it
//! usage, [`pace`] keeps to its limit, [`queue`] wakes the worker, [`sdk`] is how AWS is reached, [`ses`] sends mails.

pub mod call;
pub mod config;
pub mod event;
pub mod landing;
pub mod logging;
pub mod marketplace;
pub mod metering;
pub mod metering_run;
pub mod metrics;
pub mod notifications;
pub mod pace;
pub mod queue;
pub mod sdk;
pub mod ses;
pub mod sns;
pub mod sweeper;
pub mod usage;
pub mod worker;
