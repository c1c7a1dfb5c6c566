//! Tradepost on Azure Functions: what it asks Microsoft, and what it believes of what Microsoft sends.
//!
//! | file | what it does |
//! |---|---|
//! | [`fulfillment`] | the SaaS fulfillment, operations and metering APIs: resolve, activate, read, acknowledge, cancel, tell usage |
//! | [`entra`] | where Entra is, and in whose name its tokens are issued |
//! | [`publisher`] | the publisher's token for these APIs, by client secret or by the function's own identity |
//! | [`marketplace`] | what the core asks Microsoft: to confirm a notice, to activate, to take an answer |
//! | [`metering`] | what the core has to bill, told to Microsoft |
//! | [`landing`] | the buyer's way: the landing token, signing in to Microsoft, on to the pages |
//! | [`handler`] | what the Functions host calls, from outside and by itself; [`server`] puts it on a port |
//! | [`config`], [`logging`], [`trace`] | what the environment says, how loud the log is, which call a line belongs to |
//! | [`work`] | what was set going, at once and by the timers |
//! | [`webhook`] | takes a webhook: verified, stored, decided upon, answered |
//! | [`notice`] | how a stored webhook reads |
//! | [`webhook_token`] | who sent a webhook: the check of its token |
//! | [`webhook_payload`] | what the webhook says |
//! | [`buyer`] | the buyer's sign-in on the landing page, with Entra |
//! | [`aws_credentials`] | the way to the ledger in DynamoDB without stored keys |
//!
//! Under these: [`discovery`] (Entra's documents and keys), [`managed_identity`] (the platform's identity endpoint),
//! [`access_token`] (how token answers read), [`renewing`] (what runs out is fetched once and renewed early), [`reading`]
//! (Microsoft's JSON, leniently), [`secret`]. The library reads no clock and no environment; both are given to it.
//! Randomness is read in [`config`] alone.

pub mod access_token;
pub mod aws_credentials;
pub mod buyer;
pub mod config;
pub mod discovery;
pub mod entra;
pub mod fulfillment;
pub mod handler;
pub mod landing;
pub mod logging;
pub mod managed_identity;
pub mod marketplace;
pub mod metering;
pub mod notice;
pub mod publisher;
pub mod reading;
pub mod renewing;
pub mod secret;
pub mod server;
pub mod trace;
pub mod webhook;
pub mod webhook_payload;
pub mod webhook_token;
pub mod work;
