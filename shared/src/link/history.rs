//! What became of an organization's links. A link's own row lives under its subscription and is written over by the
//! next link of it; this one, in the organization's partition, stays. It is written beside every write of a link that
//! changes its state, for people and the vendor's servers to read; no decision is made from it.

use serde::{Deserialize, Serialize};

use super::{Link, organization_partition};
use crate::ledger::{Document, Key, Ledger, LedgerError};

/// Links of an organization that are looked through.
const LINKS: i32 = 25;

/// A link as it last was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkRecord {
    /// The link, without what only its own row needs.
    pub link: Link,
    /// The marketplace's code of the listing.
    pub product: String,
}

impl LinkRecord {
    /// What the sort keys of an organization's records start with. They go by the instant the link was made.
    pub const PREFIX: &'static str = "LINK#";

    /// Of a link to a purchase of `product`.
    pub fn of(link: &Link, product: &str) -> Self {
        Self { link: Link { came_after: None, confirm_by: None, ..link.clone() }, product: product.to_owned() }
    }
}

impl Document for LinkRecord {
    const KIND: &'static str = "link-record";

    fn key(&self) -> Key {
        let Link { organization, id, subscription, created_at, .. } = &self.link;
        let sk = format!("{}{:014}#{id}#{subscription}", Self::PREFIX, created_at.as_millisecond());
        Key::new(organization_partition(organization), sk)
    }
}

/// What became of an organization's newest links, the newest first. One Query.
///
/// # Errors
/// The ledger's.
pub async fn newest_links(ledger: &Ledger, organization: &str) -> Result<Vec<LinkRecord>, LedgerError> {
    let page = ledger.newest(&organization_partition(organization), LinkRecord::PREFIX, None, LINKS).await?;
    page.items.into_iter().map(|found| Ok(found.read::<LinkRecord>()?.doc)).collect()
}
