//! Reconciliation: what the marketplace says, what the ledger says and what the vendor runs are compared, so that a
//! notice that was lost is found within one run, however it was lost.
//!
//! A run is a row ([`Run`], one for each marketplace), worked on step by step like any other row that is due: each step
//! takes a lease, compares some 25 purchases and writes where it stopped. So a run may take as long as it needs, one that
//! broke off goes on where it was, and two at once are one. It goes, in this order, through the marketplace's list
//! (`listed`: what do we not know?), our purchases that are not over (`purchase`: what does the marketplace say of each?),
//! our links (`link`: do slot, link, purchase and status agree?) with what the vendor runs for them (`product`), and what
//! nobody has worked on (`waiting`).
//!
//! What is found is healed by the very decisions a notice would have led to ([`crate::lifecycle`]). A marketplace that is
//! silent, denies, or does not know a purchase heals and ends nothing. Whatever could hurt (ending a link in force, stopping,
//! deleting, starting, another plan) is only told, with what to do.
//! `docs/reconciliation.md` lists every finding. Usage is compared in [`crate::usage::reconcile`].

mod finding;
mod judgement;
mod link;
mod listed;
mod product;
mod purchase;
mod run;
mod waiting;

pub use finding::{Finding, What};
pub use judgement::{Judgement, Word, judge};
pub(crate) use run::step;
pub use run::{Counts, Run, Stage, start};
