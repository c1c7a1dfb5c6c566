//! Tradepost on AWS Lambda. One small binary a trigger; each only wires what this library holds:
//!
//! | function | trigger | file |
//! |---|---|---|
//! | `landing` | HTTP API: the buyer's way | [`landing`] |
//! | `notifications` | SQS: what AWS Marketplace tells | [`notifications`], parsed by [`event`] |
//! | `worker` | SQS: rows to work on at once | [`worker`] |
//! | `sweeper` | a schedule: what is due and what was missed | [`sweeper`] |
//!
//! [`config`] reads the environment, [`logging`] says how loud the log is, [`marketplace`] asks AWS, [`queue`] wakes the worker,
//! [`ses`] sends mails.

pub mod config;
pub mod event;
pub mod landing;
pub mod logging;
pub mod marketplace;
pub mod notifications;
pub mod queue;
pub mod ses;
pub mod sweeper;
pub mod worker;
