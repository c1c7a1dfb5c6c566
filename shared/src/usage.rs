//! Usage: what an organization consumed, on its way to the marketplace's bill.

mod quantity;
pub mod reading;
mod refusal;
pub mod report;
pub mod run;

pub use quantity::{NotAQuantity, Quantity};
