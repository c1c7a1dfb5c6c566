//! The whole of Tradepost on one machine: the real functions, an embedded DynamoDB, a simulated AWS Marketplace, a
//! queue like SQS, a demo vendor (identity provider, control plane, product) and a clock that can be pushed.
//!
//! [`stack`] puts it together, [`serve`] answers HTTP for all parties by host name, [`demo`] plays a vendor's page as
//! a browser would, [`functions_host`] runs a handler as the Azure Functions host does; [`usage`] is a client for
//! reporting usage to a Tradepost anywhere, [`parked`] one for what waits for an operator there, and [`doctor`] says what is
//! wrong with a configuration. Nothing of the product knows this crate.

pub mod aws_marketplace;
pub mod azure_marketplace;
pub mod clock;
pub mod configuration;
pub mod connector;
pub mod cut_over;
pub mod demo;
pub mod doctor;
pub mod dynamo;
pub mod functions_host;
pub mod mailbox;
pub mod parked;
pub mod progress;
pub mod queue;
pub mod reconcile;
pub mod serve;
pub mod stack;
pub mod table;
pub mod usage;
pub mod vendor;
