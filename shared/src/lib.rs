//! Tradepost's core: what a marketplace purchase means for a vendor's customers.
//!
//! Four facts are kept apart, each with one writer: the [`subscription`] (what the marketplace says), the
//! [`registration`] (a buyer reached the landing page), the [`link`] (this organization pays with this
//! subscription) and the [`deployment`] (what the vendor runs for the organization). Everything else a page
//! shows is derived from them.
//!
//! Data moves one way: a notice or a request is parsed by a provider's function, a pure decision is made from
//! what the [`ledger`] holds, one transaction writes state, tasks and audit line, and effects run afterwards
//! from those rows ([`work`]). Nothing in this crate reads a clock, an environment variable or randomness.

pub mod activation;
pub mod adoption;
pub mod agreement;
pub mod audit;
pub mod brand;
pub mod control_plane;
pub mod deletion;
pub mod deployment;
pub mod disposition;
pub mod ending;
pub mod entitlement;
pub mod event;
pub mod home;
pub mod landing;
pub mod ledger;
pub mod lifecycle;
pub mod link;
pub mod marketplace;
pub mod message;
pub mod notice;
pub mod organization;
pub mod outbound;
pub mod parked;
pub mod person;
pub mod plan;
pub mod policy;
pub mod reconcile;
pub mod registration;
pub mod retry;
pub mod returning;
pub mod review;
pub mod settings;
pub mod settle;
pub mod status;
pub mod subscription;
pub mod sweeper;
pub mod task;
pub mod trace;
pub mod usage;
pub mod web;
pub mod work;
