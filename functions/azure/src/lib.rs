//! Tradepost on Azure Functions: what it asks Microsoft, and what it believes of what Microsoft sends.
//!
//! | file | what it does |
//! |---|---|
//! | [`fulfillment`] | the SaaS fulfillment and operations APIs: resolve, activate, read, acknowledge, cancel |
//! | [`entra`] | where Entra is, and in whose name its tokens are issued |
//! | [`publisher`] | the publisher's token for these APIs, by client secret or by the function's own identity |
//! | [`marketplace`] | what the core asks Microsoft: to confirm a notice, to activate, to take an answer |
//! | [`landing`] | the purchase behind a landing token |
//! | [`webhook`] | takes a webhook: verified, stored, decided upon, answered |
//! | [`notice`] | how a stored webhook reads |
//! | [`webhook_token`] | who sent a webhook: the check of its token |
//! | [`webhook_payload`] | what the webhook says |
//! | [`buyer`] | the buyer's sign-in on the landing page, with Entra |
//! | [`aws_credentials`] | the way to the ledger in DynamoDB without stored keys |
//!
//! Under these: [`discovery`] (Entra's documents and keys), [`managed_identity`] (the platform's identity endpoint), [`access_token`] (how token answers read),
//! [`renewing`] (what runs out is fetched once and renewed early), [`reading`] (Microsoft's JSON, leniently),
//! [`secret`]. The library reads no clock, no environment and no randomness; all three are given to it.

pub mod access_token;
pub mod aws_credentials;
pub mod buyer;
pub mod discovery;
pub mod entra;
pub mod fulfillment;
pub mod landing;
pub mod managed_identity;
pub mod marketplace;
pub mod notice;
pub mod publisher;
pub mod reading;
pub mod renewing;
pub mod secret;
pub mod webhook;
pub mod webhook_payload;
pub mod webhook_token;
