//! The release binaries behind a real host: what AWS Lambda, DynamoDB, SQS, Secrets Manager, AWS Marketplace and the
//! vendor are to a function, each served over HTTP on a loopback port of its own, and a function as its own process.
//!
//! A *stage* is one account with all its services; a *function* is one execution environment of one binary on it.
//! [`runtime_api`] is the Lambda side of a function, [`process`] its process, [`cloud`] the stage, [`control_plane`]
//! the vendor, [`meter`] measures the time the services take, [`events`] are the events of the triggers.
//!
//! The binaries are taken as `cargo build --release -p tradepost-aws` leaves them; nothing here builds them.

pub mod cloud;
pub mod control_plane;
pub mod events;
pub mod meter;
pub mod process;
pub mod runtime_api;

pub use cloud::Stage;
pub use process::{Function, Program};
pub use runtime_api::{Invocation, Outcome};
