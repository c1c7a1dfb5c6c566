//! Usage: what an organization consumed, on its way to the marketplace's bill.
//!
//! The product reports events ([`report`]); each is counted once, in the transaction that writes its key ([`key`]), into
//! the hour of the purchase that paid then ([`attribution`], [`counting`], [`hour`]). When an hour is over it is frozen
//! ([`sealing`], `freezing`) and sent until the marketplace says something final ([`run`], [`sending`], `settling`); the running account
//! ([`meter`]) keeps the sums. The end of a subscription asks for its last usage ([`ending`]); hours without any are
//! reported where the listing wants that ([`zeros`]), and once a day the books are compared ([`reconcile`]).

mod accounts;
pub mod attribution;
pub mod calendar;
pub mod counting;
pub mod ending;
mod freezing;
pub mod hour;
pub mod key;
pub mod meter;
pub mod outcome;
mod quantity;
pub mod reading;
pub mod reconcile;
mod refusal;
pub mod report;
pub mod run;
pub mod sealing;
pub mod sending;
mod settling;
pub mod telling;
pub mod zeros;

pub use quantity::{NotAQuantity, Quantity};
